"""What closes because a loss has reached its limit, while the exchange is away."""

from datetime import timedelta
from decimal import Decimal

import pytest

from tests.unit.live.exchange import ADA
from tests.unit.live.steps import Steps
from tests.unit.live.world import CLOSE, INTERVAL, World
from trader.domain.decision import Limits, State
from trader.errors import ExchangeError

NEXT = CLOSE + INTERVAL.delta
LATER = NEXT + timedelta(seconds=1)


@pytest.mark.fault(30)
async def test_what_a_drawdown_closes_may_leave_until_the_next_close_is_due(world: World) -> None:
    world.limits = Limits(Decimal("0.2"), Decimal(1000))
    world.boot().begin()
    await world.cycle.run(CLOSE)
    opened = world.exchange.position()
    world.exchange.prices_now[ADA] = Decimal("0.5")
    world.clock.time = NEXT
    world.exchange.outages = [(LATER, NEXT + timedelta(minutes=25))]
    world.take_steps(Steps(hooks={("record_decision", 0): lambda: setattr(world.clock, "time", LATER)}))
    with pytest.raises(ExchangeError):
        await world.cycle.run(NEXT)
    assert world.exchange.position() == opened
    world.clock.time = NEXT + timedelta(minutes=25)
    report = await world.cycle.run(NEXT)
    assert report is not None
    assert report.state is State.HALTED
    assert world.exchange.position() == 0


async def test_what_a_drawdown_could_not_close_in_time_is_flattened_although_the_equity_has_recovered(
    world: World,
) -> None:
    world.limits = Limits(Decimal("0.2"), Decimal(1000))
    world.boot().begin()
    await world.cycle.run(CLOSE)
    opened = world.exchange.position()
    world.exchange.prices_now[ADA] = Decimal("0.5")
    world.clock.time = NEXT
    third = NEXT + INTERVAL.delta
    world.exchange.outages = [(LATER, third)]
    world.take_steps(Steps(hooks={("record_decision", 0): lambda: setattr(world.clock, "time", LATER)}))
    with pytest.raises(ExchangeError):
        await world.cycle.run(NEXT)
    world.clock.time = third + timedelta(seconds=1)
    world.exchange.prices_now[ADA] = Decimal("0.9")
    report = await world.cycle.run(third)
    assert report is not None
    assert (report.state, report.positions[ADA]) == (State.HALTED, opened)
    # the very next thing a daemon does is what it was asked for
    assert world.control.state() is State.HALTED
    (pending,) = world.control.flatten_pending()
    assert await world.flattener.run() == f"{ADA} {-opened:+f}"
    world.control.flattened([pending], "done")
    assert world.exchange.position() == 0
    assert world.journal.state().why.startswith("drawdown")
