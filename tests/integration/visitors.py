"""People who look at a site all the time, and notice every answer that they do not get."""

from __future__ import annotations

import http.client
import json
import threading
from typing import Any, Self

from .servers import Gateway
from .sites import BuiltSite
from .waiting import until


def visit(gateway: Gateway, site: BuiltSite) -> dict[str, Any]:
    """One look at a front page in JSON, on a connection of its own; any worker may take it."""
    page: dict[str, Any] = json.loads(look(gateway, site))
    return page


def look(gateway: Gateway, site: BuiltSite) -> bytes:
    """The same, for a page of any kind."""
    status, _, body = fetch(gateway, site)
    assert status == 200, f"{status}: {body[:300]!r}"
    return body


def fetch(gateway: Gateway, site: BuiltSite) -> tuple[int, http.client.HTTPMessage, bytes]:
    """Status, headers and body of a front page, whatever they are."""
    connection = http.client.HTTPConnection("127.0.0.1", gateway.port, timeout=60)
    try:
        connection.request("GET", "/", headers={"Host": site.host, "Connection": "close"})
        with connection.getresponse() as answer:
            return answer.status, answer.headers, answer.read()
    finally:
        connection.close()


def wait_for_workers(gateway: Gateway, site: BuiltSite, count: int) -> None:
    """Look at a site until so many processes have answered, which have then loaded it."""
    pids: set[int] = set()

    def all_have() -> bool:
        pids.add(visit(gateway, site)["pid"])
        return len(pids) == count

    until(all_have, f"{count} workers answer")


class Visitors:
    """``count`` of them, while inside ``with``; ``lost`` says what they did not get."""

    pause = 0.0
    """Seconds that each rests between two looks."""

    def __init__(self, gateway: Gateway, site: BuiltSite, count: int = 4) -> None:
        self.lost: list[str] = []
        self.answers = 0
        self._gateway = gateway
        self._site = site
        self._enough = threading.Event()
        self._threads = [threading.Thread(target=self._look) for _ in range(count)]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._enough.set()
        for thread in self._threads:
            thread.join()

    def _look(self) -> None:
        while not self._enough.wait(self.pause):
            try:
                self._ask()
            except (OSError, http.client.HTTPException, AssertionError) as error:
                self.lost.append(repr(error))
            else:
                self.answers += 1

    def _ask(self) -> None:
        """Look once; raises an error of the connection, or ``AssertionError`` for a bad answer."""
        look(self._gateway, self._site)
