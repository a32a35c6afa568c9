"""A mark price that is not told is the matter of its symbol: that one stays as it is, and the others are traded."""

from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal

import pytest

from tests.unit.live.test_many_symbols import Basket
from tests.unit.live.world import CLOSE, FakeStrategy, World
from trader.domain.decision import Limits, State
from trader.errors import ExchangeError
from trader.journal.rows import Status
from trader.live.record import decode_inputs, encode_decision, recompute

NAMES = ("AUSDT", "BUSDT", "CUSDT")
FIRST, OTHERS = NAMES[0], NAMES[1:]
NEXT = CLOSE + FakeStrategy.interval.delta
UNTOLD = {FIRST: "its mark price is not told"}
Made = Callable[..., World]


@dataclass
class Named(FakeStrategy):
    """Wishes a tenth of the equity of each of the symbols that it names, whatever is known of them."""

    exposure: float = 0.1

    def share(self, listed: int) -> float:
        return self.exposure / listed


@pytest.fixture(params=["named", "universe"])
def world(request: pytest.FixtureRequest, new_world: Made) -> World:
    world = new_world(symbols=NAMES)
    wishes = {CLOSE: 1.0, NEXT: -1.0}
    world.strategy = Named(NAMES, wishes=wishes) if request.param == "named" else Basket(wishes=wishes)
    return world


def replays(world: World) -> None:
    for record in world.journal.decisions():
        transcript = world.journal.transcript(record.close)
        assert transcript is not None
        inputs = decode_inputs(transcript.inputs, world.journal.texts(transcript))
        assert encode_decision(recompute(world.strategy, inputs)) == transcript.output


async def test_one_that_is_not_told_is_not_opened_and_the_others_are(world: World) -> None:
    world.exchange.priceless = {FIRST}
    await world.run(cycles=1)
    assert world.statuses() == {CLOSE: Status.CLOSED}
    assert {name for name in NAMES if world.exchange.position(name)} == set(OTHERS)
    assert world.reports[-1].unknown == UNTOLD
    assert {"symbols": FIRST} in world.log.said("mark prices not told")
    assert [line["symbol"] for line in world.log.said("symbol left out")] == [FIRST]
    replays(world)
    world.agree()


async def test_one_that_is_held_stays_as_it_is_and_the_others_turn(world: World) -> None:
    await world.run(cycles=1)
    before = world.exchange.position(FIRST)
    world.exchange.priceless = {FIRST}
    await world.run(cycles=1)
    assert world.exchange.position(FIRST) == before > 0
    assert all(world.exchange.position(name) < 0 for name in OTHERS)
    assert f"{FIRST} stays as it is: its mark price is not told" in world.reports[-1].why
    replays(world)


async def test_a_loss_at_its_limit_closes_everything_also_what_has_no_price(world: World) -> None:
    world.limits = Limits(Decimal("0.02"), Decimal(1000))
    world.exchange.priceless = {OTHERS[0]}
    await world.run(cycles=1)
    assert world.exchange.position(OTHERS[0]) == 0
    # one that is held and one that is not have no price when the loss is found
    world.exchange.priceless = {FIRST, OTHERS[0]}
    for name in NAMES:
        world.exchange.prices_now[name] = Decimal("0.1")
    await world.run(cycles=1)
    assert world.state() is State.HALTED
    assert [world.exchange.position(name) for name in NAMES] == [0, 0, 0]
    replays(world)


async def test_where_none_is_told_the_close_is_not_decided(world: World) -> None:
    await world.run(cycles=1)
    world.exchange.priceless = set(NAMES)
    world.boot()
    world.clock.time = NEXT
    with pytest.raises(ExchangeError, match="tells no price of AUSDT, BUSDT, CUSDT"):
        await world.cycle.run(NEXT)
    assert len(world.exchange.posts) == len(NAMES)


async def test_the_one_symbol_of_a_strategy_has_to_have_a_price(new_world: Made) -> None:
    alone = new_world()
    await alone.run(cycles=1)
    alone.boot()
    alone.exchange.priceless = set(alone.exchange.rules)
    alone.clock.time = NEXT
    with pytest.raises(ExchangeError, match="tells no price of ADAUSDT"):
        await alone.cycle.run(NEXT)
    assert alone.statuses()[NEXT] is Status.CLAIMED
