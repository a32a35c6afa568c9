"""From what a model held on closes that no fit has seen to numbers, gates, a verdict and its reason."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from trader.execution.fills import Costs
from trader.forecast.card import Gate, Verdict
from trader.forecast.features import significant
from trader.research.evidence.bootstrap import block_length, percentile_interval, resampled_means
from trader.research.evidence.causality import Causality
from trader.research.evidence.earnings import Array, Candles, net, per_side, performance, simple_rules
from trader.research.evidence.folds import WalkForward
from trader.research.evidence.gates import Measured, failures, gates_of, joined, verdict_of, words
from trader.research.evidence.sharpe import (
    deflated_sharpe,
    expected_maximum,
    least_track_record,
    probabilistic_sharpe,
)
from trader.research.evidence.superiority import Superiority, superiority

REPLICATIONS = 10_000
SEED = 1

_LEAST = 30  # closes below which nothing is said of luck
_KNOWN = 10  # Sharpe ratios from which their spread can be measured
_LEVEL = 0.95
_STRESS = (1, 2, 3)
_BESIDE = (
    "probabilistic_sharpe",
    "deflated_sharpe",
    "deflation",
    "interval",
    "spa",
    "cost_stress",
    "walk_forward",
    "gates",
    "verdict",
    "reason",
)


@dataclass(frozen=True, slots=True)
class Case:
    """All that a verdict rests on.

    `sides` are the model's on the `unseen` candles, `no_bias` those of the model without its bias, `rivals` (rows,
    rules) those of the other fits it was chosen from, as far as they can be made again. `trials` counts all of these
    fits, `known` are the Sharpe ratios per candle of as many as are known. `walk` is None where nobody can refit it.
    """

    unseen: Candles
    sides: Array
    no_bias: Array
    rivals: Array
    trials: int
    known: Array
    walk: WalkForward | None
    causality: Causality
    costs: Costs
    same_candles: bool = True


@dataclass(frozen=True, slots=True)
class Evidence:
    """What is known of a model's worth: `numbers` as plain JSON, and what follows from them."""

    numbers: Mapping[str, Any]
    trials: int
    gates: Mapping[str, Gate]
    verdict: Verdict
    reason: str

    def document(self) -> dict[str, Any]:
        """Return everything as one JSON document."""
        return {
            "trials": self.trials,
            **self.numbers,
            "gates": {name: gate.model_dump(mode="json") for name, gate in self.gates.items()},
            "verdict": self.verdict,
            "reason": self.reason,
        }

    def beside(self) -> dict[str, Any]:
        """Return what stands beside the evidence of another way to hold the same forecasts: what differs from it."""
        told = self.document()
        return {**self.numbers["performance"], **{name: told[name] for name in _BESIDE}}


@dataclass(frozen=True, slots=True)
class _Luck:
    """What resampling says: intervals of the mean and of the Sharpe ratio, and the tests by rule.

    `unbiased` is the greatest p-value of the model without its bias against cash, always long and always short.
    """

    block: float
    mean: tuple[float, float]
    sharpe: tuple[float, float]
    tests: Mapping[str, Superiority]
    unbiased: float

    @property
    def p_values(self) -> dict[str, float]:
        """What the gate reads: a bias that the edge does not need has nothing to prove (docs/evidence.md)."""
        found = {name: test.p_value for name, test in self.tests.items()}
        return found | {"no_bias": min(found["no_bias"], self.unbiased)}

    @property
    def hardest(self) -> str:
        """The rule that luck alone would most easily have beaten by as much."""
        return max(self.p_values, key=lambda name: self.p_values[name])


def weigh(
    case: Case, *, replications: int = REPLICATIONS, seed: int = SEED, step: Callable[[], object] | None = None
) -> Evidence:
    """Judge a case; the same case gives the same evidence. `step` is called once a resample."""
    cost = per_side(case.costs)
    earned = net(case.sides, case.unseen, cost)
    enough = len(earned) >= _LEAST
    deviation, source = _deviation(case)
    luck = _luck(case, cost, replications, seed, step) if enough else None
    stress = [{"times": times} | _stressed(case, times * cost) for times in _STRESS]
    measured = Measured(
        closes=len(earned),
        trials=case.trials,
        deflated_sharpe=_round(deflated_sharpe(earned, case.trials, deviation)) if enough else None,
        p_values=luck.p_values if luck else {},
        folds_positive=case.walk.positive if case.walk else 0,
        folds=len(case.walk.folds) if case.walk else 0,
        net_at_twice_the_cost=_round(stress[1]["net_log_return"]),
        causal=case.causality.passed,
        same_candles=case.same_candles,
    )
    rules = {**simple_rules(len(earned)), "no_bias": case.no_bias}
    performances = {name: performance(sides, case.unseen, cost) for name, sides in rules.items() if name != "cash"}
    own = performance(case.sides, case.unseen, cost)
    numbers = {
        "probabilistic_sharpe": probabilistic_sharpe(earned) if enough else None,
        "deflated_sharpe": measured.deflated_sharpe,
        "deflation": {
            "expected_maximum_sharpe": expected_maximum(case.trials, deviation),
            "deviation": deviation,
            "deviation_is": source,
        },
        "before_costs": _before_costs(case, deviation) if enough else None,
        "performance": own,
        **performances,
        "interval": _interval(case, luck, replications, seed),
        "spa": _spa(case, luck, replications, seed),
        "cost_stress": stress,
        "costs": _costs(case),
        "walk_forward": _walk(case.walk),
        "causality": _causality(case.causality),
        "horizon": _horizon(case.unseen, earned),
    }
    gates = gates_of(measured)
    said = _said(case, own, performances)
    return Evidence(plain(numbers), case.trials, gates, verdict_of(gates), _reason(said, failures(measured, gates)))


def _deviation(case: Case) -> tuple[float, str]:
    """Return how far the Sharpe ratios of worthless fits spread, and where that is known from."""
    if len(case.known) >= _KNOWN:
        return float(case.known.std(ddof=1)), f"measured over {len(case.known)} fits"
    return (
        1 / math.sqrt(max(len(case.unseen.returns) - 1, 1)),
        f"assumed to be that of luck over as many closes, because {len(case.known)} of {case.trials} fits are known",
    )


def _luck(case: Case, cost: float, replications: int, seed: int, step: Callable[[], object] | None) -> _Luck:
    """Resample the model, its rivals and the simple rules together."""
    sides = np.column_stack([case.sides, case.rivals])
    candidates = np.column_stack([net(column, case.unseen, cost) for column in sides.T])
    # means are compared, and a tenth of the exposure earns a tenth: simple rules hold as much on average
    size = float(np.abs(case.sides).mean())
    simple = {name: size * sides for name, sides in simple_rules(len(case.sides)).items()}
    rules = {**simple, "no_bias": case.no_bias}
    benchmarks = np.column_stack([net(rule, case.unseen, cost) for rule in rules.values()])
    own, mean = candidates[:, 0], float(candidates[:, 0].mean())
    block = max([block_length(own), *(block_length(own - rule) for rule in benchmarks.T)])
    columns = np.column_stack([candidates, benchmarks, (own - mean) ** 2])
    means = resampled_means(columns, block, replications, seed, step)
    count = candidates.shape[1]
    tests, unbiased = {}, []
    last = count + len(rules) - 1
    for number, name in enumerate(rules):
        rule, rule_means = benchmarks[:, [number]], means[:, [count + number]]
        tests[name] = superiority(candidates - rule, means[:, :count] - rule_means, block)
        if name != "no_bias":
            # the same candidates, with the model's bias taken away
            gains = np.column_stack([benchmarks[:, -1], candidates[:, 1:]]) - rule
            gain_means = np.column_stack([means[:, last], means[:, 1:count]]) - rule_means
            unbiased.append(superiority(gains, gain_means, block).p_value)
    rows = len(own)
    # the variance of a resample, from its mean square around the mean of all
    variances = np.maximum(means[:, -1] - (means[:, 0] - mean) ** 2, 0.0) * rows / (rows - 1)
    deviations = np.sqrt(variances)
    ratios = np.divide(means[:, 0], deviations, out=np.zeros(replications), where=deviations > 0)
    return _Luck(
        block, percentile_interval(means[:, 0], _LEVEL), percentile_interval(ratios, _LEVEL), tests, max(unbiased)
    )


def _stressed(case: Case, cost: float) -> dict[str, Any]:
    found = performance(case.sides, case.unseen, cost)
    return {name: found[name] for name in ("net_sharpe", "net_log_return")}


def _before_costs(case: Case, deviation: float) -> dict[str, float | None]:
    gross = case.sides * case.unseen.returns
    return {
        "probabilistic_sharpe": probabilistic_sharpe(gross),
        "deflated_sharpe": deflated_sharpe(gross, case.trials, deviation),
    }


def _interval(case: Case, luck: _Luck | None, replications: int, seed: int) -> dict[str, Any] | None:
    if luck is None:
        return None
    annual = math.sqrt(case.unseen.interval.per_year)
    return {
        "level": _LEVEL,
        "sharpe": [bound * annual for bound in luck.sharpe],
        "mean": list(luck.mean),
        "block_length": luck.block,
        "replications": replications,
        "seed": seed,
    }


def _spa(case: Case, luck: _Luck | None, replications: int, seed: int) -> dict[str, Any] | None:
    if luck is None:
        return None
    tests = {
        name: {"p_value": test.p_value, "lower": test.lower, "upper": test.upper} for name, test in luck.tests.items()
    }
    return {
        "p_value": luck.p_values[luck.hardest],
        "against": luck.hardest,
        **tests,
        "no_bias_against_the_others": luck.unbiased,
        "candidates": 1 + case.rivals.shape[1],
        "block_length": luck.block,
        "replications": replications,
        "seed": seed,
    }


def _costs(case: Case) -> dict[str, Any]:
    return {
        "fee": float(case.costs.fee),
        "slippage": float(case.costs.slippage),
        "spread": float(case.costs.spread),
        "per_side": per_side(case.costs),
        "funding": None if case.unseen.rates is None else float((case.sides * case.unseen.rates).sum()),
    }


def _walk(walk: WalkForward | None) -> dict[str, Any] | None:
    if walk is None:
        return None
    return {
        "scheme": "rolling",
        "train": walk.train,
        "test": walk.test,
        "count": len(walk.folds),
        "positive": walk.positive,
        "positive_before_costs": sum(fold.ev > 0 for fold in walk.folds),
        "folds": [
            {
                "first_close": _time(fold.first_close),
                "last_close": _time(fold.last_close),
                "ev": fold.ev,
                "net_ev": fold.net_ev,
            }
            for fold in walk.folds
        ],
    }


def _causality(found: Causality) -> dict[str, Any]:
    return {
        "closes": found.closes,
        "look_ahead": [_time(close) for close in found.look_ahead],
        "recursive": [_time(close) for close in found.recursive],
        "unready": [_time(close) for close in found.unready],
    }


def _horizon(unseen: Candles, earned: Array) -> dict[str, Any]:
    closes = unseen.close_times
    return {
        "closes": len(closes),
        "first_close": _time(closes[0]),
        "last_close": _time(closes[-1]),
        "days": len(closes) * unseen.interval.minutes / 1440,
        "least_track_record": least_track_record(earned),
    }


def _said(case: Case, own: Mapping[str, Any], rules: Mapping[str, Mapping[str, Any]]) -> str:
    """Say how the model did, beside the better of always long and always short."""
    simple = max(("always_long", "always_short"), key=lambda name: rules[name]["net_sharpe"] or -math.inf)
    funding = "costs (no funding counted)" if case.unseen.rates is None else "costs and funding"
    return (
        f"On the {len(case.sides)} closes after its training its Sharpe was {_short(own['sharpe'])} before costs and "
        f"{_short(own['net_sharpe'])} after {funding}, where {words(simple)} had {_short(rules[simple]['net_sharpe'])}"
    )


def _reason(said: str, failed: list[str]) -> str:
    return f"{said}; it is refused because {joined(failed)}." if failed else f"{said}; every gate is passed."


def _short(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.2f}"


def _time(moment: Any) -> str:
    return f"{moment:%Y-%m-%dT%H:%M:%SZ}"


def _round(value: float | None) -> float | None:
    # ten digits: what follows them depends on the processor that added
    return None if value is None or not math.isfinite(value) else float(significant(np.array([value]), 10)[0])


def plain(value: Any) -> Any:
    """Return plain JSON, with numbers of as many digits as every processor agrees on."""
    if isinstance(value, Mapping):
        return {name: plain(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [plain(one) for one in value]
    return _round(value) if isinstance(value, float) else value
