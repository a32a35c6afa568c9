"""A journal as a file that is copied, put back, made smaller and handed out."""

import json
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import fields, is_dataclass
from datetime import datetime
from decimal import Decimal
from enum import Enum
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, delete, func, select, text

from trader.domain.decision import STRICTNESS, State
from trader.errors import JournalError
from trader.execution.reconcile import TRANSFERS
from trader.journal import migrate, schema
from trader.journal.bookings import MOVED
from trader.journal.database import Database, failure, require_file
from trader.journal.queries import PEAK, PEAK_AFTER, Reader

_PARTS = ("", "-wal", "-shm")


def copy(path: Path, target: Path) -> None:
    """Write a whole copy of a journal, of any schema, also while a daemon writes it.

    Raises:
        JournalError: there is none, or it cannot be read or copied.
    """
    require_file(path)
    with Database(path, writable=False) as database:
        migrate.revision(database)
        database.copy(target)


def describe(path: Path) -> dict[str, Any]:
    """Walk through a whole journal and say what it is.

    Raises:
        JournalError: it is no journal, damaged, or of a newer version than this one can read.
    """
    require_file(path)
    with Database(path, writable=False) as database:
        database.check()
        found = migrate.revision(database)
        if found is None:
            raise JournalError(f"The journal {path} is empty; name another copy.")
        migrate.require_known(database, found)
        closes, last = tuple(database.read(text("SELECT count(*), max(close) FROM decisions"))[0])
        owners = database.read(text("SELECT venue, account, tape, strategy, dry_run FROM instance"))
    *words, imagined = tuple(owners[0]) if owners else ("nobody yet", False)
    return {
        "schema": found,
        "belongs_to": " ".join(str(word) for word in words if word) + (" (dry run)" if imagined else ""),
        "closes": closes,
        "last_close": None if last is None else _plain(schema.from_milliseconds(last)),
    }


def put_back(source: Path, path: Path, at: datetime) -> Path | None:
    """Put a copy in a journal's place; what was there is kept beside it, under the name that is returned.

    What losses are counted from is what the replaced journal says, and so is the state where it allows no more than the
    copy. A halt or a flatten that nobody has obeyed yet stays, in whichever of the two it is; a resume does not: a
    restore lifts no halt. Where the replaced journal cannot be read, the copy is halted.

    Raises:
        JournalError: something cannot be written; then the journal is as it was, or lies under that name.
    """
    fresh = path.with_name(f"{path.name}.restored")
    with Database(source, writable=False) as database:
        database.copy(fresh)
    if path.exists():
        _take_over(path, fresh, at)
    aside = path.with_name(f"{path.name}.before-restore-{at:%Y%m%dT%H%M%SZ}")
    try:
        # the journal's own name comes last, so that its log never lies beside another file
        moved = [part for part in reversed(_PARTS) if path.with_name(path.name + part).exists()]
        for part in moved:
            path.with_name(path.name + part).replace(aside.with_name(aside.name + part))
        fresh.replace(path)
    except OSError as error:
        raise JournalError(
            f"The journal {path} cannot be put back: {error.strerror}; what was there lies beside it as {aside.name}*."
        ) from error
    return aside if "" in moved else None


def _take_over(path: Path, fresh: Path, at: datetime) -> None:
    """Write into a copy what the journal that it replaces says of state, requests and losses."""
    with closing(sqlite3.connect(fresh, isolation_level=None)) as copy:
        state, why = _stance(copy)
        asked, losses = _asked(copy), {}
        try:
            with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as replaced:
                if replaced.execute("PRAGMA quick_check(1)").fetchone() != ("ok",):
                    raise ValueError("what it says cannot be believed")
                then, because = _stance(replaced)
                waits, done = _asked(replaced), _done(replaced)
                asked = [one for one in asked if one not in done and one not in waits] + waits
                losses = _losses(replaced, copy)
        except (sqlite3.Error, ValueError, ArithmeticError):
            then, because = State.HALTED, "the journal that was replaced could not be read"
        # a resume that waits in the copy knew nothing of what was found since
        copy.execute("DELETE FROM requests WHERE done_at IS NULL")
        if then is not State.ACTIVE and STRICTNESS[then] >= STRICTNESS[state] and (then, because) != (state, why):
            row = (then.value, f"kept by a restore: {because}", "restore", schema.to_milliseconds(at))
            copy.execute('INSERT INTO states (state, why, "by", at) VALUES (?, ?, ?, ?)', row)
        copy.executemany("INSERT INTO requests (kind, at) VALUES (?, ?)", asked)
        copy.executemany("REPLACE INTO meta (key, value) VALUES (?, ?)", losses.items())


def _stance(connection: sqlite3.Connection) -> tuple[State, str]:
    """Return the state of a journal of any schema, and why."""
    row = connection.execute("SELECT state, why FROM states ORDER BY id DESC LIMIT 1").fetchone()
    state, why = row or (State.ACTIVE, "")
    return State(state), str(why)


def _asked(connection: sqlite3.Connection) -> list[tuple[str, int]]:
    """Return the halts and flattens that were asked for and are not done; a resume is for whoever knew its halt."""
    asked = "SELECT kind, at FROM requests WHERE done_at IS NULL AND kind != 'resume' ORDER BY id"
    return [(str(kind), int(at)) for kind, at in connection.execute(asked)]


def _done(connection: sqlite3.Connection) -> set[tuple[str, int]]:
    """Return what was asked for and is done."""
    return set(connection.execute("SELECT kind, at FROM requests WHERE done_at IS NOT NULL"))


def _losses(replaced: sqlite3.Connection, copy: sqlite3.Connection) -> dict[str, str]:
    """Return what losses are counted from, so that transfers that the copy will be told of again count once.

    Nothing of a journal that was begun anew: what came in or went out before is in its baseline, and in no booking.
    """
    begun = "SELECT at, wallet, equity FROM baselines ORDER BY id LIMIT 1"
    if replaced.execute(begun).fetchone() != copy.execute(begun).fetchone():
        return {}
    kept = dict(replaced.execute("SELECT key, value FROM meta WHERE key IN (?, ?, ?)", (PEAK, PEAK_AFTER, MOVED)))
    if PEAK not in kept:
        return {}
    known = set(copy.execute("SELECT id, kind FROM incomes"))
    rows = replaced.execute("SELECT id, kind, amount FROM incomes")
    again = [Decimal(amount) for number, kind, amount in rows if kind in TRANSFERS and (number, kind) not in known]
    return kept | {MOVED: format(Decimal(kept.get(MOVED, 0)) - sum(again, Decimal(0)), "f")}


def prunable(path: Path, before: datetime) -> dict[str, Any]:
    """Count what `prune` would drop.

    Raises:
        JournalError: the journal cannot be read.
    """
    require_file(path)
    with Database(path, writable=False) as database:
        migrate.require_head(database)
        (count,) = database.read(select(func.count()).where(_old(before)))[0]
        return {"transcripts": count}


def prune(path: Path, before: datetime) -> dict[str, Any]:
    """Drop transcripts of closes before a moment, and models and blocks that none left needs; give the space back.

    Raises:
        JournalError: the journal cannot be written.
    """
    require_file(path)
    with Database(path, writable=True) as database:
        migrate.require_head(database)
        kept = select(schema.decisions.c.model_hash).where(
            schema.decisions.c.close.in_(select(schema.transcripts.c.close)), schema.decisions.c.model_hash.is_not(None)
        )
        newest = (
            select(schema.decisions.c.model_hash)
            .where(schema.decisions.c.model_hash.is_not(None))
            .order_by(schema.decisions.c.close.desc())
            .limit(1)
        )
        with database.write() as connection:
            transcripts = connection.execute(delete(schema.transcripts).where(_old(before))).rowcount
            _drop_blocks(connection)
            models = connection.execute(
                delete(schema.models).where(
                    schema.models.c.hash.not_in(kept), schema.models.c.hash.not_in(newest.scalar_subquery())
                )
            ).rowcount
    try:
        with closing(sqlite3.connect(path, isolation_level=None)) as plain:
            plain.execute("VACUUM")
            plain.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    except sqlite3.Error as error:
        raise failure(path, "made smaller", error) from error
    return {"transcripts": transcripts, "models": models}


def _drop_blocks(connection: Connection) -> None:
    """Drop the texts that no transcript shares any more."""
    needed: set[int] = set()
    for (runs,) in connection.execute(select(schema.transcripts.c.blocks)):
        for first, last in json.loads(runs or "[]"):
            needed.update(range(first, last + 1))
    left = [number for (number,) in connection.execute(select(schema.blocks.c.id)) if number not in needed]
    for number in left:
        connection.execute(delete(schema.blocks).where(schema.blocks.c.id == number))


def _old(before: datetime) -> Any:
    """Select transcripts of finished closes before a moment: an unfinished one is still to be finished from its own."""
    finished = select(schema.decisions.c.close).where(schema.decisions.c.finished_at.is_not(None))
    return (schema.transcripts.c.close < before) & schema.transcripts.c.close.in_(finished)


def tables(journal: Reader) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """Yield everything people ask for, by name, as rows of plain values; money and quantities are decimal texts."""
    for name, records in (
        ("decisions", journal.decisions()),
        ("orders", journal.orders()),
        ("stops", journal.stops()),
        ("fills", journal.fills()),
        ("incomes", journal.incomes()),
        ("equity", journal.equity_points()),
        ("states", journal.states()),
        ("changes", journal.changes()),
    ):
        yield name, [_row(record) for record in records]


def _row(record: Any) -> dict[str, Any]:
    row: dict[str, Any] = {}
    for field in fields(record):
        value = getattr(record, field.name)
        row |= _row(value) if is_dataclass(value) else {field.name: _plain(value)}
    return row


def _plain(value: Any) -> Any:
    match value:
        case datetime():
            return value.isoformat().replace("+00:00", "Z")
        case Decimal():
            return format(value, "f")
        case Enum():
            return value.value
        case Mapping():
            return json.dumps({str(key): _plain(inner) for key, inner in value.items()})
        case _:
            return value
