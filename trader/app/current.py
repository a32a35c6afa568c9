"""Remember which embedded exchange ran last, so that every later command means the same one."""

import json
from dataclasses import asdict, dataclass
from datetime import datetime
from decimal import Decimal
from pathlib import Path

from trader.app.settings import load_settings
from trader.app.tapes import TapeChoice
from trader.config import Settings
from trader.errors import ConfigError

_FILE = "current.json"


@dataclass(frozen=True, slots=True)
class Current:
    """One embedded exchange: its folder's name, where it listens (or listened), and all it was started with."""

    folder: str
    port: int
    strategy: str | None
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
        candles=_text(tape.candles),
        funding=_text(tape.funding),
        instruments=_text(tape.instruments),
        start=None if tape.start is None else tape.start.isoformat(),
        equity=str(money.equity),
        fee=str(money.fee),
        slippage=str(money.slippage),
        spread=str(money.spread),
    )
    path = _path(settings.data_dir)
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_suffix(".new")
    fresh.write_text(json.dumps(asdict(now)))
    fresh.replace(path)


def recall(data: Path) -> Current | None:
    """Return what ran last, None where nothing ever did."""
    path = _path(data)
    try:
        return Current(**json.loads(path.read_text()))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError) as error:
        raise ConfigError(f"The file {path} cannot be read ({error}); remove it and start the daemon once.") from error


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
    )
    return load_settings(strategy=last.strategy, sim=money), tape


def _path(data: Path) -> Path:
    return data / "sim" / _FILE


def _text(path: Path | None) -> str | None:
    return None if path is None else str(path.resolve())


def _path_of(text: str | None) -> Path | None:
    return None if text is None else Path(text)
