"""After an unload: it is gone, or what holds it is named."""

from __future__ import annotations

import asyncio
import gc
import json
import logging
import os
import threading
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path

import pytest

from gateway.backends import inprocess, unloading
from gateway.backends.inprocess import InProcessBackend
from gateway.backends.unloading import PILE
from gateway.config.limits import Limits
from gateway.errors import LoadError
from gateway.memory.collector import Pace
from gateway.namespace import Namespace
from gateway.namespace.survivors import Trace
from gateway.sites.events import Cause, Events, Happening, Survived

from .projects import ask, project

pytestmark = pytest.mark.anyio

OPERATOR = Cause("reload", "token 192.0.2.1")
LOOK = 0.2
"""Seconds without a request after which the collector may run."""
ANSWER = """
def application(environ, start_response):
    start_response("200 OK", [])
    return [b"fine"]
"""
SCHEDULER = f"""
import json, threading
# The standard library keeps it, where the test finds it: nothing of the site ends it.
json.ends = [*getattr(json, "ends", []), threading.Event()]
def schedule(end=json.ends[-1]):
    end.wait()
threading.Thread(target=schedule, name="scheduler of-the-secret", daemon=True).start()
{ANSWER}
"""
HANGING_EXIT = f"""
import atexit, json, threading
json.ends = [*getattr(json, "ends", []), threading.Event()]
@atexit.register
def never_ends(end=json.ends[-1]):
    end.wait()
{ANSWER}
"""


@pytest.fixture
def schedulers() -> object:
    """Ends the threads of ``SCHEDULER`` after the test."""
    yield
    for end in vars(json).pop("ends", []):
        end.set()


@pytest.fixture
async def backend(events: Events) -> AsyncIterator[InProcessBackend]:
    """The heap of the tests is large, and three collections of it would take 45 s by default."""
    pace = Pace(look=LOOK, asked_rest=1)
    async with InProcessBackend(threads=2, events=events, pace=pace) as backend:
        yield backend


async def until(condition: Callable[[], bool]) -> None:
    """Wait until it is true; collections in idle moments take a few seconds."""
    async with asyncio.timeout(60):
        while not condition():
            await asyncio.sleep(0.05)


async def test_a_generation_that_is_gone_is_reported_with_the_memory(
    backend: InProcessBackend, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "gateway.unloading")
    generation = await backend.load(project(tmp_path, ANSWER), 7)
    await generation.close()
    del generation
    await until(lambda: "shop: generation 7 is gone" in caplog.text)
    assert " MB meanwhile (RSS" in caplog.text
    assert backend.survivors("shop") == []


async def test_a_database_that_was_never_asked_holds_nothing(
    backend: InProcessBackend, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "gateway.unloading")
    source = """
        from django.conf import settings
        sqlite = {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}
        settings.configure(DATABASES={"default": sqlite})
        import django.db
        1 / 0
        """
    with pytest.raises(LoadError):
        await backend.load(project(tmp_path, source), 3)
    await until(lambda: "generation 3" in caplog.text)
    assert "shop: generation 3 is gone" in caplog.text


async def test_what_did_not_come_up_is_looked_after_as_well(
    backend: InProcessBackend, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "gateway.unloading")
    with pytest.raises(LoadError):
        await backend.load(project(tmp_path, "class A: pass\n1 / 0"), 3)
    await until(lambda: "shop: generation 3 is gone" in caplog.text)


@pytest.mark.parametrize(
    "source",
    [
        "import copy\nclass Thing:\n    def f(self): pass\n"
        "copy._deepcopy_dispatch[Thing] = Thing.f",
        "import copyreg\nclass Thing:\n    def f(self): pass\ncopyreg.pickle(Thing, Thing.f)",
        "import collections.abc\nclass Thing:\n    def f(self): pass\n"
        "collections.abc.Sequence.register(Thing)",
        "import sqlite3\nsqlite3.register_converter('thing', lambda value: value)",
        "from django.dispatch import Signal\nsignal = Signal()\n"
        "class Thing:\n    def f(self, **_): pass\nthing = Thing()\nsignal.connect(thing.f)",
    ],
    ids=["copy", "copyreg", "an abstract class", "sqlite3", "a receiver of a signal"],
)
async def test_registrations_in_shared_code_hold_nothing(
    backend: InProcessBackend, tmp_path: Path, source: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "gateway.unloading")
    generation = await backend.load(project(tmp_path, f"{source}\n{ANSWER}"), 1)
    await generation.close()
    del generation
    await until(lambda: "shop: generation 1 is gone" in caplog.text)


async def test_a_neighbour_keeps_its_entries(backend: InProcessBackend, tmp_path: Path) -> None:
    source = """
        import copy, sqlite3
        class Thing:
            def __init__(self, text="copied"):
                self.text = text
        copy._deepcopy_dispatch[Thing] = lambda thing, memo: Thing()
        sqlite3.register_converter("thing", lambda value: b"mine " + value)
        def application(environ, start_response):
            start_response("200 OK", [])
            connection = sqlite3.connect(":memory:", detect_types=sqlite3.PARSE_DECLTYPES)
            connection.execute("create table t (x thing)")
            connection.execute("insert into t values ('row')")
            value = connection.execute("select x from t").fetchone()[0]
            connection.close()
            return [copy.deepcopy(Thing("original")).text.encode() + b", " + value]
        """
    (tmp_path / "blog").mkdir()
    leaving = await backend.load(project(tmp_path, source), 1)
    staying = await backend.load(replace(project(tmp_path / "blog", source), name="blog"), 1)
    await leaving.close()
    assert await ask(staying) == b"copied, mine row"
    await staying.close()


async def test_what_holds_it_is_named_with_its_path(
    backend: InProcessBackend, events: Events, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    told: list[Happening] = []
    events.subscribe(told.append)
    source = f"""
import json.encoder
class Thing:
    def method(self): pass
json.encoder.LEAK = {{"of-the-secret": [None, Thing()]}}
{ANSWER}
"""
    try:
        generation = await backend.load(project(tmp_path, source, SECRET="of-the-secret"), 4)
        await generation.close(OPERATOR)
        del generation
        await until(lambda: told)
        path = "module json.encoder → LEAK (dict) → ******** (list) → [1] (app.Thing)"
        assert caplog.messages[-1].endswith(f"held by {path}")
        assert backend.survivors("shop") == [f"generation 4: {path}"]
        assert told == [Survived("shop", 4, OPERATOR, path)]
    finally:
        import json.encoder

        vars(json.encoder).pop("LEAK", None)
    gc.collect()
    assert backend.survivors("shop") == []


@pytest.mark.usefixtures("schedulers")
async def test_what_did_not_come_up_and_stays_is_told_as_well(
    backend: InProcessBackend, events: Events, tmp_path: Path
) -> None:
    told: list[Happening] = []
    events.subscribe(told.append)
    with pytest.raises(LoadError):
        await backend.load(project(tmp_path, f"{SCHEDULER}\n1 / 0"), 5, None, OPERATOR)
    await until(lambda: told)
    (survived,) = told
    assert isinstance(survived, Survived)
    assert (survived.site, survived.generation, survived.cause) == ("shop", 5, OPERATOR)
    assert "scheduler" in survived.holder


@pytest.fixture
async def busy(backend: InProcessBackend, tmp_path: Path) -> AsyncIterator[None]:
    """A neighbour is at a request all the time."""
    source = """
        import os
        def application(environ, start_response):
            start_response("200 OK", [])
            return [os.read(int(os.environ["PIPE"]), 1)]
        """
    end, begin = os.pipe()
    (tmp_path / "blog").mkdir()
    config = replace(project(tmp_path / "blog", source, PIPE=str(end)), name="blog")
    neighbour = await backend.load(config, 1)
    request = asyncio.create_task(ask(neighbour))
    await until(lambda: bool(neighbour.in_flight()))
    yield
    assert not request.done()
    os.write(begin, b"x")
    assert await request == b"x"
    await neighbour.close()
    for descriptor in (end, begin):
        os.close(descriptor)


@pytest.mark.usefixtures("busy")
async def test_generations_that_pile_up_do_not_wait_for_an_idle_moment(
    backend: InProcessBackend, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "gateway.unloading")
    config = project(tmp_path, ANSWER)
    for number in range(1, PILE):
        await (await backend.load(config, number)).close()
    await asyncio.sleep(5 * LOOK)
    assert "is gone" not in caplog.text
    await (await backend.load(config, PILE)).close()
    await until(lambda: caplog.text.count("is gone") == PILE)


@pytest.mark.usefixtures("schedulers")
async def test_a_site_whose_thread_survives_is_refused_past_the_limit(
    backend: InProcessBackend, tmp_path: Path
) -> None:
    config = project(tmp_path, SCHEDULER, SECRET="of-the-secret")
    config = replace(config, limits=Limits(max_survivors=2))
    for number in (1, 2):
        await (await backend.load(config, number)).close()
    serving = await backend.load(config, 3)  # nothing serves: better one more than no answer
    with pytest.raises(LoadError) as caught:
        await backend.load(config, 4)
    assert "2 of its unloaded generations are still in memory" in caught.value.reason
    assert 'generation 1: thread "scheduler ********", ' in caught.value.reason
    assert "app.py:6 in schedule" in caught.value.reason
    assert "atexit" in caught.value.reason
    assert await ask(serving) == b"fine"
    other = replace(config, limits=Limits(max_survivors=0))
    await (await backend.load(other, 5)).close()
    await serving.close()


@pytest.mark.usefixtures("schedulers")
async def test_a_thread_that_ends_after_all_counts_no_longer(
    backend: InProcessBackend, tmp_path: Path
) -> None:
    import json

    config = replace(project(tmp_path, SCHEDULER), limits=Limits(max_survivors=1))
    await (await backend.load(config, 1)).close()
    serving = await backend.load(config, 2)
    loading = asyncio.create_task(backend.load(config, 3))
    await asyncio.sleep(0)
    assert len(backend.survivors("shop")) == 1
    vars(json)["ends"][0].set()
    await (await loading).close()
    await serving.close()


async def test_the_search_is_bounded() -> None:
    namespace = Namespace("shop #1")
    trace = Trace(namespace)
    threads = threading.active_count()
    assert trace.holder(objects=0).startswith("nothing found among ")
    assert trace.holder(seconds=0).startswith("nothing found among ")
    assert threading.active_count() <= threads  # one of before may end meanwhile
    namespace.close()


async def test_an_unload_that_does_not_end_is_told_and_counts(
    backend: InProcessBackend,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    schedulers: object,
) -> None:
    monkeypatch.setattr(unloading, "LATE", 0.5)
    monkeypatch.setattr(inprocess, "LATE", 0.5)
    config = replace(project(tmp_path, HANGING_EXIT), limits=Limits(max_survivors=1))
    closing = asyncio.ensure_future((await backend.load(config, 1)).close())
    serving = await backend.load(config, 2)
    await until(lambda: "the unload of generation 1 has not ended" in caplog.text)
    assert "in never_ends" in caplog.text
    await until(lambda: backend.survivors(config.name))  # its thread began a little later
    (line,) = backend.survivors(config.name)
    assert "generation 1: its unload does not end" in line
    with pytest.raises(LoadError, match="generation 1: "):
        await backend.load(config, 3)
    for end in vars(json)["ends"]:
        end.set()
    await closing
    await serving.close()
    assert caplog.text.count("the unload of generation 1 has not ended") == 1


GOES_ON = """
import copy, json, threading
json.goes_on, json.ends = threading.Event(), [*getattr(json, "ends", []), threading.Event()]
class Thing:
    def f(self): pass
def application(environ, start_response, goes_on=json.goes_on, end=json.ends[-1]):
    goes_on.set()
    end.wait()
    copy._deepcopy_dispatch[Thing] = Thing.f
    raise LookupError
"""


@pytest.mark.usefixtures("schedulers")
async def test_what_a_request_registers_after_the_unload_is_forgotten_when_it_ends(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inprocess, "_PATIENCE", 0.1)
    caplog.set_level(logging.INFO, "gateway.unloading")
    async with InProcessBackend(threads=2, pace=Pace(look=LOOK, asked_rest=1)) as backend:
        generation = await backend.load(project(tmp_path, GOES_ON), 5)
        asked = asyncio.create_task(ask(generation))
        goes_on, ends = vars(json)["goes_on"], vars(json)["ends"]
        await asyncio.to_thread(goes_on.wait)
        await generation.close()
        with pytest.raises(Exception, match="unloaded"):
            await asked
        del generation, asked
        await until(lambda: "generation 5 is still in memory" in caplog.text)
        ends[-1].set()
        await until(lambda: "shop: generation 5 is gone" in caplog.text)
    assert caplog.text.count("generation 5 is gone") == 1
    del vars(json)["goes_on"]
