"""What the checker judges: the rows of the ledger and of the journal's file, and what was seen meanwhile.

Like the checker it imports nothing of the product.
"""

import sqlite3
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Terms:
    """What the checker is told beside the two files.

    Args:
        instance: account and strategy, from which orders are named.
        interval: milliseconds of a candle.
        max_delay: milliseconds after a close until which it may be decided.
        closes: by symbol the close price of every whole candle by its close time, built from the tape.
        limit: the largest notional of a position, in USDT.
        span: the lowest and the highest price of a symbol from about one moment to another.
    """

    instance: str
    interval: int
    max_delay: int
    closes: Mapping[str, Mapping[int, float]]
    limit: Decimal
    span: Callable[[str, int, int], tuple[float, float]] = lambda symbol, since, until: (0.0, float("inf"))


@dataclass
class Case:
    """One run: rows of both files, and what was seen of each order as it left.

    `struck` holds when the exchange did something to an order's request that a plan had asked for.
    """

    orders: list[dict[str, Any]]
    trades: list[dict[str, Any]]
    incomes: list[dict[str, Any]]
    held: dict[str, Decimal]
    wallet: Decimal
    equity_start: Decimal
    journal: dict[str, list[dict[str, Any]]]
    posted: Sequence[Any] = ()
    outside: frozenset[str] = frozenset()
    restricted: Mapping[str, str] = field(default_factory=dict)
    undying: bool = True
    legs: int | None = None
    sides: Mapping[str, int] = field(default_factory=dict)
    algos: Sequence[Mapping[str, Any]] = ()
    stops: bool = False
    ended_well: bool = True
    asked: Sequence[Any] = ()
    outages: Sequence[tuple[str, int, int]] = ()
    put_back_at: int | None = None
    looks: Sequence[tuple[int, int]] = ()
    lives: Sequence[int] = ()
    dealt: Sequence[tuple[str, str]] = ()
    ends: Sequence[str] = ()
    due: Sequence[int] = ()
    struck: Sequence[int] = ()
    canaries: Sequence[str] = ()
    written: Mapping[str, bytes] = field(default_factory=dict)
    terms: Terms = field(default_factory=lambda: Terms("", 0, 0, {}, Decimal(0)))

    @property
    def foreign(self) -> list[dict[str, Any]]:
        """Return what somebody traded by hand."""
        by_hand = {row["order_id"] for row in self.orders if row["client_id"].startswith(BY_HAND)}
        return [row for row in self.trades if row["order_id"] in by_hand]

    @property
    def stopped(self) -> list[dict[str, Any]]:
        """Return what our stops traded."""
        became = {row["order_id"] for row in self.algos if row["order_id"]}
        return [row for row in self.trades if row["order_id"] in became]

    def client(self, order_id: int) -> str:
        """Return the client id of an order."""
        return next(str(row["client_id"]) for row in self.orders if row["order_id"] == order_id)


BY_HAND = "web_"
"""How the exchange names orders that are sent from its own pages."""

PACKED = ("transcripts", "blocks")
TABLES = (
    *PACKED,
    "decisions",
    "orders",
    "stops",
    "fills",
    "incomes",
    "baselines",
    "positions",
    "states",
    "equity",
    "requests",
    "meta",
)


def read(ledger: sqlite3.Connection, journal: Path, **more: Any) -> Case:
    """Read both files; `more` is the rest of the case."""
    with closing(sqlite3.connect(f"file:{journal}?mode=ro", uri=True)) as file:
        tables = {name: _rows(file, name) for name in TABLES}
    positions = _rows(ledger, "positions")
    held: dict[str, Decimal] = defaultdict(Decimal)
    for row in positions:
        held[row["symbol"]] += Decimal(row["quantity"])
    (wallet,) = ledger.execute("SELECT wallet FROM state").fetchone()
    begun = dict(ledger.execute("SELECT name, value FROM identity"))
    return Case(
        orders=_rows(ledger, "orders"),
        trades=_rows(ledger, "trades"),
        incomes=_rows(ledger, "incomes"),
        held={symbol: quantity for symbol, quantity in held.items() if quantity},
        wallet=Decimal(wallet),
        equity_start=Decimal(begun.get("equity", "10000")),
        journal=tables,
        algos=_rows(ledger, "algos"),
        struck=[row["time"] for row in _rows(ledger, "fault_log") if row["path"] == "POST /fapi/v1/order"],
        **more,
    )


def _rows(file: sqlite3.Connection, table: str) -> list[dict[str, Any]]:
    cursor = file.execute(f"SELECT * FROM {table} ORDER BY rowid")
    names = [column[0] for column in cursor.description]
    return [dict(zip(names, row, strict=True)) for row in cursor]
