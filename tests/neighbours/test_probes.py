"""What a deploy is asked, and how its attempts are told: numbers 12 and 13 of the issue."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path
from typing import Any, Final

import pytest

from ..integration.actions import reload
from ..integration.sites import BuiltSite
from ..integration.waiting import until
from .gateways import DoomedGateway, Start
from .hostile import append, django_site, plain_site, write
from .steady import SteadyLoad, ask

pytestmark = pytest.mark.timed

_BROKEN: Final = """
def front(request):
    raise LookupError("no such shelf")
"""
_ATTEMPTS: Final = 6


def test_12_a_site_that_sends_visitors_to_https(
    start: Start, neighbour: BuiltSite, tmp_path: Path
) -> None:
    hostile = django_site(
        tmp_path,
        "hostile",
        "",
        """
        SECURE_SSL_REDIRECT = True
        SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
        MIDDLEWARE.insert(0, "django.middleware.security.SecurityMiddleware")
        """,
    )
    gateway = start(neighbour, hostile, environ={"GATEWAY_TRUSTED_PROXIES": "127.0.0.1"})
    over_tls = {"X-Forwarded-Proto": "https"}
    assert ask(gateway, hostile)[0] == 301
    assert ask(gateway, hostile, headers=over_tls)[0] == 200
    with SteadyLoad(gateway, neighbour) as load:
        load.goes_on()
        append(hostile, "core/views.py", _BROKEN)
        answer = reload(gateway, hostile)
        load.goes_on()
        assert ask(gateway, hostile, headers=over_tls)[0] == 200, "the new code is live"
        assert answer.status_code == 500, answer.text


def test_12_a_probe_that_fails_is_told_as_that(
    start: Start, neighbour: BuiltSite, tmp_path: Path
) -> None:
    hostile = django_site(tmp_path, "hostile", "")
    gateway = start(neighbour, hostile)
    assert ask(gateway, hostile)[0] == 200
    with SteadyLoad(gateway, neighbour) as load:
        load.goes_on()
        append(hostile, "core/views.py", _BROKEN)
        answer = reload(gateway, hostile)
        assert answer.status_code == 500, answer.text
        assert ask(gateway, hostile)[0] == 200
        told = gateway.health(hostile.name)
        assert "no such shelf" in str(told), "its health has no traceback"
        assert "did not load" not in gateway.output, "it is told as a load that failed"
        load.goes_on()


def test_12_a_probe_that_fails_sends_no_mail(
    start: Start, neighbour: BuiltSite, tmp_path: Path
) -> None:
    mail = tmp_path / "mail"
    mail.mkdir()
    hostile = django_site(
        tmp_path,
        "hostile",
        "",
        f"""
        ADMINS = [("Operator", "operator@example.com")]
        EMAIL_BACKEND = "django.core.mail.backends.filebased.EmailBackend"
        EMAIL_FILE_PATH = {str(mail)!r}
        LOGGING["handlers"]["mail"] = {{"class": "django.utils.log.AdminEmailHandler"}}
        LOGGING["loggers"]["django"]["handlers"].append("mail")
        """,
    )
    append(hostile, "core/views.py", 'def fail(request):\n    raise LookupError("a visitor")\n')
    append(hostile, "core/urls.py", 'urlpatterns.append(path("fail", views.fail))')
    gateway = start(neighbour, hostile)
    assert ask(gateway, hostile, "/fail")[0] == 500
    until(lambda: list(mail.iterdir()), "the error of a visitor is mailed")
    before = len(list(mail.iterdir()))
    with SteadyLoad(gateway, neighbour) as load:
        load.goes_on()
        append(hostile, "core/views.py", _BROKEN)
        assert reload(gateway, hostile).status_code == 500
        load.goes_on()
    assert len(list(mail.iterdir())) == before, "the probe was mailed"


def test_12_a_site_whose_page_was_broken_before_can_be_mended(
    start: Start, neighbour: BuiltSite, tmp_path: Path
) -> None:
    hostile = django_site(
        tmp_path,
        "hostile",
        _BROKEN + "\n\ndef release(request):\n    return HttpResponse(RELEASE)\n",
        urls=("release",),
    )
    gateway = start(neighbour, hostile)
    assert ask(gateway, hostile)[0] == 500
    assert ask(gateway, hostile, "/release") == (200, "first")
    with SteadyLoad(gateway, neighbour) as load:
        load.goes_on()
        append(hostile, "core/views.py", 'RELEASE = "second"')
        answer = reload(gateway, hostile)
        assert answer.status_code == 200, answer.text
        assert ask(gateway, hostile, "/release") == (200, "second")
        load.goes_on()


def test_13_attempts_that_fail_have_numbers_of_their_own(
    start: Start, neighbour: BuiltSite, tmp_path: Path
) -> None:
    hostile = plain_site(tmp_path, "hostile")
    gateway = start(neighbour, hostile)
    assert ask(gateway, hostile) == (200, "a page")
    with SteadyLoad(gateway, neighbour) as load:
        load.goes_on()
        write(hostile, 'raise ImportError("not today")')
        for _ in range(_ATTEMPTS):
            assert reload(gateway, hostile).status_code == 500
        numbers = until(lambda: _failed_numbers(gateway, hostile), "the history has them")
        assert len(set(numbers)) == _ATTEMPTS, f"the history names generations {numbers}"
        load.goes_on()


def _failed_numbers(gateway: DoomedGateway, site: BuiltSite) -> list[int]:
    """The generations of the attempts that failed, by the history; none before all are there."""
    answer = gateway.operator().get("/_history", params={"site": site.name})
    entries: list[dict[str, Any]] = answer.json()["entries"]
    numbers = [entry["generation"] for entry in entries if entry["result"] == "failed"]
    return numbers if len(numbers) == _ATTEMPTS else []


def test_13_what_is_gone_is_said_once_and_no_survivor(
    start: Start, neighbour: BuiltSite, tmp_path: Path
) -> None:
    lasting = tmp_path / "lasting"
    hostile = plain_site(tmp_path, "hostile", max_survivors=0)
    gateway = start(neighbour, hostile)
    assert ask(gateway, hostile) == (200, "a page")
    with SteadyLoad(gateway, neighbour) as load:
        load.goes_on()
        # One of them leaves a thread, and with it its generation.
        leaving = f"""
        import os
        import threading
        import time

        def last():
            while True:
                time.sleep(0.1)

        if not os.path.exists({str(lasting)!r}):
            open({str(lasting)!r}, "w").close()
            threading.Thread(target=last, daemon=True).start()
        raise ImportError("not today")
        """
        write(hostile, leaving)
        for _ in range(_ATTEMPTS):
            assert reload(gateway, hostile).status_code == 500
        load.goes_on()
    # A quiet moment, in which the garbage is collected.
    until(lambda: len(_gone(gateway)) >= _ATTEMPTS - 1, "those that left nothing are gone")
    told = Counter(_gone(gateway))
    assert set(told.values()) == {1}, f"said to be gone, by generation: {dict(told)}"
    survivors = until(lambda: gateway.health(hostile.name)["survivors"], "one of them is there")
    there = {int(number) for number in re.findall(r"generation (\d+)", str(survivors))}
    assert not there & told.keys(), f"gone and there at the same time: {there}"


def _gone(gateway: DoomedGateway) -> list[int]:
    return [int(number) for number in re.findall(r"generation (\d+) is gone", gateway.output)]
