"""Requests that nobody here wrote, against the gateway under each of uvicorn's protocols."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Final

import pytest

from .samples import GUNICORN, Outcome, Sample, samples, send_all
from .servers import REPOSITORY, Gateway
from .sites import BuiltSite, echo_site
from .waiting import until

PROTOCOLS: Final = {
    "ours": "gateway.protocol:Protocol",
    "httptools": "httptools",
    "h11": "h11",
}
DOCUMENTATION: Final = REPOSITORY / "docs" / "http.md"
_SITE: Final = re.compile(r'"site": "(\w+)"')
SECTION: Final = f"## The request samples of gunicorn {GUNICORN}"


@pytest.fixture(scope="module")
def sites(tmp_path_factory: pytest.TempPathFactory) -> tuple[BuiltSite, BuiltSite]:
    """One for every host that the samples have, and one that none of them means."""
    folder = tmp_path_factory.mktemp("sites")
    return echo_site(folder, "echo"), echo_site(folder, "other")


@pytest.fixture(scope="module")
def corpus(sites: tuple[BuiltSite, BuiltSite]) -> list[Sample]:
    """All samples."""
    return samples(sites[0].host)


@pytest.fixture(scope="module", params=PROTOCOLS)
def protocol(request: pytest.FixtureRequest) -> str:
    """The name of a protocol of uvicorn."""
    return str(request.param)


@pytest.fixture(scope="module")
def outcomes(
    protocol: str,
    sites: tuple[BuiltSite, BuiltSite],
    corpus: list[Sample],
    tmp_path_factory: pytest.TempPathFactory,
) -> dict[str, Outcome]:
    """What became of each; the gateway goes on serving, and ends when it is told to."""
    entries = {site.name: site.entry for site in sites}
    folder: Path = tmp_path_factory.mktemp(protocol)
    environ = {"GATEWAY_HEAD_TIMEOUT": "1"}
    with Gateway(folder, entries, environ, ("--http", PROTOCOLS[protocol])) as gateway:
        gateway.write_text(json.dumps({"sites": entries, "default_site": "echo"}))
        visitor = gateway.client("example.com")
        until(lambda: visitor.get("/").status_code == 200, "every host is served")
        assert gateway.client(sites[1].host).get("/").json()["site"] == "other"
        found = send_all(gateway.port, corpus)
        assert visitor.get("/").status_code == 200
    return found


def is_expected(sample: Sample, outcome: Outcome) -> bool:
    """Whether gunicorn's own tests expect the same.

    Refusing is an error for the last request, or no answer and an end.
    """
    if sample.requests:
        return outcome.statuses == (200,) * sample.requests
    return not outcome.statuses or outcome.statuses[-1] >= 400


def documented(protocol: str) -> set[str]:
    """The samples that the documentation lists as different under this protocol."""
    section = DOCUMENTATION.read_text(encoding="utf-8").split(SECTION)[1].split("\n## ")[0]
    rows = [line.split(" | ") for line in section.splitlines() if line.startswith("| `")]
    return {
        name
        for names, protocols, *_ in rows
        if protocols == "all" or protocol in protocols.split(", ")
        for name in re.findall(r"`([^`]+)`", names)
    }


def test_there_are_samples(corpus: list[Sample]) -> None:
    assert sum(not sample.requests for sample in corpus) > 50
    assert sum(bool(sample.requests) for sample in corpus) > 50


def test_no_server_error(outcomes: dict[str, Outcome]) -> None:
    assert [name for name, found in outcomes.items() if max(found.statuses, default=0) >= 500] == []


def test_no_request_reaches_another_site(outcomes: dict[str, Outcome]) -> None:
    answers = {site for found in outcomes.values() for site in _SITE.findall(found.text)}
    assert answers == {"echo"}


def test_each_difference_from_gunicorn_is_documented(
    protocol: str, corpus: list[Sample], outcomes: dict[str, Outcome]
) -> None:
    different = {sample.name for sample in corpus if not is_expected(sample, outcomes[sample.name])}
    assert different == documented(protocol)
