"""Take a changed configuration over at a close: a strategy file, a model, limits; written down, never half of it."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pydantic import BaseModel, SecretStr

from trader.app import places
from trader.app.alerting import Alerting
from trader.app.assembly import Assembly, only_reduced, permit, rewired, take_over
from trader.app.settings import load_settings
from trader.app.strategies import Loaded, load_strategy, require_times
from trader.config import PortfolioFile, Settings
from trader.errors import ConfigError, ModelError, NotPermitted, TraderError
from trader.forecast.artifact import CARD_FILE, WEIGHTS_FILE
from trader.journal.queries import CONFIGURATION
from trader.live.desk import Desk
from trader.notify.alert import Alert, Severity

WATCHED = (Path(".env"),)
_TAKEN = ("risk.", "reconcile.", "strategy.", "model.")
_TAKEN_WHOLE = ("stage", "overrule")
_FIXED = ("strategy.name", "strategy.kind", "strategy.symbol", "strategy.interval", "strategy.file")
_ACCOUNT = ("strategy.allocation.leverage", "strategy.allocation.margin_mode")
_ELSEWHERE = ("secrets_dir", "live", "strategy")

Flat = Mapping[str, Any]


def described(settings: Settings, loaded: Loaded) -> dict[str, Any]:
    """Write everything that a close is decided under as plain values by dotted name; secrets are left out."""
    named = {name: getattr(settings, name) for name in type(settings).model_fields if name not in _ELSEWHERE}
    worth = loaded.worth
    expires = None if worth.expires is None else worth.expires.isoformat()
    model = {"name": worth.name, "hash": worth.hash, "verdict": worth.verdict, "expires": expires}
    return _flat({**named, "strategy": {**loaded.file.model_dump(), "file": settings.strategy}, "model": model})


def differences(before: Flat, after: Flat) -> dict[str, list[Any]]:
    """Return what was and what is, by name, of everything that is not the same."""
    names = sorted(before.keys() | after.keys())
    return {name: [before.get(name), after.get(name)] for name in names if before.get(name) != after.get(name)}


def note(one: Assembly, settings: Settings) -> None:
    """Write down what a start changed against the run before."""
    now = described(settings, one.loaded)
    known = one.journal.get(CONFIGURATION)
    changes = differences(json.loads(known), now) if known else {}
    one.journal.configure(json.dumps(now), json.dumps(changes) if changes else None, "start", one.venue.clock.now())
    if changes:
        one.log.info("configuration changed", changes=changes)


@dataclass
class _InForce:
    settings: Settings
    loaded: Loaded
    stamps: tuple[Any, ...]


class Renewal:
    """Looks before each close whether a file has changed, and takes over what may change under a running daemon."""

    def __init__(
        self, one: Assembly, settings: Settings, alerts: Alerting, renewed: Callable[[Assembly, Settings], None]
    ) -> None:
        self._one = one
        self._renewed = renewed
        self._alerts = alerts
        self._now = _InForce(settings, one.loaded, self._stamps(settings, one.loaded))
        self._refused: str | None = None

    async def __call__(self) -> Desk | None:
        """Return the desk for the next closes, None where the present one stays."""
        self._guard_worth()
        stamps = self._stamps(self._now.settings, self._now.loaded)
        if stamps == self._now.stamps:
            return None
        try:
            desk = await self._renew(stamps)
        except TraderError as error:
            self._refuse(str(error))
            return None
        # a strategy file may name another model now, whose files are watched from here on
        self._now.stamps, self._refused = self._stamps(self._now.settings, self._now.loaded), None
        return desk

    async def _renew(self, stamps: tuple[Any, ...]) -> Desk | None:
        old = self._now
        _require_there(old.stamps[0])
        settings = load_settings(strategy=old.settings.strategy, sim=old.settings.sim.model_dump())
        loaded = load_strategy(settings)
        settings.require_time_enough()
        require_times(settings, loaded)
        permit(settings, loaded)
        if _stamp(WATCHED[0]) != stamps[0]:
            raise ConfigError(f"The file {WATCHED[0].absolute()} changes while it is read; it is read again then.")
        before, after = described(old.settings, old.loaded), described(settings, loaded)
        changes = differences(before, after)
        if not changes and loaded.hash == old.loaded.hash:
            return None
        fixed = [name for name in changes if not _may_change(name)]
        if fixed:
            raise ConfigError(
                f"{', '.join(fixed)} cannot change under a running daemon; restart it, or undo the change."
            )
        journal, at = self._one.journal, self._one.venue.clock.now()
        one = rewired(self._one, settings, loaded)
        if any(name in changes for name in _ACCOUNT):
            # leverage and margin mode are settings of the account, and may change only while it is flat
            await one.startup.run(adopt=False)
        # what is refused above has written nothing
        take_over(one, settings)
        journal.configure(json.dumps(after), json.dumps(changes) if changes else None, "close", at)
        self._one = one
        self._renewed(one, settings)
        self._now = replace(old, settings=settings, loaded=loaded)
        one.log.info("configuration changed", changes=changes)
        self._alerts.hand(taken(changes))
        return Desk(one.loaded.strategy, one.terms, one.cycle, one.control, one.flattener)

    def _refuse(self, why: str) -> None:
        """Say once that a change is not taken; it is looked at again at every close until it can be, or is undone."""
        if self._refused != why:
            self._one.log.error("configuration not taken", why=why)
            self._alerts.hand(not_taken(why))
        self._refused = why

    def _guard_worth(self) -> None:
        """Open nothing more once a model may not trade on a real exchange, or was let in to look after what is held."""
        try:
            permit(self._now.settings, self._now.loaded)
        except (ModelError, NotPermitted) as error:
            self._one.control.withhold(*only_reduced(error))

    def _stamps(self, settings: Settings, loaded: Loaded) -> tuple[Any, ...]:
        """Return what shows that a file was written since, without reading it."""
        try:
            path = places.strategy_path(settings.strategy)
            if isinstance(loaded.file, PortfolioFile):
                return tuple(map(_stamp, (*WATCHED, path)))
            model = places.model_path(loaded.file.model, path.parent)
        except ConfigError:
            return (None,)
        return tuple(map(_stamp, (*WATCHED, path, model / CARD_FILE, model / WEIGHTS_FILE)))


def taken(changes: Mapping[str, Sequence[Any]]) -> Alert:
    """Return the alert that a changed configuration holds."""
    words = "\n".join(f"{name}: {was} -> {now}" for name, (was, now) in changes.items()) or "only comments"
    return Alert.by_text("configuration", Severity.INFO, "A new configuration holds", words)


def not_taken(why: str) -> Alert:
    """Return the alert that a changed configuration is not taken."""
    text = f"{why} Until then closes are decided as before."
    return Alert.by_text("configuration refused", Severity.WARNING, "A new configuration is not taken", text)


def _may_change(name: str) -> bool:
    return name not in _FIXED and (name.startswith(_TAKEN) or name in _TAKEN_WHOLE)


def _require_there(before: tuple[int, int, int] | None) -> None:
    """Refuse to take the end of a file of settings for the wish that none of them holds: it may be half written."""
    now, path = _stamp(WATCHED[0]), WATCHED[0].absolute()
    if before is not None and before[1] and (now is None or not now[1]):
        raise ConfigError(f"The file {path} is gone or empty, and every setting in it; put it back, or restart.")


def _stamp(path: Path) -> tuple[int, int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_ino, found.st_size, found.st_mtime_ns


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in values.items():
        match value:
            case SecretStr():
                continue
            case BaseModel():
                found |= _flat({field: getattr(value, field) for field in type(value).model_fields}, f"{prefix}{name}.")
            case dict():
                found |= _flat(value, f"{prefix}{name}.")
            case None | bool() | int() | float() | str():
                found[f"{prefix}{name}"] = value
            case _:
                found[f"{prefix}{name}"] = str(value)
    return found
