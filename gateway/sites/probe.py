"""The probe: a request to new code, before it takes over from code that works.

An import finds syntax errors and missing packages. A missing template, a wrong setting and a
missing column show only in the first request. A reload makes this request itself, so that no
visitor gets the error.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from random import getrandbits
from typing import Any, Final, NamedTuple
from urllib.parse import unquote

from starlette.types import ASGIApp, Message, Scope

from gateway.config import SiteConfig
from gateway.errors import ProbeError, told
from gateway.log import request_id
from gateway.sites.generation import Generation

PROBE: Final = "gateway.probe"
"""The ASGI extension that marks the request of a probe, which waits for no place. Its value, a
`Heard`, is in the WSGI environ under the same name."""
PROBE_ID: Final = "probe~"
"""The beginning of the request id of a probe. The ids of visitors have no tilde, whoever sends them
(`gateway.front.proxies`)."""
_BAD: Final = 500
_TOO_LATE: Final = 504  # the gateway's own answer after ``request_timeout``
_LABEL: Final = "gateway-probe"
"""This replaces the ``*`` in the host of the probe if a site has wildcards only."""
_REDIRECTS: Final = frozenset((301, 302, 303, 307, 308))
_PORTS: Final = {"http": 80, "https": 443}


class Heard:
    """What was heard of the exception of a view: one line, and the traceback; not masked."""

    __slots__ = ("reason", "traceback")

    def __init__(self) -> None:
        self.reason = ""
        self.traceback = ""


async def try_out(new: Generation, old: Generation, config: SiteConfig) -> str | None:
    """Probe new code that is to take the place of ``old``; raises `ProbeError` if it must not.

    If the old code does not pass in the same way (both answer with an error, or neither in time),
    the new code is no worse, and may be what mends it. The log and the text that is returned then
    say why it did not pass. The text is one line, and masked.
    """
    try:
        with new:
            await probe(new.code, config, new.code.in_flight)
    except ProbeError as failure:
        if not await _fails_alike(old, failure, config):
            raise
        text = f"{failure.reason}; that of generation {old.number}, which it replaces, failed too"
        told = f"{text}\n{failure.traceback}" if failure.traceback else text
        new.log.warning("generation %d takes over without passing: %s", new.number, told)
        return new.mask(text)
    return None


async def _fails_alike(old: Generation, failure: ProbeError, config: SiteConfig) -> bool:
    try:
        with old:
            await probe(old.code, config)
    except ProbeError as other:
        return other.late is failure.late
    return False


async def probe(
    app: ASGIApp, config: SiteConfig, in_flight: Callable[[], Iterable[str]] = tuple
) -> None:
    """Ask code for the ``probe`` path of its site; raises `ProbeError` if it does not pass.

    If no answer comes in time, the error has what ``in_flight`` says the code is doing.

    The code passes with any status below 500 within ``probe_timeout``. A redirect, a login form and
    also a 404 show that it works. Only a redirect to https is asked again over https, because all
    that visitors of such a site see is behind it.
    """
    if config.probe is None:
        return
    end = asyncio.get_running_loop().time() + config.limits.probe_timeout
    question = _Question(config)
    answer = await question.ask(app, end, in_flight)
    if answer.leads_to_https:
        question = _Question(config, "https")
        answer = await question.ask(app, end, in_flight)
    if answer.status >= _BAD:
        raise question.failure(f"was answered {answer.status}", late=answer.status == _TOO_LATE)


class _Answer(NamedTuple):
    status: int
    location: str

    @property
    def leads_to_https(self) -> bool:
        return self.status in _REDIRECTS and self.location.lower().startswith("https://")


class _Question:
    """One request without a client, as the gateway hands requests to sites (ASGI)."""

    def __init__(self, config: SiteConfig, scheme: str = "http") -> None:
        self._name = config.name
        self._host = config.probe_host or _host_of(config)
        self._path = config.probe or "/"
        self._timeout = config.limits.probe_timeout
        self._scheme = scheme
        self._id = f"{PROBE_ID}{getrandbits(64):016x}"
        self._heard = Heard()
        self._answered: asyncio.Future[_Answer] = asyncio.get_running_loop().create_future()
        self._asked = False

    def __str__(self) -> str:
        over = " over https" if self._scheme == "https" else ""
        return f"GET {self._path}{over}"

    def failure(self, what: str, *, late: bool = False) -> ProbeError:
        """Return the error that says what became of the question."""
        why = f": {self._heard.reason}" if self._heard.reason else ""
        return ProbeError(f"the probe {self} {what}{why}", self._heard.traceback, late=late)

    async def ask(
        self, app: ASGIApp, end: float, in_flight: Callable[[], Iterable[str]]
    ) -> _Answer:
        """Return the answer; raises `ProbeError` if there is none before the moment ``end``."""
        asking = asyncio.create_task(self._put_to(app), name=f"probe {self._name}")
        either: set[asyncio.Future[Any]] = {asking, self._answered}
        try:
            left = max(0.0, end - asyncio.get_running_loop().time())
            await asyncio.wait(either, timeout=left, return_when=asyncio.FIRST_COMPLETED)
            if asking.done() and (error := asking.exception()) is not None:
                if not self._heard.reason:
                    words = told(error)
                    self._heard.reason, self._heard.traceback = words.reason, words.traceback
                raise self.failure("failed")
            if self._answered.done():
                return self._answered.result()
            if asking.done():
                raise self.failure("ended without an answer")
            self._heard.traceback = "\n".join(in_flight())
            raise self.failure(f"took over {self._timeout:g} s", late=True)
        finally:
            # The rest of a page is of no interest, and a stream may have no end.
            asking.cancel()
            await asyncio.wait({asking})
            if not asking.cancelled():
                asking.exception()  # else asyncio would log it with its secrets

    async def _put_to(self, app: ASGIApp) -> None:
        request_id.set(self._id)  # in the context of this task
        path, _, query = self._path.partition("?")
        headers = {"host": self._host, "user-agent": _LABEL, "x-request-id": self._id}
        if self._scheme == "https":  # TLS ends at a proxy, which has to be one that is trusted
            headers |= {"x-forwarded-for": "127.0.0.1", "x-forwarded-proto": "https"}
        scope: Scope = {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.4"},
            "http_version": "1.1",
            "method": "GET",
            "scheme": self._scheme,
            "path": unquote(path),
            "raw_path": path.encode("ascii"),
            "query_string": query.encode("ascii"),
            "root_path": "",
            "headers": [(name.encode(), value.encode("ascii")) for name, value in headers.items()],
            "client": ("127.0.0.1", 0),
            "server": (self._host, _PORTS[self._scheme]),
            "extensions": {PROBE: self._heard},
        }
        await app(scope, self._receive, self._send)

    async def _receive(self) -> Message:
        if not self._asked:
            self._asked = True
            return {"type": "http.request", "body": b"", "more_body": False}
        # This client never leaves by itself.
        departure: asyncio.Future[Message] = asyncio.get_running_loop().create_future()
        return await departure

    async def _send(self, message: Message) -> None:
        if message["type"] == "http.response.start" and not self._answered.done():
            location = dict(message.get("headers", ())).get(b"location", b"")
            self._answered.set_result(_Answer(message["status"], location.decode("latin-1")))


def _host_of(config: SiteConfig) -> str:
    exact = [host for host in config.hosts if not host.startswith("*.")]
    return exact[0] if exact else _LABEL + config.hosts[0].removeprefix("*")
