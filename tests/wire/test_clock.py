"""The venue's clock: corrected wall time, or the embedded exchange's own."""

import asyncio
import datetime as dt
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.wire.fakes import START, Authority, RawServer, http, reset
from trader.errors import ExchangeError
from trader.exchange.clock import StepClock, TapeEnded, WallClock, from_milliseconds, milliseconds
from trader.exchange.loopback import Loopback

SECOND = dt.timedelta(seconds=1)
HOUR = dt.timedelta(hours=1)


class Wall:
    """A wall clock that is stepped by hand, and a sleep that lets it run on."""

    def __init__(self) -> None:
        self.time = START
        self.naps: list[float] = []
        self.steps: dict[int, dt.timedelta] = {}

    def now(self) -> dt.datetime:
        return self.time

    async def sleep(self, seconds: float) -> None:
        self.naps.append(seconds)
        self.time += dt.timedelta(seconds=seconds) + self.steps.get(len(self.naps), dt.timedelta(0))


@given(st.datetimes(dt.datetime(1971, 1, 1), dt.datetime(2100, 1, 1), timezones=st.just(dt.UTC)))
def test_milliseconds_round_down_and_come_back(moment: dt.datetime) -> None:
    back = from_milliseconds(milliseconds(moment))
    assert back <= moment < back + dt.timedelta(milliseconds=1)
    assert milliseconds(back) == milliseconds(moment)


async def test_the_wall_clock_is_corrected_by_what_was_measured() -> None:
    wall = Wall()
    clock = WallClock(wall.now, wall.sleep)
    clock.correct(-5 * SECOND, SECOND / 10)
    assert (clock.now(), clock.local(), clock.error) == (START - 5 * SECOND, START, SECOND / 10)
    await clock.sleep_until(START)
    assert clock.now() >= START


async def test_a_long_sleep_is_taken_in_pieces_of_at_most_twenty_seconds() -> None:
    wall = Wall()
    clock = WallClock(wall.now, wall.sleep)
    await clock.sleep_until(START + HOUR)
    assert max(wall.naps) == 20
    assert clock.now() == START + HOUR


async def test_a_suspend_over_the_moment_makes_a_sleep_late_by_one_piece_at_most() -> None:
    wall = Wall()
    wall.steps[2] = HOUR
    clock = WallClock(wall.now, wall.sleep)
    await clock.sleep_until(START + dt.timedelta(minutes=10))
    assert len(wall.naps) == 2


async def test_a_clock_set_back_makes_a_sleep_longer_and_never_early() -> None:
    wall = Wall()
    wall.steps[1] = -HOUR
    clock = WallClock(wall.now, wall.sleep)
    await clock.sleep_until(START + dt.timedelta(minutes=1))
    assert clock.now() == START + dt.timedelta(minutes=1)
    assert len(wall.naps) > 100


class Exchange(RawServer):
    """Plays on when asked to, until its tape is over; `asked` is what it was asked for."""

    def __init__(self, authority: Authority, end: dt.datetime = START + 1000 * HOUR) -> None:
        super().__init__(authority, *[self._advance] * 1000)
        self.end = milliseconds(end)
        self.asked: list[dt.datetime] = []

    async def _advance(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        to = json.loads(self.requests[-1][self.requests[-1].index("{") :])["to"]
        self.asked.append(from_milliseconds(to))
        answer = {"time": min(to, self.end), "ended": to >= self.end}
        await http(json.dumps(answer))(reader, writer)

    def clock(self, speed: float | None = None) -> StepClock:
        loopback = Loopback(self.port, self.authority.ca_file)
        return StepClock(loopback, control="token", start=START, speed=speed)


async def test_time_stands_still_between_answers_and_follows_their_header(authority: Authority) -> None:
    async with Exchange(authority) as exchange:
        clock = exchange.clock()
        assert clock.now() == clock.local() == START
        clock.heard({"x-sim-time": str(milliseconds(START + SECOND))})
        clock.heard({"x-sim-time": str(milliseconds(START))})
        clock.heard({"x-sim-time": "soon"})
        clock.heard({})
        clock.correct(HOUR, HOUR)
        assert clock.now() == START + SECOND
        assert clock.error == dt.timedelta(0)


async def test_a_sleep_asks_the_exchange_to_play_on_and_takes_its_time(authority: Authority) -> None:
    async with Exchange(authority) as exchange:
        clock = exchange.clock()
        await clock.sleep_until(START + HOUR + dt.timedelta(microseconds=1))
        assert clock.now() == START + HOUR + dt.timedelta(milliseconds=1)
        await clock.sleep_until(START)
        await clock.close()
        assert len(exchange.requests) == 1
        assert exchange.requests[0].startswith("POST /sim/v1/advance HTTP/1.1")


async def test_a_sleep_beyond_the_tape_says_that_it_ended(authority: Authority) -> None:
    async with Exchange(authority, START + HOUR) as exchange:
        clock = exchange.clock()
        await clock.sleep_until(START + HOUR)
        with pytest.raises(TapeEnded, match="2024-03-05 17:00:00Z") as raised:
            await clock.sleep_until(START + 2 * HOUR)
        await clock.close()
    assert raised.value.exit_code == 0


@pytest.mark.parametrize(
    "behaviour", [reset(), http("<html/>"), http("{}"), http('{"code":-1}', "403 Forbidden"), http("[]")]
)
async def test_an_exchange_that_does_not_play_on_is_an_error(authority: Authority, behaviour) -> None:
    async with RawServer(authority, behaviour) as server:
        clock = StepClock(Loopback(server.port, authority.ca_file), control="token", start=START, speed=None)
        with pytest.raises(ExchangeError, match="start it again"):
            await clock.sleep_until(START + HOUR)
        assert clock.now() == START
        await clock.close()


async def test_of_many_sleepers_the_earliest_is_served_first(authority: Authority) -> None:
    woken: list[int] = []
    async with Exchange(authority) as exchange:
        clock = exchange.clock()

        async def sleeper(hours: int) -> None:
            await clock.sleep_until(START + hours * HOUR)
            assert clock.now() == START + hours * HOUR
            woken.append(hours)

        await asyncio.gather(*(sleeper(hours) for hours in (16, 3, 8, 1, 5)))
        await clock.close()
        assert woken == [1, 3, 5, 8, 16]
        assert exchange.asked == [START + hours * HOUR for hours in woken]


async def test_time_does_not_jump_while_somebody_works_but_does_while_the_worker_sleeps(authority: Authority) -> None:
    seen: list[dt.timedelta] = []
    async with Exchange(authority) as exchange:
        clock = exchange.clock()
        alarm = asyncio.create_task(clock.sleep_until(START + 16 * HOUR))
        with clock.working():
            for _ in range(50):
                await asyncio.sleep(0)
            seen.append(clock.now() - START)
            await clock.sleep_until(START + SECOND)
            for _ in range(50):
                await asyncio.sleep(0)
            with clock.working():
                seen.append(clock.now() - START)
            assert not alarm.done()
        await alarm
        seen.append(clock.now() - START)
        await clock.close()
    assert seen == [dt.timedelta(0), SECOND, 16 * HOUR]


async def test_a_sleep_that_is_given_up_holds_nobody_back(authority: Authority) -> None:
    async with Exchange(authority) as exchange:
        clock = exchange.clock()
        with clock.working():
            tasks = [asyncio.create_task(clock.sleep_until(START + hours * HOUR)) for hours in (1, 2, 3)]
            await asyncio.sleep(0)
            for task in tasks[:2]:
                task.cancel()
            await asyncio.gather(*tasks[:2], return_exceptions=True)
        await tasks[2]
        await clock.close()
        assert exchange.asked == [START + 3 * HOUR]


async def test_at_a_speed_a_sleep_takes_its_part_of_real_time_and_ends_on_the_moment(authority: Authority) -> None:
    async with Exchange(authority) as exchange:
        clock = exchange.clock(speed=3_600_000.0)
        early = asyncio.create_task(clock.sleep_until(START + HOUR))
        await clock.sleep_until(START + 2 * HOUR)
        assert early.done()
        assert clock.now() >= START + 2 * HOUR
        await clock.close()
        assert exchange.asked == [START + HOUR, START + 2 * HOUR]


@pytest.mark.fault(18, 19, 20)
def test_a_clock_that_was_set_or_stood_still_is_told_once() -> None:
    wall, ticks = Wall(), [0.0]
    clock = WallClock(wall.now, wall.sleep, lambda: ticks[0])

    def pass_by(seconds: float, ticked: float) -> bool:
        wall.time += dt.timedelta(seconds=seconds)
        ticks[0] += ticked
        return clock.jumped()

    assert [pass_by(20, 20), pass_by(3600, 0), pass_by(20, 20.5), pass_by(-3600, 1), pass_by(1, 1)] == [
        False,
        True,
        False,
        True,
        False,
    ]
