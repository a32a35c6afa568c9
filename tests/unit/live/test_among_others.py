"""What happens to one symbol, or to the account, between a decision and its orders costs no other symbol anything."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

import pytest

from tests.unit.live.exchange import ADA, REPLIES
from tests.unit.live.guarded import protect
from tests.unit.live.test_many_symbols import Basket
from tests.unit.live.world import CLOSE, World
from trader.domain.decision import State
from trader.domain.stop import Stop, StopRequest
from trader.errors import ExchangeError, Unreached
from trader.execution.reconcile import Policies
from trader.journal.rows import MISSING_STOP, Outcome
from trader.live.control import FLATTEN

NAMES = ("AUSDT", "BUSDT", "CUSDT")
SECOND = timedelta(seconds=1)
Made = Callable[..., World]


@pytest.fixture
def basket(new_world: Made) -> World:
    """Several symbols with stops, the orders of which leave side by side."""
    world = new_world(symbols=NAMES)
    world.strategy = Basket(wishes={CLOSE: 1.0})
    world.fraction, world.parallel = Decimal("0.1"), 8
    return world


async def test_what_was_sent_is_settled_before_what_has_to_be_decided_on_an_explained_account(basket: World) -> None:
    """The fill of one order would otherwise be nobody's while another is about to be sent."""
    basket.boot().begin()
    basket.exchange.faults = {("setup", 0): Unreached("timeout"), ("find", 0): Unreached("timeout")}
    basket.exchange.plan = [REPLIES["executed"]]
    await basket.daemon._attempt()
    assert basket.state() is State.ACTIVE
    held = basket.journal.positions()
    assert set(held) == set(NAMES)
    assert held == {name: basket.exchange.position(name) for name in NAMES}
    assert {stop.symbol for stop in basket.stops.waiting()} == set(NAMES)


async def test_one_symbol_that_cannot_be_set_up_keeps_no_other_without_its_stop(basket: World) -> None:
    basket.boot().begin()
    basket.exchange.setups[NAMES[0]] = replace(basket.exchange.setups[NAMES[0]], margin_mode="cross")
    basket.exchange.accept_setup = False
    placed: list[tuple[str, timedelta]] = []
    place = basket.stops.place_stop

    async def place_stop(request: StopRequest) -> Stop:
        placed.append((request.symbol, basket.clock.now() - CLOSE))
        return await place(request)

    basket.stops.place_stop = place_stop  # type: ignore[method-assign]
    await basket.daemon._attempt()
    assert len(basket.log.said("close not decided yet")) > 2
    assert {symbol: after < 5 * SECOND for symbol, after in placed} == dict.fromkeys(NAMES[1:], True)


async def test_a_start_that_knows_of_a_missing_stop_waits_for_that_very_one(basket: World) -> None:
    """The stops of the others rest, and of the one that is left alone nobody knows that its does."""
    basket.boot().begin()
    await basket.daemon._attempt()
    basket.journal.set_state(State.REDUCING, "no stop is known to rest", MISSING_STOP, basket.clock.now())
    basket.boot()
    await basket.recovery.protect_others({NAMES[0]})
    assert basket.state() is State.REDUCING
    await protect(basket)
    assert basket.state() is State.ACTIVE


async def test_stops_that_cannot_be_looked_at_meanwhile_keep_no_close_from_being_tried(basket: World) -> None:
    basket.boot().begin()
    basket.exchange.setups[NAMES[0]] = replace(basket.exchange.setups[NAMES[0]], margin_mode="cross")
    basket.exchange.accept_setup = False
    looked = []

    async def protect_others(busy: object) -> None:
        looked.append(busy)
        basket.exchange.accept_setup = True
        raise ExchangeError("HTTP 503")

    basket.recovery.protect_others = protect_others  # type: ignore[method-assign]
    await basket.daemon._attempt()
    assert looked == [{NAMES[0]}]
    assert set(basket.journal.positions()) == set(NAMES)
    assert basket.log.said("stops not looked at")[0]["error"] == "HTTP 503"


@pytest.mark.parametrize(
    ("by_hand", "held"),
    [("200", "300"), ("-100", "0"), ("-130", "-30"), (None, "0")],
    ids=["more", "none", "turned", "stop"],
)
async def test_what_was_to_be_added_to_a_position_is_not_sent_once_another_was_adopted(
    by_hand: str | None, held: str, new_world: Made
) -> None:
    world = new_world()
    world.policies = Policies(position="adopt", stop="adopt")
    world.fraction = Decimal("0.1") if by_hand is None else None
    world.boot().begin(held="100")
    await protect(world)
    (intent,) = world.decide(("i", "50"))
    world.clock.time += timedelta(minutes=5)
    if by_hand is None:
        world.exchange.prices_now[ADA] = Decimal("0.88")
        world.stops.trigger(ADA)
    else:
        world.exchange.trade(by_hand)
    world.boot()
    await world.startup.run(adopt=False)
    assert world.exchange.posts == []
    record = world.record(intent)
    assert record.outcome is Outcome.DENIED
    assert "the next close decides anew" in (record.error_text or "")
    assert world.journal.position(ADA) == world.exchange.position() == Decimal(held)


async def test_what_is_added_to_the_position_it_was_decided_on_is_sent_part_by_part(new_world: Made) -> None:
    world = new_world()
    world.boot().begin(held="100")
    world.decide(("i", "50"), ("i", "30"))
    assert await world.carry_all() is None
    assert world.exchange.position() == Decimal(180)


@pytest.mark.parametrize("seconds", [2, 20])
async def test_a_flatten_closes_what_an_account_that_lags_does_not_show_yet(seconds: int, new_world: Made) -> None:
    world = new_world()
    world.boot().begin()
    (intent,) = world.decide(("o", "100"))
    world.exchange.plan = [REPLIES["executed"]]
    world.exchange.account_lag = timedelta(seconds=seconds)
    world.journal.request(FLATTEN, world.clock.now())
    world.journal.mark_sent(intent.client_id, world.clock.now())
    world.exchange.trade("100", client_id=intent.client_id)
    assert await world.flattener.run() == "ADAUSDT -100"
    assert world.exchange.position() == world.journal.position(ADA) == 0


async def test_a_flatten_beside_somebody_who_has_closed_by_hand_waits_for_nothing(new_world: Made) -> None:
    world = new_world()
    world.boot().begin(held="100")
    world.exchange.trade("-100")
    before = world.clock.now()
    assert await world.flattener.run() == "nothing was held"
    assert world.clock.now() - before < SECOND


async def test_a_flatten_takes_an_account_that_nobody_explains_as_it_is_after_half_a_minute(new_world: Made) -> None:
    world = new_world()
    world.boot().begin(held="100")
    world.exchange.trade("-100")
    world.exchange.faults = {("fills", number): Unreached("timeout") for number in range(99)}
    before = world.clock.now()
    assert await world.flattener.run() == "nothing was held"
    assert 30 * SECOND < world.clock.now() - before < 120 * SECOND
    assert world.log.said("trades not told")
