"""Candles that the exchange tells otherwise later."""

from datetime import datetime
from typing import NamedTuple

import polars as pl

_KEY = ("symbol", "close_time")
_PRICES = ("open", "high", "low", "close")


class Revision(NamedTuple):
    """A candle known earlier as one thing and later as another: which, what differs, and both closes."""

    symbol: str
    close_time: datetime
    columns: tuple[str, ...]
    was: float
    now: float


def revised(earlier: pl.DataFrame, later: pl.DataFrame) -> list[Revision]:
    """List the candles of both frames whose prices differ, in the order of the earlier one."""
    both = earlier.join(later, on=_KEY, how="inner", suffix="_now", maintain_order="left")
    changed = both.filter(pl.any_horizontal(pl.col(name) != pl.col(f"{name}_now") for name in _PRICES))
    return [
        Revision(
            row["symbol"],
            row["close_time"],
            tuple(name for name in _PRICES if row[name] != row[f"{name}_now"]),
            row["close"],
            row["close_now"],
        )
        for row in changed.iter_rows(named=True)
    ]
