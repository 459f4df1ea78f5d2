"""The command line: ``gateway COMMAND``, or ``python -m gateway COMMAND``.

Each command is a module here with two functions: ``add_to`` adds the command to the parser, and
``run`` executes it. Commands use the server's own validator and settings.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
from collections.abc import Sequence
from textwrap import indent
from typing import Final

import gateway
from gateway.cli import check
from gateway.errors import ConfigError, GatewayError
from gateway.settings import SettingsError

_COMMANDS: Final = (check,)

OK: Final = 0
FAILED: Final = 1
"""The exit status if the command did not succeed. (argparse uses 2 for wrong usage.)"""
_INTERRUPTED: Final = 130


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command that ``argv`` names, and return the exit status.

    Raises ``SystemExit(2)`` for wrong usage.
    """
    options = _parser().parse_args(argv)
    for stream in (sys.stdout, sys.stderr):
        # Texts of sites may have characters that the encoding of the terminal has not.
        with contextlib.suppress(AttributeError):
            stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    try:
        status: int = options.run(options)
        sys.stdout.flush()
    except GatewayError as error:
        print(_explain(error), file=sys.stderr)
        return FAILED
    except BrokenPipeError:
        # The reader (head, less) has closed the pipe. Python must not fail again at its exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED
    except KeyboardInterrupt:
        return _INTERRUPTED
    return status


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="gateway", description="Commands for a gateway that serves Django projects by host."
    )
    parser.add_argument("--version", action="version", version=f"gateway {gateway.__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for command in _COMMANDS:
        command.add_to(commands)
    return parser


def _explain(error: GatewayError) -> str:
    """Return the text of an error, in the words of a server that cannot start."""
    match error:
        case ConfigError():
            return f"sites.json cannot be used:\n{indent(str(error), '  ')}"
        case SettingsError():
            return f"A setting cannot be used:\n{indent(str(error), '  ')}"
    return str(error)
