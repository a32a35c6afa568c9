from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from math import inf, nan

import pytest

from tests.unit.execution_world import OTHER, SYMBOL, book, instrument, limits, walked
from tests.unit.strategies_at_hand import Follower
from trader.decide import decide
from trader.domain.decision import Book, Decision, Forecast, Leg, Limits, State
from trader.errors import ModelError

CLOSE = datetime(2025, 5, 1, 8, tzinfo=UTC)


def up(value: float = 0.01) -> Mapping[str, Forecast]:
    return {SYMBOL: Forecast(value, 1.0)}


def decided(
    given: Book, value: float = 0.01, under: Limits | None = None, *, exposure: float = 0.5, band: float = 0.0
) -> Decision:
    return decide(Follower((SYMBOL,), exposure=exposure, band=band), CLOSE, up(value), given, under or limits())


def test_a_decision_carries_what_it_was_made_for() -> None:
    decision = decided(book("1000", "2"))
    assert decision.close == CLOSE
    assert decision.forecasts == up()
    assert decision.targets == {SYMBOL: 0.5}
    assert decision.quantities == {SYMBOL: Decimal(250)}
    assert decision.legs == (Leg(SYMBOL, Decimal(250), "o"),)
    assert decision.refusals == ()
    assert decision.state is State.ACTIVE
    assert decision.why == f"open {SYMBOL} +250"


def test_a_flip_is_told_leg_by_leg() -> None:
    decision = decided(book("1000", "2", "173"), -0.01)
    assert decision.why == f"close {SYMBOL} -173; open {SYMBOL} -250"
    assert decision.quantities == {SYMBOL: Decimal(-250)}


def test_a_hold_sends_nothing_and_says_so() -> None:
    decision = decided(book("1000", "2", "245"), band=0.05)
    assert decision.legs == ()
    assert decision.quantities == {SYMBOL: Decimal(245)}
    assert decision.why == f"hold: {SYMBOL} +0.5000"


def test_the_size_follows_marked_equity_and_not_the_balance() -> None:
    fine = instrument(step="0.001", min_quantity="0.001")
    decision = decided(book("115", "115", "1", rules=fine), exposure=1.0)
    assert decision.quantities == {SYMBOL: Decimal(1)}
    assert decision.legs == ()


def anew(given: Book, value: float = 0.01, under: Limits | None = None, capital: str | None = None) -> Decision:
    money = None if capital is None else Decimal(capital)
    follower = Follower((SYMBOL,), capital=money, rebalance="every_close", band=9.0)
    return decide(follower, CLOSE, up(value), given, under or limits())


@pytest.mark.parametrize("held", ["173", "250", "-173"])
def test_at_every_close_what_is_held_is_closed_and_opened_anew_where_the_strategy_says_so(held: str) -> None:
    decision = anew(book("1000", "2", held))
    assert decision.legs == (Leg(SYMBOL, -Decimal(held), "c"), Leg(SYMBOL, Decimal(250), "o"))
    assert decision.quantities == {SYMBOL: Decimal(250)}


def test_what_may_not_be_opened_anew_is_closed() -> None:
    decision = anew(book("1000", "2", "173"), under=limits(max_position="200"))
    assert decision.legs == (Leg(SYMBOL, Decimal(-173), "c"),)
    assert decision.quantities == {SYMBOL: Decimal(0)}
    assert decision.refusals[0].guard == "max_position"


def test_a_drawdown_is_flattened_once_however_the_strategy_rebalances() -> None:
    decision = anew(book("60", "1", "50", peak="100"), under=limits(max_drawdown="0.3"))
    assert decision.legs == (Leg(SYMBOL, Decimal(-50), "c"),)


@pytest.mark.parametrize("equity", ["300", "1000", "5000"])
def test_a_constant_size_is_a_share_of_its_capital_and_not_of_the_equity(equity: str) -> None:
    assert anew(book(equity, "2"), capital="1000").quantities == {SYMBOL: Decimal(250)}
    assert anew(book(equity, "2"), -0.01, capital="1000").targets == {SYMBOL: -0.5}


def test_a_constant_size_meets_the_same_guards() -> None:
    decision = anew(book("100", "2"), under=limits(max_leverage="4"), capital="1000")
    assert decision.legs == ()
    assert [one.guard for one in decision.refusals] == ["max_leverage"]


def test_a_note_on_what_was_too_small_is_part_of_the_reason() -> None:
    decision = decided(book("9", "1"))
    assert decision.legs == ()
    assert "below the minimum notional" in decision.why


@pytest.mark.fault(72)
@pytest.mark.parametrize("value", [nan, inf, -inf])
@pytest.mark.parametrize("state", [State.ACTIVE, State.REDUCING])
def test_a_forecast_that_is_no_number_decides_nothing(value: float, state: State) -> None:
    with pytest.raises(ModelError, match=r"The forecast of ADAUSDT at 2025-05-01T08:00:00\+00:00 is -?(nan|inf)"):
        decided(book("1000", "2", "100", state=state), value)


@pytest.mark.fault(72)
@pytest.mark.parametrize("value", [nan, 0.01])
def test_a_forecast_that_is_no_number_does_not_keep_a_drawdown_from_flattening(value: float) -> None:
    decision = decided(book("60", "1", "50", peak="100"), value, limits(max_drawdown="0.3"))
    assert decision.legs == (Leg(SYMBOL, Decimal(-50), "c"),)
    assert decision.state is State.HALTED


@pytest.mark.parametrize("held", ["50", "-50", "0.25"])
@pytest.mark.parametrize("state", list(State))
def test_a_breached_drawdown_closes_everything_and_halts(held: str, state: State) -> None:
    decision = decided(book("70", "1", held, peak="100", state=state), 0.01, limits(max_drawdown="0.3"))
    assert walked(Decimal(held), decision.legs)[-1] == 0
    assert all(leg.reduce_only for leg in decision.legs)
    assert decision.quantities == {SYMBOL: Decimal(0)}
    assert decision.targets == {SYMBOL: 0.0}
    assert decision.state is State.HALTED
    assert decision.why == "drawdown 0.3000 reached its limit 0.3: flatten and halt"


def test_a_breached_drawdown_closes_symbols_nothing_is_forecast_for() -> None:
    given = Book(
        equity=Decimal(60),
        peak_equity=Decimal(100),
        positions={SYMBOL: Decimal(5), OTHER: Decimal(-7)},
        prices={SYMBOL: Decimal(1), OTHER: Decimal(1)},
        instruments={SYMBOL: instrument(), OTHER: instrument(OTHER)},
        state=State.ACTIVE,
    )
    decision = decided(given, 0.01, limits(max_drawdown="0.3"))
    assert decision.legs == (Leg(SYMBOL, Decimal(-5), "c"), Leg(OTHER, Decimal(7), "c"))
    assert decision.quantities == {SYMBOL: Decimal(0), OTHER: Decimal(0)}


def test_a_drawdown_just_below_its_limit_trades_on() -> None:
    decision = decided(book("70.00000001", "1", "0", peak="100"), 0.01, limits(max_drawdown="0.3"))
    assert decision.state is State.ACTIVE
    assert decision.legs


@pytest.mark.parametrize("value", [0.01, -0.01, 0.0, nan])
def test_a_halted_daemon_sends_nothing_and_keeps_what_it_holds(value: float) -> None:
    decision = decided(book("1000", "2", "173", state=State.HALTED), value)
    assert not decision.legs
    assert not decision.refusals
    assert decision.quantities == {SYMBOL: Decimal(173)}
    assert decision.targets == {SYMBOL: 0.0}
    assert decision.state is State.HALTED
    assert decision.why == "halted: nothing is sent until resumed"


def test_a_reducing_daemon_closes_on_a_flip_and_does_not_open_the_other_side() -> None:
    decision = decided(book("1000", "2", "173", state=State.REDUCING), -0.01)
    assert decision.legs == (Leg(SYMBOL, Decimal(-173), "c"),)
    assert [(one.leg, one.guard) for one in decision.refusals] == [(Leg(SYMBOL, Decimal(-250), "o"), "state")]
    assert decision.quantities == {SYMBOL: Decimal(0)}
    assert decision.state is State.REDUCING


@pytest.mark.parametrize(
    ("held", "sent", "refused"),
    [
        ("0", (), ("o",)),
        ("100", (), ("i",)),
        ("300", ("r",), ()),
        ("-300", ("c",), ("o",)),
        ("250", (), ()),
    ],
)
def test_a_reducing_daemon_only_makes_positions_smaller(
    held: str, sent: tuple[str, ...], refused: tuple[str, ...]
) -> None:
    decision = decided(book("1000", "2", held, state=State.REDUCING))
    assert tuple(leg.kind for leg in decision.legs) == sent
    assert tuple(one.leg.kind for one in decision.refusals) == refused
    assert abs(decision.quantities[SYMBOL]) <= abs(Decimal(held))


def test_a_refused_opening_is_told_and_not_counted() -> None:
    decision = decided(book("1000", "2", "-173"), 0.01, limits(max_position="200"))
    assert decision.legs == (Leg(SYMBOL, Decimal(173), "c"),)
    assert decision.quantities == {SYMBOL: Decimal(0)}
    assert decision.why == (
        f"close {SYMBOL} +173; refused open {SYMBOL} by max_position: a position of 250 passes the limit 200"
    )


def test_a_refused_increase_keeps_what_is_held() -> None:
    decision = decided(book("1000", "2", "173"), 0.01, limits(max_position="200"))
    assert decision.legs == ()
    assert decision.quantities == {SYMBOL: Decimal(173)}


def test_a_position_above_its_limit_is_reduced_towards_the_target() -> None:
    decision = decided(book("1000", "2", "400"), 0.01, limits(max_position="200"))
    assert decision.legs == (Leg(SYMBOL, Decimal(-150), "r"),)


@pytest.mark.parametrize("equity", ["0", "-100"])
@pytest.mark.parametrize("held", ["0", "173", "-173"])
@pytest.mark.parametrize("value", [0.01, -0.01])
def test_without_equity_everything_is_closed_and_nothing_opened(equity: str, held: str, value: float) -> None:
    decision = decided(book(equity, "2", held, peak="100"), value)
    assert all(leg.reduce_only for leg in decision.legs)
    path = walked(Decimal(held), decision.legs)
    assert abs(path[-1]) <= abs(path[0])


def test_the_same_inputs_decide_the_same() -> None:
    given = book("1234.56789012", "0.4567", "-77")
    assert decided(given) == decided(replace(given))


def test_positions_that_are_held_but_not_targeted_are_in_the_decision() -> None:
    prices = {SYMBOL: Decimal(2), OTHER: Decimal(3)}
    given = replace(book("1000", "2"), positions={OTHER: Decimal(9)}, prices=prices)
    assert decided(given).quantities == {SYMBOL: Decimal(250), OTHER: Decimal(9)}
