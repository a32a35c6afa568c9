"""The models that ship with the project: how to make them again, and what is honestly known of them."""

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from decimal import Decimal
from itertools import chain, combinations

import polars as pl

from trader.domain.interval import Interval
from trader.errors import ConfigError
from trader.execution.fills import Costs
from trader.forecast.artifact import Model
from trader.research.evidence.judge import judge, judged
from trader.research.evidence.trials import trial_of
from trader.research.train import train_ar


@dataclass(frozen=True, slots=True)
class _Recipe:
    """What was fitted, and the pool of lags of which the research that chose them had tried every subset."""

    symbol: str
    interval: Interval
    lags: tuple[int, ...]
    loss: str
    pool: tuple[int, ...]


# The research that chose these lags tried every subset of its pool, and had seen most closes of the test.
_SHIPPED = {
    "ada-ar-16h": _Recipe("ADAUSDT", Interval.parse("16h"), (1,), "l1", (1, 2, 3, 4)),
    "ada-ar-12h": _Recipe("ADAUSDT", Interval.parse("12h"), (1, 2), "mse", (1, 2, 3, 4)),
    "btc-ar-1h": _Recipe("BTCUSDT", Interval.parse("1h"), (1,), "mse", (1, 2, 3, 4, 5)),
}
_HINDSIGHT = "the research that chose its lags and loss had seen most of these closes"

_SPLIT = datetime(2025, 5, 1, tzinfo=UTC)
_CREATED = datetime(2026, 11, 21, tzinfo=UTC)
_EXPIRES = datetime(2027, 2, 8, tzinfo=UTC)
_COSTS = Costs(fee=Decimal("0.0005"), slippage=Decimal("0.0001"), spread=Decimal("0.0002"))


def shipped_fit(name: str, candles: pl.DataFrame, lags: tuple[int, ...] | None = None) -> Model:
    """Train a shipped model again from the candles of its whole history, or another of its pool; judge nothing.

    Raises:
        ConfigError: no model of that name ships.
        DataError: the candles cannot be used.
    """
    one = _recipe(name)
    ours = candles.filter(pl.col("symbol") == one.symbol)
    chosen = one.lags if lags is None else lags
    return train_ar(ours, one.interval, chosen, one.loss, name=name, split=_SPLIT, created=_CREATED, expires=_EXPIRES)


def shipped_model(name: str, candles: pl.DataFrame, funding: pl.DataFrame) -> Model:
    """Train a shipped model again from candles and funding of its whole history, and judge it.

    It is judged as one of the fits to every subset of its pool of lags, which are made again for that.

    Raises:
        ConfigError: no model of that name ships.
        DataError: candles or funding cannot be used.
    """
    one = _recipe(name)
    model = shipped_fit(name, candles)
    subsets = chain.from_iterable(combinations(one.pool, size) for size in range(1, len(one.pool) + 1))
    trials = [fit for lags in subsets if (fit := trial_of(shipped_fit(name, candles, lags).card, "shipped"))]
    ours = candles.filter(pl.col("symbol") == one.symbol)
    found = judge(model, ours, _COSTS, funding=funding, trials=trials)
    return judged(model, replace(found, reason=f"{found.reason.removesuffix('.')}; {_HINDSIGHT}."))


def _recipe(name: str) -> _Recipe:
    if name not in _SHIPPED:
        names = list(_SHIPPED)
        raise ConfigError(f"No model {name} ships that can be made so; choose {', '.join(names[:-1])} or {names[-1]}.")
    return _SHIPPED[name]
