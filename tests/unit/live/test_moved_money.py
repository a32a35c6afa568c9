"""Money and positions that move while a close looks at the account: neither a loss, nor overlooked."""

from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal

import pytest

from tests.unit.live.exchange import ADA
from tests.unit.live.steps import Steps
from tests.unit.live.world import CLOSE, INTERVAL, World
from trader.domain.account import Income
from trader.domain.decision import Limits, State
from trader.errors import ExchangeError
from trader.execution.reconcile import Policies
from trader.live.record import decode_inputs

NEXT = CLOSE + INTERVAL.delta


def pays_in(world: World, amount: int) -> Callable[[], None]:
    def pay() -> None:
        number = str(len(world.exchange.bookings) + 1)
        world.exchange.bookings.append(Income(number, "TRANSFER", "", Decimal(amount), world.clock.now(), ""))

    return pay


async def test_money_paid_in_between_two_looks_is_no_drawdown(world: World) -> None:
    world.limits = Limits(Decimal("0.3"), Decimal(1000))
    world.boot().begin("10")
    world.journal.put("peak", "10000")
    world.take_steps(Steps(hooks={("incomes", 0): pays_in(world, 10_000)}))
    report = await world.cycle.run(CLOSE)
    assert report is not None
    assert report.state is State.ACTIVE
    assert report.equity == world.journal.peak_equity() == 20_000
    assert report.positions == {ADA: 10_000}


@pytest.mark.parametrize("funded_late", [False, True])
async def test_money_moved_between_the_last_look_and_the_end_of_a_close_is_no_loss_of_that_day(
    funded_late: bool, world: World
) -> None:
    world.limits = Limits(Decimal("0.9"), Decimal(1000), max_daily_loss=Decimal("0.1"))
    world.boot().begin()

    def moved() -> None:
        if funded_late:
            # told with the time it was due, and paid after the account was looked at
            world.exchange.bookings.append(Income("8", "FUNDING_FEE", ADA, Decimal(-1), CLOSE, ""))
        just_before = world.clock.now() - timedelta(milliseconds=1)
        world.exchange.bookings.append(Income("9", "TRANSFER", "", Decimal(-4000), just_before, ""))

    world.clock.time = CLOSE + timedelta(seconds=1)
    world.take_steps(Steps(hooks={("finish", 0): moved}))
    await world.cycle.run(CLOSE)
    world.clock.time = NEXT
    report = await world.cycle.run(NEXT)
    assert report is not None
    assert (report.state, report.equity) == (State.ACTIVE, 5999 if funded_late else 6000)


@pytest.mark.fault(50)
async def test_what_a_person_trades_between_two_looks_is_there_when_the_close_is_decided(world: World) -> None:
    world.policies = Policies(position="adopt")
    world.boot().begin("10")
    world.take_steps(Steps(hooks={("incomes", 0): lambda: world.exchange.trade("7")}))
    await world.cycle.run(CLOSE)
    transcript = world.journal.transcript(CLOSE)
    assert transcript is not None
    assert decode_inputs(transcript.inputs).book.positions == {ADA: 17}


async def test_an_account_that_never_comes_to_rest_leaves_the_close_to_be_run_again(world: World) -> None:
    world.policies = Policies(position="adopt")
    world.boot().begin()
    world.take_steps(Steps(hooks={("incomes", turn): lambda: world.exchange.trade("5") for turn in range(7)}))
    with pytest.raises(ExchangeError, match="changes with every look"):
        await world.cycle.run(CLOSE)
    assert world.state() is State.ACTIVE
    assert (await world.cycle.run(CLOSE)) is not None
