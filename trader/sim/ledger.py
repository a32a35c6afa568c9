"""Keep everything on disk: one SQLite file, one transaction a request, committed before the answer."""

import json
import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import MISSING, dataclass, field, fields
from decimal import Decimal
from pathlib import Path
from typing import Any, get_type_hints

from trader.sim.account import Account
from trader.sim.errors import StartError
from trader.sim.faults import Shot
from trader.sim.floor import News
from trader.sim.records import Algo, Income, Order, Position, Setting, Trade
from trader.sim.switches import Switches

_TABLES: Mapping[str, type] = {
    "orders": Order,
    "trades": Trade,
    "incomes": Income,
    "positions": Position,
    "settings": Setting,
    "algos": Algo,
}
_SQL_TYPES = {int: "INTEGER", bool: "INTEGER", str: "TEXT", Decimal: "TEXT"}
_KEYS = {
    "orders": "order_id",
    "trades": "trade_id",
    "incomes": "tran_id",
    "positions": "symbol, side",
    "settings": "symbol",
    "algos": "algo_id",
}
_SWITCHES = "CREATE TABLE IF NOT EXISTS switches (id INTEGER PRIMARY KEY, body TEXT NOT NULL)"


@dataclass(slots=True)
class State:
    """Hold the small things that change with every request."""

    clock: int
    requests: int = 0
    next_order: int = 1
    next_trade: int = 1
    next_income: int = 1
    next_algo: int = 1
    counts: dict[str, int] = field(default_factory=dict)
    windows: dict[str, list[int]] = field(default_factory=dict)
    dual: bool = False
    multi_assets: bool = False
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
    algos: dict[int, Algo] = field(default_factory=dict)

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
        self.algos.update((algo.algo_id, algo) for algo in news.algos)
        news.orders, news.trades, news.incomes, news.algos = [], [], [], []


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
        elif not self.new:
            self._renew(known)

    def create(self, identity: Mapping[str, str], state: State, account: Account) -> None:
        """Write a new ledger in one transaction."""
        db = self._db
        db.execute("BEGIN IMMEDIATE")
        for table in _TABLES:
            self._create_table(table)
        db.execute(_SWITCHES)
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

    def _create_table(self, table: str) -> None:
        columns = ", ".join(f'"{name}" {kind} NOT NULL' for name, kind, _ in _columns(table))
        self._db.execute(f"CREATE TABLE {table} ({columns}, PRIMARY KEY ({_KEYS[table]}))")

    def _renew(self, known: set[str]) -> None:
        """Add what a ledger of an earlier version lacks; refuse one that holds what this version does not know."""
        for table in _TABLES:
            if table not in known:
                self._create_table(table)
                continue
            there = {row[1] for row in self._db.execute(f"PRAGMA table_info({table})")}
            wanted = {name: (kind, default) for name, kind, default in _columns(table)}
            absent = [name for name in wanted if name not in there]
            if there - wanted.keys() or any(wanted[name][1] is None for name in absent):
                raise StartError(
                    f"The exchange's ledger {self.path} was written by another version (its table {table} is "
                    "different); move that folder away or give another --dir."
                )
            for name in absent:
                kind, default = wanted[name]
                self._db.execute(f'ALTER TABLE {table} ADD COLUMN "{name}" {kind} NOT NULL DEFAULT {default}')
        self._db.execute(_SWITCHES)

    def identity(self) -> dict[str, str]:
        """Read what the ledger was begun with."""
        return dict(self._db.execute("SELECT name, value FROM identity"))

    def load(self) -> tuple[State, Account, Books]:
        """Read everything back."""
        clock, requests, wallet, body = self._db.execute("SELECT clock, requests, wallet, body FROM state").fetchone()
        state = State(clock, requests, **json.loads(body))
        account = Account(Decimal(wallet), state.dual, state.multi_assets, update_time=state.update_time)
        for position in self._rows("positions", Position):
            account.positions[(position.symbol, position.side)] = position
        for setting in self._rows("settings", Setting):
            account.settings[setting.symbol] = setting
        books = Books()
        rows = (self._rows("orders", Order), self._rows("trades", Trade), self._rows("incomes", Income))
        books.take(News(*rows, self._rows("algos", Algo)))
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
        switches: Switches | None = None,
    ) -> None:
        """Commit one step: the state always, the news appended, positions and settings when ``whole``, faults fired."""
        db = self._db
        db.execute("BEGIN IMMEDIATE")
        if news.orders or news.trades or news.incomes or news.algos:
            self._insert("orders", news.orders)
            self._insert("trades", news.trades)
            self._insert("incomes", news.incomes)
            self._insert("algos", news.algos)
            whole = True
        if whole:
            db.execute("DELETE FROM positions")
            self._insert("positions", account.positions.values())
            self._insert("settings", account.settings.values())
        for shot in shots:
            self._fire(shot)
        for number in late_done:
            db.execute("DELETE FROM late WHERE id = ?", (number,))
        if switches is not None:
            db.execute("INSERT OR REPLACE INTO switches VALUES (1, ?)", (json.dumps(switches.document()),))
        self._save_state(state, account)
        db.execute("COMMIT")
        books.take(news)

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    def switches(self) -> Switches:
        """Read what control calls have changed."""
        row = self._db.execute("SELECT body FROM switches").fetchone()
        return Switches(**json.loads(row[0])) if row else Switches()

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
            "next_algo": state.next_algo,
            "counts": state.counts,
            "windows": state.windows,
            "dual": account.dual,
            "multi_assets": account.multi_assets,
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
        columns, marks = ", ".join(f'"{name}"' for name in names), ", ".join("?" * len(names))
        rows = [
            tuple(str(value) if isinstance(value := getattr(record, name), Decimal) else value for name in names)
            for record in records
        ]
        if rows:
            self._db.executemany(f"INSERT OR REPLACE INTO {table} ({columns}) VALUES ({marks})", rows)  # noqa: S608 - our own table names

    def _rows(self, table: str, kind: type) -> list[Any]:
        hints = get_type_hints(kind)
        readers = [(each.name, hints[each.name]) for each in fields(kind)]
        names = ", ".join(f'"{name}"' for name, _ in readers)
        return [
            kind(**{name: make(value) for (name, make), value in zip(readers, row, strict=True)})
            for row in self._db.execute(f"SELECT {names} FROM {table} ORDER BY rowid")  # noqa: S608
        ]


def _columns(table: str) -> list[tuple[str, str, str | None]]:
    """List name, SQL type and default of a table's columns, the default None where a row must say it."""
    kind = _TABLES[table]
    hints = get_type_hints(kind)
    rows: list[tuple[str, str, str | None]] = []
    for each in fields(kind):
        text = None if each.default is MISSING else str(int(each.default) if hints[each.name] is bool else each.default)
        rows.append((each.name, _SQL_TYPES[hints[each.name]], None if text is None else f"'{text}'"))
    return rows
