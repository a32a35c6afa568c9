"""Answer the signed requests that place, cancel and show orders."""

from bisect import bisect_left
from dataclasses import replace
from typing import Any

from trader.sim import matching
from trader.sim.algos import DONE
from trader.sim.desk import Desk, between, window
from trader.sim.errors import Refusal
from trader.sim.money import ZERO, text
from trader.sim.records import Order
from trader.sim.tickets import read_ticket
from trader.sim.wire import Params, dump

_FORCED = {"LIQUIDATION": "autoclose-", "ADL": "adl_autoclose"}


def new_order(desk: Desk, params: Params) -> str:
    """Place an order; ACK shows it NEW, RESULT shows what was filled at once."""
    ticket = read_ticket(desk, params)
    order = matching.rest(desk.venue, ticket) if desk.held else matching.place(desk.venue, ticket, desk.share)
    if params.get("newOrderRespType", "ACK") == "ACK":
        order = replace(order, status="NEW", executed_qty=ZERO, cum_quote=ZERO, avg_price=ZERO)
    return dump(_placed(order))


def test_order(desk: Desk, params: Params) -> str:
    """Validate an order as if it were sent; nothing changes."""
    ticket = matching.check(desk.venue, read_ticket(desk, params))
    order = Order(
        order_id=0,
        symbol=ticket.symbol,
        client_id=ticket.client_id,
        side="BUY" if ticket.direction > 0 else "SELL",
        position_side=ticket.position_side,
        type=ticket.kind,
        reduce_only=ticket.reduce_only,
        orig_qty=ticket.quantity,
        executed_qty=ZERO,
        avg_price=ZERO,
        cum_quote=ZERO,
        status="NEW",
        time_in_force=ticket.time_in_force,
        time=desk.venue.now,
        update_time=desk.venue.now,
        price=ticket.price,
        orig_type=ticket.kind,
    )
    return dump(_placed(order))


def _common(order: Order) -> dict[str, Any]:
    return {
        "orderId": order.order_id,
        "symbol": order.symbol,
        "status": order.status,
        "clientOrderId": order.client_id,
        "price": text(order.price),
        "avgPrice": text(order.avg_price) if order.avg_price else "0.00",
        "origQty": text(order.orig_qty),
        "executedQty": text(order.executed_qty),
    }


def _flags(order: Order) -> dict[str, Any]:
    return {
        "timeInForce": order.time_in_force,
        "type": order.type,
        "reduceOnly": order.reduce_only,
        "closePosition": order.close_position,
        "side": order.side,
        "positionSide": order.position_side,
        "stopPrice": text(order.stop_price),
        "workingType": "CONTRACT_PRICE",
        "priceProtect": False,
        "origType": order.orig_type,
        "priceMatch": "NONE",
        "selfTradePreventionMode": order.stp,
        "goodTillDate": 0,
    }


def _placed(order: Order) -> dict[str, Any]:
    sums = {"cumQty": text(order.executed_qty), "cumQuote": text(order.cum_quote)}
    return {**_common(order), **sums, **_flags(order), "updateTime": order.update_time}


def _queried(order: Order) -> dict[str, Any]:
    times = {"time": order.time, "updateTime": order.update_time}
    return {**_common(order), "cumQuote": text(order.cum_quote), **_flags(order), **times}


def _find(desk: Desk, params: Params, code: int, message: str) -> Order:
    symbol = desk.symbol(params)
    number, client_id = params.integer("orderId"), params.get("origClientOrderId")
    if number is None and not client_id:
        raise Refusal(-1102, "Param 'origClientOrderId' or 'orderId' must be sent, but both were empty/null!")
    books = desk.books
    order = books.by_id.get(number) if number is not None else books.by_client_id.get((symbol, client_id or ""))
    if order is None or order.symbol != symbol or desk.hides(order.order_id):
        raise Refusal(code, message)
    return order


def get_order(desk: Desk, params: Params) -> str:
    """Find an order by its number or client id; the latest where a client id was used again."""
    return dump(_queried(_find(desk, params, -2013, "Order does not exist.")))


def open_order(desk: Desk, params: Params) -> str:
    """Find an order that is open; one that is at rest does not exist here."""
    order = _find(desk, params, -2013, "Order does not exist.")
    if order.order_id not in desk.venue.open:
        raise Refusal(-2013, "Order does not exist.")
    return dump(_queried(order))


def cancel_order(desk: Desk, params: Params) -> str:
    """Cancel an order that rests."""
    order = _find(desk, params, -2011, "Unknown order sent.")
    if order.order_id not in desk.venue.open:
        raise Refusal(-2011, "Unknown order sent.")
    desk.venue.cancel(order)
    return dump(_placed(order))


def cancel_orders(desk: Desk, params: Params) -> str:
    """Cancel all orders of a symbol; conditional orders stay."""
    symbol = desk.symbol(params)
    for order in [each for each in desk.venue.open.values() if each.symbol == symbol]:
        desk.venue.cancel(order)
    return DONE


def open_orders(desk: Desk, params: Params) -> str:
    """List open orders; a market order is one only while a fault of the plan holds it."""
    symbol = desk.symbol(params) if params.get("symbol") else None
    orders = [each for each in desk.venue.open.values() if not desk.hides(each.order_id)]
    return dump([_queried(order) for order in orders if symbol in (None, order.symbol)])


def all_orders(desk: Desk, params: Params) -> str:
    """List orders by time or from a number on."""
    symbol, number, limit = desk.symbol(params), params.integer("orderId"), params.limit(500, 1000)
    orders = desk.books.orders
    if number is None:
        rows = between(orders, *window(params, desk.venue.now))
    else:
        rows = orders[bisect_left(orders, number, key=lambda order: order.order_id) :]
    rows = [order for order in rows if order.symbol == symbol and not desk.hides(order.order_id)]
    rows = rows[-limit:] if number is None and params.get("startTime") is None else rows[:limit]
    return dump([_queried(order) for order in rows])


def force_orders(desk: Desk, params: Params) -> str:
    """List the orders that nobody sent: liquidations and auto-deleveraging, newest first."""
    symbol = desk.symbol(params) if params.get("symbol") else None
    kind, limit = params.get("autoCloseType"), params.limit(50, 100)
    if kind is not None and kind not in _FORCED:
        raise Refusal(-1130, "Data sent for parameter 'autoCloseType' is not valid.")
    prefixes = tuple(_FORCED.values()) if kind is None else (_FORCED[kind],)
    rows = between(desk.books.orders, *window(params, desk.venue.now))
    rows = [each for each in rows if each.client_id.startswith(prefixes) and symbol in (None, each.symbol)]
    return dump([_queried(order) for order in rows[::-1][:limit]])
