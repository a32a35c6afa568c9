"""What closes because a loss has reached its limit, while the exchange is away."""

from collections.abc import Callable
from datetime import datetime, timedelta
from decimal import Decimal

import pytest

from tests.unit.live.exchange import ADA
from tests.unit.live.steps import Steps
from tests.unit.live.world import CLOSE, INTERVAL, World
from trader.domain.decision import Limits, State
from trader.errors import ExchangeError

BTC = "BTCUSDT"
NEXT = CLOSE + INTERVAL.delta
LATER = NEXT + timedelta(seconds=1)
THIRD = NEXT + INTERVAL.delta


async def breached(world: World, until: datetime) -> Decimal:
    """Hold what falls beyond the drawdown, and lose the exchange once that is decided; return what stays held."""
    world.limits = Limits(Decimal("0.2"), Decimal(1000))
    world.boot().begin()
    await world.cycle.run(CLOSE)
    opened = world.exchange.position()
    world.exchange.prices_now[ADA] = Decimal("0.5")
    world.clock.time = NEXT
    world.exchange.outages = [(LATER, until)]
    world.take_steps(Steps(hooks={("record_decision", 0): lambda: setattr(world.clock, "time", LATER)}))
    with pytest.raises(ExchangeError):
        await world.cycle.run(NEXT)
    assert world.exchange.position() == opened
    return opened


@pytest.mark.fault(30)
async def test_what_a_drawdown_closes_may_leave_until_the_next_close_is_due(world: World) -> None:
    back = NEXT + timedelta(minutes=25)
    await breached(world, back)
    world.clock.time = back
    report = await world.cycle.run(NEXT)
    assert report is not None
    assert report.state is State.HALTED
    assert world.exchange.position() == 0


async def test_what_a_drawdown_could_not_close_in_time_is_flattened_although_the_equity_has_recovered(
    world: World,
) -> None:
    opened = await breached(world, THIRD)
    world.clock.time = THIRD + timedelta(seconds=1)
    world.exchange.prices_now[ADA] = Decimal("0.9")
    report = await world.cycle.run(THIRD)
    assert report is not None
    assert (report.state, report.positions[ADA]) == (State.HALTED, opened)
    # the very next thing a daemon does is what it was asked for
    assert world.control.state() is State.HALTED
    (pending,) = world.control.flatten_pending()
    assert await world.flattener.run() == f"{ADA} {-opened:+f}"
    world.control.flattened([pending], "done")
    assert world.exchange.position() == 0
    assert world.journal.state().why.startswith("drawdown")


async def test_what_a_drawdown_could_not_close_beside_what_is_not_ours_is_left_to_a_person(
    new_world: Callable[..., World],
) -> None:
    """A flatten closes everything on the account, which only a person may ask for there."""
    world = new_world(symbols=(ADA, BTC))
    world.strategy.symbols = (ADA,)
    opened = await breached(world, THIRD)
    world.clock.time = THIRD + timedelta(seconds=1)
    world.exchange.prices_now[ADA] = Decimal("0.9")
    world.exchange.trade("4", symbol=BTC)
    world.journal.record_fills(world.exchange.trades(BTC))
    report = await world.cycle.run(THIRD)
    assert report is not None
    assert (report.state, world.exchange.position(), world.exchange.position(BTC)) == (State.HALTED, opened, 4)
    assert world.control.flatten_pending() == []
    (said,) = world.log.said("still held after a loss at its limit beside what is not ours; run `trader flatten`")
    assert said == {ADA: str(opened), BTC: "4"}
