"""The verdict follows from the gates in every combination, and the reason names each that failed."""

from hypothesis import given
from hypothesis import strategies as st

from trader.research.evidence.gates import RULES, Measured, failures, gates_of, verdict_of

UNIT = st.floats(0, 1)
MEASURED = st.builds(
    Measured,
    closes=st.sampled_from([0, 29, 249, 250, 1000]),
    trials=st.integers(1, 1000),
    deflated_sharpe=st.none() | st.sampled_from([0.9499999, 0.95, 1.0]) | UNIT,
    p_values=st.just({}) | st.fixed_dictionaries({rule: st.sampled_from([0.0, 0.0499, 0.05, 1.0]) for rule in RULES}),
    folds_positive=st.integers(0, 20),
    folds=st.sampled_from([0, 20]),
    net_at_twice_the_cost=st.none() | st.sampled_from([-0.1, 0.0, 1e-9, 2.0]),
    causal=st.booleans(),
    same_candles=st.booleans(),
)


def passes(measured: Measured) -> dict[str, bool]:
    """What design asks for, said a second time."""
    return {
        "closes": measured.closes >= 250,
        "deflated_sharpe": (measured.deflated_sharpe or 0) >= 0.95,
        "superiority": bool(measured.p_values) and all(p < 0.05 for p in measured.p_values.values()),
        "walk_forward": measured.folds > 0 and measured.folds_positive / measured.folds >= 0.6,
        "twice_the_cost": (measured.net_at_twice_the_cost or 0) > 0,
        "causality": measured.causal,
        "same_candles": measured.same_candles,
    }


@given(MEASURED)
def test_go_needs_every_gate_and_each_failure_is_said(measured: Measured) -> None:
    gates = gates_of(measured)
    expected = passes(measured)
    assert {name: gate.passed for name, gate in gates.items()} == expected
    assert (verdict_of(gates) == "GO") == all(expected.values())
    assert len(failures(measured, gates)) == list(expected.values()).count(False)


@given(
    st.dictionaries(st.sampled_from(list(passes(Measured(0, 1, None, {}, 0, 0, None, False, False)))), st.booleans())
)
def test_a_verdict_reads_nothing_but_whether_the_gates_are_passed(wanted: dict[str, bool]) -> None:
    gates = gates_of(Measured(0, 1, None, {}, 0, 0, None, False, False))
    chosen = {name: gates[name].model_copy(update={"passed": passed}) for name, passed in wanted.items()}
    assert verdict_of(chosen) == ("GO" if wanted and all(wanted.values()) else "NO-GO")
