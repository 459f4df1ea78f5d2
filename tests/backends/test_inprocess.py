from __future__ import annotations

import asyncio
import gc
import itertools
import os
import sqlite3
import sys
import time
from dataclasses import replace
from pathlib import Path

import anyio
import pytest

from gateway.backends.inprocess import _TURNS, InProcessBackend
from gateway.config import SiteConfig
from gateway.config.limits import Limits
from gateway.errors import LoadError
from tests.folders import needs_folders

from .projects import ask, project

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("def application(:", "SyntaxError: "),
        ("import not_installed", "ModuleNotFoundError: No module named 'not_installed'"),
        ("import sys; sys.exit('no')", "SystemExit: no"),
        ("raise KeyboardInterrupt", "KeyboardInterrupt"),
        ("application = None", "TypeError: app:application is not callable"),
        ("", "AttributeError: module 'app' has no attribute 'application'"),
        ("raise ValueError('two\\nlines')", "ValueError: two lines"),
    ],
)
async def test_code_that_does_not_come_up_is_a_load_error_of_one_line(
    backend: InProcessBackend, tmp_path: Path, source: str, reason: str
) -> None:
    with pytest.raises(LoadError) as caught:
        await backend.load(project(tmp_path, source), 1)
    assert caught.value.reason.startswith(reason)
    assert "\n" not in caught.value.reason
    assert "Traceback" in caught.value.traceback


async def test_a_folder_that_has_gone_is_a_load_error(
    backend: InProcessBackend, tmp_path: Path
) -> None:
    folder = tmp_path / "release"
    folder.mkdir()
    config = project(folder, "")
    (folder / "app.py").unlink()
    folder.rmdir()
    with pytest.raises(LoadError, match="release"):
        await backend.load(config, 1)


async def test_an_environment_for_another_python_is_named_with_both_versions(
    backend: InProcessBackend, tmp_path: Path
) -> None:
    config = project(tmp_path, "")
    venv = tmp_path / "venv"
    (venv / "lib/python3.7/site-packages").mkdir(parents=True)
    (venv / "pyvenv.cfg").write_text("version = 3.7.17\n")
    with pytest.raises(LoadError) as caught:
        await backend.load(replace(config, venv=venv), 1)
    assert "3.7.17" in caught.value.reason
    assert f"{sys.version_info.major}.{sys.version_info.minor}" in caught.value.reason


ENVIRONMENT = """
import os
def application(environ, start_response):
    start_response("200 OK", [])
    return [repr(sorted(os.environ.items())).encode(), os.getcwd().encode()]
"""


@needs_folders
async def test_a_site_sees_its_own_environment_and_folder(
    backend: InProcessBackend, tmp_path: Path
) -> None:
    before = os.getcwd()
    generation = await backend.load(project(tmp_path, ENVIRONMENT, WHO="shop"), 1)
    answer = await ask(generation)
    assert answer.startswith(b"[('WHO', 'shop')]")
    assert answer.endswith(str(tmp_path.resolve()).encode())
    assert os.getcwd() == before
    await generation.close()


@needs_folders
async def test_a_site_that_goes_elsewhere_when_it_loads(
    backend: InProcessBackend, tmp_path: Path
) -> None:
    """Its requests begin where it went, whatever the one before on that thread did."""
    (tmp_path / "data").mkdir()
    going = ENVIRONMENT.replace("import os\n", "import os\nos.chdir('data')\n")
    going = going.replace("return [", "here = os.getcwd(); os.chdir('/'); return [here.encode(),")
    generation = await backend.load(project(tmp_path, going), 1)
    for _ in range(3):
        answer = await ask(generation)
        assert answer.startswith(str(tmp_path.resolve() / "data").encode())
    await generation.close()


async def test_a_release_keeps_reading_its_own_folder_when_the_link_moves(
    backend: InProcessBackend, tmp_path: Path
) -> None:
    lazily = """
    def application(environ, start_response):
        import part
        start_response("200 OK", [])
        return [part.NAME.encode()]
    """
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        config = project(tmp_path / name, lazily)
        (tmp_path / name / "part.py").write_text(f"NAME = {name!r}")
    current = tmp_path / "current"
    current.symlink_to("one")
    config = replace(config, path=current)
    first = await backend.load(config, 1)
    current.unlink()
    current.symlink_to("two")
    second = await backend.load(config, 2)
    assert [await ask(first), await ask(second)] == [b"one", b"two"]
    await first.close()
    await second.close()


async def test_unloading_runs_exit_functions_and_gives_up_the_seats(
    backend: InProcessBackend, tmp_path: Path
) -> None:
    source = """
    import atexit, pathlib
    atexit.register(pathlib.Path(__file__).with_name("left").touch)
    atexit.register(lambda: 1 / 0)
    def application(environ, start_response):
        start_response("200 OK", [])
        return [b"here"]
    """
    generation = await backend.load(project(tmp_path, source), 1)
    assert await ask(generation) == b"here"
    assert generation._threads.seats == 1
    await generation.close()
    assert (tmp_path / "left").exists()
    assert not generation._threads.seats


async def test_a_load_that_nobody_waits_for_any_more_is_unloaded(
    backend: InProcessBackend, tmp_path: Path
) -> None:
    source = """
    import atexit, pathlib
    here = pathlib.Path(__file__).parent
    atexit.register((here / "left").touch)
    (here / "started").touch()
    with open(here / "go") as fifo:
        fifo.read()
    application = print
    """
    os.mkfifo(tmp_path / "go")
    with anyio.fail_after(60):
        load = asyncio.create_task(backend.load(project(tmp_path, source), 1))
        while not (tmp_path / "started").exists():
            await asyncio.sleep(0.01)
        load.cancel()
        with pytest.raises(asyncio.CancelledError):
            await load
        assert not (tmp_path / "left").exists()
        (tmp_path / "go").write_text("")
        while not (tmp_path / "left").exists():
            await asyncio.sleep(0.01)


async def test_records_of_a_site_carry_its_name_and_generation(
    backend: InProcessBackend, tmp_path: Path
) -> None:
    source = """
    import io, logging
    out = io.StringIO()
    logging.basicConfig(stream=out, format="%(site)s #%(generation)d %(message)s")
    logging.getLogger("orders").warning("sold out")
    def application(environ, start_response):
        start_response("200 OK", [])
        return [out.getvalue().encode()]
    """
    generation = await backend.load(project(tmp_path, source), 3)
    assert await ask(generation) == b"shop #3 sold out\n"
    await generation.close()


async def test_code_that_does_not_load_is_left_as_at_the_end_of_a_process(
    backend: InProcessBackend, tmp_path: Path
) -> None:
    """Its exit functions run, and what it put into tables of the process is gone."""
    source = """
    import atexit, pathlib, sqlite3
    class Money: pass
    sqlite3.register_adapter(Money, str)
    atexit.register(pathlib.Path("left").touch)
    raise RuntimeError("after that")
    """
    before = len(sqlite3.adapters)
    with pytest.raises(LoadError, match="after that"):
        await backend.load(project(tmp_path, source), 1)
    assert (tmp_path / "left").exists()
    assert len(sqlite3.adapters) == before


async def test_a_load_that_hangs_fails_after_its_time_and_says_where(tmp_path: Path) -> None:
    source = "import threading; never = threading.Event().wait; never(); application = print"
    config = replace(project(tmp_path, source), limits=Limits(load_timeout=0.2))
    async with InProcessBackend(threads=1) as backend:
        with pytest.raises(LoadError, match=r"did not load within 0\.2 s") as caught:
            await backend.load(config, 1)
    assert "app.py" in caught.value.traceback


async def test_a_load_that_hangs_lets_the_collector_go_on(tmp_path: Path) -> None:
    source = "import threading; threading.Event().wait(1); application = print"
    async with InProcessBackend(threads=1, uncollected=0.2) as backend:
        load = asyncio.create_task(backend.load(project(tmp_path, source), 1))
        while gc.isenabled():
            await asyncio.sleep(0.01)
        while not gc.isenabled():
            assert not load.done()
            await asyncio.sleep(0.01)
        await (await load).close()
    assert gc.isenabled()


async def test_loads_take_turns_and_those_that_hang_hold_nobody_up(tmp_path: Path) -> None:
    at_once = tmp_path / "at once"
    note = f"open({str(at_once)!r}, 'a').write(%r)"
    counting = f"{note % '+'}; import time; time.sleep(0.02); {note % '-'}; application = print"
    hanging = "import threading; threading.Event().wait(3); application = print"

    def site(name: str, source: str) -> SiteConfig:
        (tmp_path / name).mkdir()
        return replace(project(tmp_path / name, source), name=name)

    async with InProcessBackend(threads=1, turn=0.3) as backend:
        stuck = [
            asyncio.create_task(backend.load(site(f"stuck{n}", hanging), 1)) for n in range(_TURNS)
        ]
        await asyncio.sleep(0.1)
        started = time.monotonic()
        configs = [site(f"site{n}", counting) for n in range(3 * _TURNS)]
        generations = await asyncio.gather(*(backend.load(config, 1) for config in configs))
        assert 0.1 < time.monotonic() - started < 2.5
        assert not any(load.done() for load in stuck)
        for generation in [*generations, *await asyncio.gather(*stuck)]:
            await generation.close()
    signs = at_once.read_text()
    running = list(itertools.accumulate(1 if sign == "+" else -1 for sign in signs))
    assert len(running) == 6 * _TURNS
    assert 1 < max(running) <= _TURNS


async def test_the_collector_runs_again_after_a_load(
    backend: InProcessBackend, tmp_path: Path
) -> None:
    # Not by the site's gc, which is a view and always enabled.
    source = "import ctypes; held = not ctypes.pythonapi.PyGC_IsEnabled(); application = print"
    generation = await backend.load(project(tmp_path, source), 1)
    assert generation._namespace.import_module("app").__dict__["held"]
    assert gc.isenabled()
    await generation.close()
