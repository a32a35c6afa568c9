"""Several orders of several symbols are left open: what one comes to decides what may become of the others."""

import asyncio
import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from tests.unit.live.exchange import ADA, REPLIES, Reply
from tests.unit.live.guarded import protect
from tests.unit.live.stops import Answer
from tests.unit.live.world import CLOSE, INSTANCE, INTERVAL, MAX_DELAY, World
from trader.domain.decision import State
from trader.domain.order import Fill, Order, client_id
from trader.errors import ExchangeError, JournalBusy, Mismatch, OutcomeUnknown, RateLimited, Unreached
from trader.execution.reconcile import Policies
from trader.journal.rows import MISSING_STOP, Intent
from trader.live.control import FLATTEN

A, B, C = NAMES = ("AUSDT", "BUSDT", "CUSDT")
NEXT = CLOSE + INTERVAL.delta
SECOND = timedelta(seconds=1)
Made = Callable[..., World]


def decided(world: World, close: datetime, *orders: tuple[str, str, str], sent: Sequence[str] = ()) -> list[Intent]:
    """Make one decision of (symbol, kind, quantity) durable, and some of it sent."""
    held = {one: str(quantity) for one, quantity in world.journal.positions().items()}
    intents = [
        Intent(
            client_id(INSTANCE, close, symbol, kind, 0), close, symbol, kind, 0, Decimal(quantity), kind in "cr",
            close, close + MAX_DELAY,
        )
        for symbol, kind, quantity in orders
    ]  # fmt: skip
    world.clock.time = max(world.clock.time, close)
    world.journal.claim(close, close)
    world.journal.record_decision(
        close, json.dumps({"book": {"positions": held}}), "{}", model_hash="m", why="a test", intents=intents, at=close
    )
    for one in intents:
        if one.symbol in sent:
            world.journal.mark_sent(one.client_id, close)
    return intents


def silent(world: World, symbol: str) -> None:
    """Let the trades of one symbol be told no more."""
    fills = world.exchange.fills

    async def untold(name: str, **asked: Any) -> list[Fill]:
        return [] if name == symbol else await fills(name, **asked)

    world.exchange.fills = untold  # type: ignore[method-assign]


async def settle(world: World) -> None:
    """Settle what is open as a cycle does."""
    await world.recovery.settle_open(halt=world.cycle._halt)


def posts(world: World, since: int = 0) -> list[str]:
    return [order.symbol for _, order, _ in world.exchange.posts[since:]]


@pytest.mark.parametrize("reply", ["never", "partial"])
async def test_nothing_opens_once_another_symbol_cannot_be_explained(reply: str, basket: World) -> None:
    """Neither what was lost and would be sent again, nor what would follow on half of it."""
    first, second = decided(basket, CLOSE, (A, "o", "250"), (B, "o", "250"), sent=(A, B))
    basket.exchange.trade("40", "by-hand", A)
    if reply == "partial":
        basket.exchange._place(second.request, REPLIES[reply], basket.clock.now())
    basket.boot()
    with pytest.raises(Mismatch, match=first.client_id):
        await basket.cycle.finish_decided()
    assert (posts(basket), basket.state()) == ([], State.HALTED)


@pytest.mark.parametrize("by", ["autoclose-1", "by-hand"])
async def test_one_failed_read_of_a_symbol_lets_nothing_open_that_its_whole_answer_would_not(
    by: str, basket: World
) -> None:
    await basket.daemon._attempt()
    before = len(basket.exchange.posts)
    decided(basket, NEXT, (A, "r", "-100"), (B, "i", "100"))
    basket.exchange.trade("-250" if by != "by-hand" else "300", by, A)
    fills, failed = basket.exchange.fills, []

    async def once(symbol: str, **asked: Any) -> list[Fill]:
        if symbol == A and not failed:
            failed.append(symbol)
            raise Unreached("timeout")
        return await fills(symbol, **asked)

    basket.exchange.fills = once  # type: ignore[method-assign]
    basket.boot()
    for _ in range(3):
        try:
            await settle(basket)
        except (Mismatch, ExchangeError):
            basket.clock.time += SECOND
    assert B not in posts(basket, before)
    assert basket.state() is State.HALTED


async def test_a_start_that_cannot_settle_one_symbol_opens_no_other(covered: World) -> None:
    """It would end with a position that has no stop, and nobody who runs."""
    first, _ = decided(covered, CLOSE, (A, "o", "250"), (B, "o", "250"), sent=(A,))
    covered.exchange._place(first.request, Reply(), covered.clock.now())
    silent(covered, A)
    covered.boot()
    with pytest.raises(OutcomeUnknown):
        await covered.startup.run(adopt=False)
    assert posts(covered) == []


@pytest.mark.parametrize("how", ["hang", "busy"])
async def test_a_halt_waits_for_no_other_symbol(how: str, basket: World) -> None:
    decided(basket, CLOSE, (A, "o", "100"), (B, "o", "100"), sent=(A, B))
    basket.exchange.trade("40", "by-hand", A)
    find, reached = basket.exchange.find, asyncio.Event()

    async def find_but_one(symbol: str, name: str) -> Order | None:
        if symbol == B:
            reached.set()
            if how == "busy":
                raise JournalBusy("another process writes")
            await asyncio.Event().wait()
        return await find(symbol, name)

    basket.exchange.find = find_but_one  # type: ignore[method-assign]
    basket.boot()
    settling = asyncio.create_task(basket.cycle.finish_decided())
    await reached.wait()
    assert basket.state() is State.HALTED
    settling.cancel()
    with pytest.raises((asyncio.CancelledError, JournalBusy)):
        await settling


async def test_a_halt_waits_for_no_stops_beside_it(covered: World, monkeypatch: pytest.MonkeyPatch) -> None:
    await covered.cycle.run(CLOSE)
    covered.cycle._seen = None
    covered.exchange.trade("40", "by-hand", C)

    def busy(intent: object) -> None:
        raise JournalBusy("another process writes")

    monkeypatch.setattr(covered.journal, "intend_stop", busy)
    with pytest.raises(JournalBusy):
        await covered.cycle.protect()
    assert covered.state() is State.HALTED


async def test_what_the_stop_of_another_symbol_did_halts_before_an_opening_is_sent_again(covered: World) -> None:
    await covered.daemon._attempt()
    before = len(covered.exchange.posts)
    decided(covered, NEXT, (A, "i", "100"), sent=(A,))
    covered.exchange.prices_now[C] = Decimal("0.88")
    covered.stops.trigger(C)
    covered.boot()
    await settle(covered)
    assert (posts(covered, before), covered.state()) == ([], State.HALTED)


async def test_one_stop_that_is_not_reached_hides_no_other_that_triggered(covered: World) -> None:
    covered.policies = Policies(stop="adopt")
    await covered.daemon._attempt()
    decided(covered, NEXT, (A, "r", "-100"), (B, "r", "-100"), sent=(A, B))
    covered.exchange.prices_now[B] = Decimal("0.88")
    covered.stops.trigger(B)
    find, failed = covered.stops.find_stop, []

    async def once(symbol: str, name: str) -> Any:
        if symbol == A and not failed:
            failed.append(symbol)
            raise Unreached("timeout")
        return await find(symbol, name)

    covered.stops.find_stop = once  # type: ignore[method-assign]
    covered.boot()
    await settle(covered)
    assert covered.state() is State.ACTIVE


async def test_a_stop_that_failed_beside_a_close_is_placed_minutes_later_and_told_where_it_fails_again(
    covered: World,
) -> None:
    silent(covered, A)
    limited = RateLimited("too many requests", retry_at=CLOSE)
    covered.stops.plan = [Answer(effect=False, error=limited), Answer(), Answer(effect=False, error=limited)]
    placed: dict[str, timedelta] = {}
    place, rest, states = covered.stops.place_stop, covered.daemon._persistence.rest, set()

    async def noted(request: Any) -> Any:
        stop = await place(request)
        placed[request.symbol] = covered.clock.now() - CLOSE
        return stop

    async def until(pause: timedelta) -> None:
        states.add((covered.journal.state().state, covered.journal.state().by))
        if covered.clock.now() - CLOSE > timedelta(minutes=30):
            covered.daemon.stop()
        await rest(pause)

    covered.stops.place_stop = noted  # type: ignore[method-assign]
    covered.daemon._persistence.rest = until  # type: ignore[method-assign]
    await covered.daemon._attempt()
    assert set(placed) == {B, C}
    assert max(placed.values()) < timedelta(minutes=12)
    assert (State.REDUCING, MISSING_STOP) in states


async def test_a_busy_journal_beside_a_close_keeps_no_order_of_it_from_being_sent(
    covered: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    setup, intend, failed = covered.exchange.setup, covered.journal.intend_stop, []

    async def later(symbol: str) -> Any:
        if symbol != B and covered.clock.now() - CLOSE < 8 * SECOND:
            raise ExchangeError("not now")
        return await setup(symbol)

    def busy(intent: Any) -> None:
        if not failed:
            failed.append(intent)
            raise JournalBusy("another process writes")
        intend(intent)

    covered.exchange.setup = later  # type: ignore[method-assign]
    monkeypatch.setattr(covered.journal, "intend_stop", busy)
    await covered.daemon._attempt()
    assert failed
    assert set(covered.journal.positions()) == {stop.symbol for stop in covered.stops.waiting()} == set(NAMES)


async def test_a_flatten_closes_what_appears_late_beside_an_order_that_cannot_be_settled(basket: World) -> None:
    intents = decided(basket, CLOSE, (A, "o", "100"), (B, "o", "100"), sent=(A, B))
    basket.exchange.trade("100", intents[1].client_id, B)
    basket.clock.time += 60 * SECOND
    basket.exchange.trade("100", intents[0].client_id, A)
    basket.exchange.account_lag = 2 * SECOND
    basket.boot()
    basket.journal.request(FLATTEN, basket.clock.now())
    basket.control.state()
    find, send = basket.exchange.find, basket.exchange.send

    def stuck(symbol: str, name: str) -> bool:
        order = basket.journal.order(name)
        return symbol == B and order is not None and order.intent.leg == "f" and order.sent_at is not None

    async def find_but_one(symbol: str, name: str) -> Order | None:
        if stuck(symbol, name):
            raise Unreached("timeout")
        return await find(symbol, name)

    async def send_but_one(request: Any) -> Order:
        if stuck(request.symbol, request.client_id):
            raise OutcomeUnknown("no answer")
        return await send(request)

    basket.exchange.find, basket.exchange.send = find_but_one, send_but_one  # type: ignore[method-assign]
    for _ in range(3):
        with pytest.raises(Unreached):
            await basket.flattener.run()
    assert basket.journal.positions() == {B: Decimal(100)}


async def test_a_start_refuses_no_leverage_of_a_position_that_is_gone(new_world: Made) -> None:
    world = new_world()
    world.policies = Policies(stop="adopt")
    world.fraction = Decimal("0.1")
    world.boot().begin(held="100")
    await protect(world)
    world.exchange.prices_now[ADA] = Decimal("0.88")
    world.stops.trigger(ADA)
    world.exchange.setups[ADA] = replace(world.exchange.setups[ADA], leverage=5)
    world.boot()
    await world.startup.run(adopt=False)
    assert world.journal.positions() == {}


@pytest.mark.parametrize("there", [True, False])
async def test_stops_that_cannot_be_reached_are_not_all_asked_for_where_the_exchange_is_gone(
    there: bool, covered: World
) -> None:
    await covered.daemon._attempt()
    before = len(covered.exchange.posts)
    decided(covered, NEXT, (A, "r", "-100"), (B, "r", "-100"), (C, "r", "-100"))
    asked = []

    async def unreached(symbol: str, name: str) -> Any:
        asked.append(symbol)
        raise Unreached("timeout")

    covered.stops.find_stop = unreached  # type: ignore[method-assign]
    covered.boot()
    measure, measured = covered.exchange.sync_clock, []

    async def once_gone() -> timedelta:
        measured.append(len(asked))
        if len(measured) == 1 and not there:
            raise Unreached("timeout")
        return await measure()

    covered.exchange.sync_clock = once_gone  # type: ignore[method-assign]
    await settle(covered)
    assert measured[0] == 2
    assert asked == ([A, B, C] if there else [A, B])
    assert posts(covered, before) == [A, B, C]
