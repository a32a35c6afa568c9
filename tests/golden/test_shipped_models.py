"""The models that ship: they load, they can be made again, and their cards say what they are worth."""

import dataclasses
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from trader.errors import ConfigError
from trader.forecast.artifact import CARD_FILE, WEIGHTS_FILE, Model, dump, load
from trader.forecast.card import Construction
from trader.research.dataset import read_candles, read_funding
from trader.research.evidence.gates import verdict_of
from trader.research.shipped import shipped_model

SHIPPED = {"ada-ar-16h": ("16h", (1,), "l1"), "ada-ar-12h": ("12h", (1, 2), "mse")}


def shipped(root: Path, name: str) -> Model:
    folder = root / "deploy" / "models" / name
    return load((folder / CARD_FILE).read_bytes(), (folder / WEIGHTS_FILE).read_bytes(), symbol="ADAUSDT")


def history(shared: Path) -> tuple[pl.DataFrame, pl.DataFrame]:
    data = shared / "data"
    return read_candles(data / "ADAUSDT_1h.parquet"), read_funding(data / "ADAUSDT_funding.parquet")


@pytest.mark.fault(73)
@pytest.mark.parametrize("name", SHIPPED)
def test_a_shipped_model_loads_and_is_what_its_name_says(root: Path, name: str) -> None:
    interval, lags, loss = SHIPPED[name]
    model = shipped(root, name)
    card = model.card
    assert (card.name, str(card.interval), card.lags, card.loss) == (name, interval, lags, loss)
    assert card.construction == Construction.of(card.interval)
    assert card.training is not None
    assert card.training.last_close <= datetime(2025, 5, 1, tzinfo=UTC)
    assert not model.expired(datetime(2026, 11, 21, tzinfo=UTC))
    assert model.expired(datetime(2027, 2, 8, tzinfo=UTC))


@pytest.mark.parametrize("name", SHIPPED)
def test_a_shipped_card_does_not_flatter(root: Path, name: str) -> None:
    card = shipped(root, name).card
    assert card.verdict == "NO-GO"
    assert not card.gates["walk_forward"].passed
    assert card.trials == 15
    test = card.metrics["test"]
    assert f"on the {test['n']} closes after its training" in card.reason.lower()
    numbers: Any = card.evidence
    assert numbers["always_short"]["sharpe"] == pytest.approx(test["always_short_sharpe"])
    assert f"always short had {numbers['always_short']['net_sharpe']:.2f}" in card.reason
    assert "had seen most of these closes" in card.reason
    assert numbers["costs"]["funding"] is not None


@pytest.mark.parametrize("name", SHIPPED)
def test_a_shipped_verdict_follows_from_its_gates(root: Path, name: str) -> None:
    card = shipped(root, name).card
    numbers: Any = card.evidence
    assert verdict_of(card.gates) == card.verdict
    assert set(card.gates) >= {
        "closes",
        "deflated_sharpe",
        "superiority",
        "walk_forward",
        "twice_the_cost",
        "causality",
    }
    assert card.gates["deflated_sharpe"].value == numbers["deflated_sharpe"]
    assert card.gates["superiority"].value == numbers["spa"]["p_value"]
    walk = numbers["walk_forward"]
    assert walk["positive"] == sum(fold["net_ev"] > 0 for fold in walk["folds"])
    assert card.gates["walk_forward"].value == walk["positive"] / walk["count"]
    assert card.gates["twice_the_cost"].value == numbers["cost_stress"][1]["net_log_return"]
    assert len(numbers["fits"]) == numbers["spa"]["candidates"] == card.trials
    assert numbers["training_candles"] == "same"


@pytest.mark.parametrize("name", SHIPPED)
def test_a_shipped_model_can_be_trained_again_to_the_same_bytes(root: Path, shared: Path, name: str) -> None:
    model = shipped(root, name)
    again = shipped_model(name, *history(shared))
    # Only the versions of what it was made with may differ where others are installed.
    card = again.card.model_copy(update={"versions": model.card.versions})
    assert dump(dataclasses.replace(again, card=card)) == dump(model)


def test_no_other_model_ships(shared: Path) -> None:
    with pytest.raises(ConfigError, match="choose ada-ar-16h or ada-ar-12h"):
        shipped_model("btc", *history(shared))
