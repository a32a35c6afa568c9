from decimal import Decimal

import pytest

from tests.unit.execution_world import brackets, instrument


@pytest.mark.parametrize(
    ("quantity", "step", "steps"),
    [
        ("0", "1", 0),
        ("0.9", "1", 0),
        ("-0.9", "1", 0),
        ("1.9", "1", 1),
        ("-1.9", "1", -1),
        ("0.3", "0.1", 3),
        ("0.7", "0.1", 7),
        ("2.9999999999", "0.001", 2999),
        ("100", "0.3", 333),
        ("123456789.123", "0.001", 123456789123),
    ],
)
def test_whole_steps_are_counted_toward_zero(quantity: str, step: str, steps: int) -> None:
    rules = instrument(step=step)
    assert rules.steps(Decimal(quantity)) == steps
    assert abs(rules.quantity(steps)) <= abs(Decimal(quantity))
    assert rules.steps(rules.quantity(steps)) == steps


@pytest.mark.parametrize(
    ("price", "tick", "down", "up"),
    [
        ("1.23456", "0.0001", "1.2345", "1.2346"),
        ("1.2345", "0.0001", "1.2345", "1.2345"),
        ("0.00005", "0.0001", "0", "0.0001"),
        ("101", "5", "100", "105"),
        ("1.00000000000001", "0.1", "1", "1.1"),
    ],
)
def test_a_price_is_rounded_to_the_tick_on_the_side_asked_for(price: str, tick: str, down: str, up: str) -> None:
    rules = instrument(tick=tick)
    assert rules.round_price(Decimal(price), up=False) == Decimal(down)
    assert rules.round_price(Decimal(price), up=True) == Decimal(up)


@pytest.mark.parametrize(
    ("notional", "tier"),
    [("0", 0), ("50000", 0), ("50000.00000001", 1), ("250000", 1), ("999999", 2), ("5000000", 3), ("1000000000", 4)],
)
def test_a_bracket_goes_up_to_its_cap_and_includes_it(notional: str, tier: int) -> None:
    assert instrument().bracket(Decimal(notional)) == brackets()[tier]


def test_the_maintenance_margin_does_not_jump_where_brackets_meet() -> None:
    for lower, upper in zip(brackets(), brackets()[1:], strict=False):
        at_the_edge = [tier.maintenance_rate * lower.cap - tier.maintenance_amount for tier in (lower, upper)]
        assert at_the_edge[0] == at_the_edge[1]


@pytest.mark.parametrize(("status", "trading"), [("TRADING", True), ("SETTLING", False), ("PENDING_TRADING", False)])
def test_only_a_trading_instrument_may_be_opened(status: str, trading: bool) -> None:
    assert instrument(status=status).trading is trading
