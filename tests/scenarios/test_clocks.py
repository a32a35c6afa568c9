"""A real daemon whose clock is set, or which sleeps, by libfaketime, while the exchange's time goes on by itself."""

import json
import os
import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.scenarios.exchange import Hand
from tests.scenarios.processes import Home

ROOT = Path(__file__).resolve().parents[2]
LIBRARIES = sorted(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"))
CLOSE = timedelta(hours=16)
MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)

pytestmark = pytest.mark.skipif(not LIBRARIES, reason="libfaketime is not installed (package faketime; .ci/run does)")


class Setting:
    """Sets what a process takes for the time outside; the clock that only counts is left alone."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.set(timedelta(0))

    def set(self, ahead: timedelta) -> None:
        fresh = self.file.with_suffix(".new")
        fresh.write_text(f"{ahead.total_seconds():+.3f}")
        fresh.replace(self.file)
        self.ahead = ahead

    def go(self, by: timedelta) -> None:
        self.set(self.ahead + by)

    def environment(self) -> dict[str, str]:
        return {
            "LD_PRELOAD": str(LIBRARIES[0]),
            "FAKETIME_TIMESTAMP_FILE": str(self.file),
            "FAKETIME_NO_CACHE": "1",
            "DONT_FAKE_MONOTONIC": "1",
        }


@dataclass
class Machine:
    """A daemon, the clock of its machine, and the exchange, whose clock is the truth."""

    home: Home
    mine: Setting
    exchange: Hand
    process: subprocess.Popen[bytes]
    log: Path

    def go(self, moment: datetime) -> None:
        """Let the time go on to a moment, for everybody."""
        true = self.exchange.control("/sim/v1/advance", {"to": round(moment.timestamp() * 1000)})["time"]
        self.mine.set(datetime.fromtimestamp(true / 1000, UTC) - datetime.now(UTC))

    def closes(self) -> list[tuple[str, str]]:
        """What became of each close: `28 16 closed`."""
        with closing(sqlite3.connect(f"file:{self.home.data}/testnet/journal.db?mode=ro", uri=True)) as journal:
            rows = journal.execute("select close, status from decisions order by close").fetchall()
        return [(datetime.fromtimestamp(at / 1000, UTC).strftime("%d %H"), status) for at, status in rows]

    def said(self, words: str) -> Callable[[], bool]:
        before = self.log.read_text().count(words)
        return lambda: self.log.read_text().count(words) > before

    def until(self, happened: Callable[[], bool], seconds: float = 300) -> None:
        """Wait for something the process does."""
        never = threading.Event()
        for _ in range(round(seconds / 0.1)):
            if happened():
                return
            assert self.process.poll() is None, self.log.read_text()[-3000:]
            never.wait(0.1)
        raise AssertionError(f"it did not happen: {self.closes()} {self.log.read_text()[-3000:]}")

    def becomes(self, *wanted: tuple[str, str]) -> None:
        self.until(lambda: self.closes() == list(wanted))


@contextmanager
def machine(folder: Path, begin: datetime) -> Iterator[Machine]:
    """Start an exchange and a daemon under a local time zone, at a moment of the exchange's time."""
    folder.mkdir()
    home, mine, theirs = Home(folder / "data"), Setting(folder / "mine"), Setting(folder / "theirs")
    for setting in (mine, theirs):
        setting.set(begin - datetime.now(UTC))
    zone = {"TZ": "Europe/Berlin", "PYTHONPATH": str(ROOT)}
    exchange = subprocess.Popen(
        [sys.executable, "-m", "trader.sim", "--dir", str(folder / "exchange"), "--clock", "real", "--port", "0"],
        env=os.environ | zone | theirs.environment(), cwd=folder, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    log = folder / "log"
    process = None
    try:
        assert exchange.stdout is not None
        ready = json.loads(exchange.stdout.readline())
        announced = home.data / "sim" / "ports" / f"{ready['port']}.json"
        announced.parent.mkdir(parents=True)
        announced.write_text(json.dumps(ready))
        settings = {"TRADER_VENUE": "testnet", "TRADER_EXCHANGE__LOOPBACK": str(ready["port"])}
        with log.open("wb") as file:
            process = subprocess.Popen(
                [sys.executable, "-m", "tests.scenarios.wall_clock", "run"], cwd=ROOT, stderr=file, stdout=file,
                env=home.environment(**settings, TRADER_LOG__LEVEL="INFO") | zone | mine.environment(),
                stdin=subprocess.DEVNULL,
            )  # fmt: skip
        one = Machine(home, mine, Hand(ready), process, log)
        one.until(lambda: '"ready"' in log.read_text())
        yield one
        process.terminate()
        assert process.wait(30) == 0
        _agrees(home, folder / "exchange" / "ledger.db")
    finally:
        for each in (process, exchange):
            if each is not None and each.poll() is None:
                each.kill()
            if each is not None:
                each.wait()
        if exchange.stdout is not None:
            exchange.stdout.close()


def _agrees(home: Home, ledger: Path) -> None:
    """No order was sent twice, and journal and exchange tell of the same trades."""
    with (
        closing(sqlite3.connect(ledger)) as file,
        closing(sqlite3.connect(home.data / "testnet/journal.db")) as journal,
    ):
        orders = [name for (name,) in file.execute("select client_id from orders")]
        assert len(orders) == len(set(orders)) >= 1
        assert {name for (name,) in journal.execute("select client_id from orders")} == set(orders)
        trades = {str(trade) for (trade,) in file.execute("select trade_id from trades")}
        assert {trade for (trade,) in journal.execute("select trade_id from fills")} == trades


@pytest.mark.fault(17, 18, 19, 20, 22)
def test_a_clock_set_forward_and_back_and_sleeps_over_closes_in_the_night_summer_time_begins(tmp_path: Path) -> None:
    """The clocks of Europe/Berlin go from 02:00 to 03:00 on 29 March 2026; closes are at 28 16 and 29 08 UTC."""
    first = datetime(2026, 3, 28, 16, tzinfo=UTC)
    with machine(tmp_path / "spring", first - 20 * MINUTE) as one:
        assert one.closes() == []
        jumped = one.said("the clock jumped")
        one.mine.go(HOUR)
        one.until(jumped)
        # an hour forward, over the close: the exchange says that it has not been yet
        jumped = one.said("the clock jumped")
        one.mine.go(-HOUR)
        one.until(jumped)
        assert one.closes() == []
        one.go(first + timedelta(seconds=3))
        one.becomes(("28 16", "closed"))
        # an hour back after a close: it is not decided again
        jumped = one.said("the clock jumped")
        one.mine.go(-HOUR)
        one.until(jumped)
        one.mine.go(HOUR)
        one.go(first + CLOSE - MINUTE)
        assert one.closes() == [("28 16", "closed")]
        # asleep over one close
        os.kill(one.process.pid, signal.SIGSTOP)
        one.go(first + CLOSE + 5 * MINUTE)
        os.kill(one.process.pid, signal.SIGCONT)
        one.becomes(("28 16", "closed"), ("29 08", "closed"))
        # asleep over three
        os.kill(one.process.pid, signal.SIGSTOP)
        one.go(first + 4 * CLOSE + 5 * MINUTE)
        os.kill(one.process.pid, signal.SIGCONT)
        one.becomes(
            ("28 16", "closed"), ("29 08", "closed"), ("30 00", "missed"), ("30 16", "missed"), ("31 08", "closed")
        )


@pytest.mark.fault(20, 22)
def test_closes_stay_on_the_grid_of_utc_when_summer_time_ends(tmp_path: Path) -> None:
    """The clocks of Europe/Berlin go from 03:00 back to 02:00 on 25 October 2026."""
    first = datetime(2026, 10, 24, 16, tzinfo=UTC)
    with machine(tmp_path / "autumn", first - MINUTE) as one:
        for turn, told in enumerate(("24 16", "25 08", "26 00")):
            one.go(first + turn * CLOSE + timedelta(seconds=3))
            one.until(lambda told=told: (told, "closed") in one.closes())  # type: ignore[misc]
            # the hours around it bring none
            one.go(first + turn * CLOSE + HOUR)
            one.go(first + turn * CLOSE + 2 * HOUR)
        assert [status for _, status in one.closes()] == ["closed"] * 3
