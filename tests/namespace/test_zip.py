"""Imports from zip files."""

from __future__ import annotations

import io
import zipfile

from .worlds import Program


def zipped(files: dict[str, str]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        for name, content in files.items():
            file.writestr(name, content)
    return buffer.getvalue()


ARCHIVE = zipped(
    {
        "a.py": "x = 1\ndef fail():\n    raise ValueError\n",
        "shop/__init__.py": "from . import b",
        "shop/b.py": "import a\ny = a.x",
        "shop/data.txt": "hello",
        "inner/deep.py": "z = 3",
        "__main__.py": "import a\nanswer = a.x + 41",
    }
)
PATH = """
import os, sys
archive = os.path.join(os.path.dirname(os.path.abspath(__file__)), "code.zip")
sys.path.append(archive)
"""


def test_modules_and_packages(program: Program) -> None:
    assert program(
        {"code.zip": ARCHIVE},
        PATH
        + """
import a, shop.b
result = [a.x, shop.b.y, os.path.relpath(shop.b.__file__, archive), type(a.__loader__).__name__]
""",
    ) == [1, 1, "shop/b.py", "zipimporter"]


def test_a_folder_inside(program: Program) -> None:
    assert (
        program(
            {"code.zip": ARCHIVE},
            PATH + "sys.path.append(os.path.join(archive, 'inner'))\nimport deep\nresult = deep.z",
        )
        == 3
    )


def test_data(program: Program) -> None:
    assert program(
        {"code.zip": ARCHIVE},
        PATH
        + """
import pkgutil
from importlib.resources import files, as_file
with as_file(files("shop") / "data.txt") as path:
    result = [path.read_text(), pkgutil.get_data("shop", "data.txt").decode()]
result.append([m.name for m in pkgutil.iter_modules([archive])])
""",
    ) == ["hello", "hello", ["__main__", "a", "shop"]]


def test_source_and_traceback(program: Program) -> None:
    assert program(
        {"code.zip": ARCHIVE},
        PATH
        + """
import a, inspect, traceback
try:
    a.fail()
except ValueError as exc:
    frame = traceback.extract_tb(exc.__traceback__)[-1]
result = [frame.line, frame.lineno, inspect.getsource(a.fail)]
""",
    ) == ["raise ValueError", 3, "def fail():\n    raise ValueError\n"]


def test_run_path(program: Program) -> None:
    assert (
        program(
            {"code.zip": ARCHIVE},
            PATH
            + "import runpy\nsys.path.remove(archive)\nresult = runpy.run_path(archive)['answer']",
        )
        == 42
    )


def test_zipimport_itself(program: Program) -> None:
    assert program(
        {"code.zip": ARCHIVE, "none.zip": b"no zip"},
        PATH
        + """
import zipimport
importer = zipimport.zipimporter(archive)
result = [importer.find_spec("a").name, importer.is_package("shop")]
import shop
result.append(isinstance(shop.__loader__, zipimport.zipimporter))
try:
    zipimport.zipimporter(archive.replace("code", "none"))
except zipimport.ZipImportError as exc:
    result.append(isinstance(exc, ImportError))
sys.path.append(archive.replace("code", "none"))
try:
    import gone
except ImportError as exc:
    result.append(str(exc))
""",
    ) == ["a", True, True, True, "No module named 'gone'"]
