"""A model is trained, counted and judged from the command line; a planted edge passes and noise does not."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from tests.scenarios.processes import Home

KEYS = [
    "trials",
    "probabilistic_sharpe",
    "deflated_sharpe",
    "interval",
    "spa",
    "always_long",
    "always_short",
    "no_bias",
    "cost_stress",
    "walk_forward",
    "gates",
    "verdict",
    "reason",
]


def write_market(path: Path, memory: float, count: int = 2400) -> None:
    """8h candles whose return reverses a part of the one before it, or is noise."""
    noise = np.random.default_rng(1).standard_t(5, count) * 0.02
    steps = np.zeros(count)
    for row in range(count):
        steps[row] = memory * steps[row - 1] + noise[row]
    closes = np.round(np.exp(np.cumsum(steps)) * 100, 6)
    opens = [datetime(2023, 1, 1, tzinfo=UTC) + row * timedelta(hours=8) for row in range(count)]
    prices = dict.fromkeys(("open", "high", "low", "close", "volume"), closes)
    pl.DataFrame({"open_time": opens, **prices}).write_parquet(path)


@pytest.fixture
def home(tmp_path: Path) -> Home:
    write_market(tmp_path / "ADAUSDT_edge.parquet", -0.5)
    write_market(tmp_path / "ADAUSDT_noise.parquet", 0.0)
    return Home(tmp_path / "data")


def train(home: Home, kind: str, lags: str) -> dict[str, object]:
    words = ("train", "ar", "--candles", f"ADAUSDT_{kind}.parquet", "--interval", "8h", "--lags", lags)
    found: dict[str, object] = home.document(*words, "--test-size", "0.4", "--out", kind)
    return found


def test_a_planted_edge_is_trained_counted_and_judged_a_go(home: Home) -> None:
    assert train(home, "edge", "2")["trials"] == 1
    made = train(home, "edge", "1")
    assert (made["trials"], made["verdict"]) == (2, "GO")
    assert train(home, "edge", "1")["trials"] == 2  # the very same fit again
    words = ("evidence", "edge", "--candles", "ADAUSDT_edge.parquet", "--json")
    first, second = home.run(*words), home.run(*words)
    assert (first.returncode, first.stdout) == (0, second.stdout), first.stderr
    document = json.loads(first.stdout)
    assert [key for key in KEYS if key not in document] == []
    assert document["verdict"] == "GO"
    assert document["trials"] == 2
    card = home.document("model", "show", "edge")
    assert {name: document[name] for name in ("trials", "gates", "verdict", "reason")} == {
        name: card[name] for name in ("trials", "gates", "verdict", "reason")
    }
    assert card["evidence"]["spa"] == document["spa"]


def test_noise_is_a_no_on_a_page_that_says_what_the_numbers_are_worth(home: Home) -> None:
    assert train(home, "noise", "1")["verdict"] == "NO-GO"
    page = home.run("evidence", "noise", "--candles", "ADAUSDT_noise.parquet")
    assert page.returncode == 1
    said = " ".join(page.stdout.replace("│", " ").split())
    for sentence in ("NO-GO noise: ADAUSDT every 8h", "always short", "it is refused", "stationary bootstrap", "folds"):
        assert sentence in said


def test_what_cannot_be_judged_is_refused_in_a_sentence(home: Home) -> None:
    train(home, "noise", "1")
    for words, reason in (
        (("noise", "--candles", "ADAUSDT_noise.parquet", "--from", "2030-01-01"), "give candles that reach further"),
        (("ada-ar-16h", "--candles", "ADAUSDT_noise.parquet"), "unseen"),
        (("nowhere", "--candles", "ADAUSDT_noise.parquet"), "There is no model folder 'nowhere'"),
        (("noise", "--candles", "BTCUSDT.parquet"), "cannot be read"),
    ):
        done = home.run("evidence", *words, "--json")
        assert (done.returncode, done.stdout) == (78, ""), done.stderr
        assert reason in done.stderr
