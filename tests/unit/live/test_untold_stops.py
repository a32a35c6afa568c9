"""A stop has triggered, and what it closed is not told: nothing is opened, and nothing else waits."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

from tests.unit.live.exchange import REPLIES, Reply
from tests.unit.live.test_settling_many import NEXT, SECOND, A, B, C, decided, posts, settle
from tests.unit.live.test_symbols_in_the_way import ALL, D, many, several, struck, untold
from tests.unit.live.world import World
from trader.domain.decision import State
from trader.domain.order import Fill
from trader.errors import RateLimited, Unreached
from trader.execution.reconcile import Policies

Made = Callable[..., World]


@pytest.mark.parametrize("told", [True, False])
async def test_a_stop_whose_trades_are_not_told_keeps_nothing_that_reduces(told: bool, covered: World) -> None:
    covered.policies = Policies(stop="adopt")
    covered.boot()
    await covered.daemon._attempt()
    before = len(covered.exchange.posts)
    decided(covered, NEXT, (A, "r", "-100"), (B, "r", "-100"), (C, "r", "-100"))
    struck(covered, A)
    if not told:
        untold(covered, A)
    covered.boot()
    await several(covered, lambda: settle(covered))
    assert set(posts(covered, before)) >= {B, C}


async def test_a_stop_whose_trades_are_not_told_is_held_against_no_other_symbol(new_world: Made) -> None:
    world = many(new_world, ALL, "0.1")
    world.policies = Policies(stop="adopt")
    world.boot()
    await world.daemon._attempt()
    before = len(world.exchange.posts)
    for one in decided(world, NEXT, (A, "i", "50"), (B, "i", "50"), (D, "r", "-100"), sent=(A, B))[:2]:
        world.exchange._place(one.request, Reply(), world.clock.now())
    struck(world, C)
    untold(world, C)
    world.boot()
    await settle(world)
    assert posts(world, before) == [D]
    assert world.journal.open_intents() == []


@pytest.mark.parametrize("starts", [True, False])
async def test_a_stop_whose_trades_are_not_told_makes_no_order_of_its_symbol_differ(
    starts: bool, covered: World
) -> None:
    """What was lost would be proven absent by trades, among which those of the stop are."""
    covered.policies = Policies(stop="adopt")
    covered.boot()
    await covered.daemon._attempt()
    (order,) = decided(covered, NEXT, (A, "r", "-100"), sent=(A,))
    struck(covered, A)
    covered.boot()
    untold(covered, A, 1)
    with pytest.raises(Unreached):
        await (covered.startup.run(adopt=False) if starts else settle(covered))
    await (covered.startup.run(adopt=False) if starts else settle(covered))
    assert covered.state() is State.ACTIVE
    record = covered.journal.order(order.client_id)
    assert record is not None
    assert record.final


async def test_a_start_waits_while_it_is_not_told_what_a_stop_closed(covered: World) -> None:
    await covered.daemon._attempt()
    decided(covered, NEXT, (A, "i", "100"), sent=(A,))
    struck(covered, C)
    untold(covered, C, 2)
    covered.boot()
    with pytest.raises(Unreached):
        await covered.startup.run(adopt=False)


async def test_no_decision_is_finished_while_what_follows_on_its_order_is_open(covered: World) -> None:
    covered.policies = Policies(stop="adopt")
    covered.rules = replace(covered.rules, top_up=True)
    covered.boot()
    await covered.daemon._attempt()
    (order,) = decided(covered, NEXT, (A, "i", "200"), sent=(A,))
    covered.exchange._place(order.request, REPLIES["partial"], covered.clock.now())
    covered.clock.time += SECOND
    struck(covered, C)
    covered.boot()
    untold(covered, C, 1)
    with pytest.raises(Unreached):
        await covered.cycle.finish_decided()
    assert [one.intent.quantity for one in covered.journal.open_intents()] == [Decimal(100)]


@pytest.mark.parametrize("came_to", ["never sent", "lost"])
async def test_nothing_is_opened_while_it_is_not_told_what_a_stop_closed(came_to: str, covered: World) -> None:
    """Its whole answer would have halted; also where an order of that symbol is under way itself."""
    await covered.daemon._attempt()
    before = len(covered.exchange.posts)
    decided(covered, NEXT, (A, "i", "50"), (B, "i", "50"), sent=(A,) if came_to == "never sent" else (A, B))
    struck(covered, A)
    untold(covered, A)
    covered.boot()
    with pytest.raises(Unreached):
        await settle(covered)
    told = {str(fields["client_id"]).split(".")[2]: fields["why"] for fields in covered.log.said("order not settled")}
    assert told == {B: "timeout"}
    assert posts(covered, before) == []
    assert [one.intent.symbol for one in covered.journal.open_intents()] == [A, B]


async def test_a_ban_while_trades_of_a_stop_are_asked_for_ends_the_try(covered: World) -> None:
    await covered.daemon._attempt()
    decided(covered, NEXT, (A, "r", "-100"))
    struck(covered, A)
    banned = RateLimited("banned", retry_at=NEXT + timedelta(hours=1), status=418)

    async def refused(symbol: str, **asked: Any) -> list[Fill]:
        raise banned

    covered.exchange.fills = refused  # type: ignore[method-assign]
    covered.boot()
    with pytest.raises(RateLimited):
        await covered.recovery._take_stopped([A])


async def test_a_stop_whose_trades_are_not_told_is_looked_at_again_beside_an_order_under_way(covered: World) -> None:
    covered.policies = Policies(stop="adopt")
    covered.boot()
    await covered.daemon._attempt()
    decided(covered, NEXT, (A, "i", "50"), sent=(A,))
    struck(covered, C)
    covered.exchange.account_lag = timedelta(hours=1)
    untold(covered, C, 1)
    covered.cycle._moved = True
    with pytest.raises(Unreached):
        await covered.cycle.protect()
    assert covered.cycle.unprotected
    await covered.cycle.protect()
    assert not covered.cycle.unprotected
    assert covered.journal.position(C) == 0
