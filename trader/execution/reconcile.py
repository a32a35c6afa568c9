"""Compare what the journal believes with what the exchange says; pure."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import ROUND_HALF_EVEN, Decimal
from typing import Final

from trader.domain.account import Account
from trader.domain.order import Fill

FORCED = ("autoclose-", "adl_autoclose", "settlement_autoclose-")
"""First letters of the client ids of orders the exchange itself sends: liquidation, auto-deleveraging, delisting."""

TRANSFERS: Final = frozenset(
    {
        "TRANSFER",
        "INTERNAL_TRANSFER",
        "CROSS_COLLATERAL_TRANSFER",
        "STRATEGY_UMFUTURES_TRANSFER",
        "COIN_SWAP_DEPOSIT",
        "COIN_SWAP_WITHDRAW",
        "WELCOME_BONUS",
    }
)
"""Kinds of bookings that bring money in or out and are neither gain nor loss."""
_CENTS = Decimal("1e-8")


def moved(quantity: Decimal, cost: Decimal | None, fill: Fill) -> tuple[Decimal, Decimal | None]:
    """Return quantity and cost of a position after a fill, both signed; a cost of None is not known.

    What is added costs its price; what is taken off takes its share of the cost with it; a position turned around costs
    the price that turned it. Flat costs nothing, which makes an unknown cost known again.
    """
    after = quantity + fill.quantity
    if after == 0:
        return after, Decimal(0)
    if quantity * fill.quantity >= 0:
        return after, None if cost is None else cost + fill.quantity * fill.price
    if after * quantity < 0:
        return after, after * fill.price
    return after, None if cost is None else (cost * after / quantity).quantize(_CENTS, ROUND_HALF_EVEN)


@dataclass(frozen=True, slots=True)
class Difference:
    """One position on which journal and exchange disagree; quantities are signed."""

    symbol: str
    journal: Decimal
    exchange: Decimal

    def __str__(self) -> str:
        return f"{self.symbol}: the journal says {self.journal}, the exchange says {self.exchange}"


def differences(believed: Mapping[str, Decimal], account: Account) -> tuple[Difference, ...]:
    """List every symbol whose quantity differs, over all symbols either side knows."""
    symbols = sorted({*believed, *account.positions})
    pairs = ((symbol, believed.get(symbol, Decimal(0)), account.quantity(symbol)) for symbol in symbols)
    return tuple(Difference(symbol, ours, theirs) for symbol, ours, theirs in pairs if ours != theirs)


def explained_by(difference: Difference, fills: Iterable[Fill]) -> bool:
    """Whether trades unknown to the journal account for a difference exactly."""
    unknown = sum((fill.quantity for fill in fills if fill.symbol == difference.symbol), Decimal(0))
    return difference.journal + unknown == difference.exchange


def forced(client_id: str) -> bool:
    """Whether an order was sent by the exchange itself."""
    return client_id.startswith(FORCED)
