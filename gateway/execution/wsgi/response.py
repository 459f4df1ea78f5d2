"""A response on its way from the thread of the view to the event loop (PEP 3333).

A response that is complete at once crosses over in one step. If a response comes piece by piece,
the loop takes over all pieces that are there when it has time. When the client does not keep up
and `HIGH_WATER` bytes wait, the response *parks*: the thread is free for others, and goes on with
the response when the client has caught up and the governor gives it a place again.
"""

from __future__ import annotations

import asyncio
import functools
import operator
import re
import sys
import threading
from collections.abc import Iterator
from types import FrameType
from typing import Any, Final, NamedTuple, TypeAlias, cast

from a2wsgi.wsgi_typing import Environ, ExceptionInfo, WriteCallable, WSGIApp

from gateway.errors import GatewayError, told
from gateway.execution.governor import Lane
from gateway.execution.loop_queue import LoopQueue
from gateway.execution.passage import Passage
from gateway.execution.pool import stack_of
from gateway.front.head import IN_VALUES, LENGTH_DIGITS
from gateway.log import request_id
from gateway.sites.generation import Hung

Headers: TypeAlias = list[tuple[bytes, bytes]]

HIGH_WATER: Final = 1 << 17
"""Bytes of a response that may wait for the client before the response parks."""

# Headers that concern the connection (RFC 9110, section 7.6.1). The connection is the task of the
# server, so PEP 3333 forbids them.
_HOP_BY_HOP: Final = frozenset(
    b"connection keep-alive proxy-connection te trailer transfer-encoding upgrade".split()
)
_NO_BODY: Final = frozenset((204, 304))


class ResponseError(ValueError):
    """The status or a header cannot be sent. The message names the header, and never its value."""


class Head:
    """The status and the headers that an application has given, checked.

    Every response passes here, so it has to be fast: the result for the names is remembered for
    each sequence of names, and the values are searched as one string.
    """

    __slots__ = ("headers", "length", "status")

    def __init__(self, status: str, headers: list[tuple[str, str]]) -> None:
        """Raises `ResponseError`."""
        self.status = _code(status if type(status) is str else _plain(status, "the status"))
        self.length: int | None = None
        self.headers: Headers = []
        if not headers:
            return
        try:
            names, values = zip(*headers, strict=True)
        except (TypeError, ValueError):
            raise ResponseError(
                f"the headers (a {_kind(headers)}) are no list of pairs of a name and a value"
            ) from None
        if not _PLAIN.issuperset(map(type, names)):
            names = tuple(_plain(name, "the name of a header") for name in names)
        seen = _look_at(names)
        try:
            # Not ``value.encode``: a subclass of str may have replaced it.
            written = [str.encode(value, "latin-1").strip(b" \t") for value in values]
        except (TypeError, UnicodeEncodeError):
            raise _wrong_value(headers) from None
        if b"".join(written).translate(None, IN_VALUES):
            raise _wrong_value(headers)
        self.headers = [item for item in zip(seen.keys, written, strict=True) if item[0]]
        if seen.lengths:
            length = _length([values[place] for place in seen.lengths])
            if self.status not in _NO_BODY:
                self.length = length
                self.headers.append((_LENGTH, b"%d" % length))


class _Names(NamedTuple):
    """The facts about headers that follow from the sequence of their names alone."""

    keys: tuple[bytes, ...]
    """The names in lower case, as ASGI wants them; empty for headers that are not sent as given."""
    lengths: tuple[int, ...]
    """The places of ``Content-Length``."""


@functools.lru_cache(256)
def _look_at(names: tuple[str, ...]) -> _Names:
    keys = tuple(map(_key, names))
    sent = tuple(b"" if key in _HOP_BY_HOP or key == _LENGTH else key for key in keys)
    lengths = tuple(place for place, key in enumerate(keys) if key == _LENGTH)
    return _Names(sent, lengths)


def _plain(text: object, what: str) -> str:
    """Return the text as a plain `str`: a site's class in a cache would keep the site's code."""
    if not isinstance(text, str):
        raise ResponseError(f"{what} is of the type {_kind(text)}, and has to be str")
    return str.__str__(text)


def _key(name: str) -> bytes:
    """Return the name of a header in lower case; raises `ResponseError` (RFC 9110, section 5.1)."""
    if not _TOKEN.fullmatch(name):
        raise ResponseError(f"{name!r:.100} is not the name of a header (RFC 9110, section 5.1)")
    return name.encode("latin-1").lower()


@functools.lru_cache(256)
def _code(status: str) -> int:
    """Return the number in the status of a final response (PEP 3333; RFC 9110, section 15).

    The reason may be left out, and is never sent: ASGI has no place for it. Raises `ResponseError`.
    """
    code, _, reason = status.partition(" ")
    if not _STATUS.fullmatch(code):
        raise ResponseError(
            f"{code!r:.20} is not the status of a response: a number from 200 to 599, and after "
            "one space a reason, such as '200 OK'"
        )
    if not _REASON.fullmatch(reason):
        raise ResponseError(
            f"the reason of the status {code} has a control character, or one outside Latin-1"
        )
    return int(code)


def _length(values: list[str]) -> int:
    """Return the length that all ``Content-Length`` give (RFC 9110, section 8.6: ``1*DIGIT``)."""
    if not all(_DIGITS.fullmatch(value) for value in values):
        raise ResponseError(
            f"the value of the header 'Content-Length' is not 1 to {LENGTH_DIGITS} digits alone"
        )
    lengths = set(map(int, values))
    if len(lengths) > 1:
        raise ResponseError("there are several headers 'Content-Length', and they differ")
    return lengths.pop()


def _wrong_value(headers: list[tuple[str, Any]]) -> ResponseError:
    """Return the error that names the wrong header and the reason; its value may be a secret."""
    for name, value in headers:
        if not isinstance(value, str):
            why = f"is of the type {_kind(value)}, and has to be str"
        elif not _LATIN_1.fullmatch(value):
            why = "has a character that is not in Latin-1; encode it first (RFC 8187)"
        elif value.strip(" \t").encode("latin-1").translate(None, IN_VALUES):
            why = "has a control character, such as a line break"
        else:
            continue
        return ResponseError(f"the value of the header {name!r} {why}")
    return ResponseError("a header has a value that cannot be sent")


def _kind(value: object) -> str:
    return type(value).__name__


_PLAIN: Final = frozenset({str})
_LENGTH: Final = b"content-length"
_TOKEN: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_STATUS: Final = re.compile(r"[2-5][0-9]{2}")
_REASON: Final = re.compile(r"[\t\x20-\x7e\x80-\xff]*")
_LATIN_1: Final = re.compile(r"[\x00-\xff]*")
_END: Final = object()
_OVER: Final = cast("Environ", {})
_DIGITS: Final = re.compile(rf"[0-9]{{1,{LENGTH_DIGITS}}}")


class Responder:
    """What an application answers to one request, on its way to the event loop; a passage's job.

    It stands in the place of a2wsgi's responder; ``docs/http.md`` says why.
    """

    def __init__(
        self,
        app: WSGIApp,
        environ: Environ,
        passage: Passage,
        loop_queue: LoopQueue,
        patience: float = 0.0,
    ) -> None:
        """``patience`` is the number of seconds after which it hangs, 0 for never."""
        self.app = app
        self.environ = environ
        self._asked = environ["REQUEST_METHOD"], environ["PATH_INFO"]
        self.since = loop_queue.loop.time()
        self.told = False
        self._patience = patience
        self._deserted = 0.0
        self.passage = passage
        self.head: Head | None = None
        self.done = False
        self.error: GatewayError | None = None
        self._thread_id = 0
        self._loop_queue = loop_queue
        self._head_only = environ["REQUEST_METHOD"] == "HEAD"
        self._head_taken = False
        self._iterable: Any = None
        self._iterator: Iterator[bytes] | None = None
        self._lock = threading.Lock()
        self._pieces: list[bytes] = []
        self._size = 0
        self._sent = 0
        self._announced = False
        self._parked = False
        self._gone = False
        self._room: threading.Event | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._verdict: Exception | None = None

    # On the event loop

    @property
    def waits(self) -> bool:
        """Whether it has not been admitted yet."""
        return self.passage.waits and not self._head_taken

    @property
    def answers(self) -> bool:
        """Tell whether the head of the response has been taken, to be sent."""
        return self._head_taken

    @property
    def stack(self) -> str:
        """Where its code is, as in a traceback; empty while no thread runs it."""
        return stack_of(self._thread_id) if self.passage.runs and not self.done else ""

    @property
    def request(self) -> str:
        """The method and the path, for people."""
        method, path = self._asked
        # PEP 3333, "Unicode Issues"
        return f"{method} {path.encode('latin-1').decode('utf-8', 'replace')!r}"

    def hangs(self, now: float) -> bool:
        """Tell whether it has run for longer than its patience: unanswered, or deserted."""
        if not self._patience or self.done:
            return False
        if not self._head_taken:
            return now - self.since > self._patience
        return bool(self._deserted) and now - self._deserted > self._patience

    def hung(self, now: float) -> Hung:
        """Return what it is and where it is."""
        return Hung(self.request, round(now - self.since, 1), self.stack)

    async def ready(self) -> None:
        """Wait until there is something to `take`; raises the error that `fail` was called with."""
        if self._verdict is None and not (self._announced or self.done):
            self._waiter = self._loop_queue.loop.create_future()
            await self._waiter
        if self._verdict is not None:
            raise self._verdict

    def take(self) -> tuple[Head | None, bytes, bool]:
        """Return what to send: the head if it is new, a piece, and whether that is the last one."""
        head = None
        with self._lock:
            self._announced = False
            pieces, self._pieces, self._size = self._pieces, [], 0
            done = self.done
            if not self._head_taken and self.error is None and (pieces or done):
                head, self._head_taken = self.head, True
        return head, pieces[0] if len(pieces) == 1 else b"".join(pieces), done

    def go_on(self) -> None:
        """Let a thread go on that waits until the taken piece has been sent."""
        with self._lock:
            parked, self._parked = self._parked, False
            room = self._room
        if room is not None:
            room.set()
        if parked:
            self.passage.go_on(at_once=self._gone)

    def fail(self, error: Exception) -> None:
        """End the relay of the response with ``error``."""
        self._verdict = error
        self.let_go()
        self._notice()

    def forget_errors(self) -> None:
        """Let go of what was raised: its traceback refers to frames, and they to the responder."""
        self.error = self._verdict = None

    def let_go(self) -> None:
        """Nobody wants the rest: the iterable is closed, on its thread, as soon as possible."""
        self._deserted = self._deserted or self._loop_queue.loop.time()
        self._gone = True
        self.passage.withdraw()
        self.go_on()

    def _notice(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    # The job of its passage

    def run(self) -> bool:
        """Call the application, or go on with what it returned; true to park."""
        if self.done:  # it was aborted
            self._close()
            return False
        try:
            if self._iterator is None and not self._gone:
                self._thread_id = threading.get_ident()
                request_id.set(self.environ.get("HTTP_X_REQUEST_ID", ""))  # type: ignore[arg-type]
                self._iterable = self.app(self.environ, self.start_response)
                self._iterator = iter(self._iterable)
            if self._iterator is not None and self._pump(self._iterator):
                return True
            self._finish(None)
        except BaseException as error:
            self.abort(error)
        self._close()
        return False

    def abort(self, error: BaseException) -> None:
        """End with ``error``, if it has not ended."""
        if not self.done:
            self._finish(error)

    def parked(self) -> None:
        """Go on at once if the client has caught up meanwhile."""
        with self._lock:
            wait = self._size >= HIGH_WATER and not self._gone and not self.done
            self._parked = wait
        if not wait:
            self.passage.go_on(at_once=self._gone)

    def _hold(self) -> None:
        """Wait on the thread until the client has caught up."""
        while self._size >= HIGH_WATER and not self._gone:
            self._room = self._room or threading.Event()
            self._room.clear()
            if self._size >= HIGH_WATER and not self._gone:
                self._room.wait()

    # On the thread of the view

    def start_response(
        self,
        status: str,
        response_headers: list[tuple[str, str]],
        exc_info: ExceptionInfo | None = None,
    ) -> WriteCallable:
        """Take the status and the headers (PEP 3333, "The start_response() Callable")."""
        try:
            if exc_info is not None and self._sent:
                raise exc_info[1].with_traceback(exc_info[2])
            if exc_info is None and self.head is not None:
                raise AssertionError("start_response() was called a second time without exc_info")
        finally:
            exc_info = None  # PEP 3333: no circular references
        self.head = Head(status, response_headers)
        return self.write

    def write(self, data: bytes) -> None:
        """Send a piece; wait if the client does not keep up (PEP 3333, "The write() Callable")."""
        if not self._put(data):
            return
        self._announce()
        self._hold()
        if self._gone:
            raise ConnectionAbortedError("the client has gone away")

    def _pump(self, iterator: Iterator[bytes]) -> bool:
        # Lists, tuples and Django's HttpResponse know their length: all pieces are there already.
        at_once = operator.length_hint(iterator, -1) >= 0
        while not self._gone and not (self._head_only and not at_once and self.head):
            piece: Any = next(iterator, _END)
            if piece is _END:
                break
            if not self._put(piece):
                continue
            if self._size >= HIGH_WATER:
                self._announce()
                return True
            if not at_once:
                self._announce()
        return False

    def _put(self, piece: bytes) -> bool:
        """Add a piece to those to be sent; return false if there is nothing of it to send."""
        if type(piece) is not bytes:
            if not isinstance(piece, bytes):
                raise TypeError(f"the application gave {type(piece).__name__} instead of bytes")
            piece = b"".join((piece,))  # a class of the site must not come to the event loop
        if not piece:
            return False
        head = self.head
        if head is None:
            raise AssertionError("the application gave a body before it called start_response()")
        self._sent += len(piece)
        if head.length is not None and self._sent > head.length:
            raise ValueError(f"the body is longer than its Content-Length, {head.length}")
        if self._head_only or head.status in _NO_BODY:
            return False
        with self._lock:
            self._pieces.append(piece)
            self._size += len(piece)
        return True

    def _finish(self, error: BaseException | None) -> None:
        if error is None and not self._gone:
            error = self._conclude()
        if error is not None:
            # Text at most comes to the event loop of what the code of a site has raised.
            self.error = error if isinstance(error, GatewayError) else told(error)
        with self._lock:
            self.done = True
        self._announce()

    def _conclude(self) -> Exception | None:
        """Check the end of the response; add its length if nothing of it has been sent yet."""
        head = self.head
        if head is None:
            return AssertionError("the application did not call start_response()")
        if head.status in _NO_BODY:
            return None
        if head.length is None:
            with self._lock:
                if not self._head_taken and (self._sent or not self._head_only):
                    head.headers.append((b"content-length", b"%d" % self._sent))
        elif self._sent < head.length and not self._head_only:
            return ValueError(
                f"the body has {self._sent} bytes of {head.length}, its Content-Length"
            )
        return None

    def _announce(self) -> None:
        if not self._announced:
            self._announced = True
            # What is complete can wait for others; what comes piece by piece waits for the loop.
            patient = self.done and self.passage.ticket.lane is Lane.FAST
            self._loop_queue.post(self._notice, patient=patient)

    def _close(self) -> None:
        """Close the iterable, on the thread that ran the view: Django ends the request here."""
        iterable, self._iterable, self._iterator = self._iterable, None, None
        self.environ = _OVER  # what the site has put into it ends here, on its thread
        try:
            if (close := getattr(iterable, "close", None)) is not None:
                close()
        except BaseException:
            log = self.passage.threads.reporter.logger("gateway.wsgi")
            log.exception("close() of a response raised an exception")


def request_here() -> str:
    """Return what request the calling code works for, masked; empty if for none.

    Only on the thread of its view.
    """
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        if frame.f_code is Responder.run.__code__:
            responder: Responder = frame.f_locals["self"]
            return responder.passage.threads.reporter.mask(responder.request)
        frame = frame.f_back
    return ""
