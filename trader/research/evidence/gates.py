"""The conditions under which a model may trade money, and the sentence that says which of them it fails."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from trader.forecast.card import Gate, Verdict

RULES = ("cash", "always_long", "always_short", "no_bias")
LEAST_CLOSES = 250
LEAST_DEFLATED = 0.95
GREATEST_P = 0.05
LEAST_FOLDS = 0.6


@dataclass(frozen=True, slots=True)
class Measured:
    """What the gates read, all of it net of costs; None where it could not be measured.

    `closes` are those after the training; `deflated_sharpe` a probability after `trials` fits; `p_values` by the rule
    the model was tested against; `folds_positive` of `folds`; `net_at_twice_the_cost` a total log return; `causal`
    whether no forecast changed when the future or less of the past was there; `same_candles` whether the candles are
    those of its training, as far as they can be compared.
    """

    closes: int
    trials: int
    deflated_sharpe: float | None
    p_values: Mapping[str, float]
    folds_positive: int
    folds: int
    net_at_twice_the_cost: float | None
    causal: bool
    same_candles: bool


def gates_of(measured: Measured) -> dict[str, Gate]:
    """Hold what was measured against what is needed."""
    deflated, twice = measured.deflated_sharpe, measured.net_at_twice_the_cost
    p_value = max(measured.p_values.values(), default=None)
    share = measured.folds_positive / measured.folds if measured.folds else None
    return {
        "closes": Gate(
            value=float(measured.closes),
            needed=f"at least {LEAST_CLOSES} closes that no fit has seen",
            passed=measured.closes >= LEAST_CLOSES,
        ),
        "deflated_sharpe": Gate(
            value=deflated,
            needed=f"at least {LEAST_DEFLATED}, counting {measured.trials} fits",
            passed=deflated is not None and deflated >= LEAST_DEFLATED,
        ),
        "superiority": Gate(
            value=p_value,
            needed=f"a p-value below {GREATEST_P} against the best of cash, always long, always short and no bias",
            passed=p_value is not None and p_value < GREATEST_P,
        ),
        "walk_forward": Gate(
            value=share,
            needed=f"at least {LEAST_FOLDS} of the folds positive",
            passed=share is not None and measured.folds_positive >= LEAST_FOLDS * measured.folds,
        ),
        "twice_the_cost": Gate(
            value=twice, needed="a positive log return at twice the cost", passed=twice is not None and twice > 0
        ),
        "causality": Gate(
            value=None,
            needed="no forecast changes when the future arrives or the past is cut to the warm-up",
            passed=measured.causal,
        ),
        "same_candles": Gate(
            value=None,
            needed="where the candles reach back to its training, they are those it was fitted to",
            passed=measured.same_candles,
        ),
    }


def verdict_of(gates: Mapping[str, Gate]) -> Verdict:
    """Return GO where every gate is passed, else NO-GO."""
    return "GO" if gates and all(gate.passed for gate in gates.values()) else "NO-GO"


def failures(measured: Measured, gates: Mapping[str, Gate], *, fitted: bool = True) -> list[str]:
    """Say what each failed gate found, as clauses that can follow `because`; of a fit, or of a rule that needs none."""
    known, tried = ("after its training are known", "fits for this symbol") if fitted else ("are known", "settings")
    worst = max(measured.p_values, key=lambda name: measured.p_values[name], default=None)
    deflated, twice = measured.deflated_sharpe, measured.net_at_twice_the_cost
    said = {
        "closes": f"only {measured.closes} closes {known} ({LEAST_CLOSES} needed)",
        "deflated_sharpe": (
            "too few closes tell its Sharpe ratio from luck"
            if deflated is None
            else f"after {measured.trials} {tried} its Sharpe ratio is above zero with a probability of "
            f"{deflated:.2f} only ({LEAST_DEFLATED} needed)"
        ),
        "superiority": (
            "too few closes compare it with simple rules"
            if worst is None
            else f"luck alone would beat {words(worst)} by as much with a probability of "
            f"{measured.p_values[worst]:.2f} (below {GREATEST_P} needed)"
        ),
        "walk_forward": (
            f"its history is too short{', or its fit unknown,' if fitted else ''} to be walked forward"
            if not measured.folds
            else f"only {measured.folds_positive} of {measured.folds} walk-forward folds earned anything "
            f"({LEAST_FOLDS:.0%} needed)"
        ),
        "twice_the_cost": (
            "what it earns at twice the cost is unknown"
            if twice is None
            else f"at twice the cost its log return is {twice:.2f} (more than 0 needed)"
        ),
        "causality": "a forecast changed when the future arrived or the past was cut to the warm-up",
        "same_candles": "the candles of its training differ from those it was fitted to",
    }
    return [said[name] for name, gate in gates.items() if not gate.passed]


def words(rule: str) -> str:
    """Return a rule's name as it is said."""
    return "the model without its bias" if rule == "no_bias" else rule.replace("_", " ")


def joined(clauses: Sequence[str]) -> str:
    """Put clauses together as a sentence does."""
    return clauses[0] if len(clauses) == 1 else f"{', '.join(clauses[:-1])}, and {clauses[-1]}"
