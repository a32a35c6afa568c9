"""The recurrent model that ships: what its card says is what real candles say, and it trades as any other."""

import json
import math
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from tests.scenarios.processes import Home
from trader.forecast.artifact import CARD_FILE, WEIGHTS_FILE, Model, load
from trader.forecast.gru import GruForecaster
from trader.research.dataset import data_hash, read_candles
from trader.research.evidence.gates import verdict_of
from trader.research.recurrent import train_gru
from trader.research.train import history_of
from trader.research.train_recurrent import recipe_of, stopping

NAME = "btc-gru-30m"
TAPE = "BTCUSDT_5m_2023-01_2024-05.parquet"
# Runs a command in this process, and says afterwards whether anybody imported torch.
WITNESS = (
    "import sys; from trader.cli import _run; code = _run(sys.argv[1:]); "
    "sys.exit(99 if 'torch' in sys.modules else code)"
)


@pytest.fixture(scope="module")
def model(root: Path) -> Model:
    folder = root / "deploy" / "models" / NAME
    return load((folder / CARD_FILE).read_bytes(), (folder / WEIGHTS_FILE).read_bytes(), symbol="BTCUSDT")


def test_it_is_the_network_of_the_research_and_small(root: Path, model: Model) -> None:
    card = model.card
    assert card.network is not None
    assert card.learning is not None
    assert (card.name, card.kind, str(card.interval)) == (NAME, "gru", "30m")
    assert (card.network.window, card.network.layers, card.network.width) == (512, 3, 16)
    assert card.learning.objective == "cross-entropy"
    losses = [one.validation_loss for one in card.learning.passes]
    assert losses[card.learning.best - 1] == min(losses)
    assert len(losses) - card.learning.best == card.learning.patience
    assert (root / "deploy" / "models" / NAME / WEIGHTS_FILE).stat().st_size < 50_000


def test_its_card_does_not_flatter(model: Model) -> None:
    card = model.card
    numbers: Any = card.evidence
    test = card.metrics["test"]
    assert card.verdict == "NO-GO" == verdict_of(card.gates)
    # it knows a little of the direction, and what it knows does not pay for a change of side
    assert test["cross_entropy"] < test["base_rate_cross_entropy"] < math.log(2)
    assert numbers["performance"]["net_sharpe"] < -5
    assert numbers["proportional"]["net_sharpe"] < -5
    assert numbers["always_long"]["net_sharpe"] > 1
    assert numbers["proportional"]["verdict"] == "NO-GO"
    assert numbers["proportional"]["gates"]["twice_the_cost"]["value"] < 0
    for gate in ("deflated_sharpe", "superiority", "walk_forward", "twice_the_cost"):
        assert not card.gates[gate].passed
    assert card.gates["causality"].passed
    # the profit objective and every shape that was tried beside it are counted, and those of an earlier trainer
    assert card.trials == 13
    assert "after 13 fits" in card.reason
    walk = numbers["walk_forward"]
    assert walk["count"] == 6
    assert walk["positive"] == sum(fold["net_ev"] > 0 for fold in walk["folds"])
    assert numbers["costs"]["funding"] is not None


def test_it_was_fitted_to_these_candles_and_says_of_later_ones_what_its_card_counts(model: Model, shared: Path) -> None:
    card = model.card
    assert card.training is not None
    history = history_of(read_candles(shared / "data" / TAPE), card.interval, None)
    seen = history.filter(pl.col("close_time") <= datetime(2024, 1, 1, tzinfo=UTC))
    assert data_hash(seen) == card.training.data_hash
    assert isinstance(model.forecaster, GruForecaster)
    later = history[seen.height - model.forecaster.window :]
    said = model.forecaster.forecast(later)["forecast"].to_numpy()[:-1]
    closes = later["close"].to_numpy()[-len(said) - 1 :]
    up = np.diff(np.log(closes)) > 0
    test = card.metrics["test"]
    assert (len(said), int(up.sum())) == (test["n"], test["up"])
    entropy = -np.log((1 + np.where(up, said, -said)) / 2).mean()
    assert entropy == pytest.approx(test["cross_entropy"], rel=1e-6)


def test_its_training_begins_again_as_its_card_tells(model: Model, shared: Path) -> None:
    card, recipe = model.card, recipe_of(model.card)
    assert card.learning is not None
    assert recipe is not None
    history = history_of(read_candles(shared / "data" / TAPE), card.interval, datetime(2024, 1, 1, tzinfo=UTC))
    short = replace(recipe, epochs=3)
    again = train_gru(history["close"].to_numpy(), stopping(history.height), short).epochs
    for ours, told in zip(again, card.learning.passes, strict=False):
        assert ours.train_loss == pytest.approx(told.train_loss, rel=1e-6)
        assert ours.validation_loss == pytest.approx(told.validation_loss, rel=1e-6)


@pytest.mark.parametrize("name", [NAME, "btc-ar-1h"])
def test_without_any_file_the_daemon_trades_as_the_backtest_does_and_imports_no_torch(
    name: str, tmp_path: Path
) -> None:
    home = Home(tmp_path / "data")
    words = ("--strategy", name, "--cycles", "4")
    command = [sys.executable, "-c", WITNESS, "run", *words, "--speed", "max", "--json"]
    done = subprocess.run(command, env=home.environment(), cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    ran = json.loads(done.stdout)
    assert ran["generated"] is True
    assert len(ran["trades"]) >= 1
    assert ran["closes"] == home.document("backtest", *words)["closes"]
