from datetime import UTC, datetime, timedelta, timezone

import pytest

from trader.domain.interval import Interval
from trader.errors import ConfigError


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "minutes", "canonical"),
    [
        ("16h", 960, "16h"),
        ("12h", 720, "12h"),
        ("30m", 30, "30m"),
        ("7m", 7, "7m"),
        ("1d", 1440, "1d"),
        ("24h", 1440, "1d"),
        ("90m", 90, "90m"),
        ("60m", 60, "1h"),
        (" 4h ", 240, "4h"),
        ("36h", 2160, "36h"),
    ],
)
def test_an_interval_is_read_and_written_in_its_canonical_form(text: str, minutes: int, canonical: str) -> None:
    interval = Interval.parse(text)
    assert interval.minutes == minutes
    assert str(interval) == canonical
    assert Interval.parse(canonical) == interval


@pytest.mark.parametrize(
    "text", ["", "h", "0h", "-1h", "1.5h", "16", "16H", "1w", "1M", "3 d", "1h30m", "١h", "9999999m"]
)
def test_nonsense_is_refused_with_an_example_of_what_to_write(text: str) -> None:
    with pytest.raises(ConfigError, match="write it like 16h, 30m or 1d"):
        Interval.parse(text)


def test_an_interval_shorter_than_a_minute_is_refused() -> None:
    with pytest.raises(ConfigError, match="at least one whole minute"):
        Interval(0)


@pytest.mark.fault(22)
def test_sixteen_hour_closes_walk_midnight_sixteen_and_eight_over_two_days() -> None:
    interval = Interval.parse("16h")
    closes = list(interval.closes(at("2025-05-01T00:00"), at("2025-05-03T00:00")))
    assert [close.strftime("%d %H") for close in closes] == ["01 08", "02 00", "02 16"]
    assert list(interval.closes(closes[0], closes[-1])) == closes
    assert list(interval.closes(closes[0] + timedelta(seconds=1), closes[1] - timedelta(seconds=1))) == []


def test_following_is_strictly_after_a_close_and_ceil_is_not() -> None:
    interval = Interval.parse("12h")
    close = at("2025-05-01T12:00")
    assert interval.following(close) == at("2025-05-02T00:00")
    assert interval.ceil(close) == interval.floor(close) == close
    assert interval.following(close - timedelta(microseconds=1)) == close
    assert interval.ceil(close + timedelta(microseconds=1)) == at("2025-05-02T00:00")
    assert interval.is_close(close)
    assert not interval.is_close(close + timedelta(milliseconds=1))


@pytest.mark.parametrize(
    ("text", "native"),
    [
        ("16h", "8h"),
        ("12h", "12h"),
        ("7m", "1m"),
        ("90m", "30m"),
        ("36h", "12h"),
        ("2d", "1d"),
        ("9m", "3m"),
        ("1d", "1d"),
    ],
)
def test_the_source_is_the_longest_native_interval_that_divides_it(text: str, native: str) -> None:
    assert str(Interval.parse(text).native) == native


def test_candles_per_year_count_365_days() -> None:
    assert Interval.parse("16h").per_year == 547.5
    assert Interval.parse("12h").per_year == 730.0


@pytest.mark.parametrize("moment", [datetime(2025, 5, 1), datetime(2025, 5, 1, tzinfo=timezone(timedelta(hours=2)))])
def test_a_time_that_is_not_aware_utc_is_refused(moment: datetime) -> None:
    interval = Interval.parse("1h")
    for method in (interval.floor, interval.ceil, interval.following, interval.is_close):
        with pytest.raises(ValueError, match="aware UTC"):
            method(moment)
