import shutil
import sqlite3
import stat
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import create_engine

from trader.errors import JournalBusy, JournalError, Mismatch
from trader.journal import database, migrate, schema
from trader.journal.database import Database, create_file
from trader.journal.journal import Journal
from trader.journal.rows import Binding, Held


def run(path: Path, sql: str) -> None:
    connection = sqlite3.connect(path)
    connection.execute(sql)
    connection.commit()
    connection.close()


@pytest.mark.fault(7)
def test_a_missing_journal_is_refused_with_the_way_to_make_one(path: Path, binding: Binding, close: datetime) -> None:
    """Fault 7."""
    with pytest.raises(JournalError, match=r"There is no journal at .*--adopt"):
        Journal.open(path, binding, create=False, at=close)
    with pytest.raises(JournalError, match="There is no journal"):
        Journal.read(path)
    with pytest.raises(JournalError, match="There is no journal"):
        Journal.attach(path)
    assert not path.parent.exists()


def test_an_empty_file_is_a_journal_that_was_never_made(path: Path, binding: Binding, close: datetime) -> None:
    database.create_file(path)
    with pytest.raises(JournalError, match="is empty"):
        Journal.open(path, binding, create=False, at=close)
    with pytest.raises(JournalError, match="is empty"):
        Journal.read(path)
    Journal.open(path, binding, create=True, at=close).close()


def test_a_journal_whose_making_was_cut_short_needs_adoption_again(
    path: Path, binding: Binding, close: datetime
) -> None:
    database.create_file(path)
    with Database(path, writable=True) as unfinished:
        migrate.upgrade(unfinished)
    with pytest.raises(JournalError, match=r"no owner yet.*--adopt"):
        Journal.open(path, binding, create=False, at=close)
    with Journal.open(path, binding, create=True, at=close) as journal:
        assert journal.binding() == binding


@pytest.mark.fault(7, 61)
@pytest.mark.parametrize(
    ("name", "value"),
    [("venue", "live"), ("account", "other"), ("tape", "ADA.parquet"), ("strategy", "gru"), ("dry_run", True)],
)
def test_a_journal_of_something_else_is_refused_naming_both(
    journal: Journal, binding: Binding, close: datetime, name: str, value: object
) -> None:
    other = replace(binding, **{name: value})
    with pytest.raises(Mismatch, match=f"{name} {getattr(binding, name)!r} and not {value!r}.*TRADER_DATA_DIR"):
        Journal.open(journal.path, other, create=True, at=close)
    assert journal.binding() == binding


def test_a_journal_is_readable_by_its_user_only(journal: Journal) -> None:
    assert stat.S_IMODE(journal.path.stat().st_mode) == 0o600
    assert stat.S_IMODE(journal.path.parent.stat().st_mode) == 0o700


@pytest.mark.fault(5)
def test_every_commit_is_synced(journal: Journal) -> None:
    raw = journal._database._raw
    assert raw.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    assert raw.execute("PRAGMA synchronous").fetchone() == (2,)
    assert raw.execute("PRAGMA foreign_keys").fetchone() == (1,)


def test_the_migrations_make_exactly_the_tables_of_the_schema(journal: Journal) -> None:
    engine = create_engine(f"sqlite:///{journal.path}")
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, schema.metadata) == []
    engine.dispose()
    made = sqlite3.connect(":memory:")
    memory = create_engine("sqlite://", creator=lambda: made)
    schema.metadata.create_all(memory)
    query = "SELECT name, sql FROM sqlite_master WHERE type = 'index' AND sql IS NOT NULL ORDER BY name"
    assert journal._database._raw.execute(query).fetchall() == made.execute(query).fetchall()
    memory.dispose()
    made.close()


def test_the_head_is_the_last_migration() -> None:
    config = Config()
    config.set_main_option("script_location", str(migrate.SCRIPTS))
    assert ScriptDirectory.from_config(config).get_current_head() == schema.HEAD


def test_a_restart_imports_no_migrations(journal: Journal) -> None:
    journal.close()
    code = (
        "import sys; from pathlib import Path; from datetime import datetime, UTC\n"
        "from trader.journal.journal import Journal; from trader.journal.rows import Binding\n"
        f"Journal.open(Path({str(journal.path)!r}), Binding('sim', 'demo', 'generated', 'ada-ar-16h', False),"
        " create=True, at=datetime.now(UTC)).close()\n"
        "assert 'alembic' not in sys.modules\n"
    )
    done = subprocess.run([sys.executable, "-c", code], check=False, timeout=60, cwd=Path(__file__).parents[3])
    assert done.returncode == 0


@pytest.mark.fault(76)
def test_a_newer_journal_is_refused_and_left_alone(journal: Journal, binding: Binding, close: datetime) -> None:
    """Fault 76."""
    journal.close()
    run(journal.path, "UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(JournalError, match=rf"newer version \(schema 9999, this one knows {schema.HEAD}\); install"):
        Journal.open(journal.path, binding, create=True, at=close)
    with pytest.raises(JournalError, match="newer version"):
        Journal.read(journal.path)
    with pytest.raises(JournalError, match="newer version"):
        Journal.attach(journal.path)
    assert {found.name for found in journal.path.parent.iterdir()} == {"journal.db"}


LATER = """
from alembic import op
revision, down_revision = "9998", "{head}"
def upgrade():
    op.execute("CREATE TABLE later (id INTEGER)")
    {last}
"""


def scripts_with(tmp_path: Path, last: str) -> Path:
    scripts = tmp_path / "100% mine"
    shutil.copytree(migrate.SCRIPTS, scripts, ignore=shutil.ignore_patterns("__pycache__"))
    (scripts / "versions" / "r9998.py").write_text(LATER.format(last=last, head=schema.HEAD))
    return scripts


def test_an_older_journal_is_copied_and_upgraded(journal: Journal, close: datetime, tmp_path: Path) -> None:
    """Fault 76."""
    journal.claim(close, close)
    journal.close()
    with Database(journal.path, writable=True) as older:
        migrate.upgrade(older, scripts=scripts_with(tmp_path, "pass"))
        assert migrate.revision(older) == "9998"
        assert "later" in older.tables()
    with Journal.read(journal.path.with_name(f"journal.db.schema-{schema.HEAD}")) as kept:
        assert kept.last_close() == close


@pytest.mark.fault(76)
def test_a_journal_of_the_first_schema_is_upgraded_with_all_it_holds(
    path: Path, binding: Binding, close: datetime, tmp_path: Path
) -> None:
    first = tmp_path / "first"
    shutil.copytree(migrate.SCRIPTS, first, ignore=shutil.ignore_patterns("__pycache__", "r000[2-9]*"))
    create_file(path)
    with Database(path, writable=True) as database:
        migrate.upgrade(database, scripts=first)
        assert migrate.revision(database) == "0001"
    run(path, "INSERT INTO positions VALUES ('ADAUSDT', '5', '9'), ('XRPUSDT', '0', NULL)")
    # only the daemon upgrades: a reader and a command say what it takes
    for look in (Journal.read, Journal.attach):
        with pytest.raises(
            JournalError, match=rf"has schema 0001 and this version reads {schema.HEAD}; use the version"
        ):
            look(path)
    with Journal.open(path, binding, create=True, at=close) as journal:
        assert journal.held() == {"ADAUSDT": Held(Decimal(5), None, "9"), "XRPUSDT": Held(Decimal(0), None, None)}
    assert path.with_name("journal.db.schema-0001").exists()


@pytest.mark.fault(76)
def test_a_failed_upgrade_leaves_the_old_journal(journal: Journal, close: datetime, tmp_path: Path) -> None:
    journal.claim(close, close)
    journal.close()
    with Database(journal.path, writable=True) as older:
        with pytest.raises(JournalError, match="no such table: nowhere"):
            migrate.upgrade(older, scripts=scripts_with(tmp_path, 'op.execute("DELETE FROM nowhere")'))
        assert migrate.revision(older) == schema.HEAD
        assert "later" not in older.tables()
    with Journal.read(journal.path) as reader:
        assert reader.last_close() == close


def test_a_copy_that_cannot_be_made_stops_the_upgrade(journal: Journal, tmp_path: Path) -> None:
    journal.close()
    journal.path.with_name(f"journal.db.schema-{schema.HEAD}").mkdir()
    with Database(journal.path, writable=True) as older:
        with pytest.raises(JournalError, match=r"cannot be copied to .*schema-"):
            migrate.upgrade(older, scripts=scripts_with(tmp_path, "pass"))
        assert migrate.revision(older) == schema.HEAD


def test_somebody_elses_file_is_refused(path: Path, binding: Binding, close: datetime) -> None:
    path.parent.mkdir()
    run(path, "CREATE TABLE recipes (id INTEGER)")
    with pytest.raises(JournalError, match="is no journal"):
        Journal.open(path, binding, create=True, at=close)
    run(path, "CREATE TABLE alembic_version (version_num TEXT)")
    with pytest.raises(JournalError, match="is no journal"):
        Journal.read(path)
    path.write_bytes(b"not a database at all" * 100)
    with pytest.raises(JournalError, match=r"damaged \(SQLITE_NOTADB\); put a backup in its place"):
        Journal.open(path, binding, create=True, at=close)


def test_a_place_that_cannot_hold_a_journal_is_refused(tmp_path: Path, binding: Binding, close: datetime) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(JournalError, match=r"cannot be created: .*TRADER_DATA_DIR"):
        Journal.open(tmp_path / "file" / "journal.db", binding, create=True, at=close)
    with pytest.raises(JournalError, match=r"cannot be opened \(SQLITE_CANTOPEN\); check that its directory"):
        Database(tmp_path / "nowhere" / "journal.db", writable=True)
    with pytest.raises(JournalError, match="cannot be opened"):
        Journal.read(tmp_path)


@pytest.mark.fault(10)
def test_another_process_that_writes_too_long_is_an_error_not_a_hang(
    journal: Journal, close: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Fault 10."""
    journal._database._raw.execute("PRAGMA busy_timeout = 1")
    other = sqlite3.connect(journal.path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(JournalBusy, match=r"another process is writing to it \(SQLITE_BUSY\)") as busy:
        journal.claim(close, close)
    assert busy.value.exit_code == 74
    other.execute("ROLLBACK")
    other.close()
    assert journal.claim(close, close)


@pytest.mark.fault(9)
def test_a_read_only_disk_is_said_so_and_nothing_is_kept(journal: Journal, close: datetime) -> None:
    """Fault 9."""
    journal._database._raw.execute("PRAGMA query_only = ON")
    with pytest.raises(JournalError, match=r"read-only \(SQLITE_READONLY\); make it writable"):
        journal.claim(close, close)
    journal._database._raw.execute("PRAGMA query_only = OFF")
    assert journal.last_close() is None


def test_a_reader_needs_no_right_to_write_beside_a_journal_at_rest(
    journal: Journal, close: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal.claim(close, close)
    journal.close()
    monkeypatch.setattr("trader.journal.database.os.access", lambda path, mode: False)
    before = sorted(journal.path.parent.iterdir())
    with Journal.read(journal.path) as reader:
        assert reader.last_close() == close
        assert sorted(journal.path.parent.iterdir()) == before


def test_a_file_system_without_a_log_is_refused() -> None:
    with pytest.raises(JournalError, match=r"no shared memory for SQLite \(mode memory\); keep it on a local disk"):
        Database(Path(":memory:"), writable=True)


def test_a_journal_belongs_to_the_thread_that_opened_it(journal: Journal) -> None:
    with ThreadPoolExecutor(1) as other, pytest.raises(JournalError, match=r"cannot be closed: .*thread"):
        other.submit(journal.close).result()
    assert journal.last_close() is None


def test_closing_twice_is_fine_and_a_closed_journal_says_so(journal: Journal, close: datetime) -> None:
    journal.close()
    journal.close()
    with pytest.raises(JournalError, match=r"cannot be written: .*closed"):
        journal.claim(close, close)
    with pytest.raises(JournalError, match=r"cannot be read: .*closed"):
        journal.last_close()
    with pytest.raises(JournalError, match=r"cannot be read: .*closed"):
        journal._database.tables()


@pytest.mark.fault(6)
def test_a_page_that_rotted_is_found_at_the_start(
    journal: Journal, reopen: Callable[[], Journal], close: datetime
) -> None:
    """Fault 6."""
    journal.claim(close, close)
    root = journal._database._raw.execute("SELECT rootpage FROM sqlite_master WHERE name = 'decisions'").fetchone()[0]
    journal.close()
    content = bytearray(journal.path.read_bytes())
    content[(root - 1) * 4096 : (root - 1) * 4096 + 64] = b"\xff" * 64
    journal.path.write_bytes(content)
    with pytest.raises(
        JournalError, match=r"damaged .*put a backup in its place with .trader journal restore., or move it away"
    ):
        reopen()
    assert journal.path.read_bytes() == bytes(content)


@pytest.mark.fault(6)
def test_rows_out_of_order_are_found_at_the_start(
    journal: Journal, reopen: Callable[[], Journal], close: datetime
) -> None:
    """Fault 6."""
    journal.claim(close, close)
    journal.claim(close + timedelta(hours=16), close)
    root = journal._database._raw.execute("SELECT rootpage FROM sqlite_master WHERE name = 'decisions'").fetchone()[0]
    journal.close()
    content = bytearray(journal.path.read_bytes())
    # after the page's header come the places of its rows, two bytes each
    begin = (root - 1) * 4096 + 8
    content[begin : begin + 4] = content[begin + 2 : begin + 4] + content[begin : begin + 2]
    journal.path.write_bytes(content)
    with pytest.raises(JournalError, match=r"cannot be used: it is damaged \(.*\); put a backup in its place"):
        reopen()


@pytest.mark.fault(6)
def test_a_transcript_that_rotted_is_found_when_it_is_read(journal: Journal, close: datetime) -> None:
    """Fault 6."""
    journal.claim(close, close)
    journal.record_decision(close, "x" * 500, "{}", model_hash="", why="", intents=[], at=close)
    journal._database._raw.execute("UPDATE transcripts SET inputs = zeroblob(20)")
    with pytest.raises(JournalError, match=r"damaged \(transcript of 2024-01-01T16:00Z"):
        journal.transcript(close)


def test_what_a_start_asks_does_not_grow_with_the_journal(journal: Journal) -> None:
    asked: list[str] = []
    journal._database._raw.set_trace_callback(asked.append)
    journal.state()
    journal.last_close()
    journal.unfinished()
    journal.open_intents()
    journal.pending_requests()
    journal.position("ADAUSDT")
    journal.last_trade_id("ADAUSDT")
    journal.last_income_time()
    journal.peak_equity()
    assert not journal.has_baseline()
    journal.decisions(last=10)
    journal.orders(last=10)
    journal._database._raw.set_trace_callback(None)
    assert len(asked) == 13
    for query in asked:
        plan = [row[3] for row in journal._database._raw.execute(f"EXPLAIN QUERY PLAN {query}")]
        bounded = "LIMIT" in query or "max(" in query
        # one row, and indices that hold only what is open
        short = ("SCAN instance", "unfinished_decisions", "open_orders", "pending_requests")
        for step in plan:
            assert bounded or step.startswith("SEARCH") or any(name in step for name in short), (query, plan)
        assert not any("TEMP B-TREE" in step for step in plan if "RIGHT PART" not in step), (query, plan)
