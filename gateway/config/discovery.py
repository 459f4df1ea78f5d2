"""Find the WSGI application of a Django project by reading its source, never by running it.

A project is somebody else's code, and the search for its entry point must not run it with the
gateway's rights. So only the syntax tree is read. If that does not give a clear answer, the error
tells what to write into ``sites.json``.
"""

from __future__ import annotations

import ast
import stat
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Final

from gateway.disk.files import mode_of, read_file, why_not, why_not_seen
from gateway.errors import GatewayError

SETTINGS_VARIABLE: Final = "DJANGO_SETTINGS_MODULE"
_SETTING: Final = "WSGI_APPLICATION"
_ATTRIBUTE: Final = "application"
_LARGEST_MODULE: Final = 10_000_000
_WRITE_WSGI: Final = 'write "wsgi": "module:attribute" into the site\'s entry'
_WRITE_SETTINGS: Final = f'write "{SETTINGS_VARIABLE}" into the site\'s "env"'


class DiscoveryError(GatewayError):
    """The source of a project does not tell its WSGI application; the message has the remedy."""


def find_wsgi(
    folder: Path,
    settings_module: str | None = None,
    record: Callable[[Path], object] = lambda _: None,
) -> str:
    """Return the WSGI application of the project in ``folder``: ``module:attribute``.

    ``settings_module`` is the site's own ``DJANGO_SETTINGS_MODULE``; without it, the one that
    ``manage.py`` sets counts. The application is the one that ``WSGI_APPLICATION`` in these
    settings names (also in settings that they import with ``from .base import *``), else that of
    the nearest ``wsgi.py`` beside or above them. ``record`` is called with each path just before it
    is looked at: the answer holds as long as none of these paths changes.

    Raises ``DiscoveryError``.
    """
    project = _Project(folder, record)
    module = settings_module or _settings_of_manage(project)
    if project.source_of(module) is None:
        raise DiscoveryError(
            f'the settings module "{module}" is not in {folder}; correct it, or {_WRITE_WSGI}'
        )
    named = _one_of(_values_of_setting(project, module, frozenset()), module)
    if named is not None:
        target, dot, attribute = named.rpartition(".")
        if not dot or not all(part.isidentifier() for part in named.split(".")):
            raise DiscoveryError(
                f'{_SETTING} in "{module}" is "{named}", not "module.attribute"; '
                f"correct it, or {_WRITE_WSGI}"
            )
        return f"{target}:{attribute}"
    return f"{_nearest_wsgi(project, module)}:{_ATTRIBUTE}"


def is_plain_module(
    folder: Path, module: str, record: Callable[[Path], object] = lambda _: None
) -> bool:
    """Tell whether ``module`` is a file in the project, and so has no modules inside it.

    ``record`` is called as by ``find_wsgi``. Raises ``DiscoveryError`` if it cannot be looked at.
    """
    source = _Project(folder, record).source_of(module)
    return source is not None and source.name != "__init__.py"


class _Project:
    """The files of a project. ``record`` is called with each path just before it is looked at."""

    def __init__(self, folder: Path, record: Callable[[Path], object]) -> None:
        self.folder = folder
        self.record = record

    def has(self, path: Path) -> bool:
        """Tell whether there is a file at a path; raises ``DiscoveryError`` if that is unknown."""
        mode = self.mode_of(path)
        return mode is not None and stat.S_ISREG(mode)

    def mode_of(self, path: Path) -> int | None:
        """Return the mode of what is at a path, ``None`` if nothing is; raises as `has` does."""
        self.record(path)
        try:
            return mode_of(path)
        except OSError as error:
            raise DiscoveryError(f"{why_not_seen(path, error)}; let it enter the folders") from None

    def source_of(self, module: str) -> Path | None:
        """Return the file of a module inside the project, ``None`` if it is not there."""
        parts = module.split(".")
        # Identifiers only: a name with a slash or an empty part would lead out of the project.
        if not all(part.isidentifier() for part in parts):
            return None
        stem = self.folder.joinpath(*parts)
        candidates = (stem / "__init__.py", stem.with_suffix(".py"))
        return next(filter(self.has, candidates), None)


def _settings_of_manage(project: _Project) -> str:
    """Return the settings module that ``manage.py`` sets as the default."""
    manage = project.folder / "manage.py"
    if project.mode_of(manage) is None:
        raise DiscoveryError(
            f"there is no {manage}, and {SETTINGS_VARIABLE} is not set; "
            f"{_WRITE_WSGI}, or {_WRITE_SETTINGS}"
        )
    names: dict[str, None] = {}
    for value in _settings_assignments(_parse(manage)):
        if not isinstance(value, ast.Constant) or not isinstance(value.value, str):
            raise DiscoveryError(
                f"{manage}, line {value.lineno}, computes {SETTINGS_VARIABLE}, and the gateway "
                f"does not run it to see; {_WRITE_SETTINGS}"
            )
        names[value.value] = None
    if len(names) != 1:
        found = f"more than one ({', '.join(names)})" if names else "none"
        raise DiscoveryError(
            f"{manage} should name one {SETTINGS_VARIABLE} and names {found}; {_WRITE_SETTINGS}"
        )
    return next(iter(names))


def _settings_assignments(tree: ast.Module) -> Iterator[ast.expr]:
    """Yield the values that a module sets ``os.environ["DJANGO_SETTINGS_MODULE"]`` to."""
    for node in ast.walk(tree):
        match node:
            case ast.Call(
                func=ast.Attribute(value=target, attr="setdefault"),
                args=[ast.Constant(value=key), value],
            ) if key == SETTINGS_VARIABLE and _is_environ(target):
                yield value
            case ast.Assign(
                targets=[ast.Subscript(value=target, slice=ast.Constant(value=key))], value=value
            ) if key == SETTINGS_VARIABLE and _is_environ(target):
                yield value


def _is_environ(node: ast.expr) -> bool:
    """Tell whether an expression is ``os.environ`` or a bare ``environ``."""
    match node:
        case ast.Attribute(value=ast.Name(id="os"), attr="environ") | ast.Name(id="environ"):
            return True
    return False


def _one_of(values: Iterable[str | None], module: str) -> str | None:
    """Return the one value that ``WSGI_APPLICATION`` can have, ``None`` if it has none."""
    distinct = set(values) or {None}
    if len(distinct) > 1:
        raise DiscoveryError(
            f'{_SETTING} in "{module}" depends on a condition, and the gateway does not run the '
            f"settings to see; {_WRITE_WSGI}"
        )
    return distinct.pop()


def _values_of_setting(project: _Project, module: str, seen: frozenset[str]) -> set[str | None]:
    """Return the values ``WSGI_APPLICATION`` may have at the end of ``module``; empty if unset."""
    source = project.source_of(module)
    if source is None or module in seen:
        return set()
    seen |= {module}
    package = module if source.name == "__init__.py" else module.rpartition(".")[0]
    values: set[str | None] = set()
    for statement, certain in _statements(_parse(source).body):
        match statement:
            case ast.ImportFrom(names=names) if any(a.name in ("*", _SETTING) for a in names):
                found = _values_of_setting(project, _absolute(statement, package), seen)
            case (
                ast.Assign(targets=[ast.Name(id=name)], value=value)
                | ast.AnnAssign(target=ast.Name(id=name), value=ast.expr() as value)
            ) if name == _SETTING:
                found = {_literal(value, source)}
            case _:
                continue
        if found:
            values = found if certain else values | found
    return values


def _statements(body: Iterable[ast.stmt], certain: bool = True) -> Iterator[tuple[ast.stmt, bool]]:
    """Yield the statements that may run at import, each with true if it certainly runs."""
    for statement in body:
        yield statement, certain
        match statement:
            case ast.If(body=inner, orelse=other):
                yield from _statements([*inner, *other], certain=False)
            case ast.Try(body=inner, handlers=handlers, orelse=other, finalbody=final):
                caught = [part for handler in handlers for part in handler.body]
                yield from _statements([*inner, *caught, *other], certain=False)
                yield from _statements(final, certain)
            case ast.With(body=inner):
                yield from _statements(inner, certain)


def _literal(value: ast.expr, source: Path) -> str | None:
    if isinstance(value, ast.Constant) and (value.value is None or isinstance(value.value, str)):
        return value.value
    raise DiscoveryError(
        f"{source}, line {value.lineno}, computes {_SETTING}, and the gateway does not run it to "
        f"see; {_WRITE_WSGI}"
    )


def _absolute(statement: ast.ImportFrom, package: str) -> str:
    """Return the absolute name of the module that ``from … import`` names (PEP 328)."""
    name = statement.module or ""
    if not statement.level:
        return name
    parts = package.split(".")
    parents = parts[: max(0, len(parts) - (statement.level - 1))]
    return ".".join([*parents, *filter(None, [name])])


def _nearest_wsgi(project: _Project, settings_module: str) -> str:
    """Return the ``wsgi`` module beside the settings, or in a package above them."""
    packages = settings_module.split(".")[:-1]
    for depth in range(len(packages), -1, -1):
        candidate = ".".join([*packages[:depth], "wsgi"])
        if project.source_of(candidate) is not None:
            return candidate
    raise DiscoveryError(
        f'"{settings_module}" sets no {_SETTING}, and there is no wsgi.py beside or above it in '
        f"{project.folder}; {_WRITE_WSGI}"
    )


def _parse(source: Path) -> ast.Module:
    try:
        return ast.parse(read_file(source, _LARGEST_MODULE), filename=str(source))
    except SyntaxError as error:
        where = f", line {error.lineno}" if error.lineno else ""
        raise DiscoveryError(
            f"{source}{where} is not Python ({error.msg}); correct it, or {_WRITE_WSGI}"
        ) from None
    except OSError as error:
        raise DiscoveryError(f"{source} {why_not(error)}; correct it, or {_WRITE_WSGI}") from None
    # The parser raises the last two if a source is nested too deeply.
    except (ValueError, RecursionError, MemoryError) as error:
        raise DiscoveryError(
            f"{source} cannot be read ({error}); correct it, or {_WRITE_WSGI}"
        ) from None
