"""Where stops cannot be placed, everything else goes on: what has to be closed is closed, and nothing is opened."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from decimal import Decimal

import pytest

from tests.unit.live.exchange import ADA, SILENT, Reply
from tests.unit.live.guarded import BTC, NEXT, guard, protect, protected
from tests.unit.live.steps import Steps
from tests.unit.live.stops import Answer
from tests.unit.live.test_many_symbols import Basket
from tests.unit.live.world import CLOSE, INTERVAL, FakeStrategy, World, hook
from trader.domain.decision import State
from trader.domain.instrument import Instrument
from trader.domain.order import Order
from trader.errors import ConfigError, ExchangeError, Mismatch, OutcomeUnknown, Rejected
from trader.execution.remainder import Rules
from trader.journal.rows import MISSING_STOP, Status

THIRD = NEXT + INTERVAL.delta
DOWN = "was answered with HTTP 503"
NAMES = ("AUSDT", "BUSDT", "CUSDT")
FOREIGN = "BTCUSDC"
Made = Callable[..., World]


class Outage:
    """Answers what is asked about stops with 503 while it lasts, of all symbols or of some."""

    def __init__(self, world: World, *names: str, of: Sequence[str] = ()) -> None:
        self.on = True
        for name in names:
            self._cover(world, name, of)

    def _cover(self, world: World, name: str, of: Sequence[str]) -> None:
        works = getattr(world.stops, name)

        async def call(*given: object) -> object:
            symbol = getattr(given[0], "symbol", given[0])
            if self.on and (not of or symbol in of):
                await world.exchange._enter(name)
                raise OutcomeUnknown(DOWN) if name == "place_stop" else ExchangeError(DOWN)
            return await works(*given)

        setattr(world.stops, name, call)


def blind(world: World, outage: Outage) -> None:
    """Let the list of conditional orders fail too, as all of one service does."""
    works = world.exchange.open_orders

    async def open_orders(*, conditional: bool = True) -> list[Order]:
        if outage.on and conditional:
            raise ExchangeError(f"GET /fapi/v1/openAlgoOrders {DOWN}")
        return await works(conditional=conditional)

    world.exchange.open_orders = open_orders  # type: ignore[method-assign]


EVERYTHING = ("place_stop", "find_stop", "cancel_stop")


@pytest.mark.parametrize("names", [("place_stop",), EVERYTHING])
async def test_a_stop_service_that_is_out_over_several_closes_keeps_nothing_from_being_closed(
    names: tuple[str, ...], guarded: World
) -> None:
    guarded.strategy.wishes = {CLOSE: 1.0, NEXT: 0.0, THIRD: 1.0}
    outage = Outage(guarded, *names)
    await guarded.run(end=CLOSE)
    assert guarded.exchange.position() == 5000
    assert (guarded.state(), guarded.journal.state().by) == (State.REDUCING, MISSING_STOP)
    assert guarded.log.said("position without a stop")
    guarded.clock.time = NEXT
    await guarded.run(end=NEXT)
    assert guarded.exchange.position() == 0
    assert guarded.statuses() == {CLOSE: Status.CLOSED, NEXT: Status.CLOSED}
    outage.on = False
    guarded.clock.time = THIRD
    await guarded.run(end=THIRD)
    assert guarded.state() is State.ACTIVE
    assert guarded.exchange.position() == 5000
    protected(guarded)
    guarded.agree()


async def test_a_daemon_that_lives_on_closes_what_has_no_stop(guarded: World) -> None:
    guarded.strategy.wishes = {CLOSE: 1.0, NEXT: 0.0}
    Outage(guarded, *EVERYTHING)
    await guarded.run(end=NEXT)
    assert guarded.exchange.position() == 0
    assert guarded.statuses() == {CLOSE: Status.CLOSED, NEXT: Status.CLOSED}
    guarded.agree()


async def test_a_stop_is_placed_as_soon_as_the_service_is_back_between_two_closes(guarded: World) -> None:
    outage = Outage(guarded, *EVERYTHING)
    guarded.exchange._later.append((CLOSE + INTERVAL.delta / 8, lambda: setattr(outage, "on", False)))
    await guarded.run(end=CLOSE)
    assert guarded.clock.now() < NEXT
    assert guarded.state() is State.ACTIVE
    protected(guarded)


async def test_nothing_is_opened_while_a_stop_is_missing_whatever_a_person_resumes(guarded: World) -> None:
    guarded.strategy.wishes = {CLOSE: 0.5, NEXT: 1.0}
    Outage(guarded, *EVERYTHING)
    guarded.boot()
    await guarded.startup.run(adopt=False)
    await guarded.cycle.run(CLOSE)
    await guarded.cycle.protect()
    held = guarded.exchange.position()
    hook(guarded, "resume")()
    guarded.control.state()
    assert guarded.state() is State.ACTIVE
    guarded.clock.time = NEXT
    report = await guarded.cycle.run(NEXT)
    assert report is not None
    assert report.state is State.REDUCING
    assert guarded.exchange.position() == held > 0


async def test_a_resume_that_waits_does_not_make_a_passing_restriction_last(guarded: World) -> None:
    guarded.boot().begin("10")
    hook(guarded, "resume")()
    outage = Outage(guarded, "place_stop")
    await protect(guarded)
    assert guarded.control.state() is State.ACTIVE
    await protect(guarded)
    outage.on = False
    await protect(guarded)
    assert guarded.state() is State.ACTIVE


@pytest.mark.parametrize("said", ["router", "stop", "control"])
async def test_a_restriction_that_a_person_has_to_lift_outlasts_a_stop_that_was_missing(
    said: str, guarded: World
) -> None:
    guarded.boot().begin("10")
    outage = Outage(guarded, "place_stop")
    await protect(guarded)
    outage.on = False
    if said == "router":
        (close,) = guarded.decide(("r", "-4"))
        await guarded.router._refuse(close, Rejected("only reducing", code=-4400))
    elif said == "stop":
        works, guarded.stops.place_stop = guarded.stops.place_stop, refused  # type: ignore[method-assign,assignment]
        await protect(guarded)
        guarded.stops.place_stop = works  # type: ignore[method-assign]
    else:
        guarded.control.restrict(State.REDUCING, "it drifts", "drift")
    assert guarded.journal.state().by != MISSING_STOP
    await protect(guarded)
    assert guarded.state() is State.REDUCING
    protected(guarded)


async def refused(stop: object) -> object:
    raise Rejected("no", code=-4045)


async def test_a_start_without_the_stop_service_reduces_and_closes_what_a_flatten_asks_for(guarded: World) -> None:
    await guarded.run(end=CLOSE)
    outage = Outage(guarded, *EVERYTHING)
    blind(guarded, outage)
    hook(guarded, "flatten")()
    await guarded.run(end=CLOSE)
    assert guarded.exchange.position() == 0
    assert guarded.journal.pending_requests() == []


async def test_conditional_orders_that_are_not_told_keep_nothing_from_being_closed_and_everything_from_being_opened(
    guarded: World,
) -> None:
    guarded.strategy.wishes = {CLOSE: 1.0, NEXT: -1.0}
    await guarded.run(end=CLOSE)
    outage = Outage(guarded)
    blind(guarded, outage)
    guarded.clock.time = NEXT
    await guarded.run(end=NEXT)
    assert guarded.exchange.position() == 0
    assert "which stops rest is not told" in guarded.journal.state().why
    outage.on = False
    guarded.boot()
    await guarded.startup.run(adopt=False)
    assert guarded.state() is State.ACTIVE


async def test_a_list_of_conditional_orders_is_asked_for_again_until_it_is_told(guarded: World) -> None:
    outage = Outage(guarded)
    blind(guarded, outage)
    guarded.boot()
    await guarded.startup.run(adopt=False)
    assert guarded.cycle.unprotected
    assert guarded.recovery.state() is guarded.state() is State.REDUCING
    outage.on = False
    await guarded.cycle.protect()
    assert not guarded.cycle.unprotected
    assert guarded.state() is State.ACTIVE


async def test_an_order_is_settled_while_its_symbol_s_stop_cannot_be_looked_at(guarded: World) -> None:
    guarded.boot().begin("10")
    await protect(guarded)
    (close,) = guarded.decide(("c", "-10"))
    Outage(guarded, *EVERYTHING)
    await guarded.recovery.settle_open()
    assert guarded.record(close).final
    assert guarded.log.said("stop not looked at")
    assert guarded.exchange.position() == 0


async def test_a_left_over_stop_that_cannot_be_cancelled_is_cancelled_at_the_next_look(guarded: World) -> None:
    guarded.boot().begin("10")
    await protect(guarded)
    (record,) = guarded.journal.standing_stops()
    guarded.journal.end_stop(record.client_id, "ABSENT", "the exchange does not know it", CLOSE)
    outage = Outage(guarded, "cancel_stop")
    assert await guarded.recovery.at_rest() == []
    assert len(guarded.stops.waiting()) == 1
    outage.on = False
    assert await guarded.recovery.at_rest() == []
    assert guarded.stops.waiting() == []


async def test_a_basket_decides_on_though_one_of_its_symbols_can_have_no_stop(new_world: Made) -> None:
    world = guard(new_world(symbols=NAMES))
    world.strategy = Basket(wishes={CLOSE: 1.0, NEXT: 0.0})
    Outage(world, "place_stop", of=NAMES[:1])
    await world.run(end=CLOSE)
    assert [one.symbol for one in world.stops.waiting()] == list(NAMES[1:])
    world.clock.time = NEXT
    await world.run(end=NEXT)
    assert [world.exchange.position(symbol) for symbol in NAMES] == [0, 0, 0]
    assert world.statuses() == {CLOSE: Status.CLOSED, NEXT: Status.CLOSED}
    world.agree()


def strange(world: World, symbol: str, *, listed: bool = False) -> None:
    """Tell the rules of one symbol no more, as `exchange.public.Market` does; `listed` as something of another kind."""
    works = world.exchange.instruments

    async def instruments(symbols: Sequence[str]) -> dict[str, Instrument]:
        if symbol in symbols:
            raise ConfigError(f"{symbol} is not a USDT-margined perpetual of this venue; check the strategy's symbol.")
        return dict(await works(symbols))

    left = {name: rules for name, rules in world.exchange.rules.items() if name != symbol}

    async def perpetuals() -> tuple[dict[str, Instrument], dict[str, str]]:
        await world.exchange._enter("listed")
        return left, {}

    if not listed:
        del world.exchange.rules[symbol]
    world.exchange.instruments = instruments  # type: ignore[method-assign]
    world.exchange.listed = perpetuals  # type: ignore[method-assign]


async def test_a_position_of_another_kind_that_was_adopted_gets_a_stop_and_is_flattened(new_world: Made) -> None:
    world = guard(new_world(symbols=(ADA, FOREIGN)))
    strange(world, FOREIGN, listed=True)
    world.strategy = FakeStrategy(symbols=(ADA,), wishes={CLOSE: 1.0, NEXT: -1.0})
    world.exchange.trade("3", "by-hand", FOREIGN)
    await world.run(adopt=True, end=NEXT)
    assert world.state() is State.ACTIVE
    assert world.exchange.position() == -5000
    protected(world)
    assert sorted(one.symbol for one in world.stops.waiting()) == [ADA, FOREIGN]
    hook(world, "flatten")()
    # what a first order leaves of it is closed by the next try, as no order follows without its rules
    world.rules = Rules(top_up=True)
    world.exchange.plan = [Reply(), Reply(share=Decimal("0.5"), status="EXPIRED")]
    world.clock.patience = 100
    await world.run(end=THIRD, poll=0.0)
    assert [world.exchange.position(symbol) for symbol in (ADA, FOREIGN)] == [0, 0]
    assert world.stops.waiting() == []
    assert world.journal.pending_requests() == []
    world.agree()


async def test_a_symbol_without_rules_keeps_nothing_else_from_being_flattened_and_is_named(new_world: Made) -> None:
    world = guard(new_world(symbols=(ADA, BTC, FOREIGN)))
    strange(world, FOREIGN)
    world.strategy = FakeStrategy(symbols=(ADA, BTC), wishes={CLOSE: 1.0})
    for symbol in (ADA, BTC, FOREIGN):
        world.exchange.trade("1", "by-hand", symbol)
    await world.run(adopt=True, end=CLOSE)
    assert [one.symbol for one in world.stops.waiting()] == [ADA, BTC]
    assert f"for {FOREIGN}: it is not listed on this venue" in world.journal.state().why
    assert f"close {FOREIGN} by hand" in world.journal.state().why
    hook(world, "flatten")()
    world.control.state()
    with pytest.raises(Mismatch, match=rf"{FOREIGN} \+1, as it is not listed .*close it by hand on the exchange"):
        await world.flattener.run()
    assert [world.exchange.position(symbol) for symbol in (ADA, BTC, FOREIGN)] == [0, 0, 1]
    assert world.stops.waiting() == []
    assert len(world.journal.pending_requests()) == 1
    world.exchange.trade("-1", "by-hand", FOREIGN)
    await world.flattener.run()


async def test_symbols_that_are_told_get_their_stops_anew_beside_one_that_is_not(new_world: Made) -> None:
    world = guard(new_world(symbols=NAMES))
    world.strategy = Basket(wishes={CLOSE: 1.0, NEXT: 1.0})
    await world.run(end=CLOSE)
    for one in world.stops.book:
        one.stop = replace(one.stop, status="CANCELED")
    strange(world, NAMES[0])
    world.boot()
    await world.recovery.protect(await world.recovery.reconcile())
    assert [one.symbol for one in world.stops.waiting()] == list(NAMES[1:])
    assert list(world.protection.missing) == [NAMES[0]]


async def test_a_position_beyond_its_stop_whose_closing_is_not_explained_is_said(guarded: World) -> None:
    guarded.boot().begin("10")
    guarded.exchange.prices_now[ADA] = Decimal("0.79")
    guarded.stops.plan = [Answer(effect=False, error=Rejected("beyond", code=-2021))]
    guarded.exchange.plan = [Reply(effect=False, error=SILENT)]
    guarded.take_steps(Steps(hooks={("answer", 0): lambda: guarded.exchange.trade("-1", "by-hand")}))
    with pytest.raises(Mismatch, match="not known to the exchange"):
        await protect(guarded)
    assert guarded.state() is State.HALTED
    assert list(guarded.protection.missing) == [ADA]
