"""Read a candle file and a funding file into the tape the exchange plays, or refuse them in one sentence."""

import hashlib
import re
from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from trader.sim.errors import StartError
from trader.sim.frames import PRICES, read_frame, require, to_millis, with_numbers
from trader.sim.money import exact

MINUTE = 60_000
# Prices and rates are stated in eight decimals; what a file has beyond them is the noise of some arithmetic.
STATED = 8
DAY = 86_400_000
_WARM_UP = 90 * DAY
_SYMBOL = re.compile(r"^([A-Z0-9]{1,20}USDT)(?![A-Z0-9])")
_NAME = re.compile(r"^[A-Z0-9]{3,30}$")


@dataclass(slots=True)
class Series:
    """Hold the bars and funding stamps of one symbol; times are epoch milliseconds, ``end`` is exclusive."""

    symbol: str
    first: int
    spacing: int
    open: list[float]
    high: list[float]
    low: list[float]
    close: list[float]
    volume: list[float]
    quote: list[float]
    stamps: list[int] = field(default_factory=list)
    rates: list[Decimal] = field(default_factory=list)

    @property
    def end(self) -> int:
        """Give the end of the last bar."""
        return self.first + self.spacing * len(self.open)

    def price(self, now: int) -> Decimal:
        """Give the open of the bar containing ``now``; after the last bar, its close."""
        index = (now - self.first) // self.spacing
        return exact(self.open[index]) if index < len(self.open) else exact(self.close[-1])

    def worst(self, opened: int, long: bool) -> Decimal:
        """Give the low (for a long) or high (for a short) of the bar that began at ``opened``."""
        index = (opened - self.first) // self.spacing
        if index >= len(self.open):
            return exact(self.close[-1])
        return exact(self.low[index] if long else self.high[index])

    def boundary(self, stamp: int) -> int:
        """Give the bar boundary at which a funding stamp is paid: the first at or after it."""
        return -(-stamp // self.spacing) * self.spacing

    def due(self, after: int, until: int) -> list[tuple[int, Decimal]]:
        """List the funding stamps in (after, until] with their rates; after its last bar a symbol pays none."""
        low, high = bisect_right(self.stamps, after), bisect_right(self.stamps, min(until, self.end))
        return list(zip(self.stamps[low:high], self.rates[low:high], strict=True))


@dataclass(frozen=True, slots=True)
class Tape:
    """Hold everything that happens: one grid of bars, symbols that may begin late and end early."""

    name: str
    generated: bool
    spacing: int
    series: Mapping[str, Series]
    digest: str
    funding_digest: str

    @property
    def start(self) -> int:
        """Give the first instant of any symbol."""
        return min(series.first for series in self.series.values())

    @property
    def end(self) -> int:
        """Give the end of the last bar of any symbol."""
        return max(series.end for series in self.series.values())


def warm_begin(start: int, end: int, spacing: int) -> int:
    """Give when an exchange begins on bars between two instants, so that what trades there has a history: all in ms."""
    return min(start + _WARM_UP, start + (end - start) // 2 // spacing * spacing)


def instant(millis: int) -> str:
    """Write an instant for a message."""
    return datetime.fromtimestamp(millis / 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def load_tape(candles: Path, funding: Path | None = None, symbol: str | None = None) -> Tape:
    """Read the files of a tape. ``symbol`` names a file that neither has a symbol column nor begins with one."""
    frame = read_frame(candles, "candle file")
    rates = None if funding is None else read_frame(funding, "funding file")
    return tape_from_frames(
        frame, rates, name=candles.name, funding_name=funding.name if funding else "", symbol=symbol
    )


def tape_from_frames(
    candles: pl.DataFrame,
    funding: pl.DataFrame | None,
    *,
    name: str,
    funding_name: str = "funding",
    symbol: str | None = None,
    generated: bool = False,
) -> Tape:
    """Check candles (and funding) and build the tape; rows are counted from 1 in refusals."""
    require(candles, ("open_time", *PRICES, "volume"), name)
    if candles.height == 0:
        raise StartError(f"{name} holds no candle; give a file with at least two.")
    times = to_millis(candles["open_time"], name, "open_time")
    candles = with_numbers(candles, (*PRICES, "volume"), times, name)
    candles = candles.with_columns(pl.col(PRICES).round(STATED))
    _check_prices(candles, times, name)
    names = _symbols(candles, name, symbol)
    order = {each: np.flatnonzero(names == each) for each in dict.fromkeys(names.tolist())}
    spacing = _spacing([times[rows] for rows in order.values()], name)
    columns = {key: candles[key].to_numpy() for key in (*PRICES, "volume")}
    quotes = _quotes(candles, columns, times, name)
    series = {}
    for each, rows in order.items():
        _check_grid(times[rows], rows, spacing, each, name)
        _check_close_times(candles, times, rows, spacing, name)
        opens, highs, lows, closes, volumes = (columns[key][rows].tolist() for key in (*PRICES, "volume"))
        first = int(times[rows[0]])
        series[each] = Series(each, first, spacing, opens, highs, lows, closes, volumes, quotes[rows].tolist())
    _add_funding(series, candles, funding, times, names, name, funding_name)
    return Tape(name, generated, spacing, series, _digest(series), _funding_digest(series))


def _symbols(candles: pl.DataFrame, name: str, hint: str | None) -> Any:
    if "symbol" in candles.columns:
        column = candles["symbol"]
        bad = next((row for row, each in enumerate(column) if not _NAME.match(str(each or ""))), None)
        if bad is not None:
            raise StartError(f"{name} row {bad + 1} has no usable symbol ({column[bad]!r}); write one like ADAUSDT.")
        return np.asarray(column.to_list(), dtype=object)
    found = _SYMBOL.match(name)
    symbol = found.group(1) if found else hint
    if symbol is None:
        raise StartError(
            f"{name} does not say which symbol it holds; add a symbol column or name it like ADAUSDT_1h.parquet."
        )
    return np.full(candles.height, symbol, dtype=object)


def _check_prices(candles: pl.DataFrame, times: Any, name: str) -> None:
    opens, highs, lows, closes = (candles[key].to_numpy() for key in PRICES)
    checks = (
        (np.minimum.reduce([opens, highs, lows, closes]) <= 0, "a price that is not positive"),
        (highs < lows, "its high below its low"),
        ((np.maximum(opens, closes) > highs) | (np.minimum(opens, closes) < lows), "open or close outside low..high"),
        (candles["volume"].to_numpy() < 0, "a negative volume"),
    )
    for bad, what in checks:
        if bad.any():
            row = int(np.argmax(bad))
            raise StartError(
                f"{name} row {row + 1} at {instant(int(times[row]))} has {what}; correct that candle in the file."
            )


def _spacing(groups: list[Any], name: str) -> int:
    steps = np.concatenate([np.diff(times) for times in groups])
    steps = steps[steps > 0]
    if steps.size == 0:
        raise StartError(f"{name} holds no two candles of one symbol in order; give a file with at least two, sorted.")
    values, counts = np.unique(steps, return_counts=True)
    spacing = int(values[np.argmax(counts)])
    if spacing % MINUTE or DAY % spacing:
        raise StartError(
            f"{name} has candles {spacing / MINUTE:g} minutes apart; use candles that divide a day evenly."
        )
    return spacing


def _check_grid(times: Any, rows: Any, spacing: int, symbol: str, name: str) -> None:
    steps = np.diff(times)
    if (steps == spacing).all() and times[0] % spacing == 0:
        return
    # A row out of order also looks like a gap, so the order is judged first.
    wrong = next((bad for bad in (steps < 0, steps == 0, steps != spacing) if bad.any()), None)
    where = 0 if wrong is None else int(np.argmax(wrong)) + 1
    row, at = int(rows[where]) + 1, instant(int(times[where]))
    step = int(steps[where - 1]) if where else 0
    place = f"{name} row {row} ({symbol} {at})"
    if where == 0:
        raise StartError(f"{place} is off the UTC grid of {spacing // MINUTE} minutes; use candles on the epoch grid.")
    if step == 0:
        raise StartError(f"{place} repeats the candle before it (a duplicate); keep one of them.")
    if step < 0:
        raise StartError(f"{place} is earlier than the row before it; sort the file by open_time.")
    if step < spacing and where == len(times) - 1:
        raise StartError(f"{place} is a partial last bar: it begins inside the one before; drop that row.")
    if step % spacing:
        raise StartError(f"{place} is off the grid of {spacing // MINUTE} minutes; use whole candles only.")
    raise StartError(
        f"{place} follows a gap of {step // spacing - 1} candles; fetch the missing ones or cut the file there."
    )


def _check_close_times(candles: pl.DataFrame, times: Any, rows: Any, spacing: int, name: str) -> None:
    """Refuse a last bar that by its own close time is not whole yet."""
    if "close_time" not in candles.columns:
        return
    last = int(rows[-1])
    closed = int(to_millis(candles["close_time"][last : last + 1], name, "close_time")[0])
    if closed + 1 < int(times[last]) + spacing:
        raise StartError(
            f"{name} row {last + 1} at {instant(int(times[last]))} is a partial last bar "
            f"(it ends at {instant(closed)}); drop that row."
        )


def _quotes(candles: pl.DataFrame, columns: dict[str, Any], times: Any, name: str) -> Any:
    if "quote_volume" in candles.columns:
        return with_numbers(candles, ("quote_volume",), times, name)["quote_volume"].to_numpy()
    typical = (columns["open"] + columns["high"] + columns["low"] + columns["close"]) / 4
    return columns["volume"] * typical


def _add_funding(
    series: dict[str, Series],
    candles: pl.DataFrame,
    funding: pl.DataFrame | None,
    times: Any,
    names: Any,
    name: str,
    funding_name: str,
) -> None:
    if funding is not None:
        require(funding, ("funding_time", "funding_rate"), funding_name)
        # what is stamped some milliseconds late is paid by whoever held the position at the minute
        stamps = to_millis(funding["funding_time"], funding_name, "funding_time") // MINUTE * MINUTE
        funding = with_numbers(funding, ("funding_rate",), stamps, funding_name)
        if "symbol" not in funding.columns and len(series) > 1:
            raise StartError(f"{funding_name} has no symbol column but the tape has several symbols; add one.")
        owners = funding["symbol"].to_list() if "symbol" in funding.columns else [next(iter(series))] * funding.height
        rates = funding["funding_rate"].to_list()
    elif "funding_rate" in candles.columns:
        funding_name = name
        known = candles["funding_rate"].is_not_null().to_numpy()
        chosen = candles.filter(pl.col("funding_rate").is_not_null())
        rates = with_numbers(chosen, ("funding_rate",), times[known], name)["funding_rate"].to_list()
        stamps, owners = times[known] + next(iter(series.values())).spacing, names[known].tolist()
    else:
        return
    for row, (stamp, owner, rate) in enumerate(zip(stamps.tolist(), owners, rates, strict=True)):
        target = series.get(owner)
        if target is None:
            continue
        if target.stamps and stamp <= target.stamps[-1]:
            what = "repeats the stamp" if stamp == target.stamps[-1] else "is earlier than the row"
            raise StartError(f"{funding_name} row {row + 1} at {instant(stamp)} {what} before it; sort, keep one each.")
        target.stamps.append(stamp)
        target.rates.append(exact(round(rate, STATED)))


def _digest(series: Mapping[str, Series]) -> str:
    state = hashlib.sha256()
    for symbol in sorted(series):
        each = series[symbol]
        state.update(f"{symbol} {each.first} {each.spacing} ".encode())
        for column in (each.open, each.high, each.low, each.close, each.volume, each.quote):
            state.update(np.asarray(column, dtype="<f8").tobytes())
    return state.hexdigest()


def _funding_digest(series: Mapping[str, Series]) -> str:
    state = hashlib.sha256()
    for symbol in sorted(series):
        each = series[symbol]
        state.update(f"{symbol} {each.stamps} {[str(rate) for rate in each.rates]}".encode())
    return state.hexdigest()
