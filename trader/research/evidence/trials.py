"""Every fit ever made for a symbol, written down, because the best of many fits is partly the luckiest.

One file a symbol, `trials/<symbol>.jsonl` in the store: a line of JSON for each fit, only ever appended to, under a
lock of the kernel, and synced before `record` returns. A line that a crash left without its end was never acknowledged;
it is not read, and the next writer removes it.
"""

import fcntl
import hashlib
import json
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
from numpy.typing import NDArray

from trader.domain.interval import Interval
from trader.errors import ConfigError, DataError
from trader.forecast.card import Card


@dataclass(frozen=True, slots=True)
class Trial:
    """One fit, and what it earned where it had not looked.

    `data_hash`, `first_close`, `last_close` and `rows` are those of a card's training; `detail` says whatever else told
    this fit from others (the width of a network, its seed). `closes` counts the closes after the fit on which `sharpe`,
    mean over sample deviation per candle and before costs, was measured; None where nothing was. `purpose` names what
    made the fit. `sharpe`, `closes` and `purpose` do not tell fits apart.
    """

    symbol: str
    interval: Interval
    lags: tuple[int, ...]
    loss: str
    data_hash: str
    first_close: datetime
    last_close: datetime
    rows: int
    sharpe: float | None
    closes: int
    purpose: str
    kind: str = "ar"
    detail: str = ""

    @property
    def key(self) -> str:
        """What is the same for the very same fit, and differs for any other."""
        return _key(self._document())

    def _document(self) -> dict[str, Any]:
        return asdict(self) | {
            "interval": str(self.interval),
            "lags": list(self.lags),
            "first_close": self.first_close.isoformat(),
            "last_close": self.last_close.isoformat(),
        }

    def line(self) -> str:
        """Write it as one line of JSON."""
        return json.dumps(self._document(), sort_keys=True, separators=(",", ":"), allow_nan=False)

    @classmethod
    def of_line(cls, line: str) -> "Trial":
        """Read a line back; raises ValueError, TypeError, KeyError, AttributeError or ConfigError on any other text."""
        document = json.loads(line)
        found = cls(**document)
        return replace(
            found,
            interval=Interval.parse(document["interval"]),
            lags=tuple(document["lags"]),
            first_close=datetime.fromisoformat(document["first_close"]),
            last_close=datetime.fromisoformat(document["last_close"]),
        )


class TrialStore:
    """The fits of every symbol, in a folder that need not exist yet."""

    def __init__(self, store: Path) -> None:
        """Use the folder `store` of the data directory."""
        self._folder = store / "trials"

    def record(self, trials: Iterable[Trial]) -> int:
        """Write down fits; one that is known already counts once and keeps what was first said of it.

        Returns:
            How many were new.

        Raises:
            ConfigError: the store cannot be written.
            DataError: a line of it is no fit.
        """
        wanted: dict[str, list[Trial]] = {}
        for trial in trials:
            wanted.setdefault(trial.symbol, []).append(trial)
        return sum(self._append(symbol, fits) for symbol, fits in wanted.items())

    def of(self, symbol: str) -> list[Trial]:
        """Return the fits of a symbol in the order they were recorded.

        Raises:
            ConfigError: the store cannot be read.
            DataError: a line of it is no fit.
        """
        path = self._path(symbol)
        if not path.exists():
            return []
        with _locked(path, os.O_RDONLY, fcntl.LOCK_SH) as descriptor:
            return _parse(_content(descriptor)[0], path)

    def _append(self, symbol: str, fits: list[Trial]) -> int:
        path = self._path(symbol)
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise _unusable(path, "written", error) from error
        with _locked(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, fcntl.LOCK_EX) as descriptor:
            whole, torn = _content(descriptor)
            known = {trial.key for trial in _parse(whole, path)}
            fresh = {trial.key: trial for trial in reversed(fits) if trial.key not in known}
            if fresh:
                if torn:
                    os.ftruncate(descriptor, len(whole))
                text = "".join(f"{trial.line()}\n" for trial in reversed(fresh.values()))
                _write(descriptor, text.encode())
            return len(fresh)

    def _path(self, symbol: str) -> Path:
        # a symbol comes from a file of candles, and might hold anything
        return self._folder / f"{quote(symbol, safe='')}.jsonl"


def trial_of(card: Card, purpose: str) -> Trial | None:
    """Return the fit a card tells of; None where nobody knows what it was fitted to."""
    if card.training is None:
        return None
    test = card.metrics.get("test", {"n": 0})
    annual = test.get("sharpe")
    return Trial(
        symbol=card.symbol,
        interval=card.interval,
        lags=card.lags,
        loss=card.loss,
        data_hash=card.training.data_hash,
        first_close=card.training.first_close,
        last_close=card.training.last_close,
        rows=card.training.rows,
        sharpe=None if annual is None else annual / float(np.sqrt(card.interval.per_year)),
        closes=int(test["n"] or 0),
        purpose=purpose,
        kind=card.kind,
        detail="" if card.learning is None else card.learning.detail,
    )


def sharpes(trials: Iterable[Trial], interval: Interval) -> NDArray[np.float64]:
    """Return the known Sharpe ratios per candle of `interval`.

    One measured on candles of another length is carried over through a year of independent candles: per-candle ratios
    are as the square roots of the lengths.
    """
    known = [t.sharpe * float(np.sqrt(t.interval.per_year / interval.per_year)) for t in trials if t.sharpe is not None]
    return np.array(known, dtype=np.float64)


def _key(document: dict[str, Any]) -> str:
    # the order of lags is the order of weights, and no other fit
    identity = {
        name: sorted(value) if name == "lags" else value
        for name, value in document.items()
        if name not in ("sharpe", "closes", "purpose")
    }
    return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()


@contextmanager
def _locked(path: Path, flags: int, kind: int) -> Iterator[int]:
    try:
        descriptor = os.open(path, flags | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise _unusable(path, "opened", error) from error
    try:
        fcntl.flock(descriptor, kind)
        yield descriptor
    except OSError as error:
        raise _unusable(path, "used", error) from error
    finally:
        os.close(descriptor)


def _content(descriptor: int) -> tuple[bytes, bytes]:
    """Return the whole lines, and what is left of one that never ended."""
    parts = []
    os.lseek(descriptor, 0, os.SEEK_SET)
    while part := os.read(descriptor, 1 << 20):
        parts.append(part)
    whole, end, torn = b"".join(parts).rpartition(b"\n")
    return whole + end, torn


def _write(descriptor: int, text: bytes) -> None:
    left = memoryview(text)
    while left:
        left = left[os.write(descriptor, left) :]
    os.fsync(descriptor)


def _parse(text: bytes, path: Path) -> list[Trial]:
    found = []
    for number, line in enumerate(text.splitlines(), start=1):
        try:
            found.append(Trial.of_line(line.decode()))
        except (ValueError, TypeError, KeyError, AttributeError, ConfigError) as error:
            raise DataError(
                f"Line {number} of {path} is no fit ({error}); remove that line, or restore the file from a backup."
            ) from error
    return found


def _unusable(path: Path, how: str, error: OSError) -> ConfigError:
    return ConfigError(
        f"The trials in {path} cannot be {how}: {error.strerror}; point TRADER_DATA_DIR to a directory that this user "
        "may write."
    )
