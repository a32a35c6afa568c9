import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.history.candles_at_hand import EIGHT, HOUR, START, bars
from trader.domain.interval import Interval
from trader.errors import ConfigError, DataError
from trader.market.candles import parse_candles
from trader.research.history.store import Store


def test_what_was_kept_comes_back_across_years(tmp_path: Path) -> None:
    store = Store(tmp_path)
    assert store.add(HOUR, bars(100)) == 100
    assert sorted(path.name for path in (tmp_path / "candles/ADAUSDT/1h").iterdir()) == ["2023.parquet", "2024.parquet"]
    assert store.bars("ADAUSDT", HOUR).equals(bars(100))
    assert store.candles("ADAUSDT", HOUR, START + timedelta(hours=2), START + timedelta(hours=60)).equals(
        bars(100)[2:60]
    )
    assert store.candles("ADAUSDT", Interval.parse("16h"))["close_time"].to_list()[:2] == [
        datetime(2023, 12, 31, tzinfo=UTC),
        datetime(2023, 12, 31, 16, tzinfo=UTC),
    ]


def test_a_file_of_the_store_is_a_candle_file_like_any_other(tmp_path: Path) -> None:
    Store(tmp_path).add(HOUR, bars(30))
    (path,) = (tmp_path / "candles/ADAUSDT/1h").glob("2023.parquet")
    assert parse_candles(path.read_bytes(), path.name).equals(bars(30))


def test_the_same_candles_again_change_nothing_and_others_are_refused(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.add(HOUR, bars(30))
    assert store.add(HOUR, bars(40)) == 10
    other = bars(50).with_columns(pl.when(pl.col("open") > 100).then(99.5).otherwise(pl.col("close")).alias("close"))
    with pytest.raises(DataError, match=r"has close 99.5, but the store has .* import it with --replace"):
        store.add(HOUR, other)
    assert store.bars("ADAUSDT", HOUR).equals(bars(40))
    assert store.add(HOUR, other, replace=True) == 10
    assert store.bars("ADAUSDT", HOUR).equals(other)


def test_a_quote_volume_that_was_not_known_is_added_and_rounding_is_no_contradiction(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.add(HOUR, bars(5).drop("quote_volume"))
    assert "quote_volume" not in store.bars("ADAUSDT", HOUR).columns
    store.add(HOUR, bars(5).with_columns(pl.col("volume") + 1e-9))
    assert store.bars("ADAUSDT", HOUR).equals(bars(5))


def test_a_gap_is_named_and_no_candle_is_built_over_it(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.add(HOUR, pl.concat([bars(10), bars(40)[20:]]))
    with pytest.raises(DataError, match=r"^In the store: The ADAUSDT 1h candle that opens at 2023-12-30T20.* gap"):
        store.candles("ADAUSDT", EIGHT)
    assert [one.missing for one in store.holdings()] == [10]


def test_a_symbol_or_interval_that_is_not_there_is_refused_with_the_command_that_fetches_it(tmp_path: Path) -> None:
    store = Store(tmp_path)
    with pytest.raises(DataError, match=r"no candles of ADAUSDT.*trader history pull --symbol ADAUSDT --interval 8h"):
        store.candles("ADAUSDT", EIGHT)
    store.add(HOUR, bars(30))
    with pytest.raises(DataError, match="only 1h candles"):
        store.candles("ADAUSDT", Interval.parse("30m"))
    with pytest.raises(DataError, match="no symbol of the exchange"):
        store.candles("../etc", HOUR)
    with pytest.raises(DataError, match="no whole 8h candle of ADAUSDT in that window"):
        store.candles("ADAUSDT", EIGHT, START + timedelta(hours=1), START + timedelta(hours=9))


def test_candles_are_built_from_the_source_that_covers_most_and_then_from_the_longest(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.add(EIGHT, bars(30, interval=EIGHT))
    store.add(HOUR, bars(24))
    assert store.candles("ADAUSDT", EIGHT).height == 30
    first_day = store.candles("ADAUSDT", EIGHT, START, START + timedelta(days=1))
    assert first_day.equals(bars(3, interval=EIGHT))


@given(held=st.sets(st.integers(0, 60)), first=st.integers(0, 60), length=st.integers(1, 60))
def test_what_is_missing_is_exactly_what_is_not_there(
    tmp_path_factory: pytest.TempPathFactory, held: set[int], first: int, length: int
) -> None:
    store = Store(tmp_path_factory.mktemp("store"))
    if held:
        store.add(HOUR, bars(61).filter(pl.int_range(pl.len()).is_in(sorted(held))))
    gaps = store.missing("ADAUSDT", HOUR, START + first * HOUR.delta, START + (first + length) * HOUR.delta)
    absent = {
        row
        for begin, stop in gaps
        for row in range(round((begin - START) / HOUR.delta), round((stop - START) / HOUR.delta))
    }
    assert absent == set(range(first, first + length)) - held
    assert all(one[1] < other[0] for one, other in pairwise(gaps))


def test_funding_is_kept_once_and_listed(tmp_path: Path) -> None:
    store = Store(tmp_path)
    times = pl.Series([START, START + timedelta(hours=8)], dtype=pl.Datetime("ms", "UTC"))
    rates = pl.DataFrame({"symbol": ["ADAUSDT"] * 2, "funding_time": times, "funding_rate": [0.0001, -0.0002]})
    assert store.add_funding("ADAUSDT", rates[1:]) == 1
    assert store.add_funding("ADAUSDT", rates) == 1
    assert store.funding("ADAUSDT").equals(rates)
    (held,) = store.holdings()
    assert (held.interval, held.first, held.rows) == (None, START, 2)


def test_a_process_that_dies_while_writing_leaves_the_old_file(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.add(HOUR, bars(30))
    code = f"""
import os, pathlib
from tests.unit.history.candles_at_hand import HOUR, bars
from trader.research.history.store import Store
pathlib.Path.replace = lambda *_: os._exit(9)
Store(pathlib.Path({str(tmp_path)!r})).add(HOUR, bars(40))
"""
    root = Path(__file__).resolve().parents[3]
    died = subprocess.run([sys.executable, "-c", code], cwd=root, check=False)
    assert died.returncode == 9
    assert store.bars("ADAUSDT", HOUR).equals(bars(30))
    assert store.add(HOUR, bars(40)) == 10


def test_a_broken_file_of_the_store_is_named(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.add(HOUR, bars(30))
    path = tmp_path / "candles/ADAUSDT/1h/2023.parquet"
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(DataError, match=r"2023.parquet cannot be read .* pull or import that year again"):
        store.candles("ADAUSDT", HOUR)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_may_not_be_written_is_named(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(ConfigError, match="point TRADER_DATA_DIR"):
        Store(tmp_path / "store").add(HOUR, bars(1))
