"""Trade one symbol by a recurrent network's idea of which way the next candle closes.

At each close the network passes over exactly its last window of candles. The account holds a fixed fraction of its
equity in the likelier direction (`sign`), or as much of that fraction as the two probabilities differ (`proportional`).
"""

from dataclasses import dataclass

from trader.forecast.gru import GruForecaster
from trader.portfolio.policy import ProportionalPolicy, SignPolicy
from trader.strategies.one_symbol import OneSymbol


@dataclass(frozen=True, slots=True)
class GruStrategy(OneSymbol):
    """A recurrent forecaster of the direction, and what to make of the two probabilities."""

    forecaster: GruForecaster
    policy: SignPolicy | ProportionalPolicy
