"""Fetching history from the embedded exchange, through the wire and through the command line."""

import hashlib
import json
import subprocess
from collections.abc import AsyncIterator, Iterator
from datetime import timedelta
from pathlib import Path

import pytest
import pytest_asyncio
from aiohttp import web

from tests.scenarios.processes import COMMAND
from tests.unit.history.trading_days import DAY, archive, klines, name, trades
from tests.wire.test_embedded import Embedded, Process
from trader.app.history import Window, pull, pull_trades
from trader.app.settings import load_settings
from trader.app.venues import announce
from trader.domain.interval import Interval
from trader.errors import ConfigError, ExchangeError
from trader.market.resample import resample
from trader.research.history.archives import archive_path
from trader.research.history.pull import Puller
from trader.research.history.store import Store

HOUR, EVERY_16H = Interval.parse("1h"), Interval.parse("16h")


@pytest.fixture(scope="module")
def process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    one = Process(tmp_path_factory.mktemp("exchange"))
    yield one
    one.end()


@pytest_asyncio.fixture
async def embedded(process: Process) -> AsyncIterator[Embedded]:
    one = Embedded(process)
    await one.gateway.sync_clock()
    yield one
    await one.close()


async def test_klines_and_funding_of_the_exchange_fill_the_store_without_a_key(
    embedded: Embedded, tmp_path: Path
) -> None:
    store, gateway = Store(tmp_path), embedded.open(keyed=False, venue="testnet")
    clock = embedded.clock
    puller = Puller(gateway, clock, store, lambda share, words: None)
    end = clock.now()
    start = end - timedelta(days=60)
    added = await puller.candles("ADAUSDT", HOUR, start, end)
    assert added == store.bars("ADAUSDT", HOUR).height > 1400
    assert store.missing("ADAUSDT", HOUR, start, HOUR.floor(end)) == []
    # The same candles that the daemon would decide on.
    expected, _ = await gateway.candles(["ADAUSDT"], EVERY_16H, 50)
    ours = store.candles("ADAUSDT", EVERY_16H, expected["open_time"][0], expected["close_time"][-1])
    prices = ["symbol", "close_time", "open", "high", "low", "close"]
    assert ours.select(prices).equals(expected.select(prices))
    stamps = await puller.funding("ADAUSDT", start, end)
    told = await gateway.funding("ADAUSDT", start)
    assert stamps == len(told) >= 179
    assert store.funding("ADAUSDT")["funding_rate"].to_list() == [float(one.rate) for one in told]
    before = (await embedded.control("GET", "ledger"))["counts"]
    assert await puller.candles("ADAUSDT", HOUR, start, end) == 0
    assert (await embedded.control("GET", "ledger"))["counts"] == before
    await gateway.close()


async def test_a_refusal_for_too_many_requests_is_waited_out(embedded: Embedded, tmp_path: Path) -> None:
    clock, store = embedded.clock, Store(tmp_path)
    puller = Puller(embedded.gateway, clock, store, lambda share, words: None)
    end = HOUR.floor(clock.now())
    await embedded.fault(
        "status", "GET /fapi/v1/klines", status=429, code=-1003, msg="Too many requests", retry_after=95
    )
    asked = clock.now()
    assert await puller.candles("ADAUSDT", HOUR, end - timedelta(days=10), end) == 240
    assert clock.now() >= asked + timedelta(seconds=95)


async def test_a_candle_told_before_its_end_is_kept_only_once_it_is_whole(embedded: Embedded, tmp_path: Path) -> None:
    clock, store, gateway = embedded.clock, Store(tmp_path), embedded.gateway
    end = HOUR.ceil(clock.now() + timedelta(minutes=1))
    await clock.sleep_until(end + timedelta(milliseconds=20))
    start = end - timedelta(hours=6)
    await embedded.fault("late_candle", "GET /fapi/v1/klines")
    assert (await gateway.klines("ADAUSDT", HOUR, start, end)).height == 5
    await embedded.fault("late_candle", "GET /fapi/v1/klines")
    assert await Puller(gateway, clock, store, lambda share, words: None).candles("ADAUSDT", HOUR, start, end) == 6
    await clock.sleep_until(end + timedelta(hours=2))
    assert store.bars("ADAUSDT", HOUR).equals(await gateway.klines("ADAUSDT", HOUR, start, end))


def test_the_command_fetches_lists_and_verifies(
    process: Process, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRADER_VENUE", "testnet")
    monkeypatch.setenv("TRADER_EXCHANGE__LOOPBACK", str(process.ready["port"]))
    announce(load_settings(), process.ready)

    def trader(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([*COMMAND, "history", *words], capture_output=True, text=True, check=False)

    done = trader("pull", "--symbol", "ADAUSDT", "--interval", "16h", "--json")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["interval"] == "8h"
    assert told["candles"] == told["new_candles"] > 100
    assert told["funding"] > 100
    listed = json.loads(trader("list", "--json").stdout)
    assert [(one["symbol"], one["interval"], one["missing"]) for one in listed] == [
        ("ADAUSDT", "8h", 0),
        ("ADAUSDT", "funding", 0),
    ]
    done = trader("verify", "--json")
    assert (done.returncode, json.loads(done.stdout)["findings"]) == (0, [])
    for path in (tmp_path / "data" / "store" / "candles" / "ADAUSDT" / "8h").glob("*.parquet"):
        path.write_bytes(path.read_bytes()[:-9])
    assert trader("verify").returncode == 78
    done = trader("pull", "--symbol", "NOSUCHUSDT")
    assert done.returncode == 78
    assert "NOSUCHUSDT is not a USDT-margined perpetual" in done.stderr


async def test_archives_of_trades_become_candles_day_by_day(tmp_path: Path) -> None:
    told = trades(3)
    published = tmp_path / "published"
    published.mkdir()
    files: dict[str, bytes] = {}
    for day in (0, 1, 2):
        path = "/" + archive_path("ADAUSDT", "trades", (DAY + timedelta(days=day)).date())
        files[path] = archive(published, told, day).read_bytes()
        files[f"{path}.CHECKSUM"] = f"{hashlib.sha256(files[path]).hexdigest()}  {name(day)}".encode()
    asked: list[str] = []

    async def answer(request: web.Request) -> web.Response:
        asked.append(request.path)
        return web.Response(body=files[request.path]) if request.path in files else web.Response(status=404)

    server = web.Application()
    server.router.add_get("/{path:.*}", answer)
    runner = web.AppRunner(server)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    address = f"http://127.0.0.1:{runner.addresses[0][1]}"
    settings = load_settings()
    tell = lambda share, words: None  # noqa: E731
    first = Window("ADAUSDT", HOUR, DAY, DAY + timedelta(days=1))
    document = await pull_trades(settings, first, address, keep=False, tell=tell)
    assert document["new_candles"] == 24
    asked.clear()
    document = await pull_trades(
        settings, Window("ADAUSDT", HOUR, DAY, DAY + timedelta(days=4)), address, keep=False, tell=tell
    )
    assert document["new_candles"] == 48
    assert document["days_without_archive"] == ["2024-01-04"]
    assert len(asked) == 5  # nothing of the first day, two for each of the others, one for the day that has none
    store = Store(settings.data_dir / "store")
    assert store.bars("ADAUSDT", HOUR).drop("close_time").equals(klines(told, HOUR))
    assert store.candles("ADAUSDT", EVERY_16H).equals(resample(store.bars("ADAUSDT", HOUR), HOUR, EVERY_16H))
    assert list((settings.data_dir / "store" / "archives").iterdir()) == []
    with pytest.raises(ConfigError, match="say with --from"):
        await pull_trades(settings, Window("ADAUSDT", HOUR, None, None), address, keep=False, tell=tell)
    await runner.cleanup()


async def test_without_an_exchange_the_fetch_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, process: Process
) -> None:
    monkeypatch.setenv("TRADER_VENUE", "testnet")
    monkeypatch.setenv("TRADER_EXCHANGE__LOOPBACK", "1")
    monkeypatch.setattr("trader.exchange.reads._ATTEMPTS", 1)
    announce(load_settings(), process.ready | {"port": 1})
    with pytest.raises(ExchangeError):
        await pull(load_settings(), Window("ADAUSDT", HOUR, DAY, None), funding=False, tell=lambda share, words: None)
