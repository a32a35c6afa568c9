"""Where things lie on disk."""

import hashlib
import json
import sys
import sysconfig
from pathlib import Path

from trader.errors import ConfigError

JOURNAL = "journal.db"

_LONGEST_NAME = 1000


def shipped() -> Path:
    """Return the folder of shipped strategies and models: beside the checkout, else where the wheel put it."""
    checkout = Path(__file__).resolve().parents[2] / "deploy"
    if (checkout / "strategies").is_dir():
        return checkout
    for prefix in (Path(sysconfig.get_path("data")), Path(sys.prefix)):
        if (prefix / "share" / "trader" / "strategies").is_dir():
            return prefix / "share" / "trader"
    raise ConfigError(
        "The shipped strategies are neither beside the checkout nor under <prefix>/share/trader; reinstall the "
        "package, or name a strategy file with --strategy."
    )


def strategy_path(name: str) -> Path:
    """Find a strategy file by path, or a shipped one by name."""
    path = Path(name).expanduser()
    if len(name) > _LONGEST_NAME:
        raise ConfigError(f"A strategy's name of {len(name)} letters is no path; check --strategy or TRADER_STRATEGY.")
    if path.suffix == ".toml" or path.is_file():
        if path.is_file():
            return path.resolve()
        raise ConfigError(f"There is no strategy file at {path}; check --strategy or TRADER_STRATEGY.")
    folder = shipped() / "strategies"
    found = folder / f"{name}.toml"
    if not found.is_file():
        known = ", ".join(sorted(file.stem for file in folder.glob("*.toml")))
        raise ConfigError(f"There is no shipped strategy {name!r} (shipped: {known}); name one, or give a file's path.")
    return found


def model_path(name: str, beside: Path) -> Path:
    """Find a model's folder: relative to the strategy file, else a shipped one by name."""
    relative = (beside / Path(name).expanduser()).resolve()
    if relative.is_dir():
        return relative
    found = shipped() / "models" / name
    if found.is_dir():
        return found
    raise ConfigError(f"There is no model folder {name!r} beside {beside} nor among the shipped ones; train one first.")


def make_folder(folder: Path) -> None:
    """Make a folder of the data directory.

    Raises:
        ConfigError: it cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(
            f"The folder {folder} cannot be made: {error.strerror}; point TRADER_DATA_DIR to a directory that this "
            "user may write."
        ) from error


def content_hash(path: Path | None) -> str:
    """Return the sha256 of a file's bytes, or of nothing."""
    if path is None:
        return ""
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise ConfigError(f"The file {path} cannot be read: {error.strerror}; check its path and rights.") from error


def venue_folder(data: Path, venue: str, *, dry_run: bool) -> Path:
    """Return the folder of a real venue's journal."""
    return data / (f"{venue}-dry-run" if dry_run else venue)


def tape_folder(data: Path, label: str, identity: dict[str, str]) -> Path:
    """Return the folder of one embedded exchange: another tape, account or strategy is another folder."""
    digest = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:10]
    return data / "sim" / f"{label}-{digest}"
