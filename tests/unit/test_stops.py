"""Where a stop lies, what touches it, and what an imagined account pays when it does."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.execution_world import SYMBOL, instrument, ledger
from trader.execution import stops
from trader.execution.fills import Costs

FIFTH = Decimal("0.2")
RULES = instrument()
COSTS = Costs(fee=Decimal("0.0005"), slippage=Decimal("0.0001"), spread=Decimal("0.0002"))


@given(
    entry=st.decimals("0.01", "90000", places=4),
    fraction=st.decimals("0.005", "0.99", places=4),
    tick=st.sampled_from(["0.0001", "0.01", "0.5"]),
    side=st.sampled_from([1, -1]),
)
def test_a_level_is_a_tick_that_loses_no_more_than_the_fraction_and_hardly_less(
    entry: Decimal, fraction: Decimal, tick: str, side: int
) -> None:
    rules = instrument(tick=tick)
    level = stops.level(entry, Decimal(side), fraction, rules)
    assert level % rules.tick == 0
    lost = side * (entry - level)
    assert lost <= entry * fraction < lost + rules.tick


@pytest.mark.parametrize(("side", "price", "reached"), [(1, 79, True), (1, 81, False), (-1, 79, False), (-1, 81, True)])
def test_a_long_position_is_stopped_below_and_a_short_one_above(side: int, price: int, reached: bool) -> None:
    assert stops.touched(Decimal(side), Decimal(80), Decimal(price)) is reached
    assert stops.touched(Decimal(side), Decimal(80), Decimal(80))


def test_averages_that_only_adding_up_tells_apart_are_the_same() -> None:
    assert stops.same(Decimal("0.5"), Decimal("0.5000000001"))
    assert not stops.same(Decimal("0.5"), Decimal("0.500001"))


def test_a_stop_closes_everything_at_its_price_moved_against_it() -> None:
    own = ledger("1000", 2, COSTS)
    own.trade(RULES, Decimal(300), Decimal(1), reduce_only=False)
    own.trade(RULES, Decimal(300), Decimal("0.9"), reduce_only=False)
    average = own.holdings[SYMBOL].cost / 600
    level = stops.level_of(own, RULES, FIFTH)
    assert level == stops.level(average, Decimal(600), FIFTH, RULES)
    done = stops.strike(own, RULES, level)
    assert done is not None
    assert (done.symbol, done.quantity) == (SYMBOL, -600)
    assert done.price == RULES.round_price(level * (1 - own.costs.spread / 2 - own.costs.slippage), up=False)
    assert own.holdings == {}
    assert done.fee > 0 > done.realised


def test_a_price_at_which_no_order_may_fill_leaves_the_position() -> None:
    own = ledger("1000", 2, COSTS)
    own.trade(RULES, Decimal(300), Decimal(1), reduce_only=False)
    bounded = instrument(multiplier_down="1", multiplier_up="1.05")
    assert stops.strike(own, bounded, Decimal("0.8")) is None
    assert own.quantity(SYMBOL) == 300
