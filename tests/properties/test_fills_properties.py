"""The imagined ledger under any sequence of orders, funding and prices: no cent appears or disappears."""

from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.execution_world import OTHER, SYMBOL, flat_bracket, instrument, ledger, liquidated
from trader.domain.account import MarginMode
from trader.errors import Rejected
from trader.execution.fills import Costs, Execution, Ledger

RULES = {symbol: instrument(symbol, step="0.001", min_quantity="0.001") for symbol in (SYMBOL, OTHER)}
CENT = Decimal("1e-8")

prices = st.decimals("0.1", "10", places=4)
quantities = st.decimals("0.001", "5000", places=3).flatmap(lambda size: st.sampled_from([size, -size]))
rates = st.decimals("-0.02", "0.02", places=6)
symbols = st.sampled_from([SYMBOL, SYMBOL, OTHER])
costs = st.builds(
    Costs,
    fee=st.sampled_from([Decimal(0), Decimal("0.0005"), Decimal("0.00045")]),
    slippage=st.sampled_from([Decimal(0), Decimal("0.0001")]),
    spread=st.sampled_from([Decimal(0), Decimal("0.0002")]),
)
orders = st.tuples(st.just("order"), symbols, quantities, prices, st.booleans())
fundings = st.tuples(st.just("fund"), symbols, rates, prices, st.just(False))
tests_of_margin = st.tuples(st.just("liquidate"), symbols, st.just(Decimal(0)), prices, st.just(False))
Step = tuple[str, str, Decimal, Decimal, bool]
lives = st.lists(orders | orders | fundings | tests_of_margin, max_size=25)


@dataclass
class Told:
    """What a ledger said it did, added up by somebody else; `marks` are the last prices anything was told."""

    account: Ledger
    executions: list[Execution] = field(default_factory=list)
    received: Decimal = Decimal(0)
    lost: Decimal = Decimal(0)
    marks: dict[str, Decimal] = field(default_factory=lambda: dict.fromkeys(RULES, Decimal(1)))

    def live(self, steps: Sequence[Step]) -> "Told":
        for kind, symbol, number, price, reduce_only in steps:
            self.marks[symbol] = price
            if kind == "order":
                self.order(symbol, number, price, reduce_only=reduce_only)
            elif kind == "fund":
                self.received += self.account.fund(symbol, number, price)
            else:
                before = self.account.wallet
                self.account.liquidate(RULES, self.marks)
                self.lost += before - self.account.wallet
        return self

    def order(self, symbol: str, quantity: Decimal, price: Decimal, *, reduce_only: bool) -> None:
        before = deepcopy(self.account)
        marks = {**self.marks, symbol: price}
        try:
            self.executions += self.account.trade(RULES[symbol], quantity, price, reduce_only=reduce_only, marks=marks)
        except Rejected:
            assert self.account == before


@st.composite
def lived(draw: st.DrawFn) -> Told:
    modes: tuple[MarginMode, ...] = ("isolated", "cross")
    account = ledger(
        str(draw(st.decimals("10", "10000", places=2))),
        draw(st.integers(1, 10)),
        draw(costs),
        margin_mode=draw(st.sampled_from(modes)),
    )
    return Told(account).live(draw(lives))


@given(st.decimals("10", "10000", places=2), st.integers(1, 10), costs, lives, prices)
def test_the_wallet_is_the_start_and_everything_booked_since(
    start: Decimal, leverage: int, charged: Costs, steps: list[Step], price: Decimal
) -> None:
    told = Told(Ledger(start, charged, leverage)).live(steps)
    realised = sum((one.realised for one in told.executions), Decimal(0))
    fees = sum((one.fee for one in told.executions), Decimal(0))
    account = told.account
    assert account.wallet == start + realised - fees + told.received - told.lost
    assert (account.fees, account.funding) == (fees, told.received)
    marks = dict.fromkeys(RULES, price)
    unrealised = sum((account.unrealised(symbol, price) for symbol in RULES), Decimal(0))
    assert account.equity(marks) == account.wallet + unrealised


@given(lives, costs, st.integers(1, 10))
def test_without_liquidation_a_position_is_the_sum_of_its_fills_and_costs_what_they_cost(
    steps: list[Step], charged: Costs, leverage: int
) -> None:
    told = Told(Ledger(Decimal(5000), charged, leverage)).live([step for step in steps if step[0] != "liquidate"])
    for symbol in RULES:
        fills = [one for one in told.executions if one.symbol == symbol]
        holding = told.account.holdings.get(symbol)
        assert told.account.quantity(symbol) == sum((one.quantity for one in fills), Decimal(0))
        spent = sum((one.quantity * one.price for one in fills), Decimal(0))
        realised = sum((one.realised for one in fills), Decimal(0))
        cost = holding.cost if holding else Decimal(0)
        assert abs(cost - spent - realised) <= CENT * len(fills)


@given(lived())
def test_everything_booked_has_eight_decimals(told: Told) -> None:
    account = told.account
    amounts = [account.wallet, account.fees, account.funding, *(one.fee for one in told.executions)]
    amounts += [one.realised for one in told.executions] + [each.margin for each in account.holdings.values()]
    assert all(amount % CENT == 0 for amount in amounts)


@given(lived())
def test_a_ledger_keeps_no_empty_position_and_signs_cost_like_quantity(told: Told) -> None:
    for holding in told.account.holdings.values():
        assert holding.quantity * holding.cost > 0


@given(lived(), symbols, quantities, prices)
def test_an_opening_is_never_done_with_money_that_is_not_there(
    told: Told, symbol: str, quantity: Decimal, price: Decimal
) -> None:
    account, before = told.account, deepcopy(told.account)
    told.order(symbol, quantity, price, reduce_only=False)
    if abs(account.quantity(symbol)) > abs(before.quantity(symbol)):
        # what was paid above the mark is a loss at once, and binds no more than that under cross margin
        lost = sum((abs(one.quantity) * abs(one.price - price) for one in told.executions[-2:]), Decimal(0))
        slack = lost * 2 if account.margin_mode == "cross" else Decimal(0)
        assert account.available({**told.marks, symbol: price}) >= -slack - CENT


@given(lived())
def test_a_price_paid_is_a_whole_tick_and_never_better_than_the_market(told: Told) -> None:
    assert all(one.price % RULES[one.symbol].tick == 0 for one in told.executions)


@given(quantities, prices, costs)
def test_a_fill_is_moved_against_us_by_less_than_a_tick_more_than_it_costs(
    quantity: Decimal, price: Decimal, charged: Costs
) -> None:
    account = Ledger(Decimal(10**9), charged, 1)
    paid = account.trade(RULES[SYMBOL], quantity, price, reduce_only=False)[0].price
    against = (paid - price) * (1 if quantity > 0 else -1)
    least = price * (charged.spread / 2 + charged.slippage)
    assert least <= against < least + RULES[SYMBOL].tick


@given(lived(), quantities, prices)
def test_a_reduce_only_order_never_enlarges_or_turns_a_position(told: Told, quantity: Decimal, price: Decimal) -> None:
    account, held = told.account, told.account.quantity(SYMBOL)
    if held * quantity < 0:
        account.trade(RULES[SYMBOL], quantity, price, reduce_only=True)
    else:
        with pytest.raises(Rejected, match="no position to reduce"):
            account.trade(RULES[SYMBOL], quantity, price, reduce_only=True)
    left = account.quantity(SYMBOL)
    assert abs(left) <= abs(held)
    assert left * held >= 0


@given(lived(), prices)
def test_an_order_across_zero_is_its_close_and_its_opening(told: Told, price: Decimal) -> None:
    account, held = told.account, told.account.quantity(SYMBOL)
    if not held:
        return
    rest, marks = -held.copy_sign(held) * 2, told.marks
    once, twice = deepcopy(account), deepcopy(account)
    parts = twice.trade(RULES[SYMBOL], -held, price, reduce_only=True, marks=marks)
    code = None
    try:
        parts += twice.trade(RULES[SYMBOL], rest + held, price, reduce_only=False, marks=marks)
    except Rejected as error:
        code = error.code
    if code is None:
        assert once.trade(RULES[SYMBOL], rest, price, reduce_only=False, marks=marks) == parts
        assert once == twice
    else:
        with pytest.raises(Rejected) as refused:
            once.trade(RULES[SYMBOL], rest, price, reduce_only=False, marks=marks)
        assert refused.value.code == code
        assert once == account


@given(
    st.decimals("1", "1000", places=2),
    st.integers(1, 50),
    st.decimals("0.001", "0.02", places=4),
    st.decimals("0", "0.5", places=3),
    st.sampled_from([1, -1]),
)
def test_liquidation_is_where_the_formula_of_usdt_margined_contracts_says(
    entry: Decimal, leverage: int, rate: Decimal, amount: Decimal, side: int
) -> None:
    """A long of one goes at p(1 - 1/L)/(1 - m), a short at p(1 + 1/L)/(1 + m), less the bracket's amount."""
    rules = instrument(tick="0.01", brackets=flat_bracket(str(rate), str(amount)))
    account = ledger("100000", leverage)
    account.trade(rules, Decimal(side), entry, reduce_only=False)
    margin = account.holdings[SYMBOL].margin
    assert abs(margin - entry / leverage) <= CENT
    edge = (entry - side * (margin + amount)) / (1 - side * rate)
    near = Decimal("1e-12")
    assert not liquidated(deepcopy(account), rules, edge + side * near)
    if edge > near:
        assert liquidated(account, rules, edge - side * near)
        assert account.wallet == 100_000 - margin
