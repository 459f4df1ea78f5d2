"""The environment that a site sees: some of the gateway's, its ``env_file``, and its ``env``."""

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

# Variables that describe the machine and the user, and hold no secret. Not among them: GATEWAY_*
# (the token), PYTHON* (they are for the gateway's own start), proxies (their URLs may hold
# passwords). docs/sites-json.md has this list and the reasons.
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
    """Return the variables of the gateway that a site sees, as if ``venv`` were activated."""
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
    """Return a value of ``env`` with its references replaced, and a list of what is wrong.

    ``${NAME}`` stands for a variable of ``environ``. ``${NAME:-default}`` stands for the default if
    the variable is not set or empty, as in a shell. ``$${`` stands for a plain ``${``. Any other
    ``$`` stands for itself.
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
    """Return the variables of an ``env_file``, and a list of what is wrong with it.

    The syntax is that of python-dotenv, with ``${NAME}``. A name stands for the variable that the
    site sees: one of ``above`` (the site's ``env``), else of an earlier line, else of ``below``
    (``inherited``). So the file cannot reach any variable of the gateway that the site does not see
    anyway. An unknown name is a fault; in python-dotenv it would be empty.
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
        # A line with a name alone, without "=", sets nothing.
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
    """Return the text of a file.

    Raises ``ValueError`` if the content is not text, and what `read_file` raises.
    """
    raw = read_file(path, _LARGEST_FILE)
    if b"\0" in raw:
        raise ValueError("contains a NUL character, so it is not a text")
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError:
        # The decoder's own message is not used, because it shows bytes of the file.
        raise ValueError("is not UTF-8; save it in this encoding") from None


def _line(binding: Binding) -> int:
    """Return the line of a binding; python-dotenv counts blank lines before it as part of it."""
    text = binding.original.string
    return binding.original.line + text[: len(text) - len(text.lstrip())].count("\n")
