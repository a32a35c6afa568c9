"""One SQLite file: opened, checked, read, written, and every failure told in one sentence."""

import os
import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self
from urllib.parse import quote

from sqlalchemy import Connection, Executable, Row, create_engine
from sqlalchemy.exc import DBAPIError, SQLAlchemyError, StatementError
from sqlalchemy.pool import NullPool

from trader.errors import JournalBusy, JournalError

BUSY_SECONDS = 2.0
"""How long a write waits for another process's write; theirs take a millisecond."""

_DAMAGED = (
    "it is damaged",
    "put a backup in its place with `trader journal restore`, or move it away and start once with --adopt",
)
_BUSY = ("another process is writing to it", "end that process, or wait for it, and try again")
_CAUSES = {
    "SQLITE_FULL": ("the disk is full", "free some space and start again"),
    "SQLITE_IOERR": ("the disk does not accept it", "check the disk and its free space, then start again"),
    "SQLITE_READONLY": ("the file or its disk is read-only", "make it writable for this user and start again"),
    "SQLITE_BUSY": _BUSY,
    "SQLITE_LOCKED": _BUSY,
    "SQLITE_CANTOPEN": ("it cannot be opened", "check that its directory exists and belongs to this user"),
    "SQLITE_PERM": ("it cannot be opened", "check that its directory exists and belongs to this user"),
    "SQLITE_CORRUPT": _DAMAGED,
    "SQLITE_NOTADB": _DAMAGED,
}


def failure(path: Path, doing: str, error: BaseException) -> JournalError:
    """Say in one sentence what went wrong with the journal and what helps; statements and values are left out."""
    if isinstance(error, StatementError) and error.orig is not None:
        error = error.orig
    name = str(getattr(error, "sqlite_errorname", ""))
    for known, (cause, remedy) in _CAUSES.items():
        if name.startswith(known):
            kind = JournalBusy if cause == _BUSY[0] else JournalError
            return kind(f"The journal {path} cannot be {doing}: {cause} ({name}); {remedy}.")
    return JournalError(f"The journal {path} cannot be {doing}: {error}; keep the file and report this.")


def damaged(path: Path, what: str) -> JournalError:
    """Say that the file is damaged, and where."""
    cause, remedy = _DAMAGED
    return JournalError(f"The journal {path} cannot be used: {cause} ({what}); {remedy}.")


class Database:
    """A connection to the file; each `write` is one transaction, durable when it returns.

    Belongs to the thread that opened it.
    """

    def __init__(self, path: Path, *, writable: bool) -> None:
        """Open an existing file.

        Raises:
            JournalError: it cannot be opened.
        """
        self.path = path
        self.permit: Callable[[], None] = lambda: None
        self._closed = False
        mode = "rw" if writable else "ro"
        if not writable and not os.access(path.parent, os.W_OK) and not _beside(path, "-wal").exists():
            # nobody here can write, and SQLite would want to create its shared memory file
            mode = "ro&immutable=1"
        try:
            self._raw = sqlite3.connect(
                f"file:{quote(str(path))}?mode={mode}", uri=True, timeout=BUSY_SECONDS, isolation_level=None
            )
        except sqlite3.Error as error:
            raise failure(path, "opened", error) from error
        try:
            self._prepare(writable=writable)
            engine = create_engine("sqlite://", creator=lambda: self._raw, poolclass=NullPool, hide_parameters=True)
            self._connection = engine.connect()
        except (sqlite3.Error, SQLAlchemyError) as error:
            self._raw.close()
            raise failure(path, "opened", error) from error
        except JournalError:
            self._raw.close()
            raise

    def _prepare(self, *, writable: bool) -> None:
        self._raw.execute("PRAGMA foreign_keys = ON")
        self._raw.execute("PRAGMA cell_size_check = ON")
        if not writable:
            self._raw.execute("PRAGMA query_only = ON")
            return
        (mode,) = self._raw.execute("PRAGMA journal_mode = WAL").fetchone()
        if mode != "wal":
            raise JournalError(
                f"The journal {self.path} cannot be opened: its file system has no shared memory for SQLite (mode "
                f"{mode}); keep it on a local disk."
            )
        # FULL syncs the log at every commit: what was written is there after a power loss
        self._raw.execute("PRAGMA synchronous = FULL")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file; a second time does nothing."""
        if self._closed:
            return
        try:
            # another thread is refused here, before half of it is closed
            self._raw.execute("SELECT 1")
            self._closed = True
            self._connection.close()
            self._raw.close()
        except (sqlite3.Error, SQLAlchemyError) as error:
            raise failure(self.path, "closed", error) from error

    def check(self, tables: Sequence[str] = ()) -> None:
        """Walk every page of these tables (default: of the file).

        Raises:
            JournalError: the file is damaged.
        """
        try:
            for table in tables or (None,):
                argument = f"('{table}')" if table else ""
                (found,) = self._raw.execute(f"PRAGMA quick_check{argument}").fetchone()
                if found != "ok":
                    raise damaged(self.path, " ".join(str(found).split()))
        except sqlite3.Error as error:
            raise failure(self.path, "checked", error) from error

    def tables(self) -> set[str]:
        """Return the names of all tables in the file."""
        try:
            return {name for (name,) in self._raw.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
        except sqlite3.Error as error:
            raise failure(self.path, "read", error) from error

    def read(self, statement: Executable, parameters: Mapping[str, Any] | None = None) -> Sequence[Row[Any]]:
        """Run one query and return all its rows."""
        try:
            return self._connection.execute(statement, parameters).all()
        except SQLAlchemyError as error:
            raise failure(self.path, "read", error) from error

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """Open one transaction; what it wrote is durable when the block ends, and gone if the block raises.

        `permit` is asked before and may refuse with a JournalError.
        """
        self.permit()
        try:
            self._raw.execute("BEGIN IMMEDIATE")
            try:
                yield self._connection
                self._raw.execute("COMMIT")
            finally:
                if self._raw.in_transaction:
                    self._raw.execute("ROLLBACK")
        except (sqlite3.Error, DBAPIError, StatementError) as error:
            raise failure(self.path, "written", error) from error

    def copy(self, target: Path) -> None:
        """Write a whole copy of the file, in place under its name only when it is complete."""
        unfinished = _beside(target, ".unfinished")
        try:
            unfinished.unlink(missing_ok=True)
            os.close(os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
            copy = sqlite3.connect(unfinished)
            try:
                self._raw.backup(copy)
            finally:
                copy.close()
            descriptor = os.open(unfinished, os.O_RDONLY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
            unfinished.replace(target)
        except (sqlite3.Error, OSError) as error:
            raise failure(self.path, f"copied to {target}", error) from error


def left_open(path: Path) -> bool:
    """Whether whoever wrote last did not close the file, so that its log is still beside it."""
    log = _beside(path, "-wal")
    return log.exists() and log.stat().st_size > 0


def create_file(path: Path) -> None:
    """Create an empty file and its directories, readable by this user only; an existing file stays as it is."""
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT, 0o600))
    except OSError as error:
        raise JournalError(
            f"The journal {path} cannot be created: {error.strerror}; point TRADER_DATA_DIR to a directory that this "
            "user may write."
        ) from error


def require_file(path: Path) -> None:
    """Refuse where there is no journal, naming what makes one."""
    if not path.exists():
        raise JournalError(
            f"There is no journal at {path}; `trader run` makes one on an empty account, `trader run --adopt` takes "
            "what the account holds as its beginning."
        )


def _beside(path: Path, ending: str) -> Path:
    return path.with_name(path.name + ending)
