"""The walks of ``docs/architecture.md`` are what a real gateway does."""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import pytest

from .actions import append
from .clients import client_for
from .servers import PROTOCOL, Gateway
from .sites import BuiltSite, sample_site
from .traces import ARMED, Entry, read_trace
from .waiting import until
from .walks import DOCUMENT, Walk, exists, read_walks

A_CONNECTION: Final = "protocol:Protocol.connection_made"
AN_ORDER: Final = "cluster.control:Control._carry_out"
AN_UNLOAD: Final = "sites.site:Site.unload_if_idle"
"""What the traces begin with."""
WORKERS: Final = 3

EXAMPLE: Final = """
## Four walks

### Everywhere

- `log`: What is said.

### A request

1. `main`: It comes in.
2. `front.head`, `front.proxies`: It is looked at,
   for long.
3. `sites.site`: It is handed on.
   - `cluster.history`: It is written down,
   - `cluster.control`: and told.
4. `sites.generation`: It is counted.
5. `sites.state`: It ends.

### A visit

1. As in [a request](#a-request), from `front.proxies` to `sites.generation`: It is short.
2. `sites.gate`: It is over.

## Something else

1. `errors`: Not a step.
"""


class TracedGateway(Gateway):
    """A gateway whose processes write traces, from the first call of ``start`` on."""

    def __init__(self, folder: Path, site: BuiltSite, start: str, *options: str) -> None:
        self.start_of_traces = start
        self._traces = folder / "traces"
        self._traces.mkdir()
        environ = {"TRACE_FOLDER": str(self._traces), "TRACE_FROM": start}
        options = (*PROTOCOL, *options)
        app = "tests.integration.traced:app"
        super().__init__(folder, {site.name: site.entry}, environ, options, app)

    def arm(self) -> None:
        """Have every process record what it does from now on."""
        traces = self._paths()
        for pid in traces:
            os.kill(pid, signal.SIGUSR1)
        until(
            lambda: all(ARMED in trace.read_text() for trace in traces.values()), "all will record"
        )

    def follow(self, walks: Mapping[int, Walk]) -> None:
        """Wait for the end of each walk, and assert that it goes where the document says.

        ``walks`` are those of the processes, by process id.
        """

        def traces() -> dict[int, list[Entry]]:
            return {pid: read_trace(path) for pid, path in self._paths().items() if pid in walks}

        def complete() -> bool:
            return all(walks[pid].is_complete(trace) for pid, trace in traces().items())

        with suppress(TimeoutError):  # the differences say more
            until(complete, "the walks are complete")
        for pid, trace in traces().items():
            assert trace, f"process {pid} has not called {self.start_of_traces}"
            assert not (told := walks[pid].differences(trace)), told

    @property
    def processes(self) -> list[int]:
        """The process ids of those that serve."""
        return list(self._paths())

    def _paths(self) -> dict[int, Path]:
        return {int(path.stem): path for path in self._traces.glob("*.trace")}


@pytest.fixture(scope="module")
def walks() -> dict[str, Walk]:
    return read_walks(DOCUMENT.read_text())


def _visit(gateway: Gateway, site: BuiltSite) -> None:
    """Look at the front page, and go: a connection that stays would be closed at any time."""
    with client_for(site.host, gateway.port) as client:
        assert client.get("/").status_code == 200


def _with(site: BuiltSite, **keys: Any) -> BuiltSite:
    return BuiltSite(site.name, {**site.entry, **keys})


def test_a_request(guestbook: BuiltSite, walks: dict[str, Walk], tmp_path: Path) -> None:
    with TracedGateway(tmp_path, guestbook, A_CONNECTION) as gateway:
        _visit(gateway, guestbook)
        gateway.arm()
        _visit(gateway, guestbook)
        gateway.follow({gateway.pid: walks["a-request"]})


def test_a_first_load(guestbook: BuiltSite, walks: dict[str, Walk], tmp_path: Path) -> None:
    with TracedGateway(tmp_path, guestbook, A_CONNECTION) as gateway:
        gateway.arm()
        _visit(gateway, guestbook)
        gateway.follow({gateway.pid: walks["a-first-load"]})


def test_a_reload_with_three_workers(walks: dict[str, Walk], tmp_path: Path) -> None:
    site = _with(sample_site(tmp_path, "guestbook"), preload=True)
    start = f"{A_CONNECTION},{AN_ORDER}"
    with TracedGateway(tmp_path, site, start, "--workers", str(WORKERS)) as gateway:

        def all_serve() -> bool:
            health = gateway.health()
            states = [
                told["sites"].get(site.name, {}).get("state")
                for told in (health, *health.get("workers", {}).values())
            ]
            return states == ["ready"] * WORKERS

        until(all_serve, "all workers have loaded the site")
        append(site, "core/__init__.py", "\n# A new release.\n")
        gateway.arm()
        headers = {"Authorization": f"Bearer {gateway.token}"}
        with client_for("localhost", gateway.port, headers) as operator:
            answer = operator.post("/_reload")
        assert answer.status_code == 200, answer.text
        asked = int(answer.json()["worker"].partition("-")[0])
        assert len(gateway.processes) == WORKERS
        others = dict.fromkeys(gateway.processes, walks["each-of-the-others"])
        gateway.follow({**others, asked: walks["the-worker-that-is-asked"]})


def test_an_unload(guestbook: BuiltSite, walks: dict[str, Walk], tmp_path: Path) -> None:
    site = _with(guestbook, limits={"idle_timeout": 1})
    with TracedGateway(tmp_path, site, AN_UNLOAD) as gateway:
        gateway.arm()
        _visit(gateway, site)
        gateway.follow({gateway.pid: walks["an-unload"]})


def test_the_document_names_modules_that_there_are(walks: dict[str, Walk]) -> None:
    for walk in walks.values():
        assert [each for each in walk.modules | walk.everywhere if not exists(each)] == []


def _trace(modules: str) -> list[Entry]:
    return [Entry(module, "work", "7") for module in modules.split()]


def test_steps_are_read_from_lists() -> None:
    request, visit = read_walks(EXAMPLE).values()
    assert request.everywhere == {"log"}
    assert request.chains == (
        (
            "main",
            "front.head",
            "front.proxies",
            "sites.site",
            "sites.generation",
            "sites.state",
        ),
        ("sites.site", "cluster.history", "cluster.control"),
    )
    assert visit.chains == (
        ("front.proxies", "sites.site", "sites.generation", "sites.gate"),
        ("sites.site", "cluster.history", "cluster.control"),
    )


@pytest.mark.parametrize(
    "step", ["Something happens.", "`main` does something.", "`front.head`: For the second time."]
)
def test_a_step_that_cannot_be_compared_is_an_error(step: str) -> None:
    with pytest.raises(ValueError, match=re.escape(step)):
        read_walks(EXAMPLE.replace("`sites.state`: It ends.", step))


@pytest.mark.parametrize(
    "modules",
    [
        "main front.head front.proxies sites.site cluster.history cluster.control sites.generation "
        "sites.state",
        "main front.head front.proxies sites.site sites.generation sites.state cluster.history "
        "cluster.control",
        "main log front.head front.proxies sites.site cluster.history sites.generation "
        "cluster.control sites.state",
    ],
)
def test_what_runs_beside_may_come_at_any_time(modules: str) -> None:
    walk = read_walks(EXAMPLE)["a-request"]
    assert walk.is_complete(_trace(modules))
    assert walk.differences(_trace(modules)) == ""


@pytest.mark.parametrize(
    ("modules", "told"),
    [
        (
            "main front.proxies front.head sites.site cluster.history cluster.control "
            "sites.generation sites.state",
            "another order",
        ),
        (
            "main front.head front.proxies cluster.history sites.site cluster.control "
            "sites.generation sites.state",
            "another order",
        ),
        (
            "main front.head front.proxies sites.site cluster.control cluster.history "
            "sites.generation sites.state",
            "another order",
        ),
        (
            "main front.head front.proxies sites.site cluster.history cluster.control sites.state",
            "`sites.generation` is named and was not entered",
        ),
        (
            "main front.head front.proxies config.hosts sites.site cluster.history cluster.control "
            "sites.generation sites.state",
            "`config.hosts` was entered and is not named: after `front.proxies`, by work on thread "
            "7",
        ),
    ],
)
def test_differences_are_told(modules: str, told: str) -> None:
    assert told in read_walks(EXAMPLE)["a-request"].differences(_trace(modules))


def test_a_module_that_was_renamed_is_told() -> None:
    walk = read_walks(EXAMPLE.replace("sites.state", "sites.states"))["a-request"]
    assert "`sites.states` is named and was not entered; there is no such module" in (
        walk.differences(_trace("main"))
    )
