"""Remember what embedded exchanges were started with, so that every later command means the right one."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from trader.app import places
from trader.config import Settings
from trader.errors import ConfigError, JournalError
from trader.journal.lock import holder
from trader.journal.queries import Reader

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


def remember(home: Path, now: Current) -> None:
    """Write down what runs now."""
    _write(home / _STARTED, asdict(now))
    _write(home.parent / _POINTER, {"folder": now.folder})


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


def home(settings: Settings) -> Path:
    """Return the folder of the instance the settings mean; embedded, the one that runs or ran last.

    Raises:
        ConfigError: no venue is said, and the daemon that runs here is one of a real venue.
        JournalError: nothing ever ran here.
    """
    if settings.venue != "sim":
        return places.venue_folder(settings.data_dir, settings.venue, dry_run=settings.dry_run)
    last = recall(settings.data_dir)
    resting = last is None or holder(settings.data_dir / "sim" / last.folder / places.JOURNAL) is None
    if resting and "venue" not in settings.model_fields_set:
        _refuse_beside_a_venue(settings.data_dir)
    if last is None:
        raise JournalError(f"Nothing has run yet in {settings.data_dir}; `trader run` starts a demo there.")
    return settings.data_dir / "sim" / last.folder


def _refuse_beside_a_venue(data: Path) -> None:
    """Refuse to take the embedded exchange for what is meant where the daemon of a venue runs."""
    for venue in ("testnet", "live"):
        for dry_run in (False, True):
            path = places.venue_folder(data, venue, dry_run=dry_run) / places.JOURNAL
            if holder(path) is None:
                continue
            said = f"TRADER_VENUE={venue}" + (" and TRADER_DRY_RUN=true" if dry_run else "")
            raise ConfigError(
                f"No venue is said, which means the embedded exchange, and the daemon that runs in {data} is another "
                f"one; set {said} and what else it was started with, or TRADER_VENUE=sim."
            )


def require_meant(settings: Settings, command: str) -> None:
    """Refuse a command that acts on the embedded exchange only because no venue is said, where it may mean another.

    Raises:
        ConfigError: the daemon of a venue runs in the same data directory, or one of its journals holds something.
    """
    if settings.venue == "sim" and "venue" not in settings.model_fields_set:
        _refuse_beside_a_venue(settings.data_dir)
        require_nothing_unattended(settings, command)


def require_nothing_unattended(settings: Settings, command: str) -> None:
    """Refuse to take the embedded exchange for what is meant while a journal of real money may hold something.

    A setting may have been lost: what is held there would be traded by nobody, and stopped by nobody.

    Raises:
        ConfigError: one does, or cannot be read.
    """
    if settings.venue != "sim" or "venue" in settings.model_fields_set:
        return
    for venue in ("live", "testnet"):
        path = places.venue_folder(settings.data_dir, venue, dry_run=False) / places.JOURNAL
        found = _at_stake(path)
        if found:
            raise ConfigError(
                f"No venue is said, which means the embedded exchange, and the journal {path} {found}; say which one "
                f"is meant: `TRADER_VENUE={venue} trader {command}` with what else that was started with, or "
                f"`TRADER_VENUE=sim trader {command}`."
            )


def _at_stake(path: Path) -> str:
    """Say what a journal holds, or may hold; empty where there is nothing."""
    try:
        if not path.exists():
            return ""
        with Reader.read(path) as journal:
            held = list(journal.positions())
            held += [f"the open order {order.intent.client_id}" for order in journal.open_intents()]
    except (OSError, JournalError):
        return "cannot be read and may hold a position"
    return f"holds {', '.join(held)}" if held else ""


def journal_path(settings: Settings) -> Path:
    """Return where the journal of the instance lies."""
    return home(settings) / places.JOURNAL


def _write(path: Path, document: dict[str, Any]) -> None:
    fresh = path.with_suffix(".new")
    fresh.write_text(json.dumps(document))
    fresh.replace(path)
