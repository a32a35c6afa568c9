"""Read the parameters of an order, before anything is asked of the venue."""

import re
from decimal import Decimal

from trader.sim.conditional import TYPES, Condition
from trader.sim.desk import Desk
from trader.sim.errors import Refusal, missing
from trader.sim.floor import Ticket
from trader.sim.money import ZERO
from trader.sim.wire import Params

_CLIENT_ID = re.compile(r"^[\.A-Z\:/a-z0-9_-]{1,36}$")
_UNWANTED = ("stopPrice", "callbackRate", "activationPrice", "priceMatch", "goodTillDate")
_UNWANTED_IF_MARKET = ("price", "timeInForce", *_UNWANTED)
_ALGO_ONLY = (*TYPES, "TRAILING_STOP_MARKET")
_STP = ("NONE", "EXPIRE_TAKER", "EXPIRE_MAKER", "EXPIRE_BOTH")


def read_ticket(desk: Desk, params: Params, prefix: str = "sim") -> Ticket:
    """Check the parameters of POST /fapi/v1/order; an order without a client id gets one with a prefix."""
    symbol, direction = desk.symbol(params), _direction(params)
    kind = params.text("type")
    if kind in _ALGO_ONLY:
        raise Refusal(
            -4120, "Order type not supported for this endpoint. Please use the Algo Order API endpoints instead."
        )
    if kind not in ("MARKET", "LIMIT"):
        raise Refusal(-1116, "Invalid orderType.")
    if params.flag("closePosition"):
        raise Refusal(-4136, f"Target strategy invalid for orderType {kind},closePosition true")
    position_side = _position_side(params)
    tif, price = "GTC", ZERO
    if kind == "LIMIT":
        tif, price = _time_in_force(params, ("GTC", "IOC", "FOK", "GTX")), params.decimal("price")
    quantity = params.decimal("quantity")
    for name in _UNWANTED if kind == "LIMIT" else _UNWANTED_IF_MARKET:
        if params.get(name):
            raise _not_required(name)
    if params.get("newOrderRespType", "ACK") not in ("ACK", "RESULT"):
        raise Refusal(-1136, "Invalid newOrderRespType.")
    stp = params.get("selfTradePreventionMode", "EXPIRE_MAKER")
    if stp not in _STP:
        raise Refusal(-5039, "Invalid self trade prevention mode")
    reduce_only = params.flag("reduceOnly")
    _check_mode(desk, position_side, reduce_only)
    client_id = _client_id(desk, params, "newClientOrderId", f"{prefix}{desk.venue.next_order}")
    return Ticket(symbol, direction, quantity, bool(reduce_only), position_side, client_id, kind, price, tif, stp)


def read_condition(desk: Desk, params: Params, prefix: str = "sim") -> Condition:
    """Check the parameters of POST /fapi/v1/algoOrder."""
    if params.text("algoType") != "CONDITIONAL":
        raise Refusal(-1130, "Data sent for parameter 'algoType' is not valid.")
    symbol, direction = desk.symbol(params), _direction(params)
    kind = params.text("type")
    if kind not in TYPES:
        raise Refusal(-1116, "Invalid orderType.")
    position_side = _position_side(params)
    close, reduce_only = bool(params.flag("closePosition")), params.flag("reduceOnly")
    tif = _time_in_force(params, ("GTC", "IOC", "FOK", "GTX", "GTE_GTC")) if params.get("timeInForce") else "GTC"
    if close:
        _check_close(params, kind)
    quantity = ZERO if close else params.decimal("quantity")
    market = kind.endswith("MARKET")
    if market and params.get("price"):
        raise _not_required("price")
    price = ZERO if market else params.decimal("price")
    working = params.get("workingType", "CONTRACT_PRICE")
    if working not in ("MARK_PRICE", "CONTRACT_PRICE"):
        raise Refusal(-4031, f"Invalid parameter working type: {working}")
    if params.get("callbackRate") or params.get("activatePrice"):
        raise _not_required("callbackRate" if params.get("callbackRate") else "activatePrice")
    _check_mode(desk, position_side, reduce_only)
    return Condition(
        symbol, direction, kind, params.decimal("triggerPrice"), quantity, price, position_side, tif, working, close,
        bool(reduce_only), bool(params.flag("priceProtect")),
        _client_id(desk, params, "clientAlgoId", f"{prefix}a{desk.venue.next_algo}"),
    )  # fmt: skip


def _check_close(params: Params, kind: str) -> None:
    if not kind.endswith("MARKET"):
        raise Refusal(-4136, f"Target strategy invalid for orderType {kind},closePosition true")
    if params.get("quantity") and Decimal(params.decimal("quantity")) != 0:
        raise Refusal(-4137, "Quantity must be zero with closePosition equals true")
    if params.get("reduceOnly"):
        raise _not_required("reduceonly")


def _direction(params: Params) -> int:
    side = params.text("side")
    if side not in ("BUY", "SELL"):
        raise Refusal(-1117, "Invalid side.")
    return 1 if side == "BUY" else -1


def _position_side(params: Params) -> str:
    position_side = params.get("positionSide") or "BOTH"
    if position_side not in ("BOTH", "LONG", "SHORT"):
        raise Refusal(-4060, "Invalid position side.")
    return position_side


def _time_in_force(params: Params, known: tuple[str, ...]) -> str:
    value = params.get("timeInForce")
    if not value:
        raise missing("timeInForce")
    if value not in known:
        raise Refusal(-1115, "Invalid timeInForce.")
    return value


def _check_mode(desk: Desk, position_side: str, reduce_only: bool | None) -> None:
    if desk.venue.account.dual != (position_side != "BOTH"):
        raise Refusal(-4061, "Order's position side does not match user's setting.")
    if desk.venue.account.dual and reduce_only is not None:
        raise _not_required("reduceonly")


def _not_required(name: str) -> Refusal:
    return Refusal(-1106, f"Parameter '{name}' sent when not required.")


def _client_id(desk: Desk, params: Params, name: str, own: str) -> str:
    if name not in params:
        return own
    client_id = params[name]
    if len(client_id) > 36:
        raise Refusal(-4015, "Client order id length should be less than 36 chars.")
    if not _CLIENT_ID.match(client_id):
        raise Refusal(
            -1100, f"Illegal characters found in parameter '{name}'; legal range is '^[\\.A-Z\\:/a-z0-9_-]{{1,36}}$'."
        )
    taken = desk.venue.waiting.values() if name == "clientAlgoId" else desk.venue.open.values()
    if any(each.client_id == client_id for each in taken):
        raise Refusal(-4116, "ClientOrderId is duplicated.")
    return client_id
