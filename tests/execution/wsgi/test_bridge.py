from __future__ import annotations

import asyncio
import contextlib
import contextvars
import sys
import threading
import time
from collections.abc import Iterable, Iterator
from typing import Any
from wsgiref.validate import validator

import pytest

from gateway import log
from gateway.config.limits import Limits
from gateway.errors import CodeError
from gateway.execution.wsgi import Bridge
from gateway.execution.wsgi.body import PROGRESS, Intake
from gateway.execution.wsgi.response import HIGH_WATER
from tests.execution.wsgi.asgi import CHUNKED, DEADLINE, Client, Environ, StartResponse, bridge

pytestmark = pytest.mark.anyio


def hello(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"hello"]


class Slow(Client):
    """Takes nothing of a response after its first pieces until it is told to go on."""

    def __init__(self) -> None:
        super().__init__()
        self.reads = asyncio.Event()
        self.waits = asyncio.Event()

    async def send(self, message: Any) -> None:
        await super().send(message)
        if message["type"] == "http.response.body" and not self.reads.is_set():
            self.waits.set()
            await self.reads.wait()


# What crosses over, and how


async def test_a_complete_response_crosses_over_once() -> None:
    with bridge(hello) as app:
        client = await Client().ask(app)
    assert [message["type"] for message in client.sent] == [
        "http.response.start",
        "http.response.body",
    ]
    assert client.headers[b"content-length"] == b"5"
    assert client.complete


async def test_a_piece_arrives_before_the_next_is_made() -> None:
    go_on = threading.Event()

    def slowly(environ: Environ, start_response: StartResponse) -> Iterator[bytes]:
        start_response("200 OK", [])
        yield b"first"
        assert go_on.wait(DEADLINE)
        yield b"second"

    class Curious(Client):
        async def send(self, message: Any) -> None:
            await super().send(message)
            if message.get("body") == b"first":
                go_on.set()

    with bridge(slowly) as app:
        client = await Curious().ask(app)
    assert client.content == b"firstsecond"
    assert b"content-length" not in client.headers


async def test_many_small_pieces_are_merged() -> None:
    def drops(environ: Environ, start_response: StartResponse) -> Iterator[bytes]:
        start_response("200 OK", [])
        for _ in range(10_000):
            yield b"x"

    with bridge(drops) as app:
        client = await Client().ask(app)
    assert client.content == b"x" * 10_000
    assert len(client.sent) < 1000


def compute(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    end = time.thread_time() + 0.001
    while time.thread_time() < end:
        pass
    return hello(environ, start_response)


def note_rests(app: Bridge) -> list[float]:
    rests: list[float] = []
    rest = app.traffic.loop_queue.rest

    def noted(*args: Any) -> None:
        rests.append(time.monotonic())
        rest(*args)

    app.traffic.loop_queue.rest = noted  # type: ignore[method-assign]
    return rests


async def test_amid_a_crowd_the_loop_rests_and_all_are_answered() -> None:
    with bridge(compute) as app:
        rests = note_rests(app)
        for _ in range(3):
            clients = await asyncio.gather(*(Client().ask(app) for _ in range(50)))
            assert [client.content for client in clients] == [b"hello"] * 50
        assert rests or not app.traffic.governor.sees_blocked
        count = len(rests)
        await asyncio.sleep(0.05)
        assert len(rests) == count, "it rests though there is nobody"


async def test_the_loop_does_not_rest_while_a_body_comes() -> None:
    came: list[float] = []

    class Sender(Client):
        async def receive(self) -> Any:
            await asyncio.sleep(0.001)
            message = await super().receive()
            came.append(time.monotonic())
            return message

    async def ask_again_and_again(app: Bridge, until: asyncio.Event) -> None:
        while not until.is_set():
            await Client().ask(app)

    with bridge(compute, intake=Intake(DEADLINE)) as app:
        rests = note_rests(app)
        over = asyncio.Event()
        crowd = [asyncio.create_task(ask_again_and_again(app, over)) for _ in range(10)]
        while not rests and app.traffic.governor.sees_blocked:
            await asyncio.sleep(0.01)
        client = await Sender(*[b"x" * 1000] * 30).ask(app, "POST", headers=CHUNKED)
        over.set()
        await asyncio.gather(*crowd)
    assert client.content == b"hello" and len(came) == 30
    assert not [moment for moment in rests if came[0] < moment < came[-1]]


@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_head_has_the_headers_of_get_and_no_body(method: str) -> None:
    with bridge(hello) as app:
        client = await Client().ask(app, method)
    assert client.headers[b"content-length"] == b"5"
    assert client.content == (b"hello" if method == "GET" else b"")


async def test_head_does_not_run_through_a_stream() -> None:
    closed = threading.Event()

    def endless(environ: Environ, start_response: StartResponse) -> Iterator[bytes]:
        start_response("200 OK", [])
        try:
            while True:
                yield b"x"
        finally:
            closed.set()

    with bridge(endless) as app:
        client = await Client().ask(app, "HEAD")
        assert client.content == b"" and client.complete
    assert closed.is_set()


@pytest.mark.parametrize("status", ["204 No Content", "304 Not Modified"])
async def test_a_status_without_content_has_none(status: str) -> None:
    def mistaken(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        start_response(status, [("Content-Length", "4")])
        return [b"oops"]

    with bridge(mistaken) as app:
        client = await Client().ask(app)
    assert client.content == b"" and client.complete
    assert b"content-length" not in client.headers


@pytest.mark.parametrize(
    ("announced", "pieces"), [(9, [b"short"]), (3, [b"too long"]), (3, iter([b"ab", b"cd"]))]
)
async def test_a_wrong_content_length_is_an_error(announced: int, pieces: Iterable[bytes]) -> None:
    def wrong(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        start_response("200 OK", [("Content-Length", str(announced))])
        return pieces

    with bridge(wrong) as app:
        client = Client()
        with pytest.raises(CodeError, match=r"^ValueError: .*Content-Length"):
            await client.ask(app)
    assert not client.complete


async def test_headers_of_the_connection_are_the_server_s() -> None:
    def meddling(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        start_response("200 OK", [("Transfer-Encoding", "chunked"), ("Connection", "close")])
        return [b"x"]

    with bridge(meddling) as app:
        client = await Client().ask(app)
    assert client.headers.keys() == {b"content-length"}


@pytest.mark.parametrize(
    ("status", "header"),
    [
        ("200 OK", ("X-A", "b\r\nSet-Cookie: c=d")),
        ("200 OK", ("X-A\n", "b")),
        ("OK", ("X-A", "b")),
        ("100 Continue", ("X-A", "b")),
        ("2000 Oh", ("X-A", "b")),
    ],
)
async def test_what_cannot_be_sent_is_an_error(status: str, header: tuple[str, str]) -> None:
    def splitting(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        start_response(status, [header])
        return [b"x"]

    with bridge(splitting) as app:
        client = Client()
        with pytest.raises(CodeError, match=r"^ResponseError: "):
            await client.ask(app)
    assert client.sent == []


# PEP 3333


async def test_wsgiref_s_validator_has_no_complaint() -> None:
    def form(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        body = environ["wsgi.input"]
        taken = [body.read(3), body.readline(), *body.readlines()]
        write = start_response("200 OK", [("Content-Type", "text/plain")])
        write(b"written,")
        return [b"|".join(taken)]

    with bridge(validator(form)) as app:  # type: ignore[arg-type]
        client = Client(b"one\ntwo\nthr", b"ee\n")
        await client.ask(app, "POST", headers=[*CHUNKED, ("content-type", "text/plain")])
    assert client.content == b"written,one|\n|two\n|three\n"


async def test_start_response_twice_is_an_error() -> None:
    def twice(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        start_response("200 OK", [])
        start_response("200 OK", [])
        return [b"x"]

    with bridge(twice) as app, pytest.raises(CodeError, match=r"^AssertionError: .* second time"):
        await Client().ask(app)


async def test_exc_info_after_data_raises_it() -> None:
    def late(environ: Environ, start_response: StartResponse) -> Iterator[bytes]:
        start_response("200 OK", [])
        yield b"begun"
        try:
            raise LookupError("too late")
        except LookupError:
            start_response("500 Oh", [], sys.exc_info())

    with bridge(late) as app:
        client = Client()
        with pytest.raises(CodeError, match=r"^LookupError: too late"):
            await client.ask(app)
    assert not client.complete


@pytest.mark.parametrize("answer", [[b"x"], ["text"], None])
async def test_an_application_that_breaks_the_rules_is_an_error(answer: Any) -> None:
    def careless(environ: Environ, start_response: StartResponse) -> Any:
        if answer != [b"x"]:
            start_response("200 OK", [])
        return answer

    with bridge(careless) as app:
        client = Client()
        with pytest.raises(CodeError, match=r"^(Assertion|Type)Error: "):
            await client.ask(app)
    assert client.sent == []


async def test_no_code_of_a_site_comes_to_the_event_loop() -> None:
    threads: list[int] = []

    class Noting:
        def __del__(self) -> None:
            threads.append(threading.get_ident())

    class Told(Exception):
        def __str__(self) -> str:
            threads.append(threading.get_ident())
            return "in words"

    class Page(bytes):
        def __len__(self) -> int:
            threads.append(threading.get_ident())
            return super().__len__()

    def app(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        environ["site"] = Noting()
        environ["PATH_INFO"] = Noting()  # routers put there what is left of the path
        if environ["QUERY_STRING"]:
            raise Told
        start_response("200 OK", [])
        return [Page(b"a page")]

    with bridge(app) as served:
        assert (await Client().ask(served)).content == b"a page"
        with pytest.raises(CodeError, match=r"^Told: in words") as caught:
            await Client().ask(served, query_string=b"fail")
    assert caught.value.traceback.endswith("Told: in words\n")
    deadline = time.monotonic() + DEADLINE
    while len(threads) < 5:
        assert time.monotonic() < deadline, "something of the site is left"
        await asyncio.sleep(0.01)
    assert threading.get_ident() not in threads


async def test_close_is_called_on_the_thread_of_the_view_whatever_happens() -> None:
    threads: list[int] = []

    class Answer:
        def __init__(self, pieces: list[Any]) -> None:
            self.pieces = pieces

        def __iter__(self) -> Iterator[bytes]:
            return iter(self.pieces)

        def close(self) -> None:
            threads.append(threading.get_ident())
            raise RuntimeError("close() fails")  # logged; the client has its answer

    def app(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        threads.append(threading.get_ident())
        start_response("200 OK", [])
        return Answer([b"x"] if environ["PATH_INFO"] == "/" else ["not bytes"])

    with bridge(app) as served:
        assert (await Client().ask(served)).content == b"x"
        with pytest.raises(CodeError, match=r"^TypeError: "):
            await Client().ask(served, raw_path=b"/broken")
    assert len(threads) == 4 and threads[0] == threads[1] and threads[2] == threads[3]


@pytest.mark.parametrize("error", [SystemExit(3), KeyboardInterrupt(), GeneratorExit()])
async def test_no_exception_of_a_view_ends_the_gateway(error: BaseException) -> None:
    def leaving(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        raise error

    with bridge(leaving) as app, pytest.raises(CodeError, match=f"^{type(error).__name__}"):
        await Client().ask(app)


async def test_requests_on_one_thread_share_its_context() -> None:
    clients: contextvars.ContextVar[int] = contextvars.ContextVar("clients", default=0)

    def counting(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        clients.set(clients.get() + 1)
        start_response("200 OK", [])
        return [str(clients.get()).encode()]

    with bridge(counting, threads=1) as app:
        answers = [(await Client().ask(app)).content for _ in range(3)]
    assert answers == [b"1", b"2", b"3"]


# Slow clients


def stream(size: int, closed: list[int] | None = None) -> Any:
    def app(environ: Environ, start_response: StartResponse) -> Iterator[bytes]:
        start_response("200 OK", [])
        if environ["PATH_INFO"] != "/stream":
            yield b"quick"
            return
        thread = threading.get_ident()
        try:
            for _ in range(size // 10_000):
                assert threading.get_ident() == thread
                yield b"x" * 10_000
        finally:
            if closed is not None:
                closed.append(threading.get_ident() - thread)

    return app


async def test_clients_that_do_not_read_hold_no_thread() -> None:
    closed: list[int] = []
    with bridge(stream(4_000_000, closed), threads=2) as app:
        clients = [Slow() for _ in range(20)]
        streams = [asyncio.create_task(client.ask(app, raw_path=b"/stream")) for client in clients]
        for client in clients:
            await client.waits.wait()
        assert (await Client().ask(app)).content == b"quick"
        for client in clients:
            client.reads.set()
        for client in await asyncio.gather(*streams):
            assert len(client.content) == 4_000_000 and client.complete
    assert closed == [0] * 20, "closed on the thread of the view"


async def test_a_stream_that_goes_on_takes_its_turn() -> None:
    """Not beside a request that has the only place."""
    inside, end = asyncio.Event(), threading.Event()
    loop = asyncio.get_running_loop()
    order: list[str] = []

    def view(environ: Environ, start_response: StartResponse) -> Iterator[bytes]:
        start_response("200 OK", [])
        if environ["PATH_INFO"] == "/other":
            loop.call_soon_threadsafe(inside.set)
            assert end.wait(DEADLINE)
            order.append("the other has ended")
            yield b"other"
        else:
            yield b"x" * HIGH_WATER  # may be taken over before it parks, but not two
            yield b"x" * HIGH_WATER
            order.append("the stream goes on")
            yield b"y"

    with bridge(view, Limits(concurrency=1), threads=2) as app:
        client = Slow()
        streaming = asyncio.create_task(client.ask(app))
        await client.waits.wait()
        other = asyncio.create_task(Client().ask(app, raw_path=b"/other"))
        await asyncio.wait_for(inside.wait(), DEADLINE)
        client.reads.set()
        async with asyncio.timeout(DEADLINE):
            while not app.account.waits:
                await asyncio.sleep(0.01)
        end.set()
        await asyncio.gather(streaming, other)
    assert order == ["the other has ended", "the stream goes on"]
    assert client.content == b"x" * 2 * HIGH_WATER + b"y" and client.complete


async def test_a_stream_waits_no_more_for_its_turn_when_its_client_has_left() -> None:
    inside, end, closed = asyncio.Event(), threading.Event(), threading.Event()
    loop = asyncio.get_running_loop()

    def view(environ: Environ, start_response: StartResponse) -> Iterator[bytes]:
        start_response("200 OK", [])
        if environ["PATH_INFO"] == "/other":
            loop.call_soon_threadsafe(inside.set)
            assert end.wait(DEADLINE)
        else:
            try:
                while True:
                    yield b"x" * HIGH_WATER
            finally:
                closed.set()

    with bridge(view, Limits(concurrency=1), threads=2) as app:
        client = Slow()
        streaming = asyncio.create_task(client.ask(app))
        await client.waits.wait()
        other = asyncio.create_task(Client().ask(app, raw_path=b"/other"))
        await asyncio.wait_for(inside.wait(), DEADLINE)
        client.reads.set()
        async with asyncio.timeout(DEADLINE):
            while not app.account.waits:
                await asyncio.sleep(0.01)
        client.left.set()
        await streaming
        assert not app.account.waits
        end.set()
        await other
        assert await asyncio.to_thread(closed.wait, DEADLINE)


async def test_a_stream_that_waits_for_its_client_waits_in_bytes() -> None:
    made = 0

    def large(environ: Environ, start_response: StartResponse) -> Iterator[bytes]:
        nonlocal made
        start_response("200 OK", [])
        for _ in range(1000):
            made += 50_000
            yield b"x" * 50_000

    with bridge(large) as app:
        client = Slow()
        task = asyncio.create_task(client.ask(app))
        await client.waits.wait()
        while app.account.share.taken:
            await asyncio.sleep(0)
        assert made <= 2 * (HIGH_WATER + 50_000), "one load is with the server, one waits"
        client.reads.set()
        await task
    assert len(client.content) == made == 50_000_000


async def test_the_response_of_a_client_that_left_is_closed_while_it_waits() -> None:
    closed: list[int] = []
    with bridge(stream(4_000_000, closed), threads=1) as app:
        client = Slow()
        task = asyncio.create_task(client.ask(app, raw_path=b"/stream"))
        await client.waits.wait()
        client.left.set()
        client.reads.set()  # uvicorn's send() returns when the connection is lost
        await task
    assert closed == [0]
    assert len(client.content) < 4_000_000 and not client.complete


async def test_a_client_that_takes_nothing_is_given_up() -> None:
    closed: list[int] = []
    with bridge(stream(4_000_000, closed), Limits(send_timeout=0.1), threads=1) as app:
        client = Slow()
        async with asyncio.timeout(DEADLINE):
            await client.ask(app, raw_path=b"/stream")
            while app.account.share.taken:
                await asyncio.sleep(0.01)
    assert closed == [0] and not client.complete


async def test_write_raises_when_the_client_takes_nothing() -> None:
    errors: list[str] = []

    def writing(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        write = start_response("200 OK", [])
        try:
            while True:
                write(b"x" * HIGH_WATER)
        except OSError as error:
            errors.append(type(error).__name__)
            raise

    with bridge(writing, Limits(send_timeout=0.1), threads=1) as app:
        async with asyncio.timeout(DEADLINE):
            await Slow().ask(app)
            while app.account.share.taken:
                await asyncio.sleep(0.01)
    assert errors == ["ConnectionAbortedError"]


async def test_write_waits_for_the_client() -> None:
    def writing(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        write = start_response("200 OK", [])
        for _ in range(10):
            write(b"x" * HIGH_WATER)
        return []

    with bridge(writing) as app:
        client = Slow()
        task = asyncio.create_task(client.ask(app))
        await client.waits.wait()
        client.reads.set()
        await task
    assert len(client.content) == 10 * HIGH_WATER and client.complete


# Other scopes, which are a2wsgi's


async def test_a_socket_is_closed() -> None:
    with bridge(hello) as app:
        client = Client()
        await app({"type": "websocket"}, client.receive, client.send)
    assert client.sent == [{"type": "websocket.close", "code": 1000}]


async def test_the_lifespan_is_answered() -> None:
    messages = iter(["lifespan.startup", "lifespan.shutdown"])

    async def receive() -> dict[str, str]:
        return {"type": next(messages)}

    with bridge(hello) as app:
        client = Client()
        await app({"type": "lifespan"}, receive, client.send)
    assert [message["type"] for message in client.sent] == [
        "lifespan.startup.complete",
        "lifespan.shutdown.complete",
    ]


# Limits


async def test_bodies_over_the_limit_are_refused_and_not_read() -> None:
    with bridge(hello, Limits(max_body=10)) as app:
        announced = Client(b"x" * 11)
        await announced.ask(app, "POST", headers=[("content-length", "11")])
        assert announced.status == 413 and len(announced._messages) == 1
        assert announced.headers[b"connection"] == b"close"
        chunked = await Client(b"123456", b"123456", b"").ask(app, "POST", headers=CHUNKED)
        assert chunked.status == 413
        assert (await Client(b"0123456789").ask(app, "POST", headers=CHUNKED)).status == 200


async def test_a_body_that_does_not_come_is_refused() -> None:
    with bridge(hello, Limits(body_timeout=0.1)) as app:
        waits = Client(b"123", b"456")
        waits._messages.pop()
        await waits.ask(app, "POST", headers=[("content-length", "6")])
    assert waits.status == 408
    assert waits.headers[b"connection"] == b"close"


async def test_a_body_has_time_as_long_as_it_comes(monkeypatch: pytest.MonkeyPatch) -> None:
    """By the clock of the loop: a stretch of time begins with each 16 KB, not with each byte."""
    late = 0.0
    loop = asyncio.get_running_loop()
    time = loop.time
    monkeypatch.setattr(loop, "time", lambda: time() + late)

    class Steady(Client):
        async def receive(self) -> Any:
            nonlocal late
            late += 20
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            return await super().receive()

    with bridge(hello, Limits(body_timeout=30)) as app:
        pieces = [b"x" * PROGRESS] * 10
        assert (await Steady(*pieces).ask(app, "POST", headers=CHUNKED)).status == 200
        trickle = [b"x"] * 10
        assert (await Steady(*trickle).ask(app, "POST", headers=CHUNKED)).status == 408


async def test_headers_over_the_limit_are_refused() -> None:
    headers = [("x-long", "x" * 100)]
    with bridge(hello, Limits(max_header=100)) as app:
        assert (await Client().ask(app)).status == 200
        assert (await Client().ask(app, headers=headers)).status == 431


async def test_a_content_length_that_is_not_true_is_refused() -> None:
    with bridge(hello) as app:
        client = await Client(b"1234").ask(app, "POST", headers=[("content-length", "9")])
    assert client.status == 400


async def test_a_full_queue_refuses_at_once() -> None:
    inside, go_on = threading.Semaphore(0), threading.Event()

    def waiting(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        inside.release()
        assert go_on.wait(DEADLINE)
        return hello(environ, start_response)

    with bridge(waiting, Limits(concurrency=1, queue_length=1, queue_wait=30)) as app:
        first = asyncio.create_task(Client().ask(app))
        assert await asyncio.to_thread(inside.acquire, timeout=DEADLINE)
        second = asyncio.create_task(Client().ask(app))
        await asyncio.sleep(0)
        third = await Client().ask(app)
        assert third.status == 503 and third.headers[b"retry-after"] == b"30"
        go_on.set()
        assert [(await task).status for task in (first, second)] == [200, 200]


async def test_who_waits_too_long_is_refused() -> None:
    inside, go_on = threading.Semaphore(0), threading.Event()

    def waiting(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        inside.release()
        assert go_on.wait(DEADLINE)
        return hello(environ, start_response)

    with bridge(waiting, Limits(concurrency=1, queue_wait=0.01)) as app:
        first = asyncio.create_task(Client().ask(app))
        assert await asyncio.to_thread(inside.acquire, timeout=DEADLINE)
        assert (await Client().ask(app)).status == 503
        go_on.set()
        assert (await first).status == 200
        assert not inside.acquire(blocking=False), "what was refused has not been run"


async def test_a_view_that_does_not_answer_in_time(caplog: pytest.LogCaptureFixture) -> None:
    go_on = threading.Event()

    def stuck_in_here(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        assert go_on.wait(DEADLINE)
        return hello(environ, start_response)

    with bridge(stuck_in_here, Limits(request_timeout=0.01)) as app:
        client = await Client().ask(app)
        assert client.status == 504
        assert app.traffic.governor.places.running == 1
        assert "GET '/' was not answered" in caplog.text
        assert "in stuck_in_here" in caplog.text
        while app.traffic.governor.places.running:  # then it counts no more
            await asyncio.sleep(0.01)
        (hung,) = app.traffic.hangs.of("shop")
        assert (hung.request, "in stuck_in_here" in hung.stack) == ("GET '/'", True)
        go_on.set()
        while app.traffic.hangs.of("shop"):
            await asyncio.sleep(0.01)


async def test_a_client_that_left_while_it_waited_is_not_served() -> None:
    inside, go_on = threading.Semaphore(0), threading.Event()

    def waiting(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        inside.release()
        assert go_on.wait(DEADLINE)
        return hello(environ, start_response)

    with bridge(waiting, Limits(concurrency=1)) as app:
        first = asyncio.create_task(Client().ask(app))
        assert await asyncio.to_thread(inside.acquire, timeout=DEADLINE)
        leaving = Client()
        leaving.left.set()
        await leaving.ask(app)  # returns although the first still runs
        assert leaving.sent == []
        go_on.set()
        await first
        assert not inside.acquire(blocking=False)


async def test_closing_ends_what_is_open() -> None:
    closed: list[int] = []
    with bridge(stream(4_000_000, closed), threads=1) as app:
        client = Slow()
        task = asyncio.create_task(client.ask(app, raw_path=b"/stream"))
        await client.waits.wait()
        app.close()
        client.reads.set()
        with contextlib.suppress(ConnectionAbortedError):
            await task
        assert not client.complete
    assert closed == [0]


async def test_what_a_view_logs_carries_the_id_of_its_request() -> None:
    seen: list[str] = []

    def logging_view(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        seen.append(log.request_id.get())
        return hello(environ, start_response)

    with bridge(logging_view, threads=1) as app:
        for identity in ("one", "two"):
            await Client().ask(app, headers=[("x-request-id", identity)])
    assert seen == ["one", "two"]


async def test_none_in_a_list_is_no_end_but_an_error() -> None:
    def application(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        start_response("200 OK", [])
        return [b"one", None, b"two"]  # type: ignore[list-item]

    with bridge(application) as app, pytest.raises(CodeError, match="gave NoneType"):
        await Client().ask(app)
