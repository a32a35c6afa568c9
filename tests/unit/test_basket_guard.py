"""What one close would open fits the account as a whole, or none of it is sent."""

from copy import deepcopy
from dataclasses import replace
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.execution_world import OTHER, SYMBOL, flat_bracket, free_of_charge, instrument, limits
from trader.domain.account import MarginMode
from trader.domain.decision import Book, Leg, Limits, Margin, State
from trader.errors import Rejected
from trader.execution import guards
from trader.execution.fills import Ledger

THIRD = "ETHUSDT"
NAMES = (SYMBOL, OTHER, THIRD)
FINE = {"step": "0.001", "min_quantity": "0.001", "brackets": flat_bracket("0.005")}
RULES = {symbol: instrument(symbol, **FINE) for symbol in NAMES}
CROSS, ISOLATED = Margin(5, isolated=False), Margin(5, isolated=True)


def book(equity: str = "1000", profit: dict[str, str] | None = None, **held: str) -> Book:
    """Three symbols at a price of 1."""
    return Book(
        equity=Decimal(equity),
        peak_equity=Decimal(equity),
        positions={symbol: Decimal(quantity) for symbol, quantity in held.items()},
        prices=dict.fromkeys(NAMES, Decimal(1)),
        instruments=RULES,
        state=State.ACTIVE,
        unrealised=None if profit is None else {symbol: Decimal(amount) for symbol, amount in profit.items()},
    )


def legs(**asked: str) -> list[Leg]:
    """Legs by symbol; a second one is written after a slash, and a letter before each number says its kind."""
    return [Leg(symbol, Decimal(one[1:]), one[0]) for symbol, text in asked.items() for one in text.split("/")]


def refused(
    asked: list[Leg], given: Book, under: Limits | None = None, margin: Margin = CROSS
) -> dict[str, tuple[str, str]]:
    """Refused symbols with guard and reason, after checking that what only reduces was approved."""
    approved, found = guards.judge(asked, given, under or limits(), margin)
    assert [leg for leg in approved if leg.reduce_only] == [leg for leg in asked if leg.reduce_only]
    assert len(approved) + len(found) == len(asked)
    return {one.leg.symbol: (one.guard, one.reason) for one in found}


def test_openings_that_fit_together_pass() -> None:
    assert refused(legs(ADAUSDT="o2500", BTCUSDT="o-2500"), book()) == {}


@pytest.mark.parametrize("margin", [CROSS, ISOLATED])
def test_openings_of_which_each_fits_alone_are_all_refused_where_they_do_not_fit_together(margin: Margin) -> None:
    found = refused(legs(ADAUSDT="o2500", BTCUSDT="o-2501"), book(), margin=margin)
    why = "all positions together would bind 1000.20 USDT of margin where 1000.00 are there"
    assert found == dict.fromkeys((SYMBOL, OTHER), ("basket_margin", why))


def test_what_is_held_already_binds_its_margin_and_what_is_closed_before_frees_it() -> None:
    given = book(ETHUSDT="1000")
    assert refused(legs(ADAUSDT="o2000", BTCUSDT="o-2000"), given) == {}
    assert list(refused(legs(ADAUSDT="o2500", BTCUSDT="o-2000"), given)) == [SYMBOL, OTHER]
    assert refused(legs(ETHUSDT="c-1000", ADAUSDT="o2500", BTCUSDT="o-2500"), given) == {}
    assert refused(legs(ETHUSDT="r-500", ADAUSDT="o2500", BTCUSDT="o-2000"), given) == {}


def test_costs_are_paid_out_of_the_same_money() -> None:
    asked = legs(ADAUSDT="o2490", BTCUSDT="o-2490")
    assert refused(asked, book()) == {}
    assert refused(asked, book(), limits(cost="0.0008")) == {}
    assert list(refused(asked, book(), limits(cost="0.001"))) == [SYMBOL, OTHER]
    closing = [*legs(ETHUSDT="c-4000"), *asked]
    assert refused(closing, book(ETHUSDT="4000"), limits(cost="0.0004")) == {}
    assert list(refused(closing, book(ETHUSDT="4000"), limits(cost="0.0005"))) == [SYMBOL, OTHER]


def test_a_profit_that_is_not_realised_is_no_margin_until_it_is_closed() -> None:
    given = book(profit={THIRD: "400"}, ETHUSDT="1000")  # a wallet of 600
    assert list(refused(legs(ADAUSDT="o1000", BTCUSDT="o-1001"), given)) == [SYMBOL, OTHER]
    assert refused(legs(ADAUSDT="o1000", BTCUSDT="o-1000"), given) == {}
    assert refused(legs(ETHUSDT="r-500", ADAUSDT="o1500", BTCUSDT="o-1500"), given) == {}
    assert refused(legs(ETHUSDT="c-1000", ADAUSDT="o2500", BTCUSDT="o-2500"), given) == {}


def test_an_open_loss_is_missing_from_what_a_cross_account_may_bind() -> None:
    given = book(profit={THIRD: "-400"}, ETHUSDT="1000")  # a wallet of 1,400
    assert list(refused(legs(ADAUSDT="o2000", BTCUSDT="o-2001"), given)) == [SYMBOL, OTHER]
    assert refused(legs(ADAUSDT="o2000", BTCUSDT="o-2000"), given) == {}


def test_an_isolated_position_binds_what_it_cost() -> None:
    given = book(profit={THIRD: "-400"}, ETHUSDT="1000")  # bought for 1,400: 280 of 1,400 are bound
    assert refused(legs(ADAUSDT="o2800", BTCUSDT="o-2800"), given, margin=ISOLATED) == {}
    assert list(refused(legs(ADAUSDT="o2800", BTCUSDT="o-2801"), given, margin=ISOLATED)) == [SYMBOL, OTHER]
    short = book(profit={THIRD: "400"}, ETHUSDT="-1000")  # sold for 1,400: 280 of 600
    assert refused(legs(ADAUSDT="o800", BTCUSDT="o-800"), short, margin=ISOLATED) == {}
    assert list(refused(legs(ADAUSDT="o800", BTCUSDT="o-801"), short, margin=ISOLATED)) == [SYMBOL, OTHER]


def test_the_leverage_is_what_the_brackets_allow() -> None:
    given = book(equity="100000")
    tiers = {symbol: instrument(symbol) for symbol in NAMES}  # 300,000 may have ten times, 60,000 twenty-five
    given = Book(**{name: getattr(given, name) for name in Book.__slots__} | {"instruments": tiers})
    margin = Margin(20, isolated=False)
    assert refused(legs(ADAUSDT="o200000", BTCUSDT="o-200000"), given, margin=margin) == {}
    assert refused(legs(ADAUSDT="o900000", BTCUSDT="o-90000"), given, margin=margin) == {}
    assert list(refused(legs(ADAUSDT="o990000", BTCUSDT="o-90000"), given, margin=margin)) == [SYMBOL, OTHER]


def test_what_is_held_without_known_rules_binds_at_the_leverage_of_the_strategy() -> None:
    given = book(ETHUSDT="1000")
    known = {SYMBOL: RULES[SYMBOL], OTHER: RULES[OTHER]}
    given = Book(**{name: getattr(given, name) for name in Book.__slots__} | {"instruments": known})
    assert refused(legs(ADAUSDT="o2000", BTCUSDT="o-2000"), given) == {}
    assert list(refused(legs(ADAUSDT="o2000", BTCUSDT="o-2001"), given)) == [SYMBOL, OTHER]


def test_one_opening_alone_is_left_to_the_exchange_which_takes_it_whole_or_not_at_all() -> None:
    assert refused(legs(ADAUSDT="o4000"), book(BTCUSDT="4000")) == {}
    assert refused(legs(ADAUSDT="o3000/i2000"), book(BTCUSDT="4000")) == {}


def test_the_notional_of_all_positions_is_bounded_by_the_leverage_limit() -> None:
    under = limits(max_leverage="3")
    assert refused(legs(ADAUSDT="o1000", BTCUSDT="o-1000"), book(ETHUSDT="1000"), under) == {}
    found = refused(legs(ADAUSDT="o1000", BTCUSDT="o-1001"), book(ETHUSDT="-1000"), under)
    why = "a gross notional of 3001.00 passes 3 times the equity 1000.00"
    assert found == dict.fromkeys((SYMBOL, OTHER), ("max_leverage", why))
    assert refused(legs(ETHUSDT="c1000", ADAUSDT="o1000", BTCUSDT="o-1001"), book(ETHUSDT="-1000"), under) == {}
    assert list(refused(legs(ADAUSDT="o2500"), book(ETHUSDT="-1000"), under)) == [SYMBOL]


def test_a_canary_s_cap_is_that_of_all_positions() -> None:
    under = limits(canary_notional="500")
    assert refused(legs(ADAUSDT="o250", BTCUSDT="o-250"), book(), under) == {}
    found = refused(legs(ADAUSDT="o250", BTCUSDT="o-251"), book(), under)
    assert found[SYMBOL] == ("canary_notional", "a gross notional of 501.00 passes the canary's 500")


def test_the_distance_to_liquidation_is_that_of_the_whole_account() -> None:
    under = limits(min_liquidation_distance="0.4")
    # with a rate of 0.005: (1000 - 10) / 2000 is 0.495, (1000 - 12.5) / 2500 is 0.395
    assert refused(legs(ADAUSDT="o1000", BTCUSDT="o-1000"), book(), under) == {}
    found = refused(legs(ADAUSDT="o1250", BTCUSDT="o-1250"), book(), under)
    why = "liquidation of the account would be 0.3950 away if all moved against it, nearer than 0.4"
    assert found == dict.fromkeys((SYMBOL, OTHER), ("liquidation", why))
    assert list(refused(legs(ADAUSDT="o1250"), book(BTCUSDT="-1250"), under)) == [SYMBOL]


@pytest.mark.parametrize("known", [(SYMBOL,), (SYMBOL, OTHER)])
def test_without_the_brackets_of_everything_held_the_distance_to_liquidation_is_not_guessed(
    known: tuple[str, ...],
) -> None:
    given = book(BTCUSDT="1000")
    rules = {symbol: RULES[symbol] if symbol == SYMBOL else instrument(symbol, brackets=()) for symbol in known}
    given = Book(**{name: getattr(given, name) for name in Book.__slots__} | {"instruments": rules})
    found = refused(legs(ADAUSDT="o100"), given, limits(min_liquidation_distance="0.1"))
    assert found[SYMBOL] == ("liquidation", "the leverage brackets of BTCUSDT are not known")


@settings(max_examples=40)
@given(
    sizes=st.lists(st.decimals("-2500", "2500", places=0).filter(lambda one: abs(one) > 600), min_size=3, max_size=3),
    rate=st.decimals("0", "0.1", places=3),
    amount=st.decimals("0", "5", places=1),
)
def test_the_account_is_liquidated_exactly_that_far_away(sizes: list[Decimal], rate: Decimal, amount: Decimal) -> None:
    """Bisect the ledger's own liquidation, every price moving against its position, and compare."""
    rules = {symbol: instrument(symbol, brackets=flat_bracket(str(rate), str(amount))) for symbol in NAMES}
    account = Ledger(Decimal(1800), free_of_charge(), 5, "cross")
    ones = dict.fromkeys(NAMES, Decimal(1))
    for symbol, size in zip(NAMES, sizes, strict=True):
        account.trade(rules[symbol], size, Decimal(1), reduce_only=False, marks=ones)

    def taken(moved: Decimal) -> bool:
        prices = {symbol: 1 - moved.copy_sign(size) for symbol, size in zip(NAMES, sizes, strict=True)}
        return replace(account, holdings=dict(account.holdings)).liquidate(rules, prices) is not None

    safe, gone = Decimal(0), Decimal(1)
    for _ in range(20):
        middle = (safe + gone) / 2
        safe, gone = (safe, middle) if taken(middle) else (middle, gone)
    asked = [Leg(symbol, size, "o") for symbol, size in zip(NAMES, sizes, strict=True)]
    given = Book(Decimal(1800), Decimal(1800), {}, ones, rules, State.ACTIVE)
    for least, guard in ((safe - Decimal("0.001"), set()), (safe + Decimal("0.001"), {"liquidation"})):
        under = limits(min_liquidation_distance=str(least))
        assert {one.guard for one in guards.judge(asked, given, under, CROSS)[1]} == guard


def test_a_symbol_that_a_limit_of_its_own_refuses_is_not_counted() -> None:
    under = limits(max_notional="3000")
    assert list(refused(legs(ADAUSDT="o2500", BTCUSDT="o-3001"), book(), under)) == [OTHER]


def test_nothing_opened_is_never_refused() -> None:
    assert refused(legs(ETHUSDT="c-9000", ADAUSDT="r-100"), book(ETHUSDT="9000", ADAUSDT="9000")) == {}


money = st.decimals("-3", "3", places=1).filter(lambda one: abs(one) >= Decimal("0.1"))
moved = st.decimals("0.7", "1.4", places=2)


@given(
    before=st.lists(money, min_size=3, max_size=3),
    marks=st.lists(moved, min_size=3, max_size=3),
    wished=st.lists(money, min_size=3, max_size=3),
    closing=st.lists(st.booleans(), min_size=3, max_size=3),
    mode=st.sampled_from(["cross", "isolated"]),
)
def test_a_basket_is_refused_exactly_where_the_ledger_would_refuse_a_part_of_it(
    before: list[Decimal], marks: list[Decimal], wished: list[Decimal], closing: list[bool], mode: MarginMode
) -> None:
    """Positions are opened at 1, then prices move; half of some is closed, and something is opened in every symbol."""
    account = Ledger(Decimal(1000), free_of_charge(), 5, mode)
    ones = dict.fromkeys(NAMES, Decimal(1))
    for symbol, size in zip(NAMES, before, strict=True):
        account.trade(RULES[symbol], size * 400, Decimal(1), reduce_only=False, marks=ones)
    prices = dict(zip(NAMES, marks, strict=True))
    asked = [
        Leg(symbol, -account.quantity(symbol) / 2, "r") for symbol, half in zip(NAMES, closing, strict=True) if half
    ]
    for symbol, size in zip(NAMES, wished, strict=True):
        asked.append(Leg(symbol, (abs(size) * 700).copy_sign(account.quantity(symbol)), "i"))
    profit = {symbol: account.unrealised(symbol, prices[symbol]) for symbol in NAMES}
    equity = account.equity(prices)
    held = {symbol: account.quantity(symbol) for symbol in NAMES}
    given = Book(equity, equity, held, prices, RULES, State.ACTIVE, unrealised=profit)
    guarded = guards.judge(asked, given, limits(), Margin(5, isolated=mode == "isolated"))[1]
    lived = deepcopy(account)
    code: int | None = None
    try:
        for leg in asked:
            lived.trade(RULES[leg.symbol], leg.quantity, prices[leg.symbol], reduce_only=leg.reduce_only, marks=prices)
    except Rejected as error:
        code = error.code
    assert code in (None, -2019)
    assert {one.guard for one in guarded} == (set() if code is None else {"basket_margin"})
