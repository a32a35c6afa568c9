"""Journal and exchange come to the same story, or nothing is sent."""

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

import pytest

from tests.unit.live.exchange import ADA, REPLIES
from tests.unit.live.steps import Crash, Steps
from tests.unit.live.world import CLOSE, World
from trader.domain.account import Income
from trader.domain.decision import State
from trader.domain.order import Fill
from trader.errors import ExchangeError, Mismatch, OutcomeUnknown, Rejected
from trader.execution.reconcile import Policies, Policy
from trader.journal.rows import Outcome

DUST = Decimal("0.5")


async def test_an_account_the_journal_explains_is_returned(world: World) -> None:
    world.boot().begin("10")
    assert (await world.recovery.reconcile()).quantity(ADA) == 10
    assert world.clock.now() == CLOSE


@pytest.mark.parametrize("quantity", ["3", "-10", "-25"])
async def test_a_position_changed_by_hand_is_refused(quantity: str, world: World) -> None:
    world.boot().begin("10")
    world.exchange.trade(quantity)
    with pytest.raises(Mismatch, match="--adopt"):
        await world.recovery.reconcile()
    assert world.journal.position(ADA) == 10


async def test_a_position_that_moved_without_any_trade_is_refused(world: World) -> None:
    world.boot().begin("10")
    world.exchange.account_lag = timedelta(days=1)
    with pytest.raises(Mismatch):
        await world.recovery.reconcile()


@pytest.mark.fault(54)
@pytest.mark.parametrize("name", ["autoclose-17", "adl_autoclose"])
async def test_a_position_taken_by_the_exchange_is_written_down_and_halts(name: str, world: World) -> None:
    world.boot().begin("10")
    world.exchange.trade("-10", name)
    await world.recovery.reconcile()
    assert world.journal.position(ADA) == 0
    assert world.state() is State.HALTED
    world.agree()


async def test_a_death_while_a_liquidation_is_written_down_does_not_forget_to_halt(world: World) -> None:
    world.boot().begin("10")
    world.exchange.trade("-10", "autoclose-17")
    for death in range(12):
        world.boot(Steps(death))
        try:
            await world.recovery.reconcile()
        except Crash:
            assert world.journal.position(ADA) == 10 or world.state() is State.HALTED
    assert world.state() is State.HALTED
    world.agree()


async def test_a_hand_trade_beside_a_liquidation_is_not_taken_for_the_exchange_s(world: World) -> None:
    world.boot().begin("10")
    world.exchange.trade("-4")
    world.exchange.trade("-6", "autoclose-17")
    with pytest.raises(Mismatch):
        await world.recovery.reconcile()
    assert world.journal.fills() == []


async def test_a_liquidation_that_does_not_explain_the_whole_difference_is_refused(world: World) -> None:
    world.boot().begin("10")
    world.journal.set_baseline(
        wallet=Decimal(1), equity=Decimal(1), positions={ADA: Decimal(8)}, last_trades={ADA: "10"}, at=CLOSE
    )
    world.exchange.trade("-5", "autoclose-17")
    with pytest.raises(Mismatch):
        await world.recovery.reconcile()
    assert world.journal.fills() == []


async def test_trades_whose_order_nobody_knows_are_not_taken_for_the_exchange_s(world: World) -> None:
    world.boot().begin("10")
    world.exchange.trade("-10", "autoclose-17")
    forgotten = world.exchange.placed.pop()
    forgotten.order = world.exchange.placed[0].order
    world.exchange.placed.append(forgotten)
    with pytest.raises(Mismatch):
        await world.recovery.reconcile()


async def test_an_account_that_lags_behind_our_order_is_looked_at_again(world: World) -> None:
    world.boot().begin()
    world.decide(("o", "8"))
    await world.recovery.settle_open()
    world.exchange.account_lag = timedelta(seconds=2)
    assert (await world.recovery.reconcile()).quantity(ADA) == 8


async def test_open_orders_are_settled_oldest_first(world: World) -> None:
    world.boot().begin("10")
    world.decide(("c", "-10"), ("o", "-6"))
    assert await world.recovery.settle_open() == 2
    assert [request.quantity for _, request, _ in world.exchange.posts] == [-10, -6]
    assert await world.recovery.settle_open() == 0


async def test_an_order_never_sent_is_not_sent_on_an_account_changed_by_hand(world: World) -> None:
    world.boot().begin()
    world.decide(("o", "8"))
    world.exchange.trade("1000")
    with pytest.raises(Mismatch):
        await world.recovery.settle_open()
    assert world.exchange.posts == []


async def test_an_increase_never_sent_is_denied_once_the_position_was_liquidated(world: World) -> None:
    world.boot().begin("10")
    (increase,) = world.decide(("i", "5"))
    world.exchange.trade("-10", "autoclose-17")
    await world.recovery.settle_open()
    assert world.exchange.posts == []
    assert world.record(increase).outcome is Outcome.DENIED
    world.agree()


async def test_an_order_that_no_look_can_settle_is_given_up_only_when_a_person_says_so(world: World) -> None:
    world.boot().begin("10")
    sent, unsent = world.decide(("c", "-10"), ("o", "-6"))
    world.exchange.plan = [REPLIES["never"]]
    world.take_steps(Steps(hooks={("find", 0): lambda: world.exchange.trade("3")}))
    with pytest.raises(Mismatch, match=r"c0 is not known"):
        await world.recovery.settle_open()
    with pytest.raises(Mismatch):
        await world.recovery.settle_open()
    assert await world.recovery.settle_open(give_up=True) == 2
    assert world.record(sent).outcome is Outcome.ABSENT
    assert world.record(unsent).outcome is Outcome.DENIED
    assert len(world.exchange.posts) == 1


async def test_an_exchange_out_of_reach_leaves_every_order_open(world: World) -> None:
    world.boot().begin()
    world.decide(("o", "8"))
    world.exchange.outages = [(CLOSE, CLOSE + timedelta(minutes=5))]
    with pytest.raises(ExchangeError):
        await world.recovery.settle_open(give_up=True)
    assert len(world.journal.open_intents()) == 1


async def test_bookings_are_asked_for_from_the_baseline_and_then_from_a_little_before_the_last(world: World) -> None:
    world.boot().begin()

    def booking(number: int, minutes: float) -> Income:
        return Income(str(number), "FUNDING_FEE", ADA, DUST, CLOSE + timedelta(minutes=minutes), "")

    world.exchange.bookings = [booking(1, -5), booking(2, 5), booking(3, 10)]
    world.clock.time = CLOSE + timedelta(minutes=11)
    await world.recovery.book_incomes()
    assert [income.id for income in world.journal.incomes()] == ["2", "3"]
    world.exchange.bookings += [booking(4, 9.5), booking(5, 10), booking(6, 10.5)]
    await world.recovery.book_incomes()
    assert sorted(income.id for income in world.journal.incomes()) == ["2", "3", "4", "5", "6"]


@pytest.mark.fault(55)
async def test_a_wallet_that_is_explained_at_the_last_look_is_explained(world: World) -> None:
    world.boot().begin()
    world.exchange.cash += 5
    world.take_steps(Steps(hooks={("account", 6): lambda: setattr(world.exchange, "cash", Decimal(10_000))}))
    await world.recovery.require_wallet()
    world.exchange.cash += 5
    with pytest.raises(Mismatch, match="another account"):
        await world.recovery.require_wallet()


def before_ours(world: World, quantity: str, name: str) -> None:
    """Let somebody trade while an increase of ours is under way, which then has the newer trade."""
    world.decide(("i", "5"))
    world.take_steps(Steps(hooks={("send", 0): lambda: world.exchange.trade(quantity, name)}))


@pytest.mark.fault(54)
@pytest.mark.parametrize(("name", "kind"), [("autoclose-17", "liquidation"), ("adl_autoclose", "adl")])
@pytest.mark.parametrize("policy", ["halt", "adopt"])
async def test_what_the_exchange_took_just_before_our_own_order_is_written_down(
    name: str, kind: str, policy: Policy, world: World
) -> None:
    world.policies = replace(world.policies, **{kind: policy})
    world.boot().begin("10")
    before_ours(world, "-4", name)
    await world.recovery.settle_open()
    assert (await world.recovery.reconcile()).quantity(ADA) == 11
    assert world.state() is (State.HALTED if policy == "halt" else State.ACTIVE)
    world.agree()


async def test_a_person_s_trade_just_before_our_own_order_is_adopted_where_the_policy_says_so(world: World) -> None:
    world.policies = Policies(position="adopt")
    world.boot().begin()
    before_ours(world, "-4", "web_x")
    await world.recovery.settle_open()
    assert (await world.recovery.reconcile()).quantity(ADA) == 1
    world.agree()


async def test_a_person_s_trade_just_before_our_own_order_is_named_and_refused(world: World) -> None:
    world.boot().begin("10")
    before_ours(world, "-4", "web_x")
    await world.recovery.settle_open()
    with pytest.raises(Mismatch, match=r"it was a person.*`trader run --adopt`"):
        await world.recovery.reconcile()
    assert world.journal.position(ADA) == 15


async def test_a_trade_that_hundreds_of_ours_came_after_is_still_found(world: World) -> None:
    world.boot().begin("10")
    world.exchange.trade("-4", "adl_autoclose")
    for turn in range(501):
        world.exchange.trade("1" if turn % 2 else "-1", "ours")
    world.journal.record_fills(world.exchange.trades(ADA)[2:])
    await world.recovery.reconcile()
    assert world.journal.position(ADA) == world.exchange.position(ADA) == 5
    world.agree()


async def test_a_trade_before_a_baseline_that_held_nothing_of_its_symbol_explains_nothing(world: World) -> None:
    world.exchange.trade("-4", "adl_autoclose")
    world.exchange.trade("4", "web_x")
    world.clock.time += timedelta(seconds=1)
    world.boot().begin()
    world.decide(("o", "8"))
    await world.recovery.settle_open()
    world.journal.set_baseline(
        wallet=Decimal(1), equity=Decimal(1), positions={ADA: Decimal(12)}, last_trades={}, at=world.clock.now()
    )
    with pytest.raises(Mismatch, match="no trade tells of it"):
        await world.recovery.reconcile()


async def test_what_was_flattened_after_a_person_s_trade_is_named_as_theirs(world: World) -> None:
    world.boot().begin()
    world.exchange.trade("333", "web_x")
    assert await world.flattener.run() == "ADAUSDT -333"
    with pytest.raises(Mismatch, match=r"the exchange says 0; it was a person"):
        await world.recovery.reconcile()
    world.policies = Policies(position="adopt")
    await world.boot().recovery.reconcile()
    assert world.journal.positions() == {}
    world.agree()


async def test_trades_that_cancel_out_before_our_own_order_are_found_by_their_bookings(world: World) -> None:
    world.boot().begin("10")
    world.decide(("i", "5"))

    def meddle() -> None:
        world.exchange.trade("-4", "web_x")
        world.exchange.trade("4", "web_y")

    world.take_steps(Steps(hooks={("send", 0): meddle}))
    await world.recovery.settle_open()
    world.journal.record_incomes([Income("1", "REALIZED_PNL", ADA, DUST, CLOSE, "12")])
    with pytest.raises(Mismatch, match=r"Somebody else traded .*it was a person"):
        await world.recovery.explain_bookings()


async def test_what_fees_cost_in_other_coins_is_kept_once_and_told_when_it_grows(world: World) -> None:
    world.boot().begin()
    fill = Fill("11", "1", ADA, Decimal(8), Decimal(1), Decimal(0), Decimal(0), CLOSE, (Decimal("0.002"), "BNB"))
    for told in (fill, fill, replace(fill, trade_id="12"), replace(fill, trade_id="13", paid=None)):
        world.journal.record_fills([told])
    assert world.journal.paid_elsewhere() == {"BNB": Decimal("0.004")}
    await world.recovery.book_incomes()
    await world.recovery.book_incomes()
    assert world.log.said("fees paid in other coins") == [{"BNB": "0.004"}]
    assert world.journal.position(ADA) == 24


@pytest.mark.parametrize(
    ("call", "error"), [("fills", None), ("find", Rejected("no such symbol", code=-1121))], ids=["silent", "refused"]
)
async def test_an_order_nobody_tells_of_any_more_locks_neither_an_adoption_nor_a_flatten(
    call: str, error: Exception | None, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.boot().begin()
    (order,) = world.decide(("o", "8"))
    world.journal.mark_sent(order.client_id, world.clock.now())
    world.exchange.trade("8", order.client_id)

    async def told(*_: object, **__: object) -> list[Fill]:
        if error is not None:
            raise error
        return []

    monkeypatch.setattr(world.exchange, call, told)
    with pytest.raises(ExchangeError):
        await world.recovery.settle_open()
    assert await world.recovery.settle_open(give_up=True) == 1
    assert world.record(order).outcome is Outcome.ABSENT
    assert world.exchange.posts == []


async def test_an_adoption_gives_up_no_order_while_the_exchange_is_out_of_reach(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.boot().begin()
    (order,) = world.decide(("o", "8"))
    world.journal.mark_sent(order.client_id, world.clock.now())

    async def silent(*_: object, **__: object) -> None:
        raise OutcomeUnknown("no answer in time")

    monkeypatch.setattr(world.exchange, "find", silent)
    monkeypatch.setattr(world.exchange, "sync_clock", silent)
    with pytest.raises(OutcomeUnknown):
        await world.recovery.settle_open(give_up=True)
    assert len(world.journal.open_intents()) == 1
