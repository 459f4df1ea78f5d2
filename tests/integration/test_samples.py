"""The sample projects, as their visitors meet them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from .clients import submit
from .servers import Gateway
from .services import PostgreSQL
from .sites import BuiltSite, sample_site


@pytest.fixture(scope="module")
def gateway(
    guestbook: BuiltSite, shop: BuiltSite, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Gateway]:
    """Both samples, each on an SQLite database."""
    entries = {site.name: site.entry for site in (guestbook, shop)}
    with Gateway(tmp_path_factory.mktemp("gateway"), entries) as running:
        yield running


@pytest.mark.parametrize("name", ["guestbook", "shop"])
def test_the_admin_asks_who_one_is(gateway: Gateway, name: str) -> None:
    visitor = gateway.client(f"{name}.localhost")
    page = visitor.get("/admin/", follow_redirects=True)
    assert page.status_code == 200
    assert page.url.path == "/admin/login/"
    answer = submit(visitor, "/admin/login/", {"username": "nobody", "password": "a guess"})
    assert "Please enter the correct username and password" in answer.text


@pytest.mark.parametrize("name", ["guestbook", "shop"])
def test_pages_come_with_their_style_sheets(gateway: Gateway, name: str) -> None:
    visitor = gateway.client(f"{name}.localhost")
    for path in ("/", "/admin/login/"):
        sheets = re.findall(r'<link[^>]* href="([^"]+\.css)"', visitor.get(path).text)
        assert sheets, f"{path} has no style sheet"
        for sheet in sheets:
            assert visitor.get(sheet).headers["content-type"].startswith("text/css"), sheet


@pytest.mark.parametrize("name", ["guestbook", "shop"])
def test_both_names_of_a_sample_lead_to_it(gateway: Gateway, name: str) -> None:
    for host in (f"{name}.localhost", f"www.{name}.localhost"):
        assert f"{name} · Django" in gateway.client(host).get("/").text


def test_the_guestbook_refuses_a_forged_form(gateway: Gateway, guestbook: BuiltSite) -> None:
    visitor = gateway.client(guestbook.host)
    entry = {"name": "Mallory", "message": "From another page."}
    assert visitor.post("/", data=entry).status_code == 403
    visitor.get("/")  # the cookie alone is not enough
    assert visitor.post("/", data=entry).status_code == 403
    assert "Mallory" not in visitor.get("/").text


def test_the_guestbook_wants_a_name(gateway: Gateway, guestbook: BuiltSite) -> None:
    visitor = gateway.client(guestbook.host)
    answer = submit(visitor, "/", {"name": "", "message": "Nameless and yet here."})
    assert "Please leave a name." in answer.text
    assert "Nameless and yet here." not in gateway.client(guestbook.host).get("/").text


def test_the_guestbook_keeps_an_entry_and_knows_its_visitor_again(
    gateway: Gateway, guestbook: BuiltSite
) -> None:
    visitor, other = gateway.client(guestbook.host), gateway.client(guestbook.host)
    answer = submit(visitor, "/", {"name": "Zoë Ω", "message": "<b>Grüße</b>\nfrom far away"})
    assert "Thank you, Zoë Ω. Your entry is in the book." in answer.text
    assert "&lt;b&gt;Grüße&lt;/b&gt;<br>from far away" in answer.text
    assert "Welcome back, <strong>Zoë Ω</strong>" in visitor.get("/").text
    assert "Thank you" not in visitor.get("/").text, "a message is shown once"
    assert "Zoë Ω" in other.get("/").text
    assert "Welcome back" not in other.get("/").text, "somebody else's session"
    assert "your name left this browser" in submit(visitor, "/forget/", {}, form="/").text
    assert "Welcome back" not in visitor.get("/").text


def test_the_shop_refuses_what_is_no_quantity(gateway: Gateway, shop: BuiltSite) -> None:
    visitor = gateway.client(shop.host)
    product = "/tea/dragon-well/"
    answer = submit(visitor, "/basket/dragon-well/", {"quantity": "many"}, form=product)
    assert "How many?" in answer.text
    assert visitor.get("/tea/coffee/").status_code == 404
    assert visitor.get("/order/", follow_redirects=True).url.path == "/basket/"
    assert visitor.post("/basket/dragon-well/", data={"quantity": "1"}).status_code == 403


def test_the_shop_takes_an_order(gateway: Gateway, shop: BuiltSite) -> None:
    visitor = gateway.client(shop.host)
    assert "Dragon Well" in visitor.get("/").text
    product = "/tea/dragon-well/"
    added = submit(visitor, "/basket/dragon-well/", {"quantity": "2"}, form=product)
    assert "Dragon Well: 2 in your basket." in added.text
    assert "€37.00" in visitor.get("/basket/").text
    assert "Nothing in it yet" in gateway.client(shop.host).get("/basket/").text

    address = {"name": "Ada King", "email": "ada@example.com", "address": "12 St James's Square"}
    mistaken = submit(visitor, "/order/", {**address, "email": "nowhere"})
    assert "Enter a valid email address." in mistaken.text
    thanks = submit(visitor, "/order/", address)
    assert thanks.url.path == "/order/thanks/"
    assert "Thank you, Ada King" in thanks.text
    assert "Nothing in it yet" in visitor.get("/basket/").text
    assert "<dd>10 tins</dd>" in visitor.get(product).text
    assert gateway.client(shop.host).get("/order/thanks/").status_code == 404


def test_a_session_of_one_sample_is_worth_nothing_in_the_other(
    gateway: Gateway, guestbook: BuiltSite, shop: BuiltSite
) -> None:
    visitor = gateway.client(guestbook.host)
    submit(visitor, "/", {"name": "Ada", "message": "Hello."})
    stolen = {"Cookie": f"sessionid={visitor.cookies['sessionid']}"}
    assert "Nothing in it yet" in gateway.client(shop.host, stolen).get("/basket/").text
    assert "Welcome back" in gateway.client(guestbook.host, stolen).get("/").text


def test_a_sample_keeps_its_data_in_postgresql_if_told_to(
    postgres: PostgreSQL, tmp_path: Path
) -> None:
    url = postgres.create_database("guestbook")
    site = sample_site(tmp_path, "guestbook", DATABASE_URL=url)
    with Gateway(tmp_path, {site.name: site.entry}) as gateway:
        answer = submit(gateway.client(site.host), "/", {"name": "Ada", "message": "Grüße"})
        assert "Thank you, Ada." in answer.text
        with psycopg.connect(url) as connection:
            rows = connection.execute("SELECT name, message FROM website_entry").fetchall()
        assert rows == [("Ada", "Grüße")]
        assert not (site.folder / "db.sqlite3").exists()
        assert postgres.password not in gateway.output
