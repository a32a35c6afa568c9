"""A world whose positions have stops, and what has to hold of them."""

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

from tests.unit.live.steps import Crash
from tests.unit.live.world import CLOSE, INTERVAL, World
from trader.journal.rows import Outcome

BTC = "BTCUSDT"
FIFTH = Decimal("0.2")
NEXT = CLOSE + INTERVAL.delta
SECOND = timedelta(seconds=1)


def guard(world: World) -> World:
    world.fraction = FIFTH
    world.limits = replace(world.limits, protective_stop=FIFTH)
    return world


async def protect(world: World) -> None:
    await world.recovery.protect(await world.exchange.account())


def protected(world: World) -> None:
    """Exactly one stop of ours rests for every position, on the side that closes it, and the journal knows it."""
    resting = world.stops.waiting()
    held = {symbol: world.exchange.position(symbol) for symbol in world.exchange.rules}
    assert sorted(one.symbol for one in resting) == sorted(symbol for symbol, quantity in held.items() if quantity)
    assert all(held[one.symbol] * one.closes < 0 for one in resting)
    known = world.journal.standing_stops()
    assert sorted(one.client_id for one in known) == sorted(one.client_id for one in resting)
    assert all((one.status, one.exchange_id is None) == ("NEW", False) for one in known)


def triggers(world: World) -> list[Decimal]:
    return [one.trigger for one in world.stops.waiting()]


def told(world: World) -> None:
    """What a stop closed stands in the journal as its order, and nobody is said to have traded by hand."""
    record = world.journal.stops()[0]
    order = world.journal.order(record.client_id)
    assert order is not None
    assert (order.intent.leg, order.outcome, order.status, order.sends) == ("s", Outcome.CONFIRMED, "FILLED", 0)
    assert (record.status, record.order_id, record.final) == ("FINISHED", order.exchange_id, True)
    assert record.client_id in {one.intent.client_id for one in world.journal.orders()}
    world.agree()


def dies() -> None:
    raise Crash
