from datetime import UTC, datetime
from decimal import Decimal

import pytest

from tests.unit.execution_world import OTHER, SYMBOL
from trader.domain.account import Account, Position
from trader.domain.order import Fill
from trader.execution.reconcile import Difference, differences, explained_by

NOW = datetime(2025, 5, 1, tzinfo=UTC)


def account(**quantities: str) -> Account:
    positions = {
        symbol: Position(symbol, Decimal(quantity), Decimal(1), Decimal(0)) for symbol, quantity in quantities.items()
    }
    return Account(NOW, Decimal(100), Decimal(100), Decimal(100), positions)


def believed(**quantities: str) -> dict[str, Decimal]:
    return {symbol: Decimal(quantity) for symbol, quantity in quantities.items()}


def fill(quantity: str, symbol: str = SYMBOL) -> Fill:
    return Fill("1", "2", symbol, Decimal(quantity), Decimal(1), Decimal(0), Decimal(0), NOW)


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        ({}, {}),
        ({SYMBOL: "5"}, {SYMBOL: "5"}),
        ({SYMBOL: "5"}, {SYMBOL: "5.000"}),
        ({SYMBOL: "0"}, {}),
        ({SYMBOL: "-5", OTHER: "1"}, {OTHER: "1", SYMBOL: "-5"}),
    ],
)
def test_the_same_story_has_no_differences(ours: dict[str, str], theirs: dict[str, str]) -> None:
    assert differences(believed(**ours), account(**theirs)) == ()


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        ({SYMBOL: "5"}, {}),
        ({}, {SYMBOL: "5"}),
        ({SYMBOL: "5"}, {SYMBOL: "-5"}),
        ({SYMBOL: "5"}, {SYMBOL: "5.001"}),
    ],
)
def test_every_other_quantity_is_a_difference(ours: dict[str, str], theirs: dict[str, str]) -> None:
    expected = Difference(SYMBOL, Decimal(ours.get(SYMBOL, 0)), Decimal(theirs.get(SYMBOL, 0)))
    assert differences(believed(**ours), account(**theirs)) == (expected,)


def test_differences_of_all_symbols_are_listed_in_their_order() -> None:
    found = differences(believed(**{OTHER: "1"}), account(**{SYMBOL: "2"}))
    assert [one.symbol for one in found] == [SYMBOL, OTHER]


def test_a_difference_says_who_says_what() -> None:
    found = differences(believed(**{SYMBOL: "5"}), account(**{SYMBOL: "-2.5"}))
    assert str(found[0]) == f"{SYMBOL}: the journal says 5, the exchange says -2.5"


def test_trades_that_make_up_the_difference_explain_it() -> None:
    taken = Difference(SYMBOL, Decimal(5), Decimal(0))
    assert explained_by(taken, [fill("-2"), fill("-3")])
    assert explained_by(taken, [fill("-5"), fill("77", OTHER)])


@pytest.mark.parametrize("quantities", [[], ["-4"], ["-6"], ["5"], ["-5", "-5"]])
def test_trades_that_do_not_add_up_explain_nothing(quantities: list[str]) -> None:
    taken = Difference(SYMBOL, Decimal(5), Decimal(0))
    assert not explained_by(taken, [fill(quantity) for quantity in quantities])


def test_trades_of_another_symbol_explain_nothing() -> None:
    assert not explained_by(Difference(SYMBOL, Decimal(5), Decimal(0)), [fill("-5", OTHER)])
