"""What a rule earned after costs and funding, by hand."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import numpy as np
import polars as pl
import pytest

from tests.unit.forecast_frames import INTERVAL, START, frame_of
from trader.errors import DataError
from trader.execution.fills import Costs
from trader.market.funding import require_funding
from trader.research.dataset import supervised
from trader.research.evidence.earnings import Candles, held, net, per_side, performance
from trader.research.evidence.folds import walk_after_costs
from trader.research.walkforward import Windows


def funding(*rates: tuple[datetime, float]) -> pl.DataFrame:
    return pl.DataFrame(
        {
            "symbol": ["ADAUSDT"] * len(rates),
            "funding_time": [at for at, _ in rates],
            "funding_rate": [r for _, r in rates],
        },
        schema={"symbol": pl.String, "funding_time": pl.Datetime("ms", "UTC"), "funding_rate": pl.Float64},
    )


def test_a_side_is_kept_where_the_forecast_says_nothing() -> None:
    assert held([0.0, 0.2, 0.0, -0.1, 0.0, 0.0, 3.0]).tolist() == [0, 1, 1, -1, -1, -1, 1]
    assert held([]).tolist() == []


def test_a_unit_traded_costs_fee_slippage_and_half_the_spread() -> None:
    assert per_side(Costs(Decimal("0.0005"), Decimal("0.0001"), Decimal("0.0002"))) == pytest.approx(0.0007, rel=1e-15)


def test_funding_is_paid_by_who_holds_at_its_stamp() -> None:
    frame = frame_of([1.0, 2.0, 4.0])
    close = frame["close_time"].to_list()
    # at the first close nobody of these rows holds yet; at a close its own candle pays
    rates = funding((close[0], 0.5), (close[0] + timedelta(hours=8), 0.01), (close[1], 0.02), (close[2], 0.04))
    candles = Candles.of(frame, INTERVAL, rates)
    assert candles.returns.tolist() == [np.log(2.0), np.log(2.0)]
    assert candles.rates == pytest.approx([0.03, 0.04])
    long_then_short = np.array([1.0, -1.0])
    expected = [np.log(2.0) - 0.001 - 0.03, -np.log(2.0) - 0.002 + 0.04]
    assert net(long_then_short, candles, 0.001) == pytest.approx(expected)
    assert Candles.of(frame, INTERVAL, None).rates is None
    inside = frame.with_columns(funding_rate=pl.Series([None, 0.03, 0.04]))
    assert Candles.of(inside, INTERVAL, None).rates == pytest.approx([0.03, 0.04])


def test_funding_that_a_candle_does_not_tell_is_not_known_and_not_nothing() -> None:
    holed = frame_of([1.0, 2.0, 4.0, 3.0]).with_columns(funding_rate=pl.Series([0.5, None, 0.04, 0.02]))
    candles = Candles.of(holed, INTERVAL, None)
    assert candles.part(slice(None)).rates is None
    assert candles.part(slice(1, None)).rates == pytest.approx([0.04, 0.02])


def test_a_performance_counts_what_was_traded() -> None:
    candles = Candles(INTERVAL, [START] * 4, np.array([0.01, -0.02, 0.03, 0.01]), None)
    found = performance(np.array([1.0, -1.0, -1.0, 1.0]), candles, 0.001)
    assert found["total_log_return"] == pytest.approx(0.01)
    assert found["net_log_return"] == pytest.approx(0.01 - 0.001 * (1 + 2 + 2))
    assert found["changes_of_side"] == 3


def test_funding_that_does_not_reach_over_the_window_is_refused() -> None:
    first, last = datetime(2025, 1, 1, tzinfo=UTC), datetime(2025, 2, 1, tzinfo=UTC)
    daily = [(first + timedelta(days=day), 0.1) for day in range(32)]
    require_funding(funding((first - timedelta(days=99), 0.1), *daily), "ADAUSDT", first, last)
    for early, late in ((first + timedelta(days=2), last), (first, last - timedelta(days=2))):
        with pytest.raises(DataError, match=r"does not reach over the closes of 2025-01-01 to 2025-02-01"):
            require_funding(funding((early, 0.1), (late, 0.1)), "ADAUSDT", first, last)
    holed = funding((first, 0.1), (first + timedelta(days=9), 0.1), (last, 0.1))
    with pytest.raises(DataError, match="nothing between 2025-01-01T00:00Z and 2025-01-10T00:00Z"):
        require_funding(holed, "ADAUSDT", first, last)
    with pytest.raises(DataError, match="nothing between 2025-01-10"):
        require_funding(holed, "ADAUSDT", first + timedelta(days=9), last)
    with pytest.raises(DataError, match=r"The funding of BTCUSDT \(none\)"):
        require_funding(funding((first, 0.1)), "BTCUSDT", first, last)


def test_a_fold_is_forecast_by_a_fit_to_what_lies_before_it() -> None:
    steps = [0.01, -0.02, 0.015, -0.01, 0.02, -0.03, 0.01, -0.01, 0.02, -0.015, 0.01]
    frame = frame_of(np.exp(np.cumsum([0.0, *steps])).tolist())
    rows = supervised(frame, (1,))
    candles = Candles.of(frame, INTERVAL, None).part(slice(1, None))
    found = walk_after_costs(rows, candles, "mse", 0.001, Windows(4, 3, 3))
    # the series alternates, so every fit says the opposite of the last return, and a turn is paid at every candle
    assert [fold.first_close for fold in found.folds] == [rows.close_times[4], rows.close_times[7]]
    assert [fold.last_close for fold in found.folds] == [rows.close_times[6], rows.close_times[9]]
    assert found.folds[0].ev == pytest.approx(np.mean(np.abs(steps[5:8])))
    assert found.folds[0].net_ev == pytest.approx(np.mean(np.abs(steps[5:8])) - (0.001 + 0.002 + 0.002) / 3)
    assert found.folds[1].net_ev == pytest.approx(np.mean(np.abs(steps[8:11])) - 0.002)
    assert found.positive == 2
    assert walk_after_costs(rows, candles, "mse", 0.001, Windows(10, 3, 3)).folds == ()
