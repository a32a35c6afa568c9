"""Hold one futures account: wallet, positions, settings, and the margin numbers that follow from prices."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal

from trader.sim.instruments import Instrument
from trader.sim.money import ZERO, q8, sign
from trader.sim.records import Position, Setting

Price = Callable[[str], Decimal]
Key = tuple[str, str]


@dataclass(slots=True)
class Account:
    """Hold the money. Isolated margins are part of the wallet; ``positions`` keeps only open ones."""

    wallet: Decimal
    dual: bool = False
    multi_assets: bool = False
    positions: dict[Key, Position] = field(default_factory=dict)
    settings: dict[str, Setting] = field(default_factory=dict)
    update_time: int = 0

    def setting(self, symbol: str) -> Setting:
        """Give the symbol's setting; 20x cross as on a new account."""
        return self.settings.get(symbol) or Setting(symbol)

    def isolated(self, without: Position | None = None) -> Decimal:
        """Add up the isolated margins."""
        return sum((each.margin for each in self.positions.values() if each is not without), ZERO)

    def cross(self) -> list[Position]:
        """List the cross positions."""
        return [each for each in self.positions.values() if not self.setting(each.symbol).isolated]

    def of(self, symbol: str) -> list[Position]:
        """List the positions of a symbol."""
        return [each for each in self.positions.values() if each.symbol == symbol]


def unrealised(position: Position, price: Decimal) -> Decimal:
    """Value a position against what it cost."""
    return q8(position.quantity * price - position.cost)


def initial_margin(position: Position, price: Decimal, leverage: int) -> Decimal:
    """Give what a position binds at a price."""
    return q8(abs(position.quantity) * price / leverage)


def maintenance(position: Position, price: Decimal, instrument: Instrument) -> Decimal:
    """Give the maintenance margin at a price: the bracket's rate on the notional, less its cumulated amount."""
    notional = abs(position.quantity) * price
    bracket = instrument.bracket(notional)
    return bracket.rate * notional - bracket.cum


def available(account: Account, price: Price, without: Position | None = None, reserved: Decimal = ZERO) -> Decimal:
    """Give what an opening order may bind: wallet, less isolated and cross initial margins, less cross losses.

    ``without`` leaves a position out, as if it had been closed at no profit; ``reserved`` is bound by resting orders.
    """
    free = account.wallet - account.isolated(without) - reserved
    profit = ZERO
    for position in account.cross():
        if position is without:
            continue
        mark = price(position.symbol)
        free -= initial_margin(position, mark, account.setting(position.symbol).leverage)
        profit += unrealised(position, mark)
    return free + min(profit, ZERO)


def reduce(position: Position, quantity: Decimal, price: Decimal) -> tuple[Decimal, Decimal, Decimal]:
    """Work out closing an unsigned ``quantity`` of a position: (realised pnl, released cost, released margin)."""
    held = abs(position.quantity)
    if quantity == held:
        cost, margin = position.cost, position.margin
    else:
        cost, margin = q8(position.cost * quantity / held), q8(position.margin * quantity / held)
    return q8(quantity * price * sign(position.quantity) - cost), cost, margin


def cushion(account: Account, instruments: Mapping[str, Instrument], price: Price) -> Decimal:
    """Give what the cross wallet and all cross profit exceed all cross maintenance margins by."""
    left = account.wallet - account.isolated()
    for position in account.cross():
        mark = price(position.symbol)
        left += unrealised(position, mark) - maintenance(position, mark, instruments[position.symbol])
    return left


def liquidation_price(
    account: Account, position: Position, instrument: Instrument, price: Price, left: Decimal
) -> Decimal:
    """Find the price at which a position meets its maintenance margin (0: none), in its present bracket.

    A cross one takes the whole account with it: ``left`` is its ``cushion``, and the others stay at their prices.
    """
    mark = price(position.symbol)
    held = abs(position.quantity)
    bracket = instrument.bracket(held * mark)
    margin = position.margin
    if not account.setting(position.symbol).isolated:
        margin = left - unrealised(position, mark) + maintenance(position, mark, instrument)
    slope = position.quantity - bracket.rate * held
    if slope == 0:
        return ZERO
    return max(ZERO, q8((position.cost - margin - bracket.cum) / slope))
