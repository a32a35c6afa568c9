"""What a run came to, close by close: one shape for a backtest and for a journal."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any, Protocol

import numpy as np
import polars as pl

from trader.domain.decision import CloseReport, State
from trader.domain.interval import Interval
from trader.execution.round_trips import Funding
from trader.market.tables import TIME

_ZERO = Decimal(0)
_BINS = 48


class Paid(Protocol):
    """One fill and the close that caused it; signed quantity, fee paid in USDT."""

    @property
    def close(self) -> datetime: ...  # noqa: D102
    @property
    def symbol(self) -> str: ...  # noqa: D102
    @property
    def quantity(self) -> Decimal: ...  # noqa: D102
    @property
    def price(self) -> Decimal: ...  # noqa: D102
    @property
    def fee(self) -> Decimal: ...  # noqa: D102


@dataclass(frozen=True, slots=True)
class Judged:
    """What the card of the model says of it; the keys are those of the card and of `trader evidence`.

    `learning` is that of a recurrent model, with `said`, its training in a sentence.
    """

    model: str
    verdict: str
    reason: str
    gates: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    evidence: Mapping[str, Any] | None = None
    calibration: Mapping[str, Any] | None = None
    unseen_after: datetime | None = None
    metrics: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    learning: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Shortfall:
    """What a live account should have earned beside what it did.

    `closes` has a row a close that was lived through: close, equity, expected, behind (of what it should be worth,
    positive where it is behind). `parts` are in USDT and lead from what it should have earned to what it did: slippage,
    fees and funding against those expected, and what was not traded as decided. `fills` are rows of the page, `misses`
    closes that were not decided (close, why), `changes` of state and stage (at, what, why). `behind` and `cost_ratio`
    are those of the alarm.
    """

    closes: pl.DataFrame
    should: float
    did: float
    parts: Mapping[str, float]
    fills: Sequence[Mapping[str, Any]]
    misses: Sequence[tuple[datetime, str]]
    changes: Sequence[tuple[datetime, str, str]]
    behind: float | None
    cost_ratio: float | None
    realised_cost: float
    expected_cost: float


@dataclass(frozen=True, slots=True)
class Story:
    """A run, ready to be drawn.

    `closes` has a row a close: close, price (None with several symbols), forecast, exposure (signed notional over
    equity), equity, gross (what it would be had fees, slippage and funding not been paid, at the sizes traded),
    drawdown (0 or less, of the highest equity so far), earned (the equity's return since the close before). `costs`
    are fees, slippage and funding in USDT, each negative where it was paid. `trips` and `performance` are those of
    the command's document. `stops` are the closes at which it stopped opening positions: close, state, why.
    `portfolio` is the part of the same name in the document of many symbols, `shortfall` that of a live account.
    """

    name: str
    symbols: Sequence[str]
    interval: Interval
    market: str
    start_equity: float
    closes: pl.DataFrame
    costs: Mapping[str, float]
    trips: Sequence[Mapping[str, Any]]
    performance: Mapping[str, Any]
    judged: Judged
    stops: Sequence[tuple[datetime, str, str]] = ()
    portfolio: Mapping[str, Any] | None = None
    shortfall: Shortfall | None = None


def closes_of(
    reports: Sequence[CloseReport], trades: Sequence[Paid], bookings: Sequence[Funding], start_equity: Decimal
) -> tuple[pl.DataFrame, dict[str, float]]:
    """Return the rows and the costs of a `Story`.

    Args:
        reports: one a close, in order; at least one.
        trades: fills; the slippage of one is against the first price after its close.
        bookings: funding, received where positive.
        start_equity: before the first close.
    """
    times = [report.close for report in reports]
    first_price = {(report.close, symbol): price for report in reports for symbol, price in report.prices.items()}
    fees = _by_close(times, [(trade.close, -trade.fee) for trade in trades])
    slipped = [
        (trade.close, -trade.quantity * (trade.price - first_price[trade.close, trade.symbol]))
        for trade in trades
        if (trade.close, trade.symbol) in first_price
    ]
    slippage = _by_close(times, slipped)
    funding = _by_close(times, [(booking.time, booking.amount) for booking in bookings])
    equity = np.array([float(report.equity) for report in reports])
    before = np.concatenate([[float(start_equity)], equity[:-1]])
    peak = np.maximum.accumulate(np.maximum(equity, float(start_equity)))
    only = next(iter(reports[0].prices)) if len(reports[0].prices) == 1 else None
    frame = pl.DataFrame(
        {
            "close": pl.Series(times, dtype=TIME),
            "price": [None if only is None else float(report.prices[only]) for report in reports],
            "forecast": [
                None if only is None or only not in report.forecasts else report.forecasts[only].value
                for report in reports
            ],
            "exposure": [_exposure(report) for report in reports],
            "equity": equity,
            "gross": equity - fees - slippage - funding,
            "drawdown": equity / peak - 1,
            "earned": np.where(before > 0, equity / np.where(before > 0, before, 1.0) - 1, 0.0),
        },
        schema_overrides={"price": pl.Float64, "forecast": pl.Float64},
    )
    return frame, {"fees": float(fees[-1]), "slippage": float(slippage[-1]), "funding": float(funding[-1])}


def stops_of(reports: Sequence[CloseReport]) -> list[tuple[datetime, str, str]]:
    """Return the closes at which the state turned from what may open positions to what may not."""
    found = []
    before = State.ACTIVE
    for report in reports:
        if report.state is not before and report.state is not State.ACTIVE:
            found.append((report.close, report.state.value, report.why))
        before = report.state
    return found


def held_returns(closes: pl.DataFrame) -> list[float]:
    """Return what the equity earned over the candles that began with something held."""
    return closes.filter(pl.col("exposure").shift(1) != 0)["earned"].to_list()


def months(closes: pl.DataFrame, start_equity: float) -> list[tuple[int, list[float | None], float]]:
    """Return (year, twelve monthly returns, the year's return); None where there was no close.

    A month's return runs from the last equity before it; a close at midnight on the first belongs to the month that
    ends there.
    """
    moment = pl.col("close").dt.offset_by("-1ms")
    ends = closes.group_by(moment.dt.year().alias("year"), moment.dt.month().alias("month"), maintain_order=True).agg(
        pl.col("equity").last()
    )
    table: dict[int, list[float | None]] = {}
    totals: dict[int, float] = {}
    before = start_equity
    for year, month, equity in ends.iter_rows():
        earned = equity / before - 1 if before > 0 else 0.0
        table.setdefault(year, [None] * 12)[month - 1] = earned
        totals[year] = (1 + totals.get(year, 0.0)) * (1 + earned) - 1
        before = equity
    return [(year, row, totals[year]) for year, row in table.items()]


def histogram(values: Sequence[float]) -> pl.DataFrame:
    """Return [low, high, count]: bins of equal width around zero, that zero parts; outliers end in the outermost."""
    array = np.asarray(values, dtype=np.float64)
    if len(array) == 0 or not np.abs(array).max() > 0:
        return pl.DataFrame(schema={"low": pl.Float64, "high": pl.Float64, "count": pl.Int64})
    reach = float(np.quantile(np.abs(array), 0.995)) or float(np.abs(array).max())
    edges = np.linspace(-reach, reach, _BINS + 1)
    counts, _ = np.histogram(np.clip(array, -reach, reach), edges)
    return pl.DataFrame({"low": edges[:-1], "high": edges[1:], "count": counts})


def thinned(frame: pl.DataFrame, most: int) -> pl.DataFrame:
    """Keep at most about `most` rows: in every stretch of equal length the lowest and highest equity, in order."""
    if frame.height <= most:
        return frame
    stretch = pl.int_range(pl.len()) * (most // 2) // pl.len()
    marked = frame.with_row_index("row").with_columns(stretch.alias("stretch"))
    kept = marked.group_by("stretch").agg(
        pl.col("row").get(pl.col("equity").arg_min()).alias("low"),
        pl.col("row").get(pl.col("equity").arg_max()).alias("high"),
    )
    rows = sorted({0, frame.height - 1, *kept["low"].to_list(), *kept["high"].to_list()})
    return frame[rows]


def _exposure(report: CloseReport) -> float:
    if report.equity <= 0:
        return 0.0
    notional = sum((held * report.prices[symbol] for symbol, held in report.positions.items()), _ZERO)
    return float(notional / report.equity)


def _by_close(times: Sequence[datetime], amounts: Sequence[tuple[datetime, Decimal]]) -> np.ndarray[Any, Any]:
    """Return what the amounts up to each close add up to."""
    stamps = np.array([moment.timestamp() for moment, _ in amounts])
    order = np.argsort(stamps, kind="stable")
    total = np.cumsum([0.0, *(float(amounts[place][1]) for place in order)])
    places = np.searchsorted(stamps[order], np.array([time.timestamp() for time in times]), side="right")
    return np.asarray(total[places])
