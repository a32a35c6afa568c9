"""Fit every subset of a pool of lags, rank them where no fit has looked, and say how much of the best is luck.

All are fitted to the same rows, those that the longest lag leaves, and all are scored on the same later rows.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from math import comb

import numpy as np
import polars as pl

from trader.domain.interval import Interval
from trader.errors import DataError
from trader.forecast.fit import Array, subsets
from trader.research.dataset import Rows, chronological_split, data_hash
from trader.research.evidence.sharpe import deflated_sharpe, expected_maximum, probabilistic_sharpe, sharpe
from trader.research.evidence.trials import Trial
from trader.research.losses import Tell, fit_each
from trader.research.metrics import Metrics, signal_metrics

LARGEST = 20_000  # subsets, beyond which a ranking is a search for luck


@dataclass(frozen=True, slots=True)
class Entry:
    """One subset: its fit and losses, and what the sign of its forecast earned on the test rows, before costs.

    `longs` and `shorts` count the directions it took, `best_trade` and `worst_trade` are log returns of one candle,
    `parameters` counts weights and bias; `earned` is the log return of each test row, `train_sharpe` annual.
    """

    lags: tuple[int, ...]
    weights: tuple[float, ...]
    bias: float
    train_loss: float
    test_l1: float
    train_sharpe: float | None
    metrics: Metrics
    longs: int
    shorts: int
    best_trade: float
    worst_trade: float
    earned: Array

    @property
    def parameters(self) -> int:
        """How many numbers were fitted."""
        return len(self.weights) + 1


@dataclass(frozen=True, slots=True)
class Ranking:
    """Every subset, best out-of-sample Sharpe ratio first (the smaller subset where equal).

    `ups` and `downs` count the test candles that rose and did not; `close_times` are those of all rows, of which the
    first `train` trained.
    """

    entries: tuple[Entry, ...]
    interval: Interval
    loss: str
    train: int
    ups: int
    downs: int
    close_times: tuple[datetime, ...]


@dataclass(frozen=True, slots=True)
class Luck:
    """What the number of trials does to the best Sharpe ratio.

    `expected_maximum` is the annual ratio that the best of so many worthless fits would show, `probabilistic` and
    `deflated` the probabilities that the true ratio is above 0, if it was the only fit and as the best of them all.
    """

    trials: int
    deviation: float | None
    expected_maximum: float | None
    probabilistic: float | None
    deflated: float | None


def benchmark(
    rows: Rows,
    pool: Sequence[int],
    interval: Interval,
    *,
    loss: str = "l1",
    largest: int,
    test_size: float = 0.25,
    tell: Tell | None = None,
) -> Ranking:
    """Fit and rank every subset of up to `largest` lags of the pool; `rows.features` are in the order of `pool`.

    Raises:
        ConfigError: there is no such loss.
        DataError: too few rows, too many subsets, or nothing left to test on.
    """
    if sum(comb(len(pool), size) for size in range(1, min(largest, len(pool)) + 1)) > LARGEST:
        raise DataError(
            f"Subsets of up to {largest} of {len(pool)} lags are more than {LARGEST:,}; give a smaller pool, or fewer "
            "--max-features."
        )
    train = chronological_split(len(rows.target), test_size)
    if len(rows.target) - train < 2:
        raise DataError("Fewer than two candles are left to rank on; give a longer history or a larger test size.")
    used = subsets(len(pool), min(largest, len(pool)))
    features = np.broadcast_to(rows.features[:train], (len(used), train, len(pool)))
    fits = fit_each(features, np.broadcast_to(rows.target[:train], (len(used), train)), used, loss, tell)
    entries = []
    for some, fit in zip(used, fits, strict=True):
        said = fit.bias + rows.features[:, some] @ np.array(fit.weights)
        earned = np.sign(said[train:]) * rows.target[train:]
        entries.append(
            Entry(
                lags=tuple(lag for lag, use in zip(pool, some, strict=True) if use),
                weights=fit.weights,
                bias=fit.bias,
                train_loss=fit.loss,
                test_l1=float(np.abs(rows.target[train:] - said[train:]).mean()),
                train_sharpe=signal_metrics(said[:train], rows.target[:train], interval)["sharpe"],
                metrics=signal_metrics(said[train:], rows.target[train:], interval),
                longs=int((said[train:] > 0).sum()),
                shorts=int((said[train:] < 0).sum()),
                best_trade=float(earned.max()),
                worst_trade=float(earned.min()),
                earned=earned,
            )
        )
    ups = int((rows.target[train:] > 0).sum())
    return Ranking(
        entries=tuple(sorted(entries, key=_rank)),
        interval=interval,
        loss=loss,
        train=train,
        ups=ups,
        downs=len(rows.target) - train - ups,
        close_times=tuple(rows.close_times),
    )


def luck(ranking: Ranking, known: Array, count: int) -> Luck:
    """Discount the best entry for all `count` fits of its symbol; `known` are their Sharpe ratios, as far as known."""
    best = ranking.entries[0].earned
    deviation = float(known.std(ddof=1)) if len(known) > 1 else None
    if deviation is None and count > 1:
        # what luck alone gives over as many candles
        deviation = 1 / float(np.sqrt(len(best) - 1))
    year = float(np.sqrt(ranking.interval.per_year))
    return Luck(
        trials=count,
        deviation=deviation,
        expected_maximum=None if deviation is None else expected_maximum(count, deviation) * year,
        probabilistic=probabilistic_sharpe(best),
        deflated=probabilistic_sharpe(best) if deviation is None else deflated_sharpe(best, count, deviation),
    )


def trials(ranking: Ranking, history: pl.DataFrame) -> list[Trial]:
    """Return every fit of a ranking as the store of trials counts them; `history` are the candles it was made of."""
    seen = history.filter(pl.col("close_time") <= ranking.close_times[ranking.train - 1])
    digest = data_hash(seen)
    return [
        Trial(
            symbol=str(history["symbol"][0]),
            interval=ranking.interval,
            lags=entry.lags,
            loss=ranking.loss,
            data_hash=digest,
            first_close=seen["close_time"][0],
            last_close=seen["close_time"][-1],
            rows=ranking.train,
            sharpe=sharpe(entry.earned),
            closes=len(entry.earned),
            purpose="benchmark",
        )
        for entry in ranking.entries
    ]


def _rank(entry: Entry) -> tuple[float, int, tuple[int, ...]]:
    ratio = entry.metrics["sharpe"]
    return (np.inf if ratio is None else -ratio, len(entry.lags), entry.lags)
