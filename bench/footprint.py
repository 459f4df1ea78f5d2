"""Where the megabytes of a further site are.

    python bench/footprint.py [--sites 6]

Three answers, about copies of the sample project:

* the *floor*: plain Python executes the project again and again, with the modules of before kept
  and their code objects shared. What that adds is what Django itself needs;
* the same in namespaces, and what the objects of one of them are;
* what could be shared: private modules whose globals and class attributes are provably without
  state, and that use no private module with any.

Megabytes are proportional set size (Linux), kilobytes `sys.getsizeof` of module dictionaries,
functions, classes and class dictionaries.
"""

from __future__ import annotations

import argparse
import asyncio
import collections
import gc
import importlib.machinery
import json
import os
import platform
import re
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from types import (
    BuiltinFunctionType,
    CodeType,
    EllipsisType,
    FunctionType,
    GenericAlias,
    GetSetDescriptorType,
    MemberDescriptorType,
    ModuleType,
)
from typing import Any

from load import front_page
from samples import ENVIRON, SAMPLE, megabytes, prepare

from gateway.backends.inprocess import InProcessBackend
from gateway.config import ADMIN_HOSTS, read_config

_CONSTANTS = (
    str,
    bytes,
    int,
    float,
    complex,
    type(None),
    EllipsisType,
    re.Pattern,
    BuiltinFunctionType,
    GenericAlias,
    GetSetDescriptorType,
    MemberDescriptorType,
)


def main() -> None:
    """Run each part in a process of its own and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sites", type=int, default=6)
    parser.add_argument("--part", nargs=2, metavar=("NAME", "DIR"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    parts: Mapping[str, Callable[[Path], Any]] = {
        "floor": floor,
        "namespaces": lambda folder: asyncio.run(namespaces(folder)),
    }
    if options.part:
        name, folder = options.part
        print(json.dumps(parts[name](Path(folder))))
        return
    with tempfile.TemporaryDirectory() as temporary:
        prepare(Path(temporary), options.sites)
        figures = {}
        for name in parts:
            command = [sys.executable, __file__, "--part", name, temporary]
            figures[name] = json.loads(
                subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout
            )
    report(figures["floor"], figures["namespaces"])


def floor(folder: Path) -> list[float]:
    """Megabytes of each execution of the project by plain Python, in this process."""
    _share_code_objects()
    os.environ.update(ENVIRON)
    sys.path.append(str(Path(__file__).with_name("inside")))
    gc.disable()  # as during a load in the gateway
    adds, kept = [], []
    for site in _sites(folder):
        os.chdir(site)
        sys.path.insert(0, str(site))
        gc.collect()
        before = megabytes(os.getpid())
        asking = importlib.import_module("asking")  # it imports the project, each time anew
        importlib.import_module("django.urls").get_resolver()._populate()
        assert asking.ask("/") == "200 OK"
        gc.collect()
        adds.append(megabytes(os.getpid()) - before)
        del sys.path[0], asking
        private = [
            name for name in sys.modules if name.partition(".")[0] not in sys.stdlib_module_names
        ]
        kept.append([sys.modules.pop(name) for name in private])
    return adds


async def namespaces(folder: Path) -> dict[str, Any]:
    """Megabytes of each site, and what the private modules of the last one are."""
    config = read_config(folder / "sites.json", environ=os.environ, admin_hosts=ADMIN_HOSTS)
    adds, generations = [], []
    async with InProcessBackend(threads=1) as backend:
        for site in config.sites.values():
            gc.collect()
            before = megabytes(os.getpid())
            generation = await backend.load(site, 1)
            assert await front_page(generation, site.hosts[0]) == 200
            generations.append(generation)
            gc.collect()
            adds.append(megabytes(os.getpid()) - before)
        modules: Any = generations[-1]._namespace.modules
        private = {
            name: module
            for name, module in modules.items()
            if modules.shared.get(name) is not module
        }
        stateless = without_state(private)
        sizes = {name: _size(module) for name, module in private.items()}
        packages: collections.Counter[str] = collections.Counter()
        for name, size in sizes.items():
            top = name.partition(".")[0]
            in_stdlib = top in sys.stdlib_module_names
            packages["standard library" if in_stdlib else top] += size
        return {
            "adds": adds,
            "modules": len(private),
            "bytes": sum(sizes.values()),
            "packages": packages.most_common(),
            "stateless": len(stateless),
            "stateless bytes": sum(sizes[name] for name in stateless),
        }


def report(plain: list[float], ours: dict[str, Any]) -> None:
    """Print what was found."""
    print(
        f"{SAMPLE} on {platform.python_implementation()} {platform.python_version()}, "
        f"{len(plain)} sites\n"
    )
    print("| a further site | MB |\n|---|---|")
    print(f"| plain Python, executed again | {statistics.median(plain[1:]):.2f} |")
    print(f"| in a namespace | {statistics.median(ours['adds'][1:]):.2f} |")
    print(f"\n| of {ours['modules']} private modules | KB |\n|---|---|")
    for package, size in ours["packages"]:
        if size >= 10_000:
            print(f"| {package} | {size / 1000:.0f} |")
    print(f"| all | {ours['bytes'] / 1000:.0f} |")
    print(f"| {ours['stateless']} without state | {ours['stateless bytes'] / 1000:.0f} |")


# What could be shared


def without_state(private: Mapping[str, ModuleType]) -> set[str]:
    """The private modules that hold nothing that can change, nor use one that does."""
    uses = {name: _uses(name, private) for name in private}
    stateless = {name for name, used in uses.items() if used is not None}
    while spoilt := {name for name in stateless if uses[name] - stateless}:  # type: ignore[operator]
        stateless -= spoilt
    return stateless


def _uses(name: str, private: Mapping[str, ModuleType]) -> set[str] | None:
    """The private modules that a module refers to; ``None`` if it has state of its own."""
    names = {id(module): name for name, module in private.items()}
    used: set[str] = set()
    seen: set[int] = set()
    todo = _values(vars(private[name]))
    while todo:
        value = todo.pop()
        if id(value) in seen or isinstance(value, _CONSTANTS):
            continue
        seen.add(id(value))
        if isinstance(value, tuple | frozenset):
            todo += value
        elif isinstance(value, ModuleType):
            if id(value) in names:
                used.add(names[id(value)])
        elif isinstance(value, staticmethod | classmethod):
            todo.append(value.__func__)
        elif isinstance(value, property):
            todo += [value.fget, value.fset, value.fdel]
        elif isinstance(value, FunctionType | type):
            if value.__module__ != name:
                used.update({value.__module__} & private.keys())
            elif isinstance(value, type):
                todo += [*_values(vars(value)), *value.__bases__]
            else:
                todo += value.__defaults__ or ()
                todo += [cell.cell_contents for cell in value.__closure__ or ()]
        else:  # a dictionary, a list, an instance: it may change
            return None
    return used


def _values(namespace: Mapping[str, Any]) -> list[Any]:
    return [value for name, value in namespace.items() if not name.startswith("__")]


def _size(module: ModuleType) -> int:
    size = sys.getsizeof(vars(module))
    for value in list(vars(module).values()):
        if getattr(value, "__module__", None) != module.__name__:
            continue
        if isinstance(value, FunctionType):
            size += sys.getsizeof(value)
        elif isinstance(value, type):
            attributes = dict(vars(value))
            size += sys.getsizeof(value) + sys.getsizeof(attributes)
            size += sum(
                sys.getsizeof(attribute)
                for attribute in attributes.values()
                if isinstance(attribute, FunctionType)
            )
    return size


# Plain Python


def _sites(folder: Path) -> list[Path]:
    return sorted(folder.glob("site*/"), key=lambda path: int(path.name.removeprefix("site")))


def _share_code_objects() -> None:
    """Compile each file once, as the gateway does."""
    codes: dict[str, CodeType | None] = {}
    loader = importlib.machinery.SourceFileLoader
    compile_ = loader.get_code

    def get_code(self: Any, fullname: str) -> CodeType | None:
        path = self.get_filename(fullname)
        if path not in codes:
            codes[path] = compile_(self, fullname)
        return codes[path]

    loader.get_code = get_code  # type: ignore[method-assign]


if __name__ == "__main__":
    main()
