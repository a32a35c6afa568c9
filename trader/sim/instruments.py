"""Say what may be traded and in which sizes: from an exchangeInfo-shaped file, or stated defaults from the tape."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any

from trader.sim.errors import StartError
from trader.sim.money import as_number, decimals, exact, finest_decimals, power_of_ten_worth_one, text
from trader.sim.tape import Series, Tape

RATE_LIMITS = [
    {"rateLimitType": "REQUEST_WEIGHT", "interval": "MINUTE", "intervalNum": 1, "limit": 2400},
    {"rateLimitType": "ORDERS", "interval": "MINUTE", "intervalNum": 1, "limit": 1200},
    {"rateLimitType": "ORDERS", "interval": "SECOND", "intervalNum": 10, "limit": 300},
]
_DEFAULT_BRACKETS = (
    ("50000", 50, "0.01", "0"),
    ("250000", 25, "0.02", "500"),
    ("1000000", 10, "0.05", "8000"),
    ("5000000", 5, "0.1", "58000"),
    ("1000000000", 2, "0.125", "183000"),
)


@dataclass(frozen=True, slots=True)
class Bracket:
    """Hold one step of the leverage table: up to ``cap`` notional this leverage and maintenance rate."""

    leverage: int
    floor: Decimal
    cap: Decimal
    rate: Decimal
    cum: Decimal


@dataclass(frozen=True, slots=True)
class Lot:
    """Hold the sizes of one kind of order; a step of 0 is none of its own."""

    step: Decimal
    least: Decimal
    most: Decimal


@dataclass(frozen=True, slots=True)
class Instrument:
    """Hold the filters of one symbol as Decimal and its row of exchangeInfo as it is served.

    Market orders must meet ``market_lot`` besides ``lot``. A ``max_price`` of 0 is none.
    """

    symbol: str
    tick: Decimal
    min_price: Decimal
    max_price: Decimal
    lot: Lot
    market_lot: Lot
    max_orders: int
    max_algos: int
    min_notional: Decimal
    multiplier_up: Decimal
    multiplier_down: Decimal
    price_decimals: int
    qty_decimals: int
    brackets: tuple[Bracket, ...]
    entry: Mapping[str, Any]

    @property
    def max_leverage(self) -> int:
        """Give the highest leverage of the table."""
        return max(bracket.leverage for bracket in self.brackets)

    def bracket(self, notional: Decimal) -> Bracket:
        """Find the bracket of a position's notional; beyond the last cap the last one."""
        for bracket in self.brackets:
            if notional <= bracket.cap:
                return bracket
        return self.brackets[-1]

    def max_notional(self, leverage: int) -> Decimal:
        """Give the largest position this leverage allows."""
        return max((bracket.cap for bracket in self.brackets if bracket.leverage >= leverage), default=Decimal(0))


@dataclass(frozen=True, slots=True)
class Listing:
    """Hold all instruments of a tape and the account-wide part of exchangeInfo."""

    instruments: Mapping[str, Instrument]
    rate_limits: list[dict[str, Any]]
    assets: list[dict[str, Any]]
    digest: str


def default_brackets() -> tuple[Bracket, ...]:
    """Give the stated leverage table."""
    floor, brackets = Decimal(0), []
    for cap, leverage, rate, cum in _DEFAULT_BRACKETS:
        brackets.append(Bracket(leverage, floor, Decimal(cap), Decimal(rate), Decimal(cum)))
        floor = Decimal(cap)
    return tuple(brackets)


def bracket_rows(brackets: tuple[Bracket, ...]) -> list[dict[str, Any]]:
    """Write brackets as GET /fapi/v1/leverageBracket does."""
    return [
        {
            "bracket": number,
            "initialLeverage": bracket.leverage,
            "notionalCap": as_number(bracket.cap),
            "notionalFloor": as_number(bracket.floor),
            "maintMarginRatio": as_number(bracket.rate),
            "cum": as_number(bracket.cum),
        }
        for number, bracket in enumerate(brackets, 1)
    ]


def default_listing(tape: Tape) -> Listing:
    """Derive filters from the tape: tick its finest decimal, step a power of ten worth at most one USDT."""
    made = {
        symbol: make_instrument(_default_entry(series), default_brackets()) for symbol, series in tape.series.items()
    }
    return Listing(made, RATE_LIMITS, [{"asset": "USDT", "marginAvailable": True, "autoAssetExchange": "-100"}], "")


def read_listing(path: Path, tape: Tape) -> Listing:
    """Read an exchangeInfo-shaped JSON file; every symbol of the tape must be in it."""
    try:
        raw = path.read_bytes()
        document = json.loads(raw, parse_float=Decimal)
    except (OSError, ValueError) as error:
        raise StartError(f"The instruments file {path} cannot be read ({error}); give exchangeInfo as JSON.") from error
    if not isinstance(document, dict) or not isinstance(document.get("symbols"), list):
        raise StartError(f"The instruments file {path} has no list `symbols`; give it the shape of exchangeInfo.")
    rows = {row.get("symbol"): row for row in document["symbols"] if isinstance(row, dict)}
    tables = {row.get("symbol"): row for row in document.get("leverageBrackets") or [] if isinstance(row, dict)}
    made = {}
    for symbol in tape.series:
        if symbol not in rows:
            raise StartError(f"The instruments file {path} has no {symbol}, which the tape holds; add its row.")
        try:
            table = tables.get(symbol)
            brackets = default_brackets() if table is None else read_brackets(table["brackets"])
            made[symbol] = make_instrument(rows[symbol], brackets)
        except (KeyError, TypeError, ValueError, InvalidOperation) as error:
            raise StartError(
                f"The instruments file {path} has an unusable row for {symbol} ({error!r}); copy it from exchangeInfo."
            ) from error
    limits = document.get("rateLimits") or RATE_LIMITS
    assets = document.get("assets") or [{"asset": "USDT", "marginAvailable": True, "autoAssetExchange": "-100"}]
    return Listing(made, limits, assets, hashlib.sha256(raw).hexdigest())


def read_brackets(rows: list[dict[str, Any]]) -> tuple[Bracket, ...]:
    """Read the rows of a leverage table; an empty one raises ValueError."""
    brackets = [
        Bracket(
            int(row["initialLeverage"]),
            Decimal(str(row["notionalFloor"])),
            Decimal(str(row["notionalCap"])),
            Decimal(str(row["maintMarginRatio"])),
            Decimal(str(row["cum"])),
        )
        for row in rows
    ]
    if not brackets:
        raise ValueError("no brackets")
    return tuple(sorted(brackets, key=lambda bracket: bracket.floor))


def make_instrument(entry: Mapping[str, Any], brackets: tuple[Bracket, ...]) -> Instrument:
    """Read a row of exchangeInfo; what is absent or no number raises KeyError, ValueError or InvalidOperation."""
    filters = {row["filterType"]: row for row in entry["filters"]}
    market = filters.get("MARKET_LOT_SIZE", filters["LOT_SIZE"])
    percent = filters.get("PERCENT_PRICE", {"multiplierUp": "1.1", "multiplierDown": "0.9"})
    notional = filters.get("MIN_NOTIONAL", {"notional": "5"})
    price = filters["PRICE_FILTER"]
    tick = _number(price["tickSize"])
    lot, market_lot = _lot(filters["LOT_SIZE"]), _lot(market)
    if tick <= 0 or lot.step <= 0:
        raise ValueError("tick or step is not positive")
    return Instrument(
        symbol=str(entry["symbol"]),
        tick=tick,
        min_price=_number(price.get("minPrice", 0)),
        max_price=_number(price.get("maxPrice", 0)),
        lot=lot,
        market_lot=market_lot,
        max_orders=int(filters.get("MAX_NUM_ORDERS", {"limit": 200})["limit"]),
        max_algos=int(filters.get("MAX_NUM_ALGO_ORDERS", {"limit": 10})["limit"]),
        min_notional=_number(notional["notional"]),
        multiplier_up=_number(percent["multiplierUp"]),
        multiplier_down=_number(percent["multiplierDown"]),
        price_decimals=int(entry.get("pricePrecision", decimals(tick))),
        qty_decimals=max(decimals(lot.step), decimals(market_lot.step)),
        brackets=brackets,
        entry=entry,
    )


def _number(value: object) -> Decimal:
    return Decimal(str(value)).normalize()


def _lot(row: Mapping[str, Any]) -> Lot:
    return Lot(_number(row["stepSize"]), _number(row["minQty"]), _number(row["maxQty"]))


def _default_entry(series: Series) -> dict[str, Any]:
    places = finest_decimals([series.open, series.high, series.low, series.close])
    tick = Decimal(1).scaleb(-places)
    step = power_of_ten_worth_one(exact(series.open[0]))
    base = series.symbol.removesuffix("USDT") or series.symbol
    lot = {"stepSize": text(step), "maxQty": text(step * 10_000_000), "minQty": text(step)}
    return {
        "symbol": series.symbol,
        "pair": series.symbol,
        "contractType": "PERPETUAL",
        "deliveryDate": 4133404800000,
        "onboardDate": series.first,
        "status": "TRADING",
        "maintMarginPercent": "2.5000",
        "requiredMarginPercent": "5.0000",
        "baseAsset": base,
        "quoteAsset": "USDT",
        "marginAsset": "USDT",
        "pricePrecision": places,
        "quantityPrecision": decimals(step),
        "baseAssetPrecision": 8,
        "quotePrecision": 8,
        "underlyingType": "COIN",
        "underlyingSubType": [],
        "triggerProtect": "0.0500",
        "liquidationFee": "0.000000",
        "marketTakeBound": "0.10",
        "maxMoveOrderLimit": 10000,
        "filters": [
            {"filterType": "PRICE_FILTER", "minPrice": text(tick), "maxPrice": "1000000", "tickSize": text(tick)},
            {"filterType": "LOT_SIZE", **lot},
            {"filterType": "MARKET_LOT_SIZE", **lot},
            {"filterType": "MAX_NUM_ORDERS", "limit": 200},
            {"filterType": "MAX_NUM_ALGO_ORDERS", "limit": 10},
            {"filterType": "MIN_NOTIONAL", "notional": "5"},
            {
                "filterType": "PERCENT_PRICE",
                "multiplierUp": "1.1000",
                "multiplierDown": "0.9000",
                "multiplierDecimal": "4",
            },
        ],
        "orderTypes": ["LIMIT", "MARKET", "STOP", "STOP_MARKET", "TAKE_PROFIT", "TAKE_PROFIT_MARKET"],
        "timeInForce": ["GTC", "IOC", "FOK", "GTX"],
    }
