"""One close decided on any book: nothing opens while something says halt, and the decision says what it leads to."""

from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from tests.properties.test_execution_properties import any_limits, bands, books
from tests.unit.execution_world import walked
from tests.unit.strategies_at_hand import Follower
from trader.decide import decide
from trader.domain.decision import Book, Decision, Forecast, Limits, State
from trader.execution.guards import breach

CLOSE = datetime(2025, 5, 1, 8, tzinfo=UTC)
values = st.floats(-1, 1) | st.sampled_from([0.0, -0.0])


@st.composite
def decisions(draw: st.DrawFn) -> tuple[Book, Limits, Decision]:
    book = draw(books())
    peak = book.peak_equity * Decimal(draw(st.sampled_from(["1", "1", "1.2", "3"])))
    book = replace(book, peak_equity=peak)
    under = replace(
        draw(any_limits()), max_drawdown=draw(st.sampled_from([Decimal(1), Decimal("0.3"), Decimal("0.1")]))
    )
    strategy = Follower(tuple(book.instruments), exposure=draw(st.floats(0, 10)), band=draw(bands))
    forecasts = {symbol: Forecast(draw(values), 0.0) for symbol in book.instruments}
    return book, under, decide(strategy, CLOSE, forecasts, book, under)


@given(decisions())
def test_the_positions_decided_are_those_the_legs_lead_to(drawn: tuple[Book, Limits, Decision]) -> None:
    book, _, decision = drawn
    for symbol in {*decision.quantities, *book.positions}:
        held = book.positions.get(symbol, Decimal(0))
        assert decision.quantities.get(symbol, Decimal(0)) == walked(held, decision.legs, symbol)[-1]


@given(decisions())
def test_only_an_active_daemon_makes_a_position_larger(drawn: tuple[Book, Limits, Decision]) -> None:
    book, _, decision = drawn
    for symbol in book.instruments:
        path = walked(book.positions.get(symbol, Decimal(0)), decision.legs, symbol)
        if book.state is not State.ACTIVE or decision.state is not State.ACTIVE:
            assert all(leg.reduce_only for leg in decision.legs)
            assert abs(path[-1]) <= abs(path[0])
            assert path[-1] * path[0] >= 0


@given(decisions())
def test_a_breached_drawdown_ends_flat_and_halted(drawn: tuple[Book, Limits, Decision]) -> None:
    book, under, decision = drawn
    if breach(book, under):
        assert decision.state is State.HALTED
        assert all(quantity == 0 for quantity in decision.quantities.values())
        assert set(book.positions) <= set(decision.quantities)
        assert not decision.refusals
    else:
        assert decision.state is book.state


@given(decisions())
def test_a_halt_without_a_drawdown_sends_nothing(drawn: tuple[Book, Limits, Decision]) -> None:
    book, under, decision = drawn
    if book.state is State.HALTED and not breach(book, under):
        assert not decision.legs
        assert dict(decision.quantities) == dict(book.positions)


@given(decisions())
def test_a_decision_always_says_why(drawn: tuple[Book, Limits, Decision]) -> None:
    _, _, decision = drawn
    assert decision.why
    assert len([one for one in decision.refusals if one.reason in decision.why]) == len(decision.refusals)
