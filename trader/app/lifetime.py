"""The journal's life: copies of it, putting one back, letting go of what is old, and handing out its tables."""

import csv
import io
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from trader.app.current import journal_path
from trader.config import Settings
from trader.domain.wording import stamp
from trader.errors import ConfigError, JournalError, Mismatch
from trader.journal import archive
from trader.journal.lock import Lock
from trader.journal.queries import Reader

BACKUPS = "backups"
FORMATS = ("csv", "jsonl")


def backup(settings: Settings, out: Path | None) -> dict[str, Any]:
    """Copy the journal, also while a daemon writes it, and prove that the copy can be read.

    Raises:
        ConfigError: there is a file of that name already.
        JournalError: it cannot be copied, or the copy is not whole.
    """
    path = journal_path(settings)
    target = out or path.parent / BACKUPS / f"journal-{datetime.now(UTC):%Y%m%dT%H%M%SZ}.db"
    if target.exists():
        raise ConfigError(f"There is a file at {target} already; name another one with --out.")
    try:
        target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise JournalError(
            f"The folder {target.parent} cannot be made: {error.strerror}; name another --out."
        ) from error
    archive.copy(path, target)
    return archive.describe(target) | {"backup": str(target), "bytes": target.stat().st_size}


def compared(settings: Settings, source: Path) -> dict[str, Any]:
    """Say what putting a copy back would change; refuse one that does not belong here, as far as that can be told.

    A journal that cannot be read, or that a newer version wrote, is what a copy is put back for: it is in nobody's way.

    Raises:
        JournalError: the copy is no journal, damaged, or of a newer version.
        Mismatch: it belongs to another venue, account, tape, strategy or mode.
    """
    path = journal_path(settings)
    if not source.is_file():
        raise JournalError(f"There is no copy at {source}; name a file that `trader journal backup` made.")
    try:
        found = archive.describe(source)
    except JournalError as error:
        cause, _, remedy = str(error).rpartition("; ")
        # what puts a journal right that cannot be read is a copy, and this is the copy
        remedy = remedy if "newer" in cause else "name another one that `trader journal backup` made."
        raise JournalError(f"The copy cannot be put back: {cause}; {remedy}") from error
    now = _present(path)
    if now is not None and now.get("belongs_to", found["belongs_to"]) != found["belongs_to"]:
        raise Mismatch(
            f"The copy {source} belongs to {found['belongs_to']}, the journal {path} to {now['belongs_to']}; give a "
            "copy of this one, or point TRADER_DATA_DIR to where it belongs."
        )
    return {"from": str(source), "to": str(path), "copy": found, "present": now}


def _present(path: Path) -> dict[str, Any] | None:
    """Say what the journal is that would be replaced, or why that cannot be told."""
    if not path.exists():
        return None
    try:
        return archive.describe(path)
    except JournalError as error:
        return {"unreadable": str(error).rpartition("; ")[0]}


def restore(settings: Settings, source: Path) -> dict[str, Any]:
    """Put a copy in the journal's place and keep what was there beside it; no daemon may run.

    Raises:
        JournalLocked: a daemon runs.
        JournalError, Mismatch: as `compared`, or it cannot be written.
    """
    path = journal_path(settings)
    with Lock.acquire(path, started=datetime.now(UTC)):
        plan = compared(settings, source)
        aside = archive.put_back(source, path, datetime.now(UTC))
    return plan | {"kept": None if aside is None else str(aside)}


def prune(settings: Settings, before: datetime, *, pretend: bool) -> dict[str, Any]:
    """Drop the transcripts of closes before a moment, and what is only kept for them; no daemon may run.

    Money, orders, fills, bookings, states and decisions stay: the journal's books have to add up from its beginning.

    Raises:
        JournalLocked: a daemon runs.
        JournalError: it cannot be read or written.
    """
    path = journal_path(settings)
    if pretend:
        return archive.prunable(path, before) | {"before": stamp(before)}
    with Lock.acquire(path, started=datetime.now(UTC)):
        size = path.stat().st_size
        dropped = archive.prune(path, before)
        return dropped | {"before": stamp(before), "bytes_before": size, "bytes_after": path.stat().st_size}


def export(settings: Settings, out: Path, form: str) -> dict[str, Any]:
    """Write every table that people ask for as files of one kind, for a spreadsheet, a tax adviser or an archive.

    Raises:
        ConfigError: the folder cannot be written.
        JournalError: the journal cannot be read.
    """
    written = {}
    with Reader.read(journal_path(settings)) as journal:
        try:
            out.mkdir(parents=True, exist_ok=True)
            for name, rows in archive.tables(journal):
                target = out / f"{name}.{form}"
                text = _csv(rows) if form == "csv" else "".join(json.dumps(row) + "\n" for row in rows)
                fresh = target.with_name(target.name + ".unfinished")
                fresh.write_text(text, encoding="utf-8")
                fresh.replace(target)
                written[name] = {"file": str(target), "rows": len(rows)}
        except OSError as error:
            raise ConfigError(f"{out} cannot be written: {error.strerror}; name another folder with --out.") from error
    return written


def changes(settings: Settings, last: int) -> list[dict[str, Any]]:
    """List changes of the configuration, oldest first."""
    with Reader.read(journal_path(settings)) as journal:
        return [{"at": stamp(one.at), "by": one.by, "diff": json.loads(one.diff)} for one in journal.changes(last=last)]


def _csv(rows: list[dict[str, Any]]) -> str:
    if not rows:
        return ""
    out = io.StringIO()
    writer = csv.DictWriter(out, fieldnames=list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue()
