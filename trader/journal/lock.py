"""One daemon a journal: a lock that the kernel gives back when its holder dies."""

import fcntl
import json
import os
import time
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Self

from trader.errors import JournalError, JournalLocked

_SIZE = 256
_PATIENCE = 10
_PAUSE_SECONDS = 0.02


@dataclass(frozen=True, slots=True)
class Holder:
    """The daemon that holds a journal; `pid` is None in the instant before it has written its name.

    `out` is since when its start waits for an exchange that is out, None where it does not.
    """

    pid: int | None
    started: datetime | None
    ready: bool
    out: datetime | None = None


class Lock:
    """The right to write one journal as its daemon; held until `release` or the process's end, however it ends."""

    def __init__(self, journal: Path, descriptor: int, started: datetime) -> None:
        """Use `acquire`."""
        self.journal = journal
        self.path = lock_path(journal)
        self._descriptor: int | None = descriptor
        self._started = started

    @classmethod
    def acquire(cls, journal: Path, *, started: datetime) -> "Lock":
        """Take the lock of a journal, which need not exist yet.

        Raises:
            JournalLocked: another daemon holds it.
            JournalError: the lock file cannot be written.
        """
        path = lock_path(journal)
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise JournalError(
                f"The lock {path} cannot be written: {error.strerror}; point TRADER_DATA_DIR to a directory that this "
                "user may write."
            ) from error
        try:
            if not _locked(descriptor):
                found = _parse(os.pread(descriptor, _SIZE, 0))
                since = f" since {found.started:%Y-%m-%dT%H:%M:%SZ}" if found.started else ""
                raise JournalLocked(
                    f"The journal {journal} is held by another daemon (pid {found.pid or 'unknown'}{since}); stop that "
                    "one first, or point TRADER_DATA_DIR to another directory."
                )
            lock = cls(journal, descriptor, started)
            lock._write(ready=False)
        except OSError as error:
            os.close(descriptor)
            raise JournalError(
                f"The lock {path} cannot be written: {error.strerror}; check the disk and start again."
            ) from error
        except JournalLocked:
            os.close(descriptor)
            raise
        return lock

    def require(self) -> None:
        """Refuse where the lock file is gone or another one, so that a second daemon could have taken its place.

        Raises:
            JournalError: somebody deleted the file, or moved the directory away under the daemon.
        """
        try:
            there = self.path.stat()
            held = self._descriptor is not None and os.path.samestat(os.fstat(self._descriptor), there)
        except OSError:
            held = False
        if not held:
            raise JournalError(
                f"The lock {self.path} is not the one this daemon holds any more, so another may run on the same "
                "account; end every daemon of it, look with `trader reconcile`, start one, and leave that file alone: "
                "it is free as soon as its daemon ends."
            )

    def ready(self) -> None:
        """Tell others that the daemon has recovered and waits for closes."""
        self._tell(ready=True)

    def waits(self, since: datetime) -> None:
        """Tell others that the start waits for an exchange that is out."""
        self._tell(ready=False, out=since)

    def _tell(self, *, ready: bool, out: datetime | None = None) -> None:
        try:
            self._write(ready=ready, out=out)
        except OSError as error:
            raise JournalError(
                f"The lock {self.path} cannot be written: {error.strerror}; check the disk and start again."
            ) from error

    def release(self) -> None:
        """Give the lock back; a second time does nothing. The file stays, so that nobody locks a deleted one."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()

    def _write(self, *, ready: bool, out: datetime | None = None) -> None:
        told = {"pid": os.getpid(), "started": self._started.isoformat(), "ready": ready}
        text = json.dumps(told if out is None else told | {"out": out.isoformat()})
        if self._descriptor is not None:
            # one write of a fixed size: a reader never sees half of it
            os.pwrite(self._descriptor, text.encode().ljust(_SIZE - 1) + b"\n", 0)


def holder(journal: Path) -> Holder | None:
    """Return the daemon that runs on a journal now, None where none does."""
    path = lock_path(journal)
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise JournalError(
            f"The lock {path} cannot be read: {error.strerror}; run this as the daemon's user."
        ) from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return _parse(os.pread(descriptor, _SIZE, 0))
    finally:
        os.close(descriptor)
    return None


def lock_path(journal: Path) -> Path:
    """Return where the lock of a journal lies."""
    return journal.with_name(journal.name + ".lock")


def _locked(descriptor: int) -> bool:
    # `holder` takes the lock for an instant to see whether it is free; only a daemon holds it longer
    for attempt in range(_PATIENCE):
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if attempt + 1 < _PATIENCE:
                time.sleep(_PAUSE_SECONDS)
        else:
            return True
    return False


def _parse(content: bytes) -> Holder:
    try:
        found = json.loads(content)
        out = datetime.fromisoformat(found["out"]) if "out" in found else None
        return Holder(int(found["pid"]), datetime.fromisoformat(found["started"]), bool(found["ready"]), out)
    except (ValueError, KeyError, TypeError):
        return Holder(None, None, False)
