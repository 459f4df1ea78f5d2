"""The command line: ``gateway COMMAND``, or ``python -m gateway COMMAND``.

Each command is a module here with two functions: ``add_to`` puts it into the parser, ``run`` does
it. Commands use the server's own validator and settings.
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
"""What was asked for did not succeed. (Wrong usage is 2, by argparse.)"""
_INTERRUPTED: Final = 130


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command that ``argv`` names; returns the exit status.

    Wrong usage raises ``SystemExit(2)``.
    """
    options = _parser().parse_args(argv)
    for stream in (sys.stdout, sys.stderr):
        # Texts of sites hold anything, and a terminal may know little.
        with contextlib.suppress(AttributeError):
            stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    try:
        status: int = options.run(options)
        sys.stdout.flush()
    except GatewayError as error:
        print(_explain(error), file=sys.stderr)
        return FAILED
    except BrokenPipeError:
        # Whoever reads has seen enough (head, less); Python must not fail again when it ends.
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
    """As the server says it when it cannot start."""
    match error:
        case ConfigError():
            return f"sites.json cannot be used:\n{indent(str(error), '  ')}"
        case SettingsError():
            return f"A setting cannot be used:\n{indent(str(error), '  ')}"
    return str(error)
