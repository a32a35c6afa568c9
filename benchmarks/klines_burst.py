"""Two hundred symbols' klines at one close: ours into a checked candle frame, ccxt's way, and bare requests."""

import asyncio
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from datetime import timedelta
from pathlib import Path
from statistics import median
from typing import Any

import orjson
import polars as pl
from ccxt.async_support.binanceusdm import binanceusdm  # type: ignore[import-untyped]

from benchmarks.carry_ways import DAY, market
from benchmarks.frame import Check, Row
from trader.exchange.binance import BinanceGateway
from trader.exchange.calls import Calls
from trader.exchange.clock import StepClock, from_milliseconds
from trader.exchange.limits import Limiter
from trader.exchange.loopback import Loopback, open_session
from trader.exchange.wire import Wire

SYMBOLS, CANDLES, SAMPLED, ROUNDS, SIDE_BY_SIDE = 200, 60, 40, 5, 8
ROOT = Path(__file__).resolve().parents[1]


def measure() -> Row:
    with tempfile.TemporaryDirectory() as folder:
        tape = Path(folder) / "market_1d.parquet"
        candles = market(SYMBOLS, CANDLES + 40).filter(pl.col("symbol").count().over("symbol") == CANDLES + 40)
        whole = [f"S{number:03}USDT" for number in range(SYMBOLS)]
        bars = pl.concat([candles.filter(pl.col("symbol") == "S000USDT")] * SYMBOLS)
        names = pl.Series("symbol", [name for name in whole for _ in range(CANDLES + 40)])
        bars.drop("symbol", "close_time").with_columns(names).write_parquet(tape)
        command = [sys.executable, "-m", "trader.sim", "--dir", f"{folder}/exchange", "--tape", str(tape)]
        command += ["--from", "1970-03-20", "--pipe", "--clock", "stepped"]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT) as process:
            assert process.stdout is not None
            ready = json.loads(process.stdout.readline())
            found = asyncio.run(_compare(ready, whole))
            assert process.stdin is not None
            process.stdin.close()
    ours, raw, default, rows = found
    checks = {
        "ccxt default": Check.faster(ours, default, 50),
        "raw": Check.within(ours, raw, 2),
        "candles": Check.true(rows == SYMBOLS * CANDLES, "every candle of every symbol", float(rows)),
    }
    note = (
        f"{SYMBOLS} symbols, {CANDLES} candles of each, {SIDE_BY_SIDE} requests under way over TLS on loopback; raw is "
        f"a request and its JSON, nothing more; ccxt by its own limiter, {SAMPLED} of the requests measured and scaled"
    )
    return Row("200 klines requests", ours, checks, note)


async def _compare(ready: dict[str, Any], symbols: list[str]) -> tuple[float, float, float, int]:
    """Return the median seconds of ours, bare requests and ccxt's default, and how many candles ours had."""
    loopback = Loopback(ready["port"], Path(ready["ca"]))
    clock = StepClock(loopback, control=ready["control"], start=from_milliseconds(ready["venue_time"]), speed=None)
    limiter = Limiter(clock)
    wire = Wire(
        demo=False, key="", secret="", clock=clock, heard=limiter.heard, loopback=loopback, timeout=10.0,
        recv_window=5000,
    )  # fmt: skip
    calls = Calls(wire, clock, limiter, secrets=(), parallel=SIDE_BY_SIDE)
    gateway = BinanceGateway(calls, algo_orders=False, tells_rights=False)
    session = open_session(loopback)
    plain = binanceusdm({"session": session, "options": {"fetchCurrencies": False}})
    counted = 0

    async def ours() -> None:
        nonlocal counted
        frame, _ = await gateway.candles(symbols, DAY, CANDLES)
        counted = frame.height

    async def raw() -> None:
        waiting = list(symbols)

        async def work() -> None:
            while waiting:
                query = f"symbol={waiting.pop()}&interval=1d&limit={CANDLES + 1}"
                async with session.get(f"https://fapi.binance.com/fapi/v1/klines?{query}") as answer:
                    orjson.loads(await answer.read())

        await asyncio.gather(*(work() for _ in range(SIDE_BY_SIDE)))

    async def default() -> None:
        for symbol in symbols[:SAMPLED]:
            await plain.fapiPublicGetKlines({"symbol": symbol, "interval": "1d", "limit": CANDLES + 1})

    try:
        await gateway.sync_clock()
        seconds = [await _timed(way, clock) for way in (ours, raw, default)]
        taken: list[list[float]] = [[] for _ in seconds]
        for _ in range(ROUNDS):
            for way, kept in zip((ours, raw), taken, strict=False):
                kept.append(await _timed(way, clock))
        taken[2].append(await _timed(default, clock))
    finally:
        await gateway.close()
        await clock.close()
        await session.close()
    ours_s, raw_s, default_s = map(median, taken)
    return ours_s, raw_s, default_s * len(symbols) / SAMPLED, counted


async def _timed(way: Callable[[], Awaitable[None]], clock: StepClock) -> float:
    """Time one way, in a minute of the venue's own, so that no limit is near."""
    await clock.sleep_until(clock.now() + timedelta(minutes=2))
    begin = time.perf_counter()
    await way()
    return time.perf_counter() - begin
