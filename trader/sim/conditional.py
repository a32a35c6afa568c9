"""Keep conditional (algo) orders: what may be placed, when they trigger, and which order they then become.

Binance keeps them apart from the orders of its matching engine since December 2025; what is assumed here beyond its
documents stands in docs/embedded-exchange.md.
"""

from dataclasses import dataclass
from decimal import Decimal

from trader.sim import matching
from trader.sim.errors import Refusal
from trader.sim.floor import Floor, Ticket
from trader.sim.money import ONE, decimals
from trader.sim.records import Algo, Order

TYPES = ("STOP_MARKET", "TAKE_PROFIT_MARKET", "STOP", "TAKE_PROFIT")


@dataclass(frozen=True, slots=True)
class Condition:
    """Hold a conditional order as asked; ``quantity`` is 0 with ``close_position``, ``price`` 0 for a market order."""

    symbol: str
    direction: int
    type: str
    trigger: Decimal
    quantity: Decimal
    price: Decimal
    position_side: str
    time_in_force: str
    working_type: str
    close_position: bool
    reduce_only: bool
    price_protect: bool
    client_id: str

    @property
    def upward(self) -> bool:
        """Tell whether it waits for the price to rise."""
        return (self.direction > 0) == self.type.startswith("STOP")

    @property
    def bound(self) -> bool:
        """Tell whether it lives no longer than the position it would close."""
        return self.close_position or self.time_in_force == "GTE_GTC"


def place(floor: Floor, asked: Condition) -> Algo:
    """Accept a conditional order; margin is asked for only when it triggers."""
    _check(floor, asked)
    algo = Algo(
        algo_id=floor.next_algo,
        client_id=asked.client_id,
        symbol=asked.symbol,
        side="BUY" if asked.direction > 0 else "SELL",
        position_side=asked.position_side,
        type=asked.type,
        quantity=asked.quantity,
        trigger=asked.trigger,
        price=asked.price,
        time_in_force="GTE_GTC" if asked.close_position else asked.time_in_force,
        working_type=asked.working_type,
        close_position=asked.close_position,
        reduce_only=asked.reduce_only or asked.close_position,
        price_protect=asked.price_protect,
        status="NEW",
        order_id=0,
        create_time=floor.now,
        update_time=floor.now,
        trigger_time=0,
    )
    floor.next_algo += 1
    floor.waiting[algo.algo_id] = algo
    floor.news.algos.append(algo)
    return algo


def _check(floor: Floor, asked: Condition) -> None:
    instrument, mark = floor.instruments[asked.symbol], floor.price(asked.symbol)
    if asked.trigger <= 0:
        raise Refusal(-4006, "Stop price less than zero.")
    if asked.trigger % instrument.tick:
        over = decimals(asked.trigger) > decimals(instrument.tick)
        raise (
            Refusal(-1111, "Precision is over the maximum defined for this asset.")
            if over
            else Refusal(-4014, "Price not increased by tick size.")
        )
    if instrument.max_price and asked.trigger > instrument.max_price:
        raise Refusal(-4007, "Stop price greater than max price.")
    if asked.upward == (mark >= asked.trigger) or mark == asked.trigger:
        raise Refusal(-2021, "Order would immediately trigger.")
    if not asked.close_position:
        matching.check_sizes(floor, _ticket(asked, asked.quantity))
    same = [each for each in floor.waiting.values() if each.symbol == asked.symbol]
    if len(same) >= instrument.max_algos:
        raise Refusal(-4045, "Reach max stop order limit.")
    if asked.bound and floor.held(asked.symbol, asked.position_side) * asked.direction >= 0:
        raise Refusal(
            -4509,
            "Time in Force (TIF) GTE can only be used with open positions. Please ensure that positions are available.",
        )
    twins = [each for each in same if each.close_position and each.direction == asked.direction]
    if asked.close_position and any(
        (each.type, each.position_side) == (asked.type, asked.position_side) for each in twins
    ):
        raise Refusal(
            -4130, "An open stop or take profit order with GTE and closePosition in the direction is existing."
        )


def _ticket(asked: Condition, quantity: Decimal) -> Ticket:
    kind = "MARKET" if asked.type.endswith("MARKET") else "LIMIT"
    return Ticket(
        asked.symbol,
        asked.direction,
        quantity,
        asked.reduce_only,
        asked.position_side,
        asked.client_id,
        kind,
        asked.price,
    )


def fire(floor: Floor, algo: Algo, base: Decimal | None) -> None:
    """Turn a triggered algo order into an order at the price of now (or from ``base``); one refused is REJECTED."""
    del floor.waiting[algo.algo_id]
    algo.trigger_time = algo.update_time = floor.now
    held = abs(floor.held(algo.symbol, algo.position_side))
    kind = "MARKET" if algo.type.endswith("MARKET") else "LIMIT"
    tif = "GTC" if algo.time_in_force == "GTE_GTC" else algo.time_in_force
    quantity = held if algo.close_position else algo.quantity
    ticket = Ticket(
        algo.symbol,
        algo.direction,
        quantity,
        algo.reduce_only,
        algo.position_side,
        algo.client_id,
        kind,
        algo.price,
        tif,
    )
    try:
        order = _send(floor, algo, ticket, base)
    except Refusal:
        floor.end_algo(algo, "REJECTED")
        return
    algo.order_id, algo.status = order.order_id, "TRIGGERED"
    floor.news.algos.append(algo)
    if order.order_id in floor.open:
        floor.triggered[order.order_id] = algo
    else:
        floor.end_algo(algo, "FINISHED")


def _send(floor: Floor, algo: Algo, ticket: Ticket, base: Decimal | None) -> Order:
    if algo.close_position:
        # The whole position, whatever LOT_SIZE says: that is what closePosition is for.
        more = {"orig_type": algo.type, "stop_price": algo.trigger, "close_position": True}
        return matching.market(floor, ticket, ONE, base, **more)
    ticket = matching.admit(floor, ticket)
    if ticket.kind == "LIMIT":
        return matching.place_limit(floor, ticket, ONE, orig_type=algo.type, stop_price=algo.trigger)
    return matching.market(floor, ticket, ONE, base, orig_type=algo.type, stop_price=algo.trigger)


def reached(algo: Algo, low: Decimal, high: Decimal) -> bool:
    """Tell whether prices from ``low`` to ``high`` touch the trigger."""
    return high >= algo.trigger if algo.upward else low <= algo.trigger
