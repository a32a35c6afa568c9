"""Take positions away without being asked: liquidation, auto-deleveraging, settlement of a delisted symbol."""

from collections.abc import Callable
from decimal import Decimal

from trader.sim.account import maintenance, reduce, unrealised
from trader.sim.floor import Floor, Ticket
from trader.sim.money import ZERO, q8, sign
from trader.sim.records import Position


def liquidate(floor: Floor, at: Callable[[Position], Decimal]) -> None:
    """Liquidate what misses its maintenance margin at the given prices, and cancel the orders that stood with it."""
    for position in list(floor.account.positions.values()):
        if not floor.account.setting(position.symbol).isolated:
            continue
        price = at(position)
        equity = position.margin + position.quantity * price - position.cost
        if equity <= maintenance(position, price, floor.instruments[position.symbol]):
            take_margin(floor, position)
    _liquidate_cross(floor, at)


def take_margin(floor: Floor, position: Position) -> None:
    """Liquidate an isolated position: its whole margin is lost."""
    bankruptcy = q8((position.cost - position.margin) / position.quantity)
    _cancel_orders(floor, position.symbol)
    _seize(floor, position, bankruptcy, -position.margin, f"autoclose-{floor.now}")


def _liquidate_cross(floor: Floor, at: Callable[[Position], Decimal]) -> None:
    """Close all cross positions when together they miss their maintenance margin; the cross wallet is lost.

    Each counts at its own given price. At the end of a bar that is its worst one, as if all had been there at once:
    no bar says that they were not.
    """
    account = floor.account
    positions = account.cross()
    if not positions:
        return
    pairs = [(position, at(position)) for position in positions]
    equity = account.wallet - account.isolated()
    equity += sum((position.quantity * price - position.cost for position, price in pairs), ZERO)
    needed = sum((maintenance(each, price, floor.instruments[each.symbol]) for each, price in pairs), ZERO)
    if equity > needed:
        return
    take_cross(floor, pairs)


def take_cross(floor: Floor, pairs: list[tuple[Position, Decimal]]) -> None:
    """Liquidate all cross positions at the given prices, the largest loss first: the whole cross wallet is lost.

    Binance closes one after the other until the rest is carried, and its clearance fee takes most of what that frees;
    that nothing is left is the careful reading.
    """
    pairs = sorted(pairs, key=lambda pair: (unrealised(*pair), pair[0].symbol, pair[0].side))
    for symbol in {position.symbol for position, _ in pairs}:
        _cancel_orders(floor, symbol)
    for position, price in pairs:
        _seize(floor, position, price, unrealised(position, price), f"autoclose-{floor.now}")
    rest = floor.account.wallet - floor.account.isolated()
    if rest:
        floor.pay(pairs[-1][0].symbol, "INSURANCE_CLEAR", -rest)


def deleverage(floor: Floor, position: Position, quantity: Decimal) -> None:
    """Close an unsigned part of a position against a bankrupt one: at the mark price, without a fee."""
    price = floor.price(position.symbol)
    pnl, cost, margin = reduce(position, quantity, price)
    _close(floor, position, quantity, price, (pnl, cost, margin), "adl_autoclose")


def settle_symbol(floor: Floor, symbol: str) -> None:
    """End a symbol: its orders expire, its positions are closed at the mark price, without a fee."""
    _cancel_orders(floor, symbol, "EXPIRED")
    for algo in [each for each in floor.waiting.values() if each.symbol == symbol]:
        floor.end_algo(algo, "EXPIRED")
    for position in floor.account.of(symbol):
        price, quantity = floor.price(symbol), abs(position.quantity)
        _close(floor, position, quantity, price, reduce(position, quantity, price), f"settlement_autoclose-{floor.now}")


def _cancel_orders(floor: Floor, symbol: str, status: str = "CANCELED") -> None:
    for order in [each for each in floor.open.values() if each.symbol == symbol]:
        floor.cancel(order, status)


def _seize(floor: Floor, position: Position, price: Decimal, pnl: Decimal, client_id: str) -> None:
    """Take a whole position away at a price and a profit, with one order and one trade."""
    _close(floor, position, abs(position.quantity), price, (pnl, position.cost, position.margin), client_id)


def _close(
    floor: Floor,
    position: Position,
    quantity: Decimal,
    price: Decimal,
    released: tuple[Decimal, Decimal, Decimal],
    client_id: str,
) -> None:
    pnl, cost, margin = released
    direction = -sign(position.quantity)
    ticket = Ticket(
        position.symbol, direction, quantity, True, position.side, client_id, "LIMIT", price, time_in_force="IOC"
    )
    order = floor.new_order(ticket)
    floor.fill_order(order, quantity, price)
    floor.trade(order, price, quantity, pnl, ZERO)
    position.quantity += direction * quantity
    position.cost -= cost
    position.margin -= margin
    position.update_time = floor.now
    if position.quantity == 0:
        floor.drop(position)
        floor.tidy(position.symbol)
