"""A journal as a file: copied while it is written, put back, made smaller, handed out."""

import os
import resource
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest
from sqlalchemy import text

from tests.unit.journal.steps import SECOND, begin, decide, fill, finish
from trader.domain.account import Income
from trader.domain.decision import State
from trader.domain.stop import StopRequest
from trader.errors import JournalError
from trader.journal import archive, migrate, schema
from trader.journal.database import Database, create_file, left_open
from trader.journal.journal import Journal
from trader.journal.queries import Reader
from trader.journal.rows import Binding, Intent, StopIntent

INTERVAL = timedelta(hours=16)
RESTORED = datetime(2024, 2, 3, 4, 5, 6, tzinfo=UTC)


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "copy.db"


def last_close(path: Path) -> datetime | None:
    with Reader.read(path) as reader:
        return reader.last_close()


def decide_on(journal: Journal, close: datetime, inputs: str, model_hash: str) -> None:
    """Carry a close to its end on a model that is kept with it."""
    journal.claim(close, close)
    journal.save_model(model_hash, "{}", b"weights of " + model_hash.encode())
    journal.record_decision(close, inputs, "{}", model_hash=model_hash, why="up", intents=[], at=close)
    finish(journal, close)


@contextmanager
def largest_file(size: int) -> Iterator[None]:
    """Let no file of this process grow past a size, as on a disk without space."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_copy_made_beside_a_writing_daemon_says_whose_it_is_and_how_far_it_came(
    journal: Journal, close: datetime, target: Path
) -> None:
    journal.claim(close, close)
    archive.copy(journal.path, target)
    journal.claim(close + INTERVAL, close)
    assert archive.describe(target) == {
        "schema": schema.HEAD,
        "belongs_to": "sim demo generated ada-ar-16h",
        "closes": 1,
        "last_close": "2024-01-01T16:00:00Z",
    }
    assert archive.describe(journal.path)["closes"] == 2
    assert target.stat().st_mode & 0o077 == 0
    assert list(target.parent.glob("*.unfinished")) == []


def test_a_copy_that_cannot_be_written_is_a_journal_error_and_leaves_what_is_there(
    journal: Journal, target: Path
) -> None:
    target.mkdir()
    with pytest.raises(JournalError, match=r"cannot be copied to .*copy\.db"):
        archive.copy(journal.path, target)
    with pytest.raises(JournalError, match="There is no journal at"):
        archive.copy(target / "journal.db", target)
    assert list(target.iterdir()) == []


def test_the_journal_of_a_dry_run_says_so_in_its_copies(path: Path, binding: Binding, close: datetime) -> None:
    with Journal.open(path, replace(binding, tape="", dry_run=True), create=True, at=close):
        found = archive.describe(path)
    assert found["belongs_to"] == "sim demo ada-ar-16h (dry run)"
    assert (found["closes"], found["last_close"]) == (0, None)


def test_a_journal_whose_making_was_cut_short_belongs_to_nobody_yet(path: Path) -> None:
    create_file(path)
    with Database(path, writable=True) as unfinished:
        migrate.upgrade(unfinished)
    assert archive.describe(path)["belongs_to"] == "nobody yet"


def test_what_nobody_can_put_back_is_not_described(journal: Journal, target: Path) -> None:
    with pytest.raises(JournalError, match="There is no journal at"):
        archive.describe(target)
    create_file(target)
    with pytest.raises(JournalError, match=r"copy\.db is empty; name another copy"):
        archive.describe(target)
    archive.copy(journal.path, target)
    newer = sqlite3.connect(target, isolation_level=None)
    newer.execute("UPDATE alembic_version SET version_num = '9999'")
    newer.close()
    with pytest.raises(JournalError, match="newer version"):
        archive.describe(target)


def test_a_copy_that_rotted_where_nobody_looks_first_is_found_before_it_is_put_back(
    journal: Journal, close: datetime, target: Path
) -> None:
    decide_on(journal, close, "candles", "m")
    query = "SELECT rootpage FROM sqlite_master WHERE name = 'transcripts'"
    root = journal._database._raw.execute(query).fetchone()[0]
    archive.copy(journal.path, target)
    content = bytearray(target.read_bytes())
    content[(root - 1) * 4096 : (root - 1) * 4096 + 64] = b"\xff" * 64
    target.write_bytes(content)
    with pytest.raises(JournalError, match=r"copy\.db cannot be .*: it is damaged"):
        archive.describe(target)


def test_a_copy_takes_the_journals_place_and_what_was_there_stays_beside_it_with_its_log(
    journal: Journal, close: datetime, target: Path
) -> None:
    path = journal.path
    journal.claim(close, close)
    archive.copy(path, target)
    journal.claim(close + INTERVAL, close)
    # a daemon that was killed leaves its log behind, and in it the second close
    crashed = {part: path.with_name(path.name + part).read_bytes() for part in ("", "-wal", "-shm")}
    journal.close()
    for part, content in crashed.items():
        path.with_name(path.name + part).write_bytes(content)
    assert left_open(path)
    aside = archive.put_back(target, path, RESTORED)
    assert aside == path.with_name("journal.db.before-restore-20240203T040506Z")
    assert not left_open(path)
    assert last_close(path) == close
    assert last_close(aside) == close + INTERVAL


def test_a_copy_put_where_there_is_no_journal_leaves_nothing_beside_it(
    journal: Journal, close: datetime, target: Path, tmp_path: Path
) -> None:
    journal.claim(close, close)
    archive.copy(journal.path, target)
    place = tmp_path / "elsewhere" / "journal.db"
    place.parent.mkdir()
    assert archive.put_back(target, place, RESTORED) is None
    assert [found.name for found in place.parent.iterdir()] == ["journal.db"]
    assert last_close(place) == close


def test_a_journal_that_cannot_be_moved_aside_stays_in_its_place(
    journal: Journal, close: datetime, target: Path
) -> None:
    archive.copy(journal.path, target)
    journal.claim(close, close)
    journal.close()
    journal.path.with_name("journal.db.before-restore-20240203T040506Z").mkdir()
    with pytest.raises(JournalError, match=r"cannot be put back: .*; what was there lies beside it as .*Z\*\."):
        archive.put_back(target, journal.path, RESTORED)
    assert last_close(journal.path) == close


def test_pruning_drops_old_transcripts_and_keeps_books_unfinished_closes_and_every_model_still_needed(
    journal: Journal, close: datetime
) -> None:
    closes = [close + n * INTERVAL for n in range(4)]
    for moment, model in zip(closes[:3], ("first", "second", "third"), strict=True):
        decide_on(journal, moment, "candles", model)
    journal.save_model("fourth", "{}", b"weights")
    decide(journal, closes[3], [], model_hash="fourth")
    old = close - INTERVAL
    decide(journal, old, [], model_hash="never saved")
    before = closes[2]
    assert archive.prunable(journal.path, before) == {"transcripts": 2}
    journal.close()
    assert archive.prune(journal.path, before) == {"transcripts": 2, "models": 2}
    assert archive.prunable(journal.path, before) == {"transcripts": 0}
    with Reader.read(journal.path) as reader:
        # an unfinished close is still to be carried to its end from its own transcript
        assert [found.close for found in reader.transcripts()] == [old, closes[2], closes[3]]
        assert len(reader.decisions()) == 5
        left = [name for name in ("first", "second", "third", "fourth") if reader.load_model(name)]
        assert left == ["third", "fourth"]


def test_the_model_in_use_outlives_the_pruning_of_every_transcript(journal: Journal, close: datetime) -> None:
    decide_on(journal, close, "candles", "in use")
    journal.close()
    assert archive.prune(journal.path, close + INTERVAL) == {"transcripts": 1, "models": 0}
    with Reader.read(journal.path) as reader:
        assert reader.load_model("in use") is not None


def test_pruning_gives_the_space_back(journal: Journal, close: datetime) -> None:
    decide_on(journal, close, os.urandom(200_000).hex(), "m")
    journal.close()
    size = journal.path.stat().st_size
    archive.prune(journal.path, close + INTERVAL)
    assert journal.path.stat().st_size < size - 190_000
    assert not left_open(journal.path)


def test_a_disk_too_full_to_make_the_journal_smaller_is_said_so_and_nothing_else_is_lost(
    journal: Journal, close: datetime
) -> None:
    # little to drop, and much to copy into a smaller file
    decide_on(journal, close, "candles", "m")
    decide_on(journal, close + INTERVAL, os.urandom(400_000).hex(), "m")
    journal.close()
    with largest_file(150_000), pytest.raises(JournalError, match=r"cannot be made smaller: .*free"):
        archive.prune(journal.path, close + INTERVAL)
    with Reader.read(journal.path) as reader:
        assert [found.close for found in reader.transcripts()] == [close + INTERVAL]
        reader._database.check()


def test_every_table_is_handed_out_as_plain_values_without_losing_a_digit(journal: Journal, close: datetime) -> None:
    wished = Intent("t1.o0", close, "ADAUSDT", "o", 0, Decimal("12.50"), False, close, close + INTERVAL)
    begin(journal, close, {}, {})
    decide(journal, close, [wished])
    journal.record_fills([fill("9", close, "12.50")])
    journal.record_incomes([Income("5", "FUNDING_FEE", "ADAUSDT", Decimal("-0.0000000001"), close, "")])
    finish(journal, close, positions={"ADAUSDT": Decimal("12.50")})
    journal.set_state(State.HALTED, "a person", "operator", close + SECOND)
    stop = StopRequest("t1.s0", "ADAUSDT", Decimal("-12.50"), Decimal("0.480"))
    journal.intend_stop(StopIntent(close, 0, stop, Decimal("0.60"), Decimal("0.2"), close))
    journal.configure("{}", '{"leverage": [1, 2]}', "a start", close)
    tables = dict(archive.tables(journal))
    assert list(tables) == ["decisions", "orders", "stops", "fills", "incomes", "equity", "states", "changes"]
    assert [len(rows) for rows in tables.values()] == [1] * 8
    (decision,), (order,), (trade,) = tables["decisions"], tables["orders"], tables["fills"]
    assert (decision["status"], decision["positions"]) == ("closed", '{"ADAUSDT": "12.50"}')
    assert (decision["close"], decision["model_hash"]) == ("2024-01-01T16:00:00Z", "abc")
    # an order is one row with what was intended and what became of it
    assert (order["client_id"], order["quantity"], order["filled"]) == ("t1.o0", "12.50", "0")
    assert (order["outcome"], order["final"]) == (None, False)
    assert (trade["trade_id"], trade["quantity"], trade["fee"]) == ("9", "12.50", "0.0003")
    assert tables["incomes"][0]["amount"] == "-0.0000000001"
    assert tables["equity"] == [{"close": "2024-01-01T16:00:00Z", "wallet": "1", "equity": "1", "peak": "1"}]
    assert (tables["states"][0]["state"], tables["states"][0]["at"]) == ("HALTED", "2024-01-01T16:00:01Z")
    (told,) = tables["stops"]
    assert (told["client_id"], told["closes"], told["trigger"], told["final"]) == ("t1.s0", "-12.50", "0.480", False)
    assert tables["changes"][0]["diff"] == '{"leverage": [1, 2]}'


def blocks_of(journal: Journal) -> int:
    return len(journal._database.read(text("SELECT id FROM blocks")))


def decide_with(journal: Journal, close: datetime, blocks: list[str]) -> None:
    journal.claim(close, close)
    journal.record_decision(close, "{}", "{}", model_hash="m", why="up", intents=[], at=close, blocks=blocks)
    finish(journal, close)


def test_pruning_drops_the_texts_that_no_decision_shares_any_more(journal: Journal, close: datetime) -> None:
    for number in range(4):
        decide_with(journal, close + number * INTERVAL, [f"candle {number + back}" for back in range(3)])
    assert blocks_of(journal) == 6
    archive.prune(journal.path, close + 2 * INTERVAL)
    assert blocks_of(journal) == 4
    for number in (2, 3):
        transcript = journal.transcript(close + number * INTERVAL)
        assert transcript is not None
        assert journal.texts(transcript) == [f"candle {number + back}" for back in range(3)]
    decide_with(journal, close + 4 * INTERVAL, ["candle 0", "candle 5"])
    transcript = journal.transcript(close + 4 * INTERVAL)
    assert transcript is not None
    assert journal.texts(transcript) == ["candle 0", "candle 5"]
