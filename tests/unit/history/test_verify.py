from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest

from tests.unit.history.candles_at_hand import EIGHT, HOUR, START, bars
from trader.domain.interval import Interval
from trader.errors import DataError
from trader.market.candles import with_close
from trader.market.resample import resample
from trader.research.history.verify import compare, inspect, read_as_it_is

LATER = datetime(2026, 1, 1, tzinfo=UTC)


def kinds(frame: pl.DataFrame, now: datetime = LATER) -> list[tuple[str, int]]:
    return [(finding.kind, finding.count) for finding in inspect(frame, HOUR, now)]


def with_value(frame: pl.DataFrame, row: int, column: str, value: float | None) -> pl.DataFrame:
    values = frame[column].to_list()
    values[row] = value
    return frame.with_columns(pl.Series(column, values, dtype=frame.schema[column]))


def test_good_candles_have_no_finding() -> None:
    assert kinds(bars(50)) == []


def test_everything_that_is_wrong_is_found_and_not_only_the_first() -> None:
    frame = pl.concat([bars(10), bars(30)[15:20], bars(30)[19:20], bars(30)[22:]])
    frame = with_value(with_value(frame, 3, "high", 1.0), 5, "close", float("nan"))
    assert kinds(frame) == [("impossible", 1), ("impossible", 1), ("gap", 5), ("duplicate", 1), ("gap", 2)]
    gap = next(finding for finding in inspect(frame, HOUR, LATER) if finding.kind == "gap")
    assert gap.close == START + timedelta(hours=16)
    assert gap.what == "5 missing before it, from the close at 2023-12-30T10:00:00Z on"


def test_a_last_bar_that_is_not_closed_is_partial() -> None:
    assert kinds(bars(50), START + timedelta(hours=49, minutes=59)) == [("partial", 1)]
    early = with_close(bars(50).with_columns(
        pl.when(pl.int_range(pl.len()) == 49).then(pl.col("open_time") + timedelta(minutes=7)).otherwise("open_time")
        .cast(pl.Datetime("ms", "UTC")).alias("open_time")
    ), HOUR)  # fmt: skip
    assert kinds(early) == [("partial", 1)]


def test_a_file_is_read_whatever_is_wrong_with_it(tmp_path: Path) -> None:
    path = tmp_path / "ADAUSDT.parquet"
    pl.concat([bars(10)[5:], bars(4)]).drop("close_time").write_parquet(path)
    frame, interval = read_as_it_is(path, None)
    assert interval == HOUR
    assert kinds(frame) == [("unsorted", 1)]


def test_two_sources_are_compared_close_by_close_at_the_longer_interval() -> None:
    here = bars(64)
    there = resample(here, HOUR, EIGHT)
    assert compare(here, HOUR, there, EIGHT) == []
    assert compare(there, EIGHT, here, HOUR) == []
    other = with_value(with_value(there, 2, "close", 105.5), 4, "volume", 81.0)
    first, second = compare(here, HOUR, other, EIGHT)
    assert (first.kind, first.close, first.what) == (
        "different", START + timedelta(hours=24), f"close {there['close'][2]:.10g} against 105.5",
    )  # fmt: skip
    assert second.what == "volume 80 against 81"


def test_a_candle_that_one_source_lacks_is_told() -> None:
    here, there = bars(64), resample(bars(64), HOUR, EIGHT)
    (absent,) = compare(here.filter(pl.int_range(pl.len()) != 20), HOUR, there, EIGHT)
    assert (absent.kind, absent.close) == ("missing_here", START + timedelta(hours=24))
    (absent,) = compare(here, HOUR, there.filter(pl.int_range(pl.len()) != 3), EIGHT)
    assert (absent.kind, absent.close) == ("missing_there", START + timedelta(hours=32))


def test_only_the_stretch_that_both_cover_is_compared() -> None:
    assert compare(bars(64), HOUR, bars(100)[30:], HOUR) == []


@pytest.mark.parametrize(
    ("there", "interval", "reason"),
    [
        (bars(40, interval=Interval(90)), Interval(90), "cannot be compared"),
        (bars(40, symbol="BTCUSDT"), HOUR, "no whole candle in common"),
        (bars(40, start=START + timedelta(days=40)), HOUR, "no whole candle in common"),
    ],
)
def test_sources_with_nothing_in_common_are_refused(there: pl.DataFrame, interval: Interval, reason: str) -> None:
    with pytest.raises(DataError, match=reason):
        compare(bars(40), HOUR, there, interval)
