"""The orders of one decision over several symbols: reductions first, side by side, and no symbol in another's way."""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal

import pytest

from tests.unit.live.exchange import ADA, REPLIES, Reply
from tests.unit.live.guarded import guard
from tests.unit.live.steps import Steps
from tests.unit.live.stops import Answer
from tests.unit.live.world import CLOSE, World
from trader.domain.order import client_id
from trader.errors import Denied, ExchangeError, Mismatch, NotSent, OutcomeUnknown
from trader.journal.rows import Intent

BTC, XRP = "BTCUSDT", "XRPUSDT"
SYMBOLS = (ADA, BTC, XRP)
Made = Callable[..., World]


def many(new_world: Made, parallel: int) -> tuple[World, list[Intent]]:
    """Intend an opening of each symbol."""
    world = new_world(symbols=SYMBOLS)
    world.parallel = parallel
    world.boot().begin()
    (first,) = world.decide(("o", "8"))
    intents = [first]
    for symbol in SYMBOLS[1:]:
        name = client_id("sim/main/fake", CLOSE, symbol, "o", 0)
        intents.append(replace(first, client_id=name, symbol=symbol))
        world.journal.intend(intents[-1])
    return world, intents


def held(world: World) -> list[Decimal]:
    return [world.exchange.position(symbol) for symbol in SYMBOLS]


@pytest.mark.parametrize("parallel", [1, 2, 8])
async def test_every_symbol_is_carried_however_many_at_once(parallel: int, new_world: Made) -> None:
    world, intents = many(new_world, parallel)
    left = await world.router.carry_all(intents)
    assert held(world) == [8, 8, 8]
    assert left == dict.fromkeys(SYMBOLS, 0)


@pytest.mark.parametrize("parallel", [1, 2])
async def test_a_symbol_that_fails_stops_no_other_and_is_told_at_the_end(parallel: int, new_world: Made) -> None:
    world, intents = many(new_world, parallel)
    world.exchange.faults = {("instruments", 0): NotSent("no route")}
    world.exchange.trade("3")
    world.journal.record_fills(world.exchange.trades(ADA))
    with pytest.raises(ExchangeError, match="no route"):
        await world.router.carry_all(intents)
    assert held(world) == [3, 8, 8]
    assert [one.intent.symbol for one in world.journal.open_intents()] == [ADA]
    assert world.log.said("symbol not at its target")[0]["why"] == "no route"


async def test_where_the_stories_differ_nothing_of_any_symbol_is_opened(new_world: Made) -> None:
    world, intents = many(new_world, 2)
    world.exchange.trade("10", "an-earlier-one")
    world.journal.record_fills(world.exchange.trades(ADA))
    close = replace(
        intents[0],
        client_id=client_id("sim/main/fake", CLOSE, ADA, "c", 0),
        leg="c",
        quantity=Decimal(-10),
        reduce_only=True,
    )
    world.journal.intend(close)
    world.exchange.plan = [replace(REPLIES["never"])]
    world.exchange.watch = lambda request: world.exchange.trade("1", "web_1")
    with pytest.raises(Mismatch, match="is not known to the exchange"):
        await world.router.carry_all([close, *intents])
    assert held(world) == [11, 0, 0]


async def test_a_close_that_is_cancelled_leaves_no_order_being_carried_behind(new_world: Made) -> None:
    world, intents = many(new_world, 3)
    world.exchange.plan = [Reply(effect=False, error=OutcomeUnknown("nothing came back"))] * 3
    before = asyncio.all_tasks()
    carrying = asyncio.ensure_future(world.router.carry_all(intents))
    while not world.exchange.posts:
        await asyncio.sleep(0)
    carrying.cancel()
    with pytest.raises(asyncio.CancelledError):
        await carrying
    assert asyncio.all_tasks() == before
    assert world.journal.open_intents()


@pytest.mark.parametrize("parallel", [1, 2])
async def test_a_stop_that_cannot_be_placed_keeps_no_other_symbol_without_its_own(
    parallel: int, new_world: Made
) -> None:
    world = guard(new_world(symbols=SYMBOLS))
    world.parallel = parallel
    world.stops.plan = [Answer(effect=False, error=Denied("over our own limit"))]
    world.boot().begin()
    for symbol in SYMBOLS:
        world.exchange.trade("8", symbol=symbol)
    account = await world.exchange.account()
    world.take_steps(Steps())
    await world.recovery.protect(account)
    assert list(world.protection.missing.values()) == ["over our own limit"]
    assert sorted(one.symbol for one in world.stops.waiting()) == [BTC, XRP]
    assert len(world.log.said("stop not in its place")) == 1
    await world.recovery.protect(account)
    assert sorted(one.symbol for one in world.stops.waiting()) == sorted(SYMBOLS)
    # the rules are asked for once for all of them
    assert world.steps.names.count("instruments") == 2
