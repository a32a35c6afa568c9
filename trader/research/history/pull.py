"""Fetch what the store lacks, page by page; what has arrived is kept, whatever happens next."""

from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import partial
from typing import Protocol, TypeVar

import polars as pl

from trader.domain.interval import Interval
from trader.errors import DataError, RateLimited
from trader.market.candles import faults
from trader.market.tables import TIME
from trader.research.history.store import Store

T = TypeVar("T")
Progress = Callable[[float, str], None]

# Before this day there were no USDT-M futures, so that whoever asks from here on gets a symbol's whole history.
FIRST_DAY = datetime(2019, 9, 1, tzinfo=UTC)
_PATIENCE = timedelta(minutes=10)
# How many pages are kept in memory before they are written: a file of a year is written again as a whole.
_PAGES_A_WRITE = 20


class Source(Protocol):
    """Where klines and funding are asked for: the public part of a gateway."""

    async def klines(self, symbol: str, interval: Interval, start: datetime, end: datetime) -> pl.DataFrame:
        """Return the first closed candles (at most a page) of a native interval that lie in [start, end)."""
        ...

    async def funding_stamps(self, symbol: str, start: datetime, end: datetime) -> list[tuple[datetime, Decimal]]:
        """Return the first funding stamps (at most a page) in [start, end), oldest first."""
        ...


class Clock(Protocol):
    """The venue's clock."""

    def now(self) -> datetime:
        """Return venue time, aware UTC."""
        ...

    async def sleep_until(self, moment: datetime) -> None:
        """Return no earlier than `moment` of venue time."""
        ...


class Puller:
    """Fetches into a store from one source.

    Args:
        source: is asked one page at a time.
        clock: waits pass on it where the exchange asks for patience.
        store: what has arrived is written there every twenty pages and at the end, however it ends.
        progress: is told the share of the window that is done, and how far it has come.
    """

    def __init__(self, source: Source, clock: Clock, store: Store, progress: Progress) -> None:
        self._source = source
        self._clock = clock
        self._store = store
        self._progress = progress

    async def candles(self, symbol: str, interval: Interval, start: datetime, end: datetime) -> int:
        """Fetch the native candles of an interval that the store lacks in a window; return how many were new.

        Raises:
            RateLimited: the exchange wants no request for longer than ten minutes; what has arrived is kept.
        """
        native = interval.native
        window = (native.ceil(start), native.floor(min(end, self._clock.now())))
        stretches = self._store.missing(symbol, native, *window) if window[0] < window[1] else []
        added = 0
        kept: list[pl.DataFrame] = []
        try:
            for begin, stop in stretches:
                async for page in self._pages(symbol, native, begin, stop):
                    kept.append(page)
                    last: datetime = page["close_time"][-1]
                    self._progress((last - window[0]) / (window[1] - window[0]), f"{last:%Y-%m-%d}")
                    if len(kept) >= _PAGES_A_WRITE:
                        added += self._keep(native, kept)
        finally:
            added += self._keep(native, kept)
        return added

    async def funding(self, symbol: str, start: datetime, end: datetime) -> int:
        """Fetch the funding stamps that the store lacks before and after those it has; return how many are new."""
        times = self._store.funding(symbol)["funding_time"]
        end = min(end, self._clock.now() + timedelta(milliseconds=1))
        windows = [(start, end)]
        if not times.is_empty():
            first, last = times[0], times[-1]
            windows = [(start, first), (max(start, last + timedelta(milliseconds=1)), end)]
        added = 0
        for begin, stop in windows:
            at = begin
            while at < stop:
                page = await self._patiently(partial(self._source.funding_stamps, symbol, at, stop))
                if not page:
                    break
                added += self._store.add_funding(symbol, _funding_frame(symbol, page))
                at = page[-1][0] + timedelta(milliseconds=1)
                self._progress((at - start) / (end - start), f"{at:%Y-%m-%d}")
        return added

    async def _pages(
        self, symbol: str, native: Interval, begin: datetime, stop: datetime
    ) -> AsyncIterator[pl.DataFrame]:
        """Yield a stretch's candles; where the exchange has none, the next page begins after the hole."""
        at = begin
        while at < stop:
            page = await self._patiently(partial(self._source.klines, symbol, native, at, stop))
            if page.is_empty():
                return
            wrong = next((fault for fault in faults(page, native) if fault.kind != "gap"), None)
            if wrong is not None:
                raise DataError(
                    f"The exchange told a {native} candle of {symbol} that opens at "
                    f"{page['open_time'][wrong.row]:%Y-%m-%dT%H:%M:%SZ} and {wrong.reason}; nothing of that page is "
                    "kept, try again later."
                )
            yield page
            at = page["close_time"][-1]

    async def _patiently(self, ask: Callable[[], Awaitable[T]]) -> T:
        """Ask, and again after the time the exchange names, unless that is long."""
        while True:
            try:
                return await ask()
            except RateLimited as error:
                if error.retry_at - self._clock.now() > _PATIENCE:
                    raise
                self._progress(-1.0, f"the exchange asks to wait until {error.retry_at:%H:%M:%S}Z")
                await self._clock.sleep_until(error.retry_at)

    def _keep(self, native: Interval, kept: list[pl.DataFrame]) -> int:
        if not kept:
            return 0
        frame = pl.concat(kept)
        kept.clear()
        return self._store.add(native, frame)


def _funding_frame(symbol: str, page: list[tuple[datetime, Decimal]]) -> pl.DataFrame:
    return pl.DataFrame(
        {
            "symbol": [symbol] * len(page),
            "funding_time": pl.Series([time for time, _ in page], dtype=TIME),
            "funding_rate": [float(rate) for _, rate in page],
        }
    )
