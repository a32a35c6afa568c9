"""One close: decided once, on the right candles, durable before it is sent."""

from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal

import polars as pl
import pytest

from tests.unit.execution_world import instrument
from tests.unit.live.exchange import ADA, REPLIES, flat_candles
from tests.unit.live.steps import Crash, Steps
from tests.unit.live.world import CLOSE, INTERVAL, FakeStrategy, World, hook
from trader.domain.decision import Limits, State
from trader.errors import DataError, ExchangeError, JournalError, Mismatch
from trader.journal.rows import Status

NEXT = CLOSE + INTERVAL.delta
SECOND = timedelta(seconds=1)


async def test_a_close_is_decided_sent_verified_and_finished(world: World) -> None:
    world.boot().begin()
    report = await world.cycle.run(CLOSE)
    assert report is not None
    assert (report.close, report.positions, report.equity, report.state) == (CLOSE, {ADA: 5000}, 10_000, State.ACTIVE)
    assert report.candle_closes == {ADA: 1.0}
    assert world.statuses() == {CLOSE: Status.CLOSED}
    assert len(world.log.said("close decided")) == 1
    world.agree()


async def test_nothing_is_sent_before_decision_and_intents_are_durable(world: World) -> None:
    world.boot().begin("10")
    await world.cycle.run(CLOSE)
    names = world.steps.names
    assert names.index("claim") < names.index("record_decision") < names.index("mark_sent") < names.index("send")
    sent = [number for number, name in enumerate(names) if name == "send"]
    assert all(names[number - 1] == "mark_sent" for number in sent)


async def test_a_second_wake_up_for_the_same_close_does_nothing(world: World) -> None:
    world.boot().begin()
    await world.cycle.run(CLOSE)
    steps = len(world.steps.names)
    assert await world.cycle.run(CLOSE) is None
    assert world.steps.names[steps:] == ["claim"]


@pytest.mark.fault(20)
async def test_a_machine_that_slept_in_the_middle_of_a_cycle_decides_nothing_any_more(world: World) -> None:
    sleeps = {("prices", 0): lambda: setattr(world.clock, "time", NEXT)}
    world.boot(Steps(hooks=sleeps)).begin()
    with pytest.raises(ExchangeError, match="more than the 0:20:00 within which it may be decided"):
        await world.cycle.run(CLOSE)
    assert world.statuses() == {CLOSE: Status.CLAIMED}
    assert world.exchange.posts == []


@pytest.mark.parametrize("status", [Status.MISSED, Status.FAILED])
async def test_a_close_that_was_given_up_is_not_decided_any_more(status: Status, world: World) -> None:
    world.boot().begin()
    world.journal.claim(CLOSE, CLOSE)
    (world.journal.miss if status is Status.MISSED else world.journal.fail)(CLOSE, "a test", CLOSE)
    assert await world.cycle.run(CLOSE) is None
    assert world.exchange.posts == []


async def test_a_flip_is_a_close_and_then_an_opening(world: World) -> None:
    world.boot().begin()
    await world.cycle.run(CLOSE)
    world.clock.time = NEXT
    await world.cycle.run(NEXT)
    assert [(request.quantity, request.reduce_only) for _, request, _ in world.exchange.posts] == [
        (5000, False),
        (-5000, True),
        (-5000, False),
    ]
    world.obeyed()


async def test_a_large_target_is_reached_in_parts(world: World) -> None:
    world.exchange.rules[ADA] = instrument(max_quantity="2000")
    world.boot().begin()
    await world.cycle.run(CLOSE)
    world.clock.time = NEXT
    await world.cycle.run(NEXT)
    assert world.exchange.position() == -5000
    assert len(world.exchange.posts) == 9
    world.agree()


async def test_candles_not_published_yet_leave_the_close_to_be_run_again(world: World) -> None:
    world.boot().begin()
    world.exchange.publish_after = 5 * SECOND
    with pytest.raises(ExchangeError, match="has not published"):
        await world.cycle.run(CLOSE)
    assert world.statuses() == {CLOSE: Status.CLAIMED}
    world.clock.time += 5 * SECOND
    assert await world.cycle.run(CLOSE) is not None


@pytest.mark.fault(66)
async def test_a_window_that_ends_elsewhere_is_not_decided_on(new_world: Callable[..., World]) -> None:
    world = new_world(symbols=(ADA, "BTCUSDT"))
    world.boot().begin()
    both, before = (ADA, "BTCUSDT"), CLOSE - INTERVAL.delta
    world.exchange.candle_frames = [
        flat_candles(both, INTERVAL, before, 2),
        flat_candles(both, INTERVAL, NEXT, 2),
        flat_candles((ADA,), INTERVAL, CLOSE, 2),
        flat_candles((ADA,), INTERVAL, CLOSE, 2).vstack(flat_candles(("BTCUSDT",), INTERVAL, before, 2)),
    ]
    for _ in range(4):
        with pytest.raises(ExchangeError, match="has not published"):
            await world.cycle.run(CLOSE)
    assert await world.cycle.run(CLOSE) is not None


@pytest.mark.fault(68)
async def test_candles_that_cannot_be_used_decide_nothing(world: World) -> None:
    world.boot().begin()
    world.exchange.faults = {("candles", 0): DataError("a bar is missing")}
    with pytest.raises(DataError):
        await world.cycle.run(CLOSE)
    assert world.statuses() == {CLOSE: Status.CLAIMED}
    assert world.exchange.posts == []


async def test_a_strategy_without_a_forecast_at_the_close_decides_nothing(world: World) -> None:
    class Silent(FakeStrategy):
        def forecast(self, candles: pl.DataFrame) -> pl.DataFrame:
            return super().forecast(candles).clear()

    world.strategy = Silent()
    world.boot().begin()
    with pytest.raises(DataError, match="No forecast"):
        await world.cycle.run(CLOSE)
    assert world.statuses() == {CLOSE: Status.CLAIMED}


@pytest.mark.parametrize("when", ["candles", "account"])
async def test_a_position_changed_by_hand_halts_before_a_decision(when: str, world: World) -> None:
    world.boot().begin("10")
    world.take_steps(Steps(hooks={(when, 0): lambda: world.exchange.trade("5")}))
    with pytest.raises(Mismatch):
        await world.cycle.run(CLOSE)
    assert world.state() is State.HALTED
    assert world.journal.state().by == "reconciliation"
    assert world.statuses() == {CLOSE: Status.CLAIMED}
    assert world.exchange.posts == []


async def test_a_position_changed_by_hand_during_the_orders_halts_after_them(world: World) -> None:
    world.boot().begin()
    world.take_steps(Steps(hooks={("answer", 0): lambda: world.exchange.trade("5")}))
    with pytest.raises(Mismatch):
        await world.cycle.run(CLOSE)
    assert world.state() is State.HALTED
    assert world.statuses() == {CLOSE: Status.DECIDED}
    assert world.journal.position(ADA) == 5000


async def test_an_order_that_cannot_be_settled_halts(world: World) -> None:
    world.boot().begin()
    world.exchange.plan = [REPLIES["never"]]
    world.take_steps(Steps(hooks={("find", 0): lambda: world.exchange.trade("5")}))
    with pytest.raises(Mismatch):
        await world.cycle.run(CLOSE)
    assert world.state() is State.HALTED


@pytest.mark.parametrize("seconds", [2, 30])
async def test_an_account_that_lags_behind_its_orders_does_not_halt(seconds: int, world: World) -> None:
    world.boot().begin()
    world.exchange.account_lag = seconds * SECOND
    report = await world.cycle.run(CLOSE)
    assert report is not None
    assert report.positions == {ADA: 5000}
    assert world.state() is State.ACTIVE


async def test_a_liquidation_found_at_a_close_halts_and_the_close_decides_nothing(world: World) -> None:
    world.boot().begin("10")
    world.exchange.trade("-10", "autoclose-1")
    report = await world.cycle.run(CLOSE)
    assert report is not None
    assert report.state is State.HALTED
    assert world.exchange.posts == []
    world.agree()


@pytest.mark.fault(41)
async def test_what_a_partial_fill_leaves_is_sent_once_more_and_what_that_leaves_is_said_aloud(world: World) -> None:
    world.boot().begin()
    world.exchange.plan = [REPLIES["partial"]] * 2
    report = await world.cycle.run(CLOSE)
    assert report is not None
    assert report.positions == {ADA: 3750}
    (said,) = world.log.said("position differs from the decision")
    assert said == {"symbol": ADA, "held": "3750.0", "wished": "5000"}
    world.agree()


async def test_a_drawdown_closes_everything_and_halts(world: World) -> None:
    world.limits = Limits(Decimal("0.3"), Decimal(1000))
    world.boot().begin()
    await world.cycle.run(CLOSE)
    world.clock.time = NEXT
    world.exchange.prices_now[ADA] = Decimal("0.3")
    report = await world.cycle.run(NEXT)
    assert report is not None
    assert (report.state, report.positions) == (State.HALTED, {ADA: 0})
    assert (world.state(), world.journal.state().by) == (State.HALTED, "guard")
    assert world.exchange.position() == 0


async def test_the_peak_is_the_highest_equity_at_a_close_and_a_resume_begins_a_new_one(world: World) -> None:
    world.boot().begin()
    world.strategy.wishes = {CLOSE + step * INTERVAL.delta: 1.0 for step in range(4)}
    await world.cycle.run(CLOSE)
    for step, price in enumerate(("1.2", "0.9"), 1):
        world.clock.time = CLOSE + step * INTERVAL.delta
        world.exchange.prices_now[ADA] = Decimal(price)
        await world.cycle.run(world.clock.time)
    assert world.journal.peak_equity() == 11_000
    hook(world, "resume")()
    world.control.state()
    assert world.journal.peak_equity() == 0
    world.clock.time = CLOSE + 3 * INTERVAL.delta
    report = await world.cycle.run(world.clock.time)
    assert report is not None
    assert world.journal.peak_equity() == report.equity < 11_000


async def test_a_journal_that_cannot_be_written_sends_nothing(world: World) -> None:
    def full() -> None:
        raise JournalError("the disk is full")

    for step in ("claim", "record_decision", "mark_sent"):
        world.boot(Steps(hooks={(step, 0): full}))
        if not world.journal.has_baseline():
            world.begin()
        with pytest.raises(JournalError):
            await world.cycle.run(CLOSE)
        assert world.exchange.posts == []


async def test_a_journal_that_fails_after_a_post_keeps_the_order_to_be_settled(world: World) -> None:
    def full() -> None:
        raise JournalError("the disk is full")

    world.boot().begin()
    for step in ("record_fills", "settle", "finish"):
        world.boot(Steps(hooks={(step, 0): full}))
        with pytest.raises(JournalError):
            await world.cycle.run(CLOSE)
    world.boot()
    assert await world.cycle.run(CLOSE) is not None
    assert len(world.exchange.posts) == 1
    world.agree()


async def test_what_an_earlier_close_left_is_finished_before_the_next_is_decided(world: World) -> None:
    world.boot().begin()
    world.exchange.outages = [(CLOSE + SECOND, NEXT + 5 * SECOND)]
    world.take_steps(Steps(hooks={("answer", 0): lambda: setattr(world.clock, "time", CLOSE + SECOND)}))
    with pytest.raises(ExchangeError):
        await world.cycle.run(CLOSE)
    world.clock.time = NEXT
    with pytest.raises(ExchangeError):
        await world.cycle.run(NEXT)
    assert world.statuses() == {CLOSE: Status.DECIDED, NEXT: Status.CLAIMED}
    world.clock.time = NEXT + 5 * SECOND
    assert await world.cycle.run(NEXT) is not None
    assert world.statuses() == {CLOSE: Status.CLOSED, NEXT: Status.CLOSED}
    assert [request.quantity for _, request, _ in world.exchange.posts] == [5000, -5000, -5000]
    world.agree()


async def test_a_decision_whose_transcript_is_lost_halts(world: World) -> None:
    world.boot().begin()
    world.decide(("o", "8"))
    world.journal._database._raw.execute("DELETE FROM transcripts")
    with pytest.raises(Mismatch, match="transcript"):
        await world.cycle.run(CLOSE)
    assert world.state() is State.HALTED


@pytest.mark.fault(1)
@pytest.mark.parametrize("kind", ["confirmed", "executed", "never", "partial", "not_sent"])
async def test_a_death_at_any_step_of_a_flip_leaves_the_same_end_and_one_decision(
    kind: str, next_world: Callable[..., World]
) -> None:
    async def live(steps: Steps) -> World:
        world = next_world()
        world.boot().begin("4000")
        world.strategy.wishes = {CLOSE: -1.0}
        world.exchange.plan = [REPLIES[kind]]
        world.take_steps(steps)
        for _ in range(3):
            try:
                await world.cycle.run(CLOSE)
            except Crash:
                world.boot()
        return world

    undisturbed = await live(Steps())
    for death in range(len(undisturbed.steps.names)):
        world = await live(Steps(death))
        world.agree()
        world.obeyed()
        assert world.exchange.position() == undisturbed.exchange.position()
        assert world.statuses() == {CLOSE: Status.CLOSED}
        assert sorted(world.ours()) == sorted(undisturbed.ours())


async def test_a_death_at_any_step_of_a_drawdown_never_forgets_to_halt(
    next_world: Callable[..., World],
) -> None:
    async def live(steps: Steps) -> World:
        world = next_world()
        world.limits = Limits(Decimal("0.3"), Decimal(1000))
        world.boot().begin("9000")
        world.exchange.prices_now[ADA] = Decimal("0.5")
        world.take_steps(steps)
        for _ in range(3):
            try:
                await world.cycle.run(CLOSE)
            except Crash:
                # as the price comes back, nothing but the journal tells of the drawdown
                world.exchange.prices_now[ADA] = Decimal("0.5") if not world.journal.orders() else Decimal(1)
                world.boot()
        return world

    undisturbed = await live(Steps())
    for death in range(len(undisturbed.steps.names)):
        world = await live(Steps(death))
        assert world.state() is State.HALTED
        assert [record.by for record in world.journal.states()] == ["guard"]
        assert world.exchange.position() == 0
        world.agree()


@pytest.mark.fault(67)
async def test_a_candle_revised_after_its_decision_is_told_and_the_decision_keeps_what_it_was_made_from(
    world: World,
) -> None:
    await world.run(cycles=1)
    kept = world.journal.transcript(CLOSE)
    after = flat_candles(world.strategy.symbols, INTERVAL, CLOSE + INTERVAL.delta, 2)
    price = pl.when(pl.col("close_time") == CLOSE).then(pl.col("close") * 1.5).otherwise(pl.col("close"))
    world.exchange.candle_frames = [after.with_columns(close=price, high=pl.max_horizontal(price, "high"))]
    await world.run(end=CLOSE + INTERVAL.delta)
    (said,) = world.log.said("candle revised")
    assert (said["symbol"], said["candle"], said["columns"]) == (ADA, CLOSE.isoformat(), ["high", "close"])
    assert said["now"] == 1.5 * said["was"]
    assert world.journal.transcript(CLOSE) == kept
    assert world.statuses() == {CLOSE: Status.CLOSED, CLOSE + INTERVAL.delta: Status.CLOSED}
