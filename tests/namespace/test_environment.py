"""What is read from a virtual environment: its distributions, and which have to be shared."""

from __future__ import annotations

import gc
import os
import shutil
import sys
import weakref
from pathlib import Path

import pytest

from gateway.namespace import EnvironmentError_, Namespace, locations
from gateway.namespace.environment import Environment

from .venvs import SO, VERSION, dist, make_venv, site_packages
from .worlds import load, write


def units(*distributions: dict[str, str], folder: Path) -> dict[str, str]:
    """The labels of the units by the names of modules."""
    installed = {path: text for item in distributions for path, text in item.items()}
    environment = Environment.of_venv(make_venv(folder / "venv", installed))
    return {prefix: spec.label for prefix, spec in environment.units.items()}


def test_pure_distributions_are_not_shared(tmp_path: Path) -> None:
    assert units(dist("tea", files=("tea/__init__.py", "tea/a.py")), folder=tmp_path) == {}


def test_one_with_extension_modules(tmp_path: Path) -> None:
    files = ("tea/__init__.py", f"tea/_fast{SO}", "tea/sub/x.py", f"_tea{SO}", "tea.libs/libc.so.1")
    found = units(dist("tea", "2.0", files=files), folder=tmp_path)
    assert found == {"tea": "tea 2.0", "_tea": "tea 2.0"}


def test_what_it_requires_goes_along(tmp_path: Path) -> None:
    """Each distribution in a unit of its own, so that it can be shared with others."""
    found = units(
        dist(
            "tea",
            files=("tea/__init__.py", f"tea/x{SO}"),
            requires=("Cup_Board >= 1", "milk ; extra == 'white'", "gone ; python_version < '3'"),
        ),
        dist("cup.board", files=("cupboard.py",), requires=("wood",)),
        dist("wood", files=("wood/__init__.py",)),
        dist("milk", files=("milk.py",)),
        dist("other", files=("other.py",), requires=("tea",)),
        folder=tmp_path,
    )
    assert found == {"tea": "tea 1", "cupboard": "cup-board 1", "wood": "wood 1"}


def test_a_family(tmp_path: Path) -> None:
    """Who requires a native distribution in exactly one version belongs to it, by an extra too."""
    found = units(
        dist("core", files=(f"_core{SO}",), requires=("tools",)),
        dist("front", files=("front/__init__.py",), requires=("core == 1 ; extra == 'c'",)),
        dist("user", files=("user.py",), requires=("core >= 1", "front")),
        dist("tools", files=("tools.py",)),
        folder=tmp_path,
    )
    family = "core 1 + front 1"
    assert found == {"_core": family, "front": family, "tools": "tools 1"}


def test_a_circle(tmp_path: Path) -> None:
    found = units(
        dist("a", files=(f"a{SO}",), requires=("b",)),
        dist("b", files=("b.py",), requires=("c",)),
        dist("c", files=("c.py",), requires=("a",)),
        folder=tmp_path,
    )
    assert set(found.values()) == {"a 1 + b 1 + c 1"}


def test_what_needs_django_belongs_to_the_site(tmp_path: Path) -> None:
    found = units(
        dist("Django", "5", files=("django/__init__.py",)),
        dist("plug", files=(f"plug{SO}",), requires=("django",)),
        dist("deeper", files=(f"deeper{SO}",), requires=("plug",)),
        dist("free", files=(f"free{SO}",)),
        folder=tmp_path,
    )
    assert found == {"free": "free 1"}


def test_parts_of_a_namespace_package(tmp_path: Path) -> None:
    found = units(
        dist("cloud-a", files=("cloud/a/__init__.py", f"cloud/a/x{SO}")),
        dist("cloud-b", files=("cloud/b/__init__.py", "cloud/single.py")),
        folder=tmp_path,
    )
    assert found == {"cloud.a": "cloud-a 1"}


def test_the_key_is_the_content(tmp_path: Path) -> None:
    """Not the place, and not what ``pip`` writes about an installation."""

    def key(name: str, *distributions: dict[str, str]) -> str:
        installed = {path: text for item in distributions for path, text in item.items()}
        venv = make_venv(tmp_path / name, installed)
        return Environment.of_venv(venv).units["tea"].key

    tea = dist("tea", files=("tea/__init__.py", f"tea/x{SO}"), requires=("cup",))
    cup = dist("cup", files=("cup.py",))
    record = "tea-1.dist-info/RECORD"
    first = key("first", tea, cup)
    assert first == key("same", tea, cup, dist("other", files=("other.py",)))
    installed = {record: tea[record] + "tea/__pycache__/x.pyc,,\n../../bin/tea,sha256=1,9\n"}
    assert first == key("by another", {**tea, **installed}, cup)
    assert first != key("newer below", tea, dist("cup", "2", files=("cup.py",)))
    changed = {record: tea[record].replace("tea1", "tea2")}
    assert first != key("changed", {**tea, **changed}, cup)


def test_damaged_metadata(tmp_path: Path) -> None:
    tea = dist("tea", files=(f"tea{SO}",), requires=("cup ==== 1", "!!!"))
    del tea["tea-1.dist-info/RECORD"]
    found = units(
        tea,
        {"empty-3.dist-info/INSTALLER": "pip"},
        dist("cup", files=(f"cup{SO}", "with, comma.py"), requires=("not a (requirement",)),
        folder=tmp_path,
    )
    assert found["cup"] == "cup 1"
    assert "tea" not in found


def test_no_environment(tmp_path: Path) -> None:
    with pytest.raises(EnvironmentError_, match=r"gone is no virtual environment.*pyvenv\.cfg"):
        Environment.of_venv(tmp_path / "gone")


@pytest.mark.parametrize("version", ["3.9", "3.99"])
def test_another_python(tmp_path: Path, version: str) -> None:
    """Refused with both versions, at once and by name."""
    venv = make_venv(tmp_path / "venv", {}, version=version)
    with pytest.raises(EnvironmentError_) as caught:
        Namespace("site", venv=venv)
    text = str(caught.value)
    assert f"for Python {version}" in text and f"runs {VERSION}" in text and str(venv) in text


def test_a_relative_path(hooks: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    venv = make_venv(tmp_path / "venv", {"tea.py": "x = 1"})
    monkeypatch.chdir(tmp_path)
    namespace = Namespace("site", venv="venv")
    assert namespace.environment.roots == (str(site_packages(venv)),)
    monkeypatch.chdir("/")
    assert load(namespace, "import tea")["tea"].x == 1


def test_with_the_packages_of_the_system(tmp_path: Path) -> None:
    venv = make_venv(tmp_path / "venv", {})
    config = venv / "pyvenv.cfg"
    config.write_text(config.read_text().replace("packages = false", "packages = True"))
    roots = Environment.of_venv(venv).roots
    assert roots[0] == str(site_packages(venv))
    assert roots[1].startswith(sys.base_prefix)


def test_an_environment_that_changes(hooks: None, tmp_path: Path) -> None:
    """A new namespace sees what has been installed since; the old one stays with what it has."""
    venv = make_venv(tmp_path / "venv", {"tea.py": "x = 1"})
    first = Namespace("first", venv=venv)
    assert not first.environment.distributions
    for path, text in dist("cup", files=("cup.py",)).items():
        (site_packages(venv) / path).parent.mkdir(exist_ok=True)
        (site_packages(venv) / path).write_text(text)
    assert list(Namespace("second", venv=venv).environment.distributions) == ["cup"]
    assert not first.environment.distributions


def test_an_environment_goes_with_its_last_namespace(hooks: None, tmp_path: Path) -> None:
    """Each release may have an environment of its own; what is known of old ones must not grow."""
    venv = make_venv(tmp_path / "venv", {"tea/__init__.py": "", "tea/cup.py": "x = 1"})
    for folder in (site_packages(venv), site_packages(venv) / "tea"):
        os.utime(folder, (1, 1))  # else too fresh to be remembered
    first, second = Namespace("first", venv=venv), Namespace("second", venv=venv)
    assert first.environment is second.environment
    for namespace in (first, second):
        assert namespace.import_module("tea.cup").x == 1
    gone = weakref.ref(first.environment)
    first.close()
    del first, namespace
    gc.collect()
    assert known_below(venv) == [site_packages(venv), site_packages(venv) / "tea"]
    second.close()
    del second
    gc.collect()
    assert gone() is None
    assert known_below(venv) == []


def known_below(folder: Path) -> list[Path]:
    return sorted(Path(item) for item in locations._known if Path(item).is_relative_to(folder))


FAST = {
    "fast/__init__.py": "import helper\nfrom fast import deep\nruns = helper.count()",
    "fast/deep.py": "import sys\nvalue = sys.modules[__name__] is not None",
    "fast/optional.py": "try:\n    import extra\nexcept ImportError:\n    extra = None",
    "fast/asks.py": """
        import sys
        def of_site():
            import settings
            return settings.name
        def module_of(thing):
            name = thing.__module__
            found = sys.modules[name]
            assert name in sys.modules and sys.modules.get(name) is found
            assert "gone" not in sys.modules and sys.modules.get("gone", 3) == 3
            return found
        """,
    "helper.py": "calls = []\ndef count():\n    calls.append(1)\n    return len(calls)",
}
"""The code of a distribution that counts as native, of what it requires, and of a third."""


def fast_venv(folder: Path, helper: str = "1", **changes: str) -> Path:
    return make_venv(
        folder,
        {
            **dist("fast", files=("fast/__init__.py", f"fast/x{SO}"), requires=("helper",)),
            **dist("helper", helper, files=("helper.py",)),
            **FAST,
            **{f"{name}.py": text for name, text in changes.items()},
        },
    )


def test_a_unit_is_loaded_once(hooks: None, tmp_path: Path) -> None:
    """For both namespaces on an environment, and for one on another with the same content."""
    one, other = fast_venv(tmp_path / "one"), fast_venv(tmp_path / "other", extra="x = 1")
    spaces = [Namespace(str(n), venv=venv) for n, venv in enumerate((one, one, other))]
    found = [load(space, "import fast, helper\nfrom fast import deep as part") for space in spaces]
    assert len({id(variables["fast"]) for variables in found}) == 1
    assert len({id(variables["part"]) for variables in found}) == 1
    assert [variables["fast"].runs for variables in found] == [1, 1, 1]
    assert [variables["helper"].calls for variables in found] == [[1], [1], [1]]


def test_a_file_that_another_unit_has_loaded(hooks: None, tmp_path: Path) -> None:
    """As uv links it into environments, and as an upgrade of what a package requires leaves it."""
    file = f"fast/x{SO}"

    first, linked, copied = (fast_venv(tmp_path / version, version) for version in "567")
    for venv in (first, copied):
        (site_packages(venv) / file).touch()
    (site_packages(linked) / file).hardlink_to(site_packages(first) / file)
    runs = "import fast\nruns = fast.runs"
    assert load(Namespace("first", venv=first), runs)["runs"] == 1
    with pytest.raises(ImportError) as caught:
        load(Namespace("linked", venv=linked), runs)
    assert "fast 1 is loaded in this process already" in str(caught.value)
    assert "helper 5 (here: 6)" in str(caught.value) and "restart" in str(caught.value)
    assert load(Namespace("copied", venv=copied), runs)["runs"] == 1
    write(site_packages(first), dist("helper", "8", files=("helper.py",)))
    shutil.rmtree(site_packages(first) / "helper-5.dist-info")
    with pytest.raises(ImportError, match=r"helper 5 \(here: 8\)"):
        load(Namespace("upgraded", venv=first), runs)


def test_a_unit_and_its_sites(hooks: None, tmp_path: Path) -> None:
    """What a unit imports of neither its own nor the standard library is the asking site's."""
    venv = fast_venv(tmp_path / "venv")
    answers = []
    for name in ("left", "right"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "settings.py").write_text(f"name = {name!r}")
        space = Namespace(name, path=[tmp_path / name], venv=venv)
        answers.append(load(space, "from fast import asks\nname = asks.of_site()")["name"])
    assert answers == ["left", "right"]
    space = Namespace("none", venv=venv)
    with pytest.raises(ModuleNotFoundError, match="settings"):
        load(space, "from fast import asks\nasks.of_site()")


def test_a_unit_sees_the_modules_of_its_callers(hooks: None, tmp_path: Path) -> None:
    """As pydantic wants, which looks for the names in annotations there."""
    venv = fast_venv(tmp_path / "venv")
    for name in ("left", "right"):
        source = """
            import sys
            from fast import asks
            class Thing: pass
            found = asks.module_of(Thing)
            own = sys.modules[__name__]
            """
        variables = load(Namespace(name, venv=venv), source)
        assert variables["found"] is variables["own"]


def test_what_a_unit_does_not_find(hooks: None, tmp_path: Path) -> None:
    space = Namespace("site", venv=fast_venv(tmp_path / "venv"))
    found = load(space, "from fast import optional\nimport fast")
    assert found["optional"].extra is None
    for statement in ("import fast.gone", "from fast import gone", "import fast.deep.x"):
        with pytest.raises(ImportError) as caught:
            load(space, statement)
        assert not getattr(caught.value, "__notes__", [])


def test_a_project_that_has_a_package_of_that_name(hooks: None, tmp_path: Path) -> None:
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "fast.py").write_text("mine = True")
    space = Namespace("site", path=[tmp_path / "site"], venv=fast_venv(tmp_path / "venv"))
    assert load(space, "import fast")["fast"].mine


def test_a_unit_below_a_namespace_package(hooks: None, tmp_path: Path) -> None:
    """It can be reached from its parent, which is the site's own."""
    files = ("cloud/a/__init__.py", f"cloud/a/x{SO}", "cloud/a/b.py")
    venv = make_venv(tmp_path / "venv", dist("cloud-a", files=files))
    spaces = [Namespace(name, venv=venv) for name in "ab"]
    found = [load(space, "import cloud.a.b\npart = cloud.a.b") for space in spaces]
    assert found[0]["part"] is found[1]["part"]
    assert found[0]["cloud"] is not found[1]["cloud"]


def test_native_packages_of_another_version_are_named(hooks: None, tmp_path: Path) -> None:
    """Where the second cannot be loaded: in a note on the error, with both versions."""
    spaces = []
    for version, text in (("1.5", ""), ("2.0", "raise ImportError('only once per process')")):
        files = dist("rare", version, files=("rare/__init__.py", f"rare/x{SO}"))
        venv = make_venv(tmp_path / version, {**files, "rare/__init__.py": text})
        spaces.append(Namespace(version, venv=venv))
    first = load(spaces[0], "import rare")["rare"]
    for _ in range(2):
        with pytest.raises(ImportError, match="only once") as caught:
            load(spaces[1], "import rare")
        (note,) = caught.value.__notes__
        assert "rare 1.5 is loaded" in note and "rare 2.0" in note and "restart" in note
    assert load(Namespace("third", venv=tmp_path / "1.5"), "import rare")["rare"] is first
