"""One order, whatever the exchange makes of it."""

from datetime import timedelta
from decimal import Decimal

import pytest

from tests.unit.live.exchange import ADA, REPLIES, Reply
from tests.unit.live.steps import Steps
from tests.unit.live.world import CLOSE, MAX_DELAY, SETTLE, World, hook
from trader.domain.decision import State
from trader.errors import ExchangeError, Mismatch, NotSent, OutcomeUnknown, RateLimited, Rejected
from trader.journal.rows import Outcome

FLIP = (("c", "-10"), ("o", "-6"))
REACHED = {
    "rejected": "10",
    "denied": "10",
    "rests_expires": "10",
    "empty": "10",
}
OUTCOMES = {"rejected": Outcome.REJECTED, "denied": Outcome.DENIED}
SENDS = {"not_sent": 2, "limited": 2, "never": 2, "lost": 2}


@pytest.mark.fault(46)
@pytest.mark.parametrize("kind", REPLIES)
async def test_every_outcome_of_a_close_ends_with_one_effect_and_opens_only_what_it_may(
    kind: str, world: World
) -> None:
    world.boot().begin("10")
    close, opening = world.decide(*FLIP)
    world.exchange.plan = [REPLIES[kind]]
    assert await world.carry_all() is None
    world.agree()
    world.obeyed()
    reached = Decimal(REACHED.get(kind, "-6"))
    assert world.exchange.position() == reached
    assert world.record(close).outcome is OUTCOMES.get(kind, Outcome.CONFIRMED)
    assert world.record(close).sends == SENDS.get(kind, 1)
    assert world.record(opening).outcome is (Outcome.CONFIRMED if reached < 0 else Outcome.DENIED)


@pytest.mark.parametrize("kind", REPLIES)
async def test_a_side_that_is_opened_anew_is_never_opened_on_top_of_itself(kind: str, world: World) -> None:
    world.boot().begin("10")
    close, *parts = world.decide(("c", "-10"), ("o", "4"), ("o", "3"))
    world.exchange.plan = [REPLIES[kind]]
    assert await world.carry_all() is None
    world.agree()
    world.obeyed()
    failed = kind in REACHED
    assert world.exchange.position() == Decimal(REACHED.get(kind, "7"))
    assert world.record(close).outcome is OUTCOMES.get(kind, Outcome.CONFIRMED)
    assert {world.record(part).outcome for part in parts} == {Outcome.DENIED if failed else Outcome.CONFIRMED}


@pytest.mark.fault(41, 45, 47)
@pytest.mark.parametrize("kind", REPLIES)
async def test_every_outcome_of_an_opening_ends_with_one_effect(kind: str, world: World) -> None:
    world.boot().begin()
    (opening,) = world.decide(("o", "8"))
    world.exchange.plan = [REPLIES[kind]]
    assert await world.carry_all() is None
    world.agree()
    world.obeyed()
    # what half a fill leaves is worth less than the least an opening order may be
    filled = {"10": "0"}.get(REACHED.get(kind, ""), "4" if "partial" in kind else "8")
    assert world.exchange.position() == Decimal(filled) == world.record(opening).filled


@pytest.mark.parametrize("kinds", [("o", "o"), ("c", "c", "o", "o"), ("i", "i"), ("r", "r")])
async def test_every_part_of_a_large_order_is_sent(kinds: tuple[str, ...], world: World) -> None:
    sizes = {"c": "-5", "r": "-2", "i": "3", "o": "-4"}
    world.boot().begin("0" if kinds == ("o", "o") else "10")
    legs = world.decide(*((kind, sizes[kind]) for kind in kinds))
    assert await world.carry_all() is None
    world.agree()
    assert world.exchange.position() == {"oo": -8, "ccoo": -8, "ii": 16, "rr": 6}["".join(kinds)]
    assert [world.record(leg).outcome for leg in legs] == [Outcome.CONFIRMED] * len(legs)


@pytest.mark.fault(27)
async def test_what_is_not_known_is_believed_absent_only_when_it_can_no_longer_be_accepted(world: World) -> None:
    world.boot().begin()
    (opening,) = world.decide(("o", "8"))
    world.exchange.plan = [REPLIES["never"]]
    assert await world.carry_all() is None
    (first, _, _), (second, _, _) = world.exchange.posts
    assert second - first > SETTLE
    assert world.record(opening).sends == 2


@pytest.mark.fault(18, 27)
async def test_a_clock_that_is_set_meanwhile_does_not_shorten_the_wait(world: World) -> None:
    """It is measured after the wait, before absence is believed."""
    world.boot().begin()
    (opening,) = world.decide(("o", "8"))
    world.exchange.plan = [REPLIES["never"]]
    sent = world.clock.now()
    world.clock.overshoots[sent + SETTLE] = sent + timedelta(hours=1)
    hooks = {("sync_clock", 0): lambda: setattr(world.clock, "time", sent + timedelta(seconds=1))}
    world.take_steps(Steps(hooks={**hooks}))
    assert await world.carry_all() is None
    (first, _, _), (second, _, _) = world.exchange.posts
    assert SETTLE < second - first < timedelta(minutes=1)
    assert world.record(opening).sends == 2


@pytest.mark.fault(33)
async def test_an_order_is_sent_again_under_its_own_name_only(world: World) -> None:
    world.boot().begin()
    (opening,) = world.decide(("o", "8"))
    world.exchange.plan = [REPLIES["never"], REPLIES["not_sent"], REPLIES["limited"]]
    assert await world.carry_all() is None
    assert [request for _, request, _ in world.exchange.posts] == [opening.request] * 4


@pytest.mark.fault(40)
async def test_a_twin_that_is_still_open_is_looked_up_and_not_doubled(world: World) -> None:
    world.boot().begin()
    (opening,) = world.decide(("o", "8"))
    world.exchange.plan = [Reply(error=REPLIES["never"].error, rests=90, lag=40)]
    assert await world.carry_all() is None
    assert len(world.exchange.posts) == 3
    assert len(world.ours()) == 1
    assert world.record(opening).outcome is Outcome.CONFIRMED
    world.agree()


@pytest.mark.fault(40)
async def test_a_second_twin_that_never_shows_is_sent_again_once_it_is_gone(world: World) -> None:
    world.boot().begin()
    (opening,) = world.decide(("o", "8"))
    world.exchange.plan = [Reply(effect=False, error=-4116)]
    assert await world.carry_all() is None
    assert world.record(opening).sends == 2
    world.agree()


async def test_an_order_proven_absent_four_times_is_not_sent_a_fifth_time(world: World) -> None:
    world.boot().begin()
    (opening,) = world.decide(("o", "8"))
    world.exchange.plan = [REPLIES["never"]] * 9
    assert await world.carry_all() is None
    assert len(world.exchange.posts) == 4
    assert world.record(opening).outcome is Outcome.ABSENT


@pytest.mark.fault(36)
@pytest.mark.parametrize(("kind", "error"), [("not_sent", NotSent), ("limited", RateLimited)])
async def test_an_order_turned_away_a_few_times_stays_open_while_the_decision_is_young(
    kind: str, error: type[ExchangeError], world: World
) -> None:
    world.boot().begin()
    (opening,) = world.decide(("o", "8"))
    world.exchange.plan = [REPLIES[kind]] * 6
    with pytest.raises(error):
        await world.router.carry(opening)
    assert len(world.exchange.posts) == 4
    assert not world.record(opening).final
    assert await world.carry_all() is None
    assert world.exchange.position() == 8
    world.agree()


async def test_an_order_turned_away_for_longer_than_the_decision_is_young_is_never_sent(world: World) -> None:
    world.boot().begin()
    (opening,) = world.decide(("o", "8"))
    world.exchange.plan = [REPLIES["not_sent"]] * 1000
    assert await world.carry_all() is None
    assert world.record(opening).outcome is Outcome.EXPIRED
    world.obeyed()


@pytest.mark.fault(38)
async def test_a_ban_longer_than_the_decision_is_young_ends_the_order_at_once(world: World) -> None:
    world.boot().begin()
    (opening,) = world.decide(("o", "8"))
    later = RateLimited("banned", retry_at=CLOSE + timedelta(days=1), code=-1003, status=418)
    world.exchange.plan = [Reply(effect=False, error=later)]
    assert await world.carry_all() is None
    assert world.record(opening).outcome is Outcome.REJECTED
    assert world.clock.now() == CLOSE


async def test_nothing_is_sent_when_the_decision_is_too_old(world: World) -> None:
    world.boot().begin("10")
    legs = world.decide(*FLIP)
    world.clock.time += MAX_DELAY + timedelta(seconds=1)
    assert await world.carry_all() is None
    assert world.exchange.posts == []
    assert {world.record(leg).outcome for leg in legs} == {Outcome.EXPIRED}


@pytest.mark.parametrize("kind", ["halt", "flatten"])
async def test_a_halt_between_two_legs_lets_the_close_go_and_denies_the_opening(kind: str, world: World) -> None:
    world.boot().begin("10")
    close, opening = world.decide(*FLIP)
    world.take_steps(Steps(hooks={("answer", 0): hook(world, kind)}))
    assert await world.carry_all() is None
    assert world.record(close).outcome is Outcome.CONFIRMED
    assert world.record(opening).outcome is Outcome.DENIED
    assert world.exchange.position() == 0
    assert world.state() is State.HALTED
    world.agree()


@pytest.mark.parametrize("state", [State.HALTED, State.REDUCING])
async def test_only_what_reduces_is_sent_unless_the_state_is_active(state: State, world: World) -> None:
    world.boot().begin("10")
    reduce, increase = world.decide(("r", "-4"), ("i", "5"))
    world.journal.set_state(state, "a test", "operator", CLOSE)
    assert await world.carry_all() is None
    assert world.record(reduce).outcome is Outcome.CONFIRMED
    assert world.record(increase).outcome is Outcome.DENIED


async def test_a_halt_while_an_order_is_proven_absent_denies_sending_it_again(world: World) -> None:
    world.boot().begin()
    (opening,) = world.decide(("o", "8"))
    world.exchange.plan = [REPLIES["never"]]
    world.take_steps(Steps(hooks={("find", 1): hook(world, "halt")}))
    assert await world.carry_all() is None
    assert len(world.exchange.posts) == 1
    assert world.record(opening).outcome is Outcome.DENIED


async def test_trades_of_somebody_else_while_an_order_is_unknown_are_never_taken_for_its_absence(world: World) -> None:
    world.boot().begin()
    (opening,) = world.decide(("o", "8"))
    world.exchange.plan = [REPLIES["never"]]
    world.take_steps(Steps(hooks={("find", 0): lambda: world.exchange.trade("3")}))
    mismatch = await world.carry_all()
    assert mismatch is not None
    assert opening.client_id in str(mismatch)
    assert len(world.exchange.posts) == 1
    assert not world.record(opening).final


@pytest.mark.fault(43)
async def test_a_position_that_moved_without_a_trade_is_never_taken_for_absence(world: World) -> None:
    world.boot().begin("10")
    (increase,) = world.decide(("i", "8"))
    world.exchange.plan = [REPLIES["never"]]
    world.exchange.account_lag = timedelta(days=1)
    with pytest.raises(Mismatch):
        await world.router.carry(increase)
    assert not world.record(increase).final


async def test_trades_that_cancel_each_other_are_never_taken_for_absence(world: World) -> None:
    world.boot().begin("10")
    (increase,) = world.decide(("i", "8"))
    world.exchange.plan = [REPLIES["never"]]
    world.exchange.trade("3")
    world.exchange.trade("-3")
    with pytest.raises(Mismatch):
        await world.router.carry(increase)
    assert not world.record(increase).final


@pytest.mark.fault(43)
async def test_one_look_that_finds_nothing_is_no_proof_of_absence(world: World) -> None:
    world.boot().begin()
    (opening,) = world.decide(("o", "8"))
    world.exchange.plan = [Reply(error=REPLIES["never"].error, lag=SETTLE.total_seconds() + 0.25)]
    assert await world.carry_all() is None
    assert len(world.exchange.posts) == 1
    assert world.record(opening).outcome is Outcome.CONFIRMED


@pytest.mark.parametrize("read", ["find", "fills", "account"])
@pytest.mark.parametrize("error", [NotSent("refused"), Rejected("-2015", code=-2015), ExchangeError("503")])
async def test_a_read_that_fails_while_settling_is_never_taken_for_the_order_s_own_failure(
    read: str, error: Exception, world: World
) -> None:
    world.boot().begin()
    (opening,) = world.decide(("o", "8"))
    # only an order that is not there makes the account be read
    world.exchange.plan = [REPLIES["never" if read == "account" else "late"]]
    world.exchange.faults = {(read, 0): error}
    with pytest.raises(type(error)):
        await world.router.carry(opening)
    assert len(world.exchange.posts) == 1
    assert not world.record(opening).final
    assert await world.carry_all() is None
    assert world.exchange.position() == 8
    world.agree()


@pytest.mark.fault(42)
async def test_an_order_that_does_not_come_to_an_end_stays_open(world: World) -> None:
    world.boot().begin()
    (opening,) = world.decide(("o", "8"))
    world.exchange.plan = [Reply(rests=600)]
    with pytest.raises(OutcomeUnknown, match="is NEW"):
        await world.router.carry(opening)
    assert not world.record(opening).final
    assert await world.carry_all() is None
    assert len(world.exchange.posts) == 1
    world.agree()


@pytest.mark.fault(42)
async def test_an_order_is_not_ended_before_all_its_trades_are_told(world: World) -> None:
    world.boot().begin()
    (opening,) = world.decide(("o", "8"))
    world.exchange.plan = [REPLIES["answered_lagging"]]
    await world.router.carry(opening)
    assert world.clock.now() > CLOSE + timedelta(seconds=9)
    assert world.journal.position(ADA) == 8
    world.agree()


@pytest.mark.fault(2)
async def test_an_order_of_an_earlier_run_is_looked_up_and_not_sent_again(world: World) -> None:
    world.boot().begin()
    (opening,) = world.decide(("o", "8"))
    world.journal.mark_sent(opening.client_id, CLOSE)
    await world.exchange.send(opening.request)
    world.boot()
    assert await world.carry_all() is None
    assert len(world.exchange.posts) == 1
    world.agree()
