from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from tests.unit.execution_world import OTHER, SYMBOL, book, flat_bracket, instrument, ledger, limits, liquidated
from trader.domain.decision import Book, Leg, Limits, Margin, Refusal, State
from trader.execution import guards
from trader.execution.guards import breach, drawdown

MARGIN = Margin(2, isolated=True)


def judge(
    legs: Iterable[Leg], given: Book, under: Limits, margin: Margin = MARGIN
) -> tuple[tuple[Leg, ...], tuple[Refusal, ...]]:
    return guards.judge(legs, given, under, margin)


def leg(quantity: str, kind: str, symbol: str = SYMBOL) -> Leg:
    return Leg(symbol, Decimal(quantity), kind)


def two_symbols(**given: str) -> Book:
    """Both symbols at a price of 1, an equity of 1,000, and positions given by symbol."""
    return Book(
        equity=Decimal(1000),
        peak_equity=Decimal(1000),
        positions={symbol: Decimal(quantity) for symbol, quantity in given.items()},
        prices={SYMBOL: Decimal(1), OTHER: Decimal(1)},
        instruments={SYMBOL: instrument(), OTHER: instrument(OTHER)},
        state=State.ACTIVE,
    )


def test_drawdown_is_the_loss_from_the_peak() -> None:
    assert drawdown(book("70", "1", peak="100")) == Decimal("0.3")
    assert drawdown(book("100", "1", peak="100")) == 0
    assert drawdown(book("-20", "1", peak="100")) == Decimal("1.2")


def test_equity_above_the_peak_is_no_negative_drawdown() -> None:
    assert drawdown(book("120", "1", peak="100")) == 0


@pytest.mark.parametrize("peak", ["0", "-1"])
def test_a_peak_of_nothing_is_a_whole_loss(peak: str) -> None:
    assert drawdown(book("0", "1", peak=peak)) == 1


@pytest.mark.parametrize(
    ("equity", "limit", "breached"),
    [
        ("70.00000001", "0.3", False),
        ("70", "0.3", True),
        ("69.99999999", "0.3", True),
        ("100", "0", True),
        ("0", "1", False),
        ("-50", "1", False),
        ("0", "0.999", True),
    ],
)
def test_the_drawdown_guard_trips_at_its_limit_and_one_turns_it_off(equity: str, limit: str, breached: bool) -> None:
    assert (breach(book(equity, "1", peak="100"), limits(max_drawdown=limit)) is not None) is breached


@pytest.mark.parametrize("state", list(State))
@pytest.mark.parametrize("kind", ["c", "r", "f"])
def test_what_makes_a_position_smaller_is_always_approved(state: State, kind: str) -> None:
    closing = leg("-100", kind)
    stopped = instrument(status="SETTLING")
    given = book("1", "50", "100", rules=stopped, state=state)
    nothing = limits(max_leverage="0", max_notional="0", max_position="0")
    assert judge([closing], given, nothing) == ((closing,), ())


@pytest.mark.parametrize("state", [State.REDUCING, State.HALTED])
@pytest.mark.parametrize("kind", ["o", "i"])
def test_nothing_opens_while_the_state_forbids_it(state: State, kind: str) -> None:
    approved, refused = judge([leg("1", kind)], book("1000", "1", state=state), limits())
    assert approved == ()
    assert [one.guard for one in refused] == ["state"]
    assert refused[0].reason == f"{state} opens nothing"


@pytest.mark.fault(57)
def test_a_symbol_that_is_not_trading_is_not_opened() -> None:
    given = book("1000", "1", rules=instrument(status="SETTLING"))
    approved, refused = judge([leg("10", "o")], given, limits())
    assert (approved, refused[0].guard) == ((), "status")
    assert "SETTLING" in refused[0].reason


@pytest.mark.parametrize(
    ("limit", "guard"),
    [
        ({"max_position": "100"}, "max_position"),
        ({"max_notional": "200"}, "max_notional"),
        ({"max_leverage": "2"}, "max_leverage"),
    ],
)
@pytest.mark.parametrize("side", [1, -1])
def test_a_limit_is_the_largest_position_allowed(limit: dict[str, str], guard: str, side: int) -> None:
    given = book("100", "2")
    allowed, too_much = Leg(SYMBOL, Decimal(100 * side), "o"), Leg(SYMBOL, Decimal(101 * side), "o")
    assert judge([allowed], given, limits(**limit)) == ((allowed,), ())
    approved, refused = judge([too_much], given, limits(**limit))
    assert approved == ()
    assert [one.guard for one in refused] == [guard]


def test_an_increase_is_judged_by_the_position_it_leads_to() -> None:
    given = book("1000", "1", "80")
    assert judge([leg("21", "i")], given, limits(max_position="100"))[0] == ()
    assert judge([leg("20", "i")], given, limits(max_position="100"))[1] == ()


def test_an_opening_after_a_close_is_judged_without_what_was_closed() -> None:
    flip = [leg("80", "c"), leg("100", "o")]
    assert judge(flip, book("1000", "1", "-80"), limits(max_position="100")) == (tuple(flip), ())
    approved, refused = judge([leg("80", "c"), leg("101", "o")], book("1000", "1", "-80"), limits(max_position="100"))
    assert approved == (leg("80", "c"),)
    assert [one.leg for one in refused] == [leg("101", "o")]


def test_once_a_part_of_an_opening_is_refused_what_follows_it_is_refused_too() -> None:
    """A later, smaller part must not slip in where an earlier one was refused."""
    parts = [leg("100", "o"), leg("100", "o"), leg("50", "o")]
    approved, refused = judge(parts, book("1000", "1"), limits(max_position="150"))
    assert approved == (parts[0],)
    assert [one.leg for one in refused] == parts[1:]
    assert {one.guard for one in refused} == {"max_position"}


def test_a_refusal_of_one_symbol_leaves_another_alone() -> None:
    legs = [leg("900", "o"), leg("100", "o", OTHER)]
    approved, refused = judge(legs, two_symbols(), limits(max_position="500"))
    assert approved == (legs[1],)
    assert [one.leg for one in refused] == [legs[0]]


def test_the_position_of_another_symbol_is_not_counted() -> None:
    legs = [leg("400", "o", OTHER)]
    assert judge(legs, two_symbols(**{SYMBOL: "400"}), limits(max_position="500")) == (tuple(legs), ())


@pytest.mark.parametrize("equity", ["0", "-10"])
def test_without_equity_nothing_is_opened(equity: str) -> None:
    approved, refused = judge([leg("1", "o"), leg("-1", "o")], book(equity, "1", peak="100"), limits())
    assert approved == ()
    assert {one.guard for one in refused} == {"max_leverage"}


def test_guards_never_change_a_leg() -> None:
    legs = [leg("-5", "c"), leg("7", "o"), leg("900", "i")]
    approved, refused = judge(legs, book("1000", "1", "5"), limits(max_position="100"))
    assert [*approved, *(one.leg for one in refused)] == legs


def test_an_empty_plan_is_approved_as_it_is() -> None:
    assert judge([], replace(book("1000", "1"), state=State.HALTED), limits()) == ((), ())


@pytest.mark.parametrize(
    ("equity", "day", "limit", "breached"),
    [("95", "100", "0.05", True), ("95.01", "100", "0.05", False), ("1", None, "0.05", False), ("5", "0", "0.9", True)],
)
def test_the_day_s_loss_trips_at_its_limit(equity: str, day: str | None, limit: str, breached: bool) -> None:
    given = replace(book(equity, "1"), day_equity=None if day is None else Decimal(day))
    why = breach(given, limits(max_daily_loss=limit))
    assert (why is not None and "daily loss" in why) is breached
    assert breach(given, limits()) is None


def test_a_day_begins_with_the_last_close_before_midnight_else_with_the_first_known() -> None:
    closes = [datetime(2024, 1, 1, 8, tzinfo=UTC) + n * timedelta(hours=8) for n in range(6)]
    points = [(close, Decimal(n)) for n, close in enumerate(closes)]
    for number, close in enumerate(closes):
        found = guards.day_began(reversed(points[:number]), close)
        before = [point for point in points[:number] if point[0] < guards.midnight(close)]
        assert found == ((before or points[:1])[-1] if number else None)


def test_the_orders_of_a_day_are_bounded_and_reductions_are_not() -> None:
    legs = [leg("-5", "c"), leg("10", "o"), leg("10", "o")]
    given = replace(book("1000", "1", "5"), orders_today=2)
    approved, refused = judge(legs, given, limits(max_orders=4))
    assert approved == tuple(legs[:2])
    assert [one.guard for one in refused] == ["max_orders"]
    assert judge(legs[:1], given, limits(max_orders=1))[1] == ()


@pytest.mark.parametrize(("side", "rate"), [(1, "0.001"), (-1, "-0.001")])
def test_a_position_whose_next_funding_costs_too_much_is_not_opened(side: int, rate: str) -> None:
    given = replace(book("1000", "1"), funding_rates={SYMBOL: Decimal(rate)})
    most = limits(max_funding="0.001")
    assert judge([leg(str(1000 * side), "o")], given, most)[1] == ()
    assert judge([leg(str(1001 * side), "o")], given, most)[1][0].guard == "max_funding"
    # whoever receives it pays nothing
    assert judge([leg(str(-5000 * side), "o")], given, most)[1] == ()
    assert "not known" in judge([leg("10", "o")], book("1000", "1"), most)[1][0].reason


@pytest.mark.parametrize("isolated", [True, False])
@pytest.mark.parametrize("side", [1, -1])
@pytest.mark.parametrize("leverage", [2, 5, 20])
def test_the_distance_to_liquidation_is_where_the_ledger_takes_the_position(
    isolated: bool, side: int, leverage: int
) -> None:
    """Bisect the imagined ledger's own liquidation, and compare."""
    rules, equity, price = instrument(brackets=flat_bracket("0.02", "10")), Decimal(10_000), Decimal(1)
    quantity = Decimal(6000 * side)

    def taken(at: Decimal) -> bool:
        own = ledger("10000", leverage, margin_mode="isolated" if isolated else "cross")
        own.trade(rules, quantity, price, reduce_only=False)
        return liquidated(own, rules, at) is not None

    margin = Margin(leverage, isolated)
    distance = guards.liquidation_distance(rules, quantity, price, equity, margin)
    if distance == 1:
        assert not taken(Decimal("0.0001"))
        return
    safe, gone = price, price - side * 2
    for _ in range(60):
        middle = (safe + gone) / 2
        safe, gone = (safe, middle) if taken(max(middle, Decimal(0))) else (middle, gone)
    assert abs(abs(gone - price) - distance) < Decimal("1e-6")
    least = limits(min_liquidation_distance=str(distance + Decimal("0.001")))
    assert guards.judge([Leg(SYMBOL, quantity, "o")], book("10000", "1", rules=rules), least, margin)[1][0].guard == (
        "liquidation"
    )
    enough = limits(min_liquidation_distance=str(distance - Decimal("0.001")))
    assert guards.judge([Leg(SYMBOL, quantity, "o")], book("10000", "1", rules=rules), enough, margin)[1] == ()


@pytest.mark.parametrize(("leverage", "stop", "opened"), [(2, "0.4", True), (2, "0.5", False), (5, "0.2", False)])
def test_nothing_is_opened_that_would_be_liquidated_before_its_stop(leverage: int, stop: str, opened: bool) -> None:
    margin = Margin(leverage, isolated=True)
    legs, refused = guards.judge([leg("900", "o")], book("1000", "1"), limits(protective_stop=stop), margin)
    assert bool(legs) is opened
    assert [(one.guard, "nearer than the stop" in one.reason) for one in refused] == [("protective_stop", True)] * (
        not opened
    )
    # what only reduces passes, and without brackets nobody knows
    given = book("1000", "1", "900")
    assert guards.judge([leg("-900", "c")], given, limits(protective_stop="0.9"), margin)[1] == ()
    unknown = book("1000", "1", rules=instrument(brackets=()))
    assert guards.judge([leg("900", "o")], unknown, limits(protective_stop="0.9"), margin)[1] == ()


def test_without_brackets_the_distance_to_liquidation_is_not_guessed() -> None:
    given = book("1000", "1", rules=instrument(brackets=()))
    assert "not known" in judge([leg("10", "o")], given, limits(min_liquidation_distance="0.1"))[1][0].reason
