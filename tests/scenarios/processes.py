"""Run the real command line in processes of its own, and read what the exchange and the journal say afterwards."""

import json
import os
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.scenarios.forge import forge

COMMAND = (sys.executable, "-c", "from trader.cli import main; main()")
NEVER_FORKED = {"report"}
"""The drawing of figures starts threads that no fork has."""
MONEY_ROWS = {
    "orders": "select client_id, symbol, side, reduce_only, orig_qty, executed_qty, avg_price, status from orders",
    "trades": "select trade_id, symbol, side, price, qty, realized_pnl, commission from trades",
    "incomes": "select tran_id, symbol, income_type, income from incomes",
    "positions": "select symbol, quantity, cost, margin from positions",
    "wallet": "select wallet from state",
}


@dataclass(frozen=True)
class Home:
    """A data directory and everything that runs in it."""

    data: Path

    def environment(self, **settings: str) -> dict[str, str]:
        """The environment of a process: this home, these settings, nothing else of ours."""
        plain = {name: value for name, value in os.environ.items() if not name.startswith("TRADER_")}
        own = {"TRADER_DATA_DIR": str(self.data), "TRADER_LOG__LEVEL": "WARNING", "TRADER_STATUS__PORT": "0"}
        return plain | own | settings

    def start(self, *words: str, **settings: str) -> subprocess.Popen[str]:
        """Start a command."""
        return subprocess.Popen(
            [*COMMAND, *words],
            env=self.environment(**settings),
            cwd=self.data.parent,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, *words: str, timeout: float = 400, **settings: str) -> subprocess.CompletedProcess[str]:
        """Run a command to its end, in a process forked from one that has imported it where that can be."""
        if words[0] in NEVER_FORKED:
            with self.start(*words, **settings) as process:
                out, err = process.communicate(timeout=timeout)
                return subprocess.CompletedProcess(process.args, process.returncode, out, err)
        with tempfile.TemporaryFile("w+") as said, tempfile.TemporaryFile("w+") as logged:
            code = forge().run(words, self.environment(**settings), self.data.parent, (said, logged), timeout)
            for one in (said, logged):
                one.seek(0)
            return subprocess.CompletedProcess([*COMMAND, *words], code, said.read(), logged.read())

    def document(self, *words: str, **settings: str) -> Any:
        """Run a command that has to succeed and return its JSON."""
        done = self.run(*words, "--json", **settings)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    @property
    def exchange(self) -> Path:
        """The one embedded exchange that ran here."""
        (found,) = [path.parent for path in self.data.glob("sim/*/ledger.db")]
        return found

    def ledger(self) -> dict[str, list[tuple[Any, ...]]]:
        """What the exchange has written down, without times."""
        return {name: rows(self.exchange / "ledger.db", query) for name, query in MONEY_ROWS.items()}

    def journal(self, query: str) -> list[tuple[Any, ...]]:
        """Ask the journal."""
        return rows(self.exchange / "journal.db", query)

    def plan(self, *faults: Mapping[str, Any]) -> str:
        """Write a fault plan and return its path."""
        path = self.data / f"faults-{len(list(self.data.glob('faults-*')))}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(list(faults)))
        return str(path)


def rows(path: Path, query: str) -> list[tuple[Any, ...]]:
    """Ask a database that nobody writes."""
    with sqlite3.connect(path) as connection:
        found = connection.execute(f"{query} order by 1, 2" if "," in query else query).fetchall()
    connection.close()
    return found


def agrees(home: Home) -> None:
    """Check what must hold after every run: journal and exchange tell the same story, and no order was doubled."""
    ledger = home.ledger()
    clients = [row[0] for row in ledger["orders"] if not row[0].startswith("autoclose-")]
    assert len(clients) == len(set(clients)), "an order was sent twice"
    known = {row[0] for row in home.journal("select client_id, seq from orders")}
    foreign = [client for client in clients if client not in known]
    assert foreign == [], "the exchange filled what the journal never intended"
    assert home.journal("select count(*) from orders where final = 0") == [(0,)]
    trades = {str(row[0]) for row in ledger["trades"]}
    assert {row[0] for row in home.journal("select trade_id, symbol from fills")} == trades
    held = {row[0]: row[1] for row in ledger["positions"] if float(row[1])}
    believed = {row[0]: row[1] for row in home.journal("select symbol, quantity from positions") if float(row[1])}
    assert {symbol: float(amount) for symbol, amount in held.items()} == {
        symbol: float(amount) for symbol, amount in believed.items()
    }


def words(*given: object) -> Sequence[str]:
    """Write arguments as a shell would pass them."""
    return [str(word) for word in given]
