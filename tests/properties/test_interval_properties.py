from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from trader.domain.interval import Interval

intervals = st.integers(1, 20_000).map(Interval)
moments = st.datetimes(datetime(1950, 1, 1), datetime(2200, 1, 1), timezones=st.just(UTC))


@given(intervals, moments)
def test_every_moment_lies_between_its_floor_and_the_following_close(interval: Interval, moment: datetime) -> None:
    floor, following = interval.floor(moment), interval.following(moment)
    assert floor <= moment < following
    assert following - floor == interval.delta
    assert interval.is_close(floor)
    assert interval.is_close(following)
    assert interval.ceil(moment) == (floor if floor == moment else following)


@given(intervals, moments, st.integers(0, 50))
def test_closes_are_what_walking_with_following_visits(interval: Interval, first: datetime, count: int) -> None:
    last = first + count * interval.delta
    walked, close = [], interval.ceil(first)
    while close <= last:
        walked.append(close)
        close = interval.following(close)
    assert list(interval.closes(first, last)) == walked


@given(intervals)
def test_text_round_trips(interval: Interval) -> None:
    assert Interval.parse(str(interval)) == interval


@given(intervals, moments)
def test_closes_lie_on_the_grid_of_the_native_source(interval: Interval, moment: datetime) -> None:
    assert interval.minutes % interval.native.minutes == 0
    assert interval.native.is_close(interval.floor(moment))
    assert interval.floor(moment) - timedelta(minutes=interval.minutes) == interval.floor(
        interval.floor(moment) - timedelta(microseconds=1)
    )
