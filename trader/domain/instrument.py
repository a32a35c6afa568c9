"""What the exchange allows for one symbol."""

from dataclasses import dataclass
from decimal import ROUND_CEILING, ROUND_DOWN, ROUND_FLOOR, Decimal


@dataclass(frozen=True, slots=True)
class Bracket:
    """One tier of leverage and maintenance margin, by position notional in quote currency."""

    floor: Decimal
    cap: Decimal
    max_leverage: int
    maintenance_rate: Decimal
    maintenance_amount: Decimal


@dataclass(frozen=True, slots=True)
class Instrument:
    """The trading rules of one USDT-margined perpetual.

    Prices are in quote currency per unit of base, quantities in base. `step`, `min_quantity` and `max_quantity` are the
    stricter of LOT_SIZE and MARKET_LOT_SIZE, because every order here is a market order.
    """

    symbol: str
    status: str
    tick: Decimal
    step: Decimal
    min_quantity: Decimal
    max_quantity: Decimal
    min_notional: Decimal
    brackets: tuple[Bracket, ...] = ()

    @property
    def trading(self) -> bool:
        """Whether new exposure may be opened."""
        return self.status == "TRADING"

    def steps(self, quantity: Decimal) -> int:
        """Count whole steps in a signed quantity, rounding toward zero."""
        return int((quantity / self.step).to_integral_value(ROUND_DOWN))

    def quantity(self, steps: int) -> Decimal:
        """Return the signed quantity of so many whole steps."""
        return self.step * steps

    def round_price(self, price: Decimal, *, up: bool) -> Decimal:
        """Round a price to the tick, up or down."""
        ticks = (price / self.tick).to_integral_value(ROUND_CEILING if up else ROUND_FLOOR)
        return ticks * self.tick

    def bracket(self, notional: Decimal) -> Bracket:
        """Return the tier of a position's absolute notional; beyond the last cap it is the last tier."""
        for bracket in self.brackets:
            if notional <= bracket.cap:
                return bracket
        return self.brackets[-1]
