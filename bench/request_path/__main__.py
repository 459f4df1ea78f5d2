"""The request path beside the servers that people use.

    pip install -e '.[bench]' && apt-get install wrk apache2-bin apache2-dev
    python -m bench.request_path peers
    python -m bench.request_path all --json all.json

``all`` is ``throughput`` and the mixed loads, ``tune`` and ``held-out``: 22 minutes. The governor
is measured by the same bridge with one thread there, and with a fixed pool here. ``--only`` names
other servers than those that are asked by default.
``peers`` sets up what is compared, once; what cannot be is left out, and why is said in a line.
``--gateway`` adds a variant of the gateway: a name, then settings and options of uvicorn, such as
``--gateway 'h11 GATEWAY_THREADS=1 --http h11'``; ``PYTHONPATH=`` makes it one of another checkout.
"""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Collection
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

from bench.request_path import (
    busy,
    floor,
    peers,
    postgresql,
    rounds,
    scenarios,
    servers,
    slow_clients,
)
from bench.request_path.peers import Peer
from bench.request_path.rounds import Figure
from bench.request_path.scenarios import Scenario

_KNOWN = (*(peer.name for peer in peers.PEERS), peers.GATEWAY)
_RIVALS = ("uwsgi-emperor", "mod_wsgi", "granian-8")
_ALONE = (
    *(peers.GUNICORN, *_RIVALS, peers.GATEWAY, peers.ONE_THREAD),
    *(peer.name for peer in peers.TWO),
)
_MIXED = (peers.GUNICORN, peers.GATEWAY, peers.FIXED_POOL)


@dataclass(frozen=True)
class Measurement:
    """Scenarios, and the servers that are asked unless others are named."""

    what: str
    scenarios: tuple[Scenario, ...]
    servers: tuple[str, ...]


MEASURED = {
    "throughput": Measurement("one kind of request at a time", scenarios.THROUGHPUT, _ALONE),
    "tune": Measurement("mixed loads to tune on", scenarios.TUNE, _MIXED),
    "held-out": Measurement("mixed loads to judge by", scenarios.HELD_OUT, _MIXED),
}


def main() -> None:
    """The command line."""
    options = _parser().parse_args()
    if options.command == "peers":
        peers.set_up(list(peers.ALL))
    elif options.command == "slow-clients":
        slow_clients.main(_chosen(options, _KNOWN), options)
    elif options.command == "postgresql":
        postgresql.main(_chosen(options, _KNOWN), options)
    elif options.command == "floor":
        floor.main(_chosen(options, _KNOWN), options)
    elif options.command == "all":
        _measure(MEASURED.values(), options)
    else:
        _measure([MEASURED[options.command]], options)


def _measure(measurements: Collection[Measurement], options: argparse.Namespace) -> None:
    chosen = [_chosen(options, each.servers) for each in measurements]
    figures: list[Figure] = []
    heading = ""
    for number in range(options.rounds):
        # All at the same time: those that are not asked sleep. Anew for each round: processes of
        # the same code differ, by where their memory happens to lie.
        with servers.running(list(dict.fromkeys(chain(*chosen))), options.sites) as running:
            heading = rounds.conditions(
                running, rounds=options.rounds, seconds=options.seconds, sites=options.sites
            )
            if options.busy:
                heading += f"; {options.busy} other processes compute meanwhile"
            with busy.neighbours(options.busy):
                for measurement, its in zip(measurements, chosen, strict=True):
                    figures += rounds.measure(
                        [server for server in running if server.peer in its],
                        _scenarios(measurement, options),
                        number=number,
                        seconds=options.seconds,
                    )
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
    for name, what in {
        "all": f"{', '.join(MEASURED)}, one after the other",
        **{name: measurement.what for name, measurement in MEASURED.items()},
    }.items():
        command = _command(commands, name, what)
        command.add_argument("--rounds", type=int, default=3)
        command.add_argument("--seconds", type=int, default=2, help="for each figure")
        command.add_argument("--sites", type=int, default=30)
        command.add_argument("--busy", type=int, default=0, help="other processes that compute")
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
        type=_variant,
        metavar="'NAME KEY=VALUE --option value'",
        help="a variant of the gateway beside the others",
    )
    return command


def _scenarios(measurement: Measurement, options: argparse.Namespace) -> list[Scenario]:
    words = options.scenarios or [""]
    return [each for each in measurement.scenarios if any(word in each.name for word in words)]


def _chosen(options: argparse.Namespace, default: Collection[str]) -> list[Peer]:
    """Those that are named with ``--only``, else ``default`` and the variants."""
    known = [*peers.ALL, *options.gateway]
    if not options.only:
        return [peer for peer in known if peer.name in default or peer in options.gateway]
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
