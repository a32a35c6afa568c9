"""Answer the signed requests about what was executed and what it did to the wallet."""

from bisect import bisect_left
from typing import Any

from trader.sim.desk import SEVEN_DAYS, Desk, between, window
from trader.sim.money import text, text8
from trader.sim.records import Income, Trade
from trader.sim.wire import Params, dump


def user_trades(desk: Desk, params: Params) -> str:
    """List executions, oldest first; the most recent ``limit`` unless fromId or startTime says where to begin."""
    symbol, number, begin = desk.symbol(params), params.integer("orderId"), params.integer("fromId")
    limit, trades = params.limit(500, 1000), desk.books.trades
    if number is not None:
        rows = desk.books.trades_of.get(number, [])
    elif begin is not None:
        rows = trades[bisect_left(trades, begin, key=lambda trade: trade.trade_id) :]
    else:
        rows = between(trades, *window(params, desk.venue.now))
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
        "commissionAsset": trade.commission_asset,
        "time": trade.time,
        "positionSide": trade.position_side,
        "buyer": trade.side == "BUY",
        "maker": trade.maker,
    }


def income(desk: Desk, params: Params) -> str:
    """List changes of the wallet, oldest first; the last seven days when neither end is given."""
    symbol, kind, limit = params.get("symbol"), params.get("incomeType"), params.limit(100, 1000)
    start, end, now = params.integer("startTime"), params.integer("endTime"), desk.venue.now
    if start is None and end is None:
        start = now - SEVEN_DAYS
    rows = [
        each
        for each in between(desk.books.incomes, start or 0, now if end is None else end)
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
        "asset": each.asset,
        "time": each.time,
        "info": trade or each.income_type,
        "tranId": each.tran_id,
        "tradeId": trade,
    }
