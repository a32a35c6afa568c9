"""A start waits for an exchange that is out, and for nothing that a person has to put right."""

import asyncio
from datetime import datetime, timedelta
from typing import cast

import pytest
from structlog.typing import FilteringBoundLogger

from tests.unit.live.exchange import ADA
from tests.unit.live.steps import Crash, Steps
from tests.unit.live.world import CLOSE, INTERVAL, MAX_DELAY, World
from trader.errors import ConfigError, ExchangeError, Mismatch, RateLimited, Rejected, TraderError, Unreached
from trader.journal.rows import Status
from trader.live.patience import FIRST, LONGEST, Outage, Patience, unless

BOOT = CLOSE - timedelta(minutes=10)
MINUTE = timedelta(minutes=1)


class Hearer:
    """Remembers what it is told of outages, and may say stop."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.told: list[Outage | None] = []
        self.stops_at = 10**6

    def __call__(self, outage: Outage | None) -> None:
        self.told.append(outage)
        if len(self.told) == self.stops_at:
            self.world.daemon.stop()

    @property
    def outages(self) -> list[Outage]:
        return [one for one in self.told if one is not None]


def patient(world: World, *, draw: float = 0.5, idle: bool = True) -> Hearer:
    """Let a world's starts wait, on its own clock."""
    hearer = Hearer(world)

    async def sleep(seconds: float) -> None:
        await world.clock.sleep_until(world.clock.now() + timedelta(seconds=seconds))

    log = cast(FilteringBoundLogger, world.log)
    world.patience = Patience(hearer, lambda: idle, log, sleep, lambda: draw, world.clock.now)
    return hearer


@pytest.mark.fault(30, 58)
@pytest.mark.parametrize("minutes", [1, 2, 9])
async def test_a_start_outlasts_an_exchange_that_is_out_and_decides_the_close(minutes: int, world: World) -> None:
    heard = patient(world)
    world.clock.time = BOOT
    world.exchange.outages = [(BOOT, BOOT + minutes * MINUTE)]
    await world.run(cycles=1)
    assert world.statuses() == {CLOSE: Status.CLOSED}
    assert heard.told[-1] is None
    assert len(heard.told) == len(heard.outages) + 1
    assert {one.since for one in heard.outages} == {BOOT}
    assert [one.tries for one in heard.outages] == list(range(1, len(heard.told)))
    assert len(world.log.said("the exchange answers again")) == 1
    world.agree()


@pytest.mark.fault(2, 30)
async def test_an_order_that_was_on_its_way_is_taken_up_again_once_the_exchange_answers(world: World) -> None:
    heard = patient(world)
    await world.run(cycles=1)

    def die() -> None:
        world.exchange.outages = [(world.clock.now(), world.clock.now() + 5 * MINUTE)]
        raise Crash

    await world.run(Steps(hooks={("answer", 1): die}), cycles=1)
    assert heard.told[-1] is None
    assert heard.outages[-1].tries > 3
    assert world.exchange.position() == -5000
    assert world.statuses() == {CLOSE: Status.CLOSED, CLOSE + INTERVAL.delta: Status.CLOSED}
    world.agree()
    world.obeyed()


async def test_an_exchange_that_is_out_over_a_close_costs_that_close_and_no_other(world: World) -> None:
    heard = patient(world)
    await world.run(cycles=1)
    following = CLOSE + INTERVAL.delta
    world.clock.time = following - MINUTE
    world.exchange.outages = [(world.clock.time, following + MAX_DELAY + MINUTE)]
    await world.run(cycles=1)
    assert heard.outages
    assert world.statuses() == {
        CLOSE: Status.CLOSED,
        following: Status.MISSED,
        following + INTERVAL.delta: Status.CLOSED,
    }


@pytest.mark.parametrize(
    "error",
    [
        Rejected("no such key", code=-2015, status=401),
        Rejected("barred", status=451),
        ConfigError("delisted"),
        Mismatch("another account"),
        ExchangeError("It does not tell about ADAUSDT; check the strategy's symbol."),
    ],
)
async def test_what_a_person_has_to_put_right_ends_a_start_at_once(error: TraderError, world: World) -> None:
    heard = patient(world)
    world.exchange.faults = {("account", 0): error}
    with pytest.raises(type(error), match=str(error)):
        await world.run(cycles=1)
    assert heard.told == []


async def test_a_refusal_after_an_outage_ends_the_start(world: World) -> None:
    heard = patient(world)
    world.exchange.faults = {("sync_clock", 0): Unreached("maintenance"), ("account", 0): ConfigError("delisted")}
    with pytest.raises(ConfigError, match="delisted"):
        await world.run(cycles=1)
    assert len(heard.outages) == 1


async def test_a_ban_told_to_a_start_is_waited_out_before_anything_is_asked(world: World) -> None:
    heard = patient(world)
    until = CLOSE + 3 * MINUTE
    world.exchange.faults = {("account", 0): RateLimited("banned", retry_at=until, status=418)}
    world.boot(cycles=1)
    asked: list[datetime] = []

    def cooldown() -> datetime | None:
        asked.append(world.clock.now())
        return until if heard.told and world.clock.now() < until else None

    world.daemon._cooldown = cooldown
    await world.daemon.run()
    assert [one.why for one in heard.outages] == ["banned"]
    assert world.statuses() == {CLOSE: Status.CLOSED}
    assert world.clock.now() >= until
    assert world.log.said("the exchange wants no request")


@pytest.mark.parametrize(("draw", "share"), [(0.0, 0.8), (0.5, 1.0), (1.0, 1.2)])
async def test_pauses_grow_to_a_minute_and_are_spread(draw: float, share: float, world: World) -> None:
    heard = patient(world, draw=draw)
    world.exchange.outages = [(CLOSE, CLOSE + 6 * MINUTE)]
    await world.run(end=CLOSE)
    expected = [min(FIRST * 2**turn, LONGEST) * share for turn in range(len(heard.outages))]
    tried = [one.again - timedelta(seconds=wait) for one, wait in zip(heard.outages, expected, strict=True)]
    assert tried == [CLOSE] + [one.again for one in heard.outages[:-1]]
    assert expected[-1] == LONGEST * share


@pytest.mark.fault(3)
async def test_a_stop_while_a_start_waits_ends_it_at_once(world: World) -> None:
    heard = patient(world)
    heard.stops_at = 6
    world.exchange.outages = [(CLOSE, CLOSE + timedelta(hours=5))]
    await world.run()
    assert len(heard.outages) == 6
    assert world.clock.now() < heard.outages[-1].again
    assert world.statuses() == {}


@pytest.mark.fault(3, 13)
async def test_a_stop_ends_a_try_that_only_asks_and_waits_for_one_with_an_order_on_its_way(world: World) -> None:
    for idle, ended in ((True, ["cancelled"]), (False, ["done"])):
        stop, came = asyncio.Event(), list[str]()
        patient(world, idle=idle)

        async def begin(stop: asyncio.Event = stop, came: list[str] = came) -> bool:
            asyncio.get_running_loop().call_soon(stop.set)
            try:
                for _ in range(20):
                    await asyncio.sleep(0)
            except asyncio.CancelledError:
                came.append("cancelled")
                raise
            came.append("done")
            return True

        assert await world.patience(begin, stop) is not idle
        assert came == ended


async def test_an_answer_that_arrives_with_the_stop_is_not_thrown_away() -> None:
    stop = asyncio.Event()
    stop.set()

    async def answer() -> str:
        return "here"

    assert await unless(stop, answer()) == "here"


async def test_what_fails_while_it_is_waited_for_is_raised() -> None:
    async def fail() -> None:
        raise Unreached(f"{ADA} is out")

    with pytest.raises(Unreached, match="is out"):
        await unless(asyncio.Event(), fail())
