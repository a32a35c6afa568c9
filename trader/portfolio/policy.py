"""From a forecast to a direction."""

from dataclasses import dataclass

from trader.domain.decision import Forecast


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
