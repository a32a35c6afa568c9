"""A journal over the years: copied while it is written, put back, made smaller, handed out, and of another version."""

import csv
import json
import shutil
import sqlite3
import zlib
from contextlib import closing
from datetime import datetime
from decimal import Decimal
from pathlib import Path

import polars as pl
import pytest

from tests.scenarios.processes import Home, agrees
from trader.journal import migrate
from trader.journal.database import Database, create_file
from trader.journal.queries import Reader
from trader.live.record import decode_inputs


@pytest.fixture
def home(tmp_path: Path) -> Home:
    home = Home(tmp_path / "data")
    assert home.run("run", "--cycles", "4", "--speed", "max").returncode == 0
    return home


def test_a_copy_is_put_back_and_the_next_start_catches_up_with_the_exchange(home: Home) -> None:
    made = home.document("journal", "backup")
    assert made["closes"] == 4
    assert home.run("run", "--cycles", "6", "--speed", "max").returncode == 0
    put = home.document("journal", "restore", made["backup"], "--yes")
    assert put["present"]["closes"] == 10
    assert Path(put["kept"]).exists()
    assert home.document("status")["last_close"] == made["last_close"]
    # what was traded since is on the exchange and in no journal: that is for a person to accept
    refused = home.run("run", "--cycles", "1", "--speed", "max")
    assert refused.returncode == 77, refused.stderr
    assert "--adopt" in refused.stderr
    assert home.run("run", "--cycles", "2", "--speed", "max", "--adopt").returncode == 0
    assert home.document("reconcile")["differences"] == []
    assert home.document("replay", "--all")["differences"] == []


def test_a_copy_of_something_else_and_a_damaged_one_are_refused_and_change_nothing(home: Home, tmp_path: Path) -> None:
    other = Home(tmp_path / "other")
    assert other.run("run", "--cycles", "1", "--speed", "max", "--strategy", "ada-ar-12h").returncode == 0
    foreign = other.document("journal", "backup", "--out", str(tmp_path / "foreign.db"))["backup"]
    before = home.journal("select * from decisions")
    refused = home.run("journal", "restore", foreign, "--yes")
    assert refused.returncode == 77
    assert "belongs to" in refused.stderr
    broken = tmp_path / "broken.db"
    whole = Path(foreign).read_bytes()
    broken.write_bytes(whole[: len(whole) // 2])
    refused = home.run("journal", "restore", str(broken), "--yes")
    assert refused.returncode == 74
    assert "damaged" in refused.stderr
    assert "name another one" in refused.stderr
    absent = home.run("journal", "restore", str(tmp_path / "absent.db"), "--yes")
    assert (absent.returncode, "There is no copy at" in absent.stderr) == (74, True)
    assert home.journal("select * from decisions") == before


def test_a_copy_is_put_in_the_place_of_a_journal_that_is_damaged_or_that_a_newer_version_wrote(home: Home) -> None:
    made = home.document("journal", "backup")["backup"]
    (path,) = home.data.glob("sim/*/journal.db")
    whole = path.read_bytes()
    path.write_bytes(b"torn" * (len(whole) // 4))
    for words in (("run", "--cycles", "1", "--speed", "max"), ("journal", "backup")):
        refused = home.run(*words)
        assert (refused.returncode, "`trader journal restore`" in refused.stderr) == (74, True), refused.stderr
    put = home.document("journal", "restore", made, "--yes")
    assert "it is damaged" in put["present"]["unreadable"]
    assert Path(put["kept"]).read_bytes().startswith(b"torn")
    told = home.document("status")
    assert (told["state"], "could not be read" in told["why"]) == ("HALTED", True)
    with closing(sqlite3.connect(path)) as newer, newer:
        newer.execute("UPDATE alembic_version SET version_num = '9999'")
    refused = home.run("status")
    assert (refused.returncode, "`trader journal restore`" in refused.stderr) == (74, True), refused.stderr
    put = home.document("journal", "restore", made, "--yes")
    assert "a newer version" in put["present"]["unreadable"]
    assert home.document("status")["state"] == "HALTED"


def test_a_run_that_goes_on_counts_what_was_booked_since_the_equity_it_starts_from(home: Home) -> None:
    before = home.document("status")["last_close"]
    told = home.document("run", "--cycles", "3", "--speed", "max")
    first = told["closes"][0]["close"]
    paid = home.journal("select time, amount from incomes where kind = 'FUNDING_FEE'")
    start = Decimal(datetime.fromisoformat(before).timestamp() * 1000)
    gap = [Decimal(amount) for time, amount in paid if start < time <= datetime.fromisoformat(first).timestamp() * 1000]
    later = [Decimal(amount) for time, amount in paid if time > start]
    assert any(gap)
    assert Decimal(told["metrics"]["funding"]) == sum(later)
    assert sum(Decimal(trip["funding"]) for trip in told["round_trips"]) == sum(later)


def test_a_request_that_nobody_heard_is_told_and_shown_until_the_next_start_obeys_it(home: Home) -> None:
    assert home.document("status")["requests"] == []
    asked = home.run("halt")
    assert (asked.returncode, "the next start obeys" in asked.stderr) == (0, True)
    assert home.document("status")["requests"] == ["halt"]
    assert home.run("run", "--cycles", "1", "--speed", "max").returncode == 0
    told = home.document("status")
    assert (told["requests"], told["state"]) == ([], "HALTED")


@pytest.mark.parametrize(
    "words", [("resume",), ("flatten",), ("journal", "prune"), ("journal", "restore", "COPY")], ids=lambda w: w[-1]
)
def test_a_question_that_nobody_can_answer_changes_nothing_and_leaves_stdout_alone(
    home: Home, words: tuple[str, ...]
) -> None:
    copy = home.document("journal", "backup")["backup"]
    content = (home.exchange / "journal.db").read_bytes()
    refused = home.run(*(copy if word == "COPY" else word for word in words), "--json")
    assert (refused.returncode, refused.stdout) == (1, ""), refused.stderr
    assert "--yes" in refused.stderr
    assert (home.exchange / "journal.db").read_bytes() == content


def test_a_journal_of_a_newer_version_is_refused_everywhere_and_stays_as_it_is(home: Home) -> None:
    path = home.exchange / "journal.db"
    with sqlite3.connect(path) as connection:
        connection.execute("update alembic_version set version_num = '9999'")
    connection.close()
    content = path.read_bytes()
    for words in (["run", "--cycles", "1"], ["status"], ["halt"], ["replay", "--all"], ["journal", "prune", "--yes"]):
        refused = home.run(*words)
        assert refused.returncode == 74, words
        assert "was written by a newer version (schema 9999" in refused.stderr
        assert "install that version again" in refused.stderr
    assert path.read_bytes() == content


def test_pruning_drops_what_old_decisions_were_made_from_and_no_cent(home: Home) -> None:
    closes = [close for (close,) in home.journal("select close from decisions")]
    money = home.journal("select client_id, filled from orders"), home.journal("select id, amount from incomes")
    last = home.document("status")["last_close"]
    asked = home.run("journal", "prune", "--before", last)
    assert asked.returncode == 1
    assert len(home.journal("select close from transcripts")) == 4
    done = home.document("journal", "prune", "--before", last, "--yes")
    assert done["transcripts"] == 3
    assert home.journal("select close from transcripts") == [(max(closes),)]
    assert (
        home.journal("select client_id, filled from orders"),
        home.journal("select id, amount from incomes"),
    ) == money
    assert home.document("replay", "--all") == {"replayed": 1, "differences": []}
    assert home.run("run", "--cycles", "2", "--speed", "max").returncode == 0
    agrees(home)


@pytest.mark.parametrize("form", ["csv", "jsonl"])
def test_an_export_holds_every_row_in_words_anybody_can_read(home: Home, tmp_path: Path, form: str) -> None:
    told = home.document("journal", "export", "--out", str(tmp_path / "year"), "--format", form)
    rows = {one["table"]: one["rows"] for one in told}
    for name in ("decisions", "orders", "fills", "incomes", "equity"):
        text = (tmp_path / "year" / f"{name}.{form}").read_text()
        read = list(csv.DictReader(text.splitlines())) if form == "csv" else [json.loads(x) for x in text.splitlines()]
        assert len(read) == rows[name] == home.journal(f"select count(*) from {name}")[0][0]
        assert rows[name]
    fills = (tmp_path / "year" / f"fills.{form}").read_text()
    for (price,) in home.journal("select price from fills"):
        assert price in fills


BACK_TO_THE_FIRST_SCHEMA = (
    "alter table orders drop column arrival",
    "alter table orders drop column price",
    'alter table orders drop column "limit"',
    "alter table positions drop column cost",
    "drop table changes",
    "drop table stops",
    "drop table blocks",
    "alter table transcripts drop column blocks",
    "alter table requests drop column seen",
    "delete from meta where key in ('configuration', 'stages')",
    "update alembic_version set version_num = '0001'",
)


def test_a_journal_of_the_first_schema_is_upgraded_goes_on_replays_and_reconciles(home: Home) -> None:
    """The first schema is what its own migration makes: the journal is brought back to it, column by column."""
    path = home.exchange / "journal.db"
    told = home.document("replay", "--all")
    inputs = with_their_candles(path)
    with sqlite3.connect(path) as connection:
        for close, text in inputs.items():
            connection.execute("update transcripts set inputs = ? where close = ?", (text, close))
        for statement in BACK_TO_THE_FIRST_SCHEMA:
            connection.execute(statement)
    connection.close()
    assert first_schema(path) == first_schema(made_by_the_first_migration(home.data / "first.db"))
    # whoever only reads says which version the file is of, and a copy can be made of any
    assert "start this version's daemon once to upgrade it" in home.run("status").stderr
    assert home.document("journal", "backup")["schema"] == "0001"
    assert home.run("run", "--cycles", "3", "--speed", "max").returncode == 0
    assert path.with_name("journal.db.schema-0001").exists()
    assert home.document("replay", "--all") == {"replayed": told["replayed"] + 3, "differences": []}
    assert home.document("reconcile")["differences"] == []
    agrees(home)


def with_their_candles(path: Path) -> dict[int, bytes]:
    """The inputs of every decision as they were written when candles were a part of them."""
    found = {}
    with Reader.read(path) as journal:
        for one in journal.transcripts():
            candles = decode_inputs(one.inputs, journal.texts(one)).candles
            plain = candles.with_columns(pl.col(name).dt.epoch("ms") for name in ("open_time", "close_time"))
            text = json.dumps(json.loads(one.inputs) | {"candles": plain.to_dict(as_series=False)})
            found[round(one.close.timestamp() * 1000)] = zlib.compress(text.encode())
    return found


def made_by_the_first_migration(path: Path) -> Path:
    scripts = path.with_name("scripts")
    shutil.copytree(migrate.SCRIPTS, scripts, ignore=shutil.ignore_patterns("__pycache__", "r000[2-9]*"))
    create_file(path)
    with Database(path, writable=True) as database:
        migrate.upgrade(database, scripts=scripts)
    return path


def first_schema(path: Path) -> dict[str, list[str]]:
    """Every table with its columns, by name."""
    with sqlite3.connect(path) as connection:
        tables = [name for (name,) in connection.execute("select name from sqlite_master where type = 'table'")]
        found = {name: [row[1] for row in connection.execute(f"pragma table_info({name})")] for name in tables}
    connection.close()
    return found
