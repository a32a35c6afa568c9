"""Open the folder of an exchange: create or resume its ledger, and refuse another tape or other money settings."""

import contextlib
import fcntl
import json
import os
import secrets
import time
from dataclasses import dataclass, replace
from decimal import Decimal
from pathlib import Path
from typing import IO, Any

from trader.sim import generated
from trader.sim.account import Account
from trader.sim.clock import REAL, Clock, parse_rate, real_now
from trader.sim.errors import StartError
from trader.sim.exchange import Exchange
from trader.sim.faults import check_entry
from trader.sim.instruments import Listing, default_listing, read_listing
from trader.sim.ledger import Ledger, State
from trader.sim.records import Terms
from trader.sim.tape import Tape, instant, load_tape, warm_begin
from trader.sim.wire import Keys

LEDGER = "ledger.db"
MONEY = ("equity", "fee", "slippage", "spread")
_PATIENCE = 2.0  # seconds for a predecessor whose client has just been killed to see that and end


@dataclass(frozen=True, slots=True)
class Options:
    """Say what to serve. Money settings left None are the defaults for a new folder and the kept ones for an old.

    ``folder`` keeps the ledger; ``begin`` and ``end`` are epoch milliseconds; ``clock`` is stepped, wall, a
    factor of the wall's rate, or real: the time outside, for clients that know no other.
    """

    folder: Path
    ca_folder: Path | None = None
    tape: Path | None = None
    funding: Path | None = None
    instruments: Path | None = None
    symbol: str | None = None
    begin: int | None = None
    end: int | None = None
    equity: Decimal | None = None
    fee: Decimal | None = None
    slippage: Decimal | None = None
    spread: Decimal | None = None
    port: int = 0
    clock: str = "wall"
    faults: Path | None = None
    client_pid: int | None = None
    pipe: bool = False


@dataclass(frozen=True, slots=True)
class Opened:
    """Hold an exchange that can be served, and what its ready line says."""

    exchange: Exchange
    resumed: bool
    control_token: str
    lock: IO[str]


def open_exchange(options: Options) -> Opened:
    """Create or resume the exchange in a folder; refuses another tape or other money settings."""
    rate = parse_rate(options.clock)
    if options.funding is not None and options.tape is None:
        raise StartError(f"The funding file {options.funding} has no tape to go with; give --tape too.", 2)
    tape = (
        generated.load_generated(options.symbol)
        if options.tape is None
        else load_tape(options.tape, options.funding, options.symbol)
    )
    listing = default_listing(tape) if options.instruments is None else read_listing(options.instruments, tape)
    faults = _read_faults(options.faults)
    end = _end(options, tape)
    if not (options.folder / LEDGER).exists():  # refuse before anything is made
        _terms(options, Terms())
        _begin(options, tape, end)
    lock = _take_folder(options.folder)
    with contextlib.ExitStack() as undo:
        undo.callback(lock.close)
        ledger = Ledger(options.folder / LEDGER)
        undo.callback(ledger.close)
        resumed = not ledger.new
        terms = _enter(options, tape, listing, ledger, end)
        now = ledger.load()[0].clock
        clock = Clock(now, max(end, now), rate)
        exchange = Exchange(tape, listing, terms, ledger, clock, _keys(options.folder))
        if faults:
            exchange.add_faults(faults, origin="file")
        token = _secret_file(options.folder / "control.token", secrets.token_hex(16))
        undo.pop_all()
    return Opened(exchange, resumed, token, lock)


def _enter(options: Options, tape: Tape, listing: Listing, ledger: Ledger, end: int) -> Terms:
    """Begin a new ledger, or check that an old one was begun with the same."""
    identity = {"tape": tape.digest, "funding": tape.funding_digest, "instruments": listing.digest}
    if not ledger.new:
        return _check_identity(options, identity, ledger)
    terms, begin = _terms(options, Terms()), _begin(options, tape, end)
    money = {name: str(getattr(terms, name)) for name in MONEY}
    created = {**identity, **money, "name": tape.name, "created": str(begin)}
    ledger.create(created, State(begin), Account(terms.equity, update_time=begin))
    return terms


def _terms(options: Options, kept: Terms) -> Terms:
    given = {name: getattr(options, name) for name in MONEY}
    values = {name: getattr(kept, name) if value is None else value for name, value in given.items()}
    for name, value in values.items():
        most = Decimal("1e12") if name == "equity" else Decimal("0.5")
        if not (value.is_finite() and 0 <= value <= most) or (name == "equity" and value == 0):
            raise StartError(f"The {name} {value} is out of range; give a number from 0 to {most:f}.", 2)
    return Terms(**values)


def _begin(options: Options, tape: Tape, end: int) -> int:
    if options.clock == REAL:
        options = replace(options, begin=real_now())
    if options.begin is not None:
        if not tape.start <= options.begin < end:
            raise StartError(
                f"The start {instant(options.begin)} is not on the tape {tape.name}, which plays from "
                f"{instant(tape.start)} to {instant(end)}; give --from inside it."
            )
        return options.begin
    return default_begin(tape, end)


def default_begin(tape: Tape, end: int) -> int:
    """Say when a new exchange begins that was not told: after a warm-up, or at the generated market's own start."""
    if tape.generated:
        return min(generated.START, end - tape.spacing)
    return warm_begin(tape.start, end, tape.spacing)


def _end(options: Options, tape: Tape) -> int:
    if options.end is None:
        return tape.end
    if not tape.start < options.end:
        raise StartError(f"The end {instant(options.end)} is before the tape {tape.name} begins; give a later --to.")
    return min(options.end, tape.end)


def _check_identity(options: Options, identity: dict[str, str], ledger: Ledger) -> Terms:
    kept = ledger.identity()
    other = [name for name, value in identity.items() if kept[name] != value]
    terms = Terms(**{name: Decimal(kept[name]) for name in MONEY})
    wanted = _terms(options, terms)
    other += [name for name in MONEY if getattr(wanted, name) != getattr(terms, name)]
    if other:
        raise StartError(
            f"The ledger in {options.folder} was begun with another {', '.join(other)} (tape {kept['name']}); "
            "start it with the same settings or give another --dir."
        )
    return terms


def _take_folder(folder: Path) -> IO[str]:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = (folder / "lock").open("a+", encoding="ascii")
    except OSError as error:
        raise StartError(f"The folder {folder} cannot be used ({error.strerror}); give another --dir.", 77) from error
    patience = time.monotonic() + _PATIENCE
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            break
        except OSError as error:
            if time.monotonic() < patience:
                time.sleep(0.02)
                continue
            lock.seek(0)
            holder = lock.read().strip() or "unknown"
            lock.close()
            raise StartError(
                f"The folder {folder} is in use by process {holder}; end it or give another --dir.", 75
            ) from error
    lock.truncate(0)
    lock.write(str(os.getpid()))
    lock.flush()
    return lock


def _keys(folder: Path) -> Keys:
    text = _secret_file(
        folder / "keys.json", json.dumps({"key": secrets.token_hex(32), "secret": secrets.token_hex(32)})
    )
    try:
        pair = json.loads(text)
        return Keys(pair["key"], pair["secret"])
    except (ValueError, KeyError, TypeError) as error:
        raise StartError(f"The keys in {folder / 'keys.json'} cannot be read; remove that file.") from error


def _secret_file(path: Path, content: str) -> str:
    """Give the content of a private file, made with ``content`` where it does not exist."""
    try:
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(content)
        return content
    except FileExistsError:
        return path.read_text()


def _read_faults(path: Path | None) -> list[dict[str, Any]]:
    if path is None:
        return []
    try:
        entries = json.loads(path.read_text())
        if not isinstance(entries, list):
            raise ValueError("a plan is a list")
        return [check_entry(entry) for entry in entries]
    except (OSError, ValueError) as error:
        raise StartError(f"The fault plan {path} cannot be used: {error}; correct the file.") from error
