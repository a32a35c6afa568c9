"""The research's carry book: its scores and returns, its mistakes made here only, and the product's own functions."""

from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from numpy.typing import NDArray

from trader.domain.interval import Interval
from trader.forecast.section import size, standardised, tenths, winsorised
from trader.market.panel import PaidByLongs, Panel, liquidity_tenths
from trader.portfolio.policy import TenthPolicy

Floats = NDArray[np.float64]
DAY = Interval.parse("1d")
YEAR = 365
COST = 0.0005
PRINTED = """.84 .51 -.69 -.62 .00 .07 .36 -.35 .10 .38 .10 -.32 -.51 -.17 .04 .17 -.52 .16 -.08 -1.12 .39 .95 .02
-.04 .13 1.13 -.82 -.24 .12 .01 .19"""
FIRST_DAY = date(2019, 11, 27)


@dataclass(frozen=True)
class Book:
    """What the research prints a day: value, daily return, profit, turnover, gross and net exposure."""

    nav: list[float]
    earned: list[float]
    profit: list[float]
    turnover: list[float]
    gross: list[float]
    net: list[float]
    held: set[str]


def matrix(frame: pl.DataFrame, column: str) -> Floats:
    wide = frame.pivot("ticker", index="date", values=column, sort_columns=True).sort("date")
    return wide.drop("date").to_numpy().astype(np.float64)


def panel_of_days(frame: pl.DataFrame) -> Panel:
    """Lay the research's daily frame out; its funding is what longs receive, minus the exchange's own."""
    days = pl.Series(sorted(frame["date"].unique()))
    return Panel(
        interval=DAY,
        symbols=tuple(sorted(frame["ticker"].unique())),
        close_times=days.cast(pl.Datetime("ms")).dt.timestamp("ms").to_numpy(),
        high=matrix(frame, "high"),
        low=matrix(frame, "low"),
        close=matrix(frame, "close"),
        dollar_volume=matrix(frame, "dollar_volume"),
        paid=PaidByLongs.of_received(matrix(frame, "funding_rate")),
    )


def signals(panel: Panel) -> tuple[Floats, NDArray[np.int64], Floats]:
    """Score, tenth and target of everything listed: the research ranks all symbols, not its universe.

    On a day on which all carries are the same it ranks what is no number, all alike; a symbol alone has no rank.
    """
    listed = panel.listed & np.isfinite(panel.paid.rates)
    scores = standardised(winsorised(panel.paid.carry, listed, 0.05), listed)
    ranks = tenths(np.nan_to_num(scores), listed & (size(listed) > 1))
    return scores, ranks, TenthPolicy().targets(ranks)


def volatility_with_holes(panel: Panel, universe: NDArray[np.bool_]) -> Floats:
    """Blend as the research does, over the days in the universe as if they followed each other, a day late."""
    found = np.full(panel.close.shape, np.nan)
    for column in range(len(panel.symbols)):
        days = np.flatnonzero(universe[:, column])
        squares = (pl.Series(panel.close[days, column]).log().diff() ** 2).alias("r2")
        short, long = (squares.ewm_mean(span=span, ignore_nulls=True) for span in (21, 90))
        found[days, column] = (0.5 * short + 0.5 * long).sqrt().shift(1).fill_null(np.nan).to_numpy()
    return found


def research_book(panel: Panel) -> Book:
    """The day loop with every mistake of the original.

    What leaves the universe vanishes without a trade, and what it would earn on its last day is dropped; the gross
    limit rescales the whole book after the buffer; only the cost is held to the turnover limit, the trade is not;
    funding is never paid.
    """
    universe = liquidity_tenths(panel, 30, 1) >= 9
    volatility = volatility_with_holes(panel, universe)
    _, ranks, targets = signals(panel)
    spread = (panel.high - panel.low) / (panel.high + panel.low)
    nav, held, book = 1.0, np.zeros(len(panel.symbols)), Book([], [], [], [], [], [], set())
    for day in range(len(panel.close) - 1):
        known = universe[day] & (volatility[day] > 0) & (ranks[day] > 0)
        before, traded = nav, 0.0
        profit = 0.0
        if known.any():
            weights = np.where(known, targets[day] / np.where(known, volatility[day], 1.0), 0.0)
            weights /= np.abs(weights).sum()
            weights *= 0.4 / np.sqrt(np.nansum((weights * volatility[day]) ** 2) * YEAR)
            start = np.where(known, held, 0.0)
            trade = np.clip(weights, -0.2, 0.2) - start
            buffer = 0.3 * spread[day] / (2 * volatility[day] ** 2)
            inside = np.sign(trade) * np.maximum(np.abs(trade) - buffer, 0.0)
            held = np.where(known, start + np.where(start == 0, trade, inside), 0.0)
            held *= min(1.0, 2.0 / np.abs(held).sum())
            traded = min(0.3, float(np.abs(held - start).sum()))
            stays = known & universe[day + 1]
            profit = before * float((held * (panel.close[day + 1] / panel.close[day] - 1))[stays].sum())
            nav = before + profit - before * traded * COST
            book.held.update(panel.symbols[column] for column in np.flatnonzero(known))
        for values, value in zip(
            (book.nav, book.earned, book.profit, book.turnover, book.gross, book.net),
            (nav, nav / before - 1, profit, traded, float(np.abs(held).sum()), float(held.sum())),
            strict=True,
        ):
            values.append(value)
    return book


@pytest.fixture(scope="module")
def two(shared: Path) -> Panel:
    """BTC from 2019-09-11 and ETH from its listing, in days that run from 16:00 to 16:00."""
    frames = []
    for name, hours, funding in (
        ("BTCUSDT", "BTCUSDT_1h.parquet", "BTCUSDT_funding.parquet"),
        (
            "ETHUSDT",
            "seed-oracles/ETHUSDT_1h_2019-11_2020-01.parquet",
            "seed-oracles/ETHUSDT_funding_2019-11_2020-01.parquet",
        ),
    ):
        to_midnight = pl.duration(hours=8)
        days = (
            pl.read_parquet(shared / "data" / hours)
            .group_by((pl.col("open_time") + to_midnight).dt.date().alias("date"))
            .agg(
                pl.col("high").max(),
                pl.col("low").min(),
                pl.col("close").sort_by("open_time").last(),
                (pl.col("close") * pl.col("volume")).sum().alias("dollar_volume"),
            )
        )
        paid = (
            pl.read_parquet(shared / "data" / funding)
            .group_by((pl.col("funding_time") + to_midnight - pl.duration(milliseconds=1)).dt.date().alias("date"))
            .agg((-pl.col("funding_rate").sum()).alias("funding_rate"))
        )
        frames.append(days.join(paid, on="date").with_columns(ticker=pl.lit(name)))
    window = pl.col("date").is_between(date(2019, 9, 11), date(2019, 12, 28))
    return panel_of_days(pl.concat(frames).filter(window))


@pytest.fixture(scope="module")
def raw(shared: Path) -> Panel:
    return panel_of_days(pl.read_parquet(shared / "data" / "seed-oracles" / "perps_daily_raw_2023-09_2023-11.parquet"))


def first_row(panel: Panel) -> int:
    start = int(datetime(FIRST_DAY.year, FIRST_DAY.month, FIRST_DAY.day, tzinfo=UTC).timestamp() * 1000)
    return int(np.searchsorted(panel.close_times, start))


def test_the_printed_scores_tenths_and_targets_of_the_first_day(two: Panel) -> None:
    row = first_row(two)
    scores, ranks, targets = (found[row] for found in signals(two))
    assert two.symbols == ("BTCUSDT", "ETHUSDT")
    # received by longs, as the research's data has it; it scores what longs pay, the product what they receive
    assert -two.paid.rates[row] == pytest.approx([0.000238, -0.0002], abs=5e-7)
    assert -scores == pytest.approx([-0.707, 0.707], abs=5e-4)
    assert ranks.tolist() == [6, 1]
    assert targets == pytest.approx([0.049949, -0.415905], abs=5e-7)


def test_all_31_printed_daily_returns(two: Panel) -> None:
    book, row = research_book(two), first_row(two)
    expected = [float(word) for word in PRINTED.split()]
    assert len(expected) == 31
    assert book.held == {"BTCUSDT"}
    assert [round(100 * earned, 2) for earned in book.earned[row : row + 31]] == expected
    assert np.count_nonzero(book.turnover) == 1


def test_the_whole_chain_mistake_for_mistake(raw: Panel, shared: Path) -> None:
    book = research_book(raw)
    saved = pl.read_csv(shared / "data" / "seed-oracles" / "carry_book_bug_for_bug_2023-09_2023-11.csv")
    assert saved.height == len(book.nav) == 90
    for column, ours in (
        ("nav", book.nav),
        ("daily_return", book.earned),
        ("pnl", book.profit),
        ("turnover_pct", book.turnover),
        ("gross_exposure", book.gross),
        ("net_exposure", book.net),
    ):
        assert np.abs(saved[column].to_numpy() - np.array(ours)).max() < 1e-9, column
    assert sum(traded > 1e-12 for traded in book.turnover) == 59
    assert len(book.held) == 102
    assert book.nav[-1] == pytest.approx(1.105582, abs=5e-7)
