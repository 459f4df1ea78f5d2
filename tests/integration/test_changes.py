"""What reloads and edits of ``sites.json`` change while the gateway runs; wrong ones first."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from .actions import append, ask, front, open_gate, reload
from .servers import Gateway
from .sites import BuiltSite, tiny_site
from .waiting import until

Serve = Callable[[BuiltSite], None]


def test_an_unknown_site_cannot_be_reloaded(gateway: Gateway) -> None:
    answer = gateway.operator().post("/_reload", params={"site": "nobody"})
    assert answer.status_code == 404
    assert gateway.operator().get("/_health/nobody").status_code == 404
    assert gateway.operator().get("/_reload").status_code == 405


def test_a_reload_that_never_ends_does_not_hold_up_later_changes(
    healthy: BuiltSite, tmp_path: Path, gate: Path
) -> None:
    hung = tiny_site(tmp_path, "hung", GATE=str(gate))
    both = {site.name: site.entry for site in (healthy, hung)}
    with Gateway(tmp_path, both) as gateway, ask(gateway, "localhost", "POST /_reload?site=hung"):
        try:
            until(lambda: gateway.state_of("hung") == "loading", "the site is being loaded")
            gateway.write_sites({healthy.name: healthy.entry})
            until(lambda: "hung" not in gateway.health()["sites"], "the site is gone")
            assert reload(gateway, healthy).json()["status"] == "ok"
        finally:
            open_gate(gate)


def test_a_reload_that_fails_leaves_the_old_code_serving(
    gateway: Gateway, healthy: BuiltSite, serve: Serve, tmp_path: Path
) -> None:
    site = tiny_site(tmp_path, "steady")
    serve(site)
    assert front(gateway, site).json()["release"] == "first"
    assert front(gateway, healthy).status_code == 200
    repair = append(site, "core/views.py", "\nimport no_such_library\n")
    failed = reload(gateway)
    assert failed.status_code == 500
    assert failed.json()["sites"]["steady"]["outcome"] == "failed"
    assert failed.json()["sites"]["steady"]["generation"] == 1
    assert failed.json()["sites"]["healthy"]["outcome"] == "reloaded"
    assert front(gateway, site).json()["release"] == "first"
    assert gateway.state_of("steady") == "ready"

    repair()
    append(site, "core/views.py", '\nRELEASE = "second"\n')
    done = reload(gateway, site)
    assert done.status_code == 200, done.text
    assert done.json()["sites"] == {
        "steady": {
            "outcome": "reloaded",
            "generation": 3,
            "duration_ms": done.json()["sites"]["steady"]["duration_ms"],
            "error": None,
            "warning": None,
        }
    }
    assert front(gateway, site).json()["release"] == "second"


@pytest.mark.parametrize("in_place", [False, True], ids=["replaced", "written in place"])
def test_a_broken_edit_changes_nothing_and_says_why(
    gateway: Gateway, healthy: BuiltSite, serve: Serve, tmp_path: Path, in_place: bool
) -> None:
    site = tiny_site(tmp_path, "edited")
    serve(site)
    assert front(gateway, site).status_code == 200
    good = gateway.sites_json.read_text()
    broken = good.replace('"edited.localhost"', '"edited.localhost", "no host!"').replace(
        "healthy.localhost", "other.localhost"
    )
    if in_place:
        gateway.sites_json.write_text(broken)
    else:
        gateway.write_text(broken)
    until(lambda: "errors" in gateway.health(), "the edit is found to be broken")
    faults: list[dict[str, Any]] = gateway.health()["errors"]
    assert [fault["path"] for fault in faults] == ["$.sites.edited.hosts[1]"]
    assert "no host!" in faults[0]["message"]
    assert "$.sites.edited.hosts[1]" in gateway.output
    refused = reload(gateway)
    assert refused.status_code == 422
    assert refused.json() == {"status": "invalid", "errors": faults}
    assert front(gateway, site).status_code == 200
    assert front(gateway, healthy).status_code == 200, "half of the edit has come into effect"
    assert gateway.client("other.localhost").get("/").status_code == 404
    gateway.write_text(good)
    until(lambda: gateway.health()["status"] == "ok", "the file is found to be good again")


def test_an_edit_reloads_what_it_changes_and_nothing_else(
    gateway: Gateway, healthy: BuiltSite, serve: Serve, tmp_path: Path
) -> None:
    site = tiny_site(tmp_path, "changed", GREETING="hello")
    serve(site)
    assert front(gateway, site).json()["greeting"] == "hello"
    assert front(gateway, healthy).status_code == 200
    before = gateway.health("healthy")["generation"]
    env = {**site.entry["env"], "GREETING": "good evening"}
    entry = {**site.entry, "env": env, "hosts": [site.host, "renamed.localhost"]}
    gateway.write_sites({**gateway.sites, site.name: entry})
    until(
        lambda: front(gateway, site).json()["greeting"] == "good evening",
        "the new entry is in effect",
    )
    assert gateway.client("renamed.localhost").get("/").json()["site"] == "changed"
    assert gateway.health("changed")["generation"] == 2
    assert gateway.health("healthy")["generation"] == before


def test_an_edited_env_file_reloads_its_site(
    gateway: Gateway, serve: Serve, tmp_path: Path
) -> None:
    site = tiny_site(tmp_path, "configured")
    env_file = tmp_path / "production.env"
    env_file.write_text("GREETING=hello\n")
    serve(BuiltSite(site.name, {**site.entry, "env_file": str(env_file)}))
    assert front(gateway, site).json()["greeting"] == "hello"
    env_file.write_text("GREETING='good evening'\n")
    until(
        lambda: front(gateway, site).json()["greeting"] == "good evening",
        "the new file is in effect",
    )


def test_a_faulty_entry_at_the_start_takes_only_its_own_site_down(
    healthy: BuiltSite, tmp_path: Path
) -> None:
    faulty = {**healthy.entry, "hosts": ["faulty.localhost"], "path": "no/such/folder"}
    with Gateway(tmp_path, {"healthy": healthy.entry, "faulty": faulty}) as gateway:
        page = gateway.client("faulty.localhost").get("/")
        assert page.status_code == 503
        assert "no/such/folder" not in page.text
        assert front(gateway, healthy).status_code == 200
        assert gateway.health("faulty")["state"] == "failed"
        assert "$.sites.faulty.path" in gateway.health("faulty")["error"]
        assert "$.sites.faulty.path" in gateway.output


def test_a_file_that_is_no_json_is_answered_by_the_last_good_copy(
    healthy: BuiltSite, tmp_path: Path
) -> None:
    with Gateway(tmp_path, {"healthy": healthy.entry}) as gateway:
        assert front(gateway, healthy).status_code == 200
    gateway = Gateway(tmp_path, {})
    gateway.write_text('{"sites": {')
    gateway.log.unlink()
    with gateway:
        assert front(gateway, healthy).status_code == 200
        assert gateway.health()["status"] == "degraded"
        assert "CANNOT BE USED" in gateway.output


def test_without_any_usable_file_the_gateway_ends_and_says_why(tmp_path: Path) -> None:
    gateway = Gateway(tmp_path, {})
    gateway.write_text('{"sites": {')
    with pytest.raises(AssertionError, match="before it was ready"), gateway:
        pass
    assert "sites.json" in gateway.output
    assert "Traceback" not in gateway.output
