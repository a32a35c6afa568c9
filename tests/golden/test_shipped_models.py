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
from trader.research.shipped import shipped_fit, shipped_model

SHIPPED = {
    "ada-ar-16h": ("ADAUSDT", "16h", (1,), "l1", 15),
    "ada-ar-12h": ("ADAUSDT", "12h", (1, 2), "mse", 15),
    "btc-ar-1h": ("BTCUSDT", "1h", (1,), "mse", 31),
}


def shipped(root: Path, name: str) -> Model:
    folder = root / "deploy" / "models" / name
    return load((folder / CARD_FILE).read_bytes(), (folder / WEIGHTS_FILE).read_bytes(), symbol=SHIPPED[name][0])


def history(shared: Path, symbol: str = "ADAUSDT") -> tuple[pl.DataFrame, pl.DataFrame]:
    data = shared / "data"
    return read_candles(data / f"{symbol}_1h.parquet"), read_funding(data / f"{symbol}_funding.parquet")


@pytest.mark.fault(73)
@pytest.mark.parametrize("name", SHIPPED)
def test_a_shipped_model_loads_and_is_what_its_name_says(root: Path, name: str) -> None:
    _, interval, lags, loss, _ = SHIPPED[name]
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
    assert card.trials == SHIPPED[name][-1]
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


def test_the_fit_of_bitcoin_can_be_made_again(root: Path, shared: Path) -> None:
    # its evidence resamples thirty-one fits to thousands of closes, which a suite has no time for
    model = shipped(root, "btc-ar-1h")
    again = shipped_fit("btc-ar-1h", history(shared, "BTCUSDT")[0])
    judged_later = {name: getattr(model.card, name) for name in ("gates", "verdict", "reason", "trials", "evidence")}
    card = again.card.model_copy(update={"versions": model.card.versions, **judged_later})
    assert dump(dataclasses.replace(again, card=card)) == dump(model)


@pytest.mark.parametrize("name", ["ada-ar-16h", "ada-ar-12h"])
def test_a_shipped_model_can_be_trained_again_to_the_same_bytes(root: Path, shared: Path, name: str) -> None:
    model = shipped(root, name)
    again = shipped_model(name, *history(shared))
    # Only the versions of what it was made with may differ where others are installed.
    card = again.card.model_copy(update={"versions": model.card.versions})
    assert dump(dataclasses.replace(again, card=card)) == dump(model)


def test_no_other_model_ships(shared: Path) -> None:
    with pytest.raises(ConfigError, match="choose ada-ar-16h, ada-ar-12h or btc-ar-1h"):
        shipped_model("btc", *history(shared))
