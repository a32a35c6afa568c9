"""Networks trained side by side: ranked by what stopped them, counted, and told with every pass."""

from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from tests.unit.forecast_frames import frame_of
from trader.app.shapes import compare_shapes, parse_shapes
from trader.app.training import TrainingChoice
from trader.cli import app
from trader.config import Settings
from trader.errors import ConfigError
from trader.research.evidence.trials import TrialStore
from trader.research.recurrent import Recipe
from trader.research.train import LIFE
from trader.research.train_recurrent import train_recurrent

RECIPE = Recipe(window=8, epochs=2)


def choice(folder: Path) -> TrainingChoice:
    closes = (100 * np.exp(np.random.default_rng(3).normal(0, 0.003, 300).cumsum())).tolist()
    frame_of(closes).drop("close_time").write_parquet(folder / "candles.parquet")
    return TrainingChoice(folder / "candles.parquet", "16h", 0.25, None, None, None)


def test_every_shape_is_trained_by_the_one_recipe_and_counted_once(tmp_path: Path) -> None:
    settings, asked = Settings.load(data_dir=tmp_path / "data"), choice(tmp_path)
    passes: list[str] = []
    steps = [lambda: passes.append("first"), lambda: passes.append("second")]
    told = compare_shapes(settings, asked, RECIPE, parse_shapes("1x3,2x4"), None, steps)
    assert passes == ["first", "first", "second", "second"]
    assert {(row["layers"], row["width"], row["numbers"]) for row in told["shapes"]} == {(1, 3, 62), (2, 4, 214)}
    losses = [row["validation_loss"] for row in told["shapes"]]
    assert losses == sorted(losses) == [min(one["validation_loss"] for one in row["epochs"]) for row in told["shapes"]]
    assert (told["new"], told["trials"]) == (2, 2)
    assert {one.purpose for one in TrialStore(tmp_path / "data" / "store").of("ADAUSDT")} == {"shapes"}
    again = compare_shapes(settings, asked, RECIPE, parse_shapes("2x4,1x3"), None, steps)
    assert (again["new"], again["trials"]) == (0, 2)
    assert again["shapes"] == told["shapes"]

    interval, candles = asked.history(settings)
    recipe = Recipe(window=8, epochs=2, layers=2, width=4)
    alone = train_recurrent(candles, interval, recipe, name="alone", created=datetime.now(UTC))
    (row,) = [row for row in told["shapes"] if row["layers"] == 2]
    assert row["test"]["cross_entropy"] == alone.card.metrics["test"]["cross_entropy"]
    assert alone.card.expires == candles["close_time"][-1] + LIFE


@pytest.mark.parametrize("text", ["", "1", "1x", "0x8", "1x8,1x8", "1x8x2", "ax8", "-1x8", "9x8", "1x257", "٣x8"])
def test_what_names_no_shapes_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="shape"):
        parse_shapes(text)
    assert parse_shapes("1x8, 3x16") == [(1, 8), (3, 16)]


def test_a_place_that_cannot_be_written_is_refused_before_anything_is_fitted_and_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRADER_DATA_DIR", str(tmp_path / "data"))
    choice(tmp_path)
    file = tmp_path / "file"
    file.touch()
    given = ("--candles", str(tmp_path / "candles.parquet"), "--symbol", "ADAUSDT", "--interval", "16h")
    quick = (*given, "--window", "8", "--epochs", "1")
    for words in (
        ("train", "ar", *given, "--out", str(file)),
        ("train", "ar", *given, "--out", str(file / "model")),
        ("train", "gru", *quick, "--out", str(file)),
        ("train", "shapes", *quick, "--shapes", "1x2", "--out", str(tmp_path / "none" / "page.html")),
        ("train", "shapes", *quick, "--shapes", "1x2", "--out", str(tmp_path)),
    ):
        done = CliRunner().invoke(app, list(words))
        assert isinstance(done.exception, ConfigError), words
        assert "cannot be written" in str(done.exception)
    assert not (tmp_path / "data" / "store").exists()
    assert CliRunner().invoke(app, ["train", "ar", *given, "--out", str(tmp_path / "m" / "n")]).exit_code == 0
    assert sorted(one.name for one in (tmp_path / "m" / "n").iterdir()) == ["card.json", "weights.safetensors"]
