"""``.pth`` files and editable installs in a virtual environment."""

from __future__ import annotations

from pathlib import Path

import pytest

from .venvs import make_venv
from .worlds import Program, write


def test_folders(program: Program, tmp_path: Path) -> None:
    write(tmp_path / "elsewhere", {"far.py": "x = 1"})
    lines = f"# a comment\n\n{tmp_path / 'elsewhere'}\n/does/not/exist\nnear\n"
    venv = make_venv(tmp_path / "venv", {"paths.pth": lines, "near/by.py": "x = 2"})
    assert program(
        {},
        """
        import by, far, sys
        result = [far.x, by.x, any("exist" in entry for entry in sys.path)]
        """,
        venv=venv,
    ) == [1, 2, False]


def test_statements(program: Program, tmp_path: Path) -> None:
    venv = make_venv(
        tmp_path / "venv",
        {
            "a.pth": "import sys; sys.marker = ['a']; import helper; helper.touch()\n",
            "b.pth": "import sys, os; sys.marker.append(os.environ['HOME'])\n",
            "helper.py": "import sys\ndef touch(): sys.marker.append(__name__)",
        },
    )
    assert program({}, "import sys\nresult = sys.marker", venv=venv) == [
        "a",
        "helper",
        "/home/nobody",
    ]


def test_an_editable_install_by_path(program: Program, tmp_path: Path) -> None:
    """As hatchling and flit make them."""
    write(tmp_path / "src", {"shop/__init__.py": "x = 1", "shop/a.py": "y = 2"})
    venv = make_venv(
        tmp_path / "venv",
        {
            "_shop.pth": f"{tmp_path / 'src'}\n",
            "shop-1.dist-info/METADATA": "Name: shop\nVersion: 1\n",
            "shop-1.dist-info/RECORD": "_shop.pth,,\nshop-1.dist-info/METADATA,,\n",
        },
    )
    main = "import shop.a, importlib.metadata\n"
    main += "result = [shop.x, shop.a.y, importlib.metadata.version('shop')]"
    assert program({}, main, venv=venv) == [1, 2, "1"]


def test_an_editable_install_by_finder(program: Program, tmp_path: Path) -> None:
    """As setuptools makes them: a module that installs a finder."""
    write(tmp_path / "src", {"shop/__init__.py": "x = 1", "shop/a.py": "y = 2"})
    venv = make_venv(
        tmp_path / "venv",
        {
            "__editable__.shop-1.pth": "import __editable___shop_finder; "
            "__editable___shop_finder.install()",
            "__editable___shop_finder.py": f"""
                import sys
                from importlib.machinery import ModuleSpec, PathFinder
                from importlib.util import spec_from_file_location
                from pathlib import Path
                MAPPING = {{"shop": {str(tmp_path / "src" / "shop")!r}}}
                class Finder:
                    @classmethod
                    def find_spec(cls, fullname, path=None, target=None):
                        if fullname in MAPPING:
                            init = Path(MAPPING[fullname], "__init__.py")
                            return spec_from_file_location(fullname, init)
                def install():
                    if Finder not in sys.meta_path:
                        sys.meta_path.append(Finder)
                """,
        },
    )
    assert program({}, "import shop.a\nresult = [shop.x, shop.a.y]", venv=venv) == [1, 2]


def test_the_order_of_the_path(program: Program, tmp_path: Path) -> None:
    """The project, the standard library, the environment."""
    venv = make_venv(
        tmp_path / "venv",
        {"shop.py": "x = 'environment'", "queue.py": "x = 1", "late.py": "x = 'environment'"},
    )
    assert program(
        {"shop.py": "x = 'project'"},
        "import late, queue, shop\nresult = [shop.x, late.x, hasattr(queue, 'Queue')]",
        venv=venv,
    ) == ["project", "environment", True]


def test_the_environment_of_the_process_is_not_there(program: Program, tmp_path: Path) -> None:
    venv = make_venv(tmp_path / "venv", {})
    assert program(
        {},
        """
        result = []
        for name in ("pytest", "pydantic", "starlette", "gateway"):
            try:
                __import__(name)
            except ImportError as exc:
                result.append(exc.name)
        """,
        venv=venv,
    ) == ["pytest", "pydantic", "starlette", "gateway"]


def test_what_tells_the_environment(program: Program, tmp_path: Path) -> None:
    venv = make_venv(tmp_path / "venv", {})
    assert program(
        {},
        """
        import site, sys
        result = [
            sys.prefix, sys.exec_prefix, sys.executable, sys.prefix != sys.base_prefix,
            [entry for entry in site.getsitepackages() if entry in sys.path],
        ]
        """,
        venv=venv,
    ) == [
        str(venv),
        str(venv),
        str(venv / "bin" / "python"),
        True,
        [str(next(venv.glob("lib/*/site-packages")))],
    ]


def test_a_folder_added_by_the_program(program: Program) -> None:
    assert program(
        {"extra/more.pth": "deep\n", "extra/a.py": "x = 1", "extra/deep/b.py": "x = 2"},
        """
        import os, site
        site.addsitedir(os.path.join(os.path.dirname(os.path.abspath(__file__)), "extra"))
        import a, b
        result = [a.x, b.x]
        """,
    ) == [1, 2]


def test_the_customization_of_the_environment(program: Program, tmp_path: Path) -> None:
    """Module ``site``: it runs before the program, and sees nothing of that."""
    venv = make_venv(
        tmp_path / "venv",
        {
            "a.pth": "import sys; sys.marker = ['pth']\n",
            "sitecustomize.py": """
                import os, sys
                sys.marker.append(os.environ["HOME"])
                try:
                    import settings
                except ImportError:
                    sys.marker.append("no settings yet")
                """,
        },
    )
    files = {"settings.py": "", "sitecustomize.py": "raise RuntimeError('of the project')"}
    assert program(files, "import settings, sys\nresult = sys.marker", venv=venv) == [
        "pth",
        "/home/nobody",
        "no settings yet",
    ]


def test_a_customization_that_fails(
    program: Program, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The program runs all the same; Python says so on the standard error."""
    venv = make_venv(tmp_path / "venv", {"sitecustomize.py": "import json\njson.nothing"})
    assert program({}, "import sys\nresult = 'sitecustomize' in sys.modules", venv=venv) is False
    if program.world == "namespace":
        assert "Error in sitecustomize" in capsys.readouterr().err
