"""The models that ship with the project: how to make them again, and what is honestly known of them."""

from datetime import UTC, datetime

import numpy as np
import polars as pl

from trader.domain.interval import Interval
from trader.errors import ConfigError
from trader.forecast.artifact import Model
from trader.forecast.card import Gate, Verdict
from trader.forecast.fit import FITS
from trader.market.candles import spacing
from trader.market.resample import resample
from trader.research.dataset import supervised
from trader.research.metrics import signal_metrics
from trader.research.train import Judgement, train_ar

# The research that chose these lags and losses tried every subset of four lags, and had seen the closes of the test.
_SHIPPED = {"ada-ar-16h": ("16h", (1,), "l1"), "ada-ar-12h": ("12h", (1, 2), "mse")}
_TRIALS = 15
_SYMBOL = "ADAUSDT"

_SPLIT = datetime(2025, 5, 1, tzinfo=UTC)
_CREATED = datetime(2026, 11, 21, tzinfo=UTC)
_EXPIRES = datetime(2027, 2, 8, tzinfo=UTC)

_FEE = 0.0005  # a taker's, on each side
_FEWEST_CLOSES = 250
_FEWEST_FOLDS = 0.6


def shipped_model(name: str, candles: pl.DataFrame) -> Model:
    """Train a shipped model again from ADAUSDT candles of its whole history, and judge it by what can be measured here.

    Raises:
        ConfigError: no model of that name ships.
        DataError: the candles cannot be used.
    """
    if name not in _SHIPPED:
        raise ConfigError(f"No model {name} ships; choose {' or '.join(_SHIPPED)}.")
    text, lags, loss = _SHIPPED[name]
    interval = Interval.parse(text)
    ours = candles.filter(pl.col("symbol") == _SYMBOL)

    def train(judgement: Judgement | None) -> Model:
        return train_ar(
            ours,
            interval,
            lags,
            loss,
            name=name,
            split=_SPLIT,
            created=_CREATED,
            expires=_EXPIRES,
            judgement=judgement,
        )

    return train(_judge(train(None), resample(ours, spacing(ours), interval)))


def _judge(model: Model, history: pl.DataFrame) -> Judgement:
    test, train = model.card.metrics["test"], model.card.metrics["train"]
    once, twice = (_after_fees(model, history, fee) for fee in (_FEE, 2 * _FEE))
    positive, folds = _walk_forward(model, history)
    closes = int(test["n"] or 0)
    gates = {
        "closes": _gate(closes, closes >= _FEWEST_CLOSES, f"at least {_FEWEST_CLOSES} closes that no fit has seen"),
        "twice_the_cost": _gate(twice[0], twice[0] > 0, "a positive log return at twice the taker fee"),
        "walk_forward": _gate(
            positive / folds,
            positive >= _FEWEST_FOLDS * folds,
            f"at least {_FEWEST_FOLDS} of quarterly refits positive",
        ),
    }
    reason = (
        f"On the {closes} closes after its training its Sharpe was {test['sharpe']:.2f} before costs and {once[1]:.2f} "
        f"after taker fees of {_FEE} (no funding counted), where always short had {test['always_short_sharpe']:.2f}; "
        f"in training it was {train['sharpe']:.2f}, its lags and loss were chosen among {_TRIALS} fits by research "
        f"that had seen those closes, and refitted every quarter on the year before only {positive} of {folds} "
        "quarters earned anything."
    )
    # What is measured here can refuse a model; only the whole evidence could let it trade money.
    verdict: Verdict = "UNJUDGED" if all(gate.passed for gate in gates.values()) else "NO-GO"
    return Judgement(verdict, reason, gates, _TRIALS)


def _gate(value: float, passed: bool, needed: str) -> Gate:
    return Gate(value=round(float(value), 6), needed=needed, passed=passed)


def _after_fees(model: Model, history: pl.DataFrame, fee: float) -> tuple[float, float]:
    """Return the total log return and the Sharpe of the test when every change of side pays the fee on both legs."""
    card = model.card
    rows = supervised(history, card.lags)
    start = rows.until(_SPLIT)
    side = np.sign(model.forecaster.bias + rows.features[start:] @ np.array(model.forecaster.weights))
    net = side * rows.target[start:] - fee * np.abs(np.diff(side, prepend=0.0))
    return float(net.sum()), float(net.mean() / net.std(ddof=1) * np.sqrt(card.interval.per_year))


def _walk_forward(model: Model, history: pl.DataFrame) -> tuple[int, int]:
    """Count quarters with a positive result, and all, each forecast by a fit to the year before it."""
    card = model.card
    rows = supervised(history, card.lags)
    year = int(card.interval.per_year)
    quarter = year // 4
    results = []
    for start in range(year, len(rows.target) - quarter + 1, quarter):
        before, during = slice(start - year, start), slice(start, start + quarter)
        fit = FITS[card.loss](rows.features[before], rows.target[before])
        forecast = fit.bias + rows.features[during] @ np.array(fit.weights)
        results.append(signal_metrics(forecast, rows.target[during], card.interval)["ev"] or 0.0)
    return sum(result > 0 for result in results), len(results)
