"""What the research printed of its chosen subset, judged on its own bars: the numbers it did not print."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import chain, combinations
from pathlib import Path
from typing import NamedTuple

import numpy as np
import polars as pl
import pytest
from arch.bootstrap import SPA

from trader.domain.interval import Interval
from trader.execution.fills import Costs
from trader.forecast.fit import fit_l1
from trader.market.candles import spacing
from trader.market.resample import resample
from trader.research.dataset import Rows, read_candles, supervised
from trader.research.evidence.bootstrap import resampled_means
from trader.research.evidence.causality import Causality
from trader.research.evidence.earnings import Candles, annual, held
from trader.research.evidence.folds import walk_after_costs
from trader.research.evidence.sharpe import deflated_sharpe, probabilistic_sharpe, sharpe
from trader.research.evidence.superiority import superiority
from trader.research.evidence.weigh import Case, Evidence, weigh
from trader.research.walkforward import Windows

INTERVAL = Interval.parse("16h")
TRAIN = 1230
FREE = Costs(Decimal(0), Decimal(0), Decimal(0))
SUBSETS = tuple(chain.from_iterable(combinations(range(4), size) for size in (1, 2, 3)))  # 14 of the pool of four


class Seed(NamedTuple):
    """The seed's rows, and the sides of its fits on the last quarter of them, lag 1 first."""

    features: np.ndarray
    target: np.ndarray
    sides: np.ndarray
    no_bias: np.ndarray

    @property
    def unseen(self) -> np.ndarray:
        return self.target[TRAIN:]


@pytest.fixture(scope="module")
def seed(shared: Path) -> Seed:
    bars = pl.read_parquet(shared / "data" / "seed-oracles" / "ADAUSDT_16h_seed_bars.parquet")
    features = bars.select(f"close_log_return_lag_{lag}" for lag in (1, 2, 3, 4)).to_numpy()
    target = bars["close_log_return"].to_numpy()
    sides = []
    for subset in SUBSETS:
        fit = fit_l1(features[:TRAIN, list(subset)], target[:TRAIN])
        sides.append(np.sign(features[TRAIN:, list(subset)] @ np.array(fit.weights) + fit.bias))
    first = fit_l1(features[:TRAIN, :1], target[:TRAIN])
    return Seed(features, target, np.column_stack(sides), np.sign(features[TRAIN:, 0] * first.weights[0]))


def closes(count: int) -> list[datetime]:
    return [datetime(2023, 2, 11, 8, tzinfo=UTC) + row * INTERVAL.delta for row in range(count)]


def case(seed: Seed) -> Case:
    earned = seed.sides * seed.unseen[:, None]
    return Case(
        unseen=Candles(INTERVAL, closes(len(seed.unseen)), seed.unseen, None),
        sides=seed.sides[:, 0],
        no_bias=seed.no_bias,
        rivals=seed.sides[:, 1:],
        trials=14,
        known=np.array([sharpe(column) for column in earned.T]),
        walk=walk_after_costs(
            Rows(closes(len(seed.target)), seed.features[:, :1], seed.target),
            Candles(INTERVAL, closes(len(seed.target)), seed.target, None),
            "l1",
            0.0,
            Windows.year_and_quarter(INTERVAL),
        ),
        causality=Causality(1, (), (), ()),
        costs=FREE,
    )


@pytest.fixture(scope="module")
def found(seed: Seed) -> Evidence:
    return weigh(case(seed))


def test_the_chosen_subset_is_less_certain_after_fourteen_trials(seed: Seed, found: Evidence) -> None:
    earned = seed.sides * seed.unseen[:, None]
    ratios = [sharpe(column) for column in earned.T]
    assert probabilistic_sharpe(earned[:, 0]) == pytest.approx(0.9928, abs=5e-5)
    assert deflated_sharpe(earned[:, 0], 14, float(np.std(ratios, ddof=1))) == pytest.approx(0.916, abs=5e-4)
    assert found.numbers["probabilistic_sharpe"] == pytest.approx(0.9928, abs=5e-5)
    assert found.numbers["deflated_sharpe"] == pytest.approx(0.916, abs=5e-4)
    assert found.numbers["deflation"]["deviation_is"] == "measured over 14 fits"


def test_a_rule_without_any_forecast_explains_most_of_it(found: Evidence) -> None:
    numbers = found.numbers
    assert numbers["performance"]["sharpe"] == pytest.approx(2.69458, abs=5e-6)
    assert numbers["performance"]["total_log_return"] == pytest.approx(1.642048, abs=5e-7)
    assert numbers["always_short"]["sharpe"] == pytest.approx(1.86, abs=5e-3)
    assert numbers["no_bias"]["sharpe"] == pytest.approx(0.61, abs=5e-3)


def test_always_short_on_the_true_bars_of_the_same_window(shared: Path) -> None:
    candles = read_candles(shared / "data" / "ADAUSDT_1h.parquet")
    bars = resample(candles, spacing(candles), INTERVAL)
    seeds = pl.read_parquet(shared / "data" / "seed-oracles" / "ADAUSDT_16h_seed_bars.parquet")["datetime"]
    # the seed labels a bar by its opening
    window = bars.filter(pl.col("open_time").dt.replace_time_zone(None).is_between(seeds[0], seeds[-1]))
    rows = supervised(bars, (1,))
    first = rows.close_times.index(window["close_time"][0])
    target = rows.target[first : first + window.height]
    test = target[-round(len(target) * 411 / 1641) :]
    assert annual(-test, INTERVAL) == pytest.approx(1.78, abs=0.02)


def test_against_always_short_it_is_luck_by_arch_and_by_us(seed: Seed, found: Evidence) -> None:
    benchmark, candidates = -seed.unseen, seed.sides * seed.unseen[:, None]
    theirs = SPA(-benchmark, -candidates, block_size=20, reps=2000, seed=np.random.default_rng(7))
    theirs.compute()
    gains = candidates - benchmark[:, None]
    ours = superiority(gains, resampled_means(gains, 20, 2000, 7), 20)
    assert (ours.lower, ours.p_value, ours.upper) == tuple(theirs.pvalues)
    assert ours.p_value == pytest.approx(0.59, abs=0.03)
    spa = found.numbers["spa"]
    assert spa["always_short"]["p_value"] == pytest.approx(0.59, abs=0.03)
    assert (spa["against"], spa["candidates"]) == ("always_short", 14)


def test_two_of_seven_folds_earned_anything(found: Evidence) -> None:
    walk = found.numbers["walk_forward"]
    assert (walk["train"], walk["test"], walk["count"], walk["positive"]) == (548, 137, 7, 2)
    printed = [0.003741, -0.001707, -0.002329, -0.000761, -0.001678, -0.000627, 0.004732]
    assert [fold["ev"] for fold in walk["folds"]] == pytest.approx(printed, abs=5e-7)


def test_the_research_that_looked_best_is_a_no(found: Evidence) -> None:
    failed = {name for name, gate in found.gates.items() if not gate.passed}
    assert (found.verdict, failed) == ("NO-GO", {"deflated_sharpe", "superiority", "walk_forward"})
    assert "after 14 fits" in found.reason
    assert "2 of 7 walk-forward folds" in found.reason


def test_the_same_case_gives_the_same_evidence(seed: Seed) -> None:
    assert weigh(case(seed), replications=200).document() == weigh(case(seed), replications=200).document()
    assert held(seed.sides[:, 0]).tolist() == seed.sides[:, 0].tolist()
    assert closes(2)[1] - closes(2)[0] == timedelta(hours=16)
