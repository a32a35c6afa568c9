"""One symbol's tape as the backtest plays it: bars in exact prices, with the funding stamped in each."""

from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

import polars as pl

from trader.domain.interval import Interval
from trader.errors import DataError

_EIGHT = Decimal("1e-8")


@dataclass(frozen=True, slots=True)
class PlayedBar:
    """What a bar does to a position when it ends: its prices, its funding, and the first price after it."""

    end: datetime
    open: Decimal
    high: Decimal
    low: Decimal
    rates: tuple[Decimal, ...]
    next_price: Decimal

    def worst(self, held: Decimal) -> Decimal:
        """Return its worst price for a signed quantity."""
        return self.low if held > 0 else self.high


class Tape:
    """The bars of one symbol, played in order.

    The price inside a bar is its open until the bar ends; after the last bar it is that bar's close.
    """

    def __init__(self, symbol: str, bars: pl.DataFrame, rates: dict[int, tuple[Decimal, ...]], length: int) -> None:
        self.symbol = symbol
        self._opens_at: list[datetime] = bars["open_time"].to_list()
        self._ends: list[datetime] = bars["close_time"].to_list()
        self._open: list[float] = bars["open"].to_list()
        self._high: list[float] = bars["high"].to_list()
        self._low: list[float] = bars["low"].to_list()
        self._last: float = bars["close"][-1]
        self._rates = rates
        self._stamps = sorted(rates)
        self._length = length

    @classmethod
    def of(cls, candles: pl.DataFrame, funding: pl.DataFrame | None, symbol: str, source: Interval) -> "Tape":
        """Cut one symbol out of a candle frame and a funding frame.

        Raises:
            DataError: the candles hold no such symbol.
        """
        bars = candles.filter(pl.col("symbol") == symbol).sort("close_time")
        if bars.is_empty():
            held = ", ".join(candles["symbol"].unique().sort().to_list())
            raise DataError(f"The candles hold {held} but not {symbol}; give a tape of that symbol.")
        length = source.milliseconds
        rates: dict[int, list[Decimal]] = {}
        if funding is not None:
            stamps = funding.filter(pl.col("symbol") == symbol).sort("funding_time")
            for stamp, rate in stamps.select(pl.col("funding_time").dt.epoch("ms"), "funding_rate").iter_rows():
                rates.setdefault(-(-stamp // length) * length, []).append(Decimal(repr(rate)))
        elif "funding_rate" in bars.columns:
            known = bars.drop_nulls("funding_rate")
            for end, rate in known.select(pl.col("close_time").dt.epoch("ms"), "funding_rate").iter_rows():
                rates.setdefault(end, []).append(Decimal(repr(rate)))
        return cls(symbol, bars, {end: tuple(values) for end, values in rates.items()}, length)

    @property
    def start(self) -> datetime:
        """When the first bar begins."""
        return self._opens_at[0]

    @property
    def end(self) -> datetime:
        """When the last bar ends."""
        return self._ends[-1]

    def price(self, moment: datetime) -> Decimal:
        """Return the price at a moment: the open of the bar that holds it.

        Raises:
            DataError: the moment is before the first bar.
        """
        index = bisect_right(self._opens_at, moment) - 1
        if index < 0:
            raise DataError(
                f"The tape of {self.symbol} begins at {self.start.isoformat()} and has no price at "
                f"{moment.isoformat()}; start later or give more history."
            )
        if moment >= self.end:
            return Decimal(repr(self._last))
        return Decimal(repr(self._open[index]))

    def rate(self, moment: datetime) -> Decimal:
        """Return the funding rate last settled at a moment, in eight decimals as it is told, zero before the first."""
        index = bisect_right(self._stamps, round(moment.timestamp() * 1000)) - 1
        return self._rates[self._stamps[index]][-1].quantize(_EIGHT) if index >= 0 else Decimal(0)

    def ended(self, since: datetime, until: datetime) -> Iterator[PlayedBar]:
        """Yield the bars that end in (since, until], in order."""
        for index in range(bisect_right(self._ends, since), bisect_right(self._ends, until)):
            end = self._ends[index]
            following = self._open[index + 1] if index + 1 < len(self._open) else self._last
            yield PlayedBar(
                end=end,
                open=Decimal(repr(self._open[index])),
                high=Decimal(repr(self._high[index])),
                low=Decimal(repr(self._low[index])),
                rates=self._rates.get(round(end.timestamp() * 1000), ()),
                next_price=Decimal(repr(following)),
            )
