"""From directions to fractions of equity, or of a fixed capital."""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal


@dataclass(frozen=True, slots=True)
class ExposureAllocator:
    """Give every direction the same share of an exposure.

    `exposure` is the gross target notional over equity, split evenly over the strategy's symbols; `cap` bounds the
    share of any one symbol. Without a `capital` the equity of the moment is what is shared, so that profits compound;
    with one (in USDT) every trade has the same size, whatever was won or lost before it.
    """

    exposure: float
    cap: float | None = None
    capital: Decimal | None = None

    def weights(self, directions: Mapping[str, float]) -> dict[str, float]:
        """Return signed fractions of equity or capital, one for each direction (-1 to 1) given."""
        if not directions:
            return {}
        share = self.exposure / len(directions)
        if self.cap is not None:
            share = min(share, self.cap)
        return {symbol: direction * share for symbol, direction in directions.items()}
