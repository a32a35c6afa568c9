"""A start whose account has become too small for its sizes: what is held is not left to itself."""

from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal

import pytest

from tests.unit.live.test_many_symbols import NAMES, Basket
from tests.unit.live.world import CLOSE, INTERVAL, World
from trader.domain.decision import State
from trader.errors import ConfigError
from trader.journal.rows import Status

NEXT = CLOSE + INTERVAL.delta


def lost(world: World) -> World:
    """Wishes a fixed 5,000 USDT at 2x, of which a loss has left 2,000: no margin would be left for an opening."""
    world.strategy.capital = Decimal(10_000)
    world.exchange.cash = Decimal(2_000)
    return world


async def test_a_loss_under_constant_sizing_lets_a_start_that_holds_only_reduce_and_says_what_helps(
    world: World,
) -> None:
    lost(world).boot().begin("1000")
    world.strategy.wishes = {CLOSE: 1.0, NEXT: -1.0}
    await world.run(end=NEXT)
    assert world.state() is State.REDUCING
    record = world.journal.state()
    assert record.by == "start-up"
    assert "would be refused with -2019; raise the leverage or lower the exposure." in record.why
    assert record.why.endswith("put it right, then `trader resume`.")
    # more is wished at the first close, and is not opened; the other side is at the second, so that it is closed
    assert [request.quantity for _, request, _ in world.exchange.posts] == [-1000]
    assert set(world.statuses().values()) == {Status.CLOSED}
    world.agree()


async def test_a_loss_under_constant_sizing_refuses_a_start_that_holds_nothing(world: World) -> None:
    lost(world).boot()
    with pytest.raises(ConfigError, match="leaves no margin"):
        await world.startup.run(adopt=False)
    assert world.state() is State.ACTIVE


async def test_a_start_that_holds_lifts_no_halt_by_only_reducing(world: World) -> None:
    lost(world).boot().begin("1000")
    world.journal.set_state(State.HALTED, "looked into", "a person", CLOSE)
    await world.startup.run(adopt=False)
    assert (world.state(), world.journal.state().why) == (State.HALTED, "looked into")


async def test_what_was_put_right_starts_as_before_and_a_resume_ends_the_restriction(world: World) -> None:
    lost(world).boot().begin("1000")
    await world.startup.run(adopt=False)
    world.strategy.capital = None
    world.strategy.wishes = {CLOSE: 1.0}
    world.journal.request("resume", world.clock.now())
    await world.run(cycles=1)
    assert world.state() is State.ACTIVE
    assert world.exchange.position() == 1000


async def test_a_basket_that_became_too_small_for_its_account_may_only_reduce_where_it_holds(
    new_world: Callable[..., World],
) -> None:
    world = new_world(symbols=NAMES)
    world.strategy = Basket(wishes={CLOSE: 1.0})
    await world.run(cycles=1)
    for name in NAMES:
        world.exchange.rules[name] = replace(world.exchange.rules[name], min_notional=Decimal(1000))
    await world.boot().startup.run(adopt=False)
    assert world.state() is State.REDUCING
    assert "too small for 20 of 20 symbols" in world.journal.state().why
