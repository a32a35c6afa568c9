"""The loop: wake, decide once, try again, obey, drain and stop."""

import asyncio
from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal
from itertools import pairwise
from typing import Any

import pytest

from tests.unit.live.clock import ClockEnded
from tests.unit.live.exchange import ADA, REPLIES, flat_candles
from tests.unit.live.steps import Crash, Steps
from tests.unit.live.world import CLOSE, INTERVAL, MAX_DELAY, World
from trader.domain.decision import Limits, State
from trader.errors import ConfigError, DataError, ExchangeError, JournalError, ModelError, NotSent, Rejected
from trader.journal.rows import Outcome, Status

SECOND, MINUTE = timedelta(seconds=1), timedelta(minutes=1)
NEXT = CLOSE + INTERVAL.delta
LAST = CLOSE + 2 * INTERVAL.delta


def reported(world: World) -> list[Any]:
    return [report.close for report in world.reports]


async def test_every_close_is_decided_once_and_in_order(world: World) -> None:
    await world.run(cycles=5)
    assert reported(world) == [CLOSE + step * INTERVAL.delta for step in range(5)]
    assert set(world.statuses().values()) == {Status.CLOSED}
    world.agree()
    world.obeyed()


async def test_it_stops_after_the_last_close_of_its_span(world: World) -> None:
    await world.run(end=LAST)
    assert reported(world) == [CLOSE, NEXT, LAST]


async def test_it_wakes_a_little_after_the_close_where_that_is_asked_for(world: World) -> None:
    world.clock.time = CLOSE - MINUTE
    await world.run(cycles=2, delay=3 * SECOND)
    assert [at for at, request, _ in world.exchange.posts if not request.reduce_only] == [
        CLOSE + 3 * SECOND,
        NEXT + 3 * SECOND,
    ]


@pytest.mark.parametrize(
    ("late", "first"), [(timedelta(0), CLOSE), (MAX_DELAY, CLOSE), (MAX_DELAY + SECOND, NEXT), (-SECOND, CLOSE)]
)
async def test_the_first_close_is_the_last_one_where_that_is_young_enough(
    late: timedelta, first: Any, world: World
) -> None:
    world.clock.time = CLOSE + late
    await world.run(cycles=1)
    assert reported(world) == [first]
    assert list(world.statuses()) == [first]


@pytest.mark.fault(18)
@pytest.mark.parametrize(("late", "status"), [(MAX_DELAY, Status.CLOSED), (MAX_DELAY + SECOND, Status.MISSED)])
async def test_a_late_wake_decides_only_what_is_young_enough(late: timedelta, status: Status, world: World) -> None:
    world.clock.overshoots = {NEXT: NEXT + late}
    await world.run(end=LAST)
    assert world.statuses() == {CLOSE: Status.CLOSED, NEXT: status, LAST: Status.CLOSED}


@pytest.mark.fault(20)
async def test_closes_slept_through_are_written_down_and_only_the_last_is_caught_up(world: World) -> None:
    awake = CLOSE + 4 * INTERVAL.delta
    world.clock.overshoots = {NEXT: awake + MINUTE}
    await world.run(cycles=2)
    assert reported(world) == [CLOSE, awake]
    missed = [close for close, status in world.statuses().items() if status is Status.MISSED]
    assert missed == [CLOSE + step * INTERVAL.delta for step in (1, 2, 3)]
    (said,) = world.log.said("closes missed")
    assert said["count"] == 3


async def test_closes_missed_while_it_was_down_are_written_down_at_the_next_start(world: World) -> None:
    await world.run(cycles=1)
    world.clock.time = CLOSE + 3 * INTERVAL.delta + MAX_DELAY + SECOND
    await world.run(end=CLOSE + 4 * INTERVAL.delta)
    assert list(world.statuses().values()) == [
        Status.CLOSED,
        Status.MISSED,
        Status.MISSED,
        Status.MISSED,
        Status.CLOSED,
    ]


async def test_whoever_wakes_it_during_the_start_waits_for_the_end_of_it(world: World) -> None:
    """Both settle what an earlier life left open, and two who settle one order may send it twice."""
    woken = []
    hooks = {("sync_clock", 0): lambda: woken.append(asyncio.ensure_future(world.daemon._wake()))}
    await world.run(Steps(hooks={**hooks}), cycles=1)
    await woken[0]
    names = world.steps.names
    assert names.index("set_baseline") < names.index("claim")


@pytest.mark.fault(19)
async def test_a_restart_at_the_same_close_decides_nothing_again(world: World) -> None:
    await world.run(cycles=1)
    await world.run(end=NEXT)
    assert reported(world) == [CLOSE, NEXT]


@pytest.mark.fault(19)
async def test_a_clock_set_back_decides_no_older_close(world: World) -> None:
    world.strategy.wishes = {CLOSE: 0.0}
    await world.run(cycles=1)
    world.clock.time = CLOSE - INTERVAL.delta
    await world.run(end=NEXT)
    assert reported(world) == [CLOSE, NEXT]
    assert len(world.log.said("the clock is behind the last close")) == 1


@pytest.mark.fault(59)
@pytest.mark.parametrize(
    ("error", "least", "most"), [(Rejected("no such key", code=-2015), 8, 12), (NotSent("no route"), 38, 50)]
)
async def test_an_exchange_that_says_no_is_asked_ever_less_often(
    error: ExchangeError, least: int, most: int, world: World
) -> None:
    world.exchange.faults = {("candles", turn): error for turn in range(100)}
    await world.run(end=CLOSE)
    assert least <= world.steps.names.count("candles") <= most
    assert world.statuses() == {CLOSE: Status.FAILED}


@pytest.mark.fault(63)
async def test_candles_published_late_are_waited_for(world: World) -> None:
    world.exchange.publish_after = 3 * MINUTE
    await world.run(cycles=1)
    ((at, _, _),) = world.exchange.posts
    assert CLOSE + 3 * MINUTE <= at <= CLOSE + 4 * MINUTE


@pytest.mark.fault(63)
async def test_candles_that_are_never_published_fail_the_close_when_it_is_too_old(world: World) -> None:
    world.exchange.publish_after = INTERVAL.delta
    await world.run(end=CLOSE)
    assert world.statuses() == {CLOSE: Status.FAILED}
    assert world.clock.now() <= CLOSE + MAX_DELAY
    (said,) = world.log.said("close failed")
    assert "not published" in said["error"]


@pytest.mark.fault(64, 65)
@pytest.mark.parametrize("tries", [1, 5, 30])
async def test_candles_with_a_hole_are_asked_for_again_while_the_close_is_young(tries: int, world: World) -> None:
    world.exchange.faults = {("candles", turn): DataError("a gap") for turn in range(tries)}
    await world.run(cycles=1)
    assert world.steps.names.count("candles") == tries + 1
    assert world.statuses() == {CLOSE: Status.CLOSED}
    assert len(world.log.said("close not decided yet")) == tries
    ((at, _, _),) = world.exchange.posts
    assert at <= CLOSE + MAX_DELAY


@pytest.mark.fault(64, 65)
async def test_a_hole_that_stays_fails_the_close_aloud_before_it_is_too_old_and_not_the_daemon(world: World) -> None:
    world.exchange.faults = {("candles", turn): DataError("a gap") for turn in range(44)}
    await world.run(end=NEXT)
    assert world.statuses() == {CLOSE: Status.FAILED, NEXT: Status.CLOSED}
    record = world.journal.decision(CLOSE)
    assert record is not None
    assert record.why == "a gap"
    assert record.finished_at is not None
    assert CLOSE + MAX_DELAY - MINUTE < record.finished_at <= CLOSE + MAX_DELAY
    assert [line["error"] for line in world.log.said("close failed")] == ["a gap"]


@pytest.mark.fault(66)
async def test_an_old_window_is_not_decided_on(world: World) -> None:
    old = flat_candles((ADA,), INTERVAL, CLOSE - INTERVAL.delta, 2)
    world.exchange.candle_frames = [old, old]
    await world.run(cycles=1)
    assert world.steps.names.count("candles") == 3
    assert reported(world) == [CLOSE]


@pytest.mark.fault(59)
@pytest.mark.parametrize("error", [ModelError("NaN"), ConfigError("delisted")])
async def test_what_cannot_be_mended_fails_the_close_and_not_the_daemon(error: Exception, world: World) -> None:
    world.exchange.faults = {("candles", 0): error}
    await world.run(end=NEXT)
    assert world.statuses() == {CLOSE: Status.FAILED, NEXT: Status.CLOSED}
    record = world.journal.decision(CLOSE)
    assert record is not None
    assert record.why == str(error)


async def test_a_failed_close_is_not_tried_again_by_a_restart(world: World) -> None:
    world.exchange.faults = {("candles", 0): ModelError("NaN")}
    await world.run(end=CLOSE)
    await world.run(end=CLOSE)
    assert world.statuses() == {CLOSE: Status.FAILED}


async def test_an_error_nobody_thought_of_ends_the_daemon(world: World) -> None:
    world.exchange.faults = {("candles", 0): ZeroDivisionError()}
    with pytest.raises(ZeroDivisionError):
        await world.run(end=LAST)


async def test_a_journal_that_fails_ends_the_daemon(world: World) -> None:
    def full() -> None:
        raise JournalError("the disk is full")

    with pytest.raises(JournalError):
        await world.run(Steps(hooks={("record_decision", 0): full}), end=LAST)
    assert world.exchange.posts == []


@pytest.mark.fault(30)
@pytest.mark.parametrize("minutes", [1, 5, 19])
async def test_an_outage_of_minutes_delays_a_close(minutes: int, world: World) -> None:
    await world.run(cycles=1)
    world.exchange.outages = [(NEXT, NEXT + minutes * MINUTE)]
    await world.run(cycles=1)
    assert world.statuses() == {CLOSE: Status.CLOSED, NEXT: Status.CLOSED}
    assert world.clock.now() < NEXT + minutes * MINUTE + MINUTE
    world.agree()


@pytest.mark.fault(30, 58)
async def test_an_outage_longer_than_a_close_is_young_fails_it_and_not_the_daemon(world: World) -> None:
    await world.run(cycles=1)
    world.exchange.outages = [(NEXT, NEXT + timedelta(hours=1))]
    await world.run(end=LAST)
    assert world.statuses() == {CLOSE: Status.CLOSED, NEXT: Status.FAILED, LAST: Status.CLOSED}


@pytest.mark.fault(30)
@pytest.mark.parametrize("step", ["send", "answer"])
async def test_an_outage_that_begins_with_an_order_leaves_one_effect(step: str, world: World) -> None:
    def vanish() -> None:
        world.exchange.outages = [(world.clock.now(), world.clock.now() + 10 * MINUTE)]

    await world.run(Steps(hooks={(step, 0): vanish}), cycles=1)
    assert world.statuses() == {CLOSE: Status.CLOSED}
    assert world.exchange.position() == 5000
    world.agree()
    world.obeyed()


async def test_a_decision_whose_orders_are_uncertain_is_followed_until_the_next_close_is_due(world: World) -> None:
    def vanish() -> None:
        world.exchange.outages = [(CLOSE, CLOSE + timedelta(hours=5))]

    await world.run(Steps(hooks={("answer", 0): vanish}), cycles=1)
    assert world.statuses() == {CLOSE: Status.CLOSED}
    assert world.clock.now() < CLOSE + timedelta(hours=5) + MINUTE
    world.agree()


async def test_an_outage_while_an_earlier_decision_is_finished_does_not_cost_the_next_close(world: World) -> None:
    def vanish() -> None:
        world.exchange.outages = [(CLOSE, NEXT + 5 * MINUTE)]

    await world.run(Steps(hooks={("answer", 0): vanish}), cycles=1)
    assert world.statuses() == {CLOSE: Status.CLOSED, NEXT: Status.CLOSED}
    assert world.exchange.position() == -5000
    world.agree()


async def test_an_order_turned_away_for_minutes_is_sent_while_the_decision_is_young(world: World) -> None:
    world.exchange.plan = [REPLIES["not_sent"]] * 12
    await world.run(cycles=1)
    assert world.exchange.position() == 5000
    assert world.clock.now() > CLOSE + MINUTE
    world.agree()


async def test_a_mismatch_halts_fails_the_close_and_keeps_the_daemon_alive(world: World) -> None:
    await world.run(cycles=1)
    await world.run(Steps(hooks={("candles", 0): lambda: world.exchange.trade("4")}), end=LAST)
    assert world.statuses() == {CLOSE: Status.CLOSED, NEXT: Status.FAILED, LAST: Status.FAILED}
    assert world.state() is State.HALTED


async def test_a_drawdown_closes_halts_and_stays_so_at_the_next_close_and_start(world: World) -> None:
    world.limits = Limits(Decimal("0.2"), Decimal(1000))
    await world.run(cycles=1)
    world.exchange.prices_now[ADA] = Decimal("0.5")
    await world.run(cycles=2)
    await world.run(cycles=1)
    assert [report.state for report in world.reports] == [State.ACTIVE, State.HALTED, State.HALTED, State.HALTED]
    assert world.exchange.position() == 0
    assert len(world.exchange.posts) == 2


async def test_a_liquidation_between_closes_halts_at_the_next(world: World) -> None:
    await world.run(cycles=1)
    world.exchange.trade("-5000", "autoclose-1")
    await world.run(cycles=1)
    assert world.reports[-1].state is State.HALTED
    assert len(world.exchange.posts) == 1
    world.agree()


async def test_a_close_that_falls_due_while_another_is_under_way_is_decided(world: World) -> None:
    def suspend() -> None:
        world.clock.time = LAST + SECOND

    world.clock.patience = 1
    await world.run(Steps(hooks={("account", 5): suspend}), end=LAST)
    # the close slept through in the middle of its cycle is too old to be decided, and nothing is sent for it
    assert world.statuses() == {CLOSE: Status.CLOSED, NEXT: Status.FAILED, LAST: Status.CLOSED}
    assert [record for record in world.journal.orders() if record.intent.close == NEXT] == []
    assert world.clock.now() < LAST + MINUTE
    world.obeyed()


@pytest.mark.fault(1)
@pytest.mark.parametrize("kind", ["confirmed", "executed", "never", "late", "not_sent"])
async def test_a_death_at_any_step_of_a_run_leaves_the_same_end(kind: str, next_world: Callable[..., World]) -> None:
    async def live(steps: Steps) -> World:
        world = next_world()
        world.exchange.plan = [REPLIES["confirmed"], REPLIES[kind]]
        await world.run(steps, end=NEXT)
        return world

    undisturbed = await live(Steps())
    for death in range(len(undisturbed.steps.names)):
        world = await live(Steps(death))
        world.agree()
        world.obeyed()
        assert world.statuses() == {CLOSE: Status.CLOSED, NEXT: Status.CLOSED}
        assert world.ours() == undisturbed.ours()
        assert all(one < other for one, other in pairwise(sorted(set(reported(world)))))


async def test_a_death_is_not_caught_by_the_loop(world: World) -> None:
    world.boot(Steps(12))
    with pytest.raises(Crash):
        await world.daemon.run()


async def test_a_clock_that_ends_while_a_close_is_tried_again_ends_the_daemon(world: World) -> None:
    world.exchange.publish_after = INTERVAL.delta
    world.clock.ends = CLOSE + 5 * MINUTE
    with pytest.raises(ClockEnded):
        await world.run()
    assert world.statuses() == {CLOSE: Status.CLAIMED}


async def test_a_close_left_decided_is_finished_by_a_start_however_late(world: World) -> None:
    def die() -> None:
        raise Crash

    world.exchange.plan = [REPLIES["executed"]]
    # the first look is for a name that is in use already
    world.boot(Steps(hooks={("find", 1): die}))
    with pytest.raises(Crash):
        await world.daemon.run()
    world.clock.time = NEXT - MINUTE
    await world.run(end=CLOSE)
    assert world.statuses() == {CLOSE: Status.CLOSED}
    assert [record.outcome for record in world.journal.orders()] == [Outcome.CONFIRMED]
    world.agree()


async def test_a_close_left_undecided_is_given_up_by_a_start_that_is_too_late(world: World) -> None:
    def die() -> None:
        raise Crash

    for late, status in ((MAX_DELAY + SECOND, Status.MISSED), (INTERVAL.delta + SECOND, Status.FAILED)):
        close = INTERVAL.floor(world.clock.now())
        world.boot(Steps(hooks={("candles", 0): die}))
        with pytest.raises(Crash):
            await world.daemon.run()
        world.clock.time = close + late
        await world.run(end=close + late)
        assert world.statuses()[close] is status
        world.clock.time = INTERVAL.ceil(world.clock.now())
