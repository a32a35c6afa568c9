"""The page's server: what it answers, to whom, and that nothing stops it or is stopped by it."""

import asyncio
import json
import logging
import socket
from base64 import b64encode
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from time import monotonic

import aiohttp
import pytest
import structlog

from tests.unit.status.conftest import FIRST, WORTH
from trader.app.worth import Worth
from trader.domain.decision import State
from trader.errors import JournalError
from trader.journal.journal import Journal
from trader.log import register_secret
from trader.status.board import Board, Instance
from trader.status.guard import Guard
from trader.status.server import MOST_CONNECTIONS, Exposition, Server
from trader.status.sight import Sight

TOKEN = "a-token-of-enough-characters"
LOG = structlog.get_logger("trader")
Serve = Callable[..., Server]


@pytest.fixture
def serve(sight: Sight, instance: Instance, board: Board) -> Iterator[Serve]:
    servers: list[Server] = []

    def make(
        *, port: int = 0, token: str = "", open_sight: Callable[[], Sight] | None = None, worth: Worth = WORTH
    ) -> Server:
        shown = replace(instance, worth=lambda: worth)
        opener = open_sight or (lambda: Sight(sight.journal.path, shown, board))
        metrics = Exposition("text/plain; version=0.0.4; charset=utf-8", lambda seen: b"up 1\n")
        server = Server("127.0.0.1", port, Guard(token), board, opener, metrics, LOG, patience=0.05)
        server.start()
        servers.append(server)
        return server

    yield make
    for server in servers:
        server.stop()


def address(server: Server, path: str = "/") -> str:
    assert server.bound(20)
    return f"http://127.0.0.1:{server.port}{path}"


@pytest.fixture
def quiet(capsys: pytest.CaptureFixture[str]) -> Iterator[None]:
    structlog.configure(processors=[structlog.processors.JSONRenderer()], logger_factory=structlog.PrintLoggerFactory())
    yield
    structlog.reset_defaults()


@pytest.fixture(autouse=True)
def _quiet(quiet: None) -> None:
    """Keep what is logged for the test that reads it."""


async def test_every_path_answers_with_the_same_policy_and_no_cookie(serve: Serve) -> None:
    server = serve()
    async with aiohttp.ClientSession() as session:
        for path, media in {
            "/": "text/html", "/status.json": "application/json", "/equity.json": "application/json",
            "/metrics": "text/plain", "/healthz": "text/plain", "/readyz": "text/plain",
        }.items():  # fmt: skip
            async with session.get(address(server, path)) as answer:
                assert (answer.status, answer.content_type) == (200, media)
                policy = answer.headers["Content-Security-Policy"]
                assert "default-src 'none'" in policy
                assert "unsafe" not in policy
                assert answer.headers["Cache-Control"] == "no-store"
                assert answer.headers["X-Content-Type-Options"] == "nosniff"
                assert answer.headers["Server"] == "trader"
                assert "Set-Cookie" not in answer.headers


async def test_what_the_page_loads_is_served_here_and_may_be_kept(serve: Serve) -> None:
    server = serve()
    async with aiohttp.ClientSession(auto_decompress=False) as session:
        async with session.get(address(server)) as answer:
            page = (await answer.read()).decode() if "Content-Encoding" not in answer.headers else ""
        async with session.get(address(server), headers={"Accept-Encoding": "identity"}) as answer:
            page = page or await answer.text()
        assets = [part.split('"')[0] for part in page.split('="/assets/')[1:]]
        assert [name.split(".")[0] for name in assets] == ["page", "page", "vega"]
        for name in assets:
            async with session.get(address(server, f"/assets/{name}")) as answer:
                assert answer.status == 200
                assert "immutable" in answer.headers["Cache-Control"]
        async with session.get(address(server, "/assets/..%2Fpage.html")) as answer:
            assert answer.status == 404


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS"])
async def test_nothing_can_be_changed_through_the_page(serve: Serve, method: str) -> None:
    server = serve()
    async with aiohttp.ClientSession() as session:
        for path in ("/", "/status.json", "/healthz"):
            async with session.request(method, address(server, path), data=b"{}") as answer:
                assert answer.status == 405


async def test_with_a_token_nothing_but_health_is_told_without_it(serve: Serve) -> None:
    server = serve(token=TOKEN)
    async with aiohttp.ClientSession() as session:
        for path in ("/", "/status.json", "/equity.json", "/metrics", "/assets/page.css", "/no/such"):
            async with session.get(address(server, path)) as answer:
                assert answer.status == 401
                assert answer.headers["WWW-Authenticate"].startswith("Basic realm")
                assert "mine" not in await answer.text()
        async with session.get(address(server, "/healthz")) as answer:
            assert (answer.status, await answer.text()) == (200, "well\n")
        async with session.get(address(server), headers={"Authorization": f"Bearer {TOKEN}"}) as answer:
            assert "mine" in await answer.text()
        shown = {"Authorization": "Basic " + b64encode(f"me:{TOKEN}".encode()).decode()}
        async with session.get(address(server), headers=shown) as answer:
            assert answer.status == 200


async def test_a_browser_led_here_under_another_name_reads_nothing(serve: Serve) -> None:
    server = serve()
    async with (
        aiohttp.ClientSession() as session,
        session.get(address(server), headers={"Host": "evil.example"}) as answer,
    ):
        assert answer.status == 421
        assert "mine" not in await answer.text()


async def test_health_is_of_the_loop_and_readiness_of_recovery(serve: Serve, later: Callable[..., None]) -> None:
    server = serve()
    later(ready=False)
    async with aiohttp.ClientSession() as session:
        async with session.get(address(server, "/healthz")) as alive, session.get(address(server, "/readyz")) as ready:
            assert (alive.status, ready.status) == (200, 503)
        later(ready=True, told=monotonic() - 61)
        async with session.get(address(server, "/healthz")) as alive, session.get(address(server, "/readyz")) as ready:
            assert (alive.status, ready.status) == (503, 503)


async def test_a_journal_that_cannot_be_read_is_said_and_opened_anew(
    serve: Serve, sight: Sight, instance: Instance, board: Board
) -> None:
    broken = [True]

    def open_sight() -> Sight:
        if broken[0]:
            raise JournalError("The journal is on a disk that is gone; api_key=abcdefgh")
        return Sight(sight.journal.path, instance, board)

    server = serve(open_sight=open_sight)
    async with aiohttp.ClientSession() as session:
        async with session.get(address(server)) as answer:
            assert answer.status == 503
            assert await answer.text() == "The journal is on a disk that is gone; api_key=[redacted]\n"
        async with session.get(address(server, "/healthz")) as answer:
            assert answer.status == 200
        broken[0] = False
        async with session.get(address(server)) as answer:
            assert answer.status == 200


async def test_a_secret_that_reached_the_journal_reaches_no_page(
    serve: Serve, sight: Sight, instance: Instance, board: Board, close_one: Callable[..., None]
) -> None:
    close_one(0)
    register_secret("it said 0.001")
    server = serve()
    async with aiohttp.ClientSession() as session:
        for path in ("/", "/status.json"):
            async with session.get(address(server, path)) as answer:
                text = await answer.text()
                assert "it said 0.001" not in text
                assert "[redacted]" in text


async def test_readers_who_never_end_take_neither_the_page_nor_the_descriptors(serve: Serve) -> None:
    server = serve()
    with ExitStack() as stack:
        for _ in range(3 * MOST_CONNECTIONS):
            stuck = stack.enter_context(
                socket.create_connection(("127.0.0.1", int(address(server).split(":")[2][:-1])))
            )
            stuck.sendall(b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n")
        for _ in range(3):
            async with aiohttp.ClientSession() as session, session.get(address(server, "/status.json")) as answer:
                assert answer.status == 200
        # however many hang on it, the daemon's end waits for none of them
        server.stop()


async def test_a_port_that_somebody_has_is_taken_once_it_is_free(
    serve: Serve, capsys: pytest.CaptureFixture[str]
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        server = serve(port=port)
        assert not server.bound(20)
    async with aiohttp.ClientSession() as session:
        while server.port is None:
            await asyncio.sleep(0)
        async with session.get(address(server)) as answer:
            assert answer.status == 200
    said = capsys.readouterr().out
    assert said.count("no status page for now") == 1
    assert "Address already in use" in said or "address already in use" in said


def test_a_server_that_is_stopped_before_it_listens_ends(serve: Serve) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        server = serve(port=other.getsockname()[1])
        server.stop()
    assert not server.bound(0)


async def test_a_secret_at_the_end_of_a_text_takes_no_mark_of_the_json_along(
    serve: Serve, journal: Journal, close_one: Callable[..., None]
) -> None:
    close_one(0)
    journal.set_state(State.HALTED, "the exchange said password=", "token", FIRST)
    server = serve()
    async with aiohttp.ClientSession() as session:
        async with session.get(address(server, "/status.json")) as answer:
            told = json.loads(await answer.text())
        assert told["states"][0]["by"] == "token"
        async with session.get(address(server)) as answer:
            assert "the exchange said password=.</p>" in await answer.text()


async def test_a_gate_that_measured_no_number_takes_neither_page_nor_json(serve: Serve) -> None:
    gates = {"sharpe": {"value": float("nan"), "needed": "1", "passed": False}}
    server = serve(worth=replace(WORTH, gates=gates))
    async with aiohttp.ClientSession() as session:
        async with session.get(address(server, "/status.json")) as answer:
            assert json.loads(await answer.text())["verdict"]["gates"]["sharpe"]["value"] is None
        async with session.get(address(server)) as answer:
            assert answer.status == 200


async def test_requests_that_are_none_are_refused_and_fill_no_log(
    serve: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "aiohttp")
    server = serve()
    assert server.bound(20)
    for nonsense in (b"GARBAGE\r\n\r\n", b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n"):
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(nonsense)
        assert b" 400 " in await reader.readline()
        writer.close()
    assert caplog.records == []
