"""A flatten that was interrupted goes by what is held now, not by what it had written down."""

from collections.abc import Callable, Sequence
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

from tests.unit.live.exchange import Reply
from tests.unit.live.test_many_symbols import NAMES as TWENTY
from tests.unit.live.test_settling_many import NAMES, SECOND, A, B, C, posts
from tests.unit.live.test_symbols_in_the_way import ALL, many, several, struck, untold
from tests.unit.live.test_waiting_beside_others import flatten, lost
from tests.unit.live.world import CLOSE, World
from trader.domain.order import Order
from trader.errors import ConfigError, Unreached
from trader.journal.rows import Outcome
from trader.live.lanes import ENOUGH

Made = Callable[..., World]


async def interrupted(world: World, symbols: tuple[str, ...] = NAMES) -> None:
    """Write the orders of a flatten down that dies before one of them is sent."""
    account = await world.exchange.account()
    for name in symbols:
        world.journal.intend(await world.flattener._closer._intent(name, -account.positions[name].quantity))
    world.boot()


@pytest.mark.parametrize("by", ["a stop", "a person"])
async def test_a_flatten_that_was_interrupted_closes_the_others_at_its_next_try(by: str, covered: World) -> None:
    await covered.daemon._attempt()
    before = flatten(covered)
    await interrupted(covered)
    if by == "a stop":
        struck(covered, A)
    else:
        covered.exchange.trade("-40", "by-hand", A)
    untold(covered, A)
    await several(covered, covered.flattener.run)
    assert set(posts(covered, before)) == ({B, C} if by == "a stop" else {A, B, C})
    assert [covered.exchange.position(name) for name in NAMES] == [0, 0, 0]


async def test_what_an_interrupted_flatten_left_unsent_goes_by_what_is_held_at_once(new_world: Made) -> None:
    world = many(new_world, TWENTY)
    await world.cycle.run(CLOSE)
    before = flatten(world)
    await interrupted(world, TWENTY)
    for name in TWENTY:
        world.exchange.trade("-40", "by-hand", name)
    began = world.clock.now()
    await world.flattener.run()
    assert {at - began for at, _, _ in world.exchange.posts[before:]} == {timedelta(0)}
    assert [order.quantity for _, order, _ in world.exchange.posts[before:]] == [Decimal(-210)] * len(TWENTY)


async def test_what_a_flatten_has_sent_and_an_older_journal_forgot_is_found_and_not_closed_again(
    basket: World,
) -> None:
    await basket.cycle.run(CLOSE)
    before = flatten(basket)
    await interrupted(basket)
    (first, *_) = (order.intent for order in basket.journal.open_intents())
    basket.clock.time += SECOND
    basket.exchange._place(first.request, Reply(), basket.clock.now())
    await basket.flattener.run()
    assert posts(basket, before) == [B, C]
    record = basket.journal.order(first.client_id)
    assert record is not None
    assert record.outcome is Outcome.CONFIRMED
    assert basket.journal.positions() == {}


@pytest.mark.parametrize("there", [True, False])
async def test_names_that_cannot_be_looked_up_are_not_all_asked_for_where_the_exchange_is_gone(
    there: bool, new_world: Made
) -> None:
    world = many(new_world, ALL)
    await world.cycle.run(CLOSE)
    flatten(world)
    await interrupted(world, ALL)
    asked = []

    async def unreached(symbol: str, name: str) -> Order | None:
        asked.append(symbol)
        raise Unreached("timeout")

    world.exchange.find = unreached  # type: ignore[method-assign]
    if not there:
        world.exchange.faults = {("sync_clock", number): Unreached("timeout") for number in range(99)}
    await world.flattener._supersede([order.intent for order in world.journal.open_intents()])
    assert asked == (list(ALL[:ENOUGH]) if there else [A, B])
    assert len(world.journal.open_intents()) == len(ALL)


@pytest.mark.parametrize("out", ["of one", "of all"])
async def test_what_was_written_down_is_closed_where_rules_are_told_no_more(out: str, basket: World) -> None:
    await basket.cycle.run(CLOSE)
    before = flatten(basket)
    await interrupted(basket)
    basket.exchange.trade("40", "by-hand", A)

    async def untold_all(symbols: Sequence[str]) -> Any:
        raise ConfigError("not told") if out == "of one" else Unreached("timeout")

    async def but_one(symbols: Sequence[str]) -> Any:
        told = {one: basket.exchange.rules[one] for one in symbols if one != A}
        return told, {A: "it is of a kind that is not told"} if A in symbols else {}

    basket.exchange.instruments = untold_all  # type: ignore[method-assign]
    basket.exchange.any_instruments = but_one if out == "of one" else untold_all  # type: ignore[method-assign]
    await several(basket, basket.flattener.run)
    assert set(posts(basket, before)) == {A, B, C}
    assert [basket.exchange.position(name) for name in NAMES] == [40, 0, 0]


async def test_what_is_gone_when_an_interrupted_flatten_goes_on_is_not_closed_again(basket: World) -> None:
    await basket.cycle.run(CLOSE)
    before = flatten(basket)
    await interrupted(basket)
    basket.exchange.trade("-250", "by-hand", A)
    await basket.flattener.run()
    assert posts(basket, before) == [B, C]


async def test_a_symbol_that_fails_keeps_what_was_written_down_of_the_others_from_nothing(basket: World) -> None:
    await basket.cycle.run(CLOSE)
    before = flatten(basket)
    await interrupted(basket)
    lost(basket, A)
    with pytest.raises(Unreached):
        await basket.flattener.run()
    assert posts(basket, before) == [B, C]
