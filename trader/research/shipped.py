"""The models that ship with the project: how to make them again, and what is honestly known of them."""

from dataclasses import replace
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

# The research that chose these lags tried every subset of four, and had seen most closes of the test.
_SHIPPED = {"ada-ar-16h": ("16h", (1,), "l1"), "ada-ar-12h": ("12h", (1, 2), "mse")}
_POOL = (1, 2, 3, 4)
_HINDSIGHT = "the research that chose its lags and loss had seen most of these closes"
_SYMBOL = "ADAUSDT"

_SPLIT = datetime(2025, 5, 1, tzinfo=UTC)
_CREATED = datetime(2026, 11, 21, tzinfo=UTC)
_EXPIRES = datetime(2027, 2, 8, tzinfo=UTC)
_COSTS = Costs(fee=Decimal("0.0005"), slippage=Decimal("0.0001"), spread=Decimal("0.0002"))


def shipped_model(name: str, candles: pl.DataFrame, funding: pl.DataFrame) -> Model:
    """Train a shipped model again from ADAUSDT candles and funding of its whole history, and judge it.

    It is judged as one of the fits to every subset of four lags, which are made again for that.

    Raises:
        ConfigError: no model of that name ships.
        DataError: candles or funding cannot be used.
    """
    if name not in _SHIPPED:
        raise ConfigError(f"No model {name} ships; choose {' or '.join(_SHIPPED)}.")
    text, lags, loss = _SHIPPED[name]
    interval = Interval.parse(text)
    ours = candles.filter(pl.col("symbol") == _SYMBOL)

    def train(chosen: tuple[int, ...]) -> Model:
        return train_ar(ours, interval, chosen, loss, name=name, split=_SPLIT, created=_CREATED, expires=_EXPIRES)

    model = train(lags)
    subsets = chain.from_iterable(combinations(_POOL, size) for size in range(1, len(_POOL) + 1))
    trials = [fit for subset in subsets if (fit := trial_of(train(subset).card, "shipped"))]
    found = judge(model, ours, _COSTS, funding=funding, trials=trials)
    return judged(model, replace(found, reason=f"{found.reason.removesuffix('.')}; {_HINDSIGHT}."))
