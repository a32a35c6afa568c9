"""Orders that an earlier process sent and the journal has forgotten: an older one was put back, or a tail lost."""

from datetime import timedelta
from decimal import Decimal

import pytest

from tests.unit.live.exchange import ADA, SILENT, Reply
from tests.unit.live.world import CLOSE, World
from trader.domain.decision import State
from trader.errors import OutcomeUnknown
from trader.journal.rows import Intent, Outcome


async def forgetful(world: World, held: str) -> Intent:
    """Send an order, and decide it once more under a journal that knows nothing of it, some seconds later."""
    world.boot().begin()
    (before,) = world.decide(("o", "8"))
    await world.router.carry(before)
    world.journal.close()
    world.path.unlink()
    world.clock.time += timedelta(seconds=3)
    world.boot()
    world.journal.set_baseline(
        wallet=world.exchange.cash,
        equity=world.exchange.cash,
        positions={ADA: Decimal(held)} if Decimal(held) else {},
        last_trades={ADA: world.exchange.trades(ADA)[-1].trade_id},
        at=world.clock.now(),
    )
    (again,) = world.decide(("o", "8"))
    assert again.client_id == before.client_id
    return again


async def test_an_order_takes_no_name_that_an_older_journal_has_forgotten(world: World) -> None:
    again = await forgetful(world, "8")
    assert await world.router.carry(again) == 8
    assert world.record(again).outcome is Outcome.DENIED
    assert "has forgotten an order that has its name" in str(world.record(again).error_text)
    assert len(world.exchange.posts) == 1


async def test_what_closes_without_a_decision_takes_the_next_name_at_once(world: World) -> None:
    world.boot().begin("10")
    assert await world.flattener.run() == f"{ADA} -10"
    world.journal.close()
    world.path.unlink()
    world.clock.time += timedelta(seconds=3)
    world.exchange.trade("5")
    world.boot()
    world.journal.set_baseline(
        wallet=world.exchange.cash, equity=world.exchange.cash, positions={ADA: Decimal(5)}, last_trades={}, at=CLOSE
    )
    began = world.clock.now()
    assert await world.flattener.run() == f"{ADA} -5"
    assert [request.client_id[-2:] for _, request, _ in world.exchange.posts] == ["f0", "f1"]
    assert world.exchange.posts[-1][0] == began


async def test_an_order_that_is_still_under_way_is_waited_for_though_the_journal_forgot_that_it_was_sent(
    world: World,
) -> None:
    world.boot().begin()
    (opening,) = world.decide(("o", "8"))
    world.exchange.plan = [Reply(error=SILENT, delay=4.9)]
    world.clock.time += timedelta(milliseconds=5)
    with pytest.raises(OutcomeUnknown):
        await world.exchange.send(opening.request)
    world.boot()
    assert await world.router.carry(opening) == 0
    assert len(world.exchange.posts) == 1
    assert world.exchange.position() == 8
    assert world.record(opening).outcome is Outcome.CONFIRMED
    world.agree()


async def test_an_order_that_was_undone_meanwhile_is_ours_though_the_journal_forgot_that_it_was_sent(
    world: World,
) -> None:
    world.boot().begin()
    (opening,) = world.decide(("o", "8"))
    world.clock.time += timedelta(seconds=1)
    await world.exchange.send(opening.request)
    world.exchange.trade("-8", "adl_autoclose-1")
    world.boot()
    await world.recovery.settle_open()
    await world.recovery.reconcile()
    assert world.record(opening).outcome is Outcome.CONFIRMED
    assert world.state() is State.HALTED
    world.agree()


async def test_a_name_that_follows_from_a_close_of_this_process_is_not_looked_for(world: World) -> None:
    world.boot().begin()
    (intent,) = world.decide(("o", "8"))
    await world.router.carry(intent)
    assert "find" not in world.steps.names
    assert world.clock.now() == CLOSE
