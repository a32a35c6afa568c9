"""The journal's disk: a real SQLite file whose every commit may kill, fail, stall, or lose what was not synced."""

import sqlite3
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

from tests.proof.plan import STALLS, argument
from tests.proof.wire import Crash
from trader.journal import archive


class Disk(sqlite3.Connection):
    """A connection whose commits are steps; `step` says what becomes of one, `stall` lets time pass in it."""

    step: Callable[[str], str | None] | None = None
    die: Callable[[bool], None]
    stall: Callable[[float], None]
    path: str = ""
    dead: Callable[[], bool]
    left: bytes | None = None
    history: list[bytes] | None = None
    _tail: deque[bytes]

    def execute(self, sql: str, *parameters: Any) -> sqlite3.Cursor:
        if self.step is None:
            return super().execute(sql, *parameters)
        if sql != "ROLLBACK" and self.dead():
            raise Crash("dead")
        if sql != "COMMIT":
            return super().execute(sql, *parameters)
        return self._commit(sql)

    def _commit(self, sql: str) -> sqlite3.Cursor:
        assert self.step is not None
        kind = self.step("commit")
        match kind:
            case "die_before" | "die_before_long":
                self.die(kind.endswith("long"))
            case "full":
                raise _failure("database or disk is full", "SQLITE_FULL")
            case "ioerr":
                raise _failure("disk I/O error", "SQLITE_IOERR_WRITE")
        self._remember_what_is_not_synced()
        done = super().execute(sql)
        if self.history is not None:
            self.history.append(self._bytes())
        if kind == "power":
            # what a power loss leaves of a file that is not synced lags some commits behind; FULL syncs every one
            self.left = self._tail[0] if self._tail else None
            self.die(False)
        elif kind in ("die_after", "die_after_long"):
            self.die(kind.endswith("long"))
        elif kind in STALLS:
            self.stall(argument(kind)[1])
        return done

    def _remember_what_is_not_synced(self) -> None:
        (level,) = super().execute("PRAGMA synchronous").fetchone()
        if level < 2:
            self._tail.append(self._bytes())

    def _bytes(self) -> bytes:
        with closing(sqlite3.connect(f"file:{self.path}?mode=ro", uri=True)) as other:
            return other.serialize()

    def put_back(self, back: int, *, by_command: bool, at: datetime) -> None:
        """Leave what the file was so many commits ago, as `trader journal restore` or a plain copy would."""
        assert self.history is not None
        self.left = self.history[-1 - back] if back < len(self.history) else self.history[0]
        if by_command:
            copy, path = Path(f"{self.path}.copy"), Path(f"{self.path}.replaced")
            copy.write_bytes(self.left)
            path.write_bytes(self._bytes())
            aside = archive.put_back(copy, path, at)
            self.left = path.read_bytes()
            for one in (copy, path, aside):
                if one is not None:
                    one.unlink()

    def begin_again(self, data: bytes) -> None:
        """Make the file what these bytes are, which is much faster than opening another one."""
        plain = bytearray(data)
        plain[18:20] = b"\x01\x01"  # a database in memory has no write-ahead log
        with closing(sqlite3.connect(":memory:")) as source:
            source.deserialize(bytes(plain))
            source.backup(self)
        self._tail = deque(maxlen=3)
        self.left = None
        if self.history is not None:
            self.history.append(data)


def _failure(words: str, name: str) -> sqlite3.OperationalError:
    error = sqlite3.OperationalError(words)
    error.sqlite_errorname = name
    return error


@contextmanager
def opened_on(kind: type[sqlite3.Connection]) -> Iterator[None]:
    """Let every connection that is opened meanwhile be of a kind."""
    plain = sqlite3.connect

    def connect(*args: Any, **kwargs: Any) -> sqlite3.Connection:
        return plain(*args, **{"factory": kind} | kwargs)

    sqlite3.connect = connect
    try:
        yield
    finally:
        sqlite3.connect = plain
