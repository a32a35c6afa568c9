"""Stops that are refused, that a start finds, and what people ask for."""

from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal

import pytest

from tests.unit.live.exchange import ADA
from tests.unit.live.guarded import FIFTH, NEXT, dies, guard, protect, protected, triggers
from tests.unit.live.steps import Crash, Steps
from tests.unit.live.stops import Answer
from tests.unit.live.world import CLOSE, INSTANCE, World, hook
from trader.domain.decision import State
from trader.domain.order import client_id
from trader.domain.stop import StopRequest
from trader.errors import ConfigError, Mismatch, Rejected
from trader.journal.rows import Status, StopIntent


@pytest.mark.parametrize(("code", "state"), [(-4045, State.REDUCING), (-4130, State.REDUCING), (-2015, State.HALTED)])
async def test_what_cannot_be_protected_is_not_added_to(code: int, state: State, guarded: World) -> None:
    guarded.stops.plan = [Answer(effect=False, error=Rejected("no", code=code))]
    await guarded.run(cycles=1)
    assert guarded.state() is state
    assert f"protective stop of {ADA} was refused" in guarded.journal.state().why
    assert guarded.statuses() == {CLOSE: Status.CLOSED}
    assert guarded.exchange.position() == 5000
    await guarded.run(cycles=1)
    assert guarded.state() is state
    protected(guarded)


async def test_a_refusal_makes_no_state_less_strict(guarded: World) -> None:
    guarded.boot().begin("10")
    guarded.journal.set_state(State.HALTED, "a person said so", "operator", CLOSE)
    guarded.stops.plan = [Answer(effect=False, error=Rejected("no", code=-4045))]
    await protect(guarded)
    assert guarded.journal.state().why == "a person said so"


async def test_what_is_beyond_its_stop_already_is_closed_and_halts(guarded: World) -> None:
    guarded.boot().begin()
    guarded.decide(("o", "10"))
    await guarded.recovery.settle_open()
    guarded.exchange.prices_now[ADA] = Decimal("0.79")
    await protect(guarded)
    assert guarded.state() is State.HALTED
    assert "beyond its protective stop at 0.8" in guarded.journal.state().why
    assert guarded.exchange.position() == 0
    guarded.agree()
    protected(guarded)


async def test_a_position_that_went_while_its_stop_was_placed_needs_none(guarded: World) -> None:
    guarded.boot().begin("10")
    guarded.take_steps(Steps(hooks={("place_stop", 0): lambda: guarded.exchange.trade("-10", "autoclose-7")}))
    await protect(guarded)
    assert guarded.state() is State.HALTED
    assert guarded.journal.position(ADA) == 0
    protected(guarded)


async def test_a_start_knows_its_own_stop_and_places_one_that_is_missing(guarded: World) -> None:
    await guarded.run(cycles=1)
    (before,) = guarded.stops.waiting()
    guarded.boot()
    await guarded.startup.run(adopt=False)
    assert guarded.stops.waiting() == [before]
    guarded.stops.book[0].stop = replace(guarded.stops.book[0].stop, status="CANCELED")
    guarded.boot()
    await guarded.startup.run(adopt=False)
    assert len(guarded.stops.posts) == 2
    protected(guarded)


async def test_a_stop_that_liquidation_would_come_before_is_refused_at_the_start(guarded: World) -> None:
    guarded.limits = replace(guarded.limits, protective_stop=Decimal("0.6"))
    guarded.boot()
    with pytest.raises(ConfigError, match="before a protective stop"):
        await guarded.startup.run(adopt=False)


@pytest.mark.parametrize("name", ["web_stop", "t00beef.abc.ADAUSDT.s0"])
async def test_a_stop_of_somebody_else_is_refused_as_any_order_is(name: str, guarded: World) -> None:
    guarded.boot().begin("10")
    await guarded.stops.place_stop(StopRequest(name, ADA, Decimal(-10), Decimal("0.9")))
    for adopt in (False, True):
        guarded.boot()
        with pytest.raises(Mismatch, match=name):
            await guarded.startup.run(adopt=adopt)
    assert [one.client_id for one in guarded.stops.waiting()] == [name]


@pytest.mark.fault(83)
async def test_a_new_journal_takes_the_stops_of_a_lost_one_back_when_the_account_is_adopted(guarded: World) -> None:
    guarded.boot()
    guarded.exchange.trade("10")
    lost = client_id(INSTANCE, CLOSE, ADA, "s", 0)
    await guarded.stops.place_stop(StopRequest(lost, ADA, Decimal(-10), Decimal("0.9")))
    with pytest.raises(Mismatch, match=lost):
        await guarded.startup.run(adopt=False)
    await guarded.startup.run(adopt=True)
    assert triggers(guarded) == [Decimal("0.8")]
    protected(guarded)


async def test_a_stop_that_appears_after_the_journal_ended_it_is_taken_back(guarded: World) -> None:
    await guarded.run(cycles=1)
    late = StopRequest("late", ADA, Decimal(1), Decimal(2))
    guarded.journal.intend_stop(StopIntent(CLOSE, 7, late, Decimal(1), FIFTH, CLOSE))
    guarded.journal.end_stop("late", "ABSENT", "the exchange does not know it", CLOSE)
    guarded.stops.book.append(replace(guarded.stops.book[0], request=late))
    guarded.clock.time = NEXT
    await guarded.run(end=NEXT)
    assert guarded.statuses() == {CLOSE: Status.CLOSED, NEXT: Status.CLOSED}
    assert len(guarded.log.said("stop left over")) == 1
    protected(guarded)


async def test_flatten_closes_first_and_leaves_no_stop(guarded: World) -> None:
    await guarded.run(cycles=1)
    guarded.journal.request("flatten", guarded.clock.now())
    await guarded.run(end=CLOSE)
    assert guarded.exchange.position() == 0
    assert guarded.journal.pending_requests() == []
    protected(guarded)
    guarded.agree()


@pytest.mark.parametrize("at", ["send", "answer", "instruments", "find_stop"])
async def test_a_stop_that_triggers_while_everything_is_closed_turns_nothing_around(at: str, guarded: World) -> None:
    await guarded.run(cycles=1)
    hook(guarded, "flatten")()
    guarded.boot()

    def strike() -> None:
        if guarded.stops.waiting():
            guarded.stops.trigger(ADA)

    guarded.take_steps(Steps(hooks={(at, 0): strike}))
    pending = guarded.control.flatten_pending()
    guarded.control.flattened(pending, await guarded.flattener.run())
    assert guarded.exchange.position() == 0
    await guarded.recovery.reconcile()
    await protect(guarded)
    guarded.agree()
    protected(guarded)


async def test_a_death_at_any_step_of_a_flatten_leaves_no_stop(next_world: Callable[..., World]) -> None:
    async def live(death: int | None) -> World:
        world = guard(next_world())
        await world.run(cycles=1)
        hook(world, "flatten")()
        await world.run(Steps(death), end=CLOSE)
        return world

    undisturbed = await live(None)
    for death in range(len(undisturbed.steps.names)):
        world = await live(death)
        assert world.exchange.position() == 0
        assert world.journal.pending_requests() == []
        protected(world)
        world.agree()


async def test_halt_leaves_the_stop_where_it_is(guarded: World) -> None:
    await guarded.run(cycles=1)
    hook(guarded, "halt")()
    guarded.clock.time = NEXT
    await guarded.run(end=NEXT)
    assert guarded.state() is State.HALTED
    assert guarded.exchange.position() == 5000
    protected(guarded)


async def test_a_stop_takes_no_name_that_an_older_journal_has_forgotten(guarded: World) -> None:
    guarded.boot().begin("10")
    await protect(guarded)
    (before,) = guarded.stops.waiting()
    guarded.stops.book[0].stop = replace(guarded.stops.book[0].stop, status="CANCELED")
    guarded.journal.close()
    guarded.path.unlink()
    guarded.boot().begin("10")
    guarded.router.begin()
    await protect(guarded)
    assert [(one.status, one.why) for one in guarded.journal.stops()] == [
        ("ABSENT", "the journal has forgotten a stop that has its name"),
        ("NEW", None),
    ]
    (after,) = guarded.stops.waiting()
    assert (before.client_id[-2:], after.client_id[-2:]) == ("s0", "s1")
    protected(guarded)


@pytest.mark.parametrize("posted", [True, False])
async def test_a_stop_of_which_the_journal_forgot_that_it_was_posted_is_looked_for(
    posted: bool, guarded: World
) -> None:
    guarded.boot().begin("10")
    guarded.take_steps(Steps(hooks={("mark_stop_sent", 0): dies}))
    with pytest.raises(Crash):
        await protect(guarded)
    (record,) = guarded.journal.standing_stops()
    if posted:
        await guarded.stops.place_stop(record.intent.request)
    guarded.boot()
    await protect(guarded)
    (stop,) = guarded.stops.waiting()
    assert stop.client_id[-2:] == ("s0" if posted else "s1")
    assert [one.status for one in guarded.journal.stops()] == (["NEW"] if posted else ["ABSENT", "NEW"])
    assert guarded.state() is State.ACTIVE
    protected(guarded)
