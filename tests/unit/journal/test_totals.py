"""Counts and sums of a journal, kept up by reading only what is new."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal

import pytest

from tests.unit.journal.steps import SECOND, decide, fill, finish
from trader.domain.account import Income
from trader.domain.order import Order
from trader.journal.journal import Journal
from trader.journal.rows import Intent, Outcome, Status
from trader.journal.totals import OPEN, Costs, Totals


@pytest.fixture
def totals(journal: Journal) -> Iterator[Totals]:
    with Totals.of(journal.path) as reader:
        yield reader


def trade(
    journal: Journal, intent: Intent, order: Order, *, paid: str, fee: str, trade_id: str, settled: bool = True
) -> None:
    """Carry an order of a decided close to its end."""
    journal.mark_sent(intent.client_id, intent.intended_at)
    told = fill(trade_id, intent.close, str(intent.quantity))
    journal.record_fills([replace(told, price=Decimal(paid), fee=Decimal(fee), exchange_id=order.exchange_id)])
    if settled:
        journal.settle(intent.client_id, order, Outcome.CONFIRMED, final=True, at=intent.close + SECOND)


def test_an_empty_journal_comes_to_nothing(totals: Totals) -> None:
    assert totals.costs() == Costs()
    assert (totals.closes_by_status(), totals.orders_by_outcome(), totals.posts()) == ({}, {}, 0)
    assert (totals.last_closed(), totals.oldest_unfinished()) == (None, None)


def test_slippage_is_what_fills_cost_against_the_price_the_order_was_sized_at(
    journal: Journal, totals: Totals, close: datetime, intent: Callable[..., Intent], confirmed: Callable[..., Order]
) -> None:
    bought = replace(intent("t1.o0", "10"), price=Decimal("0.60"))
    sold = replace(intent("t1.o1", "-10"), price=Decimal("0.60"))
    decide(journal, close, [bought, sold])
    trade(journal, bought, confirmed("t1.o0"), paid="0.61", fee="0.003", trade_id="1")
    trade(journal, sold, replace(confirmed("t1.o1"), exchange_id="2"), paid="0.62", fee="0.004", trade_id="2")
    costs = totals.costs()
    # a buyer who pays more has lost, a seller who gets more has won
    assert costs.slippage == Decimal("10") * Decimal("0.01") - Decimal("10") * Decimal("0.02")
    assert (costs.fees, costs.fills, costs.unpriced) == (Decimal("0.007"), 2, 0)
    assert costs.traded == Decimal("12.3")


def test_a_fill_waits_until_its_order_says_what_it_was_sized_at(
    journal: Journal, totals: Totals, close: datetime, intent: Callable[..., Intent], confirmed: Callable[..., Order]
) -> None:
    wished = replace(intent("t1.o0", "10"), price=Decimal("0.60"))
    decide(journal, close, [wished])
    trade(journal, wished, confirmed("t1.o0"), paid="0.61", fee="0.003", trade_id="1", settled=False)
    waiting = totals.costs()
    assert waiting.fills == 0
    journal.settle("t1.o0", confirmed("t1.o0"), Outcome.CONFIRMED, final=True, at=close + SECOND)
    assert totals.costs(waiting).slippage == Decimal("0.10")


def test_reading_on_comes_to_the_same_as_reading_everything(
    journal: Journal, totals: Totals, close: datetime, intent: Callable[..., Intent], confirmed: Callable[..., Order]
) -> None:
    so_far = totals.costs()
    for turn in range(4):
        at = close + turn * timedelta(hours=16)
        wished = replace(intent(f"t{turn}.o0", "10", at), price=Decimal("0.60"))
        decide(journal, at, [wished])
        order = replace(confirmed(f"t{turn}.o0"), exchange_id=str(turn))
        # told late: the newest row is not the newest trade
        trade(journal, replace(wished, close=close - turn * SECOND), order, paid="0.61", fee="1", trade_id=str(turn))
        journal.record_incomes([Income(str(turn), "FUNDING_FEE", "ADAUSDT", Decimal("-0.5"), at, "")])
        finish(journal, at)
        so_far = totals.costs(so_far)
    assert so_far == totals.costs()
    assert (so_far.fees, so_far.funding, so_far.total) == (Decimal(4), Decimal(-2), Decimal("6.40"))


def test_closes_and_orders_are_counted_by_what_became_of_them(
    journal: Journal, totals: Totals, close: datetime, intent: Callable[..., Intent], confirmed: Callable[..., Order]
) -> None:
    done, left = intent("t1.o0"), intent("t1.o1")
    decide(journal, close, [done, left])
    trade(journal, done, confirmed("t1.o0"), paid="0.6", fee="0", trade_id="1")
    assert totals.orders_by_outcome() == {Outcome.CONFIRMED: 1, OPEN: 1}
    assert totals.oldest_unfinished() == close
    journal.settle("t1.o1", None, Outcome.DENIED, final=True, text="no", at=close)
    finish(journal, close)
    later = [close + timedelta(hours=16 * turn) for turn in (1, 2)]
    journal.miss_all(later, "asleep", later[-1])
    assert totals.closes_by_status() == {Status.CLOSED: 1, Status.MISSED: 2}
    assert totals.orders_by_outcome() == {Outcome.CONFIRMED: 1, Outcome.DENIED: 1}
    assert totals.posts() == 1
    last = totals.last_closed()
    assert last is not None
    assert (last.close, totals.oldest_unfinished()) == (close, None)
