"""Open the one exchange an instance trades on: its clock, its gateway, and, embedded, its process."""

import json
import os
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

from trader.app import current, embedded, places
from trader.app.tapes import TapeChoice, remember
from trader.config import Settings
from trader.domain.interval import Interval
from trader.errors import ConfigError
from trader.exchange.binance import BinanceGateway
from trader.exchange.clock import StepClock, VenueClock, WallClock, from_milliseconds
from trader.exchange.factory import open_gateway
from trader.exchange.loopback import Loopback
from trader.journal.lock import holder
from trader.log import register_secret

SECONDS_A_CLOSE = 5.0
_SHARE_OF_A_FETCH = 0.5
_WAKE_AFTER_CLOSE = timedelta(seconds=2)


@dataclass(frozen=True, slots=True)
class Venue:
    """An open exchange; `tape` is empty on a real one, `generated` says that the market is not a real one's.

    `pace` is venue seconds per second of waiting; `jumped` tells whether this machine's clock was set or stood still
    since it was asked last.
    """

    clock: VenueClock
    gateway: BinanceGateway
    tape: str
    generated: bool
    wake_after_close: timedelta
    loopback: Loopback | None = None
    pace: float = 1.0
    jumped: Callable[[], bool] = lambda: False


def folder(settings: Settings, tape: TapeChoice, strategy: str) -> Path:
    """Return where an instance keeps its journal."""
    if settings.venue == "sim":
        label = f"{tape.label}.{strategy}" + (".dry-run" if settings.dry_run else "")
        return places.tape_folder(settings.data_dir, label, tape.identity(settings, strategy))
    return places.venue_folder(settings.data_dir, settings.venue, dry_run=settings.dry_run)


async def open_venue(
    settings: Settings,
    tape: TapeChoice,
    home: Path,
    interval: Interval,
    speed: float | None,
    stack: AsyncExitStack,
    *,
    running: bool = False,
) -> Venue:
    """Open the exchange the settings name; the stack closes it.

    Args:
        settings: which venue, with which keys.
        tape: what an embedded one plays.
        home: the instance's folder.
        interval: the strategy's, for the default pace.
        speed: venue seconds per second of waiting, infinite for `max`, None for one close every five seconds.
        stack: what is opened is put on it.
        running: whether a daemon runs there, so that its embedded exchange is joined and none is started.
    """
    last = current.recall(settings.data_dir) if running and settings.venue == "sim" else None
    if last is not None:
        return _stepped(settings, announced(settings, last.port), interval, speed, stack)
    if settings.venue == "sim":
        options = [*tape.arguments(settings), "--clock", "stepped" if speed == float("inf") else "wall"]
        exchange = embedded.start(home, [*options, "--client-pid", str(os.getpid())])
        stack.callback(exchange.close)
        remember(settings, tape, home, exchange.port)
        stack.callback(announce(settings, exchange.ready).unlink, missing_ok=True)
        return _stepped(settings, exchange.ready, interval, speed, stack)
    if settings.exchange.loopback is not None:
        return _stepped(settings, announced(settings, settings.exchange.loopback), interval, speed, stack)
    keys = _keys(settings)
    if not all(keys):
        raise ConfigError(
            f"TRADER_VENUE={settings.venue} needs TRADER_API_KEY and TRADER_API_SECRET and found none; set them, "
            "better as the files trader_api_key and trader_api_secret in TRADER_SECRETS_DIR."
        )
    clock = WallClock()
    gateway = _gateway(settings, keys, clock, None, stack)
    return Venue(clock, gateway, "", False, _WAKE_AFTER_CLOSE, jumped=clock.jumped)


def open_public(settings: Settings, stack: AsyncExitStack) -> tuple[VenueClock, BinanceGateway]:
    """Open what an exchange tells everybody, without a key, and use half of its limits; the stack closes it.

    That is the embedded exchange where a loopback is set, the demo exchange on testnet, else the real one: it has the
    market's history, whatever is traded on.
    """
    loopback: Loopback | None = None
    clock: VenueClock = WallClock()
    if settings.exchange.loopback is not None:
        ready = announced(settings, settings.exchange.loopback)
        loopback = Loopback(int(ready["port"]), Path(ready["ca"]))
        start = from_milliseconds(int(ready["venue_time"]))
        clock = StepClock(loopback, control=str(ready["control"]), start=start, speed=None)
        register_secret(str(ready["control"]))
    stack.push_async_callback(clock.close)
    demo = settings.venue == "testnet" or loopback is not None
    gateway = open_gateway(
        "testnet" if demo else "live",
        key="",
        secret="",
        clock=clock,
        loopback=loopback,
        timeout=settings.exchange.timeout,
        recv_window=settings.exchange.recv_window,
        share=_SHARE_OF_A_FETCH,
    )
    stack.push_async_callback(gateway.close)
    return clock, gateway


def _stepped(
    settings: Settings,
    ready: dict[str, Any],
    interval: Interval,
    speed: float | None,
    stack: AsyncExitStack,
) -> Venue:
    """Open an embedded exchange that has told where it listens."""
    loopback = Loopback(int(ready["port"]), Path(ready["ca"]))
    pace = interval.delta.total_seconds() / SECONDS_A_CLOSE if speed is None else speed
    clock = StepClock(
        loopback,
        control=str(ready["control"]),
        start=from_milliseconds(int(ready["venue_time"])),
        speed=None if pace == float("inf") else pace,
    )
    stack.push_async_callback(clock.close)
    keys = _keys(settings)
    if settings.venue == "sim" or not keys[0]:
        keys = (str(ready["api_key"]), str(ready["api_secret"]))
    register_secret(*keys, str(ready["control"]))
    gateway = _gateway(settings, keys, clock, loopback, stack)
    # the name alone would take a fresh ledger on the same tape for the old account
    tape = f"{ready['tape']}#{str(ready['fingerprint'])[:8]}"
    return Venue(clock, gateway, tape, bool(ready["generated"]), timedelta(0), loopback, pace)


def _gateway(
    settings: Settings, keys: tuple[str, str], clock: VenueClock, loopback: Loopback | None, stack: AsyncExitStack
) -> BinanceGateway:
    gateway = open_gateway(
        settings.venue,
        key=keys[0],
        secret=keys[1],
        clock=clock,
        loopback=loopback,
        timeout=settings.exchange.timeout,
        recv_window=settings.exchange.recv_window,
    )
    stack.push_async_callback(gateway.close)
    return gateway


def runs(home: Path) -> bool:
    """Whether a daemon runs in a folder now."""
    return holder(home / places.JOURNAL) is not None


def announce(settings: Settings, ready: dict[str, Any]) -> Path:
    """Write down, for this user only, where a standalone embedded exchange listens."""
    path = _announcement(settings, int(ready["port"]))
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        json.dump(ready, file)
    return path


def announced(settings: Settings, port: int) -> dict[str, Any]:
    """Return what a standalone embedded exchange wrote down.

    Raises:
        ConfigError: none did for this port in this data directory.
    """
    path = _announcement(settings, port)
    try:
        found: dict[str, Any] = json.loads(path.read_text())
    except (OSError, ValueError):
        raise ConfigError(
            f"No embedded exchange has announced port {port} in {settings.data_dir}; start `trader sim --port {port}` "
            "with the same TRADER_DATA_DIR first."
        ) from None
    return found


def _announcement(settings: Settings, port: int) -> Path:
    return settings.data_dir / "sim" / "ports" / f"{port}.json"


def _keys(settings: Settings) -> tuple[str, str]:
    key, secret = settings.api_key, settings.api_secret
    pair = (key.get_secret_value() if key else "", secret.get_secret_value() if secret else "")
    register_secret(*filter(None, pair))
    return pair
