"""One symbol that cannot be asked about keeps no other waiting, nor a flatten or a start."""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, cast

import pytest
from structlog.typing import FilteringBoundLogger

from tests.unit.live.exchange import REPLIES, Reply
from tests.unit.live.test_settling_many import NAMES, NEXT, SECOND, A, B, C, decided, posts, settle
from tests.unit.live.world import CLOSE, World
from trader.domain.decision import State
from trader.domain.order import Fill, Order
from trader.errors import ExchangeError, Mismatch, Unreached
from trader.execution.reconcile import Policies
from trader.journal.rows import MISSING_STOP, Outcome
from trader.live import persistence
from trader.live.control import FLATTEN
from trader.live.patience import Patience

Made = Callable[..., World]


def lost(world: World, symbol: str) -> None:
    """Let no order of one symbol be looked up any more."""
    find = world.exchange.find

    async def find_but_one(name: str, client: str) -> Order | None:
        if name == symbol:
            raise Unreached("timeout")
        return await find(name, client)

    world.exchange.find = find_but_one  # type: ignore[method-assign]


def flatten(world: World) -> int:
    """Ask for a flatten, and return how many orders were posted before it."""
    world.journal.request(FLATTEN, world.clock.now())
    world.control.state()
    return len(world.exchange.posts)


async def test_a_flatten_closes_all_but_the_one_whose_names_cannot_be_looked_up(basket: World) -> None:
    await basket.cycle.run(CLOSE)
    basket.boot()
    lost(basket, B)
    before = flatten(basket)
    with pytest.raises(Unreached):
        await basket.flattener.run()
    assert posts(basket, before) == [A, C]


async def test_a_flatten_asks_an_exchange_that_is_gone_for_two_names_at_most(basket: World) -> None:
    await basket.cycle.run(CLOSE)
    basket.boot()
    asked = []

    async def gone(name: str = "", client: str = "") -> Any:
        asked.append(name)
        raise Unreached("timeout")

    basket.exchange.find = gone  # type: ignore[method-assign]
    basket.exchange.sync_clock = gone  # type: ignore[method-assign]
    before = flatten(basket)
    with pytest.raises(Unreached):
        await basket.flattener.run()
    assert asked == [A, B, ""]
    assert posts(basket, before) == []
    assert not [order for order in basket.journal.orders() if order.intent.leg == "f"]


async def test_a_flatten_waits_for_no_order_that_was_never_sent(basket: World) -> None:
    await basket.cycle.run(CLOSE)
    decided(basket, NEXT, (B, "i", "50"), (C, "i", "50"))
    basket.exchange.trade("-40", "by-hand", A)
    fills = basket.exchange.fills

    async def untold(symbol: str, **asked: Any) -> list[Fill]:
        if symbol == A and asked.get("order") is None:
            raise Unreached("timeout")
        return await fills(symbol, **asked)

    basket.exchange.fills = untold  # type: ignore[method-assign]
    basket.boot()
    before = flatten(basket)
    await basket.flattener.run()
    assert {(order.symbol, at - NEXT) for at, order, _ in basket.exchange.posts[before:]} == {
        (name, timedelta(0)) for name in NAMES
    }
    unsent = [one for one in basket.journal.orders() if one.intent.leg == "i"]
    assert {(one.outcome, one.sends) for one in unsent} == {(Outcome.DENIED, 0)}


async def test_a_flatten_is_obeyed_while_a_start_waits(basket: World) -> None:
    await basket.cycle.run(CLOSE)
    decided(basket, NEXT, (A, "i", "50"), sent=(A,))
    lost(basket, A)
    waits = []

    async def sleep(seconds: float) -> None:
        waits.append(seconds)
        basket.clock.time += timedelta(seconds=seconds)
        if len(waits) == 2:
            basket.journal.request(FLATTEN, basket.clock.now())
        if len(waits) == 5:
            basket.daemon.stop()

    basket.patience = Patience(lambda outage: None, lambda: True, cast(FilteringBoundLogger, basket.log), sleep=sleep)
    basket.boot()
    before = len(basket.exchange.posts)
    await basket.daemon.run()
    assert posts(basket, before) == [B, C]
    assert basket.state() is State.HALTED
    assert basket.journal.pending_requests()
    assert basket.log.said("not flattened yet")


async def test_a_start_that_waits_before_its_baseline_has_nothing_to_flatten(new_world: Made) -> None:
    world = new_world()
    world.boot()
    world.journal.request(FLATTEN, world.clock.now())
    world.exchange.faults = {("account", 0): Unreached("timeout")}
    with pytest.raises(Unreached):
        await world.daemon.run()
    assert world.journal.pending_requests()


async def test_a_start_that_waits_for_one_symbol_settles_and_protects_the_others(covered: World) -> None:
    intents = decided(covered, CLOSE, *((name, "o", "250") for name in NAMES), sent=NAMES)
    for one in intents:
        covered.exchange._place(one.request, Reply(), covered.clock.now())
    lost(covered, A)
    covered.boot()
    with pytest.raises(Unreached):
        await covered.startup.run(adopt=False)
    assert covered.journal.positions() == dict.fromkeys((B, C), Decimal(250))
    assert {stop.symbol for stop in covered.stops.waiting()} == {B, C}


async def test_a_start_that_waits_sends_nothing_again_beside_the_symbol_it_waits_for(basket: World) -> None:
    decided(basket, CLOSE, (A, "o", "250"), (B, "o", "250"), sent=(A, B))
    lost(basket, A)
    basket.boot()
    with pytest.raises(Unreached):
        await basket.startup.run(adopt=False)
    assert posts(basket) == []
    assert {one.intent.symbol for one in basket.journal.open_intents()} == {A, B}


async def test_stops_that_cannot_be_seen_to_at_a_start_that_waits_end_it_as_they_found_it(covered: World) -> None:
    decided(covered, CLOSE, (A, "o", "250"), sent=(A,))
    lost(covered, A)
    covered.boot()

    async def out(busy: object, *, tell: bool, resting: object) -> bool:
        raise ExchangeError("HTTP 503")

    covered.recovery.protect_others = out  # type: ignore[method-assign]
    with pytest.raises(Unreached):
        await covered.startup.run(adopt=False)
    assert covered.log.said("stops not looked at")[0]["error"] == "HTTP 503"


async def test_an_order_of_ours_under_way_is_no_reason_to_halt_when_stops_are_looked_at(covered: World) -> None:
    covered.parallel = 1
    covered.boot()
    covered.router.began = CLOSE - SECOND
    covered.exchange.plan = [Reply(), REPLIES["executed"], Reply()]
    find, out, rest, rests = covered.exchange.find, [True], covered.daemon._persistence.rest, []

    async def find_later(symbol: str, name: str) -> Order | None:
        if out[0]:
            raise Unreached("timeout")
        return await find(symbol, name)

    async def until(pause: timedelta) -> None:
        rests.append(pause)
        if len(rests) == 5:
            out[0] = False
            covered.daemon.stop()
        await rest(pause)

    covered.exchange.find = find_later  # type: ignore[method-assign]
    covered.daemon._persistence.rest = until  # type: ignore[method-assign]
    await covered.daemon._attempt()
    assert [one.intent.symbol for one in covered.journal.open_intents()] == [B]
    assert covered.state() is State.ACTIVE
    assert {stop.symbol for stop in covered.stops.waiting()} == {A, C}


async def test_stops_that_hang_beside_a_close_are_told_at_the_second_time(
    covered: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(persistence, "_BESIDE", 0.01)
    covered.exchange.setups[C] = replace(covered.exchange.setups[C], margin_mode="cross")
    covered.exchange.accept_setup = False

    async def hang(request: object) -> Any:
        await asyncio.Event().wait()

    async def nothing(due: object, *, last: bool) -> None:
        return None

    covered.stops.place_stop = hang  # type: ignore[method-assign]
    covered.daemon._protect = nothing  # type: ignore[method-assign]
    await covered.daemon._attempt()
    assert (covered.state(), covered.journal.state().by) == (State.REDUCING, MISSING_STOP)
    assert len(covered.log.said("stops not looked at")) == 2
    assert len(covered.log.said("state changed")) == 1


async def test_what_reduces_does_not_wait_until_every_stop_was_looked_at(covered: World) -> None:
    covered.policies = Policies(stop="adopt")
    await covered.daemon._attempt()
    before = len(covered.exchange.posts)
    decided(covered, NEXT, (A, "r", "-100"), (B, "i", "50"))
    covered.exchange.prices_now[C] = Decimal("0.88")
    covered.stops.trigger(C)
    fills = covered.exchange.fills

    async def late(symbol: str, **asked: Any) -> list[Fill]:
        return [] if symbol == C else await fills(symbol, **asked)

    covered.exchange.fills = late  # type: ignore[method-assign]
    covered.boot()
    with pytest.raises(Exception, match="does not explain"):
        await settle(covered)
    ((at, order, _),) = covered.exchange.posts[before:]
    assert (order.symbol, at - NEXT < 20 * SECOND) == (A, True)


async def test_what_is_forbidden_when_a_start_finds_it_stays_unsent_whatever_a_person_resumes(basket: World) -> None:
    """He may have done by hand what was decided, and nobody has looked at the account since."""
    await basket.cycle.run(CLOSE)
    decided(basket, NEXT, (A, "i", "50"))
    basket.journal.request("halt", basket.clock.now())
    basket.control.state()
    basket.exchange.trade("50", "by-hand", A)
    basket.boot()
    before, until = len(basket.exchange.posts), basket.clock.sleep_until

    async def resumed(moment: datetime) -> None:
        if not basket.journal.pending_requests():
            basket.journal.request("resume", basket.clock.now())
        await until(moment)

    basket.clock.sleep_until = resumed  # type: ignore[method-assign]
    with pytest.raises(Mismatch, match="does not explain"):
        await basket.startup.run(adopt=False)
    assert posts(basket, before) == []


async def test_stops_beside_an_order_under_way_are_tried_again_where_the_account_could_not_be_read(
    covered: World,
) -> None:
    decided(covered, CLOSE, *((name, "o", "250") for name in NAMES), sent=NAMES)
    for one in covered.journal.open_intents():
        covered.exchange._place(one.intent.request, Reply(), covered.clock.now())
    lost(covered, A)
    covered.boot()
    with pytest.raises(Unreached):
        await covered.cycle.finish_decided()
    account = covered.exchange.account

    async def unread() -> Any:
        raise Unreached("timeout")

    covered.exchange.account = unread  # type: ignore[method-assign]
    with pytest.raises(Unreached):
        await covered.cycle.protect()
    assert covered.cycle.unprotected
    covered.exchange.account = account  # type: ignore[method-assign]
    await covered.cycle.protect()
    assert {stop.symbol for stop in covered.stops.waiting()} == {B, C}


async def test_what_only_reduces_at_a_start_waits_for_no_look_at_what_was_opened(basket: World) -> None:
    await basket.cycle.run(CLOSE)
    decided(basket, NEXT, (C, "r", "-100"), (A, "i", "50"), (B, "i", "50"), sent=(A, B))
    lost(basket, A)
    lost(basket, B)
    basket.boot()
    before = len(basket.exchange.posts)
    with pytest.raises(Unreached):
        await basket.startup.run(adopt=False)
    assert posts(basket, before) == [C]


async def test_a_start_that_waits_takes_stops_left_over_back_before_it_places_any(covered: World) -> None:
    await covered.daemon._attempt()
    decided(covered, NEXT, (A, "i", "50"), sent=(A,))
    (ended,) = (one for one in covered.journal.standing_stops() if one.symbol == B)
    covered.journal.end_stop(ended.client_id, "ABSENT", "the exchange does not know it", covered.clock.now(), None)
    lost(covered, A)
    covered.boot()
    with pytest.raises(Unreached):
        await covered.startup.run(adopt=False)
    assert covered.journal.state().state is State.ACTIVE
    assert sorted(stop.symbol for stop in covered.stops.waiting()) == [A, B, C]


async def test_a_start_that_waits_places_no_stop_beside_an_order_of_somebody_else(covered: World) -> None:
    intents = decided(covered, CLOSE, (A, "o", "250"), (B, "o", "250"), sent=(A, B))
    covered.exchange._place(intents[1].request, Reply(), covered.clock.now())
    lost(covered, A)
    covered.boot()

    nothing = Decimal(0)
    theirs = Order("by-hand", "77", C, Decimal(1), nothing, nothing, "NEW", False, covered.clock.now())
    covered.exchange.resting = [theirs]
    with pytest.raises(Unreached):
        await covered.startup.run(adopt=False)
    assert covered.stops.waiting() == []


async def test_what_is_asked_for_beside_hanging_stops_is_not_overruled(
    covered: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A halt stays its own, and a resume that waits is not called overtaken."""
    monkeypatch.setattr(persistence, "_BESIDE", 0.01)
    covered.exchange.setups[C] = replace(covered.exchange.setups[C], margin_mode="cross")
    covered.exchange.accept_setup = False
    rest, rests = covered.daemon._persistence.rest, []

    async def hang(request: object) -> Any:
        await asyncio.Event().wait()

    async def nothing(due: object, *, last: bool) -> None:
        return None

    async def halted(pause: timedelta) -> None:
        rests.append(pause)
        if len(rests) == 3:
            covered.journal.set_state(State.HALTED, "a person", "operator", covered.clock.now())
        await rest(pause)

    covered.stops.place_stop = hang  # type: ignore[method-assign]
    covered.daemon._protect = nothing  # type: ignore[method-assign]
    covered.daemon._persistence.rest = halted  # type: ignore[method-assign]
    await covered.daemon._attempt()
    assert (covered.journal.state().state, covered.journal.state().by) == (State.HALTED, "operator")


async def test_a_flatten_names_no_second_order_for_what_one_is_written_down_for(basket: World) -> None:
    await basket.cycle.run(CLOSE)
    basket.boot()
    before = flatten(basket)
    account = await basket.exchange.account()
    held = {one: account.positions[one].quantity for one in NAMES}
    for name, quantity in held.items():
        basket.journal.intend(await basket.flattener._closer._intent(name, -quantity))
    assert await basket.flattener.run() == "AUSDT -250, BUSDT -250, CUSDT -250"
    assert posts(basket, before) == [A, B, C]
    assert basket.journal.positions() == {}


async def test_a_start_goes_on_looking_beside_one_order_that_differs(basket: World) -> None:
    intents = decided(basket, CLOSE, *((name, "o", "250") for name in NAMES), sent=NAMES)
    basket.exchange.trade("40", "by-hand", B)
    basket.exchange._place(intents[2].request, Reply(), basket.clock.now())
    lost(basket, A)
    basket.boot()
    with pytest.raises(Mismatch, match=intents[1].client_id):
        await basket.startup.run(adopt=False)
    assert basket.journal.positions() == {C: Decimal(250)}
    assert posts(basket) == []


async def test_what_is_forbidden_is_taken_for_sent_where_a_journal_has_only_forgotten_that_it_was(
    basket: World,
) -> None:
    (intent,) = decided(basket, CLOSE, (A, "o", "250"))
    basket.clock.time += SECOND
    basket.exchange._place(intent.request, Reply(), basket.clock.now())
    basket.journal.set_state(State.HALTED, "a person", "operator", basket.clock.now())
    basket.boot()
    await basket.startup.run(adopt=False)
    assert basket.record(intent).outcome is Outcome.CONFIRMED
    assert basket.journal.positions() == {A: Decimal(250)}
