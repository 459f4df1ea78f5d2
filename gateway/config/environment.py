"""The environment that a site sees: part of the gateway's, then its ``env_file``, then ``env``."""

from __future__ import annotations

import io
import os
import re
from collections import ChainMap
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from dotenv.parser import Binding, parse_stream
from dotenv.variables import Variable, parse_variables

from gateway.disk.files import read_file, why_not

# What describes the machine and the user rather than a purpose, and is no secret. Not among them:
# GATEWAY_* (the token), PYTHON* (they are about the gateway's own start), proxies (their URLs may
# hold passwords). docs/sites-json.md gives this list and the reasons.
INHERITED: Final = frozenset(
    {
        "HOME",
        "LANG",
        "LANGUAGE",
        "LOGNAME",
        "PATH",
        "SHELL",
        "SSL_CERT_DIR",
        "SSL_CERT_FILE",
        "TMPDIR",
        "TZ",
        "USER",
    }
)
INHERITED_PREFIX: Final = "LC_"

_LARGEST_FILE: Final = 1_000_000

_REFERENCE: Final = re.compile(
    r"""
      (?P<escape>\$\$\{)
    | \$\{ (?P<name>[A-Za-z_][A-Za-z0-9_]*) (?: :- (?P<default>(?:(?!\$\{)[^}])*) )? \}
    | \$\{
    """,
    re.VERBOSE,
)


def inherited(environ: Mapping[str, str], venv: Path | None) -> dict[str, str]:
    """Return what a site sees of the gateway's environment, as if ``venv`` were activated."""
    variables = {
        name: value
        for name, value in environ.items()
        if name in INHERITED or name.startswith(INHERITED_PREFIX)
    }
    if venv is not None:
        path = variables.get("PATH")
        variables["VIRTUAL_ENV"] = str(venv)
        variables["PATH"] = f"{venv / 'bin'}{os.pathsep}{path}" if path else str(venv / "bin")
    return variables


def interpolate(value: str, environ: Mapping[str, str]) -> tuple[str, list[str]]:
    """Return a value of ``env`` with its references replaced, and what is wrong with them.

    ``${NAME}`` is a variable of ``environ``; ``${NAME:-default}`` falls back if that is not set
    or empty, as in a shell; ``$${`` is a plain ``${``. Any other ``$`` is just that.
    """
    problems: list[str] = []

    def replace(match: re.Match[str]) -> str:
        name, default = match["name"], match["default"]
        if match["escape"]:
            return "${"
        if name is None:
            problems.append(
                'has a "${" that begins neither ${NAME} nor ${NAME:-default}; '
                'write "$${" for a plain "${"'
            )
        elif default is not None:
            return environ.get(name) or default
        elif name in environ:
            return environ[name]
        else:
            problems.append(
                f"uses ${{{name}}}, which is not set in the gateway's environment; set it there, "
                f"or give a default: ${{{name}:-…}}"
            )
        return ""

    if "\0" in value:
        problems.append("contains a NUL character, which no variable can hold")
    return _REFERENCE.sub(replace, value), problems


def read_env_file(
    path: Path, below: Mapping[str, str], above: Mapping[str, str]
) -> tuple[dict[str, str], list[str]]:
    """Return the variables of an ``env_file``, and what is wrong with it.

    The syntax is python-dotenv's, ``${NAME}`` included. A name stands for what the site sees under
    it: a variable of ``above`` (the site's ``env``), else of a line before, else of ``below``
    (``inherited``). So the file reaches nothing of the gateway's environment that the site would
    not see anyway. An unknown name is a fault and not, as with python-dotenv, empty.
    """
    try:
        text = _read_text(path)
    except OSError as error:
        return {}, [why_not(error)]
    except ValueError as error:
        return {}, [str(error)]
    variables: dict[str, str] = {}
    problems: list[str] = []
    scope = ChainMap(dict(above), variables, dict(below))
    for binding in parse_stream(io.StringIO(text)):
        if binding.error:
            problems.append(f"line {_line(binding)} is not NAME=value")
        # A name alone, without "=", sets nothing.
        if binding.key is None or binding.value is None:
            continue
        atoms = list(parse_variables(binding.value))
        problems += [
            f"line {_line(binding)}: {binding.key} uses ${{{atom.name}}}, which is set neither "
            'above it nor in "env"; give a default with ${…:-…}, or pass on the gateway\'s own: '
            f'"env": {{"{atom.name}": "${{{atom.name}}}"}}'
            for atom in atoms
            if isinstance(atom, Variable) and atom.default is None and atom.name not in scope
        ]
        variables[binding.key] = "".join(atom.resolve(scope) for atom in atoms)
    return variables, problems


def _read_text(path: Path) -> str:
    """Return the text of a file. Raises ``ValueError`` if that is none, else as `read_file`."""
    raw = read_file(path, _LARGEST_FILE)
    if b"\0" in raw:
        raise ValueError("contains a NUL character, so it is not a text")
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError:
        # Not the decoder's own message, which shows bytes of the file.
        raise ValueError("is not UTF-8; save it in this encoding") from None


def _line(binding: Binding) -> int:
    """Return the line of a binding; python-dotenv counts the blank lines before it as its own."""
    text = binding.original.string
    return binding.original.line + text[: len(text) - len(text.lstrip())].count("\n")
