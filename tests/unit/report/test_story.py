from datetime import UTC, datetime, timedelta
from decimal import Decimal

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.report.stories import BOOKINGS, EVERY_8H, HALT, REPORTS, START, TRADES
from trader.research.report.story import closes_of, held_returns, histogram, months, stops_of, thinned


def test_gross_is_net_and_every_cost_and_drawdown_is_from_the_highest_equity() -> None:
    closes, costs = closes_of(REPORTS, TRADES, BOOKINGS, Decimal(1000))
    # Slippage: 1000 bought 0.0001 too dear, 1000 sold 0.0005 too cheap.
    assert costs == pytest.approx({"fees": -1.1, "slippage": -0.6, "funding": -0.5})
    assert closes["gross"].to_list() == pytest.approx([1000.0, 1100.0, 1050.0, 1050.0])
    assert closes["drawdown"].to_list() == pytest.approx([-0.0006, 0.0, 1047.8 / 1098.9 - 1, 1047.8 / 1098.9 - 1])
    assert closes["earned"].to_list() == pytest.approx([-0.0006, 1098.9 / 999.4 - 1, 1047.8 / 1098.9 - 1, 0.0])
    assert closes["exposure"].to_list() == pytest.approx([500 / 999.4, 600 / 1098.9, 0.0, 0.0])
    assert closes["forecast"].to_list() == [0.001, -0.001, 0.001, -0.001]


def test_only_candles_that_began_with_something_held_count_as_returns() -> None:
    closes, _ = closes_of(REPORTS, TRADES, BOOKINGS, Decimal(1000))
    assert held_returns(closes) == closes["earned"].to_list()[1:3]


def test_a_halt_is_told_once_with_its_reason() -> None:
    (stop,) = stops_of([*REPORTS, REPORTS[-1]])
    assert stop == (START + 3 * EVERY_8H.delta, "HALTED", HALT)


def test_a_month_ends_with_the_close_at_its_last_midnight() -> None:
    times = [START, START + timedelta(days=1), START + timedelta(days=1, hours=8), datetime(2025, 1, 2, tzinfo=UTC)]
    closes = pl.DataFrame(
        {"close": pl.Series(times, dtype=pl.Datetime("ms", "UTC")), "equity": [100.0, 110.0, 121.0, 60.5]}
    )
    (first, row, total), (second, other, _) = months(closes, 100.0)
    assert (first, second) == (2024, 2025)
    assert row[:3] == [pytest.approx(0.1), pytest.approx(0.1), None]
    assert total == pytest.approx(0.21)
    assert other[0] == pytest.approx(-0.5)


@given(st.lists(st.floats(-1, 1), max_size=200))
def test_every_return_falls_into_one_bin_and_zero_parts_them(values: list[float]) -> None:
    bins = histogram(values)
    if not any(values):
        assert bins.is_empty()
        return
    assert bins["count"].sum() == len(values)
    assert np.isclose(bins["low"].to_numpy(), 0.0, atol=1e-12).any()


@given(st.lists(st.floats(1, 100), min_size=2, max_size=400), st.integers(10, 100))
def test_a_long_run_is_drawn_with_fewer_points_and_the_same_extremes(equity: list[float], most: int) -> None:
    frame = pl.DataFrame({"equity": equity, "row": range(len(equity))})
    kept = thinned(frame, most)
    assert kept.height <= max(most, len(equity) if len(equity) <= most else most + 2)
    assert (kept["equity"].min(), kept["equity"].max()) == (frame["equity"].min(), frame["equity"].max())
    assert kept["row"].to_list() == sorted(set(kept["row"].to_list()))
    assert (kept["row"][0], kept["row"][-1]) == (0, len(equity) - 1)
