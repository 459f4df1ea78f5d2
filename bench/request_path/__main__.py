"""The request path beside the servers that people use.

    pip install -e '.[bench]' && apt-get install wrk apache2-bin apache2-dev
    python -m bench.request_path peers
    python -m bench.request_path throughput --rounds 5 --json throughput.json

``peers`` sets up what is compared, once; what cannot be is left out, and why is said in a line.
``--gateway`` adds a variant of the gateway: a name, then settings and options of uvicorn, such as
``--gateway 'h11 GATEWAY_THREADS=1 --http h11'``; ``PYTHONPATH=`` makes it one of another checkout.
"""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Sequence
from pathlib import Path

from bench.request_path import floor, peers, postgresql, rounds, scenarios, servers, slow_clients
from bench.request_path.peers import Peer
from bench.request_path.scenarios import Scenario

MEASURED = {
    "throughput": (scenarios.THROUGHPUT, "one kind of request at a time"),
    "tune": (scenarios.TUNE, "mixed loads to tune on"),
    "held-out": (scenarios.HELD_OUT, "mixed loads to judge by"),
}


def main() -> None:
    """The command line."""
    options = _parser().parse_args()
    if options.command == "peers":
        peers.set_up([*peers.PEERS, peers.gateway()])
        return
    chosen = _chosen(options)
    if options.command == "slow-clients":
        slow_clients.main(chosen, options)
    elif options.command == "postgresql":
        postgresql.main(chosen, options)
    elif options.command == "floor":
        floor.main(chosen, options)
    else:
        _measure(chosen, _scenarios(options), options)


def _measure(
    chosen: Sequence[Peer], wanted: Sequence[Scenario], options: argparse.Namespace
) -> None:
    with servers.running(chosen, options.sites) as running:
        heading = rounds.conditions(
            running, rounds=options.rounds, seconds=options.seconds, sites=options.sites
        )
        figures = rounds.measure(running, wanted, rounds=options.rounds, seconds=options.seconds)
    rows = rounds.summarise(figures, options.base)
    print(f"{heading}\n\n{rounds.table(rows, options.base)}")
    if options.json:
        rounds.save(options.json, figures, rows)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m bench.request_path",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("peers", help="set up the servers that are compared")
    for name, (_, what) in MEASURED.items():
        command = _command(commands, name, what)
        command.add_argument("--rounds", type=int, default=3)
        command.add_argument("--seconds", type=int, default=8, help="for each figure")
        command.add_argument("--sites", type=int, default=30)
        command.add_argument("--base", default=peers.GUNICORN, help="whom ratios are taken to")
        command.add_argument("--scenarios", nargs="+", metavar="WORD", help="only these")
        command.add_argument("--json", type=Path, help="write every figure there")
    command = _command(commands, "slow-clients", "half uploads, unread streams, trickled headers")
    slow_clients.add_options(command)
    command = _command(commands, "postgresql", "connections of many sites, busy and idle")
    postgresql.add_options(command)
    command = _command(commands, "floor", "the WSGI application alone, and what is above it")
    floor.add_options(command)
    return parser


def _command(
    commands: argparse._SubParsersAction[argparse.ArgumentParser], name: str, what: str
) -> argparse.ArgumentParser:
    command = commands.add_parser(name, help=what)
    command.add_argument("--only", nargs="+", metavar="SERVER", help="only these servers")
    command.add_argument(
        "--gateway",
        action="append",
        default=[],
        metavar="'NAME KEY=VALUE --option value'",
        help="a variant of the gateway beside the others",
    )
    return command


def _scenarios(options: argparse.Namespace) -> list[Scenario]:
    wanted, _ = MEASURED[options.command]
    words = options.scenarios or [""]
    return [scenario for scenario in wanted if any(word in scenario.name for word in words)]


def _chosen(options: argparse.Namespace) -> list[Peer]:
    known = [*peers.PEERS, peers.gateway(), *map(_variant, options.gateway)]
    if not options.only:
        return known
    if unknown := set(options.only) - {peer.name for peer in known}:
        names = ", ".join(peer.name for peer in known)
        raise SystemExit(f"no such server: {', '.join(unknown)}; there are {names}")
    return [peer for peer in known if peer.name in options.only]


def _variant(text: str) -> Peer:
    name, *words = shlex.split(text)
    environ = dict(word.split("=", 1) for word in words if word.partition("=")[0].isupper())
    rest = tuple(word for word in words if word.partition("=")[0] not in environ)
    return peers.gateway(name, environ, rest)


if __name__ == "__main__":
    main()
