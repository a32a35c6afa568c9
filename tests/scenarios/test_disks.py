"""Real disks under a real daemon: full at any write, full for good, read-only, and a log that lost its end."""

import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

import pytest

from tests.scenarios.exchange import serving
from tests.scenarios.processes import Home, agrees
from trader.app.disk import LEAST

ROOT = Path(__file__).resolve().parents[2]
BEGIN = "2024-01-12T00:00:00Z"
NEXT = "2024-01-12T16:00:00Z"
RUN = ("run", "--speed", "max", "--from", BEGIN, "--to")
SAMPLE = 4


def filled(home: Home, number: int, to: str) -> tuple[subprocess.CompletedProcess[str], int]:
    """Run until a close on a disk that is full from the n-th commit on; return how it ended and how many there were."""
    count = home.data.parent / "commits"
    settings = {"FULL_FROM": str(number), "FULL_COUNT": str(count), "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-m", "tests.scenarios.full_disk", *RUN, to], env=home.environment() | settings, text=True,
        cwd=home.data.parent, stdin=subprocess.DEVNULL, capture_output=True, timeout=300, check=False,
    )  # fmt: skip
    return done, int(count.read_text()) if number == 0 else 0


def durable(home: Home) -> None:
    """Every order the exchange has was written down as sent before it left."""
    sent = {name for name, _ in home.journal("select client_id, sends from orders where sends > 0")}
    assert {row[0] for row in home.ledger()["orders"]} <= sent


@pytest.fixture(scope="module")
def begun(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, int, dict[str, list[tuple[object, ...]]]]:
    """A home after its first close, the commits of a start and the close after it, and what the ledger is then."""
    folder = tmp_path_factory.mktemp("begun")
    home = Home(folder / "data")
    assert filled(home, 0, BEGIN)[0].returncode == 0
    kept = folder / "kept"
    shutil.copytree(home.data, kept)
    done, commits = filled(home, 0, NEXT)
    assert done.returncode == 0, done.stderr
    agrees(home)
    assert len(home.ledger()["orders"]) == 3  # it entered, and then changed sides
    return kept, commits, home.ledger()


@pytest.mark.fault(8)
def test_a_disk_full_at_the_nth_write_of_a_real_daemon_sends_nothing_that_is_not_durable(
    begun: tuple[Path, int, dict[str, list[tuple[object, ...]]]], tmp_path: Path
) -> None:
    """Every one of them with EVERY_WRITE=1 in the environment, else a few from the first to the last."""
    kept, commits, undisturbed = begun
    assert commits >= 12
    step = 1 if "EVERY_WRITE" in os.environ else -(-commits // SAMPLE)
    for number in range(1, commits + 1, step):
        home = Home(tmp_path / str(number) / "data")
        shutil.copytree(kept, home.data)
        done, _ = filled(home, number, NEXT)
        assert done.returncode == 74, (number, done.returncode, done.stderr)
        assert "free" in done.stderr
        durable(home)
        again, _ = filled(home, 0, NEXT)
        assert again.returncode == 0, (number, again.stderr)
        agrees(home)
        assert home.ledger() == undisturbed


@contextmanager
def small_disk(place: Path) -> Iterator[Path]:
    """Mount a file system in memory, as large as a start asks for and a little more."""
    place.mkdir()
    words = ["mount", "-t", "tmpfs", "-o", f"size={LEAST + 4 * 2**20},mode=700", "tmpfs", str(place)]
    if os.getuid() != 0 or subprocess.run(words, capture_output=True, check=False).returncode:
        pytest.skip("nobody may mount a file system here")
    try:
        yield place
    finally:
        subprocess.run(["umount", "-l", str(place)], check=True)


def fill(disk: Path, left: int) -> Path:
    """Write a file until so many bytes are free."""
    ballast = disk / "ballast"
    with ballast.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(4096))
        except OSError:
            size = file.tell()
        file.truncate(max(0, size // 4096 * 4096 - left))
    return ballast


def closed_once_more(journal: Path, daemon: subprocess.Popen[str]) -> None:
    """Wait until a running daemon has finished one more close."""
    never, first = threading.Event(), None
    for _ in range(3000):
        assert daemon.poll() is None, daemon.communicate()
        if journal.exists():
            with closing(sqlite3.connect(f"file:{journal}?mode=ro", uri=True)) as file, suppress(sqlite3.Error):
                (count,) = file.execute("select count(*) from decisions where status = 'closed'").fetchone()
                first = count if first is None else first
                if count > first:
                    return
        never.wait(0.1)
    raise AssertionError("no close was finished")


@pytest.mark.fault(8, 9)
def test_a_small_disk_that_fills_up_or_turns_read_only_is_told_and_made_good(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk") as disk, serving(
        Home(tmp_path / "sim"), "--port", "0", "--speed", "max", "--from", "2024-01-12"
    ) as hand:  # fmt: skip
        home = Home(disk / "data")
        announced = home.data / "sim" / "ports" / f"{hand.ready['port']}.json"
        announced.parent.mkdir(parents=True)
        announced.write_text(json.dumps(hand.ready))
        settings = {"TRADER_VENUE": "testnet", "TRADER_EXCHANGE__LOOPBACK": str(hand.ready["port"])}
        words = ("run", "--speed", "max", "--cycles", "1")
        for left in (0, 12 * 1024):
            with home.start("run", "--speed", "30000", **settings) as daemon:
                try:
                    closed_once_more(disk / "data" / "testnet" / "journal.db", daemon)
                    ballast = fill(disk, left)
                    _, said = daemon.communicate(timeout=300)
                finally:
                    daemon.kill()
            assert daemon.returncode == 74, (left, daemon.returncode, said)
            assert "free" in said
            refused = home.run(*words, **settings)
            assert refused.returncode == 74
            assert "too little for a journal" in refused.stderr or "No space left" in refused.stderr
            assert "free some space" in refused.stderr
            ballast.unlink()
            with closing(sqlite3.connect(disk / "data" / "testnet" / "journal.db")) as file:
                sent = {name for (name,) in file.execute("select client_id from orders where sends > 0")}
            assert {order["client_id"] for order in hand.ledger()["orders"]} <= sent
            good = home.run(*words, **settings)
            assert good.returncode == 0, good.stderr
        subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
        asked = hand.ledger()["counts"]["POST /fapi/v1/order"]
        shut = home.run(*words, **settings)
        assert shut.returncode == 74, (shut.returncode, shut.stderr)
        assert "ead-only" in shut.stderr
        assert hand.ledger()["counts"]["POST /fapi/v1/order"] == asked
        subprocess.run(["mount", "-o", "remount,rw", str(disk)], check=True)
        assert home.run(*words, **settings).returncode == 0
        found = home.document("reconcile", **settings)
        assert found["differences"] == []


@pytest.mark.fault(5)
@pytest.mark.parametrize("lost", [0, 1, 3])
def test_a_log_that_lost_its_end_is_told_at_the_start_and_no_order_is_sent_again(lost: int, tmp_path: Path) -> None:
    """As after a power loss on a disk that had not written what it said it had: so many commits are gone."""
    home = Home(tmp_path / "data")
    plan = home.plan({"on": {"path": "POST /fapi/v1/order", "nth": 1}, "do": "kill_after"})
    assert home.run(*RUN, NEXT, TRADER_SIM__FAULTS=plan).returncode == -signal.SIGKILL
    log = home.exchange / "journal.db-wal"
    frames = [32 + n * (24 + 4096) for n in range((log.stat().st_size - 32) // (24 + 4096))]
    data = log.read_bytes()
    # a frame that ends a transaction carries the size of the database after it
    ends = [at for at in frames if int.from_bytes(data[at + 4 : at + 8])]
    if lost:
        log.write_bytes(data[: ends[-lost] + 24 + 2048])
    done = home.run(*RUN, NEXT, TRADER_SIM__FAULTS=plan)
    assert "the last run did not end in order" in done.stderr
    names = [row[0] for row in home.ledger()["orders"]]
    assert len(names) == len(set(names))
    if done.returncode == 0:
        agrees(home)
        assert len(names) == 3
        return
    # the order itself is forgotten: what it left on the account is named, and nothing is traded
    assert (done.returncode, len(names)) == (77, 1), done.stderr
    assert "does not explain" in done.stderr or "makes a wallet" in done.stderr or "bookings" in done.stderr
