"""Funding payments as files carry them, and what they come to candle by candle."""

from datetime import datetime, timedelta
from itertools import pairwise

import numpy as np
import polars as pl
from numpy.typing import NDArray

from trader.errors import DataError
from trader.market.tables import STATED, as_floats, parse_table, utc_times, with_symbol


def parse_funding(data: bytes, name: str, symbol: str | None = None) -> pl.DataFrame:
    """Read the bytes of a funding file into [symbol, funding_time, funding_rate], sorted by symbol and time.

    A rate is what longs pay to shorts at that instant, as a fraction of notional; stamps are on their minute, as
    `on_the_minute` says. `name` is the file's name.

    Raises:
        DataError: unreadable, of another symbol, NaN or infinite, or two rates for one minute.
    """
    table = with_symbol(parse_table(data, name, ["funding_time", "funding_rate"]), name, symbol)
    table = as_floats(utc_times(table, "funding_time", name), ["funding_rate"], name)
    if table.is_empty():
        raise DataError(f"{name} holds no funding; leave it out, or give a file with funding in the period.")
    rates = table.select("symbol", "funding_time", pl.col("funding_rate").round(STATED))
    rates = on_the_minute(rates).sort("symbol", "funding_time")
    for bad, reason in (
        (~rates["funding_rate"].is_finite().fill_null(False), "a missing, NaN or infinite rate"),
        (rates.select("symbol", "funding_time").is_duplicated(), "more than one rate"),
    ):
        if bad.any():
            row = bad.arg_max() or 0
            where = f"{rates['symbol'][row]} at {rates['funding_time'][row]:%Y-%m-%dT%H:%M:%SZ}"
            raise DataError(f"{name} has {reason} for {where}; fetch or export it again.")
    return rates


def on_the_minute(funding: pl.DataFrame) -> pl.DataFrame:
    """Bring stamps back to the minute that they belong to.

    An exchange books the funding of 08:00 some milliseconds later and stamps it so; who pays it is who held the
    position until 08:00, and not who holds it after the decision of that close.
    """
    return funding.with_columns(pl.col("funding_time").dt.truncate("1m"))


_SILENCE = timedelta(days=1)  # the longest an exchange goes without funding, and more


def require_funding(funding: pl.DataFrame, symbol: str, first: datetime, last: datetime) -> None:
    """Refuse funding that does not reach over a window: a cost that is missing is not a cost of zero.

    Raises:
        DataError: the file begins too late, ends too early, or has a hole.
    """
    stamps = funding.filter(pl.col("symbol") == symbol)["funding_time"].sort().to_list()
    if not stamps or stamps[0] > first + _SILENCE or stamps[-1] < last - _SILENCE:
        span = f"{stamps[0]:%Y-%m-%d} to {stamps[-1]:%Y-%m-%d}" if stamps else "none"
        raise DataError(
            f"The funding of {symbol} ({span}) does not reach over the closes of {first:%Y-%m-%d} to "
            f"{last:%Y-%m-%d}; fetch all of it, begin and end where it does, or leave it out and be told so."
        )
    for before, after in pairwise(stamps):
        if after - before > _SILENCE and after > first and before < last:
            raise DataError(
                f"The funding of {symbol} has nothing between {before:%Y-%m-%dT%H:%MZ} and {after:%Y-%m-%dT%H:%MZ}; "
                "fetch all of it, begin and end where it does, or leave it out and be told so."
            )


_HOUR = 60 * 60_000
_LONGEST = 8 * _HOUR  # an exchange settles funding every eight hours, or more often
_MINUTE = 60_000
_SYMBOL_STRIDE = 1 << 43  # milliseconds, far beyond any date


def with_funding(candles: pl.DataFrame, funding: pl.DataFrame) -> pl.DataFrame:
    """Give every candle its `funding_rate`: what longs paid in it, the sum over the stamps in (open, close].

    The stamps of a symbol may lie eight, four or one hour apart, or change; those that come some milliseconds late, as
    the exchange's do, belong to their minute. A candle in which more than eight hours pass without a stamp, or that
    ends eight hours or more after the last one, has a funding that nobody knows: null, which is not zero. Where it is
    told how often a symbol is settled now, so has a candle that ends with a stamp that is not told yet. Any other
    missing stamp of a symbol that is settled more often leaves no such trace.

    Args:
        candles: a candle frame, sorted by symbol and close.
        funding: as `parse_funding` reads it; where it tells the `hours` after which a symbol is settled now, a symbol
            that is settled more seldom than every eight hours may be silent for as long.
    """
    symbols = candles["symbol"].unique(maintain_order=True)
    codes = {symbol: code for code, symbol in enumerate(symbols)}
    stamps = funding.filter(pl.col("symbol").is_in(symbols.to_list())).sort("funding_time")
    minutes = stamps["funding_time"].dt.timestamp("ms").to_numpy() // _MINUTE * _MINUTE
    owners = stamps["symbol"].replace_strict(codes, return_dtype=pl.Int64).to_numpy()
    keys = owners * _SYMBOL_STRIDE + minutes
    order = np.argsort(keys, kind="stable")
    keys, rates = keys[order], stamps["funding_rate"].to_numpy()[order]
    base = candles["symbol"].replace_strict(codes, return_dtype=pl.Int64).to_numpy() * _SYMBOL_STRIDE
    opens = base + candles["open_time"].dt.timestamp("ms").to_numpy()
    closes = base + candles["close_time"].dt.timestamp("ms").to_numpy()
    # every stamp lies in the first candle that ends at or after it, if that has begun
    place = np.searchsorted(closes, keys, side="left")
    inside = place < len(closes)
    inside[inside] = opens[place[inside]] < keys[inside]
    place, keys_inside = place[inside], keys[inside]
    total = np.bincount(place, weights=rates[inside], minlength=len(closes))
    before = np.searchsorted(keys, opens, side="right") - 1
    latest = np.searchsorted(keys, closes, side="right") - 1
    first = np.where((before >= 0) & (keys[before] >= base), keys[before], opens) if len(keys) else opens
    silence = np.zeros(len(closes), dtype=np.int64)
    if len(keys_inside):
        alone = np.concatenate([[True], place[1:] != place[:-1]])
        previous = np.where(alone, first[place], np.concatenate([[0], keys_inside[:-1]]))
        np.maximum.at(silence, place, keys_inside - previous)
    last = np.where((latest >= 0) & (keys[latest] >= base), keys[latest], -1) if len(keys) else np.full(len(closes), -1)
    longest = _longest(candles, stamps)
    known = (last >= 0) & (closes - last < longest) & (silence <= longest)
    known &= ~_awaited(candles, stamps)
    return candles.with_columns(pl.Series("funding_rate", np.where(known, total, np.nan)).fill_nan(None))


def settled(candles: pl.DataFrame, funding: pl.DataFrame) -> pl.Series:
    """Return for each candle whether its symbol is settled where it ends, as far as its `hours` now tell.

    A symbol is settled where its hours divide the time since the Unix epoch. One that never was there, because nothing
    is stamped of it yet or its stamps lie otherwise, is expected nowhere.
    """
    if "hours" not in funding.columns:
        return pl.repeat(False, len(candles), eager=True)
    there = _multiple("funding_time")
    hours = on_the_minute(funding).filter(there).group_by("symbol").agg(pl.col("hours").max())
    ends = candles.select("symbol", "close_time").join(hours, on="symbol", how="left", maintain_order="left")
    return ends.select(_multiple("close_time").fill_null(False)).to_series()


def _multiple(column: str) -> pl.Expr:
    return pl.col(column).dt.timestamp("ms") % (pl.col("hours") * _HOUR) == 0


def _awaited(candles: pl.DataFrame, stamps: pl.DataFrame) -> NDArray[np.bool_]:
    """Return for each candle whether the stamp with which it ends is still to be told.

    Once a later one is told there is none: the hours are those of now, and were others then.
    """
    newest = on_the_minute(stamps).group_by("symbol").agg(pl.col("funding_time").max())
    ends = candles.select("symbol", "close_time").join(newest, on="symbol", how="left", maintain_order="left")
    untold = ends.select((pl.col("funding_time") < pl.col("close_time")).fill_null(False)).to_series()
    return np.asarray((settled(candles, stamps) & untold).to_numpy(), dtype=np.bool_)


def _longest(candles: pl.DataFrame, stamps: pl.DataFrame) -> NDArray[np.int64]:
    """Return for each candle how many milliseconds its symbol may be without a stamp."""
    if "hours" not in stamps.columns or stamps.is_empty():
        return np.full(len(candles), _LONGEST, dtype=np.int64)
    hours = dict(stamps.group_by("symbol").agg(pl.col("hours").max()).iter_rows())
    spans = candles["symbol"].replace_strict(hours, default=0, return_dtype=pl.Int64).to_numpy() * _HOUR
    return np.asarray(np.maximum(spans, _LONGEST), dtype=np.int64)
