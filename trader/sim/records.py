"""What the ledger writes down: orders, trades, incomes, positions and settings, plain values only."""

from dataclasses import dataclass
from decimal import Decimal

from trader.sim.money import ZERO

DEFAULT_LEVERAGE = 20


@dataclass(slots=True)
class Order:
    """Hold one order as the exchange knows it; quantities are unsigned, ``side`` is BUY or SELL."""

    order_id: int
    symbol: str
    client_id: str
    side: str
    position_side: str
    type: str
    reduce_only: bool
    orig_qty: Decimal
    executed_qty: Decimal
    avg_price: Decimal
    cum_quote: Decimal
    status: str
    time_in_force: str
    time: int
    update_time: int


@dataclass(frozen=True, slots=True)
class Trade:
    """Hold one execution; ``qty`` is unsigned, ``commission`` is what was paid."""

    trade_id: int
    order_id: int
    symbol: str
    side: str
    position_side: str
    price: Decimal
    qty: Decimal
    realized_pnl: Decimal
    commission: Decimal
    time: int


@dataclass(frozen=True, slots=True)
class Income:
    """Hold one change of the wallet; the wallet is the starting equity plus all of them."""

    tran_id: int
    symbol: str
    income_type: str
    income: Decimal
    time: int
    trade_id: int
    order_id: int


@dataclass(slots=True)
class Position:
    """Hold a signed quantity, its signed cost (sum of quantity times price) and its isolated margin."""

    symbol: str
    side: str
    quantity: Decimal = ZERO
    cost: Decimal = ZERO
    margin: Decimal = ZERO
    update_time: int = 0


@dataclass(slots=True)
class Setting:
    """Hold what the account chose for a symbol."""

    symbol: str
    leverage: int = DEFAULT_LEVERAGE
    isolated: bool = False


@dataclass(frozen=True, slots=True)
class Terms:
    """State what trading costs: fee, slippage and spread as fractions, and the wallet a new account has."""

    fee: Decimal = Decimal("0.0005")
    slippage: Decimal = Decimal("0.0001")
    spread: Decimal = Decimal("0.0002")
    equity: Decimal = Decimal("10000")
