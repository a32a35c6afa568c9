"""The backtest carries orders as the router does: what ended short is followed once, and nothing more is opened."""

from decimal import Decimal

import pytest

from tests.unit.execution_world import SYMBOL, flat_bracket, free_of_charge, instrument, ledger
from trader.domain.decision import Leg
from trader.domain.instrument import Instrument
from trader.errors import Rejected
from trader.execution.fills import Costs, Ledger
from trader.execution.remainder import Rules, Short, following
from trader.research.carrier import Carrier

RULES = instrument(brackets=flat_bracket("0.01"))
# a market order pays four ticks more than the best price, which lies a tick away
THIN = Costs(Decimal(0), Decimal("0.0004"), Decimal("0.0002"))


def carrier(account: Ledger, rules: Rules | None = None, one: Instrument = RULES, leverage: int = 10) -> Carrier:
    return Carrier(account, {SYMBOL: one}, {SYMBOL: Decimal(1)}, rules or Rules(), {SYMBOL: leverage})


def leg(quantity: str, kind: str, limit: str | None = None) -> Leg:
    return Leg(SYMBOL, Decimal(quantity), kind, None if limit is None else Decimal(limit))


@pytest.mark.parametrize(
    ("limit", "top_up", "filled", "sent"),
    [("1.01", True, 1000, 1), ("1.0003", True, 840, 2), ("1.0003", False, 600, 1), ("1", True, 0, 1)],
)
def test_a_bounded_order_takes_its_share_twice_at_most(limit: str, top_up: bool, filled: int, sent: int) -> None:
    account = ledger("1000", costs=THIN)
    orders = carrier(account, Rules(top_up=top_up))
    orders.carry([leg("1000", "o", limit)])
    assert account.quantity(SYMBOL) == filled
    assert orders.sent == sent


def test_nothing_is_opened_on_top_of_what_a_bounded_close_left() -> None:
    account = ledger("1000", costs=THIN)
    carrier(account).carry([leg("1000", "o")])
    orders = carrier(account)
    orders.carry([leg("-1000", "c", "0.9997"), leg("-500", "o", "0.9997")])
    assert account.quantity(SYMBOL) == 160
    assert orders.sent == 2


def test_a_rest_too_small_for_any_order_is_in_nobody_s_way() -> None:
    account = ledger("1000")
    account.trade(RULES, Decimal("0.5"), Decimal(1), reduce_only=False)
    carrier(account).carry([leg("500", "o")])
    assert account.quantity(SYMBOL) == Decimal("500.5")


@pytest.mark.parametrize(("smaller", "held", "sent"), [("0", 0, 1), ("0.5", 500, 2), ("0.9", 0, 2)])
def test_where_the_margin_does_not_suffice_one_smaller_order_may_follow(smaller: str, held: int, sent: int) -> None:
    account = ledger("60")
    orders = carrier(account, Rules(smaller=Decimal(smaller)))
    orders.carry([leg("1000", "o"), leg("1000", "o")] if smaller != "0.5" else [leg("1000", "o")])
    assert account.quantity(SYMBOL) == held
    assert orders.sent == sent


def test_a_symbol_is_opened_with_the_leverage_that_was_chosen_for_it_and_keeps_it_while_held() -> None:
    account = ledger("1000")
    carrier(account, leverage=3).carry([leg("300", "o")])
    assert account.holdings[SYMBOL].margin == 100
    carrier(account, leverage=5).carry([leg("300", "i")])
    assert account.holdings[SYMBOL].margin == 200


def test_a_close_of_what_is_gone_is_done() -> None:
    account = Ledger(Decimal(100), free_of_charge(), 10)
    orders = carrier(account)
    assert orders.carry([leg("-10", "c"), leg("-20", "o")])
    assert account.quantity(SYMBOL) == -20
    assert orders.sent == 2


def test_a_bound_that_a_changed_rule_leaves_no_tick_for_is_not_followed() -> None:
    short = Short(Decimal(100), Decimal("1.0001"), False, refusal=Rejected("no", code=-4014))
    rules = instrument(min_price="2")
    assert following(short, Rules(), Decimal(0), rules, Decimal(1)) is None
    coarse = instrument(tick="0.1")
    assert following(short, Rules(), Decimal(0), coarse, Decimal(1)) == (Decimal(100), Decimal("1.0"))
