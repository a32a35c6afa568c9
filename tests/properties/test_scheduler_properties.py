"""The real scheduler on a clock that jumps: every close once, in order, whatever the machine thinks the time is."""

import asyncio
import os
import shutil
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.unit.live.clock import FakeClock
from tests.unit.live.world import CLOSE, INTERVAL, MAX_DELAY, World
from trader.domain.interval import Interval
from trader.journal.rows import Status
from trader.live.scheduler import GridTrigger, VenueScheduler

TWO_YEARS = timedelta(days=2 * 366)
ZONES = ("UTC", "Europe/Berlin", "America/St_Johns", "Pacific/Apia")
MOMENTS = st.datetimes(datetime(2000, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC))


@pytest.fixture
def zone(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    yield
    os.environ.pop("TZ", None)
    time.tzset()


def live_in(name: str) -> None:
    os.environ["TZ"] = name
    time.tzset()


@pytest.mark.parametrize("name", ["UTC", "Europe/Berlin"])
async def test_two_years_of_closes_are_decided_once_each_and_in_order(name: str, tmp_path: Path, zone: None) -> None:
    live_in(name)
    world = World(tmp_path / "journal.db")
    world.clock.patience = 1
    closes = list(INTERVAL.closes(CLOSE, CLOSE + TWO_YEARS))
    world.strategy.wishes = {close: (-1.0) ** (number // 50) for number, close in enumerate(closes)}
    await world.run(end=closes[-1])
    assert [report.close for report in world.reports] == closes
    assert world.statuses() == dict.fromkeys(closes, Status.CLOSED)
    assert [record.decided_at for record in world.journal.decisions()] == closes
    world.agree()
    world.obeyed()
    world.journal.close()


@given(MOMENTS, st.integers(1, 40 * 1440), st.integers(0, 3600), st.sampled_from(ZONES))
@example(datetime(2024, 3, 31, 0, 59, 59, 999999, tzinfo=UTC), 16 * 60, 0, "Europe/Berlin")
@example(datetime(2024, 10, 27, 1, 0, tzinfo=UTC), 60, 0, "Europe/Berlin")
def test_the_next_firing_is_the_first_on_the_grid_after_now(
    moment: datetime, minutes: int, late: int, name: str
) -> None:
    live_in(name)
    try:
        interval, delay = Interval(minutes), timedelta(seconds=late)
        scheduler = VenueScheduler(FakeClock(moment), lambda error: None)
        # how APScheduler asks
        now = datetime.now(scheduler.timezone)
        fires = GridTrigger(interval, scheduler.zone, delay).get_next_fire_time(None, now)
    finally:
        live_in("UTC")
    assert fires.utcoffset() == timedelta(0)
    assert now.replace(tzinfo=UTC) == moment
    due = fires.replace(tzinfo=UTC)
    assert interval.is_close(due - delay)
    assert moment < due <= moment + interval.delta


@pytest.mark.fault(20)
@given(
    suspends=st.lists(st.tuples(st.integers(1, 4), st.integers(0, 16 * 60 - 1)), max_size=4),
    name=st.sampled_from(ZONES),
)
@settings(max_examples=30)
def test_after_any_suspends_every_close_is_decided_or_written_down_once(
    suspends: list[tuple[int, int]], name: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    live_in(name)
    try:
        asyncio.run(_live_through(suspends, tmp_path_factory))
    finally:
        live_in("UTC")


async def _live_through(suspends: list[tuple[int, int]], folders: pytest.TempPathFactory) -> None:
    """Sleep through so many closes, and so many minutes more, several times."""
    folder = folders.mktemp("suspended")
    world = World(folder / "journal.db")
    asleep, last = CLOSE, CLOSE
    for closes, minutes in suspends:
        asleep = last + INTERVAL.delta
        awake = asleep + (closes - 1) * INTERVAL.delta + timedelta(minutes=minutes)
        world.clock.overshoots[asleep] = awake
        last = INTERVAL.floor(awake)
    await world.run(end=last + INTERVAL.delta)
    expected = dict.fromkeys(INTERVAL.closes(CLOSE, last + INTERVAL.delta), Status.CLOSED)
    last = CLOSE
    for closes, minutes in suspends:
        for number in range(1, closes + 1):
            caught_up = number == closes and timedelta(minutes=minutes) <= MAX_DELAY
            expected[last + number * INTERVAL.delta] = Status.CLOSED if caught_up else Status.MISSED
        last += closes * INTERVAL.delta
    assert world.statuses() == expected
    assert [report.close for report in world.reports] == [c for c, s in expected.items() if s is Status.CLOSED]
    world.agree()
    world.journal.close()
    shutil.rmtree(folder)


def test_what_ends_the_wait_or_a_job_is_told() -> None:
    class Broken(FakeClock):
        async def sleep_until(self, moment: datetime) -> None:
            raise ZeroDivisionError("the clock is lost")

    async def work() -> None:
        raise KeyError("the job")

    async def live(clock: FakeClock) -> list[str]:
        told: list[str] = []
        scheduler = VenueScheduler(clock, lambda error: told.append(type(error).__name__))
        trigger = GridTrigger(INTERVAL, scheduler.zone, timedelta(0))
        scheduler.add_job(work, trigger, id="close", misfire_grace_time=None)
        scheduler.start()
        while not told:
            await asyncio.sleep(0)
        scheduler.rest()
        scheduler.shutdown(wait=False)
        await asyncio.sleep(0)
        return told

    assert asyncio.run(live(Broken(CLOSE))) == ["ZeroDivisionError"]
    assert asyncio.run(live(FakeClock(CLOSE)))[0] == "KeyError"
