import pickle
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from tests.unit.forecast_frames import INTERVAL, START, frame_of
from trader.domain.interval import Interval
from trader.errors import ConfigError, DataError, ModelError
from trader.forecast.artifact import dump, load
from trader.forecast.fit import fit_l1, fit_mse
from trader.research.dataset import chronological_split, data_hash, read_candles, read_funding, supervised
from trader.research.train import export_pth, import_pth, train_ar

CREATED = datetime(2026, 1, 1, tzinfo=UTC)


def walk(count: int = 200, seed: int = 1) -> pl.DataFrame:
    steps = np.random.default_rng(seed).standard_t(4, count) * 0.02
    return frame_of(np.round(np.exp(np.cumsum(steps)), 4).tolist())


def train(candles: pl.DataFrame, **options: Any) -> Any:
    arguments: dict[str, Any] = {"interval": INTERVAL, "lags": (1, 2), "name": "mine", "created": CREATED} | options
    return train_ar(candles, **arguments)


def test_a_row_pairs_a_return_with_those_known_at_the_close_before() -> None:
    rows = supervised(frame_of([1.0, 2.0, 8.0, 4.0]), (1, 2))
    assert rows.close_times == [START + 4 * INTERVAL.delta]
    assert rows.features.tolist() == [[np.log(4.0), np.log(2.0)]]
    assert rows.target.tolist() == [np.log(0.5)]
    assert len(supervised(walk(20), (1,), pool=4).target) == len(supervised(walk(20), (4,)).target) == 15


@pytest.mark.parametrize(("rows", "size", "train"), [(1641, 0.25, 1230), (679, 0.25, 509), (10, 0.9, 1), (7, 0.0, 7)])
def test_the_first_rows_train_and_the_last_test(rows: int, size: float, train: int) -> None:
    assert chronological_split(rows, size) == train


@pytest.mark.parametrize("size", [-0.1, 1.0, float("nan")])
def test_a_test_size_that_is_no_fraction_is_refused(size: float) -> None:
    with pytest.raises(DataError, match="give one like"):
        chronological_split(100, size)


@pytest.mark.parametrize(("loss", "fit"), [("l1", fit_l1), ("mse", fit_mse)])
def test_a_model_is_the_fit_to_the_training_rows_alone(loss: str, fit: Any) -> None:
    candles = walk()
    model = train(candles, loss=loss)
    rows = supervised(candles, (1, 2))
    count = chronological_split(len(rows.target), 0.25)
    found = fit(rows.features[:count], rows.target[:count])
    assert model.forecaster.weights == pytest.approx(found.weights, rel=1e-11)
    assert model.forecaster.bias == pytest.approx(found.bias, rel=1e-11)
    assert model.card.metrics["train"][loss] == pytest.approx(found.loss, rel=1e-9)
    assert model.card.metrics["test"]["n"] == len(rows.target) - count
    altered = frame_of([*candles["close"][: count + 3], *([1.0] * (candles.height - count - 3))])
    assert train(altered, loss=loss).forecaster == model.forecaster


def test_the_card_says_what_the_fit_has_seen() -> None:
    candles = walk()
    card = train(candles, lags=(1, 3)).card
    seen = candles[: card.training.rows + 4]
    assert card.training.first_close == seen["close_time"][0]
    assert card.training.last_close == seen["close_time"][-1]
    assert card.training.data_hash == data_hash(seen)
    assert data_hash(seen) != data_hash(candles)
    assert (card.symbol, card.interval, card.lags, str(card.construction.source)) == (
        "ADAUSDT",
        INTERVAL,
        (1, 3),
        "16h",
    )
    assert card.expires == candles["close_time"][-1] + timedelta(days=365)
    assert (card.verdict, card.trials) == ("UNJUDGED", 1)
    assert set(card.versions) == {"trader", "numpy", "polars", "safetensors"}


def test_training_twice_gives_the_same_bytes_and_they_load() -> None:
    first, second = dump(train(walk())), dump(train(walk()))
    assert first == second
    assert load(*first, symbol="ADAUSDT", interval="16h") == train(walk())


def test_history_can_be_cut_and_split_at_an_instant() -> None:
    candles = walk()
    cut = candles["close_time"][120]
    assert train(candles, until=cut).forecaster == train(candles[:121]).forecaster
    split = train(candles, split=cut)
    assert split.card.training.last_close == cut
    assert split.forecaster == train(candles[:121], test_size=0.0).forecaster
    assert split.card.metrics["test"]["n"] == candles.height - 121
    assert train(candles, test_size=0.0).card.metrics["test"] == {"n": 0}


def test_longer_candles_are_built_before_they_are_fitted() -> None:
    card = train(walk(400), interval=Interval.parse("32h")).card
    assert str(card.interval) == "32h"
    assert str(card.construction.source) == "16h"


@pytest.mark.parametrize(
    ("options", "error", "reason"),
    [
        ({"loss": "hinge"}, ConfigError, "choose one of l1, mse, huber, "),
        ({"until": START}, DataError, "."),
        ({"split": START}, DataError, "too few"),
        ({"lags": (50, 60), "test_size": 0.99}, DataError, "too few"),
        ({"interval": Interval.parse("24h")}, DataError, "cannot be built"),
    ],
)
def test_what_cannot_be_trained_is_refused(options: dict[str, Any], error: type[Exception], reason: str) -> None:
    with pytest.raises(error, match=reason):
        train(walk(), **options)


def test_prices_that_never_move_train_nothing() -> None:
    with pytest.raises(DataError, match="leaves no residual"):
        train(frame_of([1.0] * 50))
    with pytest.raises(DataError, match="hold several; name the symbol"):
        train(pl.concat([frame_of([1.0, 2.0]), frame_of([1.0, 2.0], "BTCUSDT")]))


def test_files_that_cannot_be_read_are_refused_with_their_path(tmp_path: Path) -> None:
    for read in (read_candles, read_funding):
        with pytest.raises(DataError, match=r"nowhere\.parquet cannot be read: No such file"):
            read(tmp_path / "nowhere.parquet")
    walk().drop("symbol", "close_time").write_parquet(tmp_path / "ADAUSDT_16h.parquet")
    assert read_candles(tmp_path / "ADAUSDT_16h.parquet").equals(walk())


def test_weights_go_through_torch_and_back_unchanged(tmp_path: Path) -> None:
    model = train(walk())
    path = tmp_path / "weights.pth"
    export_pth(model, path)
    options: dict[str, Any] = {
        "lags": (1, 2),
        "symbol": "ADAUSDT",
        "interval": INTERVAL,
        "name": "back",
        "created": CREATED,
    }
    back = import_pth(path, **options)
    assert (back.forecaster.weights, back.forecaster.bias) == (model.forecaster.weights, model.forecaster.bias)
    assert back.forecaster.residual_deviation is None
    assert load(*dump(back)) == back
    judged = import_pth(path, candles=walk(), **options)
    assert judged.forecaster.residual_deviation is not None
    assert judged.card.metrics["seen"]["n"] == 197
    assert judged.card.training is None
    with pytest.raises(DataError, match="candles are of ADAUSDT and the model of BTCUSDT"):
        import_pth(path, candles=walk(), **(options | {"symbol": "BTCUSDT"}))
    with pytest.raises(ModelError, match=r"holds .* where 3 lags need"):
        import_pth(path, **(options | {"lags": (1, 2, 3)}))


class Payload:
    """What a malicious file would do when it is unpickled."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> Any:
        return (Path.touch, (self.marker,))


def test_a_malicious_or_foreign_file_is_refused_and_executes_nothing(tmp_path: Path) -> None:
    marker = tmp_path / "executed"
    (tmp_path / "pickled.pth").write_bytes(pickle.dumps({"linear.weight": Payload(marker)}))
    (tmp_path / "empty.pth").write_bytes(b"")
    (tmp_path / "text.pth").write_bytes(b"these are no weights")
    for name in ("pickled", "empty", "text", "absent"):
        with pytest.raises(ModelError, match="cannot be read as plain weights"):
            import_pth(
                tmp_path / f"{name}.pth", lags=(1,), symbol="ADAUSDT", interval=INTERVAL, name="x", created=CREATED
            )
    assert not marker.exists()


def test_training_an_ar_model_imports_no_torch(root: Path) -> None:
    code = "import trader.research.train, trader.forecast.artifact, sys; print('torch' in sys.modules)"
    answer = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "False"
