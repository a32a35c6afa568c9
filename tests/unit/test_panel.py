from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest

from tests.unit.perpetuals_at_hand import DAY, START, perpetuals
from trader.domain.interval import Interval
from trader.errors import DataError
from trader.market.funding import with_funding
from trader.market.panel import (
    PaidByLongs,
    closes_of,
    excluding,
    liquidity_tenths,
    panel_of,
    rolling_mean,
    unfunded,
    with_dollar_volume,
)
from trader.market.resample import resample
from trader.sim.tape import tape_from_frames

HOUR = timedelta(hours=1)


def candle_hours(symbol: str, hours: int, start: datetime = START) -> pl.DataFrame:
    times = [start + number * HOUR for number in range(hours)]
    return pl.DataFrame({"symbol": symbol, "open_time": times, "close_time": [time + HOUR for time in times]})


def stamps(symbol: str, hours: list[float], rates: list[float]) -> pl.DataFrame:
    times = [START + hour * HOUR for hour in hours]
    return pl.DataFrame(
        {"symbol": symbol, "funding_time": pl.Series(times, dtype=pl.Datetime("ms", "UTC")), "funding_rate": rates}
    )


def test_a_symbol_stands_in_a_panel_from_its_first_candle_to_its_last() -> None:
    candles = perpetuals(1, 12, 30)
    panel = panel_of(candles, DAY)
    assert panel.close.shape == (30, 12)
    assert closes_of(panel)[0] == START + timedelta(days=1)
    for column, symbol in enumerate(panel.symbols):
        own = candles.filter(pl.col("symbol") == symbol)
        assert panel.close[panel.listed[:, column], column].tolist() == own["close"].to_list()
        assert np.flatnonzero(panel.listed[:, column]).tolist() == [
            (close - START) // timedelta(days=1) - 1 for close in own["close_time"]
        ]
    # some begin late, and some end early and stay
    assert not panel.listed[0].all()
    assert not panel.listed[-1].all()


def test_a_return_never_reaches_over_a_listing() -> None:
    panel = panel_of(perpetuals(1, 12, 30), DAY)
    first = panel.listed.argmax(axis=0)
    assert np.isnan(panel.returns()[first, range(12)]).all()
    assert np.isfinite(panel.returns()[first + 1, range(12)]).all()


def test_a_symbol_with_a_hole_is_left_out_by_name_and_nothing_is_filled() -> None:
    candles = perpetuals(2, 5, 20)
    holed = candles.filter(~((pl.col("symbol") == "S01USDT") & (pl.col("open_time") == START + timedelta(days=7))))
    left, why = excluding(holed, DAY)
    assert sorted(left["symbol"].unique()) == ["S00USDT", "S02USDT", "S03USDT", "S04USDT"]
    assert list(why) == ["S01USDT"]
    assert "2023-01-09" in why["S01USDT"]
    assert "missing" in why["S01USDT"]
    assert excluding(candles, DAY) == (candles, {})


def test_a_symbol_of_which_no_funding_is_known_is_named() -> None:
    candles = perpetuals(2, 3, 20)
    blind = candles.with_columns(
        funding_rate=pl.when(pl.col("symbol") == "S02USDT").then(None).otherwise(pl.col("funding_rate"))
    )
    assert list(unfunded(blind)) == ["S02USDT"]
    assert list(unfunded(candles.drop("funding_rate"))) == ["S00USDT", "S01USDT", "S02USDT"]


def test_no_panel_is_made_of_nothing() -> None:
    with pytest.raises(DataError, match="no candles"):
        panel_of(perpetuals(2, 3, 20).clear(), DAY)


def test_tenths_by_volume_count_only_what_is_old_enough() -> None:
    panel = panel_of(perpetuals(3, 20, 30), DAY)
    ranks = liquidity_tenths(panel, 5, 4)
    seasoned = np.cumsum(panel.listed, axis=0) >= 4
    assert ((ranks > 0) == (panel.listed & seasoned)).all()
    for row in range(4, 30):
        here = np.flatnonzero(ranks[row])
        mean = [np.nanmean(panel.dollar_volume[max(0, row - 4) : row + 1, column]) for column in here]
        order = here[np.argsort(mean)]
        assert ranks[row, order].tolist() == [-(-10 * (place + 1) // len(here)) for place in range(len(here))]


def test_a_mean_of_the_last_values_depends_on_nothing_before_them() -> None:
    values = np.random.default_rng(1).lognormal(10, 3, size=(300, 4))
    assert (rolling_mean(values, 30, 1)[-1] == rolling_mean(values[-30:], 30, 1)[-1]).all()


def test_funding_of_changing_intervals_is_summed_over_the_candle_that_ends_with_it() -> None:
    # every eight hours, then four, then one
    hours = [0, 8, 16, 20, 24, 25, 26, 27, 28]
    rates = [0.5, 1, 2, 4, 8, 16, 32, 64, 128]
    paid = with_funding(candle_hours("AUSDT", 28), stamps("AUSDT", hours, [float(rate) for rate in rates]))
    expected = {8: 1.0, 16: 2.0, 20: 4.0, 24: 8.0, 25: 16.0, 26: 32.0, 27: 64.0, 28: 128.0}
    assert paid["funding_rate"].to_list() == [expected.get(hour, 0.0) for hour in range(1, 29)]


def test_a_stamp_that_comes_some_milliseconds_late_belongs_to_its_minute() -> None:
    late = stamps("AUSDT", [8 + 7 / 3_600_000, 16 + 12 / 3_600_000], [1.0, 2.0])
    paid = with_funding(candle_hours("AUSDT", 16), late)["funding_rate"].to_list()
    assert (paid[7], paid[15]) == (1.0, 2.0)


def test_funding_with_a_stamp_missing_is_unknown_and_not_zero() -> None:
    paid = with_funding(candle_hours("AUSDT", 40), stamps("AUSDT", [0, 8, 24, 32, 40], [1.0, 1.0, 1.0, 1.0, 1.0]))
    known = paid["funding_rate"].is_not_null().to_list()
    # the stamp at 16 is missing: from then on nobody knows, until one is told again and a candle begins after it
    assert known == [hour < 16 or hour > 24 for hour in range(1, 41)]


def test_before_the_first_stamp_and_after_the_last_nothing_is_known() -> None:
    candles = pl.concat([candle_hours("AUSDT", 40), candle_hours("BUSDT", 40)])
    paid = with_funding(candles, stamps("AUSDT", [16, 24], [1.0, 2.0]))
    own = paid.filter(pl.col("symbol") == "AUSDT")["funding_rate"].to_list()
    assert own == [None] * 15 + [1.0] + [0.0] * 7 + [2.0] + [0.0] * 7 + [None] * 9
    assert paid.filter(pl.col("symbol") == "BUSDT")["funding_rate"].null_count() == 40


def test_the_convention_of_funding_is_said_by_how_it_is_made() -> None:
    paid = PaidByLongs(np.array([0.0003, -0.0001]))
    assert paid.carry.tolist() == [-0.0003, 0.0001]
    assert PaidByLongs.of_received(np.array([-0.0003, 0.0001])).carry.tolist() == paid.carry.tolist()


def test_dollar_volume_without_a_quote_volume_is_volume_times_the_mean_price_bar_by_bar() -> None:
    candles = perpetuals(4, 3, 10).drop("quote_volume").with_columns(volume=pl.lit(3.0))
    panel = panel_of(candles, DAY)
    exchange = tape_from_frames(candles, None, name="basket").series
    for column, symbol in enumerate(panel.symbols):
        known = panel.dollar_volume[:, column]
        assert known[np.isfinite(known)].tolist() == exchange[symbol].quote
    twice = resample(with_dollar_volume(candles), DAY, Interval.parse("2d"))
    (bars,) = candles.filter(pl.col("symbol") == "S00USDT").partition_by("symbol")
    means = bars.select(pl.mean_horizontal("open", "high", "low", "close")).to_series()
    whole = twice.filter(pl.col("symbol") == "S00USDT")
    first = bars["open_time"].to_list().index(whole["open_time"][0])
    assert whole["quote_volume"][0] == pytest.approx(3.0 * (means[first] + means[first + 1]))
    assert START.tzinfo is UTC
