"""Candles as the journal keeps them: what a window shares with the one before is not written again."""

from datetime import timedelta

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from tests.unit.perpetuals_at_hand import DAY, START, perpetuals
from trader.live.blocks import cut, joined, paid_of

BARS = perpetuals(3, 8, 30)


def window(last: int, *, days: int = 10, without: str = "") -> pl.DataFrame:
    """Ten candles up to a day, with the funding of the last one alone, as a close is decided on."""
    end = START + timedelta(days=last)
    kept = BARS.filter((pl.col("close_time") <= end) & (pl.col("close_time") > end - days * DAY.delta))
    blind = pl.when(pl.col("close_time") == end).then(pl.col("funding_rate")).alias("funding_rate")
    return kept.filter(pl.col("symbol") != without).with_columns(blind)


@pytest.mark.parametrize("last", [3, 12, 21, 30])
def test_a_frame_is_the_same_again_to_the_last_bit(last: int) -> None:
    frame = window(last)
    texts, without = cut(frame)
    assert without == []
    assert_frame_equal(joined(texts, without, paid_of(frame)), frame, check_exact=True)


def test_a_frame_without_funding_comes_back_without_it() -> None:
    frame = window(12).drop("funding_rate")
    again = joined(*cut(frame), paid_of(frame))
    assert again.columns == frame.columns
    assert_frame_equal(again, frame, check_exact=True)


def test_a_window_that_moved_on_by_a_candle_has_one_new_text() -> None:
    before, _ = cut(window(20))
    after, without = cut(window(21), before)
    assert set(after) - set(before) == {after[-1]}
    # who was delisted that day is in the texts of the days before and not meant any more
    frame = window(21)
    assert_frame_equal(joined(after, without, paid_of(frame)), frame, check_exact=True)


def test_a_symbol_that_is_left_out_once_changes_no_text_of_earlier_closes() -> None:
    before, _ = cut(window(20))
    frame = window(21, without="S01USDT")
    without_it, without = cut(frame, before)
    assert "S01USDT" in without
    assert without_it[:-1] == before[1:]
    assert_frame_equal(joined(without_it, without, paid_of(frame)), frame, check_exact=True)
    again, nobody = cut(window(22), without_it)
    assert "S01USDT" not in nobody
    assert len(set(again) - set(without_it)) == 2


def test_texts_of_other_symbols_alone_are_not_taken_over() -> None:
    frame = window(20)
    others = frame.filter(pl.col("symbol") == "S01USDT")
    ours = frame.filter(pl.col("symbol") == "S00USDT")
    before, _ = cut(others)
    texts, without = cut(ours, before)
    assert without == []
    assert_frame_equal(joined(texts, without, paid_of(ours)), ours, check_exact=True)


def test_a_candle_that_is_told_otherwise_changes_the_text_of_its_close_alone() -> None:
    frame = window(20)
    texts, _ = cut(frame)
    changed = (pl.col("symbol") == "S00USDT") & (pl.col("close_time") == START + timedelta(days=15))
    revised = frame.with_columns(volume=pl.when(changed).then(2.0).otherwise(pl.col("volume")))
    after, _ = cut(revised, texts)
    assert len(set(after) - set(texts)) == 1
    assert_frame_equal(joined(after, (), paid_of(revised)), revised, check_exact=True)


def test_no_texts_are_no_candles() -> None:
    assert joined([]).is_empty()
