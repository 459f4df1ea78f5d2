"""Two projects whose modules have the same names never see anything of each other."""

from __future__ import annotations

import random
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

import pytest

from .servers import Gateway
from .sites import BuiltSite, twin_site

MARKERS: Final = ("amber", "indigo")
THREADS: Final = 16
ROUNDS: Final = 3
LATE: Final = ("late", "thread")
PAGES: Final = {
    "settings": "settings/",
    "the environment": "environ/",
    "the working directory": "folder/",
    "the working directory, which a view changes": "moved/",
    "the environment of child processes": "process/",
    "imports in a view": "late/0/",
    "imports in threads that a view starts": "thread/0/",
    "pickling through executors": "pool/",
    "imports in template tags": "template/",
    "annotations that are strings": "hints/",
    "a cache in memory": "cache/default/",
    "a cache in files": "cache/files/",
    "the database": "database/",
    "pydantic, which they share": "pydantic/",
}


@pytest.fixture(scope="module")
def twins(tmp_path_factory: pytest.TempPathFactory) -> dict[str, BuiltSite]:
    """The two projects, by marker."""
    folder = tmp_path_factory.mktemp("twins")
    return {marker: twin_site(folder, marker, late=THREADS) for marker in MARKERS}


@pytest.fixture(scope="module")
def gateway(
    twins: dict[str, BuiltSite], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Gateway]:
    """Both in one process."""
    entries = {marker: site.entry for marker, site in twins.items()}
    with Gateway(tmp_path_factory.mktemp("gateway"), entries) as running:
        yield running


def stranger(marker: str) -> str:
    """The other one."""
    return MARKERS[1 - MARKERS.index(marker)]


def faults_of(gateway: Gateway, marker: str, status: int, text: str, found: Any) -> list[str]:
    """What is wrong with an answer of one of the twins; nothing, if all is well."""
    if status != 200:
        return [f"{marker}: status {status}"]
    faults = []
    if stranger(marker) in text:
        faults.append(f"{marker}: told something of {stranger(marker)}: {text}")
    if set(found["findings"]) != {marker}:
        faults.append(f"{marker}: found {found['findings']}")
    if found["pid"] != gateway.pid:
        faults.append(f"{marker}: answered by process {found['pid']}, not {gateway.pid}")
    return faults


def visit(gateway: Gateway, twins: dict[str, BuiltSite], seed: int) -> list[str]:
    """Ask both for every page, in an order of our own; returns what was wrong."""
    clients = {marker: gateway.client(site.host) for marker, site in twins.items()}
    # Each of the late modules is wanted by two visitors, who may both be the first.
    late = [f"{page}/{number % THREADS}/" for page in LATE for number in (seed, seed + 1)]
    pages = [*PAGES.values(), *late, f"log/visitor-{seed}/"]
    visits = [(marker, page) for marker in twins for page in pages]
    faults = []
    order = random.Random(seed)
    for _ in range(ROUNDS):
        order.shuffle(visits)
        for marker, page in visits:
            answer = clients[marker].get(f"/{page}")
            found = answer.json() if answer.status_code == 200 else None
            wrong = faults_of(gateway, marker, answer.status_code, answer.text, found)
            if answer.headers.get("x-signature") not in {marker, None}:
                wrong.append(f"{marker}: went through the other's middleware")
            faults += [f"{page} {fault}" for fault in wrong]
    return faults


def test_sixteen_threads_never_get_anything_of_the_other_site(
    gateway: Gateway, twins: dict[str, BuiltSite]
) -> None:
    with ThreadPoolExecutor(THREADS) as pool:
        visits = [pool.submit(visit, gateway, twins, seed) for seed in range(THREADS)]
        faults = [fault for visited in visits for fault in visited.result()]
    assert not faults, "\n".join(sorted(set(faults)))

    for marker, site in twins.items():
        lines = (site.folder / "log.txt").read_text().splitlines()
        assert all(line.startswith(f"{marker} ") for line in lines)
        assert not [line for line in lines if stranger(marker) in line]
        expected = sorted(
            f"{marker} shop.places visitor-{seed}" for seed in range(THREADS) for _ in range(ROUNDS)
        )
        assert sorted(line for line in lines if "visitor-" in line) == expected


@pytest.mark.parametrize("page", PAGES.values(), ids=PAGES)
@pytest.mark.parametrize("marker", MARKERS)
def test_each_site_finds_only_itself_in(
    gateway: Gateway, twins: dict[str, BuiltSite], marker: str, page: str
) -> None:
    answer = gateway.client(twins[marker].host).get(f"/{page}")
    assert answer.status_code == 200, answer.text
    assert not faults_of(gateway, marker, answer.status_code, answer.text, answer.json())
    assert answer.headers["x-signature"] == marker


def test_a_site_without_such_a_page_does_not_borrow_the_others(
    gateway: Gateway, twins: dict[str, BuiltSite]
) -> None:
    for marker, site in twins.items():
        answer = gateway.client(site.host).get("/no/such/page/")
        assert answer.status_code == 404
        assert answer.headers["x-signature"] == marker
        # Django refuses hosts that the settings of this project do not name.
        assert gateway.client(site.host).get("/settings/").status_code == 200


def test_the_file_caches_and_databases_lie_in_each_project(
    gateway: Gateway, twins: dict[str, BuiltSite]
) -> None:
    for marker, site in twins.items():
        gateway.client(site.host).get("/cache/files/")
        assert list((site.folder / "cache").glob("*.djcache")), f"no cache of {marker}"
        for file in (site.folder / "cache").glob("*.djcache"):
            assert stranger(marker).encode() not in file.read_bytes()


def test_a_view_that_exits_fails_alone(gateway: Gateway, twins: dict[str, BuiltSite]) -> None:
    """500 for its client; threads, process and other sites go on."""
    first, second = (gateway.client(site.host) for site in twins.values())
    for _ in range(THREADS):
        answer = first.get("/exit/")
        assert answer.status_code == 500
        assert "SystemExit" not in answer.text
    assert first.get("/settings/").json()["pid"] == gateway.pid
    assert second.get("/settings/").json()["pid"] == gateway.pid
    assert "SystemExit: 3" in gateway.output
