"""Every command of the laboratory reads the local store where it is given a symbol and no file."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.scenarios.test_evidence import write_market
from trader.cli import main

FILE = "ADAUSDT_8h.parquet"


class Laboratory:
    """The command line in this process: its documents, and what it refuses."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys

    def says(self, *words: str) -> Any:
        """Return the document of a command that finds an answer."""
        with pytest.raises(SystemExit) as end:
            main([*words, "--json"])
        told = self._capsys.readouterr()
        assert end.value.code in (0, 1), told.err
        return json.loads(told.out)

    def refuses(self, *words: str) -> str:
        """Return the sentence of a command that cannot be obeyed."""
        with pytest.raises(SystemExit) as end:
            main([*words, "--json"])
        told = self._capsys.readouterr()
        assert (end.value.code, told.out) == (78, "")
        return told.err


@pytest.fixture
def laboratory(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Laboratory:
    write_market(tmp_path / FILE, -0.5)
    found = Laboratory(capsys)
    found.says("history", "import", FILE)
    return found


def test_fits_and_walks_of_the_store_are_those_of_the_file(laboratory: Laboratory) -> None:
    for words in (("benchmark", "--lags", "1-3"), ("walkforward", "--lags", "1", "--train", "200", "--test", "100")):
        stored = laboratory.says(*words, "--symbol", "ADAUSDT", "--interval", "16h")
        filed = laboratory.says(*words, "--candles", FILE, "--interval", "16h")
        assert stored | {"new_trials": 0} == filed | {"new_trials": 0}
        assert "give a candle file with --candles, or a --symbol of the store" in laboratory.refuses(words[0])


def test_a_model_of_the_store_is_judged_by_the_store(laboratory: Laboratory) -> None:
    words = ("train", "ar", "--interval", "8h", "--lags", "1", "--test-size", "0.4", "--out", "mine")
    assert laboratory.says(*words, "--symbol", "ADAUSDT")["verdict"] == "GO"
    stored, filed = laboratory.says("evidence", "mine"), laboratory.says("evidence", "mine", "--candles", FILE)
    assert stored == filed


def test_a_backtest_of_the_store_is_that_of_the_file(laboratory: Laboratory) -> None:
    stored = laboratory.says("backtest", "--symbol", "ADAUSDT", "--cycles", "40")
    assert stored == laboratory.says("backtest", "--candles", FILE, "--cycles", "40")
    assert len(stored["closes"]) == 40
    for words, reason in (
        (("--symbol", "BTCUSDT"), "The strategy trades ADAUSDT and not BTCUSDT"),
        (("--symbol", "ADAUSDT", "--candles", FILE), "but not both"),
        (("--symbol", "ADAUSDT", "--interval", "1h"), "The store has no 1h bars of ADAUSDT"),
    ):
        assert reason in laboratory.refuses("backtest", *words)
