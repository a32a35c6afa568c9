"""A close that cannot be decided is still looked at: what became of the account does not wait for candles."""

from dataclasses import replace
from datetime import timedelta

import pytest

from tests.unit.live.exchange import ADA
from tests.unit.live.guarded import protected
from tests.unit.live.world import CLOSE, INTERVAL, MAX_DELAY, World
from trader.domain.account import Account
from trader.domain.decision import State
from trader.errors import ConfigError, JournalError
from trader.execution.reconcile import Policies
from trader.journal.lock import Lock, lock_path
from trader.journal.rows import Status

NEXT = CLOSE + INTERVAL.delta


async def holding_without_candles(world: World) -> World:
    """Hold 5000, with no candle published from now on."""
    world.strategy.wishes = {CLOSE: 1.0, NEXT: 1.0}
    world.boot().begin()
    await world.daemon._attempt()
    assert world.exchange.position() == 5000
    world.exchange.publish_after = timedelta(days=365)
    world.clock.time = CLOSE + timedelta(hours=3)
    return world


@pytest.mark.fault(57)
async def test_a_symbol_that_was_settled_is_missed_although_it_has_no_candles_any_more(world: World) -> None:
    await holding_without_candles(world)
    world.exchange.trade("-5000", "settlement_autoclose-1")
    world.exchange.rules[ADA] = replace(world.exchange.rules[ADA], status="SETTLING")
    world.clock.time = NEXT
    await world.daemon._attempt()
    assert world.statuses()[NEXT] is Status.FAILED
    failed = world.journal.decision(NEXT)
    assert failed is not None
    assert "has not published" in str(failed.why)
    assert world.journal.position(ADA) == 0
    assert world.state() is State.HALTED
    (said,) = world.log.said("position taken")
    assert said["kind"] == "settlement"
    world.agree()


@pytest.mark.fault(54)
async def test_a_liquidation_is_found_at_the_next_close_although_that_has_no_candles(world: World) -> None:
    await holding_without_candles(world)
    world.exchange.trade("-5000", "autoclose-1")
    world.clock.time = NEXT
    await world.daemon._attempt()
    assert world.state() is State.HALTED
    world.agree()


async def test_what_a_person_did_halts_at_a_close_without_candles(world: World) -> None:
    await holding_without_candles(world)
    world.exchange.trade("70")
    world.clock.time = NEXT
    await world.daemon._attempt()
    assert world.statuses()[NEXT] is Status.FAILED
    assert world.state() is State.HALTED
    (said,) = world.log.said("close failed")
    assert said["kind"] == "Mismatch"
    assert "5070" in said["error"]
    assert len(world.exchange.posts) == 1


async def test_a_close_without_candles_on_an_explained_account_changes_nothing(world: World) -> None:
    await holding_without_candles(world)
    world.clock.time = NEXT
    await world.daemon._attempt()
    assert world.statuses()[NEXT] is Status.FAILED
    assert world.state() is State.ACTIVE
    (said,) = world.log.said("close failed")
    assert "has not published" in said["error"]
    assert len(world.exchange.posts) == 1
    world.agree()


async def test_an_account_that_is_not_told_either_leaves_the_close_failed_for_its_own_reason(world: World) -> None:
    await holding_without_candles(world)
    world.clock.time = NEXT
    world.exchange.outages.append((NEXT + MAX_DELAY - timedelta(minutes=1), NEXT + MAX_DELAY + timedelta(hours=1)))
    await world.daemon._attempt()
    assert world.statuses()[NEXT] is Status.FAILED
    assert world.state() is State.ACTIVE
    assert len(world.log.said("account not looked at")) == 1


async def test_an_account_that_cannot_be_read_does_not_hide_why_the_close_failed(world: World) -> None:
    await holding_without_candles(world)
    world.clock.time = NEXT

    async def account() -> Account:
        raise ConfigError("ADAUSDT is listed no more.")

    world.exchange.account = account  # type: ignore[method-assign]
    await world.daemon._attempt()
    (looked,) = world.log.said("account not looked at")
    assert looked["kind"] == "ConfigError"
    assert "has not published" in world.log.said("close failed")[0]["error"]


@pytest.mark.fault(20)
async def test_what_became_of_the_account_in_a_sleep_over_a_close_is_found_at_waking(world: World) -> None:
    await holding_without_candles(world)
    world.exchange.publish_after = timedelta(0)
    world.exchange.trade("-5000", "autoclose-1")
    world.clock.time = NEXT + MAX_DELAY + timedelta(minutes=1)
    await world.daemon._attempt()
    assert world.statuses()[NEXT] is Status.MISSED
    assert world.state() is State.HALTED
    assert len(world.exchange.posts) == 1
    world.agree()


async def test_stops_follow_what_was_adopted_at_a_close_without_candles(guarded: World) -> None:
    guarded.policies = Policies(position="adopt")
    await holding_without_candles(guarded)
    protected(guarded)
    guarded.exchange.trade("-9000")
    guarded.clock.time = NEXT
    await guarded.daemon._attempt()
    assert guarded.statuses()[NEXT] is Status.FAILED
    assert guarded.exchange.position() == -4000
    protected(guarded)
    guarded.agree()


async def test_a_daemon_told_to_stop_leaves_the_look_to_its_next_start(world: World) -> None:
    await holding_without_candles(world)
    world.clock.time = NEXT + MAX_DELAY + timedelta(minutes=1)
    world.daemon.stop()
    taken = len(world.steps.names)
    await world.daemon._persistence.look(world.cycle)
    assert len(world.steps.names) == taken


async def test_orders_under_way_are_settled_before_what_they_did_is_looked_at(world: World) -> None:
    world.boot().begin()
    world.decide(("o", "5000"))
    world.exchange.trade("70")
    taken = len(world.steps.names)
    await world.daemon._persistence.look(world.cycle)
    assert len(world.steps.names) == taken
    assert world.state() is State.ACTIVE


@pytest.mark.fault(15)
async def test_nothing_is_sent_once_the_lock_was_taken_away_between_the_decision_and_its_order(world: World) -> None:
    world.strategy.wishes = {CLOSE: 1.0}
    world.boot().begin()
    with Lock.acquire(world.path, started=CLOSE) as lock:
        world.journal.under(lock)
        world.decide(("o", "5000"))
        lock_path(world.path).unlink()
        with pytest.raises(JournalError, match="another may run"):
            await world.recovery.settle_open()
    assert world.exchange.posts == []
