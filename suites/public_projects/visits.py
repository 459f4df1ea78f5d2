"""A visitor that asks exactly what it is told to, and one that follows the links it finds."""

from __future__ import annotations

import re
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from html.parser import HTMLParser
from itertools import chain, zip_longest
from typing import Final
from urllib.parse import urljoin, urlsplit

import httpx

from tests.integration.clients import LocalTransport, client_for, csrf_token
from tests.integration.sites import EDITOR, EDITOR_PASSWORD

from .projects import PublicProject

THREADS: Final = 8
PAGES: Final = 20
"""How many pages of a site somebody sees who is not logged in."""
BACKSTAGE_PAGES: Final = 40
"""How many pages somebody sees who is."""
_FILES: Final = 8
_VARIANTS: Final = 2
_TIMEOUT: Final = {"timeout": {"connect": 60.0, "read": 90.0, "write": 60.0, "pool": 60.0}}
_ACTS: Final = re.compile(
    r"log-?out|sign-?out|/(un)?hold/|[?&]take\b|/_plugin/.*/(delete|restore)/"
)
"""Links that change something when they are followed: then no two answers are alike."""
_LINKS: Final = {"a": "href", "link": "href", "img": "src", "script": "src", "iframe": "src"}


@dataclass(frozen=True)
class Question:
    """What is asked: a page of a site, by a visitor or by the editor."""

    site: str
    target: str
    editor: bool = False
    method: str = "GET"

    def __str__(self) -> str:
        return f"{self.site}: {self.method} {self.target}{' (editor)' if self.editor else ''}"


@dataclass(frozen=True)
class Answer:
    """What came back, as far as it is compared."""

    status: int
    content_type: str
    location: str
    body: bytes


class Visitor:
    """Asks one server about one site. May be used from several threads.

    It keeps no cookies but those it got by logging in: an answer depends on the question, not on
    what was asked before.
    """

    def __init__(self, project: PublicProject, port: int) -> None:
        self.project = project
        self._port = port
        self._transport = LocalTransport(port)
        self._cookies = ""

    def __enter__(self) -> Visitor:
        return self

    def __exit__(self, *_: object) -> None:
        self._transport.close()

    def log_in(self) -> tuple[Question, Answer]:
        """Send the login form as the editor. Returns that as a question, and the answer."""
        with client_for(self.project.host, self._port) as client:
            token = csrf_token(client.get(self.project.login))
            fields = {"username": EDITOR, "password": EDITOR_PASSWORD, "next": "/welcome/"}
            data = {"csrfmiddlewaretoken": token, **fields}
            response = client.post(self.project.login, data=data)
            self._cookies = "; ".join(f"{name}={value}" for name, value in client.cookies.items())
        question = Question(self.project.name, self.project.login, editor=True, method="POST")
        return question, _answer(response)

    def ask(self, question: Question) -> Answer:
        """Get one page."""
        request = httpx.Request(
            "GET",
            f"http://{self.project.host}{question.target}",
            # gunicorn may close a connection that is kept just when it is used again.
            headers={"Connection": "close"}
            | ({"Cookie": self._cookies} if question.editor else {}),
            extensions=_TIMEOUT,
        )
        response = self._transport.handle_request(request)
        try:
            response.read()
        finally:
            response.close()
        return _answer(response)

    def crawl(self) -> list[Question]:
        """Follow the links from the start pages, as anybody and as the editor."""
        starts = ("/", *self.project.starts)
        public = self._follow(starts, editor=False, limit=PAGES)
        return public + self._follow(self.project.backstage, editor=True, limit=BACKSTAGE_PAGES)

    def _follow(self, starts: Iterable[str], *, editor: bool, limit: int) -> list[Question]:
        questions: list[Question] = []
        pages, files = deque(starts), deque[str]()
        seen = set(pages)
        paths = Counter(urlsplit(target).path for target in pages)
        left = {"pages": limit, "files": _FILES}
        while (pages and left["pages"]) or (files and left["files"]):
            kind = "pages" if pages and left["pages"] else "files"
            question = Question(
                self.project.name, (pages if kind == "pages" else files).popleft(), editor
            )
            left[kind] -= 1
            questions.append(question)
            for link in self._links(question, self.ask(question)):
                path = urlsplit(link).path
                if link not in seen and paths[path] < _VARIANTS:
                    seen.add(link)
                    paths[path] += 1
                    (files if path.startswith(("/static/", "/media/")) else pages).append(link)
        return questions

    def _links(self, question: Question, answer: Answer) -> Iterator[str]:
        """The targets on the same host that a page leads to."""
        base = f"http://{self.project.host}{question.target}"
        found = [answer.location] if answer.location else []
        if answer.content_type.startswith("text/html"):
            found += _links_in(answer.body.decode("utf-8", "replace"))
        for link in found:
            parts = urlsplit(urljoin(base, link))
            target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
            if parts.hostname == self.project.host and not _ACTS.search(target):
                yield target


def ask_all(
    questions: Iterable[Question], visitors: Mapping[str, Visitor]
) -> dict[Question, Answer]:
    """Ask everything from ``THREADS`` threads, each question about another site than the last."""
    sites: dict[str, list[Question]] = {name: [] for name in visitors}
    for question in questions:
        sites[question.site].append(question)
    mixed = [question for question in chain(*zip_longest(*sites.values())) if question]
    with ThreadPoolExecutor(THREADS) as pool:
        answers = pool.map(lambda question: visitors[question.site].ask(question), mixed)
        return dict(zip(mixed, answers, strict=True))


def _answer(response: httpx.Response) -> Answer:
    return Answer(
        response.status_code,
        response.headers.get("content-type", ""),
        response.headers.get("location", ""),
        response.content,
    )


class _Links(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if link := dict(attrs).get(_LINKS.get(tag, "")):
            self.found.append(link)


def _links_in(page: str) -> list[str]:
    parser = _Links()
    parser.feed(page)
    return parser.found
