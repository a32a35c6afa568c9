"""The local store as the command line asks for it: fetch, import, list, check."""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl

from trader.app import venues
from trader.app.stored import store_of
from trader.config import Settings
from trader.domain.interval import Interval
from trader.domain.wording import stamp
from trader.errors import ConfigError, DataError
from trader.exchange.loopback import open_session
from trader.research.history.archives import ArchiveName
from trader.research.history.download import Downloader, NoArchive
from trader.research.history.importing import Imported, in_order, read_file, require_base
from trader.research.history.pull import FIRST_DAY, Puller
from trader.research.history.store import Store
from trader.research.history.verify import Finding, compare, inspect, read_as_it_is

Tell = Callable[[float, str], None]

_DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Window:
    """What to fetch: a symbol's candles of an interval, from and to when (None: all there is)."""

    symbol: str
    interval: Interval
    start: datetime | None
    end: datetime | None


async def pull(settings: Settings, window: Window, *, funding: bool, tell: Tell) -> dict[str, Any]:
    """Fetch the klines, and the funding, that the store lacks."""
    store = store_of(settings)
    async with AsyncExitStack() as stack:
        clock, gateway = venues.open_public(settings, stack)
        await gateway.sync_clock()
        await gateway.instruments([window.symbol])
        puller = Puller(gateway, clock, store, tell)
        start, end = window.start or FIRST_DAY, window.end or clock.now()
        if end <= start:
            raise ConfigError(f"The window ends ({end}) before it begins ({start}); swap --from and --to.")
        added = await puller.candles(window.symbol, window.interval, start, end)
        stamps = await puller.funding(window.symbol, start, end) if funding else 0
    return _held(store, window.symbol, window.interval.native) | {"new_candles": added, "new_funding": stamps}


async def pull_trades(settings: Settings, window: Window, address: str, *, keep: bool, tell: Tell) -> dict[str, Any]:
    """Fetch the daily archives of trades whose candles the store lacks, and make them into candles day by day."""
    store, folder = store_of(settings), settings.data_dir / "store" / "archives"
    require_base(window.interval)
    if window.start is None:
        raise ConfigError("Archives of trades are fetched day by day; say with --from which day is the first.")
    first, last = window.start.date(), (window.end or datetime.now(UTC)).date()
    days = [first + timedelta(days=number) for number in range((last - first).days)]
    absent: list[str] = []
    added = 0
    async with open_session(None) as session:
        downloader = Downloader(address, folder)
        for number, day in enumerate(days):
            tell(number / len(days), f"{day}")
            begin = _midnight(day)
            if not store.missing(window.symbol, window.interval, begin, begin + _DAY):
                continue
            try:
                path = await downloader.trades(session, window.symbol, day)
            except NoArchive:
                absent.append(f"{day}")
                continue
            previous = store.last_before(window.symbol, window.interval, begin)
            found = await asyncio.to_thread(read_file, path, window.symbol, window.interval, previous)
            added += store.add(window.interval, found.candles)
            if not keep:
                path.unlink()
    return _held(store, window.symbol, window.interval) | {"new_candles": added, "days_without_archive": absent}


def import_files(
    settings: Settings, files: Sequence[Path], symbol: str | None, base: Interval, *, replace: bool, tell: Tell
) -> list[dict[str, Any]]:
    """Read files of any kind, and keep their candles only once all of them were read."""
    store, now = store_of(settings), datetime.now(UTC)
    read: list[Imported] = []
    for number, path in enumerate(in_order(files)):
        tell(number / len(files), path.name)
        found = read_file(path, symbol, base, _previous(store, read, path, base))
        if found.candles["close_time"].max() > now:  # type: ignore[operator]  # a time, as the column holds times
            raise DataError(f"{path.name} holds a candle that is not closed yet; export it again after its close.")
        read.append(found)
    told = []
    for interval in sorted({one.interval for one in read}):
        frame = _joined([one for one in read if one.interval == interval], interval)
        added = store.add(interval, frame, replace=replace)
        told.append(
            {
                "symbols": frame["symbol"].unique().sort().to_list(),
                "interval": str(interval),
                "files": sum(one.interval == interval for one in read),
                "candles": frame.height,
                "new_candles": added,
                "first": stamp(frame["open_time"].min()),  # type: ignore[arg-type]
                "last": stamp(frame["close_time"].max()),  # type: ignore[arg-type]
            }
        )
    return told


def holdings(settings: Settings) -> list[dict[str, Any]]:
    """List what the store has."""
    return [
        {
            "symbol": one.symbol,
            "interval": "funding" if one.interval is None else str(one.interval),
            "first": stamp(one.first),
            "last": stamp(one.last),
            "rows": one.rows,
            "missing": one.missing,
            "bytes": one.size,
        }
        for one in store_of(settings).holdings()
    ]


def verify(
    settings: Settings, file: Path | None, symbol: str | None, interval: Interval | None, against: Path | None
) -> dict[str, Any]:
    """Check a candle file, or what the store has of a symbol or of all, by itself and against another file."""
    now = datetime.now(UTC)
    checked = [read_as_it_is(file, symbol)] if file is not None else _stored(store_of(settings), symbol, interval)
    findings: list[Finding] = []
    for frame, spacing in checked:
        findings += inspect(frame, spacing, now)
    if against is not None:
        if len(checked) != 1:
            raise ConfigError(
                "Two sources are compared one symbol and interval at a time; give --symbol and --interval."
            )
        other, other_interval = read_as_it_is(against, symbol)
        findings += compare(*checked[0], other, other_interval)
    return {
        "candles": sum(frame.height for frame, _ in checked),
        "findings": [
            {
                "symbol": one.symbol,
                "interval": str(one.interval),
                "kind": one.kind,
                "close": None if one.close is None else stamp(one.close),
                "candles": one.count,
                "what": one.what,
            }
            for one in findings
        ],
    }


def _stored(store: Store, symbol: str | None, interval: Interval | None) -> list[tuple[pl.DataFrame, Interval]]:
    found = [
        (store.bars(one, length), length)
        for one in ([symbol] if symbol is not None else store.symbols())
        for length in store.intervals(one)
        if interval is None or length == interval
    ]
    if not found:
        raise DataError("The store has no such candles; `trader history list` tells what it has.")
    return found


def _previous(store: Store, read: Sequence[Imported], path: Path, base: Interval) -> float | None:
    """Return the last price before an archive of trades begins, from the file before it or from the store."""
    name = ArchiveName.read(path.name)
    if name is None or name.interval is not None:
        return None
    before = read[-1].candles if read else None
    if before is not None and (before["symbol"][-1], before["close_time"][-1]) == (name.symbol, name.begin):
        return float(before["close"][-1])
    return store.last_before(name.symbol, base, name.begin)


def _joined(read: Sequence[Imported], interval: Interval) -> pl.DataFrame:
    """Join the candles of several files; a candle told twice must be told the same."""
    frame = pl.concat([one.candles for one in read], how="diagonal").unique(maintain_order=True)
    twice = frame.select("symbol", "open_time").is_duplicated()
    if twice.any():
        row = frame.row(twice.arg_max() or 0, named=True)
        raise DataError(
            f"Two of the files tell the {row['symbol']} {interval} candle that opens at {stamp(row['open_time'])} "
            "differently; import the one that is right."
        )
    return frame


def _held(store: Store, symbol: str, interval: Interval) -> dict[str, Any]:
    bars = store.bars(symbol, interval)
    empty = bars.is_empty()
    return {
        "symbol": symbol,
        "interval": str(interval),
        "candles": bars.height,
        "first": None if empty else stamp(bars["open_time"][0]),
        "last": None if empty else stamp(bars["close_time"][-1]),
        "funding": store.funding(symbol).height,
    }


def _midnight(day: date) -> datetime:
    return datetime(day.year, day.month, day.day, tzinfo=UTC)
