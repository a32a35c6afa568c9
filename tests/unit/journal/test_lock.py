import fcntl
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from trader.errors import JournalError, JournalLocked
from trader.journal.journal import Journal
from trader.journal.lock import Holder, Lock, holder, lock_path
from trader.journal.rows import Binding

STARTED = datetime(2024, 1, 1, 16, tzinfo=UTC)
HOLD = """
import sys; from datetime import datetime, UTC; from pathlib import Path
from trader.journal.lock import Lock
lock = Lock.acquire(Path(sys.argv[1]), started=datetime(2024, 1, 1, 16, tzinfo=UTC))
print("held", flush=True); sys.stdin.read()
"""


def hold(path: Path) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[3],
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


@pytest.mark.fault(15)
def test_a_second_daemon_is_refused_with_the_first_ones_pid(path: Path) -> None:
    """Fault 15."""
    with hold(path) as first:
        with pytest.raises(JournalLocked, match=rf"pid {first.pid} since 2024-01-01T16:00:00Z.*stop that one first"):
            Lock.acquire(path, started=STARTED)
        first.kill()


@pytest.mark.fault(15)
def test_the_lock_is_free_after_kill_minus_nine(path: Path) -> None:
    with hold(path) as first:
        assert holder(path) == Holder(first.pid, STARTED, ready=False)
        first.kill()
        first.wait(timeout=60)
        assert holder(path) is None
        with Lock.acquire(path, started=STARTED):
            found = holder(path)
            assert found is not None
            assert found.pid == os.getpid()


def test_others_see_whether_the_daemon_is_ready(path: Path) -> None:
    assert holder(path) is None
    with Lock.acquire(path, started=STARTED) as lock:
        assert holder(path) == Holder(os.getpid(), STARTED, ready=False)
        lock.waits(STARTED + timedelta(minutes=1))
        assert holder(path) == Holder(os.getpid(), STARTED, ready=False, out=STARTED + timedelta(minutes=1))
        lock.ready()
        assert holder(path) == Holder(os.getpid(), STARTED, ready=True)
    assert holder(path) is None
    lock.release()
    lock.ready()
    assert lock_path(path).exists()


def test_looking_does_not_take_the_lock_away_from_a_starting_daemon(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Lock.acquire(path, started=STARTED).release()
    looking = os.open(lock_path(path), os.O_RDONLY)
    fcntl.flock(looking, fcntl.LOCK_SH)

    def look_away(seconds: float) -> None:
        fcntl.flock(looking, fcntl.LOCK_UN)

    monkeypatch.setattr("trader.journal.lock.time.sleep", look_away)
    with Lock.acquire(path, started=STARTED):
        os.close(looking)
        assert holder(path) == Holder(os.getpid(), STARTED, ready=False)


def test_a_holder_without_a_name_yet_is_still_a_holder(path: Path) -> None:
    lock = Lock.acquire(path, started=STARTED)
    lock_path(path).write_text("")
    assert holder(path) == Holder(None, None, ready=False)
    with pytest.raises(JournalLocked, match="pid unknown"):
        Lock.acquire(path, started=STARTED)
    lock.release()


def test_a_lock_that_cannot_be_written_is_a_journal_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(JournalError, match=r"lock .* cannot be written: .*TRADER_DATA_DIR"):
        Lock.acquire(tmp_path / "file" / "journal.db", started=STARTED)
    with pytest.raises(JournalError, match=r"lock .* cannot be read"):
        holder(tmp_path / "file" / "journal.db")


def test_a_full_disk_under_the_lock_is_a_journal_error(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(descriptor: int, content: bytes, offset: int) -> int:
        raise OSError(28, "No space left on device")

    with Lock.acquire(path, started=STARTED) as lock, monkeypatch.context() as full:
        full.setattr("trader.journal.lock.os.pwrite", refuse)
        with pytest.raises(JournalError, match="No space left on device; check the disk"):
            lock.ready()
    with monkeypatch.context() as full:
        full.setattr("trader.journal.lock.os.pwrite", refuse)
        with pytest.raises(JournalError, match="No space left on device; check the disk"):
            Lock.acquire(path, started=STARTED)
    assert holder(path) is None


def deleted(path: Path) -> None:
    lock_path(path).unlink()


def copied_in_its_place(path: Path) -> None:
    """As when somebody moves a data directory aside and copies it back."""
    aside = path.parent.with_name("aside")
    path.parent.rename(aside)
    shutil.copytree(aside, path.parent)


def moved_away(path: Path) -> None:
    path.parent.rename(path.parent.with_name("aside"))


@pytest.mark.fault(15)
@pytest.mark.parametrize("happen", [deleted, copied_in_its_place, moved_away])
def test_a_lock_whose_file_somebody_took_away_is_held_no_more(happen: Callable[[Path], None], tmp_path: Path) -> None:
    path = tmp_path / "home" / "journal.db"
    with Lock.acquire(path, started=STARTED) as lock:
        lock.require()
        happen(path)
        with pytest.raises(JournalError, match="another may run on the same account"):
            lock.require()
        with Lock.acquire(path, started=STARTED) as other:
            other.require()
            with pytest.raises(JournalError, match="leave that file alone"):
                lock.require()
    with pytest.raises(JournalError):
        lock.require()


@pytest.mark.fault(15)
def test_nothing_is_written_down_once_the_lock_is_lost(path: Path) -> None:
    binding = Binding("sim", "demo", "generated", "ada-ar-16h", False)
    with Lock.acquire(path, started=STARTED) as lock, Journal.open(path, binding, create=True, at=STARTED) as journal:
        journal.under(lock)
        assert journal.claim(STARTED, STARTED)
        lock_path(path).unlink()
        with pytest.raises(JournalError, match="is not the one this daemon holds"):
            journal.claim(STARTED + timedelta(hours=16), STARTED)
        assert [record.close for record in journal.decisions()] == [STARTED]
