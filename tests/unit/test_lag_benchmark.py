import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from tests.unit.forecast_frames import INTERVAL, frame_of
from trader.cli import main
from trader.errors import DataError
from trader.forecast.fit import fit_l1
from trader.research.benchmark import benchmark, luck, trials
from trader.research.dataset import Rows, data_hash, supervised
from trader.research.evidence.sharpe import deflated_sharpe, expected_maximum, probabilistic_sharpe
from trader.research.metrics import signal_metrics


def history(count: int = 300, seed: int = 4) -> Rows:
    random = np.random.default_rng(seed)
    features = random.standard_t(3, (count, 3)) * 0.02
    target = -0.3 * features[:, 1] + random.standard_t(3, count) * 0.02
    start = datetime(2024, 1, 1, tzinfo=UTC)
    return Rows([start + timedelta(hours=16 * row) for row in range(count)], features, target)


def test_every_subset_is_fitted_alone_and_ranked_where_no_fit_has_looked() -> None:
    rows = history()
    ranking = benchmark(rows, (1, 2, 5), INTERVAL, largest=2)
    assert {entry.lags for entry in ranking.entries} == {(1,), (2,), (5,), (1, 2), (1, 5), (2, 5)}
    assert ranking.train == 225
    sharpes = [entry.metrics["sharpe"] or 0.0 for entry in ranking.entries]
    assert sharpes == sorted(sharpes, reverse=True)
    assert 2 in ranking.entries[0].lags
    for entry in ranking.entries:
        part = np.ascontiguousarray(rows.features[:, [(1, 2, 5).index(lag) for lag in entry.lags]])
        fit = fit_l1(part[:225], rows.target[:225])
        assert entry.weights == pytest.approx(fit.weights, abs=1e-13)
        said = fit.bias + part[225:] @ np.array(fit.weights)
        assert entry.metrics == signal_metrics(said, rows.target[225:], INTERVAL)
        assert entry.parameters == len(entry.lags) + 1
        assert (entry.longs, entry.shorts) == ((said > 0).sum(), (said < 0).sum())
        assert entry.best_trade == (np.sign(said) * rows.target[225:]).max()
        assert entry.worst_trade == (np.sign(said) * rows.target[225:]).min()
    assert ranking.ups + ranking.downs == 75


def test_the_future_changes_no_fit_of_the_ranking() -> None:
    rows = history()
    other = rows.target.copy()
    other[225:] *= -1
    before = benchmark(rows, (1, 2, 3), INTERVAL, largest=3)
    after = benchmark(Rows(rows.close_times, rows.features, other), (1, 2, 3), INTERVAL, largest=3)
    assert {e.lags: e.weights for e in before.entries} == {e.lags: e.weights for e in after.entries}


def test_the_best_is_discounted_for_all_that_were_tried() -> None:
    ranking = benchmark(history(), (1, 2, 3), INTERVAL, largest=3)
    known = np.array([0.1, 0.02, -0.05, 0.07])
    best, deviation = ranking.entries[0].earned, float(known.std(ddof=1))
    found = luck(ranking, known, 6)
    assert found.trials == 6
    assert found.expected_maximum == pytest.approx(expected_maximum(6, deviation) * INTERVAL.per_year**0.5)
    assert found.probabilistic == probabilistic_sharpe(best)
    assert found.deflated == deflated_sharpe(best, 6, deviation)
    assert (found.deflated or 0.0) < (found.probabilistic or 0.0)
    alone = luck(ranking, known[:1], 1)
    assert (alone.expected_maximum, alone.deflated) == (None, alone.probabilistic)
    # a fit whose ratio nobody knows was tried all the same
    assert luck(ranking, known[:1], 3).deflated == deflated_sharpe(best, 3, (len(best) - 1) ** -0.5)


def test_a_ranking_tells_the_store_what_each_fit_has_seen() -> None:
    candles = frame_of(np.exp(np.cumsum(np.random.default_rng(1).standard_t(4, 120) * 0.02)).tolist())
    ranking = benchmark(supervised(candles, (1, 2)), (1, 2), INTERVAL, largest=2)
    made = trials(ranking, candles)
    assert len({trial.key for trial in made}) == 3
    seen = candles[: ranking.train + 3]
    assert {trial.data_hash for trial in made} == {data_hash(seen)}
    assert {trial.last_close for trial in made} == {seen["close_time"][-1]}
    assert {trial.closes for trial in made} == {len(ranking.entries[0].earned)}


def test_a_ranking_that_would_only_search_for_luck_is_refused() -> None:
    with pytest.raises(DataError, match="more than 20,000; give a smaller pool"):
        benchmark(history(), tuple(range(1, 41)), INTERVAL, largest=5)
    with pytest.raises(DataError, match="Fewer than two candles are left to rank on"):
        benchmark(history(), (1, 2, 3), INTERVAL, largest=1, test_size=0.0)


def run(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, dict[str, object], str]:
    with pytest.raises(SystemExit) as end:
        main(words)
    said = capsys.readouterr()
    return int(str(end.value.code)), json.loads(said.out) if said.out.startswith("{") else {}, said.err


@pytest.fixture
def candle_file(tmp_path: Path) -> str:
    closes = np.exp(np.cumsum(np.random.default_rng(1).standard_t(4, 900) * 0.02)).round(6).tolist()
    path = tmp_path / "ADAUSDT_16h.parquet"
    frame_of(closes).drop("close_time").write_parquet(path)
    return str(path)


def test_the_commands_rank_and_walk_and_count_each_fit_once(
    capsys: pytest.CaptureFixture[str], candle_file: str
) -> None:
    ranked = ("benchmark", "--candles", candle_file, "--lags", "1-3", "--max-features", "2", "--json")
    code, document, _ = run(capsys, *ranked)
    assert (code, document["fits"], document["new_trials"], document["trials"]) == (0, 6, 6, 6)
    assert run(capsys, *ranked)[1] == document | {"new_trials": 0}
    code, walked, _ = run(capsys, "walkforward", "--candles", candle_file, "--scheme", "expanding", "--json")
    assert (code, walked["scheme"], walked["train"], walked["test"], walked["trials"]) == (0, "expanding", 548, 137, 7)
    folds, curve = walked["folds"], walked["curve"]
    assert isinstance(folds, list)
    assert isinstance(curve, list)
    assert [fold["train"]["rows"] for fold in folds] == [548, 685]
    assert len(curve) == 274
    assert curve[-1]["close"] == folds[-1]["test"]["last_close"]


@pytest.mark.parametrize(
    ("words", "code", "reason"),
    [
        (("benchmark", "--loss", "hinge"), 78, "no fit for the loss 'hinge'"),
        (("benchmark", "--test-size", "2"), 78, "is no fraction"),
        (("walkforward", "--scheme", "sideways"), 78, "no scheme 'sideways'; choose rolling or expanding"),
        (("walkforward", "--train", "5000"), 78, "too few to train on 5000"),
        (("walkforward", "--from", "2050-01-01"), 78, "no candles between --from and --to"),
    ],
)
def test_what_cannot_be_ranked_or_walked_is_refused(
    capsys: pytest.CaptureFixture[str], candle_file: str, words: tuple[str, ...], code: int, reason: str
) -> None:
    found, _, said = run(capsys, words[0], "--candles", candle_file, *words[1:])
    assert found == code
    assert reason in said
