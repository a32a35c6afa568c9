"""Carry requests from the socket to the exchange and answers back; the control calls live here too."""

import asyncio
import contextlib
import hmac
import json
import os
import signal
import sqlite3
from collections.abc import Callable
from typing import Any

from aiohttp import web

from trader.sim.delivery import deliver
from trader.sim.errors import Refusal
from trader.sim.exchange import Exchange
from trader.sim.faults import check_entry, check_event
from trader.sim.wire import Answer, Request, dump, refusal

CONTROL = "/sim/v1/"
_LOOK = 0.02  # seconds between two looks at a connection that is held


class Gate:
    """Handle every HTTP request of the server, one effect at a time."""

    def __init__(
        self, exchange: Exchange, token: str, client_pid: int | None, fail: Callable[[sqlite3.Error], None]
    ) -> None:
        self._exchange = exchange
        self._token = token
        self._client_pid = client_pid
        self._fail = fail

    async def handle(self, raw: web.BaseRequest) -> web.StreamResponse:
        """Answer one request; a fault may close the connection instead."""
        body = (await raw.read()).decode("utf-8", "replace") if raw.body_exists else ""
        path, _, query = raw.raw_path.partition("?")
        request = Request(raw.method, path, query, body, raw.headers.get("X-MBX-APIKEY"))
        answer: Answer | None = None
        try:
            if path.startswith(CONTROL):
                answer = self._control(request, raw.headers.get("X-Sim-Control", ""))
            else:
                answer = await deliver(self._exchange, request, self._kill)
        except sqlite3.Error as error:
            # What was done is not on disk, so it must never be answered, nor anything after it.
            self._fail(error)
        if answer is None:
            return self._hang_up(raw)
        return await self._send(raw, answer)

    def _kill(self) -> None:
        if self._client_pid is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._client_pid, signal.SIGKILL)

    def _hang_up(self, raw: web.BaseRequest) -> web.StreamResponse:
        if raw.transport is not None:
            raw.transport.close()
        return web.Response()

    async def _send(self, raw: web.BaseRequest, answer: Answer) -> web.StreamResponse:
        answer.headers["X-Sim-Time"] = str(self._exchange.venue.now)
        if answer.never:
            return await self._hold(raw)
        if answer.closes_after is not None and raw.transport is not None:
            asyncio.get_running_loop().call_later(answer.closes_after, raw.transport.abort)
        if not answer.cut and not answer.seconds:
            return web.Response(
                body=answer.body,
                status=answer.status,
                headers=answer.headers,
                content_type=answer.content_type,
                charset="utf-8",
            )
        response = web.StreamResponse(status=answer.status, headers=answer.headers)
        response.content_type = answer.content_type
        response.content_length = len(answer.body)
        await response.prepare(raw)
        if answer.seconds:
            await self._drip(response, answer)
            return response
        await response.write(answer.body[: len(answer.body) // 2])
        await asyncio.sleep(0)
        if raw.transport is not None:
            raw.transport.close()
        return response

    async def _hold(self, raw: web.BaseRequest) -> web.StreamResponse:
        """Say nothing until the client gives up."""
        while raw.transport is not None and not raw.transport.is_closing():  # noqa: ASYNC110 - nothing sets an event
            await asyncio.sleep(_LOOK)
        return web.Response()

    async def _drip(self, response: web.StreamResponse, answer: Answer) -> None:
        """Write a byte at a time, spread over so many seconds; the venue's clock moves on as much."""
        pause = answer.seconds / max(1, len(answer.body))
        with contextlib.suppress(ConnectionResetError):
            for index in range(len(answer.body)):
                await response.write(answer.body[index : index + 1])
                await asyncio.sleep(pause)
        self._exchange.pass_time(round(answer.seconds * 1000))

    # -- control --------------------------------------------------------------------------------------------------

    def _control(self, request: Request, token: str) -> Answer:
        if not hmac.compare_digest(token.encode(), self._token.encode()):
            return refusal(Refusal(-2015, "Control calls need the header X-Sim-Control.", status=401))
        match request.method, request.path.removeprefix(CONTROL):
            case "GET", "time":
                return _json(self._exchange.read_time())
            case "GET", "ledger":
                self._exchange.read_time()
                return Answer(200, self._exchange.report().encode())
            case "POST", "advance":
                return self._advance(request.body)
            case "POST", "faults":
                return self._add_faults(request.body)
            case "POST", "events":
                return self._happen(request.body)
        return refusal(Refusal(-5000, f"Path {request.path}, Method {request.method} is invalid", status=404))

    def _advance(self, body: str) -> Answer:
        try:
            to = json.loads(body)["to"]
        except (ValueError, KeyError, TypeError):
            to = None
        if not isinstance(to, int):
            return refusal(Refusal(-1102, 'Send {"to": epoch milliseconds}.'))
        return _json(self._exchange.advance(to))

    def _happen(self, body: str) -> Answer:
        try:
            entries = json.loads(body)
            checked = [check_event(entry) for entry in (entries if isinstance(entries, list) else [entries])]
        except ValueError as error:
            return refusal(Refusal(-1130, f"The events cannot be used: {error}."))
        return Answer(200, dump(self._exchange.happen(checked)).encode())

    def _add_faults(self, body: str) -> Answer:
        try:
            entries = json.loads(body)
            if not isinstance(entries, list):
                raise ValueError("a plan is a list")
            checked = [check_entry(entry) for entry in entries]
        except ValueError as error:
            return refusal(Refusal(-1130, f"The fault plan cannot be used: {error}."))
        return _json({"added": self._exchange.add_faults(checked)})


def _json(document: dict[str, Any]) -> Answer:
    return Answer(200, dump(document).encode())
