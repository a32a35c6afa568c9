"""What becomes of one entry order under three faults: freqtrade and trader on the same embedded exchange.

    python -m benchmarks.freqtrade_faults            all of it, some six minutes, the first time with an installation
    python -m benchmarks.freqtrade_faults --rows lost_answer

freqtrade is installed into an environment of its own (`.venv-freqtrade`), from the package index; everything it says to
an exchange goes to the embedded one on this machine, and every other name is nowhere to it. Each client begins with an
account that holds nothing and a strategy that wants to be in the market once. The first order either sends meets the
fault. Whoever is killed is started once more. The ledger of the exchange says what it came to.

The last line is JSON. It leaves with 1 where trader doubled anything; what freqtrade does is measured and not judged.
"""

import argparse
import json
import os
import signal
import socket
import sqlite3
import ssl
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
VENV = ROOT / ".venv-freqtrade"
VERSION = "2026.9"
FOREIGN = Path(__file__).parent / "foreign"
POST = "POST /fapi/v1/order"
FAULTS: Mapping[str, Mapping[str, Any] | None] = {
    "no fault": None,
    "lost_answer": {"do": "lose_answer"},
    "timeout_1007": {"do": "timeout_1007_executed"},
    "kill_in_post": {"do": "kill_after"},
}
WATCHED = 45.0
"""Seconds after its first order for which freqtrade is watched: nine turns of its loop."""
PATIENCE = 120.0
AWAKE = 60.0
"""Seconds it may take to begin again."""
# waits for a line, then becomes the client: the exchange has to know its process id before it begins
GATE = "import os, sys; sys.stdin.readline(); os.execv(sys.argv[1], sys.argv[1:])"


@dataclass(frozen=True)
class Came:
    """What the exchange's ledger says in the end."""

    fault: str
    client: str
    posts: int
    executed: int
    wanted: Decimal
    held: Decimal

    @property
    def times(self) -> str:
        """How often the position that was wanted is held."""
        return f"{self.held / self.wanted:.2f}" if self.wanted else "none wanted"

    def line(self) -> str:
        counts = f"{self.posts:>6}{self.executed:>10}{self.wanted:>9}{self.held:>9}{self.times:>7}"
        return f"{self.fault:<14}{self.client:<19}{counts}"


def install() -> str:
    """Make freqtrade's own environment where it is missing, and return the version that runs."""
    python = VENV / "bin" / "python"
    ask = [str(python), "-c", "import freqtrade; print(freqtrade.__version__)"]
    if not python.exists() or subprocess.run(ask, capture_output=True, check=False).returncode:
        print(f"Installing freqtrade {VERSION} into {VENV.name}", file=sys.stderr)
        subprocess.run([sys.executable, "-m", "venv", str(VENV)], check=True)
        pip = [str(python), "-m", "pip", "install", "-q", "--disable-pip-version-check"]
        subprocess.run([*pip, f"freqtrade=={VERSION}"], check=True)
    return subprocess.run(ask, capture_output=True, check=True, text=True).stdout.strip()


# --- freqtrade -------------------------------------------------------------------------------------------------------


def freqtrade(fault: str, folder: Path) -> Came:
    """Let freqtrade enter once and watch it."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("TRADER_")}
    environment |= {"PYTHONPATH": str(FOREIGN), "CONFINED_PORT": str(port), "CONFINED_CA": str(folder / "ca.pem")}
    clients = [_gated(environment, folder)]
    with _serving(folder, port, fault, clients[0].pid) as ask:
        (folder / "config.json").write_text(json.dumps(_configuration(ask("/keys"))))
        try:
            _go(clients[0])
            began = _wait(lambda: ask("/ledger")["counts"].get(POST), clients[0])
            until = time.monotonic() + WATCHED
            while began and time.monotonic() < until:
                if clients[-1].poll() is not None and len(clients) == 1:
                    clients.append(_gated(environment, folder))
                    _go(clients[-1])
                    until = time.monotonic() + AWAKE + WATCHED
                time.sleep(1)
        finally:
            _end(clients[-1])
        ledger = ask("/ledger")
    if not ledger["orders"]:
        raise SystemExit(f"freqtrade sent no order; its last words: {(folder / 'client.log').read_text()[-800:]}")
    return _told(fault, f"freqtrade {VERSION}", ledger, Decimal(ledger["orders"][0]["orig_qty"]))


def _gated(environment: Mapping[str, str], folder: Path) -> subprocess.Popen[str]:
    """Start a process that becomes freqtrade when it is told to."""
    words = ["-m", "freqtrade", "trade", "-c", "config.json", "-s", "AlwaysLong", "--strategy-path", str(FOREIGN)]
    words += ["--userdir", ".", "--db-url", f"sqlite:///{folder}/trades.sqlite"]
    with (folder / "client.log").open("a") as log:
        return subprocess.Popen(
            [sys.executable, "-S", "-c", GATE, str(VENV / "bin" / "python"), *words],
            stdin=subprocess.PIPE, stdout=log, stderr=log, env=dict(environment), cwd=folder, text=True,
        )  # fmt: skip


def _go(client: subprocess.Popen[str]) -> None:
    assert client.stdin is not None
    client.stdin.write("\n")
    client.stdin.close()


def _wait(happened: Callable[[], Any], client: subprocess.Popen[str]) -> bool:
    until = time.monotonic() + PATIENCE
    while time.monotonic() < until and client.poll() is None:
        if happened():
            return True
        time.sleep(0.5)
    return bool(happened())


def _end(client: subprocess.Popen[str]) -> None:
    client.terminate()
    try:
        client.wait(60)
    except subprocess.TimeoutExpired:
        client.kill()
        client.wait()


@contextmanager
def _serving(folder: Path, port: int, fault: str, client: int) -> Iterator[Callable[[str], Any]]:
    """Serve an exchange whose clock is the time outside, and give a way to ask it."""
    words = ["--dir", "exchange", "--ca-dir", ".", "--port", str(port), "--clock", "real", "--client-pid", str(client)]
    process = subprocess.Popen(
        [sys.executable, "-m", "trader.sim", *words, "--faults", _plan(folder, fault)],
        stdout=subprocess.PIPE, cwd=folder, text=True, env=os.environ | {"PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    try:
        assert process.stdout is not None
        ready = json.loads(process.stdout.readline())
        trust = ssl.create_default_context(cafile=ready["ca"])

        def ask(path: str) -> Any:
            if path == "/keys":
                return ready
            address = f"https://localhost:{port}/sim/v1{path}"
            request = urllib.request.Request(address, headers={"X-Sim-Control": ready["control"]})
            with urllib.request.urlopen(request, context=trust, timeout=20) as answer:
                return json.load(answer)

        yield ask
    finally:
        process.terminate()
        process.wait(30)


def _plan(folder: Path, fault: str) -> str:
    path = folder / "faults.json"
    chosen = FAULTS[fault]
    path.write_text(json.dumps([] if chosen is None else [{"on": {"path": POST, "nth": 1}, **chosen}]))
    return str(path)


def _configuration(ready: Mapping[str, Any]) -> dict[str, Any]:
    book = {"price_side": "other", "use_order_book": True, "order_book_top": 1}
    # what its client would ask of parts of Binance that are not futures
    only_futures = {"fetchCurrencies": False, "fetchMargins": False, "fetchMarkets": {"types": ["linear"]}}
    return {
        "max_open_trades": 1,
        "stake_currency": "USDT",
        "stake_amount": 1000,
        "tradable_balance_ratio": 0.99,
        "dry_run": False,
        "trading_mode": "futures",
        "margin_mode": "isolated",
        "entry_pricing": book,
        "exit_pricing": book,
        "order_types": {"entry": "market", "exit": "market", "stoploss": "market", "stoploss_on_exchange": False},
        "exchange": {
            "name": "binance",
            "key": ready["api_key"],
            "secret": ready["api_secret"],
            "enable_ws": False,
            "ccxt_config": {"options": only_futures},
            "pair_whitelist": ["ADA/USDT:USDT"],
            "pair_blacklist": [],
        },
        "pairlists": [{"method": "StaticPairList"}],
        "internals": {"process_throttle_secs": 5},
        "initial_state": "running",
    }


# --- trader ----------------------------------------------------------------------------------------------------------


def trader(fault: str, folder: Path) -> Came:
    """Let trader enter once, and start it again where it was killed."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("TRADER_")}
    environment |= {"TRADER_DATA_DIR": str(folder), "TRADER_SIM__FAULTS": _plan(folder, fault), "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", "from trader.cli import main; main()", "run", "--speed", "max"]
    # one close, at which the shipped strategy enters
    command += ["--from", "2024-01-12", "--to", "2024-01-12"]
    for _ in range(2):
        done = subprocess.run(command, env=environment, cwd=folder, capture_output=True, text=True, check=False)
        if done.returncode != -signal.SIGKILL:
            break
    if done.returncode:
        raise SystemExit(f"trader ended with {done.returncode}: {done.stderr[-800:]}")
    (exchange,) = [path.parent for path in folder.glob("sim/*/ledger.db")]
    ledger = _read(exchange)
    return _told(fault, "trader", ledger, sum((Decimal(row) for row in ledger["wanted"]), Decimal(0)))


def _read(exchange: Path) -> dict[str, Any]:
    with closing(sqlite3.connect(exchange / "ledger.db")) as file:
        orders = [{"executed_qty": row[0]} for row in file.execute("select executed_qty from orders")]
        positions = [{"quantity": row[0]} for row in file.execute("select quantity from positions")]
    with closing(sqlite3.connect(exchange / "journal.db")) as file:
        wanted = [row[0] for row in file.execute("select quantity from orders")]
        posts = sum(row[0] for row in file.execute("select sends from orders"))
    return {"orders": orders, "positions": positions, "wanted": wanted, "counts": {POST: posts}}


def _told(fault: str, client: str, ledger: Mapping[str, Any], wanted: Decimal) -> Came:
    executed = sum(1 for order in ledger["orders"] if Decimal(order["executed_qty"]))
    held = sum((Decimal(position["quantity"]) for position in ledger["positions"]), Decimal(0))
    return Came(fault, client, ledger["counts"].get(POST, 0), executed, wanted, held)


def main(words: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.freqtrade_faults")
    parser.add_argument("--rows", nargs="*", choices=sorted(FAULTS), default=list(FAULTS))
    chosen = parser.parse_args(words)
    version = install()
    print(f"{'fault':<14}{'client':<19}{'posts':>6}{'executed':>10}{'wanted':>9}{'held':>9}{'times':>7}")
    found: list[Came] = []
    for fault in chosen.rows:
        for run in (freqtrade, trader):
            with tempfile.TemporaryDirectory(prefix="faults-") as folder:
                found.append(run(fault, Path(folder)))
            print(found[-1].line(), flush=True)
    ours = [one for one in found if one.client == "trader"]
    doubled = [one.fault for one in ours if one.held != one.wanted]
    theirs = [one.fault for one in found if one not in ours and one.held != one.wanted]
    print(json.dumps({"freqtrade": version, "freqtrade_doubled": theirs, "trader_doubled": doubled}))
    return 1 if doubled else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
