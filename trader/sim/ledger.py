"""Keep everything on disk: one SQLite file, one transaction a request, committed before the answer."""

import json
import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from decimal import Decimal
from pathlib import Path
from typing import Any, get_type_hints

from trader.sim.account import Account
from trader.sim.errors import StartError
from trader.sim.faults import Shot
from trader.sim.records import Income, Order, Position, Setting, Trade
from trader.sim.venue import News

_TABLES: Mapping[str, type] = {
    "orders": Order,
    "trades": Trade,
    "incomes": Income,
    "positions": Position,
    "settings": Setting,
}
_SQL_TYPES = {int: "INTEGER", bool: "INTEGER", str: "TEXT", Decimal: "TEXT"}
_KEYS = {
    "orders": "order_id",
    "trades": "trade_id",
    "incomes": "tran_id",
    "positions": "symbol, side",
    "settings": "symbol",
}


@dataclass(slots=True)
class State:
    """Hold the small things that change with every request."""

    clock: int
    requests: int = 0
    next_order: int = 1
    next_trade: int = 1
    next_income: int = 1
    counts: dict[str, int] = field(default_factory=dict)
    windows: dict[str, list[int]] = field(default_factory=dict)
    dual: bool = False
    update_time: int = 0
    veil: dict[str, Any] | None = None


@dataclass(slots=True)
class Books:
    """Hold the history in memory as it stands on disk."""

    orders: list[Order] = field(default_factory=list)
    trades: list[Trade] = field(default_factory=list)
    incomes: list[Income] = field(default_factory=list)
    by_client_id: dict[tuple[str, str], Order] = field(default_factory=dict)
    by_id: dict[int, Order] = field(default_factory=dict)
    trades_of: dict[int, list[Trade]] = field(default_factory=dict)

    def take(self, news: News) -> None:
        """Move news that has been written into the history; the latest order under a client id is the one found."""
        for order in news.orders:
            if order.order_id in self.by_id:
                continue
            self.orders.append(order)
            self.by_id[order.order_id] = order
            self.by_client_id[(order.symbol, order.client_id)] = order
        for trade in news.trades:
            self.trades_of.setdefault(trade.order_id, []).append(trade)
        self.trades += news.trades
        self.incomes += news.incomes
        news.orders, news.trades, news.incomes = [], [], []


class Ledger:
    """Own the file ``ledger.db``. ``save`` is one durable step; nothing is answered before it returns."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.new = not path.exists()
        try:
            self._db = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
            self._db.execute("PRAGMA journal_mode=WAL")
            self._db.execute("PRAGMA synchronous=NORMAL")
            self._db.execute("PRAGMA wal_autocheckpoint=4000")
            known = {row[0] for row in self._db.execute("SELECT name FROM sqlite_master WHERE type='table'")}
        except sqlite3.Error as error:
            raise StartError(
                f"The exchange's ledger {path} cannot be opened ({error}); move it away or free its disk.", 74
            ) from error
        if "state" not in known:
            self.new = True

    def create(self, identity: Mapping[str, str], state: State, account: Account) -> None:
        """Write a new ledger in one transaction."""
        db = self._db
        db.execute("BEGIN IMMEDIATE")
        for table, kind in _TABLES.items():
            hints = get_type_hints(kind)
            columns = ", ".join(f'"{each.name}" {_SQL_TYPES[hints[each.name]]} NOT NULL' for each in fields(kind))
            db.execute(f"CREATE TABLE {table} ({columns}, PRIMARY KEY ({_KEYS[table]}))")
        db.execute("CREATE TABLE identity (name TEXT PRIMARY KEY, value TEXT NOT NULL)")
        db.execute(
            "CREATE TABLE state (id INTEGER PRIMARY KEY, clock INTEGER NOT NULL, requests INTEGER NOT NULL, "
            "wallet TEXT NOT NULL, body TEXT NOT NULL)"
        )
        db.execute(
            "CREATE TABLE faults (id INTEGER PRIMARY KEY, key TEXT UNIQUE, plan TEXT NOT NULL, fired INTEGER NOT NULL)"
        )
        db.execute(
            "CREATE TABLE fault_log (id INTEGER PRIMARY KEY, request INTEGER NOT NULL, path TEXT NOT NULL, "
            "action TEXT NOT NULL, time INTEGER NOT NULL, fault INTEGER)"
        )
        db.execute("CREATE TABLE late (id INTEGER PRIMARY KEY, due INTEGER NOT NULL, params TEXT NOT NULL)")
        db.executemany("INSERT INTO identity VALUES (?, ?)", identity.items())
        db.execute("INSERT INTO state VALUES (1, ?, 0, ?, '{}')", (state.clock, str(account.wallet)))
        self._save_state(state, account)
        db.execute("COMMIT")
        self.new = False

    def identity(self) -> dict[str, str]:
        """Read what the ledger was begun with."""
        return dict(self._db.execute("SELECT name, value FROM identity"))

    def load(self) -> tuple[State, Account, Books]:
        """Read everything back."""
        clock, requests, wallet, body = self._db.execute("SELECT clock, requests, wallet, body FROM state").fetchone()
        state = State(clock, requests, **json.loads(body))
        account = Account(Decimal(wallet), dual=state.dual, update_time=state.update_time)
        for position in self._rows("positions", Position):
            account.positions[(position.symbol, position.side)] = position
        for setting in self._rows("settings", Setting):
            account.settings[setting.symbol] = setting
        books = Books()
        books.take(News(self._rows("orders", Order), self._rows("trades", Trade), self._rows("incomes", Income)))
        return state, account, books

    def save(
        self,
        state: State,
        account: Account,
        news: News,
        books: Books,
        *,
        whole: bool,
        shots: Sequence[Shot] = (),
        late_done: Sequence[int] = (),
    ) -> None:
        """Commit one step: the state always, the news appended, positions and settings when ``whole``, faults fired."""
        db = self._db
        db.execute("BEGIN IMMEDIATE")
        if news.orders or news.trades or news.incomes:
            self._insert("orders", news.orders)
            self._insert("trades", news.trades)
            self._insert("incomes", news.incomes)
            whole = True
        if whole:
            db.execute("DELETE FROM positions")
            self._insert("positions", account.positions.values())
            self._insert("settings", account.settings.values())
        for shot in shots:
            self._fire(shot)
        for number in late_done:
            db.execute("DELETE FROM late WHERE id = ?", (number,))
        self._save_state(state, account)
        db.execute("COMMIT")
        books.take(news)

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    # -- faults ---------------------------------------------------------------------------------------------------

    def add_fault(self, plan: Mapping[str, Any], key: str | None) -> None:
        """Keep a fault; one with a key that is already there is the same fault."""
        self._db.execute(
            "INSERT OR IGNORE INTO faults (key, plan, fired) VALUES (?, ?, 0)", (key, json.dumps(plan, sort_keys=True))
        )

    def faults(self) -> list[tuple[int, dict[str, Any], bool]]:
        """List (number, plan, fired)."""
        rows = self._db.execute("SELECT id, plan, fired FROM faults ORDER BY id")
        return [(number, json.loads(plan), bool(fired)) for number, plan, fired in rows]

    def _fire(self, shot: Shot) -> None:
        if shot.fault is not None:
            self._db.execute("UPDATE faults SET fired = 1 WHERE id = ?", (shot.fault,))
        self._db.execute(
            "INSERT INTO fault_log (request, path, action, time, fault) VALUES (?, ?, ?, ?, ?)",
            (shot.request, shot.path, shot.action, shot.time, shot.fault),
        )

    def fault_log(self) -> list[dict[str, Any]]:
        """List what was fired, oldest first."""
        rows = self._db.execute("SELECT request, path, action, time, fault FROM fault_log ORDER BY id")
        return [dict(zip(("request", "path", "do", "time", "fault"), row, strict=True)) for row in rows]

    def add_late(self, due: int, params: Mapping[str, str]) -> None:
        """Keep an order that arrives later."""
        self._db.execute("INSERT INTO late (due, params) VALUES (?, ?)", (due, json.dumps(params)))

    def late(self) -> list[tuple[int, int, dict[str, str]]]:
        """List (due, number, parameters) in the order they fall due."""
        rows = self._db.execute("SELECT due, id, params FROM late ORDER BY due, id")
        return [(due, number, json.loads(params)) for due, number, params in rows]

    # -- rows -----------------------------------------------------------------------------------------------------

    def _save_state(self, state: State, account: Account) -> None:
        body = {
            "next_order": state.next_order,
            "next_trade": state.next_trade,
            "next_income": state.next_income,
            "counts": state.counts,
            "windows": state.windows,
            "dual": account.dual,
            "update_time": account.update_time,
            "veil": state.veil,
        }
        self._db.execute(
            "UPDATE state SET clock = ?, requests = ?, wallet = ?, body = ?",
            (state.clock, state.requests, str(account.wallet), json.dumps(body)),
        )

    def _insert(self, table: str, records: Iterable[Any]) -> None:
        kind = _TABLES[table]
        names = [each.name for each in fields(kind)]
        marks = ", ".join("?" * len(names))
        rows = [
            tuple(str(value) if isinstance(value := getattr(record, name), Decimal) else value for name in names)
            for record in records
        ]
        if rows:
            self._db.executemany(f"INSERT OR REPLACE INTO {table} VALUES ({marks})", rows)  # noqa: S608 - our own table names

    def _rows(self, table: str, kind: type) -> list[Any]:
        hints = get_type_hints(kind)
        readers = [(each.name, hints[each.name]) for each in fields(kind)]
        return [
            kind(**{name: make(value) for (name, make), value in zip(readers, row, strict=True)})
            for row in self._db.execute(f"SELECT * FROM {table} ORDER BY rowid")  # noqa: S608
        ]
