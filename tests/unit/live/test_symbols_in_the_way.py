"""One symbol that is in nobody's reach, or whose story differs, is in no other's way."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

from tests.unit.live.exchange import REPLIES, Reply
from tests.unit.live.stops import Answer
from tests.unit.live.test_many_symbols import NAMES as TWENTY
from tests.unit.live.test_many_symbols import Basket
from tests.unit.live.test_settling_many import NAMES, NEXT, SECOND, A, B, C, decided, posts, settle
from tests.unit.live.test_waiting_beside_others import lost
from tests.unit.live.world import CLOSE, INSTANCE, World
from trader.domain.account import Account
from trader.domain.decision import State
from trader.domain.order import Fill, Order, OrderRequest, client_id
from trader.domain.stop import StopRequest
from trader.errors import ExchangeError, JournalBusy, Mismatch, RateLimited, Rejected, Unreached
from trader.journal.rows import MISSING_STOP, Outcome
from trader.live.lanes import ENOUGH
from trader.live.patience import Patience

Made = Callable[..., World]
D = "DUSDT"
ALL = (*NAMES, D)
MINUTE = timedelta(minutes=1)


def many(new_world: Made, symbols: tuple[str, ...], fraction: str | None = None) -> World:
    """A world of several symbols, with stops where a fraction is given."""
    world = new_world(symbols=symbols)
    world.strategy = Basket(wishes={CLOSE: 1.0})
    world.parallel = 8
    world.fraction = None if fraction is None else Decimal(fraction)
    world.boot().begin()
    return world


def untold(world: World, symbol: str, times: int = 999) -> None:
    """Let the trades of one symbol be told of an order alone, and not of the time since, for so many times."""
    fills, failed = world.exchange.fills, []

    async def unreached(name: str, **asked: Any) -> list[Fill]:
        if name == symbol and asked.get("order") is None and len(failed) < times:
            failed.append(name)
            raise Unreached("timeout")
        return await fills(name, **asked)

    world.exchange.fills = unreached  # type: ignore[method-assign]


def struck(world: World, symbol: str) -> None:
    """Let the stop of a symbol trigger."""
    world.exchange.prices_now[symbol] = Decimal("0.88")
    world.stops.trigger(symbol)


async def several(world: World, work: Callable[[], Any], times: int = 3) -> None:
    """Try something a few times, a minute apart, whatever it raises."""
    for _ in range(times):
        try:
            await work()
        except (Mismatch, ExchangeError):
            world.clock.time += MINUTE


@pytest.mark.parametrize("starts", [True, False])
async def test_two_symbols_that_are_not_reached_starve_no_other(starts: bool, new_world: Made) -> None:
    world = many(new_world, ALL, "0.1")
    for one in decided(world, CLOSE, *((name, "o", "250") for name in ALL), sent=ALL):
        world.exchange._place(one.request, Reply(), world.clock.now())
    lost(world, A)
    lost(world, B)
    world.boot()
    with pytest.raises(Unreached):
        await (world.startup.run(adopt=False) if starts else world.cycle.finish_decided())
    if not starts:
        await world.cycle.protect()
    assert world.journal.positions() == {C: Decimal(250), D: Decimal(250)}
    assert sorted(stop.symbol for stop in world.stops.waiting()) == [C, D]


@pytest.mark.parametrize(
    "error",
    [
        Rejected("revoked", code=-2015, status=401),
        RateLimited("banned", retry_at=CLOSE + timedelta(hours=1), status=418),
    ],
)
async def test_a_key_or_an_address_that_is_refused_is_not_tried_for_every_open_order(
    error: ExchangeError, new_world: Made
) -> None:
    world = many(new_world, TWENTY)
    decided(world, CLOSE, *((name, "o", "250") for name in TWENTY), sent=TWENTY)
    world.boot()
    looked = []

    async def refused(symbol: str, name: str) -> Order | None:
        looked.append(symbol)
        raise error

    world.exchange.find = refused  # type: ignore[method-assign]
    with pytest.raises(type(error)):
        await world.startup.run(adopt=False)
    assert len(looked) == 1


@pytest.mark.parametrize("whose", ["the one waited for", "one that was moved", "one that was forgotten"])
async def test_a_start_that_waits_takes_no_stop_back_where_it_places_none(whose: str, covered: World) -> None:
    adopt = whose == "one that was forgotten"
    if adopt:
        decided(covered, CLOSE, (A, "o", "250"), sent=(A,))
        covered.exchange.trade("100", "by-hand", B)
        name = client_id(INSTANCE, CLOSE, B, "s", 0)
        covered.stops._rest(StopRequest(name, B, Decimal(-100), Decimal("0.9")), Answer())
    else:
        await covered.daemon._attempt()
        decided(covered, NEXT, (A, "i", "50"), sent=(A,))
        which = A if whose == "the one waited for" else B
        (ended,) = (one for one in covered.journal.standing_stops() if one.symbol == which)
        covered.journal.end_stop(ended.client_id, "ABSENT", "the exchange does not know it", covered.clock.now(), None)
        if which == B:
            covered.exchange.trade("10", "by-hand", B)
    before = sorted(stop.symbol for stop in covered.stops.waiting())
    lost(covered, A)
    covered.boot()
    await several(covered, lambda: covered.startup.run(adopt=adopt))
    assert sorted(stop.symbol for stop in covered.stops.waiting()) == before == ([B] if adopt else [A, B, C])
    assert covered.state() is State.ACTIVE


async def test_an_order_of_ours_at_rest_keeps_no_other_symbol_without_its_stop(covered: World) -> None:
    first, second = decided(covered, CLOSE, (A, "o", "250"), (B, "o", "250"), sent=(A, B))
    covered.exchange._place(second.request, Reply(), covered.clock.now())
    nothing = Decimal(0)
    rests = Order(first.client_id, "77", A, first.quantity, nothing, nothing, "NEW", False, covered.clock.now())
    covered.exchange.resting = [rests]
    lost(covered, A)
    covered.boot()
    with pytest.raises(Unreached):
        await covered.startup.run(adopt=False)
    assert [stop.symbol for stop in covered.stops.waiting()] == [B]


async def test_nothing_follows_on_what_an_older_journal_forgot_while_nothing_may_be_opened(basket: World) -> None:
    basket.rules = replace(basket.rules, top_up=True)
    (intent,) = decided(basket, CLOSE, (A, "o", "250"))
    basket.clock.time += SECOND
    basket.exchange._place(intent.request, REPLIES["partial"], basket.clock.now())
    basket.journal.set_state(State.HALTED, "a person", "operator", basket.clock.now())
    basket.boot()
    await basket.startup.run(adopt=False)
    assert basket.journal.open_intents() == []
    assert basket.journal.position(A) == basket.exchange.position(A) == Decimal(125)
    (follow,) = (one for one in basket.journal.orders() if one.intent.client_id != intent.client_id)
    assert (follow.outcome, follow.sent_at) == (Outcome.DENIED, None)


@pytest.mark.parametrize("beside", ["a close that is tried again", "an order under way"])
async def test_a_position_that_the_account_shows_a_moment_late_has_its_stop(beside: str, covered: World) -> None:
    await covered.daemon._attempt()
    decided(covered, NEXT, (A, "i", "50"), sent=(A,))
    (stop,) = (one for one in covered.stops.waiting() if one.symbol == B)
    await covered.stops.cancel_stop(B, stop.client_id)
    covered.clock.time += timedelta(hours=1)
    shows, looks = covered.exchange.account, []

    async def late() -> Account:
        told = await shows()
        looks.append(covered.clock.now())
        if len(looks) > 2:
            return told
        return replace(told, positions={name: one for name, one in told.positions.items() if name != B})

    covered.exchange.account = late  # type: ignore[method-assign]
    covered.cycle._moved = True
    if beside == "an order under way":
        await covered.cycle.protect()
    else:
        assert await covered.cycle.protect_others(tell=False)
    assert sorted(stop.symbol for stop in covered.stops.waiting()) == list(NAMES)
    assert looks[2] - looks[0] == timedelta(seconds=1.5)


async def test_a_position_that_somebody_moved_is_waited_for_once(covered: World) -> None:
    await covered.daemon._attempt()
    covered.exchange.trade("10", "by-hand", B)
    covered.cycle._moved = True
    began = covered.clock.now()
    assert await covered.cycle.protect_others(tell=False)
    after = covered.clock.now()
    assert await covered.cycle.protect_others(tell=False)
    assert (after - began, covered.clock.now() - after) == (timedelta(seconds=3.5), timedelta(0))


async def test_an_exchange_that_tells_the_time_and_nothing_else_is_not_asked_for_every_order(
    new_world: Made,
) -> None:
    world = many(new_world, TWENTY)
    decided(world, CLOSE, *((name, "o", "250") for name in TWENTY), sent=TWENTY)
    world.boot()
    for name in TWENTY:
        lost(world, name)
    with pytest.raises(Unreached):
        await settle(world)
    assert len(world.log.said("order not settled")) == ENOUGH


async def test_nothing_more_is_opened_once_the_story_of_one_opening_differs(basket: World) -> None:
    basket.parallel = 1
    basket.boot()
    intents = decided(basket, CLOSE, *((name, "o", "250") for name in NAMES))
    basket.exchange.plan = [Reply(effect=False, error=REPLIES["never"].error)]
    send = basket.exchange.send

    async def beside(request: OrderRequest) -> Order:
        if request.symbol == A:
            basket.exchange.trade("40", "by-hand", A)
        return await send(request)

    basket.exchange.send = beside  # type: ignore[method-assign]
    with pytest.raises(Mismatch, match=intents[0].client_id):
        await basket.router.carry_all(intents)
    assert posts(basket) == [A]
    assert [one.intent.symbol for one in basket.journal.open_intents()] == list(NAMES)


async def test_a_start_that_accepts_the_account_ends_at_no_difference_it_would_accept(basket: World) -> None:
    """A is not reached once; what B's order came to is not given up before a try in which everything is reached."""
    decided(basket, CLOSE, *((name, "o", "250") for name in NAMES), sent=NAMES)
    basket.exchange.trade("40", "by-hand", B)
    basket.boot()
    find, failed = basket.exchange.find, []

    async def once(symbol: str, name: str) -> Order | None:
        if symbol == A and not failed:
            failed.append(symbol)
            raise Unreached("timeout")
        return await find(symbol, name)

    basket.exchange.find = once  # type: ignore[method-assign]
    with pytest.raises(Unreached):
        await basket.startup.run(adopt=True)
    await basket.startup.run(adopt=True)
    assert basket.journal.open_intents() == []


async def test_a_journal_that_is_busy_while_a_stop_is_missing_ends_no_close(
    covered: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The state is written down by a later look; the close is decided as soon as its last symbol can be."""
    journal, setup = covered.journal, covered.exchange.setup
    intend, set_state = journal.intend_stop, journal.set_state

    def within(minutes: int) -> bool:
        return covered.clock.now() - CLOSE < minutes * MINUTE

    async def later(symbol: str) -> Any:
        if symbol == C and within(6):
            raise ExchangeError("not now")
        return await setup(symbol)

    def busy(call: Callable[..., None]) -> Callable[..., None]:
        def tried(*given: Any, **named: Any) -> None:
            if within(3):
                raise JournalBusy("another process writes")
            call(*given, **named)

        return tried

    covered.exchange.setup = later  # type: ignore[method-assign]
    monkeypatch.setattr(journal, "intend_stop", busy(intend))
    monkeypatch.setattr(journal, "set_state", busy(set_state))
    await covered.daemon._attempt()
    assert covered.log.said("state not written down")
    assert journal.positions() == {name: Decimal(250) for name in NAMES}
    assert sorted(stop.symbol for stop in covered.stops.waiting()) == list(NAMES)
    assert (covered.state(), covered.cycle.unprotected) == (State.ACTIVE, False)


@pytest.mark.parametrize("state", [State.ACTIVE, State.HALTED])
async def test_which_stops_rest_is_not_known_only_restricts_what_is_not_restricted(
    state: State, covered: World
) -> None:
    if state is State.HALTED:
        covered.journal.set_state(state, "a person", "operator", covered.clock.now())
    covered.daemon._persistence._reduce("which stops rest is not known")
    now = covered.journal.state()
    expected = (State.REDUCING, MISSING_STOP) if state is State.ACTIVE else (State.HALTED, "operator")
    assert (now.state, now.by) == expected


async def test_a_start_that_waits_outlives_a_journal_that_is_busy_when_a_flatten_is_asked_for(
    basket: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    await basket.cycle.run(CLOSE)
    decided(basket, NEXT, (A, "i", "50"), sent=(A,))
    lost(basket, A)
    waits: list[float] = []

    async def sleep(seconds: float) -> None:
        waits.append(seconds)
        basket.clock.time += timedelta(seconds=seconds)
        if len(waits) > 3:
            basket.daemon.stop()

    def busy(*given: Any, **named: Any) -> None:
        raise JournalBusy("another process writes")

    basket.patience = Patience(lambda since: None, lambda: True, basket.log, sleep=sleep)
    basket.boot()
    basket.journal.request("flatten", basket.clock.now())
    monkeypatch.setattr(basket.journal, "set_state", busy)
    await basket.daemon.run()
    assert len(waits) == 4
    assert {fields["kind"] for fields in basket.log.said("not flattened yet")} == {"JournalBusy"}
