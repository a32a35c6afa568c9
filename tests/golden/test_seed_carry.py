"""The research's carry book: its scores and returns to the last printed digit, by the product's own functions."""

from datetime import UTC, date, datetime
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from tests.golden.seed_carry_book import panel_of_days, research_book, signals
from trader.market.panel import Panel

PRINTED = """.84 .51 -.69 -.62 .00 .07 .36 -.35 .10 .38 .10 -.32 -.51 -.17 .04 .17 -.52 .16 -.08 -1.12 .39 .95 .02
-.04 .13 1.13 -.82 -.24 .12 .01 .19"""
FIRST_DAY = date(2019, 11, 27)


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
