"""Orders, fills, and the names by which they are found again."""

import hashlib
import re
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

CLIENT_ID = re.compile(r"[\.A-Z\:/a-z0-9_-]{1,36}")
DONE = frozenset({"FILLED", "CANCELED", "EXPIRED", "REJECTED", "EXPIRED_IN_MATCH"})
"""Statuses, in the exchange's words, after which an order never changes again."""

FOLLOW_UP = 1000
"""Added to the attempt of an order for the one order that may follow on it."""

FLATTENING = "f"
"""The leg of orders that belong to no decision."""

_PLAIN = re.compile(r"[A-Z0-9_]{1,15}")
_DIGITS = "0123456789abcdefghijklmnopqrstuvwxyz"


@dataclass(frozen=True, slots=True)
class OrderRequest:
    """One order we intend to send; `quantity` is signed (buy > 0).

    `limit` is the worst price it may pay, and it never rests; None for a market order.
    """

    client_id: str
    symbol: str
    quantity: Decimal
    reduce_only: bool
    limit: Decimal | None = None


@dataclass(frozen=True, slots=True)
class Order:
    """One order as the exchange tells it; `quantity` and `filled` are signed, `status` is the exchange's word."""

    client_id: str
    exchange_id: str
    symbol: str
    quantity: Decimal
    filled: Decimal
    average_price: Decimal
    status: str
    reduce_only: bool
    time: datetime

    @property
    def done(self) -> bool:
        """Whether it can never change again."""
        return self.status in DONE


@dataclass(frozen=True, slots=True)
class Fill:
    """One trade of ours; `quantity` is signed, `fee` and `realised` are in USDT, a paid fee is positive.

    A fee that was paid in another coin is not in `fee` but in `paid`, with its coin.
    """

    trade_id: str
    exchange_id: str
    symbol: str
    quantity: Decimal
    price: Decimal
    fee: Decimal
    realised: Decimal
    time: datetime
    paid: tuple[Decimal, str] | None = None


def client_prefix(instance: str) -> str:
    """Return how every client id of one instance (account and strategy) begins, so that others are told apart."""
    return "t" + hashlib.sha256(instance.encode()).hexdigest()[:6]


def client_id(instance: str, close: datetime, symbol: str, leg: str, attempt: int) -> str:
    """Name an order by what it is for: the same intention always has the same id.

    Args:
        instance: account and strategy, any text.
        close: the candle close decided on, aware UTC, whole minutes.
        symbol: the exchange's symbol.
        leg: one letter: `c` close, `o` open, `r` reduce, `i` increase, `f` flatten, `s` protective stop.
        attempt: 0 for the first; parts count up, and what follows on a part adds `FOLLOW_UP` to its number.

    Returns:
        At most 36 characters of Binance's alphabet.
    """
    minutes = int(close.timestamp()) // 60
    # some symbols are longer, and some are written in Chinese
    name = symbol if _PLAIN.fullmatch(symbol) else "x" + hashlib.sha256(symbol.encode()).hexdigest()[:9]
    text = f"{client_prefix(instance)}.{_base36(minutes)}.{name}.{leg}{attempt}"
    if not CLIENT_ID.fullmatch(text):
        raise ValueError(f"client id {text!r} does not fit the exchange's alphabet")
    return text


def follow_up_id(client_id: str, attempt: int) -> str:
    """Name the one order that may follow on another, whose attempt is given."""
    return f"{client_id.removesuffix(str(attempt))}{attempt + FOLLOW_UP}"


def _base36(number: int) -> str:
    digits = ""
    while number:
        number, rest = divmod(number, 36)
        digits = _DIGITS[rest] + digits
    return digits or "0"
