"""``python -m gateway.namespace``: run a script as ``__main__`` in a fresh namespace.

This shows whether a program works in a namespace, without a gateway.
"""

from __future__ import annotations

import argparse
import os
import sys
import threading
import traceback
from collections.abc import Sequence

from gateway.namespace import EnvironmentError_, Namespace, installed, private_cwd


def main(argv: Sequence[str] | None = None) -> int:
    """Run the script in one or more namespaces; returns the highest exit status of the copies."""
    options = _parser().parse_args(argv)
    statuses = dict.fromkeys(range(options.copies), 1)  # the 1 stays for a copy that dies

    def run(copy: int) -> None:
        private_cwd(os.getcwd())  # each worker thread of the gateway has one, too
        statuses[copy] = _run(options, copy)

    with installed():
        threads = [
            threading.Thread(target=run, args=(copy,), name=f"copy {copy}") for copy in statuses
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    return max(statuses.values())


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m gateway.namespace",
        description="Run a script as __main__ in a fresh namespace of the gateway.",
        epilog="{copy} in an argument or a value becomes the number of the copy, from 0.",
    )
    parser.add_argument(
        "--path", action="append", default=[], metavar="DIR", help="a folder for sys.path"
    )
    parser.add_argument("--venv", metavar="DIR", help="the virtual environment to import from")
    parser.add_argument(
        "--env", action="append", default=[], metavar="K=V", help="a variable for os.environ"
    )
    parser.add_argument(
        "--copies", type=int, default=1, metavar="N", help="namespaces at once, a thread each"
    )
    parser.add_argument("script")
    parser.add_argument("args", nargs=argparse.REMAINDER)
    return parser


def _run(options: argparse.Namespace, copy: int) -> int:
    def fill(text: str) -> str:
        return text.replace("{copy}", str(copy))

    script = fill(options.script)
    environ = {key: os.environ[key] for key in ("PATH", "HOME", "LANG", "TZ") if key in os.environ}
    environ.update(_pair(fill(text)) for text in options.env)
    try:
        namespace = Namespace(
            f"copy {copy}",
            path=[os.path.dirname(os.path.abspath(script)), *map(fill, options.path)],
            environ=environ,
            venv=fill(options.venv) if options.venv else None,
        )
    except EnvironmentError_ as exc:
        print(exc, file=sys.stderr)
        return 2
    try:
        return namespace.run_script(script, [fill(arg) for arg in options.args])
    except Exception:
        traceback.print_exc()
        return 1
    finally:
        for error in namespace.close():
            traceback.print_exception(error)


def _pair(text: str) -> tuple[str, str]:
    key, _, value = text.partition("=")
    return key, value


if __name__ == "__main__":
    sys.exit(main())
