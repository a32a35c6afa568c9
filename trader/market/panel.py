"""Many symbols side by side, joined by close: what a cross-section reads.

A symbol stands in a panel from its first candle to its last and nowhere else: nothing is filled, and a symbol that was
delisted stays where it was traded.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

import numpy as np
import polars as pl
from numpy.typing import NDArray

from trader.domain.interval import Interval
from trader.errors import DataError
from trader.market.candles import faults
from trader.market.tables import TIME

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]

TENTHS = 10

_AT_HAND = 1 << 15


@dataclass(frozen=True, slots=True)
class PaidByLongs:
    """Funding as the exchange tells it: what longs pay to shorts over a candle, as a fraction of the notional.

    Positive: longs pay and shorts are paid. NaN where nobody knows. Every source states its convention by how it makes
    one of these.
    """

    rates: Array

    @classmethod
    def of_received(cls, rates: Array) -> "PaidByLongs":
        """Read rates of the other convention: what longs receive."""
        return cls(-rates)

    @property
    def carry(self) -> Array:
        """What holding a long earns over a candle, prices standing still; a short earns minus that."""
        return -self.rates


@dataclass(frozen=True, slots=True)
class Panel:
    """Matrices (closes, symbols): rows in the order of time, columns in the order of the symbols' names.

    `close_times` are int64 milliseconds of consecutive closes. Prices, `dollar_volume` (in quote currency) and `paid`
    are NaN where a symbol has no candle, `paid` also where its funding is not known.
    """

    interval: Interval
    symbols: tuple[str, ...]
    close_times: NDArray[np.int64]
    high: Array
    low: Array
    close: Array
    dollar_volume: Array
    paid: PaidByLongs

    @property
    def listed(self) -> Mask:
        """Where a symbol has a candle."""
        return np.isfinite(self.close)

    def only(self, columns: NDArray[np.int64]) -> "Panel":
        """Return the panel of some of its symbols."""
        return Panel(
            interval=self.interval,
            symbols=tuple(self.symbols[column] for column in columns),
            close_times=self.close_times,
            high=self.high[:, columns],
            low=self.low[:, columns],
            close=self.close[:, columns],
            dollar_volume=self.dollar_volume[:, columns],
            paid=PaidByLongs(self.paid.rates[:, columns]),
        )

    def returns(self) -> Array:
        """Return log returns, close over the close before; NaN at a symbol's first candle."""
        found = np.full(self.close.shape, np.nan)
        # polars' logarithm takes one element at a time, whatever stands beside it
        ratio = pl.Series((self.close[1:] / self.close[:-1]).ravel())
        found[1:] = ratio.log().to_numpy().reshape(found[1:].shape)
        return found


def panel_of(candles: pl.DataFrame, interval: Interval) -> Panel:
    """Lay a validated candle frame out as a panel.

    Dollar volume is as `with_dollar_volume` has it. Funding is the frame's `funding_rate` (paid by longs); a frame
    without the column knows none.

    Raises:
        DataError: there are no candles.
    """
    if candles.is_empty():
        raise DataError("There are no candles to lay side by side; give a file with at least one usable symbol.")
    runs = candles["symbol"].rle().struct
    names = runs.field("value").to_list()
    column = np.repeat(np.arange(len(names)), runs.field("len").to_numpy())
    closes = candles["close_time"].dt.timestamp("ms").to_numpy()
    first = int(closes.min())
    # in one piece of memory: rows first, and then places row by row
    place = closes - first
    place //= interval.milliseconds
    shape = (int(place.max()) + 1, len(names))
    place *= len(names)
    place += column

    def laid(values: pl.Series) -> Array:
        matrix = np.full(shape[0] * shape[1], np.nan)
        # what is not known comes as NaN; without any of that nothing is copied
        matrix[place] = values.cast(pl.Float64).to_numpy()
        return matrix.reshape(shape)

    known = "funding_rate" in candles.columns
    return Panel(
        interval=interval,
        symbols=tuple(names),
        close_times=first + np.arange(shape[0], dtype=np.int64) * interval.milliseconds,
        high=laid(candles["high"]),
        low=laid(candles["low"]),
        close=laid(candles["close"]),
        dollar_volume=laid(with_dollar_volume(candles)["quote_volume"]),
        paid=PaidByLongs(laid(candles["funding_rate"]) if known else np.full(shape, np.nan)),
    )


def with_dollar_volume(candles: pl.DataFrame) -> pl.DataFrame:
    """Give candles a `quote_volume` where they have none: volume times the mean of the four prices.

    Longer candles made of them add it up bar by bar, as the exchange's own do.
    """
    if "quote_volume" in candles.columns:
        return candles
    open_, high, low, close = (pl.col(name) for name in ("open", "high", "low", "close"))
    return candles.with_columns(quote_volume=pl.col("volume") * ((open_ + high + low + close) / 4))


def closes_of(panel: Panel) -> list[datetime]:
    """Return the close times of a panel's rows, aware UTC."""
    moments: list[datetime] = pl.Series(panel.close_times).cast(TIME).to_list()
    return moments


def excluding(candles: pl.DataFrame, interval: Interval) -> tuple[pl.DataFrame, dict[str, str]]:
    """Leave out every symbol of which a candle is missing or cannot be used; return the rest, and why by name.

    What is left passes `validate`. Nothing is filled and no symbol is cut: a hole may hide anything.
    """
    reasons: dict[str, str] = {}
    for fault in faults(candles, interval):
        opened = candles["open_time"][fault.row]
        where = "without a time" if opened is None else f"of {opened:%Y-%m-%dT%H:%MZ}"
        reasons.setdefault(candles["symbol"][fault.row], f"the candle {where} {fault.reason}")
    if not reasons:
        return candles, {}
    return candles.filter(~pl.col("symbol").is_in(sorted(reasons))), dict(sorted(reasons.items()))


def unfunded(candles: pl.DataFrame) -> dict[str, str]:
    """Return the symbols of which no funding is known at all, and why they cannot stand in a carry panel."""
    if "funding_rate" not in candles.columns:
        return dict.fromkeys(candles["symbol"].unique().sort().to_list(), "no funding is known")
    known = candles.group_by("symbol").agg(pl.col("funding_rate").is_not_null().any().alias("known"))
    return dict.fromkeys(known.filter(~pl.col("known"))["symbol"].sort().to_list(), "no funding is known")


def windowed_sum(values: Array, window: int, decay: float = 1.0) -> Array:
    """Return the sum of the last `window` values of each column, one `lag` candles ago weighed by `decay` ** lag.

    Blocks of two, four, eight and so on are added up and those that make up the window are put together: each value is
    met once, and in the same order at every row, so that no result depends on what lies before the window or beside it.
    What is not known must be 0.
    """
    rows, columns = values.shape
    found = np.zeros(values.shape)
    # as many columns at once as the processor has at hand
    width = max(1, _AT_HAND // max(1, rows))
    for first in range(0, columns, width):
        beside = slice(first, first + width)
        _add_window(found[:, beside], np.array(values[:, beside], order="C"), window, decay)
    return found


def _add_window(found: Array, block: Array, window: int, decay: float) -> None:
    """Add the windowed sum of `block`, which is used up, to `found`."""
    moved = np.empty(block.shape)
    size, reach = 1, 0
    while window:
        if window % 2:
            _add_earlier(found, block, reach, decay, moved)
            reach += size
        window //= 2
        if window:
            _add_earlier(block, block, size, decay, moved)
            size *= 2


def _add_earlier(into: Array, values: Array, lag: int, decay: float, moved: Array) -> None:
    """Add to each row what stands `lag` rows before it, weighed by `decay` ** lag; `moved` is room to work in."""
    if lag < len(into):
        into[lag:] += np.multiply(values[: len(into) - lag], decay**lag, out=moved[lag:])


def rolling_mean(values: Array, window: int, least: int) -> Array:
    """Return the mean of the last `window` values of each column; NaN where fewer than `least` of them are there."""
    known = np.isfinite(values)
    total = windowed_sum(np.where(known, values, 0.0), window)
    count = rolling_count(known, window)
    known &= count >= least
    total /= np.maximum(count, 1)
    np.putmask(total, ~known, np.nan)
    return total


def rolling_count(mask: Mask, window: int) -> NDArray[np.int32]:
    """Return how many of the last `window` rows of each column a mask marks."""
    count = np.cumsum(mask, axis=0, dtype=np.int32)
    count[window:] -= count[:-window].copy()
    return count


def liquidity_tenths(panel: Panel, window: int, least: int) -> NDArray[np.int32]:
    """Rank symbols at each close by their mean dollar volume of the last `window` candles, in tenths from 1 to 10.

    10 holds the most liquid. A symbol with fewer than `least` candles has no rank yet (0). Equal volumes are ranked in
    the order of names.
    """
    volume = rolling_mean(panel.dollar_volume, window, least)
    ranked = np.isfinite(volume)
    order = _ordered(np.where(ranked, volume, np.inf))
    tenths = np.empty(order.shape, dtype=np.int32)
    # whole numbers: a rank that lies on an edge must not fall by a rounding
    tenths[np.arange(len(order))[:, np.newaxis], order] = np.arange(1, order.shape[1] + 1) * -TENTHS
    tenths //= np.maximum(ranked.sum(axis=1, keepdims=True, dtype=np.int32), 1)
    np.negative(tenths, out=tenths)
    tenths[~ranked] = 0
    return tenths


def _ordered(values: Array) -> NDArray[np.int64]:
    """Order each row, equal values by their columns; a stable sort takes thrice as long as one that is not."""
    order = np.argsort(values, axis=1)
    standing = np.sort(values, axis=1)
    with np.errstate(invalid="ignore"):
        # what is infinite has no rank, and is no tie: its difference is NaN
        tied = np.flatnonzero((standing[:, 1:] - standing[:, :-1] == 0.0).any(axis=1))
    if len(tied):
        order[tied] = np.argsort(values[tied], axis=1, kind="stable")
    return order


def names_at(panel: Panel, row: int, mask: Mask) -> Mapping[str, int]:
    """Return the columns of the symbols that a mask marks at a close."""
    return {panel.symbols[column]: int(column) for column in np.flatnonzero(mask[row])}
