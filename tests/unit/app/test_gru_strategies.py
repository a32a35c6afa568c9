from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import pytest

from tests.unit.forecast_frames import frame_of
from trader.app.strategies import Loaded, compose
from trader.config import StrategyFile
from trader.domain.interval import Interval
from trader.errors import ConfigError, ModelError
from trader.forecast.artifact import Model, dump
from trader.forecast.card import Gate
from trader.portfolio.policy import ProportionalPolicy, SignPolicy
from trader.research.recurrent import Recipe
from trader.research.train import train_ar
from trader.research.train_recurrent import train_recurrent
from trader.strategies.gru import GruStrategy

CREATED = datetime(2026, 1, 1, tzinfo=UTC)
INTERVAL = Interval.parse("8h")  # a native interval, so that its candles can be built as the daemon builds them


def candles() -> list[float]:
    return (100 * np.exp(np.random.default_rng(3).normal(0, 0.003, 300).cumsum())).tolist()


@pytest.fixture(scope="module")
def model() -> Model:
    recipe = Recipe(window=8, layers=1, width=3, epochs=1)
    frame = frame_of(candles(), interval=INTERVAL)
    return train_recurrent(frame, INTERVAL, recipe, name="small", created=CREATED)


def text(kind: str, policy: str) -> str:
    return (
        f'name = "s"\nkind = "{kind}"\nsymbol = "ADAUSDT"\ninterval = "8h"\nmodel = "small"\n'
        f'[policy]\nkind = "{policy}"\nthreshold = 0.01\n'
    )


def loaded(model: Model, kind: str, policy: str) -> Loaded:
    written = text(kind, policy)
    return compose(written, StrategyFile.parse(written, "s.toml"), *dump(model))


@pytest.mark.parametrize(
    ("policy", "expected"), [("sign", SignPolicy(0.01)), ("proportional", ProportionalPolicy(0.01))]
)
def test_a_recurrent_model_is_traded_by_the_policy_its_file_names(
    model: Model, policy: str, expected: SignPolicy | ProportionalPolicy
) -> None:
    strategy = loaded(model, "gru", policy).strategy
    assert isinstance(strategy, GruStrategy)
    assert strategy.policy == expected
    assert strategy.warmup == 9


def test_a_verdict_on_the_direction_says_nothing_of_a_position_in_proportion(model: Model) -> None:
    gates = {"closes": Gate(value=300.0, needed="at least 250", passed=True)}
    good = {"verdict": "GO", "reason": "every gate is passed.", "gates": gates}
    direction = replace(model, card=model.card.model_copy(update=good))
    assert loaded(direction, "gru", "sign").worth.verdict == "GO"
    unasked = loaded(direction, "gru", "proportional").worth
    assert (unasked.verdict, unasked.gates) == ("UNJUDGED", {})
    assert "nothing of a position in proportion" in unasked.reason

    poor = {"verdict": "NO-GO", "reason": "it pays too much.", "gates": {}}
    both = replace(direction, card=direction.card.model_copy(update={"evidence": {"proportional": poor}}))
    assert loaded(both, "gru", "sign").worth.verdict == "GO"
    asked = loaded(both, "gru", "proportional").worth
    assert (asked.verdict, asked.reason) == ("NO-GO", "it pays too much.")
    assert asked.hash == both.hash


def test_a_file_of_another_kind_than_its_model_is_refused(model: Model) -> None:
    with pytest.raises(ModelError, match="of the kind ar and its model small of the kind gru"):
        loaded(model, "ar", "sign")
    linear = train_ar(frame_of(candles(), interval=INTERVAL), INTERVAL, (1,), name="line", created=CREATED)
    with pytest.raises(ModelError, match="of the kind gru and its model line of the kind ar"):
        loaded(linear, "gru", "sign")


def test_a_linear_forecast_has_no_two_probabilities_to_be_proportional_to() -> None:
    with pytest.raises(ConfigError, match="only kind gru makes"):
        StrategyFile.parse(text("ar", "proportional"), "s.toml")
