from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.namespace import installed

from .worlds import Program


@pytest.fixture(scope="module")
def hooks() -> Iterator[None]:
    """The hooks of the namespaces, in the process for one file of tests."""
    with installed():
        yield


@pytest.fixture(params=["plain", "namespace"])
def program(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Program]:
    """Runs a program, under plain Python and in a namespace; see ``worlds.Program``."""
    if request.param == "namespace":
        request.getfixturevalue("hooks")
    program = Program(request.param, tmp_path)
    folder = os.getcwd()  # a program on the main thread may change that of the process
    yield program
    os.chdir(folder)
    errors = [error for close in program.close for error in close()]
    assert not errors, errors
