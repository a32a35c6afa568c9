"""The count of fits survives crashes, two writers and repetition."""

import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.unit.forecast_frames import frame_of
from trader.domain.interval import Interval
from trader.errors import ConfigError, DataError
from trader.research.evidence.trials import Trial, TrialStore, sharpes, trial_of
from trader.research.train import train_ar

DAY = datetime(2025, 1, 1, tzinfo=UTC)
ONE = Trial("ADAUSDT", Interval.parse("16h"), (1, 3), "l1", "a" * 64, DAY, DAY, 500, 0.05, 171, "train")


def test_the_very_same_fit_counts_once(tmp_path: Path) -> None:
    store = TrialStore(tmp_path)
    assert store.of("ADAUSDT") == []
    assert store.record([ONE, ONE]) == 1
    again = replace(ONE, sharpe=0.9, closes=3, purpose="benchmark", lags=(3, 1))
    assert store.record([again]) == 0
    assert TrialStore(tmp_path).of("ADAUSDT") == [ONE]


@pytest.mark.parametrize(
    "other",
    [
        {"interval": Interval.parse("12h")},
        {"lags": (1,)},
        {"loss": "mse"},
        {"data_hash": "b" * 64},
        {"first_close": datetime(2024, 1, 1, tzinfo=UTC)},
        {"last_close": datetime(2025, 2, 1, tzinfo=UTC)},
        {"rows": 499},
        {"kind": "gru"},
        {"detail": "seed 2"},
    ],
)
def test_any_other_fit_counts_for_itself(tmp_path: Path, other: dict[str, object]) -> None:
    store = TrialStore(tmp_path)
    different = replace(ONE, **other)  # type: ignore[arg-type]
    assert store.record([ONE, different]) == 2
    assert store.of("ADAUSDT") == [ONE, different]


def test_symbols_are_counted_apart_whatever_they_are_called(tmp_path: Path) -> None:
    store = TrialStore(tmp_path / "store")
    strange = replace(ONE, symbol="../../ADA/USDT")
    assert store.record([ONE, strange, replace(ONE, symbol="BTCUSDT")]) == 3
    assert store.of("../../ADA/USDT") == [strange]
    assert {path.parent for path in tmp_path.rglob("*.jsonl")} == {tmp_path / "store" / "trials"}


def test_a_line_that_a_crash_left_half_written_is_not_counted_and_then_replaced(tmp_path: Path) -> None:
    store = TrialStore(tmp_path)
    store.record([ONE])
    (file,) = tmp_path.rglob("*.jsonl")
    file.write_bytes(file.read_bytes() + b'{"symbol":"ADA')
    assert store.of("ADAUSDT") == [ONE]
    second = replace(ONE, lags=(2,))
    assert store.record([second]) == 1
    assert store.of("ADAUSDT") == [ONE, second]


@pytest.mark.parametrize("line", ["{}", "7", "nothing", '{"symbol":"ADAUSDT"}'])
def test_a_line_that_is_no_fit_is_refused_by_its_number(tmp_path: Path, line: str) -> None:
    store = TrialStore(tmp_path)
    store.record([ONE])
    (file,) = tmp_path.rglob("*.jsonl")
    file.write_text(file.read_text() + line + "\n")
    for use in (lambda: store.of("ADAUSDT"), lambda: store.record([replace(ONE, rows=1)])):
        with pytest.raises(DataError, match=r"Line 2 of .*ADAUSDT\.jsonl is no fit"):
            use()
    assert file.read_text().endswith(line + "\n")


def test_a_store_that_cannot_be_written_is_refused_with_its_place(tmp_path: Path) -> None:
    (tmp_path / "store").write_text("a file where a folder should be")
    with pytest.raises(ConfigError, match=r"cannot be written: .*; point TRADER_DATA_DIR"):
        TrialStore(tmp_path / "store").record([ONE])


def test_two_writers_at_once_lose_and_double_nothing(tmp_path: Path, root: Path) -> None:
    code = (
        "import sys; from dataclasses import replace; from pathlib import Path\n"
        "from trader.research.evidence.trials import Trial, TrialStore\n"
        "store, one = TrialStore(Path(sys.argv[1])), Trial.of_line(sys.argv[2])\n"
        "print(sum(store.record([replace(one, rows=row)]) for row in range(int(sys.argv[3]), int(sys.argv[4]))))"
    )
    spans = ((0, 20), (10, 30), (0, 30))
    writers = [
        subprocess.Popen(
            [sys.executable, "-c", code, str(tmp_path), ONE.line(), str(first), str(last)],
            cwd=root,
            stdout=subprocess.PIPE,
        )
        for first, last in spans
    ]
    written = [int(writer.communicate(timeout=60)[0]) for writer in writers]
    assert [writer.returncode for writer in writers] == [0, 0, 0]
    assert sum(written) == 30
    assert sorted(trial.rows for trial in TrialStore(tmp_path).of("ADAUSDT")) == list(range(30))


def test_sharpe_ratios_are_carried_to_candles_of_one_length() -> None:
    trials = [ONE, replace(ONE, sharpe=None), replace(ONE, interval=Interval.parse("4h"), sharpe=0.01)]
    assert sharpes(trials, Interval.parse("16h")).tolist() == pytest.approx([0.05, 0.02])


def test_a_card_tells_of_its_fit_and_foreign_weights_of_none() -> None:
    candles = frame_of([100.0 + (row * row) % 7 for row in range(60)])
    model = train_ar(candles, ONE.interval, (1, 3), name="mine", created=DAY)
    told = trial_of(model.card, "train")
    assert told is not None
    assert (told.symbol, told.lags, told.loss, told.rows) == ("ADAUSDT", (1, 3), "l1", model.card.training.rows)
    assert told.closes == model.card.metrics["test"]["n"] == 14
    assert told.sharpe == pytest.approx(model.card.metrics["test"]["sharpe"] / (365 * 24 / 16) ** 0.5)
    assert trial_of(model.card.model_copy(update={"training": None}), "train") is None
