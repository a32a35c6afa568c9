"""A key that is refused while the daemon runs: believed once it lasts, then halted until a person resumes."""

from datetime import timedelta

import pytest

from tests.unit.live.exchange import FOREVER, REPLIES
from tests.unit.live.guarded import protected
from tests.unit.live.steps import Steps
from tests.unit.live.stops import ANSWERS
from tests.unit.live.world import CLOSE, INTERVAL, World, hook
from trader.domain.decision import State
from trader.errors import ExchangeError, Rejected
from trader.journal.rows import Outcome, Status
from trader.live.persistence import Persistence

SECOND, MINUTE = timedelta(seconds=1), timedelta(minutes=1)
NEXT = CLOSE + INTERVAL.delta
LAST = CLOSE + 2 * INTERVAL.delta


@pytest.mark.fault(59)
async def test_a_key_that_is_revoked_halts_durably_and_the_daemon_lives_on_until_a_person_resumes(world: World) -> None:
    await world.run(cycles=1)
    world.exchange.barred = [(NEXT, NEXT + timedelta(hours=2))]
    await world.run(end=LAST)
    assert world.statuses() == {CLOSE: Status.CLOSED, NEXT: Status.FAILED, LAST: Status.CLOSED}
    assert world.state() is State.HALTED
    assert "-2015; check the API key" in world.journal.state().why
    assert world.journal.state().by == "exchange"
    assert world.exchange.position() == 5000
    assert len(world.exchange.posts) == 1
    # a start on the same journal stays halted, and goes on after a person has resumed
    following = LAST + INTERVAL.delta
    await world.run(end=following)
    assert len(world.exchange.posts) == 1
    world.journal.request("resume", world.clock.now())
    await world.run(end=following + INTERVAL.delta)
    assert world.state() is State.ACTIVE
    assert world.exchange.position() == 5000
    world.agree()


@pytest.mark.fault(59)
@pytest.mark.parametrize(("seconds", "state"), [(1, State.ACTIVE), (50, State.ACTIVE), (70, State.HALTED)])
async def test_a_refusal_is_believed_once_it_has_lasted_for_a_minute(seconds: int, state: State, world: World) -> None:
    await world.run(cycles=1)
    world.exchange.barred = [(NEXT, NEXT + seconds * SECOND)]
    await world.run(cycles=1)
    assert world.statuses() == {CLOSE: Status.CLOSED, NEXT: Status.CLOSED}
    assert world.state() is state
    assert world.exchange.position() == (-5000 if state is State.ACTIVE else 5000)
    world.agree()


async def test_two_short_refusals_that_an_answer_lies_between_are_not_one_long_one(world: World) -> None:
    await world.run(cycles=1)
    world.exchange.barred = [(close, close + 40 * SECOND) for close in (NEXT, LAST)]
    await world.run(end=LAST)
    assert world.state() is State.ACTIVE
    assert set(world.statuses().values()) == {Status.CLOSED}


@pytest.mark.fault(2, 59)
@pytest.mark.parametrize(("minutes", "state"), [(0.5, State.ACTIVE), (10, State.HALTED)])
async def test_an_order_on_its_way_when_the_key_is_refused_is_found_and_its_fill_taken(
    minutes: float, state: State, world: World
) -> None:
    def refuse() -> None:
        world.exchange.barred = [(world.clock.now(), world.clock.now() + minutes * MINUTE)]

    world.exchange.plan = [REPLIES["executed"]]
    await world.run(Steps(hooks={("answer", 0): refuse}), cycles=1)
    assert world.statuses() == {CLOSE: Status.CLOSED}
    assert world.state() is state
    assert world.exchange.position() == 5000
    (order,) = world.journal.orders()
    assert order.outcome is Outcome.CONFIRMED
    world.agree()


@pytest.mark.fault(59)
async def test_a_resume_while_the_key_is_still_refused_is_followed_by_another_halt(world: World) -> None:
    await world.run(cycles=1)
    world.exchange.barred = [(NEXT, LAST + timedelta(hours=1))]
    hooks = {("fail", 0): hook(world, "resume")}
    await world.run(Steps(hooks={**hooks}), end=LAST)
    told = [one.state for one in world.journal.states()]
    assert told == [State.HALTED, State.ACTIVE, State.HALTED]
    assert world.statuses()[LAST] is Status.FAILED


async def test_a_revoked_key_is_not_asked_with_all_day_for_the_sake_of_the_stops(guarded: World) -> None:
    await guarded.run(cycles=1)

    def refuse() -> None:
        guarded.exchange.barred = [(guarded.clock.now(), NEXT + timedelta(hours=3))]
        guarded.stops.plan = [ANSWERS["not_sent"]] * 4

    await guarded.run(Steps(hooks={("finish", 0): refuse}), end=NEXT)
    assert guarded.state() is State.HALTED
    asked = [turn for turn, name in enumerate(guarded.steps.names) if name == "account"]
    assert len(asked) < 30, "asked about the stops every half minute"
    guarded.exchange.barred = []
    await guarded.run(end=LAST)
    protected(guarded)


async def test_a_flatten_gives_no_order_up_for_a_key_that_is_refused_for_a_while(world: World) -> None:
    world.boot().begin()
    (opening,) = world.decide(("o", "5000"))
    world.exchange.plan = [REPLIES["executed"]]
    world.exchange.faults = {("find", 0): ExchangeError("no answer")}
    with pytest.raises(ExchangeError, match="no answer"):
        await world.router.carry(opening)
    world.exchange.faults = {("find", 1): Rejected("refused", code=-2015, status=401)}
    with pytest.raises(Rejected):
        await world.flattener.run()
    assert [one.intent.client_id for one in world.journal.open_intents()] == [opening.client_id]
    assert await world.flattener.run() == "ADAUSDT -5000"
    world.agree()


async def test_what_is_refused_to_an_order_alone_is_no_refused_key(world: World) -> None:
    world.boot().begin()
    persistence: Persistence = world.daemon._persistence
    for error in (Rejected("too large", code=-2027), ExchangeError("out"), Rejected("gone", code=-1121, status=400)):
        for _ in range(2):
            assert not persistence.hear(error)
            world.clock.time += FOREVER
    assert world.state() is State.ACTIVE
