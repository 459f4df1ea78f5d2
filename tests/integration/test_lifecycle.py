"""How sites come up, or fail to, and what that means for everybody else."""

from __future__ import annotations

import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Final

import pytest

from .actions import append, ask, front, open_gate, reload
from .servers import Gateway
from .sites import BuiltSite, tiny_site
from .waiting import until

FAULTS: Final = {
    "a syntax error": ("core/views.py", "\ndef broken(:\n", "SyntaxError"),
    "a missing dependency": ("core/urls.py", "\nimport no_such_library\n", "no_such_library"),
    "a bad setting": (
        "core/settings.py",
        '\nALLOWED_HOSTS = "everything"\n',
        "ALLOWED_HOSTS setting must be a list",
    ),
    "sys.exit() at import": ("core/wsgi.py", "\nraise SystemExit(3)\n", "SystemExit: 3"),
}
CROWD: Final = 50
_ERROR_ID: Final = re.compile(r"<code>([0-9a-f]{8})</code>")

Serve = Callable[[BuiltSite], None]


def loads_of(site: BuiltSite) -> int:
    """How often the site's code was imported."""
    file = site.folder / "loads.txt"
    return len(file.read_text().splitlines()) if file.exists() else 0


@pytest.mark.parametrize(("file", "text", "reason"), FAULTS.values(), ids=FAULTS)
def test_a_broken_site_fails_alone_and_says_why_to_operators_only(
    gateway: Gateway,
    healthy: BuiltSite,
    serve: Serve,
    tmp_path: Path,
    file: str,
    text: str,
    reason: str,
) -> None:
    site = tiny_site(tmp_path, "broken")
    repair = append(site, file, text)
    serve(site)
    page = front(gateway, site)
    assert page.status_code == 503
    assert int(page.headers["retry-after"]) >= 1
    shown = _ERROR_ID.search(page.text)
    assert shown, page.text
    for detail in (reason, "Traceback", file, "core", str(tmp_path), "Error:", "Django"):
        assert detail not in page.text

    told = gateway.operator().get("/_health/broken")
    assert told.status_code == 503
    assert told.json()["state"] == "failed"
    assert told.json()["error_id"] == shown[1]
    assert reason in told.json()["error"]
    assert reason in told.json()["traceback"]
    assert "Traceback" in told.json()["traceback"]
    (start,) = (found.start() for found in re.finditer(rf"error {shown[1]}", gateway.output))
    assert reason in gateway.output[start : start + 20_000]
    assert gateway.health()["status"] == "degraded"

    stranger = gateway.client("localhost").get("/_health/broken")
    assert stranger.status_code == 401
    assert reason not in stranger.text
    assert front(gateway, healthy).json()["site"] == "healthy"

    refused = reload(gateway, site)
    assert refused.status_code == 500
    assert refused.json()["status"] == "failed"
    assert refused.json()["sites"]["broken"]["outcome"] == "failed"
    assert reason in refused.json()["sites"]["broken"]["error"]
    repair()
    repaired = reload(gateway, site)
    assert repaired.status_code == 200
    assert repaired.json()["sites"]["broken"]["outcome"] == "loaded"
    assert front(gateway, site).json()["site"] == "broken"
    assert gateway.health()["status"] == "ok"


def test_a_request_tries_a_failed_site_again_after_a_while(
    gateway: Gateway, serve: Serve, tmp_path: Path
) -> None:
    site = tiny_site(tmp_path, "impatient")
    repair = append(site, *FAULTS["a missing dependency"][:2])
    serve(site)
    assert front(gateway, site).status_code == 503
    repair()
    until(lambda: front(gateway, site).status_code == 200, "the site is tried again")
    assert gateway.health("impatient")["error"] is None


def test_many_first_requests_at_once_load_a_site_once(
    gateway: Gateway, serve: Serve, tmp_path: Path, gate: Path
) -> None:
    site = tiny_site(tmp_path, "crowded", GATE=str(gate))
    serve(site)
    with ExitStack() as stack:
        visitors = [stack.enter_context(ask(gateway, site.host, "GET /")) for _ in range(CROWD)]
        # What was sent before has arrived once this is answered.
        assert gateway.state_of("crowded") == "loading"
        open_gate(gate)
        answers = [visitor.makefile("rb").read() for visitor in visitors]
    assert [answer.split(b"\r\n")[0] for answer in answers] == [b"HTTP/1.1 200 OK"] * CROWD
    assert loads_of(site) == 1
    assert gateway.health("crowded")["generation"] == 1


def test_a_site_that_loads_slowly_holds_up_nobody_else(
    gateway: Gateway, healthy: BuiltSite, serve: Serve, tmp_path: Path, gate: Path
) -> None:
    slow, fresh = tiny_site(tmp_path, "slow", GATE=str(gate)), tiny_site(tmp_path, "fresh")
    serve(slow)
    serve(fresh)
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(front, gateway, slow)
        until(lambda: gateway.state_of("slow") == "loading", "the slow site is being loaded")
        assert front(gateway, healthy).json()["site"] == "healthy"
        assert front(gateway, fresh).json()["site"] == "fresh"
        assert reload(gateway, healthy).json()["sites"]["healthy"]["outcome"] == "reloaded"
        assert not waiting.done()
        open_gate(gate)
        assert waiting.result().json()["site"] == "slow"


def test_a_site_that_never_finishes_loading_can_be_removed(
    gateway: Gateway, healthy: BuiltSite, serve: Serve, tmp_path: Path, gate: Path
) -> None:
    hung = tiny_site(tmp_path, "hung", GATE=str(gate))
    serve(hung)
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(front, gateway, hung)
        until(lambda: gateway.state_of("hung") == "loading", "the site is being loaded")
        gateway.write_sites({healthy.name: healthy.entry})
        assert waiting.result().status_code in {404, 503}
    assert front(gateway, hung).status_code == 404
    assert front(gateway, healthy).status_code == 200


def test_a_site_is_preloaded_if_it_wants_to_be(
    healthy: BuiltSite, tmp_path: Path, gateway: Gateway, serve: Serve
) -> None:
    site = tiny_site(tmp_path, "eager")
    serve(BuiltSite("eager", {**site.entry, "preload": True}))
    until(lambda: gateway.state_of("eager") == "ready", "the site is loaded without any request")
    assert loads_of(site) == 1


@pytest.mark.parametrize(
    ("waiting", "options", "limits"),
    [
        ((), (), {}),
        (("GET /", "POST /_reload?site=hung"), ("--timeout-graceful-shutdown", "1"), {}),
        # uvicorn waits for those who wait, and they for the load: that has a limit of its own.
        (("GET /", "POST /_reload?site=hung"), (), {"load_timeout": 2}),
    ],
    ids=["nobody waits", "uvicorn has a time limit", "uvicorn has none"],
)
def test_a_site_that_never_finishes_loading_does_not_hold_up_the_exit(
    tmp_path: Path,
    gate: Path,
    waiting: tuple[str, ...],
    options: tuple[str, ...],
    limits: dict[str, float],
) -> None:
    hung = tiny_site(tmp_path, "hung", GATE=str(gate))
    entry = {**hung.entry, "preload": not waiting, "limits": limits}
    with Gateway(tmp_path, {"hung": entry}, options=options) as gateway, ExitStack() as stack:
        for line in waiting:
            host = "localhost" if "_reload" in line else hung.host
            stack.enter_context(ask(gateway, host, line))
        until(lambda: gateway.state_of("hung") == "loading", "the site is being loaded")
        # Raises if it goes on. Those who wait have not hung up.
        gateway.stop()
