from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import polars as pl
import pytest

from tests.unit.history.candles_at_hand import EIGHT, HOUR, START, bars
from trader.domain.interval import Interval
from trader.errors import DataError, ExchangeError, RateLimited
from trader.research.history.pull import Puller
from trader.research.history.store import Store

NOW = START + timedelta(days=100)


class Venue:
    """A source with one symbol's candles, a clock that sleeps at once, and failures in the order they are given."""

    def __init__(self, candles: pl.DataFrame, *, now: datetime = NOW) -> None:
        self.candles = candles
        self.time = now
        self.asked: list[tuple[datetime, datetime]] = []
        self.failures: list[Exception | None] = []
        self.stamps = [(START + 8 * number * HOUR.delta, Decimal(number)) for number in range(2500)]

    def now(self) -> datetime:
        return self.time

    async def sleep_until(self, moment: datetime) -> None:
        self.time = max(self.time, moment)

    async def klines(self, symbol: str, interval: Interval, start: datetime, end: datetime) -> pl.DataFrame:
        self._answer(start, end)
        assert end - start >= interval.delta
        inside = self.candles.filter((pl.col("open_time") >= start) & (pl.col("close_time") <= end))
        return inside.head(1000)

    async def funding_stamps(self, symbol: str, start: datetime, end: datetime) -> list[tuple[datetime, Decimal]]:
        self._answer(start, end)
        return [one for one in self.stamps if start <= one[0] < end][:1000]

    def _answer(self, start: datetime, end: datetime) -> None:
        self.asked.append((start, end))
        failure = self.failures.pop(0) if self.failures else None
        if failure is not None:
            raise failure


def puller(venue: Venue, store: Store) -> Puller:
    return Puller(venue, venue, store, lambda share, words: None)


async def test_only_what_the_store_lacks_is_asked_for(tmp_path: Path) -> None:
    store, venue = Store(tmp_path), Venue(bars(2400))
    store.add(HOUR, bars(2000)[100:1500])
    assert await puller(venue, store).candles("ADAUSDT", HOUR, START, START + timedelta(hours=2000)) == 600
    assert venue.asked == [
        (START, START + timedelta(hours=100)),
        (START + timedelta(hours=1500), START + timedelta(hours=2000)),
    ]
    venue.asked.clear()
    assert await puller(venue, store).candles("ADAUSDT", HOUR, START, START + timedelta(hours=2000)) == 0
    assert venue.asked == []
    assert store.bars("ADAUSDT", HOUR).equals(bars(2000))


async def test_a_fetch_that_breaks_off_keeps_every_page_that_arrived(tmp_path: Path) -> None:
    store, venue = Store(tmp_path), Venue(bars(2400))
    venue.failures = [None, None, ExchangeError("gone")]
    with pytest.raises(ExchangeError, match="gone"):
        await puller(venue, store).candles("ADAUSDT", HOUR, START, NOW)
    assert store.bars("ADAUSDT", HOUR).height == 2000
    venue.asked.clear()
    assert await puller(venue, store).candles("ADAUSDT", HOUR, START, NOW) == 400
    assert venue.asked == [(START + timedelta(hours=2000), NOW)]


async def test_the_candle_still_open_is_not_asked_for(tmp_path: Path) -> None:
    venue = Venue(bars(2400), now=START + timedelta(hours=12, minutes=59))
    assert await puller(venue, Store(tmp_path)).candles("ADAUSDT", HOUR, START, NOW) == 12
    assert await puller(venue, Store(tmp_path / "other")).candles("ADAUSDT", HOUR, NOW, NOW) == 0


async def test_a_longer_interval_is_fetched_as_its_native_klines(tmp_path: Path) -> None:
    venue, store = Venue(bars(90, interval=EIGHT)), Store(tmp_path)
    assert await puller(venue, store).candles("ADAUSDT", Interval.parse("16h"), START, NOW) == 90
    assert store.intervals("ADAUSDT") == [EIGHT]
    assert store.candles("ADAUSDT", Interval.parse("16h")).height == 44


async def test_before_the_listing_and_over_a_hole_the_next_candles_follow(tmp_path: Path) -> None:
    venue, store = Venue(pl.concat([bars(60)[40:], bars(1200)[70:]])), Store(tmp_path)
    assert await puller(venue, store).candles("ADAUSDT", HOUR, START, START + timedelta(hours=1200)) == 1150
    assert [gap[1] - gap[0] for gap in store.missing("ADAUSDT", HOUR, START, START + timedelta(hours=1200))] == [
        timedelta(hours=40),
        timedelta(hours=10),
    ]


async def test_the_exchange_is_left_alone_for_as_long_as_it_asks(tmp_path: Path) -> None:
    venue = Venue(bars(30))
    venue.failures = [RateLimited("wait", retry_at=NOW + timedelta(minutes=3))]
    assert await puller(venue, Store(tmp_path)).candles("ADAUSDT", HOUR, START, NOW) == 30
    assert venue.time == NOW + timedelta(minutes=3)
    venue.failures = [RateLimited("banned", retry_at=venue.time + timedelta(days=1))]
    with pytest.raises(RateLimited, match="banned"):
        await puller(venue, Store(tmp_path / "other")).candles("ADAUSDT", HOUR, START, NOW)


async def test_an_impossible_candle_of_the_exchange_is_not_kept(tmp_path: Path) -> None:
    store = Store(tmp_path)
    venue = Venue(bars(30).with_columns(pl.when(pl.int_range(pl.len()) == 7).then(1.0).otherwise("high").alias("high")))
    with pytest.raises(DataError, match="opens at 2023-12-30T07:00:00Z and has its high below its low"):
        await puller(venue, store).candles("ADAUSDT", HOUR, START, NOW)
    assert store.symbols() == []


async def test_funding_is_asked_for_before_and_after_what_is_stored(tmp_path: Path) -> None:
    store, venue = Store(tmp_path), Venue(bars(1), now=START + timedelta(days=700))
    middle, late = START + timedelta(days=100), START + timedelta(days=600)
    assert await puller(venue, store).funding("ADAUSDT", middle, middle + timedelta(days=1)) == 3
    venue.asked.clear()
    assert await puller(venue, store).funding("ADAUSDT", START, late) == 1797
    assert venue.asked[0] == (START, middle)
    assert all(begin > middle for begin, _ in venue.asked if begin != START and begin >= middle)
    assert store.funding("ADAUSDT")["funding_rate"].to_list() == [float(number) for number in range(1800)]
    assert store.funding("ADAUSDT")["funding_time"][0] == datetime(2023, 12, 30, tzinfo=UTC)
