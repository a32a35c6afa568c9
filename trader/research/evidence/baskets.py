"""Judge a portfolio that no fit was made for: what its rule earned, beside rules that know nothing of carry."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

import numpy as np
import polars as pl

from trader.errors import DataError
from trader.execution.fills import Costs
from trader.market.panel import Array, Mask, Panel, closes_of, panel_of
from trader.research.basket import Basket, carry_basket, walk
from trader.research.evidence.bootstrap import block_length, percentile_interval, resampled_means
from trader.research.evidence.causality import Causality
from trader.research.evidence.earnings import per_side
from trader.research.evidence.gates import Measured, failures, gates_of, joined, verdict_of, words
from trader.research.evidence.sharpe import (
    deflated_sharpe,
    expected_maximum,
    least_track_record,
    probabilistic_sharpe,
    sharpe,
)
from trader.research.evidence.superiority import superiority
from trader.research.evidence.weigh import REPLICATIONS, SEED, Evidence, plain
from trader.strategies.carry import CarryStrategy

CLOSES_ASKED = 12
STEPS = REPLICATIONS + CLOSES_ASKED
RULES = ("always_long", "always_short")
_LEAST = 30
_LEVEL = 0.95
_SPREAD = 10  # settings from which the spread of their Sharpe ratios can be measured
_STRESS = (1, 2, 3)


@dataclass(frozen=True, slots=True)
class _Judged:
    """One rule's path: log returns a candle after costs and before them, and how much it traded."""

    net: Array
    gross: Array
    traded: float
    funding: float

    @classmethod
    def of(cls, basket: Basket, first: int) -> "_Judged":
        rows = slice(first, len(basket.traded) - 1)
        before = np.log1p(np.maximum(basket.prices[rows] + basket.funding[rows], -1 + 1e-12))
        net = np.log1p(np.maximum(basket.earned[rows], -1 + 1e-12))
        return cls(net, before, float(basket.traded[rows].sum()), float(basket.funding[rows].sum()))

    def numbers(self, year: float) -> dict[str, Any]:
        ratios = {name: sharpe(values) for name, values in (("sharpe", self.gross), ("net_sharpe", self.net))}
        return {
            **{name: None if ratio is None else ratio * math.sqrt(year) for name, ratio in ratios.items()},
            "total_log_return": float(self.gross.sum()),
            "net_log_return": float(self.net.sum()),
            "traded": self.traded,
            "changes_of_side": None,
            "funding": self.funding,
        }


def judge_basket(
    strategy: CarryStrategy,
    candles: pl.DataFrame,
    costs: Costs,
    *,
    known: Sequence[float] = (),
    trials: int = 1,
    since: datetime | None = None,
    step: Callable[[], object] | None = None,
) -> Evidence:
    """Weigh a portfolio's rule over every close it can decide.

    Nothing was fitted, so that every close counts as unseen; what was tried before on such a market counts as one.

    Args:
        strategy: forecaster, policy and allocator as the daemon has them.
        candles: a candle frame of many symbols in the strategy's interval, with `funding_rate`.
        costs: what trading costs.
        known: Sharpe ratios per candle of the other settings that were tried.
        trials: settings tried, this one included.
        since: closes before it are not judged.
        step: called `STEPS` times at most.
    """
    panel = panel_of(candles, strategy.interval)
    cost = per_side(costs)
    baskets = {times: _walked(strategy, panel, times * cost) for times in _STRESS}
    members = strategy.forecaster.section(panel).members
    first = _first(panel, members, since)
    own = _Judged.of(baskets[1], first)
    rules = {name: _Judged.of(_one_sided(strategy, panel, cost, name), first) for name in RULES}
    year, enough = strategy.interval.per_year, len(own.net) >= _LEAST
    deviation = float(np.std(known, ddof=1)) if len(known) >= _SPREAD else 1 / math.sqrt(max(len(own.net) - 1, 1))
    luck = _luck(own, rules, step) if enough else None
    folds = _folds(own, closes_of(panel)[first:], round(year) // 4)
    stress = [
        {"times": times} | _some(_Judged.of(basket, first).numbers(year), "net_sharpe", "net_log_return")
        for times, basket in baskets.items()
    ]
    causality = _causal(strategy, candles, closes_of(panel)[first:], step)
    measured = Measured(
        closes=len(own.net),
        trials=trials,
        deflated_sharpe=deflated_sharpe(own.net, trials, deviation) if enough else None,
        p_values=luck["p_values"] if luck else {},
        folds_positive=sum(fold["net_ev"] > 0 for fold in folds),
        folds=len(folds),
        net_at_twice_the_cost=stress[1]["net_log_return"],
        causal=causality.passed,
        same_candles=True,
    )
    numbers = _numbers(strategy, costs, own, rules, measured, (deviation, len(known))) | {
        "interval": _interval(luck, year),
        "spa": _spa(luck),
        "cost_stress": stress,
        "walk_forward": _walk(folds, round(year) // 4),
        "causality": _told(causality),
        "horizon": _horizon(own, closes_of(panel)[first:], strategy),
    }
    return _said(numbers, own, rules, measured, year)


def _first(panel: Panel, members: Mask, since: datetime | None) -> int:
    """Return the first close that can be decided and is to be judged.

    Raises:
        DataError: fewer than two closes are left.
    """
    early = [since is not None and close < since for close in closes_of(panel)]
    ready = np.flatnonzero(members.any(axis=1) & ~np.array(early))
    if len(ready) == 0 or ready[0] >= len(members) - 1:
        raise DataError("The candles hold no close that can be decided and judged; give a longer history.")
    return int(ready[0])


def _said(
    numbers: Mapping[str, Any], own: _Judged, rules: Mapping[str, _Judged], measured: Measured, year: float
) -> Evidence:
    gates = gates_of(measured)
    return Evidence(plain(numbers), measured.trials, gates, verdict_of(gates), _reason(own, rules, measured, year))


def _numbers(
    strategy: CarryStrategy,
    costs: Costs,
    own: _Judged,
    rules: Mapping[str, _Judged],
    measured: Measured,
    spread: tuple[float, int],
) -> dict[str, Any]:
    """Say what was earned and how sure it is; `spread` is how far Sharpe ratios spread, and over how many settings."""
    year, (deviation, known) = strategy.interval.per_year, spread
    return {
        "probabilistic_sharpe": probabilistic_sharpe(own.net) if measured.deflated_sharpe is not None else None,
        "deflated_sharpe": measured.deflated_sharpe,
        "deflation": {
            "expected_maximum_sharpe": expected_maximum(measured.trials, deviation),
            "deviation": deviation,
            "deviation_is": f"measured over {known} settings" if known >= _SPREAD else "assumed to be that of luck",
        },
        "performance": own.numbers(year),
        **{name: rule.numbers(year) for name, rule in rules.items()},
        "no_bias": None,
        "costs": {
            "fee": float(costs.fee),
            "slippage": float(costs.slippage),
            "spread": float(costs.spread),
            "per_side": per_side(costs),
            "funding": -own.funding,
        },
    }


def _walked(strategy: CarryStrategy, panel: Panel, cost: float) -> Basket:
    return carry_basket(panel, strategy.forecaster, strategy.policy, strategy.allocator, cost)


def _one_sided(strategy: CarryStrategy, panel: Panel, cost: float, rule: str) -> Basket:
    """Hold the same universe on one side, by the same limits but for the net one."""
    section = strategy.forecaster.section(panel)
    allocator = replace(strategy.allocator, net=None)
    volatility = np.where(section.members, section.volatility, 1.0)
    side = np.full(volatility.shape, 1.0 if rule == "always_long" else -1.0)
    wished = allocator.wished(side, volatility, section.members)
    buffer = allocator.buffer(volatility, np.where(section.members, section.spread, 0.0))
    return walk(panel, section.members, wished, buffer, allocator, cost)


def _luck(own: _Judged, rules: Mapping[str, _Judged], step: Callable[[], object] | None) -> dict[str, Any]:
    """Resample the rule and the simple ones together."""
    benchmarks = {"cash": np.zeros(len(own.net)), **{name: rule.net for name, rule in rules.items()}}
    block = max([block_length(own.net), *(block_length(own.net - one) for one in benchmarks.values())])
    mean = float(own.net.mean())
    columns = np.column_stack([own.net, *benchmarks.values(), (own.net - mean) ** 2])
    means = resampled_means(columns, block, REPLICATIONS, SEED, step)
    found = {
        name: superiority((own.net - one)[:, None], means[:, :1] - means[:, [number]], block)
        for number, (name, one) in enumerate(benchmarks.items(), start=1)
    }
    spread = np.sqrt(np.maximum(means[:, -1] - (means[:, 0] - mean) ** 2, 0.0) * len(own.net) / (len(own.net) - 1))
    ratios = np.divide(means[:, 0], spread, out=np.zeros(len(means)), where=spread > 0)
    return {
        "p_values": {name: test.p_value for name, test in found.items()},
        "tests": {name: {"p_value": t.p_value, "lower": t.lower, "upper": t.upper} for name, t in found.items()},
        "block": block,
        "mean": percentile_interval(means[:, 0], _LEVEL),
        "sharpe": percentile_interval(ratios, _LEVEL),
    }


def _interval(luck: Mapping[str, Any] | None, year: float) -> dict[str, Any] | None:
    if luck is None:
        return None
    return {
        "level": _LEVEL,
        "sharpe": [bound * math.sqrt(year) for bound in luck["sharpe"]],
        "mean": list(luck["mean"]),
        "block_length": luck["block"],
        "replications": REPLICATIONS,
        "seed": SEED,
    }


def _spa(luck: Mapping[str, Any] | None) -> dict[str, Any] | None:
    if luck is None:
        return None
    hardest = max(luck["p_values"], key=lambda name: luck["p_values"][name])
    return {
        "p_value": luck["p_values"][hardest],
        "against": hardest,
        **luck["tests"],
        "candidates": 1,
        "block_length": luck["block"],
        "replications": REPLICATIONS,
        "seed": SEED,
    }


def _folds(own: _Judged, closes: Sequence[Any], length: int) -> list[dict[str, Any]]:
    """Cut the path into quarters that follow each other; nothing is refitted, because nothing was fitted."""
    return [
        {
            "first_close": _time(closes[start + 1]),
            "last_close": _time(closes[start + length]),
            "ev": float(own.gross[start : start + length].mean()),
            "net_ev": float(own.net[start : start + length].mean()),
        }
        for start in range(0, len(own.net) - length + 1, length)
    ]


def _walk(folds: list[dict[str, Any]], length: int) -> dict[str, Any] | None:
    if not folds:
        return None
    positive = sum(fold["net_ev"] > 0 for fold in folds)
    before = sum(fold["ev"] > 0 for fold in folds)
    return {
        "scheme": "unfitted",
        "train": 0,
        "test": length,
        "count": len(folds),
        "positive": positive,
        "positive_before_costs": before,
        "folds": folds,
    }


def _causal(
    strategy: CarryStrategy, candles: pl.DataFrame, closes: Sequence[Any], step: Callable[[], object] | None
) -> Causality:
    """Forecast again at sampled closes from the history up to each, and from the warm-up alone."""
    whole = strategy.forecast(candles)
    asked = [closes[place] for place in np.unique(np.linspace(0, len(closes) - 1, CLOSES_ASKED).astype(int))]
    look_ahead: list[Any] = []
    recursive: list[Any] = []
    for close in asked:
        expected = whole.filter(pl.col("close_time") == close)
        past = candles.filter(pl.col("close_time") <= close)
        window = past.filter(pl.col("close_time") > close - strategy.warmup * strategy.interval.delta)
        for found, part in ((look_ahead, past), (recursive, window)):
            if not strategy.forecast(part).filter(pl.col("close_time") == close).equals(expected):
                found.append(close)
        if step is not None:
            step()
    return Causality(len(asked), tuple(look_ahead), tuple(recursive), ())


def _told(found: Causality) -> dict[str, Any]:
    return {
        "closes": found.closes,
        "look_ahead": [_time(close) for close in found.look_ahead],
        "recursive": [_time(close) for close in found.recursive],
        "unready": [],
    }


def _horizon(own: _Judged, closes: Sequence[Any], strategy: CarryStrategy) -> dict[str, Any]:
    return {
        "closes": len(own.net),
        "first_close": _time(closes[1]),
        "last_close": _time(closes[-1]),
        "days": len(own.net) * strategy.interval.minutes / 1440,
        "least_track_record": least_track_record(own.net),
    }


def _reason(own: _Judged, rules: Mapping[str, _Judged], measured: Measured, year: float) -> str:
    numbers = own.numbers(year)
    best = max(RULES, key=lambda name: rules[name].numbers(year)["net_sharpe"] or -math.inf)
    said = (
        f"On {measured.closes} closes its Sharpe was {_short(numbers['sharpe'])} before costs and "
        f"{_short(numbers['net_sharpe'])} after costs and funding, where {words(best)} had "
        f"{_short(rules[best].numbers(year)['net_sharpe'])}"
    )
    failed = failures(measured, gates_of(measured), fitted=False)
    return f"{said}; it is refused because {joined(failed)}." if failed else f"{said}; every gate is passed."


def _some(numbers: Mapping[str, Any], *names: str) -> dict[str, Any]:
    return {name: numbers[name] for name in names}


def _short(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.2f}"


def _time(moment: Any) -> str:
    return f"{moment:%Y-%m-%dT%H:%M:%SZ}"
