"""Carry forecasts and portfolios: causal to the bit, whole in their money, and never stuck with what is gone."""

from decimal import Decimal

import numpy as np
import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.perpetuals_at_hand import DAY, SMALL, backtest, carry, perpetuals
from trader.forecast.section import standardised, tenths, winsorised
from trader.market.panel import panel_of
from trader.research.attribution import shares

DAYS = 40
markets = st.builds(perpetuals, st.integers(0, 2**31), st.integers(6, 24), st.just(DAYS))
few = settings(max_examples=25)


def until(candles: pl.DataFrame, day: int) -> pl.DataFrame:
    first = candles["open_time"].min()
    return candles.filter(pl.col("close_time") <= first + day * DAY.delta)


@few
@given(markets, st.integers(8, DAYS))
def test_a_forecast_never_changes_when_the_future_arrives(candles: pl.DataFrame, day: int) -> None:
    past = until(candles, day)
    known = SMALL.forecast(candles).filter(pl.col("close_time") <= past["close_time"].max())
    assert SMALL.forecast(past).equals(known)


@few
@given(markets, st.integers(20, DAYS))
def test_the_warm_up_alone_gives_the_same_last_close(candles: pl.DataFrame, day: int) -> None:
    past = until(candles, day)
    last = past["close_time"].max()
    window = past.filter(pl.col("close_time") > last - SMALL.warmup * DAY.delta)
    whole = SMALL.forecast(past).filter(pl.col("close_time") == last)
    assert SMALL.forecast(window).filter(pl.col("close_time") == last).equals(whole)


@few
@given(markets)
def test_a_section_comes_out_the_same_alone_and_with_idle_symbols_beside_it(candles: pl.DataFrame) -> None:
    panel = panel_of(candles, DAY)
    mask = SMALL.universe(panel)
    whole = winsorised(panel.paid.carry, mask, 0.05)
    scores, ranks = standardised(whole, mask), tenths(panel.paid.carry, mask)
    for row in np.flatnonzero(mask.any(axis=1)):
        own = mask[row]
        here = mask[row : row + 1, own]
        narrow = winsorised(panel.paid.carry[row : row + 1, own], here, 0.05)
        assert narrow[0].tolist() == whole[row, own].tolist()
        if own.sum() > 1:
            assert standardised(narrow, here)[0].tolist() == scores[row, own].tolist()
        assert tenths(panel.paid.carry[row : row + 1, own], here)[0].tolist() == ranks[row, own].tolist()


@few
@given(markets, st.floats(0.05, 0.5))
def test_all_profit_is_somebodys_and_a_symbol_that_vanished_was_traded_away(
    candles: pl.DataFrame, turnover: float
) -> None:
    result = backtest(candles, carry(candles, turnover=turnover))
    last = candles["close_time"].max()
    ended = candles.group_by("symbol").agg(pl.col("close_time").max().alias("end")).filter(pl.col("end") < last)
    ends = dict(ended.iter_rows())
    for report in result.closes:
        gone = [symbol for symbol, end in ends.items() if end <= report.close]
        assert not [symbol for symbol in gone if report.positions.get(symbol)]
    parts = shares(result.fills, result.forced, result.bookings, result.closes)
    assert sum((part.net for part in parts), Decimal(0)) == result.closes[-1].equity - result.start_equity
    symbols = {symbol for report in result.closes for symbol in report.positions}
    for symbol in symbols:
        traded = sum((e.quantity for _, e in result.fills if e.symbol == symbol), Decimal(0))
        assert traded == result.closes[-1].positions.get(symbol, Decimal(0))
