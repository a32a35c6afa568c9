"""What happens to one symbol, or to the account, between a decision and its orders costs no other symbol anything."""

import asyncio
import json
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

from tests.unit.live.exchange import ADA, REPLIES
from tests.unit.live.guarded import protect
from tests.unit.live.stops import Answer
from tests.unit.live.test_many_symbols import Basket
from tests.unit.live.world import CLOSE, INSTANCE, INTERVAL, MAX_DELAY, World
from trader.domain.account import Account, Setup
from trader.domain.decision import State
from trader.domain.order import Fill, Order, OrderRequest, client_id
from trader.domain.stop import Stop, StopRequest
from trader.errors import ExchangeError, OutcomeUnknown, RateLimited, Unreached
from trader.execution.reconcile import Policies
from trader.journal.rows import MISSING_STOP, Intent, Outcome
from trader.live import persistence
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
    assert await basket.recovery.protect_others({NAMES[0]}, tell=True)
    assert basket.state() is State.REDUCING
    await protect(basket)
    assert basket.state() is State.ACTIVE


async def test_a_stop_that_fails_while_a_close_is_tried_again_denies_no_other_symbol_its_order(basket: World) -> None:
    basket.boot().begin()
    basket.exchange.faults = {("setup", 0): Unreached("timeout"), ("setup", 3): Unreached("timeout")}
    limited = RateLimited("too many requests", retry_at=CLOSE, code=-1003, status=429)
    basket.stops.plan = [Answer(effect=False, error=limited)]
    await basket.daemon._attempt()
    assert len(basket.log.said("stop not in its place")) == 1
    assert set(basket.journal.positions()) == {stop.symbol for stop in basket.stops.waiting()} == set(NAMES)
    assert basket.state() is State.ACTIVE


async def test_stops_that_come_to_no_end_keep_no_close_from_being_tried(
    basket: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    basket.boot().begin()
    basket.exchange.setups[NAMES[0]] = replace(basket.exchange.setups[NAMES[0]], margin_mode="cross")
    basket.exchange.accept_setup = False
    monkeypatch.setattr(persistence, "_BESIDE", 1.0)
    place, hung = basket.stops.place_stop, []

    async def hang(request: StopRequest) -> Stop:
        if not hung:
            hung.append(request.symbol)
            await asyncio.Event().wait()
        return await place(request)

    basket.stops.place_stop = hang  # type: ignore[method-assign]
    await basket.daemon._attempt()
    assert [line["kind"] for line in basket.log.said("stops not looked at")] == ["ExchangeError"]
    assert len(basket.log.said("close not decided yet")) > 9
    assert {stop.symbol for stop in basket.stops.waiting()} == set(NAMES[1:])


async def test_stops_that_cannot_be_looked_at_meanwhile_keep_no_close_from_being_tried(basket: World) -> None:
    basket.boot().begin()
    basket.exchange.setups[NAMES[0]] = replace(basket.exchange.setups[NAMES[0]], margin_mode="cross")
    basket.exchange.accept_setup = False
    looked = []

    async def protect_others(busy: object, *, tell: bool) -> bool:
        looked.append((busy, tell))
        basket.exchange.accept_setup = True
        raise ExchangeError("HTTP 503")

    basket.recovery.protect_others = protect_others  # type: ignore[method-assign]
    await basket.daemon._attempt()
    assert looked == [({NAMES[0]}, False)]
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


async def test_a_flatten_beside_a_symbol_that_nobody_explains_closes_the_others_at_once(basket: World) -> None:
    basket.fraction = None
    basket.boot().begin()
    await basket.daemon._attempt()
    told, before, sent = basket.exchange.account, basket.clock.now(), len(basket.exchange.posts)

    async def account() -> Account:
        found = await told()
        return replace(found, positions={name: one for name, one in found.positions.items() if name != NAMES[0]})

    basket.exchange.account = account  # type: ignore[method-assign]
    assert await basket.flattener.run() == "BUSDT -250, CUSDT -250"
    assert {order.symbol: at - before for at, order, _ in basket.exchange.posts[sent:]} == dict.fromkeys(
        NAMES[1:], timedelta(0)
    )


async def test_a_flatten_waits_for_no_opening_that_it_forbids(basket: World) -> None:
    basket.boot().begin()
    basket.exchange.setups[NAMES[0]] = replace(basket.exchange.setups[NAMES[0]], margin_mode="cross")
    basket.exchange.accept_setup = False
    rest, rests = basket.daemon._persistence.rest, []

    async def asks(pause: timedelta) -> None:
        rests.append(pause)
        if len(rests) == 2:
            basket.journal.request(FLATTEN, basket.clock.now())
        await rest(pause)

    basket.daemon._persistence.rest = asks  # type: ignore[method-assign]
    await basket.daemon._attempt()
    assert basket.journal.pending_requests() == []
    assert basket.journal.positions() == {}
    assert max(at for at, _, _ in basket.exchange.posts) - CLOSE < 10 * SECOND
    refused = next(one for one in basket.journal.orders() if one.intent.symbol == NAMES[0])
    assert (refused.outcome, refused.sends) == (Outcome.DENIED, 0)


async def test_a_flatten_waits_for_no_stop_but_those_of_orders_under_way(basket: World) -> None:
    basket.boot().begin()
    await basket.daemon._attempt()
    basket.clock.time = CLOSE + timedelta(hours=1)
    basket.decide(("r", "-10"), symbol=NAMES[0], close=CLOSE + INTERVAL.delta)
    before, sent = basket.clock.now(), len(basket.exchange.posts)

    async def hang(*_: object) -> Stop:
        basket.clock.time += 10 * SECOND
        raise Unreached("timeout")

    for name in ("find_stop", "place_stop", "cancel_stop"):
        setattr(basket.stops, name, hang)
    await basket.flattener.run()
    after = {order.symbol: at - before for at, order, _ in basket.exchange.posts[sent:]}
    # what no order is under way of goes first
    assert after == {NAMES[0]: 10 * SECOND} | dict.fromkeys(NAMES[1:], timedelta(0))
    assert basket.journal.positions() == {}


async def test_orders_of_other_symbols_are_carried_where_one_cannot_be(basket: World) -> None:
    """One that cannot be set up for good must not keep from its order another which met one dead line."""
    basket.boot().begin()
    basket.exchange.setups[NAMES[0]] = replace(basket.exchange.setups[NAMES[0]], margin_mode="cross")
    basket.exchange.accept_setup = False
    setup, met = basket.exchange.setup, []

    async def once(symbol: str) -> Setup:
        if symbol == NAMES[1] and not met:
            met.append(symbol)
            raise Unreached("timeout")
        return await setup(symbol)

    basket.exchange.setup = once  # type: ignore[method-assign]
    await basket.daemon._attempt()
    outcomes = {one.intent.symbol: one.outcome for one in basket.journal.orders()}
    assert outcomes == {NAMES[0]: Outcome.EXPIRED} | dict.fromkeys(NAMES[1:], Outcome.CONFIRMED)


async def test_what_only_reduces_is_sent_beside_an_order_whose_trades_are_not_told(basket: World) -> None:
    basket.boot().begin()
    await basket.daemon._attempt()
    later = CLOSE + INTERVAL.delta
    basket.clock.time = later
    basket.boot()
    held = json.dumps({"book": {"positions": dict.fromkeys(NAMES, "250")}})
    intents = [
        Intent(
            client_id(INSTANCE, later, one, "c", 0), later, one, "c", 0, Decimal(-250), True, later, later + MAX_DELAY
        )
        for one in NAMES
    ]
    basket.journal.claim(later, later)
    basket.journal.record_decision(later, held, "{}", model_hash="m", why="a test", intents=intents, at=later)
    basket.journal.mark_sent(intents[0].client_id, later)
    basket.exchange.trade("-250", intents[0].client_id, NAMES[0])
    fills, sent = basket.exchange.fills, len(basket.exchange.posts)

    async def silent(symbol: str, **asked: Any) -> list[Fill]:
        return [] if symbol == NAMES[0] else await fills(symbol, **asked)

    basket.exchange.fills = silent  # type: ignore[method-assign]
    basket.boot()
    with pytest.raises(OutcomeUnknown, match="does not come to an end"):
        await basket.recovery.settle_open()
    assert {order.symbol for _, order, _ in basket.exchange.posts[sent:]} == set(NAMES[1:])
    assert basket.state() is State.ACTIVE


@pytest.mark.parametrize(
    ("asked", "error"), [(2, Unreached("timeout")), (1, RateLimited("banned", retry_at=CLOSE, status=418))]
)
async def test_an_exchange_that_is_not_reached_is_not_asked_for_every_open_order(
    asked: int, error: ExchangeError, basket: World
) -> None:
    basket.boot().begin()
    basket.exchange.faults = {("setup", number): error for number in range(9)}
    with pytest.raises(type(error)):
        await basket.cycle.run(CLOSE)
    if isinstance(error, Unreached):
        basket.exchange.faults |= {("sync_clock", number): error for number in range(99)}
    settled = len(basket.log.said("settling an open order"))
    with pytest.raises(type(error)):
        await basket.recovery.settle_open(halt=lambda mismatch: None)
    assert len(basket.log.said("settling an open order")) - settled == asked
    assert basket.exchange.posts == []


@pytest.mark.parametrize("told", [True, False])
async def test_a_person_who_trades_one_symbol_keeps_no_other_without_its_stop(told: bool, basket: World) -> None:
    basket.boot().begin()
    send, fills, traded = basket.exchange.send, basket.exchange.fills, []

    async def beside(request: OrderRequest) -> Order:
        if not traded:
            traded.append(request)
            basket.exchange.trade("40", "by-hand", NAMES[2])
        return await send(request)

    async def untold(symbol: str, **asked: Any) -> list[Fill]:
        if traded and not told and symbol == NAMES[2] and "order" not in asked:
            raise ExchangeError("HTTP 503")
        return await fills(symbol, **asked)

    basket.exchange.send, basket.exchange.fills = beside, untold  # type: ignore[method-assign]
    await basket.daemon._attempt()
    assert basket.state() is (State.HALTED if told else State.ACTIVE)
    assert {stop.symbol for stop in basket.stops.waiting()} == set(NAMES[:2])


@pytest.mark.parametrize("seconds", [0, 2])
async def test_a_start_sets_no_leverage_under_a_position_that_the_account_does_not_show_yet(
    seconds: int, new_world: Made
) -> None:
    world = new_world()
    world.boot().begin()
    world.journal.put(f"leverage:{ADA}", "1")
    world.exchange.setups[ADA] = replace(world.exchange.setups[ADA], leverage=1)
    (intent,) = world.decide(("o", "100"))
    world.journal.mark_sent(intent.client_id, world.clock.now())
    world.exchange.trade("100", client_id=intent.client_id)
    world.exchange.account_lag = seconds * SECOND
    world.boot()
    await world.startup.run(adopt=False)
    assert world.exchange.setups[ADA].leverage == 1
