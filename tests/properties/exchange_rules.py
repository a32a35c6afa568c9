"""Whether the exchange would take an order, by its published rules and a raw row of exchangeInfo alone.

It imports nothing of ours, so that a rule misread there is not misread here too. An order is the parameters of
POST /fapi/v1/order, all text; what is broken is named by the code the exchange would answer.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from typing import Any

CLIENT_ID = re.compile(r"^[\.A-Z\:/a-z0-9_-]{1,36}$")


def broken(
    order: Mapping[str, Any],
    row: Mapping[str, Any],
    mark: Decimal,
    held: Decimal,
    leverage: int,
    tiers: Sequence[Mapping[str, Any]],
) -> set[int]:
    """Return the codes of every rule an order breaks, sent while a signed position is held at a mark price."""
    filters = {one["filterType"]: one for one in row["filters"]}
    quantity, signed = Decimal(order["quantity"]), Decimal(order["quantity"]) * (1 if order["side"] == "BUY" else -1)
    reduces = order["reduceOnly"] == "true"
    price = Decimal(order["price"]) if order["type"] == "LIMIT" else mark
    return {
        *_names(order, row),
        *_lots(order["type"], quantity, int(row["quantityPrecision"]), filters),
        *(_prices(price, order["side"], mark, filters) if order["type"] == "LIMIT" else ()),
        *(_reducing(signed, held) if reduces else _opening(quantity * price, signed, mark, held, row, filters)),
        *(() if reduces else _leverage(abs(held + signed) * mark, leverage, tiers)),
    }


def _names(order: Mapping[str, Any], row: Mapping[str, Any]) -> Iterator[int]:
    if order["symbol"] != row["symbol"]:
        yield -1121
    if not CLIENT_ID.match(order["newClientOrderId"]):
        yield -4015
    if order["type"] not in row["orderTypes"]:
        yield -1116
    if order["type"] == "LIMIT" and order["timeInForce"] not in row["timeInForce"]:
        yield -1115


def _lots(kind: str, quantity: Decimal, precision: int, filters: Mapping[str, Any]) -> Iterator[int]:
    if quantity <= 0:
        yield -4003
    if _decimals(quantity) > precision:
        yield -1111
    for name in ("LOT_SIZE", *(("MARKET_LOT_SIZE",) if kind == "MARKET" else ())):
        lot = {key: Decimal(filters[name][key]) for key in ("minQty", "maxQty", "stepSize")}
        if quantity < lot["minQty"]:
            yield -4004
        if quantity > lot["maxQty"]:
            yield -4005
        if lot["stepSize"] and (quantity - lot["minQty"]) % lot["stepSize"]:
            yield -4023


def _prices(price: Decimal, side: str, mark: Decimal, filters: Mapping[str, Any]) -> Iterator[int]:
    bounds = {key: Decimal(filters["PRICE_FILTER"][key]) for key in ("minPrice", "maxPrice", "tickSize")}
    if bounds["minPrice"] and price < bounds["minPrice"]:
        yield -4013
    if bounds["maxPrice"] and price > bounds["maxPrice"]:
        yield -4002
    if (price - bounds["minPrice"]) % bounds["tickSize"]:
        yield -4014
    percent = filters["PERCENT_PRICE"]
    if side == "BUY" and price > mark * Decimal(percent["multiplierUp"]):
        yield -4016
    if side == "SELL" and price < mark * Decimal(percent["multiplierDown"]):
        yield -4024


def _reducing(signed: Decimal, held: Decimal) -> Iterator[int]:
    if held * signed >= 0:
        yield -2022


def _opening(
    notional: Decimal, signed: Decimal, mark: Decimal, held: Decimal, row: Mapping[str, Any], filters: Mapping[str, Any]
) -> Iterator[int]:
    if row["status"] != "TRADING":
        yield -4140
    if notional < Decimal(filters["MIN_NOTIONAL"]["notional"]):
        yield -4164


def _leverage(notional: Decimal, leverage: int, tiers: Sequence[Mapping[str, Any]]) -> Iterator[int]:
    allowed = [Decimal(str(tier["notionalCap"])) for tier in tiers if int(tier["initialLeverage"]) >= leverage]
    if tiers and not allowed:
        yield -4028
    elif tiers and notional > max(allowed):
        yield -2027


def _decimals(number: Decimal) -> int:
    return max(0, -int(number.normalize().as_tuple().exponent))
