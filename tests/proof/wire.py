"""The network between the real client and the embedded exchange, in process: it loses, delays, cuts, and kills."""

import re
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, Self

import aiohttp
import yarl

from tests.proof.plan import ORDER, PLACE, argument
from tests.proof.timeline import pass_time
from trader.sim.delivery import deliver
from trader.sim.exchange import Exchange
from trader.sim.faults import Shot
from trader.sim.wire import Answer, Request

TIMEOUT = 10.0
LATENCY = 0.002


class Crash(BaseException):
    """The process is gone: nobody may catch this and go on."""


class NextShot:
    """Stands where the exchange keeps its plan; hands out the one fault that was loaded."""

    def __init__(self) -> None:
        self.loaded: dict[str, Any] | None = None

    def draw(self, request: int, path: str, nth_of_path: int, now: int, *_: Any, **__: Any) -> Shot | None:
        entry, self.loaded = self.loaded, None
        return None if entry is None else Shot(None, request, path, entry["do"], now, entry)

    def next_event(self) -> None:
        """Have no event of its own: a plan lets things happen at its steps."""

    def remark(self, shot: Shot) -> None:
        """Keep nothing."""

    def take_remarks(self) -> list[Shot]:
        return []


class Session:
    """Stands where ccxt keeps its aiohttp session.

    Args:
        exchange: who answers.
        step: is told of every request and returns its fault; raises Crash in a process that is dead.
        die: ends the process.
        posted: is told of every order that leaves, with its parameters.
    """

    def __init__(
        self,
        exchange: Exchange,
        step: Callable[[str], str | None],
        die: Callable[[bool], None],
        posted: Callable[[Request], None],
    ) -> None:
        self.headers: dict[str, str] = {}
        self.shots = NextShot()
        self._exchange = exchange
        exchange.plan = self.shots  # type: ignore[assignment]
        self._step = step
        self._die = die
        self._posted = posted
        self.heard: set[str] = set()
        """The kinds whose answer arrived: whoever was cancelled while it was under way has not heard it."""

    def __getattr__(self, method: str) -> Callable[..., "Exchanged"]:
        def call(url: yarl.URL, *, data: bytes | None = None, headers: Any = None, **_: Any) -> Exchanged:
            key = next((headers[name] for name in headers if name.lower() == "x-mbx-apikey"), None)
            body = (data or b"").decode()
            return Exchanged(self, Request(method.upper(), url.raw_path, url.raw_query_string, body, key))

        return call

    async def close(self) -> None:
        """Have nothing to release."""

    async def carry(self, request: Request) -> Answer | BaseException:
        """Take a request to the exchange and bring back what arrives."""
        kind = self._step(request.name)
        if request.name in (ORDER, PLACE) and kind not in ("refused", "die_before"):
            self._posted(request)
        await pass_time(LATENCY)
        name, number = argument(kind or "pass")
        match name:
            case "refused":
                key = SimpleNamespace(ssl=True, host="fapi.binance.com", port=443, is_ssl=True)
                return aiohttp.ClientConnectorError(key, OSError(111, "Connection refused"))  # type: ignore[arg-type]
            case "die_before" | "die_before_long":
                self._die(name.endswith("long"))
            case "hang" | "hang_not_executed":
                await pass_time(TIMEOUT)
                return TimeoutError()
            case "hang_executed":
                self._exchange.begin(request)
                self._exchange.answer(request)
                await pass_time(TIMEOUT)
                return TimeoutError()
        self.shots.loaded = entry(name, number)
        answer = await deliver(self._exchange, request, lambda: None)
        if name.startswith("die"):
            self._die("long" in name)
        if name == "no_positions" and answer is not None:
            answer.body = re.sub(rb'"positions":\[.*?\]', b'"positions":[]', answer.body)
        if name in ("rest_lost", "hidden_lost", "partial_lost"):
            answer = None
        self.heard.add(kind or "pass")
        return answer or aiohttp.ServerDisconnectedError()


class Exchanged:
    """One request under way: what `async with session.get(...)` stands on; it is its own response."""

    reason = "OK"

    def __init__(self, session: Session, request: Request) -> None:
        self._session = session
        self._request = request
        self._answer = Answer(0, b"")

    async def __aenter__(self) -> Self:
        answer = await self._session.carry(self._request)
        if isinstance(answer, BaseException):
            raise answer
        self._answer = answer
        self.status = answer.status
        self.headers = {"Content-Type": answer.content_type, **answer.headers}
        return self

    async def __aexit__(self, *_: object) -> None:
        pass

    async def text(self, errors: str = "strict") -> str:
        if self._answer.cut:
            raise aiohttp.ClientPayloadError("Response payload is not completed")
        return self._answer.body.decode()


_ENTRIES: dict[str, dict[str, Any]] = {
    "rest_lost": {"do": "rest"},
    "die_late": {"do": "late"},
    "die_late_long": {"do": "late"},
    "hidden": {"do": "late_visibility"},
    "hidden_lost": {"do": "late_visibility"},
    "die_hidden": {"do": "late_visibility"},
    "partial_lost": {"do": "partial"},
    "html_executed": {"do": "html_200", "effect": True},
    "html_200": {"do": "html_200", "effect": True},
    "html_not_executed": {"do": "html_200", "effect": False},
    "empty_executed": {"do": "empty_200", "effect": True},
    "bad_candle": {"do": "bad_candle", "value": "NaN"},
    "code": {"do": "status", "status": 400, "msg": "The order was rejected."},
    "stop": {"do": "status", "status": 400, "msg": "The stop was rejected."},
    "status": {"do": "status", "code": -1003, "msg": "Too many requests."},
}
_NUMBERS = {"partial": "share", "partial_lost": "share", "code": "code", "stop": "code", "status": "status"}
_WORDS: dict[float | None, dict[str, Any]] = {
    -1021: {"msg": "Timestamp for this request is outside of the recvWindow."},
    -1008: {"status": 503, "msg": "Server is currently overloaded."},
    429: {"retry_after": 30},
    418: {"retry_after": 120},
    403: {"code": 0, "msg": "Forbidden."},
    451: {"code": 0, "msg": "Service unavailable from a restricted location."},
}


def entry(name: str, number: float | None) -> dict[str, Any] | None:
    """Say a kind in the words of the exchange's own fault plans; None where the exchange does nothing unusual."""
    if name in ("pass", "no_positions", "die_after", "die_after_long"):
        return None
    said = dict(_ENTRIES.get(name, {"do": name}))
    if number is not None:
        key = _NUMBERS.get(name, "ms")
        said[key] = number if key == "share" else int(number)
    return said | _WORDS.get(number, {})
