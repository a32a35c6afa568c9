"""A stop that triggers is known for ours, explained, and never doubles or turns a position."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

import pytest

from tests.unit.live.exchange import ADA, SILENT, Reply
from tests.unit.live.guarded import BTC, FIFTH, NEXT, SECOND, dies, guard, protect, protected, told, triggers
from tests.unit.live.steps import Crash, Steps
from tests.unit.live.world import CLOSE, INSTANCE, INTERVAL, World
from trader.domain.decision import State
from trader.errors import ExchangeError, Mismatch
from trader.execution.reconcile import Policies
from trader.journal.rows import Status
from trader.live.protection import Protection, StopTerms


@pytest.mark.fault(54)
@pytest.mark.parametrize("carries_name", [True, False])
@pytest.mark.parametrize("alive", [True, False])
async def test_a_stop_that_triggers_between_two_closes_is_known_for_ours_and_halts(
    alive: bool, carries_name: bool, guarded: World
) -> None:
    guarded.stops.carries_name = carries_name
    if alive:
        guarded.exchange._later.append((CLOSE + timedelta(hours=3), lambda: guarded.stops.trigger(ADA)))
        await guarded.run(cycles=2)
    else:
        await guarded.run(cycles=1)
        guarded.stops.trigger(ADA)
        guarded.clock.time = NEXT
        await guarded.run(end=NEXT)
    assert guarded.state() is State.HALTED
    assert "our protective stop" in guarded.journal.state().why
    assert guarded.statuses() == {CLOSE: Status.CLOSED, NEXT: Status.CLOSED}
    assert guarded.exchange.position() == 0
    told(guarded)
    protected(guarded)


async def test_a_stop_that_triggers_may_be_traded_on_where_that_is_the_policy(guarded: World) -> None:
    guarded.policies = Policies(stop="adopt")
    await guarded.run(cycles=1)
    guarded.stops.trigger(ADA)
    guarded.clock.time = NEXT
    await guarded.run(end=NEXT)
    assert guarded.state() is State.ACTIVE
    assert guarded.exchange.position() < 0
    told(guarded)
    protected(guarded)


async def test_a_stop_that_triggers_at_any_step_of_a_close_never_doubles_or_turns_the_position(
    next_world: Callable[..., World],
) -> None:
    struck = 0
    for step in range(60):
        world = guard(next_world())
        await world.run(cycles=1)
        world.clock.time = NEXT

        def strike(world: World = world) -> None:
            if world.stops.waiting():
                world.stops.trigger(ADA)

        await world.run(Steps(hooks={step: strike}), end=NEXT)
        if world.state() is State.HALTED:
            struck += 1
            told(world)
        # the next close is short, and a stop that closed it first leaves nothing
        assert world.exchange.position() in (0, -5000)
        world.clock.time = NEXT + INTERVAL.delta
        await world.run(end=NEXT + INTERVAL.delta)
        world.agree()
        protected(world)
    assert struck > 20


async def test_a_death_at_any_step_after_a_stop_triggered_forgets_nothing(next_world: Callable[..., World]) -> None:
    async def live(death: int | None) -> World:
        world = guard(next_world())
        await world.run(cycles=1)
        world.stops.trigger(ADA)
        world.clock.time = NEXT
        await world.run(Steps(death), end=NEXT)
        return world

    undisturbed = await live(None)
    for death in range(len(undisturbed.steps.names)):
        world = await live(death)
        assert world.state() is State.HALTED
        assert world.ours() == undisturbed.ours()
        told(world)
        protected(world)


async def test_a_stop_that_triggers_while_an_order_is_uncertain_lets_the_order_be_settled(guarded: World) -> None:
    guarded.boot().begin("10")
    await protect(guarded)
    (close,) = guarded.decide(("c", "-10"))
    guarded.exchange.plan = [Reply(effect=False, error=SILENT)]
    guarded.take_steps(Steps(hooks={("find", 0): dies}))
    with pytest.raises(Crash):
        await guarded.recovery.settle_open()
    guarded.stops.trigger(ADA)
    guarded.boot()
    await guarded.recovery.settle_open()
    assert guarded.record(close).final
    assert guarded.exchange.position() == 0
    told(guarded)


async def test_a_stop_whose_order_still_works_is_waited_for(guarded: World) -> None:
    guarded.boot().begin("10")
    await protect(guarded)
    guarded.stops.trigger(ADA, "TRIGGERED", Reply(rests=2))
    finished = replace(guarded.stops.book[0].stop, status="FINISHED")
    guarded.exchange._later.append((CLOSE + 2 * SECOND, lambda: setattr(guarded.stops.book[0], "stop", finished)))
    await protect(guarded)
    told(guarded)
    assert guarded.state() is State.HALTED


async def test_a_stop_that_comes_to_no_end_is_looked_at_again_and_nothing_takes_its_place(guarded: World) -> None:
    guarded.boot().begin("10")
    await protect(guarded)
    guarded.stops.book[0].stop = replace(guarded.stops.book[0].stop, status="TRIGGERING")
    await protect(guarded)
    assert "is TRIGGERING and does not come to an end" in guarded.protection.missing[ADA]
    assert len(guarded.stops.posts) == 1
    assert len(guarded.journal.standing_stops()) == 1


async def test_trades_that_are_told_late_are_waited_for(guarded: World) -> None:
    guarded.boot().begin("10")
    await protect(guarded)
    guarded.stops.trigger(ADA, reply=Reply(lag=3))
    await protect(guarded)
    told(guarded)


async def test_what_never_comes_to_rest_is_said(guarded: World) -> None:
    guarded.boot().begin("10")
    account = await guarded.exchange.account()
    guarded.exchange.account_lag = timedelta(days=1)
    guarded.exchange.trade("-10")
    guarded.journal.set_baseline(
        wallet=Decimal(1),
        equity=Decimal(1),
        positions={},
        last_trades={ADA: guarded.exchange.trades()[-1].trade_id},
        at=CLOSE,
    )
    guarded.take_steps(Steps())
    guarded.exchange.account = stuck(account)  # type: ignore[method-assign]
    guarded.recovery.reconcile = stuck(account)  # type: ignore[method-assign]
    with pytest.raises(ExchangeError, match="do not come to rest"):
        await guarded.recovery.protect(account)


def stuck(account: object) -> Callable[[], object]:
    async def told() -> object:
        return account

    return told


async def test_a_stop_whose_trades_were_adopted_ends_with_its_word(guarded: World) -> None:
    guarded.boot().begin("10")
    await protect(guarded)
    guarded.stops.trigger(ADA)
    guarded.boot()
    await guarded.startup.run(adopt=True)
    told(guarded)
    assert guarded.state() is State.HALTED


async def test_a_stop_that_closed_nothing_ends_without_an_order(guarded: World) -> None:
    guarded.boot().begin("10")
    await protect(guarded)
    guarded.stops.trigger(ADA, reply=Reply(share=Decimal(0), status="EXPIRED"))
    await protect(guarded)
    assert [(one.status, one.why) for one in guarded.journal.stops()] == [("FINISHED", "it triggered"), ("NEW", None)]
    assert guarded.state() is State.ACTIVE
    protected(guarded)


async def test_a_stop_whose_order_nobody_knows_any_more_ends_with_its_word(guarded: World) -> None:
    guarded.boot().begin("10")
    await protect(guarded)
    guarded.stops.book[0].stop = replace(guarded.stops.book[0].stop, status="FINISHED", order_id="404")
    await protect(guarded)
    assert [one.status for one in guarded.journal.stops()] == ["FINISHED", "NEW"]


async def test_an_order_of_a_person_is_no_stop_s(guarded: World) -> None:
    guarded.boot().begin("10")
    await protect(guarded)
    guarded.exchange.trade("-4")
    with pytest.raises(Mismatch, match="a person"):
        await guarded.recovery.reconcile()


async def test_a_stop_that_is_finished_before_its_order_is_told_so_is_waited_for(guarded: World) -> None:
    guarded.boot().begin("10")
    await protect(guarded)
    guarded.stops.trigger(ADA, reply=Reply(rests=2))
    await protect(guarded)
    told(guarded)


async def test_a_stop_whose_fills_are_told_after_its_order_is_waited_for(guarded: World) -> None:
    guarded.boot().begin("10")
    await protect(guarded)
    guarded.stops.trigger(ADA)
    (sold,) = guarded.exchange.placed[-1].fills
    guarded.exchange.placed[-1].fills = []
    late = Steps(hooks={("fills", 1): lambda: guarded.exchange.placed[-1].fills.append(sold)})
    guarded.take_steps(late)
    await protect(guarded)
    told(guarded)


async def test_a_stop_whose_trades_the_baseline_holds_ends_with_its_word(guarded: World) -> None:
    guarded.boot().begin("10")
    await protect(guarded)
    guarded.stops.trigger(ADA)
    newest = guarded.exchange.trades()[-1].trade_id
    guarded.journal.set_baseline(
        wallet=Decimal(1), equity=Decimal(1), positions={}, last_trades={ADA: newest}, at=CLOSE
    )
    await protect(guarded)
    assert [(one.status, one.why) for one in guarded.journal.stops()] == [("FINISHED", "it triggered")]
    assert guarded.state() is State.ACTIVE


async def test_of_several_stops_the_one_that_became_an_order_is_found_by_its_number(
    new_world: Callable[..., World],
) -> None:
    world = guard(new_world(symbols=(ADA, BTC)))
    world.stops.carries_name = False
    await world.run(cycles=1)
    world.stops.trigger(BTC)
    world.clock.time = NEXT
    await world.run(end=NEXT)
    assert world.state() is State.HALTED
    assert [one.symbol for one in world.journal.stops() if one.status == "FINISHED"] == [BTC]
    protected(world)
    world.agree()


@pytest.mark.parametrize("carries_name", [True, False])
async def test_a_stop_that_triggers_just_before_an_order_of_ours_is_found_though_its_trade_is_not_the_last(
    carries_name: bool, guarded: World
) -> None:
    guarded.stops.carries_name = carries_name
    guarded.boot().begin()
    guarded.decide(("o", "10"))
    await guarded.recovery.settle_open()
    await protect(guarded)
    guarded.exchange.prices_now[ADA] = Decimal("1.5")
    guarded.decide(("i", "6"), close=NEXT)
    guarded.take_steps(Steps(hooks={("send", 0): lambda: guarded.stops.trigger(ADA)}))
    await guarded.recovery.settle_open()
    assert guarded.journal.position(ADA) == 16
    account = await guarded.recovery.protect(await guarded.recovery.reconcile())
    assert account.quantity(ADA) == guarded.exchange.position() == 6
    assert guarded.state() is State.HALTED
    assert guarded.journal.held()[ADA].cost == 9
    assert triggers(guarded) == [Decimal("1.2")]
    told(guarded)
    protected(guarded)


@pytest.mark.parametrize("known", [True, False])
async def test_a_trade_by_hand_just_before_an_order_of_ours_stays_unexplained_beside_a_stop(
    known: bool, guarded: World
) -> None:
    guarded.boot().begin()
    guarded.decide(("o", "10"))
    await guarded.recovery.settle_open()
    await protect(guarded)
    if not known:
        guarded.stops.forget()
    guarded.exchange.trade("-3")
    guarded.decide(("i", "6"), close=NEXT)
    await guarded.router.carry(guarded.journal.open_intents()[0].intent)
    with pytest.raises(Mismatch, match="it was a person"):
        await guarded.recovery.reconcile()
    assert guarded.journal.position(ADA) == 16


async def test_without_a_place_for_stops_nothing_is_looked_for_there(guarded: World) -> None:
    terms = StopTerms(INSTANCE, INTERVAL, FIFTH)
    guarded.boot()
    dry = Protection(None, guarded.exchange, guarded.journal, guarded.clock, guarded.router, terms, guarded.log)
    assert await dry.struck(ADA) == []
