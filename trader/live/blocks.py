"""The candles of a decision as the journal keeps them: a text for each close, which later decisions take over.

A window moves on by one candle a close, so that all but one of its texts are in the journal already. Where a symbol is
left out of a window, the texts of earlier closes still hold it, and the decision says without whom they are meant.
"""

import json
from collections.abc import Iterable, Mapping, Sequence

import polars as pl

from trader.market.tables import TIME

_TIMES = ("open_time", "close_time")
_PAID = "funding_rate"


def cut(candles: pl.DataFrame, before: Iterable[str] = ()) -> tuple[list[str], list[str]]:
    """Cut a candle frame into a text for each close, oldest first; what funding came to is left to `paid_of`.

    Args:
        candles: a candle frame.
        before: texts of an earlier one; those that say the same of these symbols are taken over.

    Returns:
        The texts, and the symbols in them that the frame does not have.
    """
    known = {_time_of(text): text for text in before}
    symbols = set(candles["symbol"].unique().to_list())
    plain = candles.select(column for column in candles.columns if column != _PAID).sort("close_time", "symbol")
    found: list[str] = []
    without: set[str] = set()
    for part in plain.with_columns(pl.col(name).dt.epoch("ms") for name in _TIMES).partition_by("close_time"):
        text = _text(part)
        old = known.get(_time_of(text))
        if old is not None and old != text:
            told = _table(old)
            same = told.filter(pl.col("symbol").is_in(symbols))
            # a text of other symbols alone says nothing of these
            if not same.is_empty() and _text(same) == text:
                without |= set(told["symbol"].to_list()) - symbols
                text = old
        found.append(text)
    return found, sorted(without)


def joined(
    texts: Sequence[str], without: Sequence[str] = (), paid: Mapping[str, float | None] | None = None
) -> pl.DataFrame:
    """Return the candle frame that was cut into texts, with what funding came to in its last candle where it is told.

    An empty frame without columns where there are no texts.
    """
    if not texts:
        return pl.DataFrame()
    frame = pl.concat([_table(text) for text in texts]).filter(~pl.col("symbol").is_in(list(without)))
    frame = frame.with_columns(pl.col(name).cast(TIME) for name in _TIMES).sort("symbol", "close_time")
    if paid is None:
        return frame
    last = pl.col("close_time") == frame["close_time"].max()
    rate = pl.col("symbol").replace_strict(paid, default=None, return_dtype=pl.Float64)
    return frame.with_columns(pl.when(last).then(rate).alias(_PAID))


def paid_of(candles: pl.DataFrame) -> dict[str, float | None] | None:
    """Return what funding came to in the last candle of each symbol, None where the frame does not tell."""
    if _PAID not in candles.columns:
        return None
    last = candles.filter(pl.col("close_time") == pl.col("close_time").max())
    return dict(last.select("symbol", _PAID).iter_rows())


def _time_of(text: str) -> int:
    return int(text[text.index(":") + 1 : text.index(",")])


def _text(part: pl.DataFrame) -> str:
    """Write the candles of one close: its time first, then a list for each column."""
    columns = part.to_dict(as_series=False)
    times = {name: columns.pop(name)[0] for name in reversed(_TIMES)}
    return json.dumps({**times, **columns}, separators=(",", ":"), allow_nan=False)


def _table(text: str) -> pl.DataFrame:
    raw = json.loads(text)
    times = {name: raw.pop(name) for name in _TIMES}
    types = {name: pl.String if name == "symbol" else pl.Float64 for name in raw}
    frame = pl.DataFrame(raw, schema=types)
    columns = ["symbol", *_TIMES, *(name for name in raw if name != "symbol")]
    return frame.with_columns(pl.lit(value, pl.Int64).alias(name) for name, value in times.items()).select(columns)
