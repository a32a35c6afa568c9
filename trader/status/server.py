"""The server of the page: a thread and a loop of its own, so that nothing a reader does reaches a close."""

import asyncio
import json
import logging
import math
import threading
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, cast

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError
from structlog.typing import FilteringBoundLogger

from trader.errors import JournalError
from trader.log import redact
from trader.status import assets
from trader.status.board import STALE, Board
from trader.status.guard import Guard
from trader.status.sight import Sight

MOST_CONNECTIONS = 32
TRY_AGAIN = 30.0
_GOODBYE = 2.0
_OPEN_TO_ALL = frozenset({"/healthz", "/readyz"})
_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cache-Control": "no-store",
    "Server": "trader",
}
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass(frozen=True, slots=True)
class Exposition:
    """Another text made from the same sight: its media type, and how it is made."""

    media: str
    make: Callable[[Sight], bytes]


class Server:
    """Serve what there is to see of one daemon.

    Args:
        host: an address of this machine.
        port: 0 is any that is free; `port` tells which.
        guard: who may read.
        board: what the daemon's loop tells.
        open_sight: opens the journal for the thread that calls it.
        metrics: what `/metrics` answers.
        log: is told where the page is, or why there is none.
        patience: seconds after which a port that somebody else has is tried again.
    """

    def __init__(
        self,
        host: str,
        port: int,
        guard: Guard,
        board: Board,
        open_sight: Callable[[], Sight],
        metrics: Exposition,
        log: FilteringBoundLogger,
        patience: float = TRY_AGAIN,
    ) -> None:
        self._host = host
        self._asked = port
        self._guard = guard
        self._board = board
        self._open_sight = open_sight
        self._metrics = metrics
        self._log = log
        self._patience = patience
        self._sight: Sight | None = None
        self._thread = threading.Thread(target=self._run, name="status", daemon=True)
        self._end: Callable[[], object] = lambda: None
        self._stopping = False
        self._bound = threading.Event()
        self.port: int | None = None

    def start(self) -> None:
        """Begin to serve as soon as the port can be had; returns at once."""
        self._thread.start()

    def bound(self, seconds: float) -> bool:
        """Wait until the port is had, or was refused once; whether it is had."""
        self._bound.wait(seconds)
        return self.port is not None

    def stop(self) -> None:
        """Serve no more; waits a moment for the thread and then goes on without it."""
        self._stopping = True
        with suppress(RuntimeError):
            # its loop has ended already
            self._end()
        if self._thread.is_alive():
            self._thread.join(_GOODBYE)

    def _run(self) -> None:
        asyncio.run(self._serve())

    async def _serve(self) -> None:
        loop, stop = asyncio.get_running_loop(), asyncio.Event()
        self._end = lambda: loop.call_soon_threadsafe(stop.set)
        said = logging.getLogger("aiohttp.server.page")
        said.addFilter(_well_formed)
        runner = web.AppRunner(
            self._application(), access_log=None, logger=said, shutdown_timeout=0.5, keepalive_timeout=20.0
        )
        await runner.setup()
        try:
            listening = await self._listen(cast(web.Server, runner.server), stop)
            if listening is not None:
                await stop.wait()
                listening.close()
        finally:
            await runner.cleanup()
            if self._sight is not None:
                self._sight.close()

    async def _listen(self, requests: web.Server, stop: asyncio.Event) -> asyncio.Server | None:
        """Take the port, again and again while somebody else has it; None where the daemon ends first."""

        def connected() -> asyncio.BaseProtocol:
            # a reader who never ends has taken a descriptor that the exchange may need
            for oldest in requests.connections[: max(0, len(requests.connections) + 1 - MOST_CONNECTIONS)]:
                oldest.force_close()
            return requests()

        said = False
        while not self._stopping:
            try:
                listening = await asyncio.get_running_loop().create_server(connected, self._host, self._asked)
            except OSError as error:
                if not said:
                    self._log.warning(
                        "no status page for now", host=self._host, port=self._asked, error=error.strerror or str(error)
                    )
                said = True
                self._bound.set()
                with suppress(TimeoutError):
                    await asyncio.wait_for(stop.wait(), self._patience)
            else:
                self.port = listening.sockets[0].getsockname()[1]
                self._bound.set()
                self._log.info("status page", address=f"http://{_written(self._host)}:{self.port}/")
                return listening
        return None

    def _application(self) -> web.Application:
        application = web.Application(middlewares=[self._guarded])
        application.add_routes(
            [
                web.get("/", self._page),
                web.get("/status.json", self._document),
                web.get("/equity.json", self._series),
                web.get("/metrics", self._exposition),
                web.get("/healthz", self._alive),
                web.get("/readyz", self._ready),
                web.get("/assets/{name}", self._asset),
            ]
        )
        return application

    @web.middleware
    async def _guarded(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Let in who may read, and give every answer the same headers."""
        try:
            if request.path in _OPEN_TO_ALL or self._guard.admits(request.headers):
                response = await handler(request)
            elif self._guard.asks:
                response = web.Response(
                    status=401,
                    text="This page needs its token, as the password of any user or as a bearer token.\n",
                    headers={"WWW-Authenticate": 'Basic realm="trader", charset="UTF-8"'},
                )
            else:
                response = web.Response(status=421, text="This page answers only to 127.0.0.1, ::1 and localhost.\n")
        except web.HTTPException as error:
            response = web.Response(status=error.status, text=f"{error.status}: {error.reason}\n")
        except JournalError as error:
            self._forget()
            response = web.Response(status=503, text=redact(f"{error}\n"))
        for name, value in _HEADERS.items():
            response.headers.setdefault(name, value)
        return response

    def _look(self) -> Sight:
        if self._sight is None:
            self._sight = self._open_sight()
        return self._sight

    def _forget(self) -> None:
        """Open the journal anew at the next request."""
        sight, self._sight = self._sight, None
        if sight is not None:
            with suppress(JournalError):
                sight.close()

    async def _page(self, request: web.Request) -> web.Response:
        from trader.status.page import render

        return _answer(render(_clean(self._look().document())), "text/html")

    async def _document(self, request: web.Request) -> web.Response:
        return _answer(json.dumps(_clean(self._look().document()), allow_nan=False), "application/json")

    async def _series(self, request: web.Request) -> web.Response:
        return _answer(json.dumps(self._look().series(), allow_nan=False), "application/json")

    async def _exposition(self, request: web.Request) -> web.Response:
        body = self._metrics.make(self._look())
        return web.Response(body=redact(body.decode()).encode(), headers={"Content-Type": self._metrics.media})

    async def _alive(self, request: web.Request) -> web.Response:
        """Say whether the daemon's loop runs; a daemon that a guard has halted is alive."""
        silent = self._board.silent_for()
        well = silent <= STALE
        text = "well\n" if well else f"the loop has not run for {silent:.0f} s\n"
        return web.Response(status=200 if well else 503, text=text)

    async def _ready(self, request: web.Request) -> web.Response:
        """Say whether the daemon has recovered and waits for closes."""
        if self._board.facts.ready and self._board.silent_for() <= STALE:
            return web.Response(text="ready\n")
        return web.Response(status=503, text="not ready\n")

    async def _asset(self, request: web.Request) -> web.Response:
        found = assets.find(request.match_info["name"])
        if found is None:
            raise web.HTTPNotFound
        headers = {"Content-Type": found.media, "Cache-Control": "public, max-age=31536000, immutable"}
        if found.gzipped:
            headers["Content-Encoding"] = "gzip"
        return web.Response(body=found.content, headers=headers)


def _clean(value: Any) -> Any:
    """Return a document without secrets and without numbers that are none.

    Each text by itself: taken out of the whole, a secret would take the marks around it along.
    """
    match value:
        case str():
            return redact(value)
        case float():
            return value if math.isfinite(value) else None
        case Mapping():
            return {_clean(name): _clean(inner) for name, inner in value.items()}
        case list() | tuple():
            return [_clean(inner) for inner in value]
        case _:
            return value


def _well_formed(record: logging.LogRecord) -> bool:
    """Whether a record is not of a request that is none: anybody can send those, and as many as he likes."""
    return record.exc_info is None or not isinstance(record.exc_info[1], HttpProcessingError)


def _answer(text: str, media: str) -> web.Response:
    response = web.Response(text=text, content_type=media, charset="utf-8")
    response.enable_compression()
    return response


def _written(host: str) -> str:
    return f"[{host}]" if ":" in host else host
