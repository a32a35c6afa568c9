"""What a killed process, a lost tail and a full disk leave behind."""

import shutil
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from trader.journal.journal import Journal
from trader.journal.rows import Binding, Outcome, Status

ROOT = Path(__file__).parents[3]
START = datetime(2024, 1, 1, tzinfo=UTC)
INTERVAL = timedelta(hours=16)
WRITER = """
import sys
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from trader.errors import JournalError
from trader.journal.journal import Journal
from trader.journal.rows import Binding, Intent, Outcome, Status

start, interval = datetime(2024, 1, 1, tzinfo=UTC), timedelta(hours=16)
journal = Journal.open(
    Path(sys.argv[1]), Binding("sim", "demo", "generated", "ada-ar-16h", False), create=True, at=start
)

def cycle(n, say):
    close = start + n * interval
    name = f"t.{n}.o0"
    if journal.claim(close, close):
        say(n, "claimed")
    if journal.decision(close).status is Status.CLAIMED:
        intent = Intent(name, close, "ADAUSDT", "o", 0, Decimal(n + 1), False, close, close + interval)
        journal.record_decision(close, "i" * 2000, "o", model_hash="m", why="w", intents=[intent], at=close)
        say(n, "decided")
    if journal.order(name).sends == 0:
        journal.mark_sent(name, close)
        say(n, "sent")
    if not journal.order(name).final:
        journal.settle(name, None, Outcome.REJECTED, final=True, at=close)
        say(n, "settled")
    one = Decimal(1)
    journal.finish(close, wallet=one, equity=one, peak=one, positions={"ADAUSDT": one}, at=close)
    say(n, "closed")
"""
ENDLESS = "for n in range(100000): cycle(n, lambda n, step: print(n, step, flush=True))"
STEPS = ["claimed", "decided", "sent", "settled", "closed"]
BINDING = Binding("sim", "demo", "generated", "ada-ar-16h", False)


def steps_of(journal: Journal) -> list[tuple[int, str]]:
    """List every step the journal holds, in the order in which they were written."""
    done: list[tuple[int, str]] = []
    for n, decision in enumerate(journal.decisions()):
        assert decision.close == START + n * INTERVAL
        order = journal.order(f"t.{n}.o0")
        transcript = journal.transcript(decision.close)
        decided = decision.status is not Status.CLAIMED
        # a decision is there with its transcript and its order, or not at all
        assert (order is not None) == (transcript is not None) == decided
        reached = 1
        if order is not None:
            reached = 2 + order.sends
            if order.outcome is Outcome.REJECTED:
                reached = 4
        if decision.status is Status.CLOSED:
            reached = 5
        done += [(n, step) for step in STEPS[:reached]]
    return done


def whole(number: int) -> list[tuple[int, str]]:
    return [(n // len(STEPS), STEPS[n % len(STEPS)]) for n in range(number)]


@pytest.mark.parametrize("seed", range(6))
def test_every_step_a_killed_writer_told_of_is_in_the_journal(path: Path, seed: int) -> None:
    """Fault 1."""
    with subprocess.Popen(
        [sys.executable, "-c", WRITER + ENDLESS, str(path)], stdout=subprocess.PIPE, text=True, cwd=ROOT
    ) as writer:
        assert writer.stdout is not None
        told = [writer.stdout.readline() for _ in range(40 + 37 * seed)]
        writer.kill()
        told += writer.stdout.readlines()
    steps = [(int(line.split()[0]), line.split()[1]) for line in told if line.endswith("\n")]
    with Journal.open(path, BINDING, create=False, at=START) as journal:
        found = steps_of(journal)
    assert found[: len(steps)] == steps
    assert found == whole(len(found))
    assert len(found) <= len(steps) + 1


@pytest.mark.fault(5)
def test_a_torn_log_is_a_clean_beginning_of_what_was_written(tmp_path: Path) -> None:
    """Fault 5."""
    path = tmp_path / "journal.db"
    code = WRITER + "for n in range(8): cycle(n, lambda n, step: None)\nimport os; os.kill(os.getpid(), 9)"
    subprocess.run([sys.executable, "-c", code, str(path)], check=False, cwd=ROOT, timeout=60)
    database, log = path.read_bytes(), path.with_name("journal.db-wal").read_bytes()
    # 24 bytes of header and frames of one page: cuts around every border and inside
    frame = 24 + 4096
    cuts = sorted({0, 31, len(log)} | {32 + n * frame + d for n in range(len(log) // frame) for d in (0, 1, 23, 2048)})
    assert len(cuts) > 100
    counts = []
    for number, cut in enumerate(cuts):
        torn = tmp_path / str(number)
        torn.mkdir()
        (torn / "journal.db").write_bytes(database)
        (torn / "journal.db-wal").write_bytes(log[:cut])
        with Journal.open(torn / "journal.db", BINDING, create=True, at=START) as journal:
            found = steps_of(journal)
            journal._database.check()
        assert found == whole(len(found))
        counts.append(len(found))
        shutil.rmtree(torn)
    assert counts == sorted(counts)
    assert set(counts) == set(range(8 * len(STEPS) + 1))


FULL = """
import resource
done = []
size = int(sys.argv[2])
resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))
n = 0
try:
    for n in range(100000): cycle(n, lambda n, step: done.append((n, step)))
except JournalError as error:
    assert "free" in str(error), error
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
print(len(done), flush=True)
for n in range(n, n + 3): cycle(n, lambda n, step: done.append((n, step)))
print(len(done), flush=True)
"""


@pytest.mark.fault(8)
@pytest.mark.parametrize("extra", [0, 4096, 9000, 20_000, 40_000, 70_000])
def test_a_full_disk_stops_before_the_step_and_goes_on_when_there_is_space(path: Path, extra: int) -> None:
    """Fault 8."""
    Journal.open(path, BINDING, create=True, at=START).close()
    limit = path.stat().st_size + extra
    before, after = subprocess.run(
        [sys.executable, "-c", WRITER + FULL, str(path), str(limit)],
        check=True,
        capture_output=True,
        text=True,
        cwd=ROOT,
        timeout=60,
    ).stdout.split()
    assert int(after) > int(before)
    with Journal.open(path, BINDING, create=False, at=START) as journal:
        found = steps_of(journal)
    assert found == whole(int(after))
