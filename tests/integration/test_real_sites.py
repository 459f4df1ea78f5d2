"""Sites as people have them, side by side in one process."""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import django
import pytest

from .clients import csrf_token, submit
from .servers import Gateway
from .services import PostgreSQL
from .sites import EDITOR, EDITOR_PASSWORD, OTHER_DJANGO, BuiltSite, sample_site

_FOOTER = re.compile(r"Django (?P<django>\S+) · Python \S+ · process (?P<pid>\d+)")


@pytest.fixture(scope="module")
def shop(postgres: PostgreSQL, tmp_path_factory: pytest.TempPathFactory) -> BuiltSite:
    """A sample that talks to PostgreSQL by another psycopg than the library does."""
    url = postgres.create_database("shop")
    return sample_site(tmp_path_factory.mktemp("shop"), "shop", DATABASE_URL=url)


@pytest.fixture(scope="module")
def gateway(
    portal: BuiltSite,
    library: BuiltSite,
    guestbook: BuiltSite,
    shop: BuiltSite,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Gateway]:
    """All of them behind one gateway."""
    entries = {site.name: site.entry for site in (portal, library, guestbook, shop)}
    with Gateway(tmp_path_factory.mktemp("real"), entries) as running:
        yield running


def facts_of(gateway: Gateway, site: BuiltSite) -> dict[str, Any]:
    """What a site says about the Django and the process that serve it."""
    response = gateway.client(site.host).get("/facts/")
    if response.status_code == 404:  # a sample: it says so at the foot of every page
        match = _FOOTER.search(gateway.client(site.host).get("/").text)
        assert match, "the sample does not tell what serves it"
        return {"django": match["django"], "pid": int(match["pid"])}
    assert response.status_code == 200, response.text
    facts: dict[str, Any] = response.json()
    return facts


def png(side: int) -> bytes:
    """A square image; see the PNG specification, section 5."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        checksum = zlib.crc32(kind + data)
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", checksum)

    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    rows = b"".join(b"\0" + bytes((x % 256, y % 256, 128)) * side for x, y in [(30, 60)] * side)
    parts = [chunk(b"IHDR", header), chunk(b"IDAT", zlib.compress(rows)), chunk(b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def width_of(image: bytes) -> int:
    """The width of a PNG."""
    assert image.startswith(b"\x89PNG\r\n\x1a\n"), image[:20]
    width: int = struct.unpack(">I", image[16:20])[0]
    return width


def test_each_site_has_its_own_django_and_all_share_one_process(
    gateway: Gateway, portal: BuiltSite, library: BuiltSite, guestbook: BuiltSite, shop: BuiltSite
) -> None:
    with_their_own = [facts_of(gateway, site) for site in (portal, library)]
    with_the_gateways = [facts_of(gateway, site) for site in (guestbook, shop)]
    for facts in with_their_own:
        assert facts["django"].startswith(f"{OTHER_DJANGO}."), facts
    for facts in with_the_gateways:
        assert facts["django"] == django.get_version(), facts
    assert not django.get_version().startswith(OTHER_DJANGO), "one version proves nothing"
    assert {facts["pid"] for facts in with_their_own + with_the_gateways} == {gateway.pid}


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="there is no /proc")
def test_no_child_process_serves_a_site(
    gateway: Gateway, portal: BuiltSite, library: BuiltSite, guestbook: BuiltSite, shop: BuiltSite
) -> None:
    for site in (portal, library, guestbook, shop):
        assert facts_of(gateway, site)["pid"] == gateway.pid
    assert gateway.children() == []


def test_the_operator_sees_every_site_ready(gateway: Gateway, library: BuiltSite) -> None:
    names = ["portal", "library", "guestbook", "shop"]
    for name in names:
        assert gateway.client(f"{name}.localhost").get("/").status_code == 200
    health = gateway.health()
    assert health["status"] == "ok"
    assert {name: site["state"] for name, site in health["sites"].items()} == dict.fromkeys(
        names, "ready"
    )


def test_wagtail_refuses_a_wrong_password(gateway: Gateway, portal: BuiltSite) -> None:
    visitor = gateway.client(portal.host)
    answer = submit(visitor, "/admin/login/", {"username": EDITOR, "password": "a guess"})
    assert "didn't match" in answer.text.replace("&#x27;", "'")
    assert visitor.get("/admin/images/").is_redirect, "not logged in, and yet let in"


def test_wagtail_refuses_an_upload_that_is_no_image(gateway: Gateway, portal: BuiltSite) -> None:
    editor = gateway.client(portal.host)
    submit(editor, "/admin/login/", {"username": EDITOR, "password": EDITOR_PASSWORD})
    broken = {"file": ("broken.png", b"GIF, or so it says", "image/png")}
    answer = submit(editor, "/admin/images/add/", {"title": "Broken"}, files=broken)
    assert answer.status_code == 200
    assert answer.url.path == "/admin/images/add/", "the form should have come back"


def test_wagtail_takes_an_image_and_scales_it(gateway: Gateway, portal: BuiltSite) -> None:
    visitor = gateway.client(portal.host)
    assert "Welcome to your new Wagtail site!" in visitor.get("/").text

    submit(visitor, "/admin/login/", {"username": EDITOR, "password": EDITOR_PASSWORD})
    file = {"file": ("square.png", png(400), "image/png")}
    answer = submit(visitor, "/admin/images/add/", {"title": "A square"}, files=file)
    assert answer.url.path == "/admin/images/", answer.text[-3000:]
    assert "A square" in answer.text

    match = re.search(r'src="(/media/images/square[^"]*\.png)"', answer.text)
    assert match, "the list of images shows no thumbnail"
    thumbnail = visitor.get(match[1])
    assert thumbnail.status_code == 200
    assert thumbnail.headers["content-type"] == "image/png"
    assert width_of(thumbnail.content) < 400, "Pillow has not scaled it"
    assert (portal.folder / "media/original_images/square.png").read_bytes() == png(400)


def test_rest_framework_refuses_what_is_no_book(gateway: Gateway, library: BuiltSite) -> None:
    reader = gateway.client(library.host)
    nameless = reader.post("/books/", json={"isbn": "1"})
    assert nameless.status_code == 400
    assert nameless.json() == {"title": ["This field is required."]}
    assert (
        reader.post("/books/", content="{", headers={"Content-Type": "application/json"})
        .json()["detail"]
        .startswith("JSON parse error")
    )
    assert reader.get("/books/424242/").status_code == 404


def test_django_catches_what_psycopg_raises(gateway: Gateway, library: BuiltSite) -> None:
    reader = gateway.client(library.host)
    book = {"isbn": "9780141439518", "title": "Pride and Prejudice"}
    assert reader.post("/books/", json=book).status_code == 201
    again = reader.post("/books/", json=book)
    assert again.status_code == 400, again.text
    assert again.json() == {"isbn": ["The library has it."]}


def test_rest_framework_keeps_lists_and_finds(gateway: Gateway, library: BuiltSite) -> None:
    reader = gateway.client(library.host)
    titles = ["Middlemarch", "Emma", "The Mill on the Floss"]
    for number, title in enumerate(titles):
        book = {"isbn": f"978{number}", "title": title, "subjects": ["novel", "England"]}
        created = reader.post("/books/", json=book)
        assert created.status_code == 201, created.text
        assert created.json()["subjects"] == ["novel", "England"]
    found = [book["title"] for book in reader.get("/books/", params={"search": "mi"}).json()]
    assert found == ["Middlemarch", "The Mill on the Floss"]
    ordered = reader.get("/books/", params={"ordering": "-title"}).json()
    assert [book["title"] for book in ordered if book["title"] in titles] == sorted(
        titles, reverse=True
    )
    browsable = reader.get("/books/", headers={"Accept": "text/html"})
    assert "Django REST framework" in browsable.text


def test_a_form_without_its_csrf_token_is_refused(gateway: Gateway, portal: BuiltSite) -> None:
    visitor = gateway.client(portal.host)
    assert csrf_token(visitor.get("/admin/login/"))
    answer = visitor.post("/admin/login/", data={"username": EDITOR, "password": EDITOR_PASSWORD})
    assert answer.status_code == 403


def test_two_versions_of_psycopg_serve_side_by_side(
    gateway: Gateway, library: BuiltSite, shop: BuiltSite, postgres: PostgreSQL
) -> None:
    customer, reader = gateway.client(shop.host), gateway.client(library.host)
    for number in range(3):
        book = {"isbn": f"psycopg {number}", "title": "Persuasion"}
        assert reader.post("/books/", json=book).status_code == 201
        submit(customer, "/basket/dragon-well/", {"quantity": "1"}, form="/tea/dragon-well/")
    assert "€55.50" in customer.get("/basket/").text
    assert len(reader.get("/books/", params={"search": "Persuasion"}).json()) == 3
    assert postgres.password not in gateway.output
