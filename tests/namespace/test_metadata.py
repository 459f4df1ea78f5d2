"""``importlib.metadata``: what is installed, of the program's own environment."""

from __future__ import annotations

from pathlib import Path

from .venvs import make_venv
from .worlds import Program

DISTRIBUTION = {
    "tea-1.2.dist-info/METADATA": "Metadata-Version: 2.1\nName: tea\nVersion: 1.2\n"
    "Requires-Dist: cup >=1\nRequires-Dist: milk ; extra == 'white'\n",
    "tea-1.2.dist-info/entry_points.txt": "[shop.plugins]\ngreen = tea.kinds:green\n"
    "black = tea.kinds:Black.make\n[console_scripts]\ntea = tea:main\n",
    "tea-1.2.dist-info/RECORD": "tea/__init__.py,,\ntea/kinds.py,,\n",
    "tea-1.2.dist-info/INSTALLER": "hand\n",
    "tea-1.2.dist-info/top_level.txt": "tea\n",
    "tea/__init__.py": "",
    "tea/kinds.py": "def green(): return 'green'\nclass Black:\n    @staticmethod\n"
    "    def make(): return 'black'",
}
MAIN = """
    from importlib import metadata
    found = metadata.entry_points(group="shop.plugins")
    result = [
        sorted(point.name for point in found),
        [point.load()() for point in sorted(found, key=lambda point: point.name)],
        metadata.version("tea"), metadata.requires("tea"),
        [str(file) for file in metadata.files("tea")],
        metadata.metadata("tea")["Name"], metadata.packages_distributions()["tea"],
        metadata.entry_points(group="console_scripts", name="tea")["tea"].value,
    ]
    for name in ("gone", "gateway"):
        try:
            metadata.version(name)
        except metadata.PackageNotFoundError as exc:
            result.append(exc.name)
    """
EXPECTED = [
    ["black", "green"],
    ["black", "green"],
    "1.2",
    ["cup >=1", "milk ; extra == 'white'"],
    ["tea/__init__.py", "tea/kinds.py"],
    "tea",
    ["tea"],
    "tea:main",
    "gone",
    "gateway",
]


def test_of_a_venv(program: Program, tmp_path: Path) -> None:
    """The distributions of the gateway's environment are not there: they are not the site's."""
    venv = make_venv(tmp_path / "venv", DISTRIBUTION)
    assert program({}, MAIN, venv=venv) == EXPECTED


def test_of_a_folder_on_the_path(program: Program, tmp_path: Path) -> None:
    venv = make_venv(tmp_path / "venv", {})
    assert program(DISTRIBUTION, MAIN, venv=venv) == EXPECTED


def test_distributions(program: Program, tmp_path: Path) -> None:
    venv = make_venv(tmp_path / "venv", DISTRIBUTION)
    assert program(
        {"cup-3.dist-info/METADATA": "Name: cup\nVersion: 3\n"},
        """
        from importlib import metadata
        result = sorted(f"{d.metadata['Name']} {d.version}" for d in metadata.distributions())
        """,
        venv=venv,
    ) == ["cup 3", "tea 1.2"]


def test_a_finder_of_distributions(program: Program) -> None:
    assert (
        program(
            {},
            """
        import sys
        from importlib import metadata
        class Own(metadata.Distribution):
            def read_text(self, name):
                return "Name: made\\nVersion: 9\\n" if name == "METADATA" else None
            def locate_file(self, path): pass
        class Finder:
            def find_spec(self, *args): pass
            def find_distributions(self, context=None):
                return [Own()] if context.name in (None, "made") else []
        sys.meta_path.append(Finder())
        result = metadata.version("made")
        """,
        )
        == "9"
    )
