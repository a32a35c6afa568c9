"""Let the bars of the tape reach what waits: resting limit orders and conditional orders.

A bar's path is unknown, so what its prices reach is taken in the order of the distance from its open. Before each of
them the liquidation test is made at its price: a stop that lies beyond the liquidation price comes too late.
"""

from decimal import ROUND_FLOOR, Decimal

from trader.sim import conditional, forced, matching
from trader.sim.errors import Refusal
from trader.sim.floor import Floor
from trader.sim.money import exact
from trader.sim.records import Algo, Order

# A resting order takes at most this share of the volume of a bar that trades through it.
SHARE_OF_VOLUME = Decimal("0.1")


def waiting(floor: Floor) -> bool:
    """Tell whether anything waits for a price."""
    return bool(floor.waiting) or any(order.type == "LIMIT" for order in floor.open.values())


def ended(floor: Floor, opened: int) -> None:
    """Play the bar that began at ``opened`` and has just ended against what waits."""
    for symbol in _symbols(floor):
        series = floor.tape.series[symbol]
        index = (opened - series.first) // series.spacing
        if not 0 <= index < len(series.open):
            continue
        start, low, high = (exact(each[index]) for each in (series.open, series.low, series.high))
        most = exact(series.volume[index]) * SHARE_OF_VOLUME
        for item, price in _due(floor, symbol, low, high, start):
            _liquidate_at(floor, symbol, price, opened)
            if isinstance(item, Algo):
                if item.algo_id in floor.waiting:
                    conditional.fire(floor, item, item.trigger)
            elif item.order_id in floor.open:
                _fill(floor, item, most)


def gap(floor: Floor) -> None:
    """Let the first price after a bar reach what waits: conditional orders at it, limit orders at their own price."""
    for symbol in _symbols(floor):
        price = floor.price(symbol)
        for item, _ in _due(floor, symbol, price, price, price):
            if isinstance(item, Algo):
                if item.algo_id in floor.waiting:
                    conditional.fire(floor, item, None)
            elif item.order_id in floor.open:
                _fill(floor, item, None)


def _symbols(floor: Floor) -> list[str]:
    open_, waiting_ = floor.open.values(), floor.waiting.values()
    return sorted({order.symbol for order in open_} | {algo.symbol for algo in waiting_})


def _due(floor: Floor, symbol: str, low: Decimal, high: Decimal, start: Decimal) -> list[tuple[Order | Algo, Decimal]]:
    """List what prices from low to high reach, with the price at which they do, the nearest to ``start`` first."""
    due: list[tuple[Order | Algo, Decimal]] = [
        (order, order.price)
        for order in floor.open.values()
        if order.symbol == symbol
        and order.type == "LIMIT"
        and (low < order.price if order.direction > 0 else high > order.price)
    ]
    due += [
        (algo, algo.trigger)
        for algo in floor.waiting.values()
        if algo.symbol == symbol and conditional.reached(algo, low, high)
    ]
    return sorted(due, key=lambda pair: abs(pair[1] - start))


def _liquidate_at(floor: Floor, symbol: str, price: Decimal, opened: int) -> None:
    if floor.account.positions:
        series = floor.tape.series
        forced.liquidate(floor, lambda each: price if each.symbol == symbol else series[each.symbol].price(opened))


def _fill(floor: Floor, order: Order, most: Decimal | None) -> None:
    step = floor.instruments[order.symbol].lot.step
    quantity = order.left
    if most is not None:
        quantity = min(quantity, max(step, (most / step).to_integral_value(rounding=ROUND_FLOOR) * step))
    try:
        matching.fill_resting(floor, order, quantity, order.price)
    except Refusal:
        floor.cancel(order, "EXPIRED")
