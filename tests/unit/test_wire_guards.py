"""What is judged immediately before a post, and that nobody else can approve an order."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trader.domain.decision import State
from trader.domain.order import OrderRequest
from trader.execution.guards import Approved, Moment, WireLimits, Withheld, admit

NOW = datetime(2024, 1, 2, tzinfo=UTC)
SECOND = timedelta(seconds=1)
QUIET = Moment(NOW, State.ACTIVE)
LIMITS = WireLimits(Decimal("0.05"), SECOND)


def ask(moment: Moment = QUIET, limits: WireLimits = LIMITS, kind: str = "o", **given: Any) -> Approved | Withheld:
    words = {"client_id": "t", "symbol": "ADAUSDT", "quantity": Decimal(5), "reduce_only": kind in "crf"} | given
    return admit(OrderRequest(**words), kind=kind, not_after=NOW + SECOND, moment=moment, limits=limits)


def guard(verdict: Approved | Withheld) -> str:
    return verdict.guard if isinstance(verdict, Withheld) else "approved"


def test_an_order_nothing_speaks_against_is_approved_as_it_is() -> None:
    verdict = ask()
    assert isinstance(verdict, Approved)
    assert verdict.order == OrderRequest("t", "ADAUSDT", Decimal(5), reduce_only=False)


def test_only_a_guard_approves_an_order() -> None:
    with pytest.raises(TypeError, match="only a guard"):
        Approved(OrderRequest("t", "ADAUSDT", Decimal(5), reduce_only=False), seal=object())


@pytest.mark.fault(81)
@pytest.mark.parametrize("state", [State.REDUCING, State.HALTED])
def test_nothing_opens_unless_the_state_is_active_and_reducing_is_always_allowed(state: State) -> None:
    moment = replace(QUIET, state=state)
    assert [guard(ask(moment, kind=kind)) for kind in "oicrf"] == ["state"] * 2 + ["approved"] * 3


@pytest.mark.parametrize("kind", list("oicrf"))
def test_a_decision_too_old_sends_nothing(kind: str) -> None:
    assert guard(ask(replace(QUIET, at=NOW + SECOND), kind=kind)) == "approved"
    late = ask(replace(QUIET, at=NOW + SECOND + timedelta(milliseconds=1)), kind=kind)
    assert isinstance(late, Withheld)
    assert late.late


def test_nothing_is_opened_on_top_of_what_it_was_not_decided_on() -> None:
    for left in (Decimal(-1), Decimal(3)):
        verdicts = [guard(ask(replace(QUIET, left=left), kind=kind)) for kind in "oicr"]
        assert verdicts == ["closing", "moved", "approved", "approved"]


@pytest.mark.fault(17)
@pytest.mark.parametrize(("seconds", "verdict"), [(0, "approved"), (1, "approved"), (-1.001, "clock"), (3600, "clock")])
def test_a_clock_far_from_the_exchange_s_opens_nothing(seconds: float, verdict: str) -> None:
    moment = replace(QUIET, clock_offset=timedelta(seconds=seconds))
    assert guard(ask(moment)) == verdict
    assert guard(ask(moment, kind="c")) == "approved"
    assert guard(ask(moment, WireLimits())) == "approved"


@pytest.mark.fault(44)
@pytest.mark.parametrize(
    ("mark", "verdict"), [("1.05", "approved"), ("0.95", "approved"), ("1.0501", "deviation"), ("0.9", "deviation")]
)
def test_a_mark_far_from_the_decision_s_price_opens_nothing(mark: str, verdict: str) -> None:
    moment = replace(QUIET, mark=Decimal(mark), decided_price=Decimal(1))
    assert guard(ask(moment)) == verdict
    assert guard(ask(moment, kind="r")) == "approved"
    assert guard(ask(moment, WireLimits())) == "approved"
    assert guard(ask(replace(moment, decided_price=None))) == "approved"


@given(
    st.sampled_from(list(State)),
    st.sampled_from("oicrf"),
    st.integers(-9, 9),
    st.floats(0.5, 1.5),
    st.integers(-3, 3),
    st.integers(-2, 2),
)
def test_an_approved_opening_breaks_no_rule_and_a_reduction_is_withheld_for_age_alone(
    state: State, kind: str, left: int, mark: float, offset: int, age: int
) -> None:
    moment = Moment(
        at=NOW + age * SECOND,
        state=state,
        left=Decimal(left),
        decided_price=Decimal(1),
        mark=Decimal(repr(mark)),
        clock_offset=offset * SECOND,
    )
    verdict = guard(ask(moment, kind=kind))
    young = moment.at <= NOW + SECOND
    if kind in "crf":
        assert verdict == ("approved" if young else "age")
    elif verdict == "approved":
        assert state is State.ACTIVE
        assert young
        assert abs(offset) <= 1
        assert abs(Decimal(repr(mark)) - 1) <= Decimal("0.05")
        assert kind == "i" or left == 0


@given(cap=st.decimals("1", "1000", places=2), over=st.decimals("0.90", "1.10", places=2))
def test_a_canary_opens_nothing_beyond_its_cap_but_for_the_room_its_price_may_move(cap: Decimal, over: Decimal) -> None:
    limits, moment = replace(LIMITS, canary_notional=cap), replace(QUIET, gross=cap * over)
    beyond = over > Decimal("1.05")
    assert guard(ask(moment, limits)) == ("canary_notional" if beyond else "approved")
    assert guard(ask(moment, limits, kind="r")) == guard(ask(moment, LIMITS)) == "approved"
    exact = replace(limits, max_deviation=None)
    assert guard(ask(moment, exact)) == ("canary_notional" if over > 1 else "approved")
    assert guard(ask(replace(moment, gross=None), limits)) == "approved"
