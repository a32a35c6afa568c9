from decimal import Decimal
from itertools import pairwise
from math import inf

import pytest

from tests.unit.execution_world import OTHER, SYMBOL, book, instrument, walked
from trader.domain.decision import Book, Leg, State
from trader.execution.plan import fitting, plan, wished_quantity


def legs(target: float, given: Book, band: float = 0.0) -> list[tuple[str, str]]:
    """The planned legs as (kind, quantity)."""
    return [(leg.kind, f"{leg.quantity.normalize():f}") for leg in plan({SYMBOL: target}, given, band).legs]


def test_after_a_long_of_one_at_100_the_size_at_115_with_a_balance_of_100_is_one() -> None:
    fine = instrument(step="0.001", min_quantity="0.001")
    assert wished_quantity(1.0, Decimal(115), Decimal(115), fine) == 1
    marked = book("115", "115", "1", rules=fine)
    assert plan({SYMBOL: 1.0}, marked, 0.0).legs == ()
    assert legs(-1.0, marked) == [("c", "-1"), ("o", "-1")]


@pytest.mark.parametrize(
    ("target", "step", "wished"),
    [
        (0.5, "1", "1666"),
        (-0.5, "1", "-1666"),
        (0.5, "0.1", "1666.6"),
        (-0.5, "0.1", "-1666.6"),
        (0.5, "1000", "1000"),
        (-0.5, "10000", "0"),
        (0.0, "1", "0"),
        (-0.0, "1", "0"),
    ],
)
def test_a_wish_is_whole_steps_rounded_toward_zero(target: float, step: str, wished: str) -> None:
    rules = instrument(step=step, min_quantity=step)
    assert wished_quantity(target, Decimal(1000), Decimal("0.3"), rules) == Decimal(wished)


def test_a_wish_loses_no_step_to_binary_fractions() -> None:
    rules = instrument(step="0.1", min_quantity="0.1")
    for tenths in range(1, 1000):
        assert wished_quantity(tenths / 1000, Decimal(100), Decimal(1), rules) == Decimal(tenths) / 10


def test_from_flat_the_position_is_opened_in_one_leg() -> None:
    assert legs(0.5, book("1000", "2")) == [("o", "250")]
    assert legs(-0.5, book("1000", "2")) == [("o", "-250")]


def test_a_flip_closes_exactly_what_is_held_and_then_opens() -> None:
    assert legs(-0.5, book("1000", "2", "173")) == [("c", "-173"), ("o", "-250")]
    assert legs(0.5, book("1000", "2", "-173")) == [("c", "173"), ("o", "250")]


@pytest.mark.parametrize("target", [0.0, -0.0])
def test_a_target_of_zero_closes_what_is_held_and_opens_nothing(target: float) -> None:
    assert legs(target, book("1000", "2", "173")) == [("c", "-173")]
    assert legs(target, book("1000", "2", "-173")) == [("c", "173")]
    assert legs(target, book("1000", "2")) == []


def test_a_symbol_that_is_held_but_not_targeted_is_left_alone() -> None:
    planned = plan({}, book("1000", "2", "173"), 0.0)
    assert (planned.legs, dict(planned.quantities)) == ((), {})


@pytest.mark.parametrize(
    ("held", "expected"),
    [
        ("250", []),
        ("238", []),  # 12 of 250 wished: below the band of 5 %
        ("237.5", []),  # exactly the band
        ("237", [("i", "13")]),
        ("262", []),
        ("262.5", []),
        ("263", [("r", "-13")]),
        ("-250", [("c", "250"), ("o", "250")]),
    ],
)
def test_an_unchanged_side_is_held_unless_it_drifts_beyond_the_band(held: str, expected: list[tuple[str, str]]) -> None:
    assert legs(0.5, book("1000", "2", held), band=0.05) == expected


def test_a_short_is_held_within_the_same_band_as_a_long() -> None:
    assert legs(-0.5, book("1000", "2", "-238"), band=0.05) == []
    assert legs(-0.5, book("1000", "2", "-237"), band=0.05) == [("i", "-13")]
    assert legs(-0.5, book("1000", "2", "-263"), band=0.05) == [("r", "13")]


def test_an_endless_band_holds_every_unchanged_side_and_still_flips() -> None:
    assert legs(0.5, book("1000", "2", "1"), band=inf) == []
    assert legs(0.5, book("1000", "2", "99999"), band=inf) == []
    assert legs(-0.5, book("1000", "2", "1"), band=inf) == [("c", "-1"), ("o", "-250")]


def test_without_a_band_one_step_of_drift_is_followed() -> None:
    assert legs(0.5, book("1000", "2", "251")) == [("r", "-1")]
    assert legs(0.5, book("1000", "2", "250")) == []


@pytest.mark.fault(48)
def test_what_is_held_beyond_whole_steps_is_closed_by_one_more_step_and_otherwise_kept() -> None:
    """A reduce-only order is cut to what is held; a quantity that is no whole number of steps is refused with -1111."""
    assert legs(-0.5, book("1000", "2", "173.25")) == [("c", "-173"), ("c", "-1"), ("o", "-250")]
    assert legs(0.5, book("1000", "2", "-173.25")) == [("c", "173"), ("c", "1"), ("o", "250")]
    assert legs(0.0, book("1000", "2", "0.25")) == [("c", "-1")]
    assert legs(0.5, book("1000", "2", "200.25")) == [("i", "49")]
    assert legs(0.5, book("1000", "2", "300.25")) == [("r", "-50")]
    assert legs(0.5, book("1000", "2", "250.25")) == []
    assert legs(0.5, book("1000", "2", "249.25")) == []


def test_what_is_planned_is_what_is_held_and_the_legs_together() -> None:
    for held in ("0", "0.25", "173.25", "-173.25", "249", "260", "-1"):
        for target in (0.5, -0.5, 0.0, 0.001):
            given = book("1000", "2", held)
            planned = plan({SYMBOL: target}, given, 0.05)
            assert planned.quantities[SYMBOL] == walked(Decimal(held), planned.legs)[-1]


@pytest.mark.fault(48)
def test_an_opening_below_the_minimum_notional_is_dropped_with_a_note() -> None:
    planned = plan({SYMBOL: 0.5}, book("9", "1"), 0.0)
    assert planned.legs == ()
    assert planned.quantities[SYMBOL] == 0
    assert planned.notes == (f"{SYMBOL}: 4.00 USDT is below the minimum notional 5",)
    assert legs(0.5, book("10", "1")) == [("o", "5")]


def test_an_opening_below_the_minimum_quantity_is_dropped_with_a_note() -> None:
    rules = instrument(min_quantity="10")
    planned = plan({SYMBOL: 0.5}, book("18", "1", rules=rules), 0.0)
    assert planned.legs == ()
    assert planned.notes == (f"{SYMBOL}: 9 is below the minimum quantity 10",)
    assert legs(0.5, book("20", "1", rules=rules)) == [("o", "10")]


def test_a_target_of_less_than_one_step_is_noted_too() -> None:
    coarse = instrument(step="0.001", min_quantity="0.001")
    planned = plan({SYMBOL: 0.5}, book("100", "90000", rules=coarse), 0.0)
    assert planned.legs == ()
    assert planned.notes == (f"{SYMBOL}: 50.00 USDT buys less than one step of 0.001",)
    assert plan({SYMBOL: 0.0}, book("100", "90000", rules=coarse), 0.0).notes == ()


def test_a_flip_into_too_small_a_position_still_closes() -> None:
    planned = plan({SYMBOL: -0.5}, book("9", "1", "30"), 0.0)
    assert planned.legs == (Leg(SYMBOL, Decimal(-30), "c"),)
    assert planned.quantities[SYMBOL] == 0
    assert len(planned.notes) == 1


def test_an_increase_below_the_minimum_is_dropped_and_a_reduction_is_not() -> None:
    planned = plan({SYMBOL: 0.5}, book("1000", "1", "497"), 0.0)
    assert planned.legs == ()
    assert planned.quantities[SYMBOL] == 497
    assert planned.notes
    assert legs(0.5, book("1000", "1", "503")) == [("r", "-3")]


def test_a_reduction_below_the_minimum_quantity_waits_for_a_larger_one() -> None:
    rules = instrument(min_quantity="10")
    assert legs(0.5, book("1000", "1", "509", rules=rules)) == []
    assert legs(0.5, book("1000", "1", "510", rules=rules)) == [("r", "-10")]


def test_no_leg_is_larger_than_one_order_may_be() -> None:
    rules = instrument(max_quantity="100")
    assert legs(0.5, book("500", "1", rules=rules)) == [("o", "84"), ("o", "83"), ("o", "83")]
    flip = [("c", "-75"), ("c", "-75"), ("o", "-100"), ("o", "-100")]
    assert legs(-0.5, book("400", "1", "150", rules=rules)) == flip


def test_no_part_of_a_large_order_falls_below_the_minimum() -> None:
    """A part of one coin for one USDT would be refused by the exchange and the position end up smaller than planned."""
    rules = instrument(max_quantity="1000", min_quantity="2")
    assert legs(1.0, book("1001", "1", rules=rules)) == [("o", "501"), ("o", "500")]
    assert legs(0.0, book("1001", "1", "1001", rules=rules)) == [("c", "-501"), ("c", "-500")]


def test_a_largest_order_that_is_no_whole_number_of_steps_still_gives_whole_steps() -> None:
    rules = instrument(step="3", min_quantity="3", max_quantity="100")
    assert legs(1.0, book("210", "1", rules=rules)) == [("o", "72"), ("o", "69"), ("o", "69")]


def test_the_residue_of_a_large_close_is_a_part_of_its_own() -> None:
    rules = instrument(max_quantity="100")
    assert legs(0.0, book("1", "1", "200.5", rules=rules)) == [("c", "-100"), ("c", "-100"), ("c", "-1")]
    assert legs(0.0, book("1", "1", "199.5", rules=rules)) == [("c", "-100"), ("c", "-99"), ("c", "-1")]


@pytest.mark.fault(48)
def test_what_is_less_than_an_order_may_have_is_closed_by_the_least_order_and_named() -> None:
    rules = instrument(step="0.1", min_quantity="5")
    planned = plan({SYMBOL: 0.0}, book("1000", "1", "-3.25", rules=rules), 0.0)
    assert planned.legs == (Leg(SYMBOL, Decimal(5), "c"),)
    assert planned.quantities[SYMBOL] == 0
    assert planned.notes[0].startswith(f"{SYMBOL}: 3.25 of what is held is less than an order may have")
    assert "closed by hand" in planned.notes[0]


def test_more_than_all_orders_together_can_close_or_open_follows_at_the_next_close() -> None:
    rules = instrument(max_quantity="100", max_orders=3)
    planned = plan({SYMBOL: -0.5}, book("1000", "1", "450.5", rules=rules), 0.0)
    assert [leg.quantity for leg in planned.legs] == [-100, -100, -100]
    assert planned.quantities[SYMBOL] == Decimal("150.5")
    assert "the rest follows at the next close" in planned.notes[0]
    exactly = plan({SYMBOL: 0.0}, book("1000", "1", "300.5", rules=rules), 0.0)
    assert exactly.quantities[SYMBOL] == Decimal("0.5")
    opened = plan({SYMBOL: -0.5}, book("1000", "1", rules=rules), 0.0)
    assert opened.quantities[SYMBOL] == -300
    assert "can open" in opened.notes[0]


@pytest.mark.fault(47)
def test_no_position_is_opened_beyond_what_any_leverage_allows() -> None:
    planned = plan({SYMBOL: 0.5}, book("3000000000", "1", rules=instrument(max_quantity="1e9")), 0.0)
    assert planned.legs == ()
    assert "that any leverage allows" in planned.notes[0]
    grown = plan({SYMBOL: 0.5}, book("3000000000", "1", "900000000", rules=instrument(max_quantity="1e9")), 0.0)
    assert grown.legs == ()
    assert grown.quantities[SYMBOL] == 900_000_000


def test_a_bounded_slippage_gives_every_leg_the_last_tick_inside_the_bound() -> None:
    planned = plan({SYMBOL: -0.5}, book("1000", "2.00015", "173"), 0.0, Decimal("0.001"))
    assert [(leg.kind, leg.limit) for leg in planned.legs] == [("c", Decimal("1.9982")), ("o", Decimal("1.9982"))]
    planned = plan({SYMBOL: 0.5}, book("1000", "2.00015"), 0.0, Decimal("0.001"))
    assert [leg.limit for leg in planned.legs] == [Decimal("2.0021")]


def test_percent_price_bounds_a_limit_that_the_slippage_would_let_pass() -> None:
    rules = instrument(multiplier_up="1.01", multiplier_down="0.99")
    for target, limit in ((0.5, "2.0200"), (-0.5, "1.9800")):
        planned = plan({SYMBOL: target}, book("1000", "2", rules=rules), 0.0, Decimal("0.5"))
        assert [leg.limit for leg in planned.legs] == [Decimal(limit)]


def test_where_no_tick_lies_within_the_bounds_nothing_is_planned_and_it_says_so() -> None:
    rules = instrument(tick="0.5", multiplier_up="1.01", multiplier_down="0.99")
    planned = plan({SYMBOL: 0.5}, book("1000", "2.2", rules=rules), 0.0, Decimal("0.001"))
    assert planned.legs == ()
    assert planned.quantities[SYMBOL] == 0
    assert planned.notes == (f"{SYMBOL}: no tick of 0.5 lies within 0.001 of 2.2",)


def test_everything_that_frees_money_comes_before_everything_that_needs_it() -> None:
    rules = {SYMBOL: instrument(), OTHER: instrument(OTHER)}
    given = Book(
        equity=Decimal(1000),
        peak_equity=Decimal(1000),
        positions={SYMBOL: Decimal(-100), OTHER: Decimal(900)},
        prices={SYMBOL: Decimal(1), OTHER: Decimal(1)},
        instruments=rules,
        state=State.ACTIVE,
    )
    planned = plan({OTHER: 0.5, SYMBOL: 0.5}, given, 0.0)
    assert [(leg.symbol, leg.kind) for leg in planned.legs] == [(SYMBOL, "c"), (OTHER, "r"), (SYMBOL, "o")]
    assert walked(Decimal(-100), planned.legs) == [-100, 0, 500]
    assert walked(Decimal(900), planned.legs, OTHER) == [900, 500]


@pytest.mark.parametrize("equity", ["0", "-50"])
@pytest.mark.parametrize("held", ["0", "173", "-173"])
def test_without_equity_the_first_leg_never_enlarges_a_position(equity: str, held: str) -> None:
    planned = plan({SYMBOL: 0.5}, book(equity, "2", held), 0.0)
    path = walked(Decimal(held), tuple(leg for leg in planned.legs if leg.reduce_only))
    assert all(abs(later) <= abs(earlier) for earlier, later in pairwise(path))


@pytest.mark.parametrize(("kind", "reduces"), [("c", True), ("r", True), ("f", True), ("o", False), ("i", False)])
def test_closing_reducing_and_flattening_legs_are_reduce_only(kind: str, reduces: bool) -> None:
    assert Leg(SYMBOL, Decimal(1), kind).reduce_only is reduces


@pytest.mark.parametrize(
    ("wished", "sent"), [("-40", "-40"), ("-7.5", "-7"), ("-4", "0"), ("-0.5", "0"), ("-200", "-100")]
)
def test_what_follows_a_reduction_is_whole_steps_of_what_is_held(wished: str, sent: str) -> None:
    rules = instrument(min_quantity="5")
    assert fitting(Decimal(wished), Decimal(100), rules, Decimal(1), reduce_only=True) == Decimal(sent)


def test_a_bounded_sale_is_worth_its_own_price_and_not_the_mark() -> None:
    rules = instrument(min_notional="100")
    given = book("100", "1", rules=rules)
    assert plan({SYMBOL: -1.0}, given, 0.0).legs
    planned = plan({SYMBOL: -1.0}, given, 0.0, Decimal("0.01"))
    assert planned.legs == ()
    assert "below the minimum notional 100" in planned.notes[0]
