from copy import deepcopy
from decimal import Decimal

import pytest

from tests.unit.execution_world import OTHER, SYMBOL, at, flat_bracket, free_of_charge, instrument, ledger, liquidated
from trader.errors import Rejected
from trader.execution.fills import Costs, Holding, Ledger, booked

COSTS = Costs(fee=Decimal("0.0005"), slippage=Decimal("0.0001"), spread=Decimal("0.0002"))
FEE_ONLY = Costs(fee=Decimal("0.0005"), slippage=Decimal(0), spread=Decimal(0))
RULES = instrument()
FINE = instrument(tick="0.01", step="0.001", min_quantity="0.001")


def trade(account: Ledger, quantity: str, price: str, *, reduce_only: bool = False) -> list[tuple[str, str, str, str]]:
    """Send a market order; its executions as quantity, price, fee and profit in text."""
    done = account.trade(RULES, Decimal(quantity), Decimal(price), reduce_only=reduce_only)
    return [
        (str(one.quantity), f"{one.price.normalize():f}", f"{one.fee.normalize():f}", f"{one.realised.normalize():f}")
        for one in done
    ]


def refused(account: Ledger, quantity: str, price: str, *, reduce_only: bool = False) -> int | None:
    """The code of a refusal, after checking that it changed nothing."""
    before = deepcopy(account)
    with pytest.raises(Rejected) as caught:
        account.trade(RULES, Decimal(quantity), Decimal(price), reduce_only=reduce_only)
    assert account == before
    return caught.value.code


@pytest.mark.parametrize(
    ("amount", "result"),
    [
        ("0.000000005", "0"),
        ("0.000000015", "0.00000002"),
        ("-0.000000025", "-0.00000002"),
        ("1.234567891", "1.23456789"),
    ],
)
def test_money_is_booked_to_eight_decimals_half_to_even(amount: str, result: str) -> None:
    assert booked(Decimal(amount)) == Decimal(result)


def test_a_life_of_a_long_worked_by_hand() -> None:
    account = ledger("1000", 10, COSTS)
    # 1 moved up by 0.0002 is 1.0002; fee 100.02 * 0.0005
    assert trade(account, "100", "1") == [("100", "1.0002", "0.05001", "0")]
    assert account.holdings[SYMBOL] == Holding(Decimal(100), Decimal("100.02"), Decimal("10.002"))
    assert account.wallet == Decimal("999.94999")
    assert account.unrealised(SYMBOL, Decimal(1)) == Decimal("-0.02")
    assert account.equity(at("1")) == Decimal("999.92999")
    # 1.1 moved up is 1.10022, the next tick is 1.1003
    assert trade(account, "50", "1.1") == [("50", "1.1003", "0.0275075", "0")]
    assert account.holdings[SYMBOL] == Holding(Decimal(150), Decimal("155.035"), Decimal("15.5035"))
    # 1.2 moved down is 1.19976, the tick below 1.1997; 60 of 150 cost 62.014 and bound 6.2014
    assert trade(account, "-60", "1.2", reduce_only=True) == [("-60", "1.1997", "0.035991", "9.968")]
    assert account.holdings[SYMBOL] == Holding(Decimal(90), Decimal("93.021"), Decimal("9.3021"))
    assert trade(account, "-90", "0.9", reduce_only=True) == [("-90", "0.8998", "0.040491", "-12.039")]
    assert account.holdings == {}
    assert account.wallet == account.equity(at("0.9")) == Decimal("997.7750005")
    assert account.fees == Decimal("0.1539995")


def test_a_life_of_a_short_worked_by_hand() -> None:
    account = ledger("1000", 10, COSTS)
    assert trade(account, "-100", "1") == [("-100", "0.9998", "0.04999", "0")]
    assert account.holdings[SYMBOL] == Holding(Decimal(-100), Decimal("-99.98"), Decimal("9.998"))
    assert account.unrealised(SYMBOL, Decimal("0.9")) == Decimal("9.98")
    # 0.9 moved up is 0.90018, the next tick 0.9002; 40 of 100 were sold for 39.992
    assert trade(account, "40", "0.9", reduce_only=True) == [("40", "0.9002", "0.018004", "3.984")]
    assert account.holdings[SYMBOL] == Holding(Decimal(-60), Decimal("-59.988"), Decimal("5.9988"))
    assert trade(account, "60", "1.1", reduce_only=True) == [("60", "1.1003", "0.033009", "-6.03")]
    assert account.wallet == Decimal("1000") - Decimal("0.101003") + Decimal("3.984") - Decimal("6.03")


def test_the_equity_of_a_long_of_one_at_100_with_a_balance_of_100_is_115_at_115() -> None:
    account = ledger("100", 1)
    account.trade(FINE, Decimal(1), Decimal(100), reduce_only=False)
    assert account.equity(at("115")) == 115
    assert account.wallet == 100


@pytest.mark.parametrize(("quantity", "paid"), [("1", "100.03"), ("-1", "99.97")])
def test_the_price_is_rounded_to_the_tick_against_us(quantity: str, paid: str) -> None:
    account = ledger("1000", 10, Costs(Decimal(0), Decimal("0.0001"), Decimal("0.00032")))
    assert account.trade(FINE, Decimal(quantity), Decimal("100"), reduce_only=False)[0].price == Decimal(paid)


def test_a_price_on_the_tick_is_not_moved_without_costs() -> None:
    account = ledger("1000", 10)
    assert account.trade(FINE, Decimal(1), Decimal("100.07"), reduce_only=False)[0].price == Decimal("100.07")


def test_an_order_across_zero_closes_first_and_then_opens_the_rest() -> None:
    account = ledger("1000", 10, FEE_ONLY)
    trade(account, "100", "1")
    assert trade(account, "-300", "1.5") == [("-100", "1.5", "0.075", "50"), ("-200", "1.5", "0.15", "0")]
    assert account.holdings[SYMBOL] == Holding(Decimal(-200), Decimal(-300), Decimal(30))
    assert account.wallet == Decimal("1049.725")


def test_an_order_of_exactly_what_is_held_leaves_nothing_behind() -> None:
    account = ledger("1000", 7)
    trade(account, "7", "1.2345")
    trade(account, "-2", "1.3")
    trade(account, "-5", "1.4")
    assert account.holdings == {}
    assert account.available() == account.wallet


def test_an_order_across_zero_that_cannot_be_paid_does_not_close_either() -> None:
    account = ledger("100", 10)
    trade(account, "10", "10")
    assert refused(account, "-1000", "10") == -2019


def test_an_order_across_zero_may_use_the_margin_and_profit_it_frees() -> None:
    account = ledger("10", 10, FEE_ONLY)
    trade(account, "90", "1")  # margin 9, fee 0.045, 0.955 left
    # closing frees 9 and earns 9 less 0.0495, in all 18.9055; 188 at 1.1 would need 20.7834, 170 need 18.7935
    assert refused(account, "-278", "1.1") == -2019
    assert trade(account, "-260", "1.1")[1][:2] == ("-170", "1.1")


def test_a_reduce_only_order_takes_no_more_than_there_is() -> None:
    account = ledger("1000")
    trade(account, "100", "1")
    assert trade(account, "-500", "1", reduce_only=True)[0][0] == "-100"
    assert account.holdings == {}


def test_a_reduce_only_order_without_a_position_to_reduce_is_refused() -> None:
    account = ledger("1000")
    assert refused(account, "-5", "1", reduce_only=True) == -2022
    trade(account, "100", "1")
    assert refused(account, "5", "1", reduce_only=True) == -2022
    trade(account, "-200", "1")
    assert refused(account, "-5", "1", reduce_only=True) == -2022


@pytest.mark.parametrize("quantity", ["1000", "-1000"])
def test_margin_and_fee_must_fit_into_what_is_available_to_the_last_decimal(quantity: str) -> None:
    needed = Decimal("100.5")  # 1,000 at 1: a tenth of it, and 0.0005 of it
    assert trade(Ledger(needed, FEE_ONLY, 10), quantity, "1")[0][0] == quantity
    assert refused(Ledger(needed - Decimal("1e-8"), FEE_ONLY, 10), quantity, "1") == -2019


def test_the_margin_of_what_is_held_already_is_not_available_again() -> None:
    account = ledger("100", 10)
    trade(account, "600", "1")
    assert account.available() == 40
    assert refused(account, "401", "1") == -2019
    trade(account, "400", "1")
    assert account.available() == 0


def test_unrealised_profit_of_an_isolated_position_is_not_available() -> None:
    account = ledger("100", 10)
    trade(account, "1000", "1")
    assert account.equity(at("1.5")) == 600
    assert refused(account, "1", "1.5") == -2019


@pytest.mark.parametrize("side", ["", "-"])
def test_a_leverage_allows_no_position_beyond_its_bracket(side: str) -> None:
    """Ten times goes up to the tier that ends at 1,000,000; the fee and the price paid do not count."""
    account = ledger("200000", 10, COSTS)
    assert refused(account, f"{side}1000001", "1") == -2027
    trade(account, f"{side}600000", "1")
    assert refused(account, f"{side}400001", "1") == -2027
    assert refused(account, f"{side}400000", "1.0001") == -2027
    assert trade(account, f"{side}400000", "1")


def test_a_position_that_outgrew_its_bracket_may_be_closed_and_turned_around() -> None:
    account = ledger("200000", 10)
    trade(account, "1000000", "1")
    assert refused(account, "1", "1.5") == -2027
    assert refused(account, "-1700000", "1.5") == -2027
    assert trade(account, "-1600000", "1.5")
    assert account.quantity(SYMBOL) == -600_000


def test_a_leverage_above_every_bracket_allows_nothing() -> None:
    assert refused(ledger("1000", 51), "1", "1") == -2027


def test_a_cross_position_binds_its_margin_at_the_price_of_now_and_its_loss() -> None:
    account = ledger("100", 10, margin_mode="cross")
    trade(account, "600", "1")
    assert account.holdings[SYMBOL].margin == 0
    assert refused(account, "401", "1") == -2019  # 60 are bound
    assert refused(account, "367", "0.95") == -2019  # 57 are bound and 30 lost; 13 carry no 136 at 0.95
    assert trade(account, "136", "0.95")


def test_cross_positions_of_all_symbols_bind_one_wallet() -> None:
    account = ledger("100", 10, margin_mode="cross")
    other = instrument(OTHER)
    trade(account, "300", "1")
    account.trade(other, Decimal(-100), Decimal(2), reduce_only=False, marks=at("1"))
    # 30 and 20 bound at first; at 0.9 and 1.9: 27 and 19, 30 lost and 10 won
    marks = {SYMBOL: Decimal("0.9"), OTHER: Decimal("1.9")}
    assert account.available(marks) == 100 - 27 - 19 - 20
    assert account.available({SYMBOL: Decimal("1.2"), OTHER: Decimal(2)}) == 100 - 36 - 20  # a profit is no margin
    with pytest.raises(Rejected):
        account.trade(RULES, Decimal(378), Decimal("0.9"), reduce_only=False, marks=marks)
    assert account.trade(RULES, Decimal(377), Decimal("0.9"), reduce_only=False, marks=marks)


def test_turning_a_cross_position_around_frees_its_own_margin_and_not_the_others() -> None:
    account = ledger("100", 10, margin_mode="cross")
    trade(account, "300", "1")
    account.trade(instrument(OTHER), Decimal(100), Decimal(2), reduce_only=False, marks=at("1"))
    marks = {SYMBOL: Decimal("1.1"), OTHER: Decimal("1.9")}
    # closing earns 30; the other binds 19 and has lost 10: 101 carry 918 at 1.1
    with pytest.raises(Rejected):
        account.trade(RULES, Decimal(-300 - 919), Decimal("1.1"), reduce_only=False, marks=marks)
    assert len(account.trade(RULES, Decimal(-300 - 918), Decimal("1.1"), reduce_only=False, marks=marks)) == 2


def test_a_cross_account_is_liquidated_as_one_with_the_largest_loss_first() -> None:
    account, rules = ledger("100", 10, margin_mode="cross"), {SYMBOL: RULES, OTHER: instrument(OTHER)}
    trade(account, "300", "1")
    account.trade(rules[OTHER], Decimal(-100), Decimal(2), reduce_only=False, marks=at("1"))
    kept = {SYMBOL: Decimal("0.8"), OTHER: Decimal("2.35")}  # 5 left of 100, 2.4 and 2.35 required
    assert account.liquidate(rules, kept) is None
    gone = account.liquidate(rules, {**kept, OTHER: Decimal("2.36")})
    assert gone is not None
    assert [(one.symbol, one.quantity, one.realised) for one in gone.executions] == [
        (SYMBOL, Decimal(-300), Decimal(-60)),
        (OTHER, Decimal(100), Decimal(-36)),
    ]
    assert gone.cleared == -4  # what was left of the wallet
    assert (account.wallet, account.holdings) == (0, {})


def test_what_a_cross_account_lacks_when_it_is_liquidated_is_given() -> None:
    account = ledger("100", 10, margin_mode="cross")
    trade(account, "900", "1")
    gone = liquidated(account, RULES, Decimal("0.8"))
    assert gone is not None
    assert gone.cleared == 80
    assert account.wallet == 0


def test_a_cross_position_takes_the_whole_wallet_when_it_is_liquidated() -> None:
    account = ledger("100", 10, margin_mode="cross")
    trade(account, "900", "1")
    assert not liquidated(account, RULES, Decimal("0.9"))  # 100 - 90 is more than 0.01 of 810
    assert liquidated(account, RULES, Decimal("0.89"))
    assert account.wallet == 0
    assert account.holdings == {}


def test_positive_funding_is_paid_by_longs_and_received_by_shorts() -> None:
    for quantity, received in (("100", "-0.02"), ("-100", "0.02")):
        account = ledger("1000")
        trade(account, quantity, "1")
        assert account.fund(SYMBOL, Decimal("0.0001"), Decimal(2)) == Decimal(received)
        assert account.wallet == 1000 + Decimal(received)
        assert account.funding == Decimal(received)
        assert account.holdings[SYMBOL].margin == 10


def test_funding_of_nothing_held_is_nothing() -> None:
    account = ledger("1000")
    assert account.fund(SYMBOL, Decimal("0.01"), Decimal(1)) == 0
    assert account.wallet == 1000


def test_funding_is_booked_half_to_even() -> None:
    account = ledger("1000")
    trade(account, "1", "1")
    assert account.fund(SYMBOL, Decimal("0.000000025"), Decimal(1)) == Decimal("-0.00000002")


def test_funding_the_wallet_cannot_pay_comes_out_of_the_margin() -> None:
    account = ledger("10", 10)
    trade(account, "100", "1")
    account.fund(SYMBOL, Decimal("0.0001"), Decimal(1))
    assert account.wallet == account.holdings[SYMBOL].margin == Decimal("9.99")
    assert account.available() == 0
    account.fund(SYMBOL, Decimal("-0.0001"), Decimal(1))
    assert account.wallet == 10
    assert account.holdings[SYMBOL].margin == Decimal("9.99")


def test_funding_beyond_the_whole_margin_ends_with_an_empty_wallet_and_no_debt() -> None:
    account = ledger("10", 10)
    trade(account, "100", "1")
    account.fund(SYMBOL, Decimal("0.2"), Decimal(1))
    assert account.available() == 0
    assert liquidated(account, RULES, Decimal(1))
    assert account.wallet == 0


@pytest.mark.parametrize(
    ("quantity", "kept", "taken"), [("1", "100.51", "100.50"), ("-1", "298.50", "298.51")], ids=["long", "short"]
)
def test_an_entry_at_200_with_twice_its_margin_is_liquidated_at_the_printed_prices(
    quantity: str, kept: str, taken: str
) -> None:
    rules = instrument(tick="0.01", brackets=flat_bracket("0.005"))
    account = ledger("1000", 2)
    account.trade(rules, Decimal(quantity), Decimal(200), reduce_only=False)
    assert not liquidated(account, rules, Decimal(kept))
    assert liquidated(account, rules, Decimal(taken))
    assert account.holdings == {}
    assert account.wallet == 900


def test_liquidation_comes_exactly_where_the_margin_meets_its_requirement() -> None:
    rules = instrument(brackets=flat_bracket("0.01"))
    account = ledger("1000", 10)
    account.trade(rules, Decimal(99), Decimal(1), reduce_only=False)  # 99 - 9.9 = 89.1 is 0.99 of 90
    exact = Decimal(90) / 99
    assert not liquidated(account, rules, exact + Decimal("1e-20"))
    assert liquidated(account, rules, exact - Decimal("1e-20"))


def test_a_margin_that_just_meets_its_requirement_is_taken() -> None:
    rules = instrument(brackets=flat_bracket("0.5"))
    account = ledger("1000", 1)
    account.trade(rules, Decimal(100), Decimal(1), reduce_only=False)
    assert not liquidated(
        account, rules, Decimal("0.00000001")
    )  # all of the price is margin: half of it is always there
    account.fund(SYMBOL, Decimal("9.5"), Decimal(1))  # 950 of 1,000 paid: the margin is 50 of 100
    assert account.holdings[SYMBOL].margin == 50
    assert not liquidated(account, rules, Decimal("1.00000001"))
    assert liquidated(account, rules, Decimal(1))


def test_the_brackets_amount_lowers_what_must_be_kept() -> None:
    """100,000 at ten times: the tier asks 0.02 of it less 500; 100,000 - 10,000 - 500 is 0.98 of the price."""
    account = ledger("20000", 10)
    trade(account, "100000", "1")
    edge = Decimal(89_500) / Decimal("0.98") / 100_000
    assert not liquidated(account, RULES, edge + Decimal("1e-9"))
    assert liquidated(account, RULES, edge - Decimal("1e-9"))
    assert account.wallet == 10000


def test_the_tier_is_that_of_the_notional_at_the_price_tested() -> None:
    """A short of 40,000 whose price doubles is in the second tier: 0.02 of 80,000 less 500 is 1,100."""
    account = ledger("50000", 1)
    trade(account, "-40000", "1")
    assert not liquidated(account, RULES, Decimal("1.97"))
    held, edge = 40_000, Decimal(80_500) / Decimal("1.02") / 40_000
    assert held * edge > 50_000
    assert not liquidated(account, RULES, edge - Decimal("1e-9"))
    assert liquidated(account, RULES, edge + Decimal("1e-9"))


def test_a_liquidation_takes_the_isolated_margin_and_nothing_else() -> None:
    account = ledger("1000")
    trade(account, "100", "1")
    account.trade(instrument(OTHER), Decimal(50), Decimal(2), reduce_only=False)
    assert liquidated(account, RULES, Decimal("0.5"))
    assert account.wallet == 990
    assert account.quantity(SYMBOL) == 0
    assert account.quantity(OTHER) == 50


def test_nothing_held_is_never_liquidated() -> None:
    assert not liquidated(ledger("0"), RULES, Decimal("0.0001"))


def test_two_symbols_share_the_wallet_and_keep_their_margins_apart() -> None:
    account = ledger("100", 10)
    trade(account, "600", "1")
    account.trade(instrument(OTHER), Decimal(-200), Decimal(2), reduce_only=False)
    assert account.available() == 0
    assert account.equity({SYMBOL: Decimal("1.1"), OTHER: Decimal("1.5")}) == 100 + 60 + 100
    with pytest.raises(Rejected):
        account.trade(instrument(OTHER), Decimal(-5), Decimal(2), reduce_only=False)


def test_costs_of_zero_leave_the_money_where_it_was() -> None:
    account = ledger("1000", 10, free_of_charge())
    for quantity in ("100", "-30", "-170", "100"):
        trade(account, quantity, "1.2345")
    assert account.holdings == {}
    assert account.wallet == 1000
