"""People who look at a site all the time, and notice every answer that they do not get."""

from __future__ import annotations

import http.client
import json
import threading
from types import TracebackType
from typing import Any

from .servers import Gateway
from .sites import BuiltSite


def visit(gateway: Gateway, site: BuiltSite) -> dict[str, Any]:
    """One look at a front page in JSON, on a connection of its own; any worker may take it."""
    page: dict[str, Any] = json.loads(look(gateway, site))
    return page


def look(gateway: Gateway, site: BuiltSite) -> bytes:
    """The same, for a page of any kind."""
    connection = http.client.HTTPConnection("127.0.0.1", gateway.port, timeout=60)
    try:
        connection.request("GET", "/", headers={"Host": site.host, "Connection": "close"})
        with connection.getresponse() as answer:
            body = answer.read()
        assert answer.status == 200, f"{answer.status}: {body[:300]!r}"
        return body
    finally:
        connection.close()


class Visitors:
    """``count`` of them, while inside ``with``; ``lost`` says what they did not get."""

    def __init__(self, gateway: Gateway, site: BuiltSite, count: int = 4) -> None:
        self.lost: list[str] = []
        self.answers = 0
        self._gateway = gateway
        self._site = site
        self._enough = threading.Event()
        self._threads = [threading.Thread(target=self._look) for _ in range(count)]

    def __enter__(self) -> Visitors:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._enough.set()
        for thread in self._threads:
            thread.join()

    def _look(self) -> None:
        while not self._enough.is_set():
            try:
                look(self._gateway, self._site)
            except (OSError, http.client.HTTPException, AssertionError) as error:
                self.lost.append(repr(error))
            else:
                self.answers += 1
