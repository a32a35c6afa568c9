"""Compare what the journal believes with what the exchange says; pure."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal

from trader.domain.account import Account
from trader.domain.order import Fill

FORCED = ("autoclose-", "adl_autoclose", "settlement_autoclose-")
"""First letters of the client ids of orders the exchange itself sends: liquidation, auto-deleveraging, delisting."""


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
