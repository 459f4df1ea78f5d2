"""The walks of ``docs/architecture.md``: which modules are entered, in which order.

A walk is a numbered list. A step begins with the modules that it enters, ``1. `sites.site`: …``, or
refers to steps of an earlier walk: ``1. As in [a request](#a-request), from `main` to `sites.site`:
…``. A list that is indented below a step runs beside the steps that follow that one. A module
counts where it is named first.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from difflib import unified_diff
from itertools import pairwise
from typing import Final

from .servers import REPOSITORY
from .traces import Entry

DOCUMENT: Final = REPOSITORY / "docs/architecture.md"
_CHAPTER: Final = "## Four walks"
_EVERYWHERE: Final = "Everywhere"
"""The heading above the modules that any step may enter, and that are named in no walk."""

_HEADING: Final = re.compile(r"###+ (?P<title>.+)")
_ITEM: Final = re.compile(r"(?P<indent> *)(?:\d+\.|-) (?P<text>.+)")
_MODULE: Final = r"`([a-z0-9_.]+)`"
_MODULES: Final = re.compile(rf"(?P<all>{_MODULE}(?:, {_MODULE})*):")
_REFERENCE: Final = re.compile(
    rf"As in \[[^]]+\]\(#(?P<walk>[^)]+)\), from {_MODULE} to {_MODULE}:"
)


@dataclass(frozen=True)
class Walk:
    """One walk as the document has it: chains of modules, each in its order.

    The first chain is the main one. Each of the others runs beside it, and begins with the module
    after which it starts.
    """

    title: str
    chains: tuple[tuple[str, ...], ...]
    everywhere: frozenset[str] = frozenset()

    @property
    def modules(self) -> frozenset[str]:
        """All modules that it names."""
        return frozenset(module for chain in self.chains for module in chain)

    def is_complete(self, trace: Iterable[Entry]) -> bool:
        """Whether a trace has been everywhere that this goes."""
        return self.modules <= {entry.module for entry in trace}

    def differences(self, trace: Iterable[Entry]) -> str:
        """What a trace does otherwise than the document says, for people; empty if nothing."""
        entries = [entry for entry in trace if entry.module not in self.everywhere]
        traced = [entry.module for entry in entries]
        told = []
        for before, entry in pairwise([None, *entries]):
            assert entry is not None
            if entry.module not in self.modules:
                after = f"after `{before.module}`" if before else "first"
                told.append(
                    f"  `{entry.module}` was entered and is not named: {after}, by "
                    f"{entry.function} on thread {entry.thread}"
                )
        for module in sorted(self.modules.difference(traced)):
            gone = "" if exists(module) else "; there is no such module"
            told.append(f"  `{module}` is named and was not entered{gone}")
        for chain in self.chains:
            wanted = [module for module in chain if module in traced]
            found = [module for module in traced if module in chain]
            if wanted != found:
                diff = unified_diff(wanted, found, "document", "trace", n=2, lineterm="")
                told += ["  another order:", *(f"    {line}" for line in diff)]
        return "\n".join([f"{self.title}, {DOCUMENT.name} against a trace:", *told]) if told else ""


def exists(module: str) -> bool:
    """Whether the gateway has a module of that name."""
    path = REPOSITORY.joinpath("gateway", *module.split("."))
    return path.with_suffix(".py").is_file() or (path / "__init__.py").is_file()


def read_walks(text: str) -> dict[str, Walk]:
    """The walks of a document, by their headings as they stand in addresses (``a-first-load``).

    Raises ``ValueError`` for a step that names no module, and for one that was named before.
    """
    chapter = text.partition(f"\n{_CHAPTER}\n")[2].partition("\n## ")[0]
    if not chapter:
        raise ValueError(f"there is no chapter {_CHAPTER!r}")
    lists = dict(_lists(chapter))
    everywhere = frozenset(
        module for _, step in lists.pop(_EVERYWHERE, []) for module in _modules(step)
    )
    walks: dict[str, Walk] = {}
    for title, steps in lists.items():
        reader = _Reader(walks)
        for indent, step in steps:
            reader.read(step, beside=bool(indent))
        chains = tuple(tuple(chain) for chain in reader.chains)
        walks[re.sub(r"\W+", "-", title.lower())] = Walk(title, chains, everywhere)
    return walks


class _Reader:
    """Reads the steps of one walk; ``walks`` are those before it."""

    def __init__(self, walks: dict[str, Walk]) -> None:
        self.chains: list[list[str]] = [[]]
        self._walks = walks
        self._named: set[str] = set()
        self._was_beside = False

    def read(self, step: str, *, beside: bool) -> None:
        main = self.chains[0]
        if beside and not self._was_beside:
            self.chains.append(main[-1:])
        self._was_beside = beside
        chain = self.chains[-1] if beside else main
        if reference := _REFERENCE.match(step):
            self._follow(chain, self._walks[reference["walk"]], reference[2], reference[3])
            return
        for module in _modules(step):
            if module in self._named:
                raise ValueError(f"{module} has been named before: {step}")
            self._add(chain, module)

    def _follow(self, chain: list[str], walk: Walk, first: str, last: str) -> None:
        main, *others = walk.chains
        part = main[main.index(first) : main.index(last) + 1]
        for module in part:
            self._add(chain, module)
            for other in others:
                if other[0] == module:
                    self.chains.append(chain[-1:])
                    for each in other[1:]:
                        self._add(self.chains[-1], each)

    def _add(self, chain: list[str], module: str) -> None:
        if module not in self._named:
            self._named.add(module)
            chain.append(module)


def _lists(chapter: str) -> Iterator[tuple[str, list[tuple[str, str]]]]:
    """The lists of a chapter with the headings above them; items are indentations and texts."""
    title, items = "", list[tuple[str, str]]()
    for line in [*chapter.splitlines(), "### "]:
        if line.startswith("###"):
            if items:
                yield title, items
            heading = _HEADING.match(line)
            title, items = heading["title"] if heading else "", []
        elif item := _ITEM.match(line):
            items.append((item["indent"], item["text"]))
        elif items and line.startswith(" "):
            indent, text = items[-1]
            items[-1] = (indent, f"{text} {line.strip()}")


def _modules(step: str) -> list[str]:
    named = _MODULES.match(step)
    if named is None:
        raise ValueError(f"a step begins with modules and a colon: {step}")
    return re.findall(_MODULE, named["all"])
