"""What a person asks for is obeyed in order, before the next post, and survives a death."""

from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal

import pytest

from tests.unit.execution_world import instrument
from tests.unit.live.exchange import ADA, REPLIES, Reply
from tests.unit.live.steps import Crash, Steps
from tests.unit.live.world import CLOSE, World
from trader.domain.decision import State
from trader.errors import Mismatch, NotSent
from trader.journal.rows import Outcome

BTC = "BTCUSDT"


def ask(world: World, *kinds: str) -> None:
    for kind in kinds:
        world.journal.request(kind, world.clock.now())


@pytest.mark.parametrize(
    ("kinds", "state", "pending"),
    [
        ((), State.ACTIVE, 0),
        (("halt",), State.HALTED, 0),
        (("halt", "resume"), State.ACTIVE, 0),
        (("resume", "halt"), State.HALTED, 0),
        (("flatten",), State.HALTED, 1),
        (("flatten", "resume"), State.HALTED, 2),
        (("resume", "flatten", "flatten", "halt"), State.HALTED, 3),
        (("whatever",), State.HALTED, 0),
    ],
)
async def test_requests_are_obeyed_in_their_order(
    kinds: tuple[str, ...], state: State, pending: int, world: World
) -> None:
    world.boot().begin()
    ask(world, *kinds)
    for _ in range(2):
        assert world.control.state() is state
        assert len(world.journal.pending_requests()) == pending


async def test_a_resume_asked_for_after_a_flatten_opens_nothing_before_everything_is_closed(world: World) -> None:
    world.boot().begin("10")
    ask(world, "flatten", "resume", "flatten")
    (first,) = world.control.flatten_pending()
    assert world.control.state() is State.HALTED
    world.control.flattened([first], "done")
    assert world.control.flatten_pending() == []
    assert world.control.state() is State.HALTED
    (last,) = world.control.flatten_pending()
    world.control.flattened([last], "done")
    assert [record.state for record in world.journal.states()] == [State.HALTED, State.ACTIVE, State.HALTED]


@pytest.mark.parametrize("state", [State.REDUCING, State.HALTED])
async def test_a_resume_lifts_no_restriction_that_was_found_after_it_was_asked_for(state: State, world: World) -> None:
    world.boot().begin()
    ask(world, "resume")
    world.journal.set_state(state, "liquidated", "exchange", world.clock.now())
    assert world.control.state() is state
    assert world.journal.pending_requests() == []


async def test_a_resume_that_was_overtaken_is_told_with_what_to_do_and_the_next_one_is_obeyed(world: World) -> None:
    world.boot().begin()
    world.journal.put("peak", "12000")
    ask(world, "resume", "resume")
    world.journal.set_state(State.HALTED, "liquidated", "exchange", world.clock.now())
    # another process finds the requests that an earlier one left
    world.boot()
    assert world.control.state() is State.HALTED
    assert world.journal.peak_equity() == Decimal(12000)
    asked = world.journal.asked(1)
    assert asked is not None
    assert asked.result == "overtaken: liquidated"
    why = world.journal.state().why
    assert why.startswith("liquidated - a resume asked for before this was found does not lift it")
    assert why.count("`trader resume` again") == 1
    assert len(world.log.said("resume overtaken")) == 2
    ask(world, "resume")
    assert world.control.state() is State.ACTIVE
    assert world.journal.peak_equity() == 0


@pytest.mark.parametrize("turn", [0, 1])
async def test_no_resume_opens_anything_while_it_is_withheld(turn: int, world: World) -> None:
    """Also one that is asked for while a close is tried again, and found at the decision or before the order leaves."""
    world.boot().begin()
    world.control.withhold("no GO", "worth")
    assert world.state() is State.REDUCING
    ask(world, "resume")
    if turn:
        assert world.control.state() is State.REDUCING
    report = await world.cycle.run(CLOSE)
    assert report is not None
    assert world.exchange.posts == []
    assert (world.journal.state().state, world.journal.state().why) == (State.REDUCING, "no GO")
    assert world.control.state() is State.REDUCING
    asked = world.journal.asked(1)
    assert asked is not None
    assert asked.result == "withheld: no GO"
    # it is no new beginning: what was lost until then is
    assert world.journal.peak_equity() > 0
    rows = len(world.journal.states())
    # told once, however often it is asked
    assert world.control.state() is State.REDUCING
    assert len(world.journal.states()) == rows
    world.journal.set_state(State.HALTED, "drawdown", "guard", world.clock.now())
    world.control.withhold("no GO", "worth")
    assert world.journal.state().why == "drawdown"
    ask(world, "resume")
    assert world.control.state() is State.REDUCING
    # a model that may trade is wired anew
    world.boot()
    ask(world, "resume")
    assert world.control.state() is State.ACTIVE


async def test_a_second_cause_for_the_same_state_is_not_lifted_by_a_resume_that_did_not_know_it(world: World) -> None:
    world.boot().begin()
    world.journal.set_state(State.HALTED, "drawdown", "guard", CLOSE)
    world.control.restrict(State.HALTED, "nothing new for whoever looks", "start-up")
    assert world.journal.state().why == "drawdown"
    ask(world, "resume")
    world.control.restrict(State.REDUCING, "the account falls behind", "drift")
    assert world.control.state() is State.HALTED
    assert world.journal.state().why.startswith("the account falls behind")


async def test_a_resume_older_than_a_halt_that_was_lifted_since_changes_nothing_to_the_worse(world: World) -> None:
    world.boot().begin()
    ask(world, "resume")
    world.journal.set_state(State.HALTED, "drawdown", "guard", CLOSE)
    world.journal.set_state(State.ACTIVE, "resumed by request", "operator", CLOSE)
    assert world.control.state() is State.ACTIVE
    assert world.journal.pending_requests() == []


async def test_a_death_at_any_step_of_a_resume_is_made_good(world: World) -> None:
    world.boot().begin()
    for death in range(5):
        world.boot()
        world.journal.set_state(State.HALTED, "drawdown", "guard", CLOSE)
        world.journal.put("peak", "12000")
        ask(world, "resume")
        world.boot(Steps(death))
        try:
            world.control.state()
        except Crash:
            world.boot()
            world.control.state()
        assert world.state() is State.ACTIVE
        assert world.journal.peak_equity() == 0
        assert world.journal.pending_requests() == []


async def test_everything_on_the_account_is_closed_with_orders_that_only_reduce(
    new_world: Callable[..., World],
) -> None:
    world = new_world(symbols=(ADA, BTC))
    world.boot().begin("10")
    world.exchange.trade("-3", symbol=BTC)
    assert await world.flattener.run() == "ADAUSDT -10, BTCUSDT +3"
    assert (world.exchange.position(ADA), world.exchange.position(BTC)) == (0, 0)
    assert all(request.reduce_only for _, request, _ in world.exchange.posts)


async def test_a_symbol_that_cannot_be_closed_keeps_no_other_open(new_world: Callable[..., World]) -> None:
    world = new_world(symbols=(ADA, BTC))
    world.boot().begin("10")
    world.exchange.trade("-3", symbol=BTC)
    world.exchange.plan = [REPLIES["not_sent"]] * 4
    with pytest.raises(NotSent):
        await world.flattener.run()
    assert (world.exchange.position(ADA), world.exchange.position(BTC)) == (10, 0)
    assert await world.flattener.run() == "nothing was held"
    assert (world.exchange.position(ADA), world.exchange.position(BTC)) == (0, 0)


async def test_every_order_is_durable_before_the_first_is_sent(new_world: Callable[..., World]) -> None:
    world = new_world(symbols=(ADA, BTC))
    world.boot().begin("10")
    world.exchange.trade("-3", symbol=BTC)
    steps = Steps()
    world.take_steps(steps)
    await world.flattener.run()
    posts = [number for number, name in enumerate(steps.names) if name == "send"]
    intents = [number for number, name in enumerate(steps.names) if name == "intend"]
    assert len(posts) == len(intents) == 2
    assert max(intents) < min(posts)


async def test_closing_nothing_says_so(world: World) -> None:
    world.boot().begin()
    assert await world.flattener.run() == "nothing was held"
    assert world.exchange.posts == []


@pytest.mark.parametrize("sign", [1, -1])
async def test_a_large_position_is_closed_in_parts(sign: int, world: World) -> None:
    world.exchange.rules[ADA] = instrument(max_quantity="4")
    world.boot().begin(str(10 * sign))
    await world.flattener.run()
    assert [request.quantity * -sign for _, request, _ in world.exchange.posts] == [4, 3, 3]
    world.agree()


async def test_what_is_left_is_told_and_the_next_try_has_names_of_its_own(world: World) -> None:
    world.boot().begin("10")
    world.exchange.plan = [REPLIES["partial"]] * 2
    with pytest.raises(Mismatch, match=r"still holds .*2"):
        await world.flattener.run()
    assert await world.flattener.run() == "ADAUSDT -2.50"
    assert len(world.ours()) == 4
    world.agree()


async def test_openings_that_wait_are_denied_before_everything_is_closed(world: World) -> None:
    world.boot().begin("10")
    (increase,) = world.decide(("i", "5"))
    ask(world, "flatten")
    await world.flattener.run()
    assert world.record(increase).outcome is Outcome.DENIED
    assert world.exchange.position() == 0
    world.agree()


async def test_neither_an_unexplained_position_nor_an_unsettled_order_is_in_the_way(world: World) -> None:
    world.boot().begin("10")
    (increase,) = world.decide(("i", "5"))
    world.journal.mark_sent(increase.client_id, CLOSE)
    world.exchange.trade("7")
    ask(world, "flatten")
    assert await world.flattener.run() == "ADAUSDT -17"
    assert world.exchange.position() == 0
    assert world.record(increase).outcome is Outcome.ABSENT


async def test_a_close_of_everything_that_was_turned_away_stays_open(world: World) -> None:
    world.boot().begin("10")
    world.exchange.plan = [REPLIES["not_sent"]] * 4
    with pytest.raises(NotSent):
        await world.flattener.run()
    assert len(world.journal.open_intents()) == 1
    assert await world.flattener.run() == "nothing was held"
    assert len(world.ours()) == 1
    world.agree()


@pytest.mark.parametrize("kind", ["confirmed", "executed", "never", "late", "partial"])
async def test_a_death_at_any_step_of_closing_everything_leaves_it_closed(
    kind: str, next_world: Callable[..., World]
) -> None:
    async def live(steps: Steps) -> World:
        world = next_world()
        world.boot().begin("10")
        ask(world, "flatten")
        world.exchange.plan = [REPLIES[kind]]
        world.take_steps(steps)
        for _ in range(3):
            try:
                await world.flattener.run()
                break
            except Mismatch:
                continue
            except Crash:
                world.boot()
        return world

    undisturbed = await live(Steps())
    for death in range(len(undisturbed.steps.names)):
        world = await live(Steps(death))
        assert world.exchange.position() == 0
        world.agree()


async def test_an_unknown_close_of_everything_is_settled_by_looking(world: World) -> None:
    world.boot().begin("10")
    world.exchange.plan = [Reply(error=REPLIES["never"].error, delay=4, lag=3)]
    assert await world.flattener.run() == "ADAUSDT -10"
    assert len(world.exchange.posts) == 1
    assert world.clock.now() > CLOSE + timedelta(seconds=4)
    assert world.journal.position(ADA) == Decimal(0)
