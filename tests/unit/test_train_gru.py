from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from tests.unit.forecast_frames import INTERVAL, frame_of
from trader.errors import ConfigError, DataError, ModelError
from trader.forecast.artifact import Model, dump, load
from trader.forecast.gru import GruForecaster
from trader.research.recurrent import Recipe, train_gru
from trader.research.train import export_pth, train_ar
from trader.research.train_recurrent import recipe_of, train_recurrent

CREATED = datetime(2026, 1, 1, tzinfo=UTC)
SMALL = Recipe(window=16, layers=1, width=4, epochs=8, patience=8, rate=0.02)


def turning(rows: int, seed: int = 1) -> list[float]:
    """Closes whose changes mostly take turns, so that there is something to learn."""
    rng = np.random.default_rng(seed)
    signs = np.where(np.arange(rows) % 2 == 0, 1, -1) * np.where(rng.random(rows) < 0.05, -1, 1)
    return (100 * np.exp(np.cumsum(signs * rng.uniform(0.001, 0.003, rows)))).tolist()


@pytest.fixture(scope="module")
def model() -> Model:
    return train_recurrent(frame_of(turning(900)), INTERVAL, SMALL, name="turning", created=CREATED)


def test_what_can_be_learnt_is_learnt_and_shows_on_candles_no_fit_has_seen(model: Model) -> None:
    test = model.card.metrics["test"]
    assert test["n"] == 224
    assert test["win_rate"] is not None
    assert test["win_rate"] > 0.9
    assert test["cross_entropy"] is not None
    assert test["base_rate_cross_entropy"] is not None
    assert test["cross_entropy"] < 0.5 < test["base_rate_cross_entropy"]


def test_a_random_walk_teaches_nothing_that_holds() -> None:
    closes = (100 * np.exp(np.random.default_rng(5).normal(0, 0.003, 1500).cumsum())).tolist()
    found = train_recurrent(frame_of(closes), INTERVAL, SMALL, name="walk", created=CREATED)
    test = found.card.metrics["test"]
    assert test["cross_entropy"] is not None
    assert test["base_rate_cross_entropy"] is not None
    assert test["cross_entropy"] > test["base_rate_cross_entropy"] - 0.01


def test_the_same_seed_gives_the_same_bytes_and_another_seed_others(model: Model) -> None:
    frame = frame_of(turning(900))
    again = train_recurrent(frame, INTERVAL, SMALL, name="turning", created=CREATED)
    assert dump(again) == dump(model)
    other = Recipe(window=16, layers=1, width=4, epochs=8, patience=8, rate=0.02, seed=1)
    assert train_recurrent(frame, INTERVAL, other, name="turning", created=CREATED).hash != model.hash


def test_what_comes_after_the_split_changes_nothing_of_the_fit(model: Model) -> None:
    closes = turning(900)
    split = frame_of(closes)["close_time"][674]
    bent = [*closes[:675], *turning(225, seed=9)]
    ours = train_recurrent(frame_of(closes), INTERVAL, SMALL, name="a", created=CREATED, split=split)
    theirs = train_recurrent(frame_of(bent), INTERVAL, SMALL, name="a", created=CREATED, split=split)
    assert ours.card.weights_hash == theirs.card.weights_hash == model.card.weights_hash
    assert ours.card.metrics["test"] != theirs.card.metrics["test"]


def test_the_pass_with_the_best_validation_loss_is_kept_and_patience_ends_it() -> None:
    closes = np.array(turning(600))
    found = train_gru(closes, 120, Recipe(window=16, layers=1, width=4, epochs=40, patience=2, rate=0.3))
    losses = [epoch.validation_loss for epoch in found.epochs]
    assert losses[found.best - 1] == min(losses)
    assert len(losses) - found.best == 2 or len(losses) == 40


@pytest.mark.parametrize("recipe", [SMALL, Recipe(window=16, layers=2, width=3, epochs=2, overlapping=True)])
def test_overlapping_windows_and_whole_ones_both_train(recipe: Recipe) -> None:
    found = train_gru(np.array(turning(300)), 60, recipe)
    assert found.epochs[-1].train_loss < found.epochs[0].train_loss
    assert len(found.forecaster.layers) == recipe.layers


def test_the_profit_objective_earns_after_its_costs_where_there_is_something_to_earn() -> None:
    recipe = Recipe(window=16, layers=1, width=4, epochs=25, patience=25, rate=0.02, objective="profit", cost=0.0001)
    found = train_gru(np.array(turning(700)), 140, recipe)
    assert found.epochs[found.best - 1].validation_loss < -0.0005 < found.epochs[0].train_loss
    dear = Recipe(window=16, layers=1, width=4, epochs=25, patience=25, rate=0.02, objective="profit", cost=0.01)
    unwilling = train_gru(np.array(turning(700)), 140, dear)
    assert unwilling.epochs[unwilling.best - 1].validation_loss > -0.0005


def test_a_model_is_read_back_as_it_was_written(model: Model) -> None:
    back = load(*dump(model), symbol="ADAUSDT", interval=INTERVAL)
    assert isinstance(back.forecaster, GruForecaster)
    frame = frame_of(turning(60))
    assert back.forecaster.forecast(frame).equals(model.forecaster.forecast(frame))
    assert back.hash == model.hash


def test_one_changed_weight_is_refused(model: Model) -> None:
    card, weights = dump(model)
    spoilt = weights[:-1] + bytes([weights[-1] ^ 1])
    with pytest.raises(ModelError, match="are not those its card was written for"):
        load(card, spoilt)


def test_a_card_says_how_its_model_can_be_trained_again(model: Model) -> None:
    assert recipe_of(model.card) == SMALL
    linear = train_ar(frame_of(turning(300)), INTERVAL, (1,), name="line", created=CREATED)
    assert recipe_of(linear.card) is None
    with pytest.raises(ModelError, match="network and learning"):
        load(model.card.model_copy(update={"learning": None}).to_bytes(), dump(model)[1])


def test_a_card_of_another_network_is_refused(model: Model) -> None:
    network = model.card.network
    assert network is not None
    wrong = model.card.model_copy(update={"network": network.model_copy(update={"width": 5})})
    with pytest.raises(ModelError, match="1 layers of 5 need"):
        load(wrong.to_bytes(), dump(model)[1])


def test_the_weights_leave_as_a_state_dict_that_torch_reads(model: Model, tmp_path: Path) -> None:
    torch = pytest.importorskip("torch", reason="torch is the oracle here")
    export_pth(model, tmp_path / "weights.pth")
    state = torch.load(tmp_path / "weights.pth", weights_only=True)
    cell, head = torch.nn.GRU(1, 4, 1).double(), torch.nn.Linear(4, 2).double()
    cell.load_state_dict({name: value for name, value in state.items() if name.endswith("_l0")})
    head.load_state_dict({"weight": state["head.weight"], "bias": state["head.bias"]})
    closes = np.array(turning(17))
    mean, deviation = state["scale"].tolist()
    inputs = torch.from_numpy((closes[1:] / closes[:-1] - 1 - mean) / deviation)[:, None, None]
    with torch.no_grad():
        down, up = torch.softmax(head(cell(inputs)[0][-1, 0]), 0).tolist()
    assert model.forecaster.forecast(frame_of(closes.tolist()))["forecast"][0] == pytest.approx(up - down, rel=1e-5)


@pytest.mark.parametrize("wrong", [{"width": 0}, {"rate": 1.0}, {"objective": "luck"}])
def test_a_recipe_that_cannot_be_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ConfigError):
        Recipe(**wrong)  # type: ignore[arg-type]


def test_too_few_candles_and_candles_that_stand_still_are_refused() -> None:
    with pytest.raises(DataError, match="too few for windows of 16"):
        train_gru(np.array(turning(60)), 12, Recipe(window=16))
    with pytest.raises(DataError, match="do not move"):
        train_gru(np.full(400, 7.0), 100, Recipe(window=16))


def test_candles_of_several_symbols_are_refused() -> None:
    both = pl.concat([frame_of(turning(100), "A"), frame_of(turning(100), "B")])
    with pytest.raises(DataError, match="name the symbol"):
        train_recurrent(both, INTERVAL, SMALL, name="both", created=CREATED)


def test_a_model_expires_a_year_after_its_last_candle(model: Model) -> None:
    last = frame_of(turning(900))["close_time"][-1]
    assert not model.expired(last + timedelta(days=364))
    assert model.expired(last + timedelta(days=366))
