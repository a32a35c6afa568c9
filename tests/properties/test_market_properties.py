from datetime import UTC, datetime, timedelta

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trader.domain.interval import Interval
from trader.errors import DataError
from trader.market.candles import PRICES, canonical, validate, with_close
from trader.market.resample import resample

HOUR = Interval.parse("1h")


@st.composite
def hourly(draw: st.DrawFn, least: int = 1, most: int = 120) -> pl.DataFrame:
    """Draw a valid frame of hourly candles of one to three symbols that begin and end at their own times."""
    parts = []
    for symbol in ["ADAUSDT", "BTCUSDT", "ETHUSDT"][: draw(st.integers(1, 3))]:
        start = datetime(2025, 1, 1, tzinfo=UTC) + timedelta(hours=draw(st.integers(0, 50)))
        count = draw(st.integers(least, most))
        seed = draw(st.integers(0, 2**32 - 1))
        noise = pl.DataFrame({"row": range(count)}).with_columns(
            (pl.col("row").hash(seed + number) % 1000 / 1000).alias(column)
            for number, column in enumerate((*PRICES, "volume"))
        )
        parts.append(
            noise.select(
                pl.lit(symbol).alias("symbol"),
                (pl.lit(start) + pl.duration(hours="row")).cast(pl.Datetime("ms", "UTC")).alias("open_time"),
                (1.5 + pl.col("open")).alias("open"),
                (2.5 + pl.col("high")).alias("high"),
                (0.5 + pl.col("low")).alias("low"),
                (1.5 + pl.col("close")).alias("close"),
                pl.col("volume") * 1e6,
            )
        )
    return with_close(pl.concat(parts), HOUR)


@given(hourly(), st.integers(2, 30))
def test_two_steps_of_resampling_give_the_prices_of_one(frame: pl.DataFrame, hours: int) -> None:
    middle, target = Interval(60 * hours), Interval(120 * hours)
    direct = resample(frame, HOUR, target)
    through = resample(frame, HOUR, middle)
    if through.is_empty():
        assert direct.is_empty()
        return
    assert resample(through, middle, target).drop("volume").equals(direct.drop("volume"))


@given(hourly(), st.integers(2, 30), st.data())
def test_a_built_candle_never_changes_when_the_future_arrives(
    frame: pl.DataFrame, hours: int, data: st.DataObject
) -> None:
    target = Interval(60 * hours)
    whole = resample(frame, HOUR, target)
    until = data.draw(st.sampled_from(frame["close_time"].to_list()))
    known = frame.filter(pl.col("close_time") <= until)
    assert resample(known, HOUR, target).equals(whole.filter(pl.col("close_time") <= until))


@pytest.mark.fault(65)
@given(hourly(least=2), st.data())
def test_any_order_and_any_repetition_is_made_canonical(frame: pl.DataFrame, data: st.DataObject) -> None:
    rows = list(range(frame.height))
    repeated = data.draw(st.permutations(rows + data.draw(st.lists(st.sampled_from(rows), max_size=5))))
    assert canonical(frame[repeated]).equals(frame)


@pytest.mark.fault(64)
@given(hourly(least=3), st.data())
def test_removing_any_inner_candle_is_noticed(frame: pl.DataFrame, data: st.DataObject) -> None:
    symbol = frame["symbol"]
    inner = [row for row in range(1, frame.height - 1) if symbol[row - 1] == symbol[row] == symbol[row + 1]]
    row = data.draw(st.sampled_from(inner))
    with pytest.raises(DataError, match="gap"):
        validate(pl.concat([frame[:row], frame[row + 1 :]]), HOUR)
