"""A probe that fails: it has the exception of the view, and nobody is mailed."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest

from gateway.backends.inprocess import InProcessBackend, InProcessCode
from gateway.config import SiteConfig
from gateway.config.limits import Limits
from gateway.errors import ProbeError
from gateway.sites.probe import probe

from .projects import ask

pytestmark = pytest.mark.anyio

APP = """
import logging, os

import django
from django.conf import settings

settings.configure(
    ADMINS=["admin@example.com"] if django.VERSION >= (6,) else [("A", "admin@example.com")],
    ALLOWED_HOSTS=["*"],
    EMAIL_BACKEND="django.core.mail.backends.locmem.EmailBackend",
    LOGGING={
        "version": 1,
        "disable_existing_loggers": False,
        "handlers": {"mail": {"class": "django.utils.log.AdminEmailHandler"}},
        "loggers": {"shop": {"handlers": ["mail"]}},
    },
    ROOT_URLCONF=__name__,
    SECRET_KEY="x",
    **{more},
)

from django.core.wsgi import get_wsgi_application
from django.urls import path
from django.utils.decorators import async_only_middleware

class Unspeakable(Exception):
    def __str__(self):
        raise KeyboardInterrupt

def front(request):
    {view}

@async_only_middleware
def middleware(get_response):
    async def call(request):
        return await get_response(request)
    return call

urlpatterns = [path("", front)]
application = get_wsgi_application()
"""
FAILS = 'raise LookupError("no such shelf")'


def site(folder: Path, view: str = FAILS, **more: Any) -> SiteConfig:
    """A project with that view, and more settings."""
    code = APP.replace("{view}", dedent(view).strip().replace("\n", "\n    "))
    (folder / "app.py").write_text(code.replace("{more}", repr(more)))
    return SiteConfig("shop", ("shop.example",), folder, "app:application", env={})


async def failure(code: InProcessCode, config: SiteConfig, *more: Any) -> ProbeError:
    with pytest.raises(ProbeError) as caught:
        await probe(code, config, *more)
    return caught.value


def mails(code: InProcessCode) -> list[str]:
    outbox = getattr(code._namespace.import_module("django.core.mail"), "outbox", [])
    return [mail.subject for mail in outbox]


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not condition():
            await asyncio.sleep(0.02)


@pytest.mark.parametrize("debug", [False, True])
async def test_the_exception_of_the_view_is_told(
    backend: InProcessBackend, tmp_path: Path, debug: bool
) -> None:
    config = site(tmp_path, DEBUG=debug)
    code = await backend.load(config, 1)
    error = await failure(code, config)
    assert error.reason == "the probe GET / was answered 500: LookupError: no such shelf"
    assert "app.py" in error.traceback and "in front" in error.traceback
    await code.close()


async def test_the_exception_is_told_behind_an_asynchronous_middleware(
    backend: InProcessBackend, tmp_path: Path
) -> None:
    config = site(tmp_path, MIDDLEWARE=["app.middleware"])
    code = await backend.load(config, 1)
    error = await failure(code, config)
    assert error.reason == "the probe GET / was answered 500: LookupError: no such shelf"
    assert mails(code) == []
    await code.close()


async def test_an_exception_that_django_lets_through_is_told_once(
    backend: InProcessBackend, tmp_path: Path
) -> None:
    config = site(tmp_path, DEBUG_PROPAGATE_EXCEPTIONS=True)
    code = await backend.load(config, 1)
    error = await failure(code, config)
    assert error.reason == "the probe GET / failed: LookupError: no such shelf"
    assert error.traceback.count("LookupError: no such shelf") == 1
    await code.close()


async def test_an_exception_without_words_does_no_harm(
    backend: InProcessBackend, tmp_path: Path
) -> None:
    config = site(tmp_path, "raise Unspeakable", LOGGING_CONFIG=None)
    code = await backend.load(config, 1)
    assert (await failure(code, config)).reason.startswith("the probe GET / ")
    await code.close()


async def test_probes_are_not_mailed_and_visits_are(
    backend: InProcessBackend, tmp_path: Path
) -> None:
    config = site(tmp_path, f'logging.getLogger("shop").error("by itself")\n{FAILS}')
    code = await backend.load(config, 1)
    await failure(code, config)
    assert mails(code) == []
    await ask(code)
    assert len(mails(code)) == 2
    await failure(code, config)
    assert len(mails(code)) == 2
    await code.close()


async def test_a_probe_is_not_mailed_after_its_time_either(
    backend: InProcessBackend, tmp_path: Path
) -> None:
    begin, end = tmp_path / "begin", tmp_path / "end"
    view = f"""
    import time
    while not os.path.exists({str(begin)!r}):
        time.sleep(0.02)
    try:
        logging.getLogger("shop").error("late")
        {FAILS}
    finally:
        open({str(end)!r}, "w").close()
    """
    config = replace(site(tmp_path, view), limits=Limits(probe_timeout=0.2))
    code = await backend.load(config, 1)
    error = await failure(code, config, code.in_flight)
    assert error.late and error.reason == "the probe GET / took over 0.2 s"
    assert "it is here:\n" in error.traceback and "in front" in error.traceback
    begin.touch()
    await until(end.exists)
    await ask(code)  # two by a visitor; by then, those of the probe would be there, too
    assert len(mails(code)) == 2
    await code.close()
