"""Trade one symbol in the direction of an autoregressive forecast.

At each close the next log return is forecast from the last few, and the account holds a fixed fraction of its equity in
the forecast's direction until the direction changes.
"""

from dataclasses import dataclass

from trader.forecast.linear import LinearForecaster
from trader.portfolio.policy import SignPolicy
from trader.strategies.one_symbol import OneSymbol


@dataclass(frozen=True, slots=True)
class ArStrategy(OneSymbol):
    """A linear forecaster of the log return, and the sign of what it says."""

    forecaster: LinearForecaster
    policy: SignPolicy
