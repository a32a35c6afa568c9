"""Real processes: SIGKILL before and after every step of a cycle, and a thousand closes under random faults."""

import json
import random
import signal
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

from tests.proof import checker, resting
from tests.proof.case import Terms, read
from tests.proof.tasks import Outcome, Task
from tests.scenarios.processes import Home, agrees, rows
from trader.sim.generated import generated_tape

ROOT = Path(__file__).resolve().parents[2]
POST = "POST /fapi/v1/order"
BEGIN = datetime(2024, 1, 12, tzinfo=UTC)
CLOSE = timedelta(hours=16)
PIECES = 8
RUNS = 5
CLOSES = 1000
WARM, GROWTH = 50, 5.0
"""After how many closes of a life its memory is looked at, and by how many MB it may grow from there."""
_HOUR = 3_600_000

ORDER_FAULTS: list[Any] = [
    "lose_answer", "drop_request", "unknown_503_executed", "unknown_503_not_executed", "service_unavailable_503",
    "timeout_1007_executed", "timeout_1007_not_executed", {"do": "html_200", "effect": True}, "truncated",
    {"do": "html_200", "effect": False}, {"do": "empty_200", "effect": True}, {"do": "late", "ms": 3000},
    {"do": "late_visibility", "ms": 8000}, {"do": "rest", "ms": 2000},
    {"do": "status", "status": 429, "code": -1003, "msg": "Too many requests.", "retry_after": 20},
    {"do": "status", "status": 400, "code": -1021, "msg": "Timestamp for this request is outside of the recvWindow."},
]  # fmt: skip
READ_FAULTS: list[Any] = [
    "lose_answer", "drop_request", "html_200", "empty_200", "truncated", "service_unavailable_503", "maintenance",
    {"do": "status", "status": 429, "code": -1003, "msg": "Too many requests.", "retry_after": 5},
]  # fmt: skip


def process_tasks() -> list[Task]:
    """List the runs of real processes."""
    kills = [Task("processes", f"kills-{piece}") for piece in range(PIECES)]
    return kills + [Task("processes", f"run-{seed}") for seed in range(RUNS)]


def run_process_task(task: Task, seeds: int) -> Outcome:
    """Do one of them."""
    kind, _, number = task.which.partition("-")
    with tempfile.TemporaryDirectory(prefix="proof-") as folder:
        if kind == "run":
            return Outcome(str(task), 1, thousand(Path(folder), int(number), CLOSES).broken)
        plans, broken = 0, []
        points = list(kill_points(Path(folder)))
        for point in points[int(number) :: PIECES]:
            plans += 1
            broken += killed_at(Path(folder) / f"{plans}", point)
        return Outcome(str(task), plans, broken)


# --- SIGKILL at every step -------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class KillPoint:
    """One instant of the second close of a short run: before or after its n-th request or commit."""

    what: str
    when: str
    number: int


def story(closes: int) -> tuple[str, ...]:
    """Return the command of so many closes, the second of which changes sides."""
    end = BEGIN + (closes - 1) * CLOSE
    return ("run", "--speed", "max", "--from", BEGIN.isoformat(), "--to", end.isoformat())


def run(home: Home, words: tuple[str, ...], failpoint: str = "", **settings: str) -> subprocess.CompletedProcess[str]:
    """Run a command of the daemon, in a process that may be told to die at a commit."""
    environment = home.environment(**settings) | {"PROOF_FAILPOINT": failpoint, "PYTHONPATH": str(ROOT)}
    home.data.mkdir(parents=True, exist_ok=True)
    return subprocess.run(
        [sys.executable, "-m", "tests.proof.failpoint", *words], env=environment, cwd=home.data, timeout=600,
        stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False,
    )  # fmt: skip


def counted(folder: Path, closes: int) -> tuple[Home, int, int]:
    """Run undisturbed and count requests and commits."""
    home, count = Home(folder / f"counted-{closes}"), folder / f"commits-{closes}"
    done = run(home, story(closes), f"count:{count}")
    assert done.returncode == 0, done.stderr
    ((requests,),) = rows(home.exchange / "ledger.db", "select requests from state")
    return home, requests, int(count.read_text())


def kill_points(folder: Path) -> Iterator[KillPoint]:
    """Give both sides of every request and of every commit of the second close."""
    _, first_requests, first_commits = counted(folder, 1)
    home, requests, commits = counted(folder, 2)
    agrees(home)
    (folder / "undisturbed.json").write_text(json.dumps(home.ledger()))
    for when in ("before", "after"):
        yield from (KillPoint("request", when, number) for number in range(first_requests + 1, requests + 1))
        yield from (KillPoint("commit", when, number) for number in range(first_commits + 1, commits + 1))


def killed_at(folder: Path, point: KillPoint) -> list[str]:
    """Kill a run there, start it again, and return in which way its ledger differs from an undisturbed one's."""
    home, settings, failpoint = Home(folder), {}, ""
    if point.what == "request":
        settings["TRADER_SIM__FAULTS"] = home.plan({"on": {"nth": point.number}, "do": f"kill_{point.when}"})
    else:
        failpoint = f"{point.when}:{point.number}"
    first = run(home, story(2), failpoint, **settings)
    second = run(home, story(2), **settings)
    if first.returncode != -signal.SIGKILL or second.returncode != 0:
        return [f"{point}: ended with {first.returncode}, then {second.returncode}: {second.stderr[-500:]}"]
    agrees(home)
    wanted = json.loads((folder.parent / "undisturbed.json").read_text())
    differs = [name for name, found in home.ledger().items() if [list(row) for row in found] != wanted[name]]
    canary = _canary(home, first.stdout + first.stderr + second.stdout + second.stderr)
    return [f"{point}: {name} differ from an undisturbed run" for name in differs] + canary


KEEPERS = ("keys.json", "control.token", "ca-key.pem", "server-key.pem")
READINGS = ("status", "next", "orders", "fills", "trades", "equity", "pnl", "check")


def _canary(home: Home, said: str, readings: Iterable[str] = ()) -> list[str]:
    """Return where a secret of the run was written, beside the files it is kept in, or is told by a later command."""
    secrets = json.loads((home.exchange / "keys.json").read_text())
    token = (home.exchange / "control.token").read_text().strip()
    written = {str(path.relative_to(home.data)): path for path in home.data.rglob("*") if path.is_file()}
    # what keeps the secrets of the embedded exchange is for its user alone
    kept = [name for name, path in written.items() if path.name in KEEPERS or path.parent.name == "ports"]
    texts = {name: path.read_bytes() for name, path in written.items() if name not in kept}
    open_to_all = [f"{name} may be read by others" for name in kept if written[name].stat().st_mode & 0o077]
    told = [home.run(name, "--json") for name in readings]
    pages = "".join(one.stdout + one.stderr for one in told)
    texts |= {"the output": said.encode(), "a page": pages.encode()}
    return [*resting.leaks([*secrets.values(), token], texts), *open_to_all]


# --- a thousand closes -----------------------------------------------------------------------------------------------


@dataclass
class Thousand:
    """What came of a long run: what was broken, how often it died, and its memory by the closes decided."""

    broken: list[str] = field(default_factory=list)
    lives: int = 0
    orders: int = 0
    faults: int = 0
    memory: list[list[tuple[int, int]]] = field(default_factory=list)

    def growth(self) -> float:
        """Return by how many MB resident memory grew in the life that grew most, once it had decided some closes."""
        grown = [0.0]
        for life in self.memory:
            warm = [kilobytes for closes, kilobytes in life if closes >= life[0][0] + WARM]
            grown += [(warm[-1] - warm[0]) / 1024] if warm else []
        return max(grown)


def thousand(folder: Path, seed: int, closes: int) -> Thousand:
    """Run so many closes under random faults, and, but for the first seed, under random kills."""
    home, chance, told = Home(folder / "data"), random.Random(seed), Thousand()
    plan: list[Mapping[str, Any]] = [
        {"random": {"seed": seed, "rate": 0.3, "path": POST, "kinds": ORDER_FAULTS}},
        {"random": {"seed": seed + 1000, "rate": 0.02, "path": "GET /fapi/v1/klines", "kinds": READ_FAULTS}},
        {"random": {"seed": seed + 2000, "rate": 0.02, "path": "GET /fapi/v3/account", "kinds": READ_FAULTS}},
        {"random": {"seed": seed + 3000, "rate": 0.02, "path": "GET /fapi/v1/userTrades", "kinds": READ_FAULTS}},
    ]
    kills = sorted(chance.sample(range(20, closes * 8), 4)) if seed else []
    plan += [{"on": {"nth": n}, "do": chance.choice(["kill_before", "kill_after"])} for n in kills]
    end = BEGIN + (closes - 1) * CLOSE
    words = ("run", "--speed", "max", "--from", BEGIN.isoformat(), "--to", end.isoformat())
    settings = {"TRADER_SIM__FAULTS": home.plan(*plan), "TRADER_RISK__MAX_DRAWDOWN": "1"}
    said = ""
    for _ in range(len(kills) + 3):
        told.lives += 1
        code, output = _watched(home, words, settings, told)
        said += output
        if code != -signal.SIGKILL:
            break
    if code != 0:
        told.broken.append(f"the run ended with {code}: {said[-500:]}")
        return told
    told.broken += _judged(home, said, end)
    ((told.orders,),) = rows(home.exchange / "ledger.db", "select count(*) from orders")
    ((told.faults,),) = rows(home.exchange / "ledger.db", "select count(*) from fault_log")
    decided = home.journal("select count(*) from decisions where status = 'closed'")[0][0]
    if decided < closes * 0.97:
        told.broken.append(f"only {decided} of {closes} closes were decided")
    if told.growth() >= GROWTH:
        told.broken.append(f"memory grew by {told.growth():.1f} MB")
    return told


def _watched(home: Home, words: tuple[str, ...], settings: dict[str, str], told: Thousand) -> tuple[int, str]:
    """Run to the end and look at the memory meanwhile."""
    output = home.data / "output.txt"
    with output.open("a") as file:
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.proof.failpoint", *words], cwd=home.data, stdin=subprocess.DEVNULL,
            env=home.environment(**settings) | {"PYTHONPATH": str(ROOT)}, stdout=file, stderr=file,
        )  # fmt: skip
        told.memory.append([])
        while _runs_on(process, 0.5):
            if (sample := _sample(home, process.pid)) is not None:
                told.memory[-1].append(sample)
    return process.returncode, output.read_text()


def _runs_on(process: subprocess.Popen[bytes], seconds: float) -> bool:
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        return True
    return False


def _sample(home: Home, pid: int) -> tuple[int, int] | None:
    """Return closes decided and resident kilobytes of the daemon, without the exchange, which is another process."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
        journal = home.exchange / "journal.db"
        with closing(sqlite3.connect(f"file:{journal}?mode=ro", uri=True)) as file:
            (closes,) = file.execute("select count(*) from decisions where status = 'closed'").fetchone()
    except (OSError, ValueError, sqlite3.Error):
        return None
    resident = [line.split()[1] for line in status.splitlines() if line.startswith("VmRSS")]
    return (closes, int(resident[0])) if resident else None


def _judged(home: Home, said: str, end: datetime) -> list[str]:
    candles, _ = generated_tape()
    opens = dict(candles.select("open_time", "open").iter_rows())
    bars = {round(time.timestamp() * 1000) + _HOUR: price for time, price in candles["open_time", "close"].iter_rows()}
    terms = Terms("sim/main/ada-ar-16h", 16 * _HOUR, 16 * _HOUR // 10, {"ADAUSDT": bars}, Decimal(10**9))
    with closing(sqlite3.connect(home.exchange / "ledger.db")) as ledger:
        case = read(ledger, home.exchange / "journal.db", terms=terms)
    broken = checker.violations(case) + _canary(home, said, READINGS)
    price = Decimal(repr(next(price for time, price in opens.items() if time.timestamp() == end.timestamp())))
    (position,) = home.ledger()["positions"] or [("", "0", "0", "0")]
    equity = case.wallet + Decimal(position[1]) * price - Decimal(position[2])
    ((kept,),) = home.journal("select equity from equity order by close desc limit 1")
    if abs(Decimal(kept) - equity) >= Decimal("0.01"):
        broken.append(f"the journal ends with an equity of {kept}, the ledger with {equity}")
    return broken


__all__ = ["KillPoint", "Thousand", "kill_points", "killed_at", "process_tasks", "run_process_task", "thousand"]
