"""Answer the signed requests about orders, trades and incomes."""

import operator
import re
from bisect import bisect_left, bisect_right
from dataclasses import replace
from typing import Any

from trader.sim.desk import Desk
from trader.sim.errors import Refusal
from trader.sim.money import ZERO, text, text8
from trader.sim.records import Income, Order, Trade
from trader.sim.venue import Ticket
from trader.sim.wire import Params, dump

_CLIENT_ID = re.compile(r"^[\.A-Z\:/a-z0-9_-]{1,36}$")
_UNWANTED = ("price", "timeInForce", "stopPrice", "callbackRate", "activationPrice", "priceMatch", "goodTillDate")
_SEVEN_DAYS = 7 * 86_400_000


def read_ticket(desk: Desk, params: Params) -> Ticket:
    """Check the parameters of a market order, before anything is asked of the venue."""
    symbol = desk.symbol(params)
    side = params.text("side")
    if side not in ("BUY", "SELL"):
        raise Refusal(-1117, "Invalid side.")
    if params.text("type") != "MARKET":
        raise Refusal(-1116, "Invalid orderType.")
    position_side = params.get("positionSide") or "BOTH"
    if position_side not in ("BOTH", "LONG", "SHORT"):
        raise Refusal(-4060, "Invalid position side.")
    quantity = params.decimal("quantity")
    for name in _UNWANTED:
        if params.get(name):
            raise Refusal(-1106, f"Parameter '{name}' sent when not required.")
    if params.get("newOrderRespType", "ACK") not in ("ACK", "RESULT"):
        raise Refusal(-1130, "Data sent for parameter 'newOrderRespType' is not valid.")
    reduce_only = params.flag("reduceOnly")
    if desk.venue.account.dual != (position_side != "BOTH"):
        raise Refusal(-4061, "Order's position side does not match user's setting.")
    if desk.venue.account.dual and reduce_only is not None:
        raise Refusal(-1106, "Parameter 'reduceonly' sent when not required.")
    client_id = _client_id(desk, params)
    return Ticket(symbol, 1 if side == "BUY" else -1, quantity, bool(reduce_only), position_side, client_id)


def _client_id(desk: Desk, params: Params) -> str:
    if "newClientOrderId" not in params:
        return f"sim{desk.venue.next_order}"
    client_id = params["newClientOrderId"]
    if len(client_id) > 36:
        raise Refusal(-4015, "Client order id length should be less than 36 chars.")
    if not _CLIENT_ID.match(client_id):
        raise Refusal(
            -1100,
            "Illegal characters found in parameter 'newClientOrderId'; legal range is '^[\\.A-Z\\:/a-z0-9_-]{1,36}$'.",
        )
    if any(order.client_id == client_id for order in desk.venue.open.values()):
        raise Refusal(-4116, "ClientOrderId is duplicated.")
    return client_id


def new_order(desk: Desk, params: Params) -> str:
    """Fill a market order; ACK shows it NEW, RESULT shows the fill."""
    ticket = read_ticket(desk, params)
    order = desk.venue.rest(ticket) if desk.resting else desk.venue.execute(ticket)
    if params.get("newOrderRespType", "ACK") == "ACK":
        order = replace(order, status="NEW", executed_qty=ZERO, cum_quote=ZERO, avg_price=ZERO)
    return dump(_placed(order))


def test_order(desk: Desk, params: Params) -> str:
    """Validate an order as if it were sent; nothing changes."""
    ticket = desk.venue.check(read_ticket(desk, params))
    order = Order(
        order_id=0,
        symbol=ticket.symbol,
        client_id=ticket.client_id,
        side="BUY" if ticket.direction > 0 else "SELL",
        position_side=ticket.position_side,
        type="MARKET",
        reduce_only=ticket.reduce_only,
        orig_qty=ticket.quantity,
        executed_qty=ZERO,
        avg_price=ZERO,
        cum_quote=ZERO,
        status="NEW",
        time_in_force="GTC",
        time=desk.venue.now,
        update_time=desk.venue.now,
    )
    return dump(_placed(order))


def _common(order: Order) -> dict[str, Any]:
    return {
        "orderId": order.order_id,
        "symbol": order.symbol,
        "status": order.status,
        "clientOrderId": order.client_id,
        "price": "0",
        "avgPrice": text(order.avg_price) if order.avg_price else "0.00",
        "origQty": text(order.orig_qty),
        "executedQty": text(order.executed_qty),
    }


def _flags(order: Order) -> dict[str, Any]:
    return {
        "timeInForce": order.time_in_force,
        "type": order.type,
        "reduceOnly": order.reduce_only,
        "closePosition": False,
        "side": order.side,
        "positionSide": order.position_side,
        "stopPrice": "0",
        "workingType": "CONTRACT_PRICE",
        "priceProtect": False,
        "origType": order.type,
        "priceMatch": "NONE",
        "selfTradePreventionMode": "NONE",
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


def cancel_order(desk: Desk, params: Params) -> str:
    """Cancel an order that rests; a market order does so only by a fault of the plan."""
    order = _find(desk, params, -2011, "Unknown order sent.")
    if order.order_id not in desk.venue.open:
        raise Refusal(-2011, "Unknown order sent.")
    desk.venue.cancel(order)
    return dump(_placed(order))


def open_orders(desk: Desk, params: Params) -> str:
    """List open orders; a market order is one only while a fault of the plan lets it rest."""
    symbol = desk.symbol(params) if params.get("symbol") else None
    orders = desk.venue.open.values()
    return dump([_queried(order) for order in orders if symbol in (None, order.symbol)])


def _window(params: Params, now: int) -> tuple[int, int]:
    """Read the span of time asked for: the last seven days unless said otherwise, never more than seven."""
    start, end = params.integer("startTime"), params.integer("endTime")
    if start is None:
        return (now if end is None else end) - _SEVEN_DAYS, now if end is None else end
    if end is None:
        return start, start + _SEVEN_DAYS
    if start > end:
        raise Refusal(-1023, "Start time is greater than end time.")
    if end - start > _SEVEN_DAYS:
        raise Refusal(-1127, "Lookup interval is too big. More than 168 hours between startTime and endTime.")
    return start, end


def _between(rows: list[Any], start: int, end: int) -> list[Any]:
    """Cut a list sorted by time."""
    key = operator.attrgetter("time")
    return rows[bisect_left(rows, start, key=key) : bisect_right(rows, end, key=key)]


def all_orders(desk: Desk, params: Params) -> str:
    """List orders by time or from a number on."""
    symbol, number, limit = desk.symbol(params), params.integer("orderId"), params.limit(500, 1000)
    orders = desk.books.orders
    if number is None:
        rows = _between(orders, *_window(params, desk.venue.now))
    else:
        rows = orders[bisect_left(orders, number, key=lambda order: order.order_id) :]
    rows = [order for order in rows if order.symbol == symbol and not desk.hides(order.order_id)]
    rows = rows[-limit:] if number is None and params.get("startTime") is None else rows[:limit]
    return dump([_queried(order) for order in rows])


def user_trades(desk: Desk, params: Params) -> str:
    """List executions, oldest first; the most recent ``limit`` unless fromId or startTime says where to begin."""
    symbol, number, begin = desk.symbol(params), params.integer("orderId"), params.integer("fromId")
    limit, trades = params.limit(500, 1000), desk.books.trades
    if number is not None:
        rows = desk.books.trades_of.get(number, [])
    elif begin is not None:
        rows = trades[bisect_left(trades, begin, key=lambda trade: trade.trade_id) :]
    else:
        rows = _between(trades, *_window(params, desk.venue.now))
    rows = [trade for trade in rows if trade.symbol == symbol and not desk.hides(trade.order_id)]
    rows = rows[-limit:] if begin is None and params.get("startTime") is None else rows[:limit]
    return dump([_trade(trade) for trade in rows])


def _trade(trade: Trade) -> dict[str, Any]:
    return {
        "symbol": trade.symbol,
        "id": trade.trade_id,
        "orderId": trade.order_id,
        "side": trade.side,
        "price": text(trade.price),
        "qty": text(trade.qty),
        "realizedPnl": text8(trade.realized_pnl),
        "quoteQty": text(trade.price * trade.qty),
        "commission": text8(trade.commission),
        "commissionAsset": "USDT",
        "time": trade.time,
        "positionSide": trade.position_side,
        "buyer": trade.side == "BUY",
        "maker": False,
    }


def income(desk: Desk, params: Params) -> str:
    """List changes of the wallet, oldest first; the last seven days when neither end is given."""
    symbol, kind, limit = params.get("symbol"), params.get("incomeType"), params.limit(100, 1000)
    start, end, now = params.integer("startTime"), params.integer("endTime"), desk.venue.now
    if start is None and end is None:
        start = now - _SEVEN_DAYS
    rows = [
        each
        for each in _between(desk.books.incomes, start or 0, now if end is None else end)
        if (not symbol or each.symbol == symbol)
        and (not kind or each.income_type == kind)
        and not (each.order_id and desk.hides(each.order_id))
    ]
    page = params.integer("page") or 1
    rows = rows[-limit:] if params.get("startTime") is None else rows[(page - 1) * limit : page * limit]
    return dump([_income(each) for each in rows])


def _income(each: Income) -> dict[str, Any]:
    trade = str(each.trade_id) if each.trade_id else ""
    return {
        "symbol": each.symbol,
        "incomeType": each.income_type,
        "income": text8(each.income),
        "asset": "USDT",
        "time": each.time,
        "info": trade or each.income_type,
        "tranId": each.tran_id,
        "tradeId": trade,
    }
