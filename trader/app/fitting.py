"""Rank subsets of lags and walk rules forward over candle files, counting every fit."""

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import polars as pl

from trader.app.judging import trial_store
from trader.app.stored import candles_of
from trader.app.training import parse_lags
from trader.config import Settings
from trader.domain.interval import Interval
from trader.errors import ConfigError, DataError
from trader.market.candles import spacing
from trader.market.resample import resample
from trader.research.benchmark import Entry, Luck, Ranking, benchmark, luck, trials
from trader.research.dataset import data_hash, supervised
from trader.research.evidence.sharpe import sharpe
from trader.research.evidence.trials import Trial, sharpes
from trader.research.losses import Tell, check_loss
from trader.research.walkforward import SCHEMES, Fold, Walk, Windows, walk_forward


@dataclass(frozen=True, slots=True)
class Series:
    """Which candles to read, in the words of the command line; without a file those of the store."""

    candles: Path | None
    interval: str
    lags: str
    loss: str
    symbol: str | None
    start: datetime | None
    end: datetime | None

    def history(self, settings: Settings, interval: Interval) -> pl.DataFrame:
        """Return whole candles of the interval, between start and end.

        Raises:
            ConfigError: neither a file nor a symbol is named.
            DataError: the candles cannot be used, or none are left.
        """
        candles = candles_of(settings, self.candles, self.symbol, interval)
        name = "The store" if self.candles is None else self.candles.name
        if self.start is not None:
            candles = candles.filter(pl.col("open_time") >= self.start)
        if self.end is not None:
            candles = candles.filter(pl.col("close_time") <= self.end)
        if candles.height < 2:
            raise DataError(f"{name} has no candles between --from and --to; give a longer period.")
        if candles["symbol"].n_unique() > 1:
            raise DataError(f"{name} holds several symbols; name one with --symbol.")
        return resample(candles, spacing(candles), interval)


@dataclass(frozen=True, slots=True)
class Walking:
    """How to walk, in the words of the command line; None is a year, a quarter of it, and the length of a test."""

    scheme: str
    train: int | None
    test: int | None
    step: int | None
    largest: int | None

    def windows(self, interval: Interval) -> Windows:
        """Return it in candles.

        Raises:
            ConfigError: there is no such scheme, or a number is not positive.
        """
        usual = Windows.year_and_quarter(interval)
        test = usual.test if self.test is None else self.test
        for scheme in SCHEMES:
            if scheme == self.scheme:
                step = test if self.step is None else self.step
                return Windows(usual.train if self.train is None else self.train, test, step, scheme)
        raise ConfigError(f"There is no scheme {self.scheme!r}; choose {' or '.join(SCHEMES)}.")


def rank(
    settings: Settings, series: Series, *, largest: int | None, test_size: float, tell: Tell | None = None
) -> dict[str, Any]:
    """Fit every subset of a pool of lags, record the fits, and return them ranked."""
    check_loss(series.loss)
    interval, pool = Interval.parse(series.interval), parse_lags(series.lags)
    history = series.history(settings, interval)
    ranking = benchmark(
        supervised(history, pool),
        pool,
        interval,
        loss=series.loss,
        largest=len(pool) if largest is None else largest,
        test_size=test_size,
        tell=tell,
    )
    made = trials(ranking, history)
    store = trial_store(settings)
    new = store.record(made)
    recorded = store.of(made[0].symbol)
    found = luck(ranking, sharpes(recorded, interval), len(recorded))
    return _ranked(ranking, found, made[0].symbol, new)


def walk(settings: Settings, series: Series, walking: Walking, *, tell: Tell | None = None) -> dict[str, Any]:
    """Walk a rule forward and record it as one trial: its refits are not alternatives that anybody chose from."""
    check_loss(series.loss)
    interval, lags = Interval.parse(series.interval), parse_lags(series.lags)
    windows = walking.windows(interval)
    history = series.history(settings, interval)
    rows = supervised(history, lags)
    found = walk_forward(rows, lags, interval, windows, loss=series.loss, largest=walking.largest, tell=tell)
    symbol = str(history["symbol"][0])
    choice = "" if walking.largest is None else f" choosing up to {walking.largest} lags"
    detail = f"walk forward {windows.scheme} {windows.train}/{windows.test}/{windows.step}{choice}"
    store = trial_store(settings)
    store.record([_rule(found, history, interval, lags, series.loss, detail)])
    return _walked(found, symbol, interval, series.loss, len(store.of(symbol)))


def _rule(
    found: Walk, history: pl.DataFrame, interval: Interval, lags: tuple[int, ...], loss: str, detail: str
) -> Trial:
    return Trial(
        symbol=str(history["symbol"][0]),
        interval=interval,
        lags=lags,
        loss=loss,
        data_hash=data_hash(history),
        first_close=history["close_time"][0],
        last_close=history["close_time"][-1],
        rows=found.windows.train,
        sharpe=sharpe(found.earned),
        closes=len(found.returns),
        purpose="walkforward",
        detail=detail,
    )


def _ranked(ranking: Ranking, found: Luck, symbol: str, new: int) -> dict[str, Any]:
    tested = ranking.close_times[ranking.train :]
    return {
        "symbol": symbol,
        "interval": str(ranking.interval),
        "loss": ranking.loss,
        "train": {"rows": ranking.train, **_period(ranking.close_times[: ranking.train])},
        "test": {"rows": len(tested), **_period(tested), "up": ranking.ups, "down": ranking.downs},
        "fits": len(ranking.entries),
        "new_trials": new,
        "trials": found.trials,
        "expected_maximum_sharpe": found.expected_maximum,
        "probabilistic_sharpe": found.probabilistic,
        "deflated_sharpe": found.deflated,
        "subsets": [_entry(entry, ranking) for entry in ranking.entries],
    }


def _entry(entry: Entry, ranking: Ranking) -> dict[str, Any]:
    return {
        "lags": list(entry.lags),
        "weights": list(entry.weights),
        "bias": entry.bias,
        "parameters": entry.parameters,
        "horizon": str(ranking.interval),
        "train_loss": entry.train_loss,
        "train_sharpe": entry.train_sharpe,
        "test_l1": entry.test_l1,
        **entry.metrics,
        "longs": entry.longs,
        "shorts": entry.shorts,
        "best_trade": entry.best_trade,
        "worst_trade": entry.worst_trade,
    }


def _walked(found: Walk, symbol: str, interval: Interval, loss: str, recorded: int) -> dict[str, Any]:
    windows = found.windows
    return {
        "symbol": symbol,
        "interval": str(interval),
        "loss": loss,
        "scheme": windows.scheme,
        "train": windows.train,
        "test": windows.test,
        "step": windows.step,
        "fits": found.fits,
        "trials": recorded,
        "mean_ev": found.mean_ev,
        "positive": found.positive,
        "folds": [_fold(fold) for fold in found.folds],
        "metrics": found.metrics,
        "curve": [
            {"close": close.isoformat(), "forecast": forecast, "log_return": earned, "total": total}
            for close, forecast, earned, total in zip(
                found.close_times,
                found.forecasts.tolist(),
                found.earned.tolist(),
                found.earned.cumsum().tolist(),
                strict=True,
            )
        ],
    }


def _fold(fold: Fold) -> dict[str, Any]:
    return {
        "train": {"rows": fold.rows, **_period((fold.train_first, fold.train_last))},
        "test": {"rows": fold.metrics["n"], **_period((fold.test_first, fold.test_last))},
        "lags": list(fold.lags),
        "weights": list(fold.weights),
        "bias": fold.bias,
        "ev": fold.metrics["ev"],
        "sharpe": fold.metrics["sharpe"],
        "win_rate": fold.metrics["win_rate"],
        "total_log_return": fold.metrics["total_log_return"],
    }


def _period(closes: tuple[datetime, ...]) -> dict[str, str]:
    return {"first_close": closes[0].isoformat(), "last_close": closes[-1].isoformat()}
