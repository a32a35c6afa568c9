"""Carry out what happens on exchange and account without a request of the client, by hand or by the exchange itself."""

from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any

from trader.sim import algos, conditional, forced, matching, orders, private, settings
from trader.sim.desk import Desk
from trader.sim.errors import Refusal, missing
from trader.sim.money import ZERO, q8
from trader.sim.tickets import read_condition, read_ticket
from trader.sim.wire import Params

BY_HAND = "web_"
DELISTED = "SETTLING"


def perform(desk: Desk, event: Mapping[str, Any]) -> None:
    """Carry out an event (see trader.sim.faults), or raise Refusal and change nothing."""
    names = (name for name in event if name not in ("on", "at", "do"))
    params = Params({name: _text(event[name]) for name in names if not isinstance(event[name], dict | list)})
    _HANDLERS[event["do"]](desk, params, event)


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _order(desk: Desk, params: Params, event: Mapping[str, Any]) -> None:
    matching.place(desk.venue, read_ticket(desk, params, BY_HAND))


def _algo_order(desk: Desk, params: Params, event: Mapping[str, Any]) -> None:
    conditional.place(desk.venue, read_condition(desk, Params({"algoType": "CONDITIONAL", **params}), BY_HAND))


def _by_request(handler: Callable[[Desk, Params], str]) -> Callable[[Desk, Params, Mapping[str, Any]], None]:
    def handle(desk: Desk, params: Params, event: Mapping[str, Any]) -> None:
        handler(desk, params)

    return handle


def _trigger(desk: Desk, params: Params, event: Mapping[str, Any]) -> None:
    """Let the conditional orders of a symbol trigger, as if a price had touched them and were back."""
    symbol = desk.symbol(params)
    for algo in [each for each in desk.venue.waiting.values() if each.symbol == symbol]:
        if algo.algo_id in desk.venue.waiting:
            conditional.fire(desk.venue, algo, None)


def _transfer(desk: Desk, params: Params, event: Mapping[str, Any]) -> None:
    amount = q8(params.decimal("amount"))
    if amount < 0 and -amount > private.withdrawable(desk):
        raise Refusal(-4051 if desk.venue.account.isolated() else -4050, "Cross balance insufficient.")
    desk.venue.pay("", "TRANSFER", amount)


def _adl(desk: Desk, params: Params, event: Mapping[str, Any]) -> None:
    for position in desk.venue.account.of(desk.symbol(params)):
        held = abs(position.quantity)
        quantity = min(held, params.decimal("quantity")) if "quantity" in params else held
        if quantity <= 0 or quantity % desk.listing.instruments[position.symbol].lot.step:
            raise missing("quantity")
        forced.deleverage(desk.venue, position, quantity)


def _liquidate(desk: Desk, params: Params, event: Mapping[str, Any]) -> None:
    symbol, venue = desk.symbol(params), desk.venue
    if venue.account.setting(symbol).isolated:
        for position in venue.account.of(symbol):
            forced.take_margin(venue, position)
    elif venue.account.of(symbol):
        forced.take_cross(venue, [(each, venue.price(each.symbol)) for each in venue.account.cross()])


def _symbol(desk: Desk, params: Params, event: Mapping[str, Any]) -> None:
    """Change a row of exchangeInfo: any plain key, ``filters`` {name: {key: value}}, ``brackets`` as a table."""
    symbol = desk.symbol(params)
    before = desk.switches.document()
    changes = {name: event[name] for name in event if name not in ("on", "at", "do", "symbol", "filters", "brackets")}
    desk.switches.change_symbol(symbol, changes, event.get("filters", {}))
    if "brackets" in event:
        desk.switches.brackets[symbol] = event["brackets"]
    try:
        desk.apply_switches()
    except (KeyError, TypeError, ValueError, ArithmeticError) as error:
        desk.switches = type(desk.switches)(**before)
        desk.apply_switches()
        raise Refusal(-1130, f"The change of {symbol} cannot be used: {error!r}.") from error


def _delist(desk: Desk, params: Params, event: Mapping[str, Any]) -> None:
    desk.symbol(params)
    desk.later.append({"at": int(event["deliveryDate"]), "do": "settle", "symbol": event["symbol"]})
    _symbol(desk, params, event)


def _settle(desk: Desk, params: Params, event: Mapping[str, Any]) -> None:
    symbol = desk.symbol(params)
    forced.settle_symbol(desk.venue, symbol)
    desk.switches.change_symbol(symbol, {"status": DELISTED}, {})
    desk.apply_switches()


def _fees(desk: Desk, params: Params, event: Mapping[str, Any]) -> None:
    rates = [params.decimal("maker"), params.decimal("taker")]
    if any(not Decimal("-0.1") <= rate <= Decimal("0.1") for rate in rates):
        raise Refusal(-4026, "Commission invalid.")
    desk.switches.fees[params.get("symbol", "")] = [str(rate) for rate in rates]
    desk.apply_switches()


def _rule(desk: Desk, params: Params, event: Mapping[str, Any]) -> None:
    desk.switches.rules[params.get("symbol", "")] = [int(event["code"]), str(event["msg"])]
    desk.apply_switches()


def _lift_rule(desk: Desk, params: Params, event: Mapping[str, Any]) -> None:
    desk.switches.rules.pop(params.get("symbol", ""), None)
    desk.apply_switches()


def _key(desk: Desk, params: Params, event: Mapping[str, Any]) -> None:
    """Change the key: ``revoked``, or any field of apiRestrictions."""
    rights = {name: event[name] for name in event if name not in ("on", "at", "do", "revoked")}
    desk.switches.rights.update(rights)
    if "revoked" in event:
        desk.switches.revoked = bool(event["revoked"])
    desk.apply_switches()


def _skew(desk: Desk, params: Params, event: Mapping[str, Any]) -> None:
    desk.switches.skew = params.integer("ms") or int(ZERO)
    desk.apply_switches()


_HANDLERS: Mapping[str, Callable[[Desk, Params, Mapping[str, Any]], None]] = {
    "order": _order,
    "cancel": _by_request(orders.cancel_order),
    "cancel_all": _by_request(orders.cancel_orders),
    "algo_order": _algo_order,
    "cancel_algo": _by_request(algos.cancel_algo),
    "cancel_all_algos": _by_request(algos.cancel_algos),
    "leverage": _by_request(settings.set_leverage),
    "margin_type": _by_request(settings.set_margin_type),
    "position_mode": _by_request(settings.set_position_mode),
    "multi_assets": _by_request(settings.set_multi_assets),
    "fee_burn": _by_request(settings.set_fee_burn),
    "trigger": _trigger,
    "transfer": _transfer,
    "adl": _adl,
    "liquidate": _liquidate,
    "symbol": _symbol,
    "delist": _delist,
    "settle": _settle,
    "fees": _fees,
    "rule": _rule,
    "lift_rule": _lift_rule,
    "key": _key,
    "skew": _skew,
}
