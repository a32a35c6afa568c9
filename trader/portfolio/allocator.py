"""From directions to fractions of equity."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ExposureAllocator:
    """Give every direction the same share of an exposure, so that profits compound.

    `exposure` is the gross target notional over equity, split evenly over the strategy's symbols; `cap` bounds the
    share of any one symbol.
    """

    exposure: float
    cap: float | None = None

    def weights(self, directions: Mapping[str, int]) -> dict[str, float]:
        """Return signed fractions of equity, one for each direction given."""
        if not directions:
            return {}
        share = self.exposure / len(directions)
        if self.cap is not None:
            share = min(share, self.cap)
        return {symbol: direction * share for symbol, direction in directions.items()}
