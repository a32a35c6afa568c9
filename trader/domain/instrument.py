"""What the exchange allows for one symbol."""

from dataclasses import dataclass
from datetime import datetime
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

    Prices are in quote currency per unit of base, quantities in base. `step`, `min_quantity` and `max_quantity` satisfy
    LOT_SIZE and MARKET_LOT_SIZE alike, so that one quantity may be sent as a market or as a limit order. The
    multipliers are PERCENT_PRICE's, of the mark price; `max_orders` is how many parts a quantity may be cut into;
    `begins` is when it is traded first and `ends` when for the last time, None where that is not known.
    """

    symbol: str
    status: str
    tick: Decimal
    step: Decimal
    min_quantity: Decimal
    max_quantity: Decimal
    min_notional: Decimal
    brackets: tuple[Bracket, ...] = ()
    multiplier_up: Decimal = Decimal("Infinity")
    multiplier_down: Decimal = Decimal(0)
    min_price: Decimal = Decimal(0)
    max_price: Decimal = Decimal("Infinity")
    max_orders: int = 200
    begins: datetime | None = None
    ends: datetime | None = None

    @property
    def trading(self) -> bool:
        """Whether new exposure may be opened."""
        return self.status == "TRADING"

    @property
    def least(self) -> Decimal:
        """The smallest quantity one order may have, in whole steps."""
        steps = int((self.min_quantity / self.step).to_integral_value(ROUND_CEILING))
        return self.quantity(max(1, steps))

    @property
    def largest_notional(self) -> Decimal:
        """The notional beyond which no leverage allows a position; infinite where the brackets are not known."""
        return self.brackets[-1].cap if self.brackets else Decimal("Infinity")

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

    def limit_price(self, mark: Decimal, slippage: Decimal, *, buys: bool) -> Decimal | None:
        """Return the worst price an order may be given: the last tick within every bound, None where there is none.

        The bounds are the slippage (a fraction of the mark price), PERCENT_PRICE and PRICE_FILTER.
        """
        return self.within(mark * (1 + slippage) if buys else mark * (1 - slippage), mark, buys=buys)

    def within(self, price: Decimal, mark: Decimal, *, buys: bool) -> Decimal | None:
        """Return the last tick no worse than a price and within the exchange's bounds, None where there is none."""
        lowest = max(mark * self.multiplier_down, self.min_price, self.tick)
        highest = min(mark * self.multiplier_up, self.max_price)
        found = self.round_price(min(price, highest) if buys else max(price, lowest), up=not buys)
        return found if lowest <= found <= highest else None

    def admits(self, price: Decimal, mark: Decimal) -> bool:
        """Whether PERCENT_PRICE lets an order fill at a price."""
        return mark * self.multiplier_down <= price <= mark * self.multiplier_up

    def bracket(self, notional: Decimal) -> Bracket:
        """Return the tier of a position's absolute notional; beyond the last cap it is the last tier."""
        for bracket in self.brackets:
            if notional <= bracket.cap:
                return bracket
        return self.brackets[-1]

    def leverage(self, notional: Decimal, wished: int) -> int:
        """Return the leverage to set for a position's notional: the wish, or less where its tier allows less."""
        return min(wished, self.bracket(notional).max_leverage) if self.brackets else wished
