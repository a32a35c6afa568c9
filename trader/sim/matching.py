"""Accept, refuse and fill orders. A refused order changes nothing; every check is made before anything is written."""

from dataclasses import dataclass, replace
from decimal import ROUND_FLOOR, Decimal

from trader.sim.account import available, reduce
from trader.sim.errors import Refusal, unknown_symbol
from trader.sim.floor import Floor, Ticket
from trader.sim.instruments import Instrument
from trader.sim.money import ONE, ZERO, decimals, q8, sign
from trader.sim.records import Order, Position


@dataclass(frozen=True, slots=True)
class Fill:
    """Hold what an execution will do: close ``closing`` of the held position, then open ``opening``."""

    price: Decimal
    closing: Decimal
    opening: Decimal
    pnl: Decimal
    cost: Decimal
    margin: Decimal


# -- placing ---------------------------------------------------------------------------------------------------------


def check(floor: Floor, ticket: Ticket) -> Ticket:
    """Refuse an order that would not be accepted now; gives it as it would be executed."""
    ticket = admit(floor, ticket)
    if ticket.kind == "LIMIT":
        _plan_limit(floor, ticket)
    else:
        work_out(floor, ticket, ticket.quantity, _market_price(floor, ticket, None))
    return ticket


def place(floor: Floor, ticket: Ticket, share: Decimal = ONE) -> Order:
    """Accept an order and fill it as far as it can be; ``share`` of a market order (a thin book), then it EXPIRES."""
    ticket = admit(floor, ticket)
    if ticket.kind == "LIMIT":
        return place_limit(floor, ticket, share)
    return market(floor, ticket, share)


def market(floor: Floor, ticket: Ticket, share: Decimal = ONE, base: Decimal | None = None, **more: object) -> Order:
    """Fill an admitted market order at once, at the price of now or moved from ``base``."""
    price = _market_price(floor, ticket, base)
    fill = work_out(floor, ticket, ticket.quantity, price)
    part = _part(floor, ticket, ticket.quantity * share)
    order = floor.new_order(ticket, **more)
    if part == ticket.quantity:
        apply(floor, order, fill)
        return order
    if part:
        apply(floor, order, work_out(floor, ticket, part, price))
    floor.cancel(order, "EXPIRED")
    return order


def rest(floor: Floor, ticket: Ticket) -> Order:
    """Accept an order without filling it yet, also a market order; it stays open until it is settled or cancelled."""
    order = floor.new_order(check(floor, ticket))
    floor.open[order.order_id] = order
    return order


def settle(floor: Floor, order: Order, share: Decimal = ONE) -> None:
    """Fill an order that was held open, at the price of now; one that is no longer acceptable expires."""
    ticket = ticket_of(order)
    try:
        quantity, price = ticket.quantity, ZERO
        if order.type == "LIMIT":
            quantity, price = _reach(floor, ticket)
        else:
            price = _market_price(floor, ticket, None)
        part = _part(floor, ticket, quantity * share)
        if part:
            fill_resting(floor, order, part, price, maker=False)
    except Refusal:
        floor.cancel(order, "EXPIRED")
        return
    if order.left and (order.type != "LIMIT" or order.time_in_force != "GTC"):
        floor.cancel(order, "EXPIRED")


def fill_resting(floor: Floor, order: Order, quantity: Decimal, price: Decimal, *, maker: bool = True) -> None:
    """Fill a resting order; a reduce-only one no further than its position, and what is left of it expires."""
    held = floor.held(order.symbol, order.position_side)
    if order.reduce_only:
        if held * order.direction >= 0:
            floor.cancel(order, "EXPIRED")
            return
        quantity = min(quantity, abs(held))
    apply(floor, order, work_out(floor, ticket_of(order), quantity, price, resting=order), maker=maker)
    if order.left and order.reduce_only and quantity == abs(held):
        floor.cancel(order, "EXPIRED")


def ticket_of(order: Order) -> Ticket:
    """Give what is left of an order as it was asked."""
    return Ticket(
        order.symbol, order.direction, order.left, order.reduce_only, order.position_side, order.client_id,
        order.type, order.price, order.time_in_force, order.stp,
    )  # fmt: skip


def place_limit(floor: Floor, ticket: Ticket, share: Decimal = ONE, **more: object) -> Order:
    """Fill an admitted limit order as far as its price reaches; the rest waits on the book, or expires by its terms."""
    fill, quantity = _plan_limit(floor, ticket)
    part = _part(floor, ticket, quantity * share)
    if fill is not None and part != quantity:
        fill = work_out(floor, ticket, part, fill.price) if part else None
    if fill is not None:
        _prevent_self_trade(floor, ticket)
    order = floor.new_order(ticket, **more)
    if fill is not None:
        apply(floor, order, fill)
    if order.left:
        if ticket.time_in_force in ("IOC", "FOK"):
            floor.cancel(order, "EXPIRED")
        else:
            floor.open[order.order_id] = order
    return order


def _plan_limit(floor: Floor, ticket: Ticket) -> tuple[Fill | None, Decimal]:
    """Work out what of a limit order is filled at once; the whole must be affordable at its worst price."""
    quantity, price = _reach(floor, ticket)
    if ticket.time_in_force == "GTX" and quantity:
        raise Refusal(-5022, "Due to the order could not be executed as maker, the Post Only order will be rejected.")
    if ticket.time_in_force == "FOK" and quantity < ticket.quantity:
        raise Refusal(-5021, "Due to the order could not be filled immediately, the FOK order has been rejected.")
    work_out(floor, ticket, ticket.quantity, max(ticket.price, price))
    return (work_out(floor, ticket, quantity, price) if quantity else None), quantity


def _reach(floor: Floor, ticket: Ticket) -> tuple[Decimal, Decimal]:
    """Tell how much a limit order takes at once and at which price.

    The quantity lies evenly on the ticks from the best price to the price of a market order: a limit beyond that price
    takes all of it there, one before it takes its share at the limit, one before the best price takes nothing.
    """
    half = floor.terms.spread / 2
    best = floor.quote(ticket.symbol, ticket.direction, half)
    worst = floor.quote(ticket.symbol, ticket.direction, half + floor.terms.slippage)
    if ticket.direction * (ticket.price - best) < 0:
        return ZERO, ZERO
    if ticket.direction * (ticket.price - worst) >= 0:
        return ticket.quantity, worst
    tick = floor.instruments[ticket.symbol].tick
    levels = abs(worst - best) / tick + 1
    taken = abs(ticket.price - best) / tick + 1
    return _part(floor, ticket, ticket.quantity * taken / levels), ticket.price


def _part(floor: Floor, ticket: Ticket, quantity: Decimal) -> Decimal:
    """Round a part of an order down to the step; the whole stays as it is."""
    if quantity >= ticket.quantity:
        return ticket.quantity
    step = floor.instruments[ticket.symbol].lot.step
    return (quantity / step).to_integral_value(rounding=ROUND_FLOOR) * step


def _prevent_self_trade(floor: Floor, ticket: Ticket) -> None:
    """Expire own resting orders that an incoming order would meet, before anything else trades with it."""
    if ticket.stp == "NONE":
        return
    for order in list(floor.open.values()):
        opposite = order.symbol == ticket.symbol and order.direction != ticket.direction and order.type == "LIMIT"
        if opposite and ticket.direction * (ticket.price - order.price) >= 0:
            floor.cancel(order, "EXPIRED_IN_MATCH")


# -- checks ---------------------------------------------------------------------------------------------------------


def admit(floor: Floor, ticket: Ticket) -> Ticket:
    """Check an order by the filters; a reduce-only one is cut to what there is to reduce."""
    if not floor.listed(ticket.symbol):
        raise unknown_symbol()
    check_sizes(floor, ticket)
    instrument, mark = floor.instruments[ticket.symbol], floor.price(ticket.symbol)
    held = floor.held(ticket.symbol, ticket.position_side)
    closing_only = ticket.reduce_only or (ticket.position_side != "BOTH" and _closes_side(ticket))
    if not closing_only and ticket.quantity * (ticket.price or mark) < instrument.min_notional:
        notional = f"{instrument.min_notional.normalize():f}"
        raise Refusal(-4164, f"Order's notional must be no smaller than {notional} (unless you choose reduce only).")
    if closing_only:
        taken = floor.reducing(ticket.symbol, ticket.direction, ticket.position_side)
        closes = held * ticket.direction < 0
        if not closes or taken >= abs(held) or (ticket.position_side != "BOTH" and ticket.quantity > abs(held)):
            raise Refusal(-2022, "ReduceOnly Order is rejected.")
        ticket = replace(ticket, quantity=min(ticket.quantity, abs(held) - taken), reduce_only=True)
    rests = ticket.kind == "LIMIT" and len(floor.open) >= instrument.max_orders
    if rests and sum(each.symbol == ticket.symbol for each in floor.open.values()) >= instrument.max_orders:
        raise Refusal(-2025, "Reach max open order limit.")
    return ticket


def check_sizes(floor: Floor, ticket: Ticket) -> None:
    """Check quantity and price of an order by the filters of its symbol."""
    instrument = floor.instruments[ticket.symbol]
    _check_quantity(ticket, instrument)
    if ticket.kind == "LIMIT":
        _check_price(ticket, instrument, floor.price(ticket.symbol))


def _market_price(floor: Floor, ticket: Ticket, base: Decimal | None) -> Decimal:
    instrument = floor.instruments[ticket.symbol]
    mark = floor.price(ticket.symbol) if base is None else base
    price = floor.quote(ticket.symbol, ticket.direction, floor.terms.spread / 2 + floor.terms.slippage, base)
    if not mark * instrument.multiplier_down <= price <= mark * instrument.multiplier_up:
        raise Refusal(-4131, "The counterparty's best price does not meet the PERCENT_PRICE filter limit.")
    return price


def _closes_side(ticket: Ticket) -> bool:
    return (ticket.position_side == "LONG") == (ticket.direction < 0)


def _check_quantity(ticket: Ticket, instrument: Instrument) -> None:
    quantity = ticket.quantity
    lots = (instrument.lot,) if ticket.kind == "LIMIT" else (instrument.lot, instrument.market_lot)
    if quantity <= 0:
        raise Refusal(-4003, "Quantity less than or equal to zero.")
    if decimals(quantity) > instrument.qty_decimals:
        raise Refusal(-1111, "Precision is over the maximum defined for this asset.")
    if any(lot.step and quantity % lot.step for lot in lots):
        raise Refusal(-4023, "Qty not increased by step size.")
    if any(quantity < lot.least for lot in lots):
        raise Refusal(-4004, "Quantity less than min quantity.")
    if any(quantity > lot.most for lot in lots):
        raise Refusal(-4005, "Quantity greater than max quantity.")


def _check_price(ticket: Ticket, instrument: Instrument, mark: Decimal) -> None:
    price = ticket.price
    if price <= 0:
        raise Refusal(-4001, "Price less than 0.")
    if decimals(price) > max(instrument.price_decimals, decimals(instrument.tick)):
        raise Refusal(-1111, "Precision is over the maximum defined for this asset.")
    if price % instrument.tick:
        raise Refusal(-4014, "Price not increased by tick size.")
    if instrument.max_price and price > instrument.max_price:
        raise Refusal(-4002, "Price greater than max price.")
    if price < instrument.min_price:
        raise Refusal(-4013, "Price less than min price.")
    high, low = mark * instrument.multiplier_up, mark * instrument.multiplier_down
    if ticket.direction > 0 and price > high:
        raise Refusal(-4016, f"Limit price can't be higher than {high.normalize():f}.")
    if ticket.direction < 0 and price < low:
        raise Refusal(-4024, f"Limit price can't be lower than {low.normalize():f}.")


# -- money ---------------------------------------------------------------------------------------------------------


def work_out(floor: Floor, ticket: Ticket, quantity: Decimal, price: Decimal, resting: Order | None = None) -> Fill:
    """Work out an execution, or refuse what it would open; what ``resting`` has reserved is its own to use."""
    symbol = ticket.symbol
    position = floor.account.positions.get((symbol, ticket.position_side))
    closes = position if position is not None and position.quantity * ticket.direction < 0 else None
    closing = min(quantity, abs(closes.quantity)) if closes else ZERO
    opening = quantity - closing
    pnl, cost, margin = reduce(closes, closing, price) if closes else (ZERO, ZERO, ZERO)
    if opening:
        _check_opening(floor, ticket, symbol)
        setting = floor.account.setting(symbol)
        reserved = floor.reserved() if floor.open and resting is None else ZERO
        free = available(floor.account, floor.price, without=closes, reserved=reserved)
        free += pnl - floor.fee(symbol, closing * price)
        if q8(opening * price / setting.leverage) + floor.fee(symbol, opening * price) > free:
            raise Refusal(-2019, "Margin is insufficient.")
        kept = ZERO if closes else abs(floor.held(symbol, ticket.position_side))
        if resting is None:
            kept += floor.opening(symbol, ticket.direction, ticket.position_side)[0]
        if (kept + opening) * floor.price(symbol) > floor.instruments[symbol].max_notional(setting.leverage):
            raise Refusal(-2027, "Exceeded the maximum allowable position at current leverage.")
    return Fill(price, closing, opening, pnl, cost, margin)


def _check_opening(floor: Floor, ticket: Ticket, symbol: str) -> None:
    if floor.status(symbol) != "TRADING":
        raise Refusal(-4140, "Invalid symbol status for opening position.")
    rule = floor.rules.get(symbol) or floor.rules.get("")
    if rule is not None:
        raise Refusal(*rule)


def apply(floor: Floor, order: Order, fill: Fill, *, maker: bool = False) -> None:
    """Let an execution change position, margin, wallet and order."""
    account, key = floor.account, (order.symbol, order.position_side)
    position = account.positions.get(key)
    turned = position is not None and fill.closing == abs(position.quantity)
    if position is not None and fill.closing:
        position.quantity -= sign(position.quantity) * fill.closing
        position.cost -= fill.cost
        position.margin -= fill.margin
        if position.quantity == 0:
            floor.drop(position)
            position = None
    if fill.opening:
        if position is None:
            position = account.positions[key] = Position(order.symbol, order.position_side)
        setting = account.setting(order.symbol)
        position.quantity += order.direction * fill.opening
        position.cost += order.direction * fill.opening * fill.price
        if setting.isolated:
            position.margin += q8(fill.opening * fill.price / setting.leverage)
    if position is not None:
        position.update_time = floor.now
    floor.fill_order(order, fill.closing + fill.opening, fill.price)
    for quantity, pnl in ((fill.closing, fill.pnl), (fill.opening, ZERO)):
        if quantity:
            fee = floor.fee(order.symbol, quantity * fill.price, maker)
            floor.trade(order, fill.price, quantity, pnl, fee, maker)
    if turned:
        floor.tidy(order.symbol, besides=order)
