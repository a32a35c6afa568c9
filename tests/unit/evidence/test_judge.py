"""A model judged with its own candles: what is counted, what is refused, and a planted edge that passes."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import numpy as np
import polars as pl
import pytest

from tests.unit.forecast_frames import INTERVAL, START, frame_of
from trader.domain.interval import Interval
from trader.errors import DataError, ModelError
from trader.execution.fills import Costs
from trader.forecast.artifact import Model, dump, load
from trader.research.evidence import weigh
from trader.research.evidence.judge import STEPS, count, judge, judged
from trader.research.evidence.trials import Trial, trial_of
from trader.research.train import train_ar

COSTS = Costs(Decimal("0.0005"), Decimal("0.0001"), Decimal("0.0002"))
CREATED = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture(autouse=True)
def few_resamples(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(weigh.weigh, "__kwdefaults__", {"replications": 300, "seed": 1, "step": None})


def market(count: int = 1200, memory: float = 0.0, seed: int = 1) -> pl.DataFrame:
    """Candles whose return repeats (or, below 0, reverses) a part of the one before it."""
    noise = np.random.default_rng(seed).standard_t(5, count) * 0.02
    steps = np.zeros(count)
    for row in range(count):
        steps[row] = memory * steps[row - 1] + noise[row]
    return frame_of(np.round(np.exp(np.cumsum(steps)) * 100, 6).tolist())


def fitted(candles: pl.DataFrame, lags: tuple[int, ...] = (1,), **options: Any) -> Model:
    return train_ar(candles, INTERVAL, lags, name="mine", created=CREATED, **options)


def recorded(*models: Model) -> list[Trial]:
    return [fit for model in models if (fit := trial_of(model.card, "train"))]


def test_a_planted_edge_is_a_go_and_noise_is_not() -> None:
    edge = market(2400, memory=-0.5)
    found = judge(fitted(edge, test_size=0.4), edge, COSTS)
    assert (found.verdict, [name for name, gate in found.gates.items() if not gate.passed]) == ("GO", [])
    assert found.reason.endswith("every gate is passed.")
    noise = market(2400)
    refused = judge(fitted(noise, test_size=0.4), noise, COSTS)
    assert refused.verdict == "NO-GO"
    assert not refused.gates["superiority"].passed


def test_the_same_model_and_candles_give_the_same_document() -> None:
    candles = market()
    model = fitted(candles)
    assert judge(model, candles, COSTS).document() == judge(model, candles, COSTS).document()


def test_the_evidence_goes_whole_into_the_card_and_comes_back() -> None:
    candles = market()
    steps: list[int] = []
    model = fitted(candles)
    found = judge(model, candles, COSTS, step=lambda: steps.append(1))
    assert 0 < len(steps) <= STEPS
    written = judged(model, found)
    back = load(*dump(written))
    assert back == written
    assert (back.card.verdict, back.card.reason, back.card.trials) == (found.verdict, found.reason, found.trials)
    assert back.card.evidence == dict(found.numbers)
    assert back.card.gates == dict(found.gates)
    assert back.forecaster == model.forecaster


def test_a_close_is_unseen_only_after_the_training_and_after_what_is_asked() -> None:
    candles = market()
    model = fitted(candles)
    training = model.card.training
    assert training is not None
    found = judge(model, candles, COSTS).numbers["horizon"]
    assert found["closes"] == model.card.metrics["test"]["n"]
    assert found["first_close"] == f"{training.last_close + INTERVAL.delta:%Y-%m-%dT%H:%M:%SZ}"
    later = training.last_close + 50 * INTERVAL.delta
    assert judge(model, candles, COSTS, since=later).numbers["horizon"]["closes"] == found["closes"] - 50
    sooner = judge(model, candles, COSTS, since=START).numbers["horizon"]
    assert sooner == found


def test_gross_numbers_are_those_of_the_card() -> None:
    candles = market()
    model = fitted(candles, (1, 3))
    found, test = judge(model, candles, COSTS).numbers, model.card.metrics["test"]
    assert found["performance"]["sharpe"] == pytest.approx(test["sharpe"])
    assert found["performance"]["total_log_return"] == pytest.approx(test["total_log_return"])
    assert found["always_short"]["sharpe"] == pytest.approx(test["always_short_sharpe"])
    stress = [row["net_log_return"] for row in found["cost_stress"]]
    assert stress[0] == found["performance"]["net_log_return"]
    assert stress[0] - stress[1] == pytest.approx(stress[1] - stress[2])


def test_every_recorded_fit_counts_and_is_tested_beside_the_model() -> None:
    candles = market()
    others = [fitted(candles, lags) for lags in ((2,), (3,), (4,), (1, 2), (1, 3), (1, 4), (2, 3), (2, 4), (3, 4))]
    model = fitted(candles)
    alone = judge(model, candles, COSTS, trials=recorded(model))
    among = judge(model, candles, COSTS, trials=recorded(model, *others))
    assert (alone.trials, among.trials) == (1, 10)
    assert (alone.numbers["spa"]["candidates"], among.numbers["spa"]["candidates"]) == (1, 10)
    assert alone.numbers["deflation"]["deviation_is"].startswith("assumed")
    assert among.numbers["deflation"]["deviation_is"] == "measured over 10 fits"
    assert alone.numbers["deflated_sharpe"] == alone.numbers["probabilistic_sharpe"]
    assert among.numbers["deflated_sharpe"] < among.numbers["probabilistic_sharpe"]
    for rule in ("cash", "always_short"):
        assert among.numbers["spa"][rule]["p_value"] >= alone.numbers["spa"][rule]["p_value"]
    # a card remembers the fits its model was chosen from, wherever it is judged next
    elsewhere = judge(judged(model, among), candles, COSTS)
    assert elsewhere.numbers["fits"] == among.numbers["fits"]
    assert elsewhere.numbers["deflation"]["deviation_is"] == "measured over 10 fits"
    assert elsewhere.trials == 10


def test_fits_made_elsewhere_and_here_are_added() -> None:
    candles = market()
    model = fitted(candles)
    chosen = replace(model, card=model.card.model_copy(update={"trials": 15}))
    here = recorded(fitted(candles, (2,)), fitted(candles, (3,)))
    assert count(chosen, []) == 15
    assert count(chosen, here) == 17
    assert count(chosen, [*here, *recorded(model)]) == 15
    assert count(model, [*here, *recorded(model)]) == 3


def test_candles_that_differ_from_those_of_the_training_are_a_no() -> None:
    candles = market()
    model = fitted(candles)
    closes = candles["close"].to_list()
    other = frame_of([closes[0] * 1.01, *closes[1:]])
    found = judge(model, other, COSTS, trials=recorded(model, fitted(candles, (2,))))
    assert found.numbers["training_candles"] == "other"
    assert not found.gates["same_candles"].passed
    assert found.numbers["spa"]["candidates"] == 1
    recent = judge(model, candles[200:], COSTS)
    assert recent.numbers["training_candles"] == "absent"
    assert recent.gates["same_candles"].passed


def test_few_closes_are_a_no_that_says_so_and_too_many_numbers_are_not_invented() -> None:
    candles = market(120)
    model = fitted(candles, test_size=0.1)
    found = judge(model, candles, COSTS)
    assert found.verdict == "NO-GO"
    assert "only 12 closes after its training are known" in found.reason
    unsaid = ("probabilistic_sharpe", "deflated_sharpe", "interval", "spa", "before_costs")
    assert [found.numbers[name] for name in unsaid] == [None] * 5
    assert load(*dump(judged(model, found))).card.verdict == "NO-GO"


def test_a_model_whose_training_nobody_knows_needs_a_boundary_and_cannot_be_walked_forward() -> None:
    candles = market()
    model = fitted(candles)
    foreign = replace(model, card=model.card.model_copy(update={"training": None, "loss": "unknown"}))
    with pytest.raises(ModelError, match=r"Nobody knows what mine was trained on.*say with --from"):
        judge(foreign, candles, COSTS)
    found = judge(foreign, candles, COSTS, since=candles["close_time"][800])
    assert found.numbers["walk_forward"] is None
    assert not found.gates["walk_forward"].passed
    assert found.numbers["horizon"]["closes"] == 399


def test_what_does_not_fit_the_model_is_refused() -> None:
    candles = market()
    model = fitted(candles)
    training = model.card.training
    assert training is not None
    with pytest.raises(DataError, match="candles are of BTCUSDT and the model of ADAUSDT"):
        judge(model, candles.with_columns(symbol=pl.lit("BTCUSDT")), COSTS)
    with pytest.raises(DataError, match=r"is unseen by mine.*give candles that reach further"):
        judge(model, candles.filter(pl.col("close_time") <= training.last_close), COSTS)
    with pytest.raises(DataError, match="too few for mine"):
        judge(model, candles[:2], COSTS)
    longer = Interval.parse("32h")
    half = train_ar(candles, longer, (1,), name="slow", created=CREATED)
    built = half.card.construction.model_copy(update={"source": Interval.parse("8h")})
    with pytest.raises(ModelError, match="made of whole 8h bars, which 16h candles cannot make"):
        judge(replace(half, card=half.card.model_copy(update={"construction": built})), candles, COSTS)
    with pytest.raises(DataError, match="16h candles cannot be built from 32h ones"):
        judge(model, candles.with_columns(open_time=START + pl.int_range(pl.len()) * timedelta(hours=32)), COSTS)
