"""What the ledger writes down: orders, algo orders, trades, incomes, positions and settings, plain values only."""

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
    price: Decimal = ZERO
    orig_type: str = "MARKET"
    stop_price: Decimal = ZERO
    close_position: bool = False
    stp: str = "EXPIRE_MAKER"

    @property
    def direction(self) -> int:
        """Give +1 for a buy, -1 for a sell."""
        return 1 if self.side == "BUY" else -1

    @property
    def left(self) -> Decimal:
        """Give what is not executed yet."""
        return self.orig_qty - self.executed_qty


@dataclass(slots=True)
class Algo:
    """Hold one conditional order; when ``trigger`` is reached it becomes the order ``order_id`` (0 until then)."""

    algo_id: int
    client_id: str
    symbol: str
    side: str
    position_side: str
    type: str
    quantity: Decimal
    trigger: Decimal
    price: Decimal
    time_in_force: str
    working_type: str
    close_position: bool
    reduce_only: bool
    price_protect: bool
    status: str
    order_id: int
    create_time: int
    update_time: int
    trigger_time: int

    @property
    def direction(self) -> int:
        """Give +1 for a buy, -1 for a sell."""
        return 1 if self.side == "BUY" else -1

    @property
    def upward(self) -> bool:
        """Tell whether it waits for the price to rise to its trigger."""
        return (self.side == "BUY") == self.type.startswith("STOP")


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
    maker: bool = False
    commission_asset: str = "USDT"


@dataclass(frozen=True, slots=True)
class Income:
    """Hold one change of a wallet; that of USDT is the starting equity plus all in USDT."""

    tran_id: int
    symbol: str
    income_type: str
    income: Decimal
    time: int
    trade_id: int
    order_id: int
    asset: str = "USDT"


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
