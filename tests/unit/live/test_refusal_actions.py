"""What each refusal is answered with: one action a code, one effect, and a state that survives."""

from dataclasses import replace
from decimal import Decimal

import pytest

from tests.unit.live.exchange import ADA, Reply
from tests.unit.live.steps import Steps
from tests.unit.live.world import CLOSE, INTERVAL, World
from trader.domain.decision import State
from trader.domain.order import FOLLOW_UP
from trader.errors import ExchangeError, NotSent, Rejected
from trader.execution.refusals import Action, action_of
from trader.execution.remainder import Rules
from trader.journal.rows import Outcome

NEXT = CLOSE + INTERVAL.delta
HALTING = [-1002, -1022, -2014, -2015, -4060, -4061]
REDUCING = [-4192, -4400, -4401, -4402, -4403]
STANDING = [-2027, -2028, -4130, -4131, -4140, -1116, -9999]
CHANGED = [-1111, -4002, -4003, -4004, -4005, -4013, -4014, -4016, -4023, -4024, -4164]


def refused(code: int, status: int = 400) -> Reply:
    return Reply(effect=False, error=Rejected("refused for good", code=code, status=status))


async def after(
    world: World, *replies: Reply, legs: tuple[tuple[str, str], ...] = (("o", "8"),), held: str = "0"
) -> World:
    """Carry orders under a plan and check that there is one story."""
    world.boot().begin(held)
    world.decide(*legs)
    world.exchange.plan = list(replies)
    assert await world.carry_all() is None
    world.agree()
    world.obeyed()
    return world


def sent(world: World) -> list[Decimal]:
    return [request.quantity for _, request, _ in world.exchange.posts]


@pytest.mark.fault(53, 59)
@pytest.mark.parametrize(("code", "status"), [*((code, 401) for code in HALTING), (0, 403), (0, 451), (-2015, 403)])
async def test_keys_region_and_position_mode_halt_durably_and_nothing_more_is_opened(
    code: int, status: int, world: World
) -> None:
    world.boot().begin()
    world.exchange.plan = [refused(code, status)]
    await world.cycle.run(CLOSE)
    assert sent(world) == [5000]
    assert world.state() is State.HALTED
    assert "refused for good" in world.journal.state().why
    world.boot()
    world.clock.time = NEXT
    await world.cycle.run(NEXT)
    assert world.state() is State.HALTED
    assert sent(world) == [5000]
    world.agree()


@pytest.mark.fault(49)
@pytest.mark.parametrize("code", REDUCING)
async def test_an_account_that_may_only_reduce_reduces_and_opens_nothing_until_a_person_resumes(
    code: int, world: World
) -> None:
    later = NEXT + INTERVAL.delta
    world.strategy.wishes = {CLOSE: 1.0, NEXT: 1.8, later: -1.0}
    world.boot().begin()
    await world.cycle.run(CLOSE)
    world.exchange.plan = [refused(code)]
    for close in (NEXT, later):
        world.clock.time = close
        await world.cycle.run(close)
        assert world.state() is State.REDUCING
    assert sent(world) == [5000, 4000, -5000]
    assert world.exchange.position() == 0
    world.agree()


@pytest.mark.fault(47, 57)
@pytest.mark.parametrize("code", STANDING)
async def test_what_cannot_be_bettered_now_is_left_to_the_next_close(code: int, world: World) -> None:
    await after(world, refused(code), legs=(("o", "8"), ("o", "7")))
    assert sent(world) == [8]
    assert world.state() is State.ACTIVE
    assert [one.outcome for one in world.journal.orders()] == [Outcome.REJECTED, Outcome.DENIED]


@pytest.mark.fault(46)
@pytest.mark.parametrize("code", [-2022, -4509])
async def test_nothing_to_reduce_means_that_it_is_done_and_the_opening_follows(code: int, world: World) -> None:
    world.boot().begin("10")
    close, opening = world.decide(("c", "-10"), ("o", "-6"))
    world.exchange.plan = [refused(code)]
    world.exchange.trade("-10", "autoclose-1")
    world.journal.record_fills(world.exchange.trades(ADA)[-1:])
    assert await world.carry_all() is None
    assert world.record(close).outcome is Outcome.REJECTED
    assert world.record(opening).outcome is Outcome.CONFIRMED
    assert world.exchange.position() == -6


@pytest.mark.fault(48)
@pytest.mark.parametrize("code", CHANGED)
async def test_rules_that_changed_since_the_decision_are_read_again_and_met_once(code: int, world: World) -> None:
    rules = world.exchange.rules[ADA]
    world.exchange.rules[ADA] = replace(rules, step=Decimal(5), min_quantity=Decimal(5))
    await after(world, refused(code), refused(code), legs=(("o", "8"),))
    assert sent(world) == [8, 5]
    first, second = world.journal.orders()
    assert second.intent.attempt == first.intent.attempt + FOLLOW_UP
    assert [first.outcome, second.outcome] == [Outcome.REJECTED] * 2


@pytest.mark.fault(48)
async def test_rules_that_are_the_same_as_before_are_not_tried_a_second_time(world: World) -> None:
    await after(world, refused(-4005))
    assert sent(world) == [8]


@pytest.mark.fault(48)
async def test_a_part_goes_on_where_what_followed_on_the_one_before_was_taken(world: World) -> None:
    rules = world.exchange.rules[ADA]
    world.exchange.rules[ADA] = replace(rules, max_quantity=Decimal(6), min_notional=Decimal(1))
    await after(world, refused(-4005), legs=(("o", "8"), ("o", "6")))
    assert sent(world) == [8, 6, 6]
    assert world.exchange.position() == 12


@pytest.mark.fault(45)
@pytest.mark.parametrize(("smaller", "orders"), [("0", [80]), ("0.5", [80, 40])])
async def test_where_the_margin_does_not_suffice_one_smaller_order_is_sent_if_that_is_wanted(
    smaller: str, orders: list[int], world: World
) -> None:
    world.rules = Rules(smaller=Decimal(smaller))
    await after(world, refused(-2019), refused(-2019), legs=(("o", "80"),))
    assert sent(world) == orders


@pytest.mark.fault(41)
@pytest.mark.parametrize(("top_up", "orders"), [(True, [80, 40]), (False, [80])])
async def test_what_a_fill_left_is_sent_once_more_if_that_is_wanted(
    top_up: bool, orders: list[int], world: World
) -> None:
    world.rules = Rules(top_up=top_up)
    half = Reply(share=Decimal("0.5"), status="EXPIRED")
    await after(world, half, half, legs=(("o", "80"),))
    assert sent(world) == orders


@pytest.mark.fault(41)
async def test_nothing_follows_where_the_exchange_cannot_be_asked_for_its_rules(world: World) -> None:
    world.boot().begin()
    world.decide(("o", "80"))
    world.exchange.plan = [Reply(share=Decimal("0.5"), status="EXPIRED")]
    world.take_steps(
        Steps(hooks={("answer", 0): lambda: world.exchange.faults.update({("prices", 0): NotSent("no route")})})
    )
    assert await world.carry_all() is None
    assert sent(world) == [80]
    assert world.log.said("nothing follows on the order")


@pytest.mark.fault(41)
async def test_a_bounded_order_is_followed_within_the_same_bound(world: World) -> None:
    world.boot().begin()
    (opening,) = world.decide(("o", "80"))
    world.journal.settle(opening.client_id, None, Outcome.DENIED, final=True, at=CLOSE)
    bounded = replace(opening, client_id=opening.client_id + "b", limit=Decimal("1.003"))
    world.journal.intend(bounded)
    world.exchange.plan = [Reply(share=Decimal("0.5"), status="EXPIRED")]
    await world.router.carry(bounded)
    assert [request.limit for _, request, _ in world.exchange.posts] == [Decimal("1.003")] * 2


@pytest.mark.fault(47)
@pytest.mark.parametrize("held", [False, True])
async def test_leverage_is_set_and_read_back_while_flat_and_left_alone_under_a_position(
    held: bool, world: World
) -> None:
    world.boot().begin("10" if held else "0")
    world.journal.put(f"leverage-wanted:{ADA}", "1")
    world.decide(("i", "8") if held else ("o", "8"))
    assert await world.carry_all() is None
    assert world.exchange.setups[ADA].leverage == (2 if held else 1)
    assert world.journal.get(f"leverage:{ADA}") == (None if held else "1")
    assert sent(world) == [8]


@pytest.mark.fault(51)
async def test_leverage_that_does_not_stay_set_opens_nothing(world: World) -> None:
    world.boot().begin()
    world.journal.put(f"leverage-wanted:{ADA}", "1")
    world.exchange.accept_setup = False
    (opening,) = world.decide(("o", "8"))
    with pytest.raises(ExchangeError, match="stayed at 2x isolated margin after it was set to 1x"):
        await world.router.carry(opening)
    assert sent(world) == []


def test_every_code_of_the_table_has_its_action() -> None:
    def action(code: int | None, status: int = 400) -> Action:
        return action_of(Rejected("no", code=code, status=status))

    assert {action(code) for code in HALTING} == {Action.HALT}
    assert {action(code) for code in REDUCING} == {Action.REDUCE}
    assert {action(code) for code in CHANGED} == {Action.RECOMPUTE}
    assert {action(code) for code in STANDING} == {action(None)} == {Action.STAND_ASIDE}
    assert (action(-4116), action(-2022), action(-2019)) == (Action.LOOK, Action.RECONCILE, Action.SHRINK)
