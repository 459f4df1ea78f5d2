"""Packages with extension modules, the real ones: loaded once, in several versions, for many.

Each site here has a thread of its own, but where they share those of the gateway: two versions of
lxml keep what belongs to a thread under one name.
"""

from __future__ import annotations

import contextlib
import shutil
import threading
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import PathDistribution
from pathlib import Path
from typing import Any

import pytest

from gateway.execution.pool import Pool, Threads
from gateway.namespace import Namespace
from gateway.sites.reporting import Reporter

from .venvs import installed_or_skip, make_venv, site_packages
from .worlds import load

NEWER = (
    "cryptography",
    "lxml",
    "nh3",
    "numpy",
    "pillow",
    "psycopg2-binary",
    "psycopg[binary]",
    "pydantic",
    "PyYAML",
)
OLDER = (
    "cryptography<46",
    "lxml<6",
    "nh3<0.3",
    "numpy<2.3",
    "pillow<12",
    "psycopg2-binary<2.9.11",
    "psycopg[binary]<3.3",
    "pydantic<2.12",
    "PyYAML<6.0.3",
)
USES = {
    "cryptography": """
        from cryptography.fernet import Fernet
        from cryptography.hazmat.primitives import hashes
        import cryptography as module
        def use():
            digest = hashes.Hash(hashes.SHA256())
            digest.update(b"x")
            box = Fernet(Fernet.generate_key())
            return [digest.finalize().hex()[:4], box.decrypt(box.encrypt(b"tea")).decode()]
        """,
    "lxml": """
        import lxml as module
        from lxml import etree
        class Own(etree.ElementBase): pass
        def use():
            parser = etree.XMLParser()
            parser.set_element_class_lookup(etree.ElementDefaultClassLookup(element=Own))
            tree = etree.fromstring("<a><b/></a>", parser)
            try:
                etree.fromstring("<a>")
            except etree.XMLSyntaxError as exc:
                return [type(tree[0]) is Own, tree.xpath("count(//b)"), type(exc).__name__]
        """,
    "nh3": """
        import nh3 as module
        def use(): return module.clean("<b onclick=x>tea</b><script>no</script>")
        """,
    "numpy": """
        import pickle
        import numpy as module
        def use():
            array = module.arange(4)
            found = [int(pickle.loads(pickle.dumps(array)).sum()), bool((array == array).all())]
            found.append(round(float(module.linalg.det([[2.0, 1.0], [1.0, 3.0]])), 6))
            random = pickle.loads(pickle.dumps(module.random.default_rng(3)))
            found.append(random.integers(9) == module.random.default_rng(3).integers(9))
            found.append(type(pickle.loads(pickle.dumps(module.float64(1)))) is module.float64)
            return [*found[:3], *map(bool, found[3:])]
        """,
    "pillow": """
        import io
        import PIL as module
        from PIL import Image, ImageDraw, UnidentifiedImageError
        def use():
            out = io.BytesIO()
            image = Image.new("RGB", (8, 8))
            ImageDraw.Draw(image).rectangle((0, 0, 4, 4), fill="red")
            image.save(out, "PNG")
            image.save(io.BytesIO(), "JPEG")
            try:
                Image.open(io.BytesIO(b"none"))
            except UnidentifiedImageError:
                return [Image.open(io.BytesIO(out.getvalue())).getpixel((1, 1))]
        """,
    "psycopg2-binary": """
        import psycopg2 as module
        from psycopg2 import extensions
        def use():
            try:
                module.connect("host=127.0.0.1 port=1 connect_timeout=1")
            except module.OperationalError as exc:
                return [isinstance(exc, extensions.QueryCanceledError), module.__name__]
        """,
    "psycopg": """
        import psycopg as module
        from psycopg import adapt, errors, pq
        def use():
            found = [pq.__impl__]
            try:
                module.connect("host=127.0.0.1 port=1 connect_timeout=1")
            except module.OperationalError:
                found.append("operational")
            try:
                adapt.Transformer().get_dumper(object(), adapt.PyFormat.AUTO)
            except module.ProgrammingError as exc:
                found.append(type(exc) is module.ProgrammingError)
            return found
        """,
    "pydantic": """
        from __future__ import annotations
        import pickle, typing
        import pydantic as module
        class Cup(module.BaseModel):
            size: int
        class Tea(module.BaseModel):
            cup: Cup
            others: typing.List[Tea] = []
        def use():
            tea = Tea.model_validate({"cup": {"size": "3"}, "others": [{"cup": {"size": 1}}]})
            try:
                Tea(cup=1)
            except module.ValidationError as exc:
                errors = exc.error_count()
            again = pickle.loads(pickle.dumps(tea))
            return [tea.cup.size, type(tea.others[0]) is Tea, errors, again == tea]
        """,
    "pyyaml": """
        import yaml as module
        class Loader(module.CSafeLoader): pass
        class Own(module.YAMLObject):
            yaml_tag, yaml_loader = "!own", Loader
        def use():
            found = module.load("a: [1, !own {x: 2}]", Loader=Loader)
            try:
                module.load("a: [", Loader=module.CSafeLoader)
            except module.YAMLError as exc:
                return [found["a"][0], type(found["a"][1]) is Own, type(exc).__name__]
        """,
}
ANSWERS: dict[str, Any] = {
    "cryptography": ["2d71", "tea"],
    "lxml": [True, 1.0, "XMLSyntaxError"],
    "nh3": "<b>tea</b>",
    "numpy": [6, True, 5.0, True, True],
    "pillow": [(255, 0, 0)],
    "psycopg2-binary": [False, "psycopg2"],
    "psycopg": ["binary", "operational", True],
    "pydantic": [3, True, 1, True],
    "pyyaml": [1, True, "ParserError"],
}


class Site:
    """A namespace that uses one of the packages, with a thread of its own."""

    def __init__(self, package: str, venv: Path | None) -> None:
        self._thread = ThreadPoolExecutor(1)
        namespace = Namespace(package, venv=venv, environ={"HOME": "/nowhere"})
        self.variables = self._thread.submit(load, namespace, USES[package]).result()
        self.module = self.variables["module"]

    def use(self) -> Any:
        return self._thread.submit(self.variables["use"]).result()

    def close(self) -> None:
        self._thread.shutdown()


@pytest.fixture
def site(hooks: None) -> Iterator[Callable[[str, Path | None], Site]]:
    """Makes sites."""
    sites: list[Site] = []

    def make(package: str, venv: Path | None) -> Site:
        sites.append(Site(package, venv))
        return sites[-1]

    yield make
    for made in sites:
        made.close()


@pytest.fixture(scope="module")
def newer() -> Path:
    """A virtual environment with all of them."""
    return installed_or_skip(NEWER)


@pytest.fixture(scope="module")
def older() -> Path:
    """One with all of them in older versions."""
    return installed_or_skip(OLDER)


pytestmark = pytest.mark.timeout(1200)

Sites = Callable[[str, Path | None], Site]


@pytest.mark.parametrize("package", USES)
def test_loaded_again(site: Sites, package: str, newer: Path) -> None:
    """By each generation of a site, and by two sites at once: there is only one of it."""
    first = site(package, newer)
    assert first.use() == ANSWERS[package]
    for _ in range(3):
        again = site(package, newer)
        assert again.module is first.module
        assert again.use() == first.use() == ANSWERS[package]


@pytest.mark.parametrize("package", USES)
def test_in_two_versions(site: Sites, package: str, newer: Path, older: Path) -> None:
    """Side by side, and each with all of its own parts."""
    venvs = (newer, older, newer, older)
    sites = [site(package, venv) for venv in venvs]
    for _ in range(2):
        assert [site.use() for site in sites] == [ANSWERS[package]] * 4
    assert sites[0].module is sites[2].module
    assert sites[1].module is sites[3].module
    assert sites[0].module is not sites[1].module
    versions = [version_of(package, venv) for venv in venvs]
    assert versions[0] != versions[1]
    for made, version in zip(sites, versions, strict=True):
        assert getattr(made.module, "__version__", version).startswith(version)


@pytest.mark.parametrize("package", USES)
def test_in_two_versions_on_the_threads_of_the_gateway(
    site: Sites, package: str, newer: Path, older: Path
) -> None:
    """Each works for both in turn."""
    made = [site(package, venv) for venv in (newer, older)]
    for limit in (1, 2):  # with one, a site loses its seat to the other
        with contextlib.closing(Pool(limit)) as pool:
            threads = [Threads(Reporter(package, {}), pool) for _ in made]
            for _ in range(5):
                for each, its_threads in zip(made, threads, strict=True):
                    assert its_threads.submit(each.variables["use"]).result() == ANSWERS[package]
            for its_threads in threads:
                its_threads.shutdown()


@pytest.mark.parametrize("package", USES)
def test_under_load(site: Sites, package: str, newer: Path) -> None:
    """Two sites use it in several threads each, while both are reloaded three times."""
    current = [site(package, newer), site(package, newer)]
    end = threading.Event()
    answers: list[Any] = []
    answered = [threading.Semaphore(0) for _ in range(4)]

    def work(number: int) -> None:
        while not end.is_set():
            try:
                answers.append(current[number % 2].variables["use"]())
            except BaseException as exc:
                answers.append(exc)
            answered[number].release()

    def let_all_answer() -> None:
        for semaphore in answered:
            while semaphore.acquire(blocking=False):
                pass
            for _ in range(2):  # of two one is asked from now on
                assert semaphore.acquire(timeout=60)

    threads = [threading.Thread(target=work, args=(n,), daemon=True) for n in range(4)]
    for thread in threads:
        thread.start()
    let_all_answer()
    for _ in range(3):
        for side in (0, 1):
            current[side] = site(package, newer)
            assert current[side].use() == ANSWERS[package]
        let_all_answer()
    end.set()
    for thread in threads:
        thread.join(60)
    assert [answer for answer in answers if answer != ANSWERS[package]] == []


PSYCOPG2 = """
import uuid
import psycopg2.extras
from psycopg2 import ProgrammingError, extensions
class Own(dict): pass
class Json(psycopg2.extras.Json): pass
def quoted(value): return extensions.adapt(value).getquoted()
def cast(value): return extensions.string_types[9999](value, None)
def register(name):
    extensions.register_adapter(dict, lambda value: extensions.AsIs(f"{name} {len(value)}"))
    psycopg2.extras.register_uuid()
    psycopg2.extras.register_default_json(loads=lambda text: [name, text])
    extensions.register_type(extensions.new_type((9999,), name, lambda value, _: [name, value]))
def json(text): return extensions.string_types[114](text, None)
"""


def test_psycopg2_with_adapters_of_two_sites(hooks: None, newer: Path) -> None:
    """Each has its own; who registers none has those of psycopg2 itself, before and after."""
    spaces = [Namespace(name, venv=newer) for name in ("one", "two", "none", "again")]
    one, two, none = (load(space, PSYCOPG2) for space in spaces[:3])
    own = uuid.UUID(int=1)

    def check_the_third() -> None:
        for value in ({}, own, none["Own"]()):
            with pytest.raises(none["ProgrammingError"], match="can't adapt type"):
                none["quoted"](value)
        assert none["json"]('{"a": 1}') == {"a": 1}
        assert none["quoted"](("a", 1)) == b"('a', 1)"

    check_the_third()
    for name, site in (("one", one), ("two", two)):
        site["register"](name)
    for _ in range(2):
        for name, site in (("one", one), ("two", two)):
            assert site["quoted"]({}) == f"{name} 0".encode()
            assert site["quoted"](site["Own"](a=1)) == f"{name} 1".encode()
            assert site["quoted"](own).startswith(b"'00000000-")
            assert site["cast"]("x") == [name, "x"]
            assert site["json"]("1") == [name, "1"]
        assert none["cast"]("x") == "x"
        check_the_third()
        assert none["quoted"](none["psycopg2"].extras.NumericRange(1, 2)) == b"'[1,2)'"
    for space in spaces[:2]:
        space.close()
    check_the_third()
    again = load(spaces[3], PSYCOPG2)
    assert 9999 not in again["extensions"].string_types
    assert (dict, again["extensions"].ISQLQuote) not in again["extensions"].adapters


def test_the_same_content_elsewhere(site: Sites, newer: Path, tmp_path: Path) -> None:
    """A copy of a distribution in another environment is the same unit."""
    source, copy = site_packages(newer), make_venv(tmp_path / "copy", {})
    for name in ("yaml", "_yaml", f"pyyaml-{version_of('pyyaml', newer)}.dist-info"):
        shutil.copytree(source / name, site_packages(copy) / name)
    assert site("pyyaml", copy).module is site("pyyaml", newer).module


def test_the_gateway_and_a_site_share_what_is_the_same(site: Sites) -> None:
    """A site without an environment of its own uses the process's pydantic, and its own modules."""
    import pydantic

    sites = [site("pydantic", None) for _ in range(2)]
    for made in sites:
        assert made.use() == ANSWERS["pydantic"]
        assert made.module.BaseModel is pydantic.BaseModel
    assert sites[0].variables["Tea"] is not sites[1].variables["Tea"]

    class Tea(pydantic.BaseModel):
        """Of the process."""

        size: int

    assert Tea(size="3").size == 3  # type: ignore[arg-type]


def version_of(package: str, venv: Path) -> str:
    """The version of a package in a virtual environment."""
    (info,) = (
        info
        for info in site_packages(venv).glob("*.dist-info")
        if PathDistribution(info).metadata["Name"].lower() == package
    )
    return PathDistribution(info).version
