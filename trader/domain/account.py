"""What the account holds, as the exchange tells it."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Literal

MarginMode = Literal["isolated", "cross"]


@dataclass(frozen=True, slots=True)
class Position:
    """One open position; `quantity` is signed (long > 0), prices are in quote currency."""

    symbol: str
    quantity: Decimal
    entry_price: Decimal
    unrealised: Decimal


@dataclass(frozen=True, slots=True)
class Account:
    """The account at one moment of venue time, in USDT; only symbols with a position are listed.

    `wallet` is realised money, `equity` is wallet plus unrealised profit at the mark price, `available` can be used as
    new margin.
    """

    time: datetime
    wallet: Decimal
    equity: Decimal
    available: Decimal
    positions: Mapping[str, Position]

    def quantity(self, symbol: str) -> Decimal:
        """Return the signed quantity held, zero where there is no position."""
        position = self.positions.get(symbol)
        return position.quantity if position else Decimal(0)


@dataclass(frozen=True, slots=True)
class Setup:
    """How the account is configured for one symbol."""

    symbol: str
    leverage: int
    margin_mode: MarginMode
    hedge_mode: bool
    multi_assets: bool
    can_trade: bool


@dataclass(frozen=True, slots=True)
class KeyRights:
    """What an API key may do; `transfer` is moving money to other wallets or accounts of the same owner."""

    read: bool
    trade_futures: bool
    withdraw: bool
    transfer: bool
    bound_to_address: bool


@dataclass(frozen=True, slots=True)
class Income:
    """One booking on the wallet: funding, commission, realised profit, transfer or insurance.

    `amount` is signed: positive is received. `kind` is the exchange's word: FUNDING_FEE, COMMISSION, REALIZED_PNL, ...
    """

    id: str
    kind: str
    symbol: str
    amount: Decimal
    time: datetime
    trade_id: str
