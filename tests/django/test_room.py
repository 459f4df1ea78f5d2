"""Django is known in one room, and the gateway itself never imports it."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import gateway
from gateway.namespace import Namespace, installed

ROOM = Path(gateway.__file__).parent
A_MODULE_OF_DJANGO = re.compile(r"django(\.\w+)+")


def test_no_other_room_names_a_module_of_django() -> None:
    found = {
        f"{path.relative_to(ROOM)}: {node.value}"
        for path in ROOM.rglob("*.py")
        if not path.is_relative_to(ROOM / "django")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Constant)
        and isinstance(node.value, str)
        and A_MODULE_OF_DJANGO.fullmatch(node.value)
    }
    assert found == set()


def test_no_import_can_mean_the_room_instead_of_django() -> None:
    """A relative import in ``gateway`` could; an absolute one cannot."""
    for path in ROOM.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            assert not (isinstance(node, ast.ImportFrom) and node.level), path


def test_the_gateway_imports_no_django() -> None:
    source = """if True:
        import sys, gateway.main, gateway.cli, gateway.checks.probe
        print("django" in sys.modules)
    """
    run = subprocess.run(
        [sys.executable, "-c", source], capture_output=True, text=True, check=True, timeout=60
    )
    assert run.stdout.strip() == "False"


def test_a_site_imports_the_real_django_beside_the_room() -> None:
    import gateway.django as room

    with installed():
        namespace = Namespace("shop")
        django = namespace.import_module("django")
        assert django.get_version()
        assert django is not room
        namespace.close()
