"""A stop of ours that triggers beside what somebody else trades, or while an account is accepted."""

import re
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from decimal import Decimal

import pytest

from tests.unit.live.exchange import ADA
from tests.unit.live.guarded import BTC, guard, protect, protected, told
from tests.unit.live.steps import Steps
from tests.unit.live.world import CLOSE, World
from trader.domain.account import Income
from trader.domain.decision import State
from trader.domain.order import Order
from trader.domain.stop import Stop
from trader.errors import ExchangeError, Mismatch
from trader.execution.reconcile import Policies


@pytest.mark.parametrize("first", ["hand", "stop"])
async def test_a_trade_by_hand_beside_a_stop_is_not_taken_for_the_stop_s_which_is_written_down(
    first: str, guarded: World
) -> None:
    guarded.boot().begin("10")
    await protect(guarded)
    if first == "hand":
        guarded.exchange.trade("-4")
    guarded.stops.trigger(ADA)
    if first == "stop":
        guarded.exchange.trade("-4")
    left = -4 if first == "stop" else 0
    said = f"the journal says {left + 4}, the exchange says {left}; it was a person or another program)"
    with pytest.raises(Mismatch, match=re.escape(said)):
        await guarded.recovery.reconcile()
    (order,) = guarded.journal.orders()
    assert (order.intent.leg, order.status) == ("s", "FILLED")
    assert [one.quantity for one in guarded.journal.fills()] == [-6 if first == "hand" else -10]
    assert guarded.state() is State.HALTED
    assert "our protective stop" in guarded.journal.state().why
    await guarded.boot().startup.run(adopt=True)
    assert guarded.journal.position(ADA) == guarded.exchange.position() == left
    assert guarded.state() is State.HALTED
    protected(guarded)


async def test_a_policy_that_adopts_a_person_s_trades_leaves_a_stop_its_own(guarded: World) -> None:
    guarded.policies = Policies(position="adopt")
    guarded.boot().begin("10")
    await protect(guarded)
    guarded.stops.trigger(ADA)
    guarded.exchange.trade("-4")
    await guarded.recovery.reconcile()
    assert guarded.journal.position(ADA) == -4
    assert guarded.state() is State.HALTED
    told(guarded)


async def test_a_stop_beside_a_stranger_is_not_written_down_before_all_its_trades_are_told(guarded: World) -> None:
    guarded.boot().begin("10")
    await protect(guarded)
    guarded.stops.trigger(ADA)
    guarded.exchange.trade("-4")
    stopped = next(one for one in guarded.exchange.placed if one.fills and one.fills[0].quantity == -10)
    (whole,) = stopped.fills
    stopped.fills = [replace(whole, quantity=Decimal(-6))]
    with pytest.raises(Mismatch):
        await guarded.recovery.reconcile()
    assert guarded.journal.fills() == []


@pytest.mark.parametrize("look", range(6))
async def test_a_stop_that_triggers_while_an_account_is_accepted_is_written_down(look: int, guarded: World) -> None:
    guarded.boot().begin("10")
    await protect(guarded)
    guarded.exchange.trade("3")
    once = [None]

    def strike() -> None:
        if once and guarded.journal.baseline().positions == {ADA: Decimal(10)}:
            once.clear()
            guarded.stops.trigger(ADA)

    guarded.boot(Steps(hooks={("fills", turn + look): strike for turn in range(30)}))
    await guarded.startup.run(adopt=True)
    assert not once
    assert guarded.exchange.position() == guarded.journal.position(ADA) == 0
    (order,) = guarded.journal.orders()
    assert (order.intent.leg, order.filled) == ("s", Decimal(-13))
    assert guarded.state() is State.HALTED
    protected(guarded)


async def test_an_account_on_which_somebody_trades_at_every_look_is_not_accepted(guarded: World) -> None:
    guarded.boot().begin("10")
    guarded.exchange.trade("3")
    guarded.take_steps(Steps(hooks={("account", turn): lambda: guarded.exchange.trade("1") for turn in range(60)}))
    with pytest.raises(ExchangeError, match="trades on the account at every look"):
        await guarded.startup.run(adopt=True)
    assert guarded.journal.baseline().positions == {ADA: Decimal(10)}


@pytest.mark.parametrize("back", [True, False])
async def test_a_stop_that_only_a_booking_tells_of_is_written_down_whoever_traded_it_back(
    back: bool, guarded: World
) -> None:
    guarded.boot().begin("10")
    await protect(guarded)
    guarded.stops.trigger(ADA)
    stopped = guarded.exchange.trades()[-1].trade_id
    if back:
        guarded.exchange.trade("10")
    guarded.journal.record_incomes([Income("1", "REALIZED_PNL", ADA, Decimal(1), CLOSE, stopped)])
    with pytest.raises(Mismatch, match=r"Somebody else traded .*it was a person") if back else nullcontext():
        await guarded.recovery.explain_bookings()
    assert guarded.journal.position(ADA) == 0
    assert guarded.state() is State.HALTED
    assert [one.intent.leg for one in guarded.journal.orders()] == ["s"]


async def test_a_stop_whose_order_still_works_is_not_written_down(
    guarded: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    guarded.boot().begin("10")
    await protect(guarded)
    guarded.stops.trigger(ADA)
    told_as_it_is = guarded.exchange.find_by_exchange_id

    async def works(symbol: str, exchange_id: str) -> Order | None:
        order = await told_as_it_is(symbol, exchange_id)
        return order and replace(order, status="PARTIALLY_FILLED")

    monkeypatch.setattr(guarded.exchange, "find_by_exchange_id", works)
    with pytest.raises(Mismatch, match="our protective stop"):
        await guarded.recovery.reconcile()
    assert guarded.journal.fills() == []
    monkeypatch.undo()
    await guarded.recovery.reconcile()
    told(guarded)


async def test_an_account_is_not_accepted_while_a_stop_of_it_cannot_be_looked_at(
    guarded: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    guarded.boot().begin("10")
    await protect(guarded)
    guarded.exchange.trade("3")
    guarded.boot()
    look = guarded.recovery.take_fired

    async def unreachable(symbol: str, client_id: str) -> Stop | None:
        raise ExchangeError("out of service")

    async def in_an_outage(*, every: bool = False) -> None:
        monkeypatch.setattr(guarded.stops, "find_stop", unreachable)
        await look(every=every)

    monkeypatch.setattr(guarded.recovery, "take_fired", in_an_outage)
    with pytest.raises(ExchangeError, match="out of service"):
        await guarded.startup.run(adopt=True)
    assert guarded.journal.baseline().positions == {ADA: Decimal(10)}


async def test_an_account_is_not_accepted_on_a_look_at_which_a_symbol_had_gone(
    new_world: Callable[..., World], monkeypatch: pytest.MonkeyPatch
) -> None:
    world = guard(new_world(symbols=(ADA, BTC)))
    world.strategy = replace(world.strategy, symbols=(ADA,))
    world.boot().begin()
    world.exchange.trade("2", "web_x", BTC)
    world.boot()
    look, looked = world.recovery.take_fired, []

    async def closes_then(*, every: bool = False) -> None:
        await look(every=every)
        if not looked:
            world.exchange.trade("-2", "web_y", BTC)
        looked.append(every)

    monkeypatch.setattr(world.recovery, "take_fired", closes_then)
    await world.startup.run(adopt=True)
    assert looked == [True, True]
    begun = world.journal.baseline()
    assert begun.positions == world.journal.positions() == {}
    assert begun.last_trades[BTC] == world.exchange.trades(BTC)[-1].trade_id
