"""What sites register with psycopg 3 is their own; psycopg2 is in ``test_environment_layer``."""

from __future__ import annotations

import gc
from typing import Any

import psycopg
import pytest
from psycopg import sql
from psycopg.postgres import types

from gateway.namespace import Namespace
from gateway.namespace.survivors import Trace

pytestmark = pytest.mark.usefixtures("hooks")

REGISTERING = """
import psycopg
from psycopg import sql
from psycopg.adapt import AdaptersMap, Dumper, Loader
from psycopg.types import TypeInfo


class Money:
    pass


class MoneyDumper(Dumper):
    def dump(self, value):
        return NAME.encode()


class TextDumper(Dumper):
    oid = 25
    def dump(self, value):
        return f"{NAME}: {value}".encode()


class IntLoader(Loader):
    def load(self, data):
        return f"{NAME} {bytes(data).decode()}"


psycopg.adapters.register_dumper(Money, MoneyDumper)
psycopg.adapters.register_dumper(str, TextDumper)
psycopg.adapters.register_loader("int4", IntLoader)
TypeInfo(NAME, 70000, 70001).register()
"""
ASKING = """
from psycopg.adapt import Transformer


def asked(context=None):
    transformer = Transformer(context)
    return (
        sql.Literal(Money()).as_string(context),
        sql.Literal("x").as_string(context),
        transformer.get_loader(23, 0).load(b"7"),
        psycopg.adapters.types[70000].name,
    )


bare, of_a_copy = asked(), asked(AdaptersMap(psycopg.adapters))
"""


def site(name: str) -> tuple[Namespace, dict[str, Any]]:
    namespace = Namespace(name)
    variables: dict[str, Any] = vars(namespace.modules["__main__"])
    variables["NAME"] = name
    exec(REGISTERING, variables)
    return namespace, variables


def test_each_has_its_own_and_the_process_none() -> None:
    sites = [site("shop"), site("blog")]
    for _, variables in sites:
        exec(ASKING, variables)
    for namespace, seen in sites:
        name = namespace.name
        assert seen["bare"] == seen["of_a_copy"]
        assert seen["bare"][1].partition("::")[0] == f"'{name}: x'"
        assert (seen["bare"][0], *seen["bare"][2:]) == (f"'{name}'", f"{name} 7", name)
        namespace.close()
    assert sql.Literal("x").as_string(None) == "'x'"
    assert 70000 not in {info.oid for info in types}


def test_a_site_that_registers_nothing_has_what_psycopg_brings() -> None:
    other, _ = site("shop")
    namespace = Namespace("plain")
    variables: dict[str, Any] = vars(namespace.modules["__main__"])
    exec(
        "import psycopg\nfrom psycopg import sql\ntext = sql.Literal('x').as_string(None)",
        variables,
    )
    assert variables["text"] == "'x'"
    assert variables["psycopg"] is psycopg
    assert variables["psycopg"].adapters is psycopg.adapters
    for each in (namespace, other):
        each.close()


def test_connections_of_another_site_hold_nothing() -> None:
    """Each begins with a copy of what has been registered by then."""
    namespace, _ = site("shop")
    staying, variables = site("blog")
    exec("copied = AdaptersMap(psycopg.adapters)", variables)
    namespace.close()
    trace = Trace(namespace)
    del namespace, _
    later, _ = site("shop")  # from here on the copy and psycopg's own are different dictionaries
    gc.collect()
    assert not trace.alive, trace.holder()
    for each in (staying, later):
        each.close()


def test_a_class_without_functions_of_its_own_holds_nothing() -> None:
    """Django makes one for each connection, and psycopg remembers all classes that it has met."""
    namespace, variables = site("shop")
    source = "class Specific(IntLoader): zone = None\n"
    exec(f"{source}AdaptersMap(psycopg.adapters).register_loader('int4', Specific)", variables)
    namespace.close()
    trace = Trace(namespace)
    del namespace, variables
    gc.collect()
    assert not trace.alive, trace.holder()
