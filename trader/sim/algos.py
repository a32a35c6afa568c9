"""Answer the signed requests about conditional (algo) orders."""

from typing import Any

from trader.sim import conditional
from trader.sim.desk import Desk, between, window
from trader.sim.errors import Refusal
from trader.sim.money import text
from trader.sim.records import Algo
from trader.sim.tickets import read_condition
from trader.sim.wire import Params, dump

DONE = '{"code":200,"msg":"The operation of cancel all open order is done."}'


def new_algo(desk: Desk, params: Params) -> str:
    """Accept a conditional order."""
    return dump(_placed(conditional.place(desk.venue, read_condition(desk, params))))


def get_algo(desk: Desk, params: Params) -> str:
    """Find a conditional order by its number or client id, whatever became of it."""
    return dump(_queried(desk, _find(desk, params, -2013, "Order does not exist.")))


def cancel_algo(desk: Desk, params: Params) -> str:
    """Cancel a conditional order that has not triggered."""
    algo = _find(desk, params, -2011, "Unknown order sent.")
    if algo.algo_id not in desk.venue.waiting:
        raise Refusal(-2011, "Unknown order sent.")
    desk.venue.end_algo(algo, "CANCELED")
    return dump({"algoId": algo.algo_id, "clientAlgoId": algo.client_id, "code": "200", "msg": "success"})


def cancel_algos(desk: Desk, params: Params) -> str:
    """Cancel all conditional orders of a symbol."""
    symbol = desk.symbol(params)
    for algo in [each for each in desk.venue.waiting.values() if each.symbol == symbol]:
        desk.venue.end_algo(algo, "CANCELED")
    return DONE


def open_algos(desk: Desk, params: Params) -> str:
    """List the conditional orders that have not triggered."""
    symbol = desk.symbol(params) if params.get("symbol") else None
    number = params.integer("algoId")
    rows = [
        algo for algo in desk.venue.waiting.values() if symbol in (None, algo.symbol) and number in (None, algo.algo_id)
    ]
    return dump([_queried(desk, algo) for algo in rows])


def all_algos(desk: Desk, params: Params) -> str:
    """List conditional orders, oldest first."""
    symbol, number, limit = desk.symbol(params), params.integer("algoId"), params.limit(500, 1000)
    algos = list(desk.books.algos.values())
    if number is None:
        rows = between(algos, *window(params, desk.venue.now), name="create_time")
    else:
        rows = [each for each in algos if each.algo_id >= number]
    rows = [each for each in rows if each.symbol == symbol]
    rows = rows[-limit:] if number is None and params.get("startTime") is None else rows[:limit]
    return dump([_queried(desk, each) for each in rows])


def _find(desk: Desk, params: Params, code: int, message: str) -> Algo:
    number, client_id = params.integer("algoId"), params.get("clientAlgoId")
    if number is None and not client_id:
        raise Refusal(-1102, "Param 'algoid' or 'clientalgoid' must be sent, but both were empty/null!")
    found = [
        algo
        for algo in desk.books.algos.values()
        if (algo.algo_id == number if number else algo.client_id == client_id)
    ]
    if not found:
        raise Refusal(code, message)
    return found[-1]


def _common(algo: Algo) -> dict[str, Any]:
    return {
        "algoId": algo.algo_id,
        "clientAlgoId": algo.client_id,
        "algoType": "CONDITIONAL",
        "orderType": algo.type,
        "symbol": algo.symbol,
        "side": algo.side,
        "positionSide": algo.position_side,
        "timeInForce": algo.time_in_force,
        "quantity": text(algo.quantity),
        "algoStatus": algo.status,
        "triggerPrice": text(algo.trigger),
        "price": text(algo.price),
        "icebergQuantity": None,
        "selfTradePreventionMode": "EXPIRE_MAKER",
        "workingType": algo.working_type,
        "priceMatch": "NONE",
        "closePosition": algo.close_position,
        "priceProtect": algo.price_protect,
        "reduceOnly": algo.reduce_only,
    }


def _times(algo: Algo) -> dict[str, Any]:
    times = {"createTime": algo.create_time, "updateTime": algo.update_time, "triggerTime": algo.trigger_time}
    return {**times, "goodTillDate": 0}


def _placed(algo: Algo) -> dict[str, Any]:
    return {**_common(algo), **_times(algo)}


def _queried(desk: Desk, algo: Algo) -> dict[str, Any]:
    actual: dict[str, Any] = {"actualOrderId": "", "actualPrice": "0.00000", "tpOrderType": ""}
    if algo.order_id:
        order = desk.books.by_id[algo.order_id]
        actual["actualOrderId"], actual["actualPrice"] = str(order.order_id), text(order.avg_price)
        actual |= {"actualQty": text(order.executed_qty), "actualType": order.type}
    return {**_common(algo), **actual, **_times(algo)}
