"""Alerts that wait on disk until every address has taken them."""

import os
import sqlite3
from collections.abc import Iterable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from trader.errors import JournalError
from trader.notify.alert import Alert, Severity

FILE = "alerts.db"
KEPT = 1000
FIRST_PAUSE = 30.0
LONGEST_PAUSE = 3600.0
GIVEN_UP_AFTER = 3 * 86400.0

_SCHEMA = """
CREATE TABLE IF NOT EXISTS alerts (
    id INTEGER PRIMARY KEY,
    key TEXT NOT NULL,
    severity TEXT NOT NULL,
    title TEXT NOT NULL,
    text TEXT NOT NULL,
    at REAL NOT NULL,
    repeats INTEGER NOT NULL DEFAULT 0,
    attempts INTEGER NOT NULL DEFAULT 0,
    due REAL NOT NULL,
    told TEXT NOT NULL DEFAULT '',
    done TEXT
);
CREATE INDEX IF NOT EXISTS alerts_by_key ON alerts (key);
CREATE TABLE IF NOT EXISTS marks (name TEXT PRIMARY KEY, value TEXT NOT NULL);
"""


@dataclass(frozen=True, slots=True)
class Entry:
    """One alert in the box; times in seconds since the epoch.

    `told` are the numbers of the addresses that have taken it, `repeats` how often the same happened since, `done` why
    it waits no more: `told`, or `given up`.
    """

    id: int
    severity: Severity
    title: str
    text: str
    at: float
    repeats: int
    attempts: int
    due: float
    told: frozenset[int]
    done: str | None


class Outbox:
    """The box; every method is one transaction, and belongs to the thread that opened it."""

    def __init__(self, path: Path, connection: sqlite3.Connection) -> None:
        """Use `open`."""
        self.path = path
        self._connection = connection

    @classmethod
    def open(cls, path: Path) -> "Outbox":
        """Open the box, or make it; one that is damaged is moved aside, because news must not wait for a repair.

        Raises:
            JournalError: it can be neither read nor made.
        """
        try:
            return cls._open(path)
        except sqlite3.DatabaseError as error:
            if isinstance(error, sqlite3.OperationalError):
                raise _failure(path, error) from error
        try:
            path.replace(path.with_name(f"{path.name}.damaged"))
            return cls._open(path)
        except (OSError, sqlite3.Error) as error:
            raise _failure(path, error) from error

    @classmethod
    def _open(cls, path: Path) -> "Outbox":
        try:
            os.close(os.open(path, os.O_WRONLY | os.O_CREAT, 0o600))
        except OSError as error:
            raise _failure(path, error) from error
        connection = sqlite3.connect(path, timeout=2.0, isolation_level=None)
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = FULL")
            connection.executescript(_SCHEMA)
        except sqlite3.Error:
            connection.close()
            raise
        return cls(path, connection)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        self._connection.close()

    def put(self, alert: Alert, now: float, *, repeat: float) -> bool:
        """Keep an alert until it is told; False where the same news was told already, which is only counted.

        Raises:
            JournalError: the box cannot be written.
        """
        since = 0.0 if alert.once else now - repeat
        try:
            with self._connection:
                self._connection.execute("BEGIN IMMEDIATE")
                known = self._connection.execute(
                    "SELECT id FROM alerts WHERE key = ? AND (at > ? OR done IS NULL) ORDER BY id DESC LIMIT 1",
                    (alert.key, since),
                ).fetchone()
                if known:
                    if not alert.once:
                        self._connection.execute("UPDATE alerts SET repeats = repeats + 1 WHERE id = ?", known)
                    return False
                self._connection.execute(
                    "INSERT INTO alerts (key, severity, title, text, at, due) VALUES (?, ?, ?, ?, ?, ?)",
                    (alert.key, alert.severity.value, alert.title, alert.text, now, now),
                )
                self._connection.execute(
                    "DELETE FROM alerts WHERE done IS NOT NULL AND id <= (SELECT max(id) FROM alerts) - ?", (KEPT,)
                )
                return True
        except sqlite3.Error as error:
            raise _failure(self.path, error) from error

    def waiting(self, now: float) -> list[Entry]:
        """Return what is to be told now, the gravest first, the older of two alike."""
        return sorted(
            # due later than any pause lasts: the clock was set back since
            self._entries("WHERE done IS NULL AND (due <= ? OR due > ?) ORDER BY id", now, now + LONGEST_PAUSE),
            key=lambda entry: not entry.severity.reaches(Severity.CRITICAL),
        )

    def newest(self, count: int) -> list[Entry]:
        """Return the newest alerts, oldest first, whatever became of them."""
        return self._entries("ORDER BY id DESC LIMIT ?", count)[::-1]

    def undelivered(self) -> int:
        """Return how many wait."""
        return int(self._ask("SELECT count(*) FROM alerts WHERE done IS NULL")[0][0])

    def tell(self, entry: Entry, taken: Iterable[int], addresses: Iterable[int], now: float) -> None:
        """Keep which addresses took it; the others are tried again later, and after three days no more.

        Raises:
            JournalError: the box cannot be written; then somebody may be told twice.
        """
        told = entry.told | frozenset(taken)
        done = "told" if told >= frozenset(addresses) else None
        if done is None and now - entry.at > GIVEN_UP_AFTER:
            done = "given up"
        pause = min(FIRST_PAUSE * 2**entry.attempts, LONGEST_PAUSE)
        try:
            with self._connection:
                self._connection.execute(
                    "UPDATE alerts SET told = ?, done = ?, attempts = attempts + 1, due = ? WHERE id = ?",
                    (",".join(map(str, sorted(told))), done, now + pause, entry.id),
                )
        except sqlite3.Error as error:
            raise _failure(self.path, error) from error

    def mark(self, name: str) -> str | None:
        """Return how far something was looked at, None where it never was."""
        found = self._ask("SELECT value FROM marks WHERE name = ?", name)
        return str(found[0][0]) if found else None

    def set_mark(self, name: str, value: str) -> None:
        """Keep how far something was looked at.

        Raises:
            JournalError: the box cannot be written.
        """
        try:
            with self._connection:
                self._connection.execute("INSERT OR REPLACE INTO marks VALUES (?, ?)", (name, value))
        except sqlite3.Error as error:
            raise _failure(self.path, error) from error

    def _entries(self, rest: str, *parameters: object) -> list[Entry]:
        columns = "id, severity, title, text, at, repeats, attempts, due, told, done"
        rows = self._ask(f"SELECT {columns} FROM alerts {rest}", *parameters)  # noqa: S608  # words of ours
        return [_entry(row) for row in rows]

    def _ask(self, query: str, *parameters: object) -> list[tuple[Any, ...]]:
        try:
            with closing(self._connection.execute(query, parameters)) as cursor:
                rows: list[tuple[Any, ...]] = cursor.fetchall()
                return rows
        except sqlite3.Error as error:
            raise _failure(self.path, error) from error


def _entry(row: tuple[Any, ...]) -> Entry:
    number, severity, title, text, at, repeats, attempts, due, told, done = row
    numbers = frozenset(map(int, filter(None, told.split(","))))
    return Entry(number, Severity(severity), title, text, at, repeats, attempts, due, numbers, done)


def _failure(path: Path, error: BaseException) -> JournalError:
    reason = error.strerror if isinstance(error, OSError) else str(error)
    return JournalError(f"The alerts in {path} cannot be kept: {reason}; check the disk, its space and its rights.")
