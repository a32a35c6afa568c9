"""Requests and signals: obeyed before the next order, never in the middle of one."""

import os
import signal
from collections.abc import Callable
from datetime import datetime, timedelta
from decimal import Decimal

import pytest

from tests.unit.live.exchange import ADA, REPLIES
from tests.unit.live.steps import Steps
from tests.unit.live.world import CLOSE, INTERVAL, SETTLE, World, hook
from trader.domain.decision import Limits, State
from trader.errors import JournalError
from trader.journal.rows import Status

SECOND, MINUTE = timedelta(seconds=1), timedelta(minutes=1)
NEXT = CLOSE + INTERVAL.delta


@pytest.mark.fault(81)
@pytest.mark.parametrize("kind", ["halt", "flatten"])
async def test_a_request_at_any_step_of_a_close_is_obeyed_before_the_next_post(
    kind: str, next_world: Callable[..., World]
) -> None:
    async def live(number: int | None) -> World:
        world = next_world()
        await world.run(cycles=1)
        steps = Steps()
        if number is not None:
            steps.hooks[number] = lambda: world.journal.request(kind, world.clock.now())
        await world.run(steps, end=NEXT, poll=0.0)
        return world

    names = (await live(None)).steps.names
    for number, name in enumerate(names):
        if name not in {"mark_sent", "send"}:
            world = await live(number)
            world.agree()


async def test_a_flatten_between_closes_is_done_at_once(world: World) -> None:
    def ask() -> None:
        world.journal.request("flatten", world.clock.now())

    world.clock.patience = 20
    await world.run(Steps(hooks={("finish", 0): ask}), end=NEXT, poll=0.0)
    assert world.exchange.position() == 0
    assert world.state() is State.HALTED
    assert world.journal.pending_requests() == []
    assert world.exchange.posts[-1][0] == CLOSE + SETTLE
    world.agree()


async def test_a_flatten_is_obeyed_while_a_close_is_tried_again(world: World) -> None:
    await world.run(cycles=1)
    world.exchange.publish_after = timedelta(hours=1)
    await world.run(Steps(hooks={("candles", 1): hook(world, "flatten")}), end=NEXT)
    assert world.exchange.position() == 0
    assert world.exchange.posts[-1][0] < NEXT + MINUTE
    assert world.statuses()[NEXT] is Status.FAILED


async def test_a_flatten_that_fails_stays_pending_and_is_tried_again(world: World) -> None:
    await world.run(cycles=1)
    world.journal.request("flatten", world.clock.now())
    world.exchange.plan = [REPLIES["rejected"], REPLIES["rejected"]]
    world.clock.patience = 100
    await world.run(end=NEXT, poll=0.0)
    assert world.exchange.position() == 0
    assert world.journal.pending_requests() == []
    assert len(world.log.said("close failed")) == 2


async def test_a_resume_asked_for_after_a_flatten_trades_again_at_the_next_close(world: World) -> None:
    await world.run(cycles=1)
    world.journal.request("flatten", world.clock.now())
    world.journal.request("resume", world.clock.now())
    await world.run(end=NEXT)
    assert world.state() is State.ACTIVE
    assert [request.quantity for _, request, _ in world.exchange.posts] == [5000, -5000, -5000]


async def test_requests_made_one_after_the_other_are_all_done_at_the_next_wake(world: World) -> None:
    await world.run(cycles=1)
    for kind in ("flatten", "resume", "flatten", "halt"):
        world.journal.request(kind, world.clock.now())
    await world.run(end=NEXT)
    assert world.journal.pending_requests() == []
    assert world.state() is State.HALTED
    assert len(world.log.said("flattened")) == 2
    assert [request.quantity for _, request, _ in world.exchange.posts] == [5000, -5000]


async def test_a_request_left_while_nobody_ran_is_obeyed_by_the_next_start(world: World) -> None:
    await world.run(cycles=1)
    world.journal.request("halt", world.clock.now())
    await world.run(end=NEXT)
    assert world.reports[-1].state is State.HALTED
    assert len(world.exchange.posts) == 1


@pytest.mark.fault(3)
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_during_a_close_lets_its_orders_come_to_their_end(number: int, world: World) -> None:
    await world.run(cycles=1)
    await world.run(Steps(hooks={("send", 0): lambda: os.kill(os.getpid(), number)}))
    assert world.statuses() == {CLOSE: Status.CLOSED, NEXT: Status.CLOSED}
    assert world.exchange.position() == -5000
    world.agree()


async def test_a_stop_during_the_orders_of_a_flatten_lets_them_come_to_their_end(world: World) -> None:
    world.clock.patience = 20
    hooks = {("finish", 0): hook(world, "flatten"), ("send", 1): lambda: world.daemon.stop()}
    await world.run(Steps(hooks={**hooks}), poll=0.0)
    assert world.clock.now() == CLOSE + SETTLE
    assert world.exchange.position() == 0
    assert world.journal.pending_requests() == []
    world.agree()


async def test_a_stop_lets_no_more_time_pass(world: World) -> None:
    await world.run(Steps(hooks={("finish", 0): lambda: world.daemon.stop()}))
    assert world.clock.now() == CLOSE + SETTLE
    assert list(world.statuses()) == [CLOSE]


async def test_a_signal_during_start_up_decides_nothing(world: World) -> None:
    await world.run(Steps(hooks={("sync_clock", 0): lambda: os.kill(os.getpid(), signal.SIGTERM)}))
    assert world.statuses() == {}


@pytest.mark.fault(3)
@pytest.mark.parametrize("reason", ["outage", "candles"])
async def test_a_signal_while_a_close_is_tried_again_leaves_it_to_the_next_start(reason: str, world: World) -> None:
    await world.run(cycles=1)
    if reason == "outage":
        world.exchange.outages = [(NEXT, NEXT + 10 * MINUTE)]
    else:
        world.exchange.publish_after = 10 * MINUTE
    stop = {("candles" if reason == "candles" else "sync_clock", 3): lambda: os.kill(os.getpid(), signal.SIGTERM)}
    await world.run(Steps(hooks={**stop}))
    assert world.clock.now() < NEXT + MINUTE
    assert world.statuses()[NEXT] is Status.CLAIMED
    world.clock.time = NEXT + 11 * MINUTE
    await world.run(cycles=1)
    assert world.statuses()[NEXT] is Status.CLOSED


@pytest.mark.fault(4)
async def test_a_second_signal_leaves_at_once(world: World) -> None:
    world.boot()
    world.daemon.stop()
    with pytest.raises(SystemExit) as left:
        world.daemon._signalled(signal.SIGTERM)
    assert left.value.code == 128 + signal.SIGTERM


@pytest.mark.fault(37, 38)
@pytest.mark.parametrize("stopped", [False, True])
async def test_a_start_asks_nothing_while_the_exchange_wants_no_request(stopped: bool, world: World) -> None:
    end = CLOSE + timedelta(hours=3)
    world.boot(cycles=1)
    world.clock.patience = 20
    names = world.steps.names
    asked: list[int] = []

    def cooldown() -> datetime | None:
        asked.append(len(names))
        if stopped and world.clock.now() == CLOSE:
            os.kill(os.getpid(), signal.SIGTERM)
        return end if world.clock.now() < end else None

    world.daemon._cooldown = cooldown
    await world.daemon.run()
    assert asked[-1] == asked[0]
    assert world.log.said("the exchange wants no request") == [{"until": end.isoformat()}]
    assert world.clock.now() == (CLOSE if stopped else NEXT)
    assert bool(world.reports) is not stopped


async def test_requests_that_cannot_be_read_end_the_daemon(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def unreadable(self: object) -> None:
        raise JournalError("the disk does not accept it")

    def break_it() -> None:
        monkeypatch.setattr(type(world.journal), "pending_requests", unreadable)

    world.clock.patience = 20
    with pytest.raises(JournalError):
        await world.run(Steps(hooks={("finish", 0): break_it}), poll=0.0)
    assert world.clock.now() == CLOSE + SETTLE


async def test_a_resume_asked_for_during_a_close_does_not_lift_the_halt_that_close_comes_to(world: World) -> None:
    world.limits = Limits(Decimal("0.1"), Decimal(1000))
    world.strategy.wishes = {CLOSE + step * INTERVAL.delta: 1.0 for step in range(3)}
    await world.run(end=CLOSE)
    world.exchange.prices_now[ADA] /= 2
    # after the look at requests, before the decision
    await world.run(Steps(hooks={("candles", 0): hook(world, "resume")}), end=CLOSE + 2 * INTERVAL.delta)
    assert world.state() is State.HALTED
    assert world.exchange.position() == 0
    assert len(world.log.said("resume overtaken")) == 1


async def test_a_resume_left_while_nobody_ran_does_not_lift_what_the_start_finds(world: World) -> None:
    world.strategy.wishes = {CLOSE + step * INTERVAL.delta: 1.0 for step in range(3)}
    await world.run(end=CLOSE)
    world.journal.request("resume", world.clock.now())
    world.exchange.trade(str(-world.exchange.position()), "autoclose-1")
    await world.run(end=CLOSE + 2 * INTERVAL.delta)
    assert world.state() is State.HALTED
    assert world.exchange.position() == 0
