"""Remember what embedded exchanges were started with, so that every later command means the right one."""

import json
from dataclasses import asdict, dataclass
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

from trader.app import places
from trader.app.settings import load_settings
from trader.app.tapes import TapeChoice
from trader.config import Settings
from trader.errors import ConfigError
from trader.journal.lock import holder

_POINTER = "current.json"
_STARTED = "started.json"


@dataclass(frozen=True, slots=True)
class Current:
    """One embedded exchange: its folder's name, where it listens (or listened), and all it was started with."""

    folder: str
    port: int
    strategy: str
    symbol: str | None
    candles: str | None
    funding: str | None
    instruments: str | None
    start: str | None
    equity: str
    fee: str
    slippage: str
    spread: str


def remember(settings: Settings, tape: TapeChoice, home: Path, port: int) -> None:
    """Write down what runs now."""
    money = settings.sim
    now = Current(
        folder=home.name,
        port=port,
        strategy=settings.strategy,
        symbol=tape.symbol,
        candles=_text(tape.candles),
        funding=_text(tape.funding),
        instruments=_text(tape.instruments),
        start=None if tape.start is None else tape.start.isoformat(),
        equity=str(money.equity),
        fee=str(money.fee),
        slippage=str(money.slippage),
        spread=str(money.spread),
    )
    _write(home / _STARTED, asdict(now))
    _write(home.parent / _POINTER, {"folder": home.name})


def recall(data: Path) -> Current | None:
    """Return the one whose daemon runs, else what ran last, None where nothing ever did.

    Raises:
        ConfigError: several daemons run here, or what was written down cannot be read.
    """
    folder = data / "sim"
    running = sorted(
        lock.parent for lock in folder.glob(f"*/{places.JOURNAL}.lock") if holder(lock.parent / places.JOURNAL)
    )
    if len(running) > 1:
        names = ", ".join(home.name for home in running)
        raise ConfigError(
            f"Several daemons run in {data} ({names}), and it is not said which one is meant; give each its own "
            "TRADER_DATA_DIR."
        )
    try:
        home = running[0] if running else folder / str(json.loads((folder / _POINTER).read_text())["folder"])
        return Current(**json.loads((home / _STARTED).read_text()))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise ConfigError(f"What ran last in {folder} cannot be read ({error}); start the daemon once more.") from error


def again(settings: Settings) -> tuple[Settings, TapeChoice]:
    """Return settings and tape as they were when the embedded exchange last ran; on a real venue, as they are."""
    last = recall(settings.data_dir) if settings.venue == "sim" else None
    if last is None:
        return settings, TapeChoice()
    money = {name: Decimal(getattr(last, name)) for name in ("equity", "fee", "slippage", "spread")}
    tape = TapeChoice(
        candles=_path_of(last.candles),
        funding=_path_of(last.funding),
        instruments=_path_of(last.instruments),
        start=None if last.start is None else datetime.fromisoformat(last.start),
        symbol=last.symbol,
    )
    return load_settings(strategy=last.strategy, sim=money), tape


def _write(path: Path, document: dict[str, Any]) -> None:
    fresh = path.with_suffix(".new")
    fresh.write_text(json.dumps(document))
    fresh.replace(path)


def _text(path: Path | None) -> str | None:
    return None if path is None else str(path.resolve())


def _path_of(text: str | None) -> Path | None:
    return None if text is None else Path(text)
