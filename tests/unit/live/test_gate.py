"""The last look before an order leaves, on a running instance."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

import pytest

from tests.unit.live.exchange import ADA
from tests.unit.live.steps import Steps
from tests.unit.live.world import CLOSE, INTERVAL, World, hook
from trader.domain.decision import State
from trader.errors import ExchangeError, NotSent
from trader.execution.guards import WireLimits, Withheld
from trader.journal.rows import Outcome
from trader.live.today import day_equity, orders_today

BTC = "BTCUSDT"
NEXT = CLOSE + INTERVAL.delta
LIMITS = WireLimits(Decimal("0.05"), timedelta(seconds=1))


def guarded(world: World) -> World:
    world.wire_limits = LIMITS
    return world.boot().begin()


def outcomes(world: World) -> list[Outcome | None]:
    return [order.outcome for order in world.journal.orders()]


async def test_an_opening_is_looked_at_once_more_and_sent(world: World) -> None:
    guarded(world)
    await world.cycle.run(CLOSE)
    names = world.steps.names
    assert names[names.index("record_decision") + 1 : names.index("send")] == [
        "setup",
        "sync_clock",
        "prices",
        "mark_sent",
    ]
    assert outcomes(world) == [Outcome.CONFIRMED]


@pytest.mark.fault(17)
async def test_a_clock_that_is_off_opens_nothing_and_closes_what_is_held(world: World) -> None:
    guarded(world)
    await world.cycle.run(CLOSE)
    world.exchange.clock_offset = timedelta(seconds=-5)
    world.clock.time = NEXT
    await world.cycle.run(NEXT)
    assert outcomes(world) == [Outcome.CONFIRMED, Outcome.CONFIRMED, Outcome.DENIED]
    assert world.exchange.position() == 0
    assert "clock" in str(world.journal.orders()[-1].error_text)


@pytest.mark.fault(44)
async def test_a_price_that_ran_away_since_the_decision_opens_nothing(world: World) -> None:
    guarded(world)
    jump = {("record_decision", 0): lambda: world.exchange.prices_now.update({ADA: Decimal("1.2")})}
    world.take_steps(Steps(hooks={**jump}))
    await world.cycle.run(CLOSE)
    assert outcomes(world) == [Outcome.DENIED]
    assert world.exchange.posts == []


@pytest.mark.parametrize(("other", "sent"), [("0", True), ("40", True), ("70", False), ("-70", False)])
async def test_a_canary_s_cap_is_looked_at_over_all_symbols_immediately_before_an_opening_leaves(
    other: str, sent: bool, new_world: Callable[..., World]
) -> None:
    world = new_world(symbols=(ADA, BTC))
    world.strategy.symbols = (ADA,)
    world.limits = replace(world.limits, canary_notional=Decimal(60))
    world.wire_limits = replace(LIMITS, canary_notional=Decimal(100))
    world.boot().begin()
    if Decimal(other):
        world.exchange.trade(other, symbol=BTC)
        world.journal.record_fills(world.exchange.trades())
    await world.cycle.run(CLOSE)
    assert outcomes(world) == [Outcome.CONFIRMED if sent else Outcome.DENIED]
    assert world.exchange.position(ADA) == (60 if sent else 0)
    if not sent:
        assert "over the canary's 100" in str(world.journal.orders()[-1].error_text)


async def test_a_canary_s_cap_counts_openings_of_other_symbols_that_are_under_way(
    new_world: Callable[..., World],
) -> None:
    world = new_world(symbols=(ADA, BTC))
    world.wire_limits = replace(LIMITS, canary_notional=Decimal(100))
    world.boot().begin()
    (first,) = world.decide(("o", "-60"))
    (second,) = world.decide(("o", "60"), symbol=BTC, close=NEXT)
    # one that has not left yet may still be withheld itself
    assert not isinstance(await world.gate.clear(second), Withheld)
    world.journal.mark_sent(first.client_id, world.clock.now())
    withheld = await world.gate.clear(second)
    assert isinstance(withheld, Withheld)
    assert "over the canary's 100" in withheld.reason
    # one at its end counts by what is held of it
    world.exchange.trade("-30", first.client_id)
    world.journal.record_fills(world.exchange.trades())
    world.journal.settle(first.client_id, None, Outcome.DENIED, final=True, at=world.clock.now())
    assert not isinstance(await world.gate.clear(second), Withheld)


async def test_a_canary_s_cap_is_not_judged_without_the_price_of_all_that_it_counts(
    new_world: Callable[..., World], monkeypatch: pytest.MonkeyPatch
) -> None:
    world = new_world(symbols=(ADA, BTC))
    world.wire_limits = replace(LIMITS, canary_notional=Decimal(100))
    world.boot().begin()
    world.exchange.trade("4", symbol=BTC)
    world.journal.record_fills(world.exchange.trades())
    (opening,) = world.decide(("o", "60"))

    async def told(symbols: Sequence[str]) -> dict[str, Decimal]:
        return {ADA: Decimal(1)}

    monkeypatch.setattr(world.exchange, "prices", told)
    with pytest.raises(ExchangeError, match="no price of BTCUSDT"):
        await world.gate.clear(opening)


async def test_a_canary_that_somebody_planned_too_large_is_not_opened_and_what_is_held_is_closed(world: World) -> None:
    world.wire_limits = replace(LIMITS, canary_notional=Decimal(100))
    world.boot().begin()
    await world.cycle.run(CLOSE)
    assert outcomes(world) == [Outcome.DENIED]
    world.exchange.trade("5000", "before")
    world.journal.record_fills(world.exchange.trades())
    world.clock.time = NEXT
    await world.cycle.run(NEXT)
    assert outcomes(world) == [Outcome.DENIED, Outcome.CONFIRMED, Outcome.DENIED]
    assert world.exchange.position() == 0


@pytest.mark.fault(81)
@pytest.mark.parametrize("turn", ["sync_clock", "prices"])
@pytest.mark.parametrize("kind", ["halt", "flatten"])
async def test_what_a_person_says_during_the_last_look_is_obeyed(turn: str, kind: str, world: World) -> None:
    guarded(world)
    world.take_steps(Steps(hooks={(turn, 1): hook(world, kind)}))
    await world.cycle.run(CLOSE)
    assert world.exchange.posts == []
    assert world.state() is State.HALTED


@pytest.mark.fault(81)
async def test_a_close_that_grew_too_old_while_a_person_was_obeyed_is_not_sent(world: World) -> None:
    """Obeying writes to the journal, and a disk may stand still."""
    world.boot().begin("10")
    (close,) = world.decide(("c", "-10"))
    hook(world, "halt")()
    later = {("obey", 0): lambda: setattr(world.clock, "time", CLOSE + timedelta(minutes=25))}
    world.take_steps(Steps(hooks={**later}))
    assert await world.carry_all() is None
    assert world.exchange.posts == []
    assert world.record(close).outcome is Outcome.EXPIRED


async def test_what_cannot_be_asked_at_the_last_look_leaves_the_order_open(world: World) -> None:
    guarded(world)
    world.exchange.faults = {("prices", 1): NotSent("no route")}
    with pytest.raises(NotSent):
        await world.cycle.run(CLOSE)
    assert world.exchange.posts == []
    assert len(world.journal.open_intents()) == 1
    await world.cycle.run(CLOSE)
    assert outcomes(world) == [Outcome.CONFIRMED]


async def test_a_state_is_only_ever_made_stricter_without_a_person(world: World) -> None:
    world.boot().begin()
    world.control.restrict(State.REDUCING, "settling", "exchange")
    world.control.restrict(State.HALTED, "revoked", "exchange")
    world.control.restrict(State.REDUCING, "settling again", "exchange")
    world.control.restrict(State.ACTIVE, "nothing", "exchange")
    assert [(one.state, one.why) for one in world.journal.states()] == [
        (State.REDUCING, "settling"),
        (State.HALTED, "revoked"),
    ]


async def test_a_day_s_orders_and_equity_are_counted_from_the_journal_and_anew_after_a_resume(world: World) -> None:
    world.limits = replace(world.limits, max_orders=2, max_daily_loss=Decimal("0.05"))
    world.boot().begin()
    for number in range(3):
        world.clock.time = CLOSE + number * INTERVAL.delta
        await world.cycle.run(world.clock.time)
    # 00:00 opens; at 16:00 the close is sent and the opening would be the third of the day; then a new day
    assert world.exchange.position() == 5000
    assert [len([o for o in world.journal.orders() if o.intent.close == at]) for at in world.statuses()] == [1, 1, 1]
    assert orders_today(world.journal, NEXT + timedelta(hours=1)) == 2
    later = CLOSE + 3 * INTERVAL.delta
    assert day_equity(world.journal, later, Decimal(9_000)) == 10_000
    world.journal.request("resume", later)
    world.control.state()
    assert day_equity(world.journal, later, Decimal(9_000)) is None


async def test_dear_funding_opens_nothing(world: World) -> None:
    world.limits = replace(world.limits, max_funding=Decimal("0.0001"))
    world.exchange.funding_now = {ADA: Decimal("0.01")}
    world.boot().begin()
    report = await world.cycle.run(CLOSE)
    assert report is not None
    assert "max_funding" in report.why
    assert world.exchange.posts == []
