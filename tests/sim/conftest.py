"""A small market, an exchange on it, and a client that signs as Binance's clients do."""

import asyncio
import hashlib
import hmac
import json
import socket
import ssl
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import aiohttp
import polars as pl
import pytest
import yarl
from aiohttp.abc import AbstractResolver

from trader.sim.exchange import Exchange
from trader.sim.folder import Opened, Options, open_exchange
from trader.sim.server import Server
from trader.sim.wire import Request

START = datetime(2024, 1, 1, tzinfo=UTC)
HOUR = 3_600_000
T0 = round(START.timestamp() * 1000)

Bar = tuple[float, float, float, float]


def candles(
    bars: Sequence[Bar], *, first: datetime = START, minutes: int = 60, symbol: str | None = None
) -> pl.DataFrame:
    times = [first + timedelta(minutes=minutes * index) for index in range(len(bars))]
    frame = pl.DataFrame(
        {
            "open_time": pl.Series(times, dtype=pl.Datetime("ms", "UTC")),
            **{key: [float(bar[at]) for bar in bars] for at, key in enumerate(("open", "high", "low", "close"))},
            "volume": [100.0] * len(bars),
        }
    )
    return frame if symbol is None else frame.with_columns(pl.lit(symbol).alias("symbol"))


def steps(*opens: float) -> list[Bar]:
    """Bars that open at the given prices and hold them until the next opens."""
    return [(price, price, price, price) for price in opens]


def funding(stamps: dict[datetime, float]) -> pl.DataFrame:
    times = pl.Series(list(stamps), dtype=pl.Datetime("ms", "UTC"))
    return pl.DataFrame({"funding_time": times, "funding_rate": list(stamps.values())})


class Client:
    """Ask an exchange without a socket, signing with the venue's own time unless told otherwise."""

    def __init__(self, opened: Opened) -> None:
        self.opened = opened
        self.exchange: Exchange = opened.exchange
        self.headers: dict[str, str] = {}

    def raw(self, method: str, path: str, query: str = "", body: str = "", key: str | None = None) -> tuple[int, Any]:
        request = Request(method, path, query, body, key)
        assert self.exchange.begin(request) is None
        answer = self.exchange.answer(request)
        self.headers = answer.headers
        return answer.status, json.loads(answer.body)

    def sign(self, params: dict[str, Any]) -> str:
        query = urlencode({"timestamp": self.exchange.venue.now, **params})
        secret = self.exchange.keys.api_secret.encode()
        return f"{query}&signature={hmac.new(secret, query.encode(), hashlib.sha256).hexdigest()}"

    def get(self, path: str, **params: Any) -> Any:
        status, answer = self.raw("GET", path, urlencode(params))
        assert status == 200, answer
        return answer

    def signed(self, method: str, path: str, **params: Any) -> tuple[int, Any]:
        return self.raw(method, path, self.sign(params), key=self.exchange.keys.api_key)

    def read(self, path: str, **params: Any) -> Any:
        status, answer = self.signed("GET", path, **params)
        assert status == 200, answer
        return answer

    def post(self, path: str, **params: Any) -> Any:
        status, answer = self.signed("POST", path, **params)
        assert status == 200, answer
        return answer

    def refused(self, method: str, path: str, **params: Any) -> int:
        status, answer = self.signed(method, path, **params)
        assert status != 200, answer
        assert set(answer) == {"code", "msg"}
        return int(answer["code"])

    def order(self, side: str, quantity: object, **params: Any) -> Any:
        base = {"symbol": "ADAUSDT", "side": side, "type": "MARKET", "quantity": quantity, "newOrderRespType": "RESULT"}
        return self.post("/fapi/v1/order", **{**base, **params})

    def limit(self, side: str, quantity: object, price: object, tif: str = "GTC", **params: Any) -> Any:
        return self.order(side, quantity, type="LIMIT", price=price, timeInForce=tif, **params)

    def happen(self, **event: Any) -> Any:
        """Let one event happen, and give what the control call answers."""
        return self.exchange.happen([event])[0]

    def found(self, number: int, symbol: str = "ADAUSDT") -> Any:
        return self.read("/fapi/v1/order", symbol=symbol, orderId=number)

    def refused_order(self, side: str = "BUY", quantity: object = "1000", **params: Any) -> int:
        base = {"symbol": "ADAUSDT", "side": side, "type": "MARKET", "quantity": quantity}
        chosen = {name: value for name, value in {**base, **params}.items() if value is not None}
        return self.refused("POST", "/fapi/v1/order", **chosen)

    def isolate(self, leverage: int, symbol: str = "ADAUSDT") -> None:
        self.post("/fapi/v1/marginType", symbol=symbol, marginType="ISOLATED")
        self.post("/fapi/v1/leverage", symbol=symbol, leverage=leverage)

    def advance(self, hours: float) -> dict[str, Any]:
        """Advance to a number of hours after the first bar."""
        return self.exchange.advance(T0 + round(hours * HOUR))

    @property
    def wallet(self) -> Decimal:
        return self.exchange.venue.account.wallet

    def position(self, symbol: str = "ADAUSDT") -> Any:
        rows = [row for row in self.read("/fapi/v3/positionRisk") if row["symbol"] == symbol]
        return rows[0] if rows else None

    def ledger(self) -> Any:
        return json.loads(self.exchange.report())


Open = Callable[..., Client]


@pytest.fixture
def open_market(tmp_path: Path) -> Iterator[Open]:
    """Open an exchange on bars (or a frame), beginning at the first bar, with a stepped clock."""
    opened: list[Opened] = []

    def open_(bars: Sequence[Bar] | pl.DataFrame, rates: dict[datetime, float] | None = None, **options: Any) -> Client:
        name = options.pop("name", "ADAUSDT_1h.parquet")
        frame = bars if isinstance(bars, pl.DataFrame) else candles(bars)
        frame.write_parquet(tmp_path / name)
        if rates is not None:
            funding(rates).write_parquet(tmp_path / "funding.parquet")
            options["funding"] = tmp_path / "funding.parquet"
        folder = tmp_path / options.pop("folder", "exchange")
        chosen = {"tape": tmp_path / name, "begin": T0, "clock": "stepped", **options}
        opened.append(open_exchange(Options(folder=folder, **chosen)))
        return Client(opened[-1])

    yield open_
    for each in opened:
        each.exchange.ledger.close()
        each.lock.close()


class Wire:
    """Ask a served exchange over TLS."""

    def __init__(self, session: aiohttp.ClientSession, server: Server, ready: dict[str, Any]) -> None:
        self.session, self.server, self.ready = session, server, ready
        self.now = int(ready["venue_time"])

    async def ask(self, method: str, path: str, **params: Any) -> aiohttp.ClientResponse:
        """Send an unsigned request."""
        return await self._send(method, path, urlencode(params), {})

    async def signed(self, method: str, path: str, **params: Any) -> aiohttp.ClientResponse:
        query = urlencode({"timestamp": self.now, **params})
        signature = hmac.new(self.ready["api_secret"].encode(), query.encode(), hashlib.sha256).hexdigest()
        headers = {"X-MBX-APIKEY": self.ready["api_key"]}
        return await self._send(method, path, f"{query}&signature={signature}", headers)

    async def order(self, side: str = "BUY", quantity: int = 1000, **params: Any) -> aiohttp.ClientResponse:
        base = {"symbol": "ADAUSDT", "side": side, "type": "MARKET", "quantity": quantity, "newOrderRespType": "RESULT"}
        return await self.signed("POST", "/fapi/v1/order", **{**base, **params})

    async def control(self, method: str, path: str, document: Any = None, token: str | None = None) -> Any:
        headers = {"X-Sim-Control": self.ready["control"] if token is None else token}
        async with self.session.request(
            method, f"{self._base}/sim/v1/{path}", json=document, headers=headers
        ) as answer:
            self.now = int(answer.headers["X-Sim-Time"])
            return await answer.json()

    @property
    def _base(self) -> str:
        return f"https://fapi.binance.com:{self.ready['port']}"

    async def _send(self, method: str, path: str, query: str, headers: dict[str, str]) -> aiohttp.ClientResponse:
        url = yarl.URL(f"{self._base}{path}?{query}", encoded=True)
        answer = await self.session.request(method, url, headers=headers)
        self.now = int(answer.headers["X-Sim-Time"])
        return answer


class Pinned(AbstractResolver):
    """Send every host to this machine."""

    def __init__(self, port: int) -> None:
        self.port = port

    async def resolve(self, host: str, port: int = 0, family: Any = socket.AF_INET) -> list[Any]:
        return [
            {"hostname": host, "host": "127.0.0.1", "port": self.port, "family": family, "proto": 0, "flags": 0},
        ]

    async def close(self) -> None:
        pass


def pinned_session(ready: dict[str, Any]) -> aiohttp.ClientSession:
    context = ssl.create_default_context(cafile=ready["ca"])
    return aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=context, resolver=Pinned(ready["port"])))


Serve = Callable[..., Any]


@pytest.fixture
async def serve_market(tmp_path: Path) -> AsyncIterator[Serve]:
    """Serve an exchange on bars over TLS in this event loop."""
    running: list[tuple[Server, aiohttp.ClientSession]] = []

    async def serve_(bars: Sequence[Bar], plan: Sequence[Any] = (), **options: Any) -> Wire:
        candles(bars).write_parquet(tmp_path / "ADAUSDT_1h.parquet")
        if plan:
            (tmp_path / "faults.json").write_text(json.dumps(plan))
            options["faults"] = tmp_path / "faults.json"
        chosen = {"begin": T0, "clock": "stepped", **options}
        server = Server(Options(folder=tmp_path / "exchange", tape=tmp_path / "ADAUSDT_1h.parquet", **chosen))
        ready = await server.start()
        session = pinned_session(ready)
        running.append((server, session))
        return Wire(session, server, ready)

    yield serve_
    for server, session in running:
        await session.close()
        await server.stop()
    await asyncio.sleep(0)


@pytest.fixture
def market() -> Any:
    """The builders of small markets, for modules that cannot import this one."""

    class Market:
        T0, HOUR, START = T0, HOUR, START
        candles, steps, funding = staticmethod(candles), staticmethod(steps), staticmethod(funding)
        session = staticmethod(pinned_session)

    return Market


@pytest.fixture
def run_process(tmp_path: Path, root: Path) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Start the exchange as its own process; whatever still runs at the end is killed."""
    started: list[subprocess.Popen[str]] = []

    def run(*arguments: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-m", "trader.sim", "--dir", str(tmp_path / "exchange"), *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=root,
        )
        started.append(process)
        return process

    yield run
    for process in started:
        if process.poll() is None:
            process.kill()
        process.communicate()


@pytest.fixture(scope="session")
def client_class() -> type[Client]:
    """The signing client, for properties that open their own exchanges."""
    return Client
