"""The research's carry book, rebuilt with its mistakes: they live here and nowhere in the product."""

from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from trader.domain.interval import Interval
from trader.forecast.section import standardised, tenths, winsorised
from trader.market.panel import PaidByLongs, Panel, liquidity_tenths
from trader.portfolio.policy import TenthPolicy

Floats = NDArray[np.float64]
DAY = Interval.parse("1d")
YEAR = 365
COST = 0.0005


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
    ranks = tenths(np.nan_to_num(scores), listed & (listed.sum(axis=1, keepdims=True) > 1))
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


def research_book(panel: Panel, *, last_days: bool = False, sold: bool = False, paid: bool = False) -> Book:
    """The day loop with every mistake of the original, unless one is put right.

    What leaves the universe vanishes without a trade (`sold`: at a cost), and what it would earn on its last day is
    dropped (`last_days`); only the cost is held to the turnover limit, the trade is not (`paid`: all is paid for);
    the gross limit rescales the whole book after the buffer; weights do not move with prices; funding is never booked.
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
            last, start = held, np.where(known, held, 0.0)
            trade = np.clip(weights, -0.2, 0.2) - start
            buffer = 0.3 * spread[day] / (2 * volatility[day] ** 2)
            inside = np.sign(trade) * np.maximum(np.abs(trade) - buffer, 0.0)
            held = np.where(known, start + np.where(start == 0, trade, inside), 0.0)
            held *= min(1.0, 2.0 / np.abs(held).sum())
            traded = float(np.abs(held - (last if sold else start)).sum())
            traded = traded if paid else min(0.3, traded)
            stays = known & (panel.listed[day + 1] if last_days else universe[day + 1])
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
