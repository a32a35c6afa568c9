"""From a forecast to a direction, or from the forecasts of many symbols to targets."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from trader.domain.decision import Forecast
from trader.forecast.section import tenths
from trader.market.panel import TENTHS


class Policy(Protocol):
    """What to make of a forecast."""

    def direction(self, forecast: Forecast, held: int) -> float:
        """Return from -1 (all short) to 1 (all long), where `held` is the sign of the position held now."""
        ...


@dataclass(frozen=True, slots=True)
class SignPolicy:
    """Follow the sign of the forecast, and keep the present side where it says too little.

    `threshold` is a log return; a forecast of exactly zero, or one smaller than the threshold, starts no trade.
    """

    threshold: float = 0.0

    def direction(self, forecast: Forecast, held: int) -> int:
        """Return -1, 0 or 1, where `held` is the sign of the position held now."""
        if forecast.value == 0.0 or abs(forecast.value) < self.threshold:
            return held
        return 1 if forecast.value > 0.0 else -1


@dataclass(frozen=True, slots=True)
class ProportionalPolicy:
    """Hold as much as the forecast says: its value is a share from -1 to 1, such as the probability of up less down.

    A forecast smaller than `threshold` holds nothing.
    """

    threshold: float = 0.0

    def direction(self, forecast: Forecast, held: int) -> float:
        """Return the forecast itself, no further than -1 and 1; `held` does not matter."""
        if abs(forecast.value) < self.threshold:
            return 0.0
        return max(-1.0, min(1.0, forecast.value))


Direction = Literal["harvest", "pay"]
"""Which side of the carry is held: the one that is paid for being held, or the one that pays."""


@dataclass(frozen=True, slots=True)
class TenthPolicy:
    """Turn ranks across a universe into targets by a logistic curve.

    The tenths 1 to 10 of the forecast lie evenly on -1 to 1; the target is 2 * bound / (1 + exp(-slope * (x - offset)))
    - bound, so that at offset 0 the best tenth is held long as much as the worst is held short. `direction` harvest
    holds the greatest forecasts long, pay the smallest.
    """

    direction: Direction = "harvest"
    slope: float = 1.0
    offset: float = 0.0
    bound: float = 0.9

    def targets(self, ranks: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return a signed target for each tenth from 1 to 10; 0 for 0, which is no rank."""
        places = np.arange(1, TENTHS + 1) if self.direction == "harvest" else np.arange(TENTHS, 0, -1)
        alphas = (places - 1) / (TENTHS - 1) * 2.0 - 1.0
        # ten numbers, once: no result depends on how many are asked for
        curve = [2 * self.bound / (1 + math.exp(-self.slope * (alpha - self.offset))) - self.bound for alpha in alphas]
        return np.array([0.0, *curve])[ranks]

    def of(self, forecasts: Mapping[str, Forecast]) -> dict[str, float]:
        """Return a target for each symbol of one close, by the rank of its forecast among all given."""
        names = sorted(forecasts)
        values = np.array([[forecasts[name].value for name in names]], dtype=np.float64)
        found = self.targets(tenths(values, np.ones(values.shape, dtype=bool)))
        return dict(zip(names, found[0].tolist(), strict=True)) if names else {}
