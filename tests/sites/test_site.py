"""One site: loading, failing, serving, reloading, closing."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest

from gateway.config.limits import Limits
from gateway.errors import Fault, LoadError
from gateway.sites.events import THE_STOP
from gateway.sites.site import FaultySite, Site, UnusableSite
from gateway.sites.state import State

pytestmark = pytest.mark.anyio


@pytest.fixture
def site(entry: Any, backend: Any, clock: Any) -> Site:
    return Site(entry("shop"), backend, retry=5, clock=clock)


# Failures first


async def test_a_site_that_does_not_load_shows_an_id_and_no_detail(
    site: Site, backend: Any, get: Any, caplog: pytest.LogCaptureFixture
) -> None:
    backend.errors["shop"] = LoadError("ImportError: no module x", "Traceback: deep inside")
    answer = await get(site)
    assert answer.status_code == 503
    assert site.failure is not None
    assert site.failure.error_id in answer.text
    assert "ImportError" not in answer.text
    assert "shop" not in answer.text
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["retry-after"] == "5"
    assert f"error {site.failure.error_id}" in caplog.text
    assert "Traceback: deep inside" in caplog.text
    status = site.status()
    assert (status.state, status.generation, status.loaded_at) == (State.FAILED, 0, None)


async def test_the_log_has_no_empty_line_where_there_is_no_traceback(
    site: Site, backend: Any, caplog: pytest.LogCaptureFixture
) -> None:
    backend.errors["shop"] = LoadError("it is refused")
    await site.load()
    (line,) = (m for m in caplog.messages if "it is refused" in m)
    assert line.endswith(": it is refused")


@pytest.mark.parametrize("error", [RuntimeError("a\nb"), SystemExit(2)])
async def test_an_error_that_is_no_load_error_fails_the_site_alone(
    site: Site, backend: Any, get: Any, error: BaseException
) -> None:
    backend.errors["shop"] = error
    assert (await get(site)).status_code == 503
    assert site.failure is not None
    assert site.failure.reason == f"{type(error).__name__}: {' '.join(str(error).split())}"
    assert "Traceback (most recent call last)" in site.failure.traceback


async def test_values_of_the_environment_are_masked_everywhere(
    site: Site, backend: Any, get: Any, caplog: pytest.LogCaptureFixture
) -> None:
    backend.errors["shop"] = LoadError("not open-sesame", "Traceback: not open-sesame")
    await get(site)
    assert site.failure is not None
    assert "open-sesame" not in site.failure.reason + site.failure.traceback
    del backend.errors["shop"]
    await site.reload()
    assert (await get(site, "/raise?open-sesame")).status_code == 500
    assert (await get(site, "/open-sesame")).status_code == 200
    assert "RuntimeError" in caplog.text
    assert "open-sesame" not in caplog.text


async def test_a_failed_site_is_tried_again_only_after_a_back_off_that_doubles(
    site: Site, backend: Any, clock: Any, get: Any
) -> None:
    backend.errors["shop"] = LoadError("no")
    for wait in (5, 10, 20, 40, 60, 60):
        assert (await get(site)).status_code == 503
        attempts = len(backend.loads)
        clock.now += wait - 1
        assert (await get(site)).headers["retry-after"] == "1"
        assert len(backend.loads) == attempts, "an attempt came too early"
        clock.now += 1
    backend.errors.clear()
    assert (await get(site)).text == "shop 7"
    assert site.failure is None


async def test_success_ends_the_back_off(site: Site, backend: Any, clock: Any, get: Any) -> None:
    backend.errors["shop"] = LoadError("no")
    for _ in range(3):
        await site.reload()
    backend.errors.clear()
    await site.reload()
    backend.errors["shop"] = LoadError("no")
    await site.reload()
    assert (await get(site)).text == "shop 4"


@pytest.mark.parametrize("path", ["/raise", "/exit"])
async def test_an_exception_of_the_site_is_a_500_that_harms_nobody(
    site: Site, get: Any, path: str, caplog: pytest.LogCaptureFixture
) -> None:
    answer = await get(site, path)
    assert answer.status_code == 500
    error_id = caplog.text.partition("(error ")[2][:8]
    assert error_id in answer.text
    assert "password" not in answer.text
    assert (await get(site)).text == "shop 1"


async def test_a_response_that_breaks_off_is_not_completed(
    site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    async def receive() -> Any:
        return {"type": "http.request"}

    await site({"type": "http", "method": "GET", "path": "/half"}, receive, send)
    assert [message["type"] for message in sent] == ["http.response.start"]
    assert "in the middle" in caplog.text


# Loading


async def test_fifty_first_requests_load_once(site: Site, backend: Any, get: Any) -> None:
    loaded = backend.hold("shop")
    requests = [asyncio.create_task(get(site)) for _ in range(50)]
    await backend.loading["shop"].wait()
    assert site.state is State.LOADING
    loaded.set()
    assert {(await request).text for request in requests} == {"shop 1"}
    assert backend.loads == [("shop", 1)]


async def test_a_client_that_leaves_does_not_end_the_load(
    site: Site, backend: Any, get: Any
) -> None:
    loaded = backend.hold("shop")
    first, second = (asyncio.create_task(get(site)) for _ in range(2))
    await backend.loading["shop"].wait()
    first.cancel()
    await asyncio.wait({first})
    loaded.set()
    assert (await second).text == "shop 1"
    assert backend.loads == [("shop", 1)]


async def test_a_visitor_does_not_wait_for_ever(entry: Any, backend: Any, get: Any) -> None:
    site = Site(entry("shop"), backend, load_wait=0)
    loaded = backend.hold("shop")
    assert (await get(site)).status_code == 503
    loaded.set()
    await site.load()
    assert (await get(site)).text == "shop 1"


async def test_what_a_retiring_generation_was_loaded_with_is_masked(
    site: Site, entry: Any, get: Any, caplog: pytest.LogCaptureFixture
) -> None:
    await site.load()
    site.config = entry("shop", env={"PASSWORD": "another"})
    assert (await get(site, "/raise")).status_code == 500
    assert "open-sesame" not in caplog.text


async def test_status_tells_when_and_how_long(
    site: Site, backend: Any, clock: Any, get: Any
) -> None:
    loaded = backend.hold("shop")
    request = asyncio.create_task(get(site))
    await backend.loading["shop"].wait()
    clock.now += 0.25
    loaded.set()
    await request
    status = site.status()
    assert (status.state, status.generation, status.load_ms) == (State.READY, 1, 250.0)
    assert status.loaded_at is not None
    assert status.loaded_at.endswith("+00:00")


async def test_load_does_nothing_when_a_generation_serves(site: Site, backend: Any) -> None:
    await site.load()
    await site.load()
    assert backend.loads == [("shop", 1)]


# Reloading


async def test_a_reload_that_fails_keeps_the_old_generation(
    site: Site, backend: Any, get: Any, caplog: pytest.LogCaptureFixture
) -> None:
    await site.load()
    backend.errors["shop"] = LoadError("SyntaxError")
    await site.reload()
    assert (await get(site)).text == "shop 1"
    assert site.status().failure is not None
    assert site.state is State.READY
    assert "the old code goes on serving" in caplog.text
    backend.errors.clear()
    await site.reload()
    assert (await get(site)).text == "shop 3"
    assert site.status().failure is None


async def test_requests_during_a_reload_are_served_by_the_old_generation(
    site: Site, backend: Any, get: Any
) -> None:
    await site.load()
    loaded = backend.hold("shop")
    reload = asyncio.create_task(site.reload())
    await backend.loading["shop"].wait()
    assert (await get(site)).text == "shop 1"
    loaded.set()
    await reload
    assert (await get(site)).text == "shop 2"


async def test_the_old_generation_is_unloaded_after_its_last_request(
    site: Site, backend: Any, get: Any
) -> None:
    slow = asyncio.create_task(get(site, "/slow"))
    await backend.busy.wait()
    await site.reload()
    assert (await get(site)).text == "shop 2"
    assert backend.closed == []
    backend.release.set()
    assert (await slow).text == "shop 1"
    await backend.unloaded.wait()
    assert backend.closed == [("shop", 1)]


async def test_a_reload_during_a_load_loads_again(site: Site, backend: Any, get: Any) -> None:
    loaded = backend.hold("shop")
    request = asyncio.create_task(get(site))
    await backend.loading["shop"].wait()
    reload = asyncio.create_task(site.reload())
    loaded.set()
    await reload
    assert (await request).status_code == 200
    assert backend.loads == [("shop", 1), ("shop", 2)]


async def test_numbers_go_on_after_failures_and_after_an_earlier_site(
    entry: Any, backend: Any
) -> None:
    site = Site(entry("shop"), backend, generations=7)
    await site.load()
    backend.errors["shop"] = LoadError("no")
    await site.reload()
    backend.errors.clear()
    await site.reload()
    assert backend.loads == [("shop", 8), ("shop", 9), ("shop", 10)]
    assert site.status().generation == 10


# Closing


async def test_closing_abandons_the_load_and_lets_those_who_wait_go(
    site: Site, backend: Any, get: Any
) -> None:
    backend.hold("shop")
    request = asyncio.create_task(get(site))
    await backend.loading["shop"].wait()
    await site.close(THE_STOP)
    assert (await request).status_code == 503
    assert backend.cancelled == ["shop"]
    assert site.state is State.CLOSED


async def test_closing_waits_for_requests_in_flight(site: Site, backend: Any, get: Any) -> None:
    slow = asyncio.create_task(get(site, "/slow"))
    await backend.busy.wait()
    closing = asyncio.create_task(site.close(THE_STOP))
    backend.release.set()
    await closing
    assert (await slow).text == "shop 1"
    assert backend.closed == [("shop", 1)]


async def test_requests_that_do_not_end_are_given_up(
    site: Site, backend: Any, get: Any, caplog: pytest.LogCaptureFixture
) -> None:
    slow = asyncio.create_task(get(site, "/slow"))
    await backend.busy.wait()
    patient = asyncio.create_task(site.close(THE_STOP))
    await site.close(THE_STOP, drain=0)
    await patient
    assert backend.closed == [("shop", 1)]
    assert "1 of its requests have not ended" in caplog.text
    slow.cancel()
    await asyncio.wait({slow})


async def test_a_closed_site_answers_503_and_loads_no_more(
    site: Site, backend: Any, get: Any
) -> None:
    await site.close(THE_STOP)
    assert (await get(site)).status_code == 503
    await site.load()
    await site.reload()
    assert backend.loads == []
    assert site.state is State.CLOSED


# A site that cannot be served


async def test_an_unusable_site_tells_visitors_nothing(
    get: Any, caplog: pytest.LogCaptureFixture
) -> None:
    faults = (
        Fault("$.sites.shop.path", "there is no such folder", "shop"),
        Fault("$.sites.shop.wsgi", "not found", "shop"),
    )
    with caplog.at_level(logging.DEBUG):
        site = UnusableSite(FaultySite("shop", ("shop.example",), faults))
        answer = await get(site)
    assert answer.status_code == 503
    assert "folder" not in answer.text
    assert site.failure.error_id in answer.text
    status = site.status()
    assert status.state is State.FAILED
    assert status.failure is not None
    assert "there is no such folder (and 1 more)" in status.failure.reason
    assert "not found" in status.failure.traceback


# Probing and retiring


async def test_a_first_load_is_not_probed_and_a_reload_is(
    site: Site, backend: Any, get: Any
) -> None:
    await get(site)
    assert [number for number, _ in backend.asked] == [1]
    await site.reload()
    number, scope = backend.asked[-1]
    assert (number, scope["path"]) == (2, "/")
    assert (await get(site)).text == "shop 2"


async def test_code_that_does_not_pass_the_probe_is_unloaded_and_the_old_goes_on(
    site: Site, backend: Any, get: Any, caplog: pytest.LogCaptureFixture
) -> None:
    await get(site)
    backend.broken = {2}
    await site.reload()
    await asyncio.wait_for(backend.unloaded.wait(), 5)
    assert backend.closed == [("shop", 2)]
    assert site.failure is not None
    assert site.failure.reason.startswith("the probe GET / failed: ")
    assert "shop: generation 2 did not pass its probe (error " in caplog.text
    assert "did not load" not in caplog.text
    assert "open-sesame" not in site.failure.reason + site.failure.traceback
    assert (site.state, (await get(site)).text) == (State.READY, "shop 1")
    await site.reload()
    assert (site.failure, (await get(site)).text) == (None, "shop 3")


async def test_code_that_does_not_pass_a_probe_as_the_old_code_does_not_replaces_it(
    site: Site, backend: Any, get: Any, caplog: pytest.LogCaptureFixture
) -> None:
    backend.broken = {1, 2}
    await get(site)
    await site.reload()
    await asyncio.wait_for(backend.unloaded.wait(), 5)
    assert backend.closed == [("shop", 1)]
    assert [number for number, _ in backend.asked] == [1, 2, 1]
    status = site.status()
    assert (status.generation, status.failure) == (2, None)
    assert "generation 2 takes over without passing: the probe GET / failed: " in caplog.text
    assert "Traceback" in caplog.text
    assert "open-sesame" not in f"{status.warning}{caplog.text}"
    await site.reload()
    assert ((await get(site)).text, site.status().warning) == ("shop 3", None)


async def test_code_that_does_not_answer_does_not_replace_what_answers_with_an_error(
    site: Site, backend: Any, get: Any, entry: Any
) -> None:
    site.config = entry("shop", probe="/slow", limits=Limits(probe_timeout=0.05))
    backend.broken = {1}
    await get(site)
    await site.reload()
    assert site.failure is not None
    assert site.failure.reason == "the probe GET /slow took over 0.05 s"
    assert site.status().generation == 1


async def test_closing_while_the_old_code_is_probed_unloads_both(
    site: Site, backend: Any, get: Any, entry: Any
) -> None:
    await get(site)
    site.config = entry("shop", probe="/slow")
    backend.broken = {2}
    reload = asyncio.create_task(site.reload())
    await backend.busy.wait()
    await site.close(THE_STOP, 0)
    await reload
    assert sorted(backend.closed) == [("shop", 1), ("shop", 2)]


async def test_closing_during_the_probe_unloads_the_new_code_as_well(
    site: Site, backend: Any, get: Any, entry: Any
) -> None:
    await get(site)
    site.config = entry("shop", probe="/slow")
    reload = asyncio.create_task(site.reload())
    await backend.busy.wait()
    await site.close(THE_STOP)
    await reload
    assert sorted(backend.closed) == [("shop", 1), ("shop", 2)]


async def test_what_requests_do_that_do_not_end_is_in_the_log(
    site: Site, backend: Any, get: Any, entry: Any, caplog: pytest.LogCaptureFixture
) -> None:
    site.config = entry("shop", limits=Limits(drain_timeout=0.01))
    slow = asyncio.create_task(get(site, "/slow"))
    await backend.busy.wait()
    await site.reload()
    await asyncio.wait_for(backend.unloaded.wait(), 5)
    assert "generation 1 is unloaded although 1 of its requests have not ended" in caplog.text
    assert "a request that holds" in caplog.text
    assert "open-sesame" not in caplog.text
    slow.cancel()
