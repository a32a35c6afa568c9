"""A daemon whose lock file was taken away leaves the stops as they are: another may run, and looks after them."""

from collections.abc import Iterator
from decimal import Decimal

import pytest

from tests.unit.live.exchange import ADA
from tests.unit.live.guarded import NEXT, protect, triggers
from tests.unit.live.steps import Steps
from tests.unit.live.world import CLOSE, World
from trader.errors import JournalError
from trader.journal.lock import Lock, lock_path


@pytest.fixture
def locked(guarded: World) -> Iterator[World]:
    """A position with its stop, of a daemon that holds its lock."""
    with Lock.acquire(guarded.path, started=CLOSE) as lock:
        guarded.boot().begin()
        guarded.journal.under(lock)
        yield guarded


async def held(world: World) -> None:
    world.decide(("o", "10"))
    await world.recovery.settle_open()
    await protect(world)
    assert triggers(world) == [Decimal("0.8")]


@pytest.mark.fault(15)
async def test_no_stop_is_placed_once_the_lock_is_lost(locked: World) -> None:
    locked.decide(("o", "10"))
    await locked.recovery.settle_open()
    lock_path(locked.path).unlink()
    with pytest.raises(JournalError, match="another may run"):
        await protect(locked)
    assert locked.stops.posts == []


@pytest.mark.fault(15)
async def test_a_stop_that_does_not_fit_any_more_rests_on_once_the_lock_is_lost(locked: World) -> None:
    await held(locked)
    locked.exchange.prices_now[ADA] = Decimal("1.5")
    locked.decide(("i", "10"), close=NEXT)
    await locked.recovery.settle_open()
    lock_path(locked.path).unlink()
    locked.take_steps(Steps())
    with pytest.raises(JournalError, match="another may run"):
        await protect(locked)
    assert "cancel_stop" not in locked.steps.names
    assert triggers(locked) == [Decimal("0.8")]


@pytest.mark.fault(15)
async def test_a_stop_that_is_left_over_rests_on_once_the_lock_is_lost(locked: World) -> None:
    await held(locked)
    (record,) = locked.journal.standing_stops()
    locked.journal.end_stop(record.client_id, "CANCELED", "in an older journal", locked.clock.now())
    lock_path(locked.path).unlink()
    with pytest.raises(JournalError, match="another may run"):
        await locked.recovery.at_rest()
    assert triggers(locked) == [Decimal("0.8")]
