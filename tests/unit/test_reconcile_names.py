"""Every difference has a name, an author and a policy."""

from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from itertools import accumulate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trader.domain.account import Income, Position, Setup
from trader.domain.order import Fill, Order, client_id, client_prefix
from trader.execution.reconcile import (
    Author,
    Difference,
    Kind,
    Policies,
    author,
    misconfigured,
    mispriced,
    moved,
    resting,
    taken_by,
    untold,
    wallet_gap,
)

NOW = datetime(2025, 5, 1, tzinfo=UTC)
ADA = "ADAUSDT"
PREFIX = client_prefix("sim/main/mine")
MINE = client_id("sim/main/mine", NOW, ADA, "o", 0)
OLD = client_id("sim/main/mine", NOW, ADA, "c", 7)
OTHER = client_id("sim/main/another", NOW, ADA, "o", 0)


def known(name: str) -> bool:
    return name == MINE


def fill(quantity: int, price: str) -> Fill:
    return Fill("1", "2", ADA, Decimal(quantity), Decimal(price), Decimal(0), Decimal(0), NOW)


@pytest.mark.fault(16, 50, 54, 57)
@pytest.mark.parametrize(
    ("name", "whose"),
    [
        (MINE, Author.OURS),
        (OLD, Author.LOST),
        (OTHER, Author.TWIN),
        ("autoclose-1700000000000", Author.LIQUIDATION),
        ("adl_autoclose", Author.ADL),
        ("settlement_autoclose-1700000000000", Author.SETTLEMENT),
        ("my-autoclose-1", Author.PERSON),
        ("web_abc", Author.PERSON),
        ("", Author.PERSON),
    ],
)
def test_an_order_s_author_is_known_by_its_name(name: str, whose: Author) -> None:
    assert author(name, PREFIX, known) is whose


def test_without_a_prefix_nobody_is_taken_for_this_instance() -> None:
    assert author(OLD, "", known) is Author.TWIN


@pytest.mark.fault(16, 50, 54, 57)
@pytest.mark.parametrize(
    ("authors", "kind", "whose"),
    [
        ([Author.LIQUIDATION], Kind.LIQUIDATION, Author.LIQUIDATION),
        ([Author.ADL, Author.ADL], Kind.ADL, Author.ADL),
        ([Author.SETTLEMENT], Kind.SETTLEMENT, Author.SETTLEMENT),
        ([Author.LIQUIDATION, Author.PERSON], Kind.POSITION, Author.PERSON),
        ([Author.TWIN, Author.PERSON, Author.LOST], Kind.POSITION, Author.TWIN),
        ([Author.LOST, Author.PERSON], Kind.POSITION, Author.LOST),
        ([], Kind.POSITION, Author.PERSON),
    ],
)
def test_a_moved_position_is_named_by_whoever_moved_it(authors: list[Author], kind: Kind, whose: Author) -> None:
    finding = taken_by(Difference(ADA, Decimal(5), Decimal(0)), authors)
    assert (finding.kind, finding.author) == (kind, whose)
    assert all(one in finding.text for one in authors)
    assert authors or "no trade" in finding.text


@pytest.mark.fault(50)
def test_a_booking_that_names_an_unknown_trade_tells_of_it() -> None:
    def booked(kind: str, trade: str, symbol: str = ADA) -> Income:
        return Income("1", kind, symbol, Decimal(1), NOW, trade)

    bookings = [
        booked("COMMISSION", "7"),
        booked("REALIZED_PNL", "8", "BTCUSDT"),
        booked("COMMISSION", "8", "BTCUSDT"),
        booked("COMMISSION", "", "XRPUSDT"),
        booked("FUNDING_FEE", "9", "DOTUSDT"),
    ]
    assert untold(bookings, lambda symbol, trade: trade == "7") == ("BTCUSDT",)
    assert untold(bookings, lambda symbol, trade: True) == ()


@pytest.mark.parametrize(("cost", "differs"), [("6", False), ("6.00001", False), ("6.01", True), (None, False)])
def test_the_average_price_is_compared_where_the_cost_is_known(cost: str | None, differs: bool) -> None:
    position = Position(ADA, Decimal(10), Decimal("0.6"), Decimal(0))
    finding = mispriced(ADA, None if cost is None else Decimal(cost), position)
    assert (finding is not None) is differs
    assert finding is None or finding.kind is Kind.PRICE
    assert mispriced(ADA, Decimal(0), replace(position, quantity=Decimal(0))) is None


@pytest.mark.fault(55)
def test_the_wallet_is_compared_to_the_cent() -> None:
    assert wallet_gap(Decimal("10.004"), Decimal(10)) is None
    gap = wallet_gap(Decimal("10.01"), Decimal(10))
    assert gap is not None
    assert gap.kind is Kind.WALLET


@pytest.mark.fault(51, 52, 53)
def test_every_part_of_the_set_up_is_compared() -> None:
    right = Setup(ADA, 2, "isolated", hedge_mode=False, multi_assets=False, can_trade=True)
    assert misconfigured(right, 2, "isolated") == ()
    wrong = Setup(ADA, 20, "cross", hedge_mode=True, multi_assets=True, can_trade=True)
    assert [finding.kind for finding in misconfigured(wrong, 2, "isolated")] == [
        Kind.POSITION_MODE,
        Kind.ASSETS_MODE,
        Kind.MARGIN_MODE,
        Kind.LEVERAGE,
    ]
    single = replace(wrong, hedge_mode=False, multi_assets=False)
    assert misconfigured(single, 20, "cross") == ()
    assert [one.kind for one in misconfigured(replace(single, multi_assets=True), 20, "cross")] == [Kind.ASSETS_MODE]


@pytest.mark.fault(16, 50)
def test_orders_at_rest_are_named_unless_they_are_ours() -> None:
    def order(name: str) -> Order:
        return Order(name, "1", ADA, Decimal(1), Decimal(0), Decimal(0), "NEW", reduce_only=False, time=NOW)

    found = resting([order(MINE), order("web_1"), order(OTHER)], PREFIX, known)
    assert [(finding.kind, finding.author) for finding in found] == [
        (Kind.ORDER, Author.PERSON),
        (Kind.ORDER, Author.TWIN),
    ]


def test_a_policy_is_for_its_kind_alone_and_some_kinds_have_none() -> None:
    policies = Policies(leverage="adopt")
    assert [kind for kind in Kind if policies.adopts(kind)] == [Kind.LEVERAGE]
    always = {Kind.POSITION_MODE, Kind.ASSETS_MODE, Kind.PRICE, Kind.WALLET}
    everything = Policies(**dict.fromkeys(Policies.__slots__, "adopt"))
    assert {kind for kind in Kind if not everything.adopts(kind)} == always


@given(st.lists(st.tuples(st.integers(-5, 5).filter(bool), st.sampled_from(["1", "1.25", "2", "0.5"])), max_size=12))
def test_quantity_adds_up_and_money_is_neither_made_nor_lost(trades: list[tuple[int, str]]) -> None:
    """Cost plus realised profit is what was paid, whatever the order of trades; flat costs nothing."""
    quantity, cost, realised = Decimal(0), Decimal(0), Decimal(0)
    for size, price in trades:
        trade = fill(size, price)
        after, next_cost = moved(quantity, cost, trade)
        assert next_cost is not None
        realised += next_cost - cost - trade.quantity * trade.price
        same_side = quantity * size >= 0
        assert not same_side or realised == realised.quantize(Decimal("1e-8"))
        quantity, cost = after, next_cost
        assert (quantity == 0) <= (cost == 0)
        assert quantity * cost >= 0
        if quantity:
            assert Decimal("0.5") - Decimal("1e-6") <= cost / quantity <= 2 + Decimal("1e-6")
    assert quantity == sum(size for size, _ in trades)
    paid = sum((size * Decimal(price) for size, price in trades), Decimal(0))
    assert cost == paid + realised


@given(st.lists(st.integers(-3, 3).filter(bool), min_size=1, max_size=10), st.integers(-3, 3).filter(bool))
def test_an_unknown_cost_is_known_again_once_the_position_was_flat_or_turned(sizes: list[int], begun: int) -> None:
    quantity, cost = Decimal(begun), None
    path = list(accumulate(sizes, initial=begun))
    for number, size in enumerate(sizes, 1):
        quantity, cost = moved(quantity, cost, fill(size, "1.5"))
        crossed = any(one * begun <= 0 for one in path[1 : number + 1])
        assert (cost is not None) == crossed
