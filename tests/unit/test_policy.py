from decimal import Decimal
from math import inf

import pytest

from trader.domain.decision import Forecast
from trader.portfolio.allocator import ExposureAllocator
from trader.portfolio.policy import ProportionalPolicy, SignPolicy


@pytest.mark.parametrize("held", [-1, 0, 1])
@pytest.mark.parametrize(("value", "direction"), [(0.01, 1), (-0.01, -1), (5e-324, 1), (-5e-324, -1)])
def test_without_a_threshold_the_sign_of_the_forecast_is_followed(value: float, direction: int, held: int) -> None:
    assert SignPolicy().direction(Forecast(value, 0.0), held) == direction


@pytest.mark.parametrize("held", [-1, 0, 1])
@pytest.mark.parametrize("value", [0.0, -0.0])
@pytest.mark.parametrize("threshold", [0.0, 0.01])
def test_a_forecast_of_zero_keeps_the_present_side(value: float, held: int, threshold: float) -> None:
    assert SignPolicy(threshold).direction(Forecast(value, 0.0), held) == held


@pytest.mark.parametrize("held", [-1, 0, 1])
@pytest.mark.parametrize(
    ("value", "follows"), [(0.0099, False), (-0.0099, False), (0.01, True), (-0.01, True), (0.5, True), (-inf, True)]
)
def test_a_threshold_is_the_smallest_forecast_that_is_followed(value: float, follows: bool, held: int) -> None:
    sign = 1 if value > 0 else -1
    assert SignPolicy(0.01).direction(Forecast(value, 0.0), held) == (sign if follows else held)


def test_the_policy_does_not_look_at_the_confidence() -> None:
    assert SignPolicy().direction(Forecast(0.01, 0.0), -1) == SignPolicy().direction(Forecast(0.01, 9.0), -1)


def test_one_symbol_gets_the_whole_exposure_in_its_direction() -> None:
    allocator = ExposureAllocator(0.5)
    assert [allocator.weights({"A": side})["A"] for side in (1, 0, -1)] == [0.5, 0.0, -0.5]


def test_several_symbols_share_the_exposure_evenly_those_without_a_side_too() -> None:
    assert ExposureAllocator(2.0).weights({"A": 1, "B": -1, "C": 0, "D": 1}) == {
        "A": 0.5,
        "B": -0.5,
        "C": 0.0,
        "D": 0.5,
    }


def test_a_cap_bounds_each_share_and_is_not_made_up_for_elsewhere() -> None:
    assert ExposureAllocator(1.0, cap=0.2).weights({"A": 1, "B": -1}) == {"A": 0.2, "B": -0.2}
    assert ExposureAllocator(1.0, cap=0.8).weights({"A": 1, "B": -1}) == {"A": 0.5, "B": -0.5}
    assert ExposureAllocator(1.0, cap=0.0).weights({"A": 1}) == {"A": 0.0}


def test_a_fixed_capital_changes_what_a_share_is_of_and_not_the_share() -> None:
    assert ExposureAllocator(0.5, capital=Decimal(100)).weights({"A": -1}) == {"A": -0.5}


def test_no_directions_are_no_weights() -> None:
    assert ExposureAllocator(1.0).weights({}) == {}


@pytest.mark.parametrize("held", [-1, 0, 1])
@pytest.mark.parametrize(
    ("value", "share"), [(0.3, 0.3), (-0.25, -0.25), (0.0, 0.0), (0.0999, 0.0), (-0.1, -0.1), (1.5, 1.0), (-7.0, -1.0)]
)
def test_a_proportional_policy_holds_what_the_forecast_says_and_no_more_than_all(
    value: float, share: float, held: int
) -> None:
    assert ProportionalPolicy(0.1).direction(Forecast(value, 0.0), held) == share


def test_a_part_of_a_direction_is_a_part_of_the_share() -> None:
    assert ExposureAllocator(2.0, cap=0.5).weights({"A": 0.25, "B": -1.0}) == {"A": 0.125, "B": -0.5}
