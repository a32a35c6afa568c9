"""Whether the disk under a journal takes what has to be written."""

import errno
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryFile
from time import monotonic

from trader.errors import JournalError

LEAST = 16 * 1024 * 1024
COMFORTABLE = 512 * 1024 * 1024
_BLOCK = 64 * 1024
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})


@dataclass(frozen=True, slots=True)
class Space:
    """Bytes free where a journal lies or will lie, and the seconds that a synced write took."""

    folder: Path
    free: int
    seconds: float


def require_space(home: Path) -> Space:
    """Write and sync a little where a journal lies or will lie, and leave nothing behind.

    Raises:
        JournalError: it cannot be written there, or next to nothing is free.
    """
    folder = next(place for place in (home, *home.parents) if place.is_dir())
    began = monotonic()
    try:
        with TemporaryFile(dir=folder) as file:
            file.write(bytes(_BLOCK))
            file.flush()
            os.fsync(file.fileno())
        free = shutil.disk_usage(folder).free
    except OSError as error:
        remedy = "free some space" if error.errno in _FULL else "make it writable for this user"
        raise JournalError(
            f"Nothing can be written to {folder}: {error.strerror}; {remedy}, or point TRADER_DATA_DIR to another "
            "directory."
        ) from error
    if free < LEAST:
        raise JournalError(
            f"Only {megabytes(free)} are free at {folder}, too little for a journal that has to take every order "
            "first; free some space."
        )
    return Space(folder, free, monotonic() - began)


def megabytes(count: int) -> str:
    """Write a number of bytes for people."""
    return f"{count / 1e9:,.1f} GB" if count >= 1e9 else f"{count / 1e6:,.0f} MB"
