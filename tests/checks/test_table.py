"""The report for people, and the one for programs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from gateway.checks.document import document
from gateway.checks.facts import Database, Facts, Project, Unit
from gateway.checks.findings import Finding, Level
from gateway.checks.report import Report, SiteReport
from gateway.checks.scratch import Outcome
from gateway.checks.table import table
from gateway.config import SiteConfig
from gateway.errors import Fault

WARNING = Finding(Level.WARNING, "debug", "DEBUG is on " + "and on " * 20, "turn it off")


def site(name: str, *findings: Finding, facts: Facts | None = None, output: str = "") -> SiteReport:
    config = SiteConfig(name, (f"{name}.example",), Path("/srv") / name, "core.wsgi:app", {})
    facts = facts or Facts(stage="done", python="3.13.0", loaded=False, reason="no")
    return SiteReport(config, Outcome(facts, 0, False, "", output), findings)


def report(*sites: SiteReport, faults: tuple[Fault, ...] = ()) -> Report:
    return Report(Path("/srv/sites.json"), faults, sites, ())


PSYCOPG = {"psycopg-binary": "3", "psycopg": "3"}
LOADED = Facts(
    stage="done",
    python="3.13.0",
    loaded=True,
    seconds=0.4,
    django="6.1",
    project=Project("core.settings", False, "UTC", True, (), (Database("default", "x", ("a.1",)),)),
    units=(Unit("psycopg 3 + psycopg-binary 3", "k", PSYCOPG, PSYCOPG, ("1:2",), True),),
)


def test_each_site_has_a_line_of_aligned_columns() -> None:
    text = table(report(site("shop", facts=LOADED), site("a-longer-name")), width=100)
    head, shop, other, *_ = text.splitlines()
    columns = [head.index(word) for word in ("LOADS", "DJANGO", "SETTINGS", "DEBUG", "MIGR", "NAT")]
    assert [shop[column - 2 : column] for column in columns] == ["  "] * 6
    assert " ".join(shop.split()) == "shop 0.40 s 6.1 core.settings off 1 to apply psycopg 3"
    assert other.split() == ["a-longer-name", "NO", "?", "?", "?", "?", "?"]


def test_long_findings_are_wrapped_and_keep_their_margin() -> None:
    lines = table(report(site("shop", WARNING)), width=60).splitlines()
    assert all(len(line) <= 60 for line in lines[3:-1])
    assert "  warning  DEBUG is on and on" in lines[4]
    assert lines[5].startswith(" " * 11 + "and")


def test_colours_are_there_if_they_are_wanted() -> None:
    assert "\x1b" not in table(report(site("shop", WARNING)), width=80)
    assert "\x1b[33mwarning\x1b[0m" in table(report(site("shop", WARNING)), width=80, colours=True)


def test_a_site_cannot_give_orders_to_the_terminal() -> None:
    finding = Finding(Level.FAULT, "load", "\x1b[2Jgone\x07\nnext\r", "\x1b]0;title\x07")
    text = table(report(site("shop", finding, output="\x1b[2J")), width=80, verbose=True)
    assert {char for char in text if not char.isprintable()} == {"\n"}
    assert "?[2Jgone" in text


def test_what_it_printed_is_shown_on_demand() -> None:
    one = report(site("shop", output="".join(f"line {number}\n" for number in range(100))))
    assert "line 99" not in table(one, width=80)
    lines = table(one, width=80, verbose=True).splitlines()
    assert "    line 99" in lines
    assert "    line 80" in lines
    assert "    line 79" not in lines


def test_the_last_line_counts_faults_of_the_file_too() -> None:
    fault = Fault("$.sites.shop", "wrong", "shop")
    last = table(report(site("blog", WARNING), faults=(fault,)), width=80).splitlines()[-1]
    assert last == "1 site checked with Python 3.13.0: 1 fault, 1 warning, 0 notes."


@pytest.mark.parametrize(
    ("level", "ok"), [(Level.FAULT, False), (Level.WARNING, True), (Level.NOTE, True)]
)
def test_only_faults_fail_a_check(level: Level, ok: bool) -> None:
    assert report(site("shop", Finding(level, "x", "y", "z"))).ok is ok
    assert not report(faults=(Fault("$", "wrong"),)).ok


def test_the_document_has_the_shape_that_the_manual_describes() -> None:
    value = json.loads(json.dumps(document(report(site("shop", WARNING, facts=LOADED)))))
    assert value["version"] == 1
    shop = value["sites"]["shop"]
    assert shop["databases"] == {"default": {"vendor": "x", "pending": ["a.1"], "error": None}}
    assert shop["findings"][0]["level"] == "warning"
    manual = (Path(__file__).resolve().parents[2] / "docs/check.md").read_text()
    for keys in (value, shop, shop["findings"][0], shop["databases"]["default"], shop["native"][0]):
        for key in keys:
            assert f"`{key}`" in manual or f'"{key}"' in manual, key
