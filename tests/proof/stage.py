"""What is made once and used by every plan of a process: market, model, client, and the journal's open file."""

import atexit
import io
import shutil
import sqlite3
import sys
import tempfile
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, fields, replace
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any, cast

from tests.proof import market
from tests.proof.case import Terms
from tests.proof.disk import Disk, opened_on
from tests.proof.flipping import Flipping, Growing
from tests.proof.odd import ODD, OUTAGES
from tests.proof.plan import EVENTS, STOP
from trader import log
from trader.app import assembly
from trader.app.strategies import Loaded, load_strategy
from trader.config import LogSettings, Settings
from trader.exchange import burst, factory, klines
from trader.exchange import clock as clocks
from trader.exchange.wire import Wire
from trader.forecast.artifact import Model
from trader.journal.journal import Journal
from trader.journal.rows import Binding
from trader.sim.instruments import default_listing
from trader.sim.ledger import Ledger

KEY = "canaryKEYcanaryKEYcanaryKEYcanaryKEYcanaryKEYcanaryKEYcanary0001"
SECRET = "canarySECRETcanarySECRETcanarySECRETcanarySECRETcanarySECRET0002"
CANARIES = (KEY, SECRET)
LIMIT = Decimal(6000)
LOSS = Decimal("0.15")
"""The drawdown, and the loss of a day, at which everything is closed."""
BEFORE = timedelta(seconds=20)
"""How long before a close a story begins."""


@dataclass(frozen=True)
class Snapshot:
    """Exchange and journal at an instant."""

    ledger: Ledger
    journal: bytes
    now: int


class Stage:
    """Replaces clock, disk and client of this process for good; a process of its own is best.

    With `stops` every position has a protective stop, and grows before it is turned, so that the stop has to move.
    """

    def __init__(self, folder: Path, symbols: tuple[str, ...], *, stops: bool = False) -> None:
        self.folder = folder
        self.stops = stops
        self.events = (*EVENTS, STOP) if stops else EVENTS
        self.drawn = (*self.events, *ODD, *(OUTAGES[::3] if stops else ()))
        self.symbols = symbols
        self.tape = market.tape(folder, symbols)
        self.listing = default_listing(self.tape)
        self.output = io.StringIO()
        hook = sys.excepthook
        log.configure(LogSettings(level="INFO", format="json"), self.output)
        sys.excepthook = hook  # what goes wrong in the machine itself is for whoever runs it
        log.register_secret(KEY, SECRET)
        risk = {
            "max_notional": LIMIT,
            "max_drawdown": LOSS,
            "max_daily_loss": LOSS,
            "protective_stop": Decimal("0.2") if stops else None,
        }
        self.settings = Settings(venue="sim", data_dir=folder, api_key=KEY, api_secret=SECRET, risk=risk)  # type: ignore[arg-type]
        real = load_strategy(self.settings)
        self.strategy = (Growing if stops else Flipping)(symbols=symbols if len(symbols) == 1 else ())
        self.loaded: Loaded = replace(real, strategy=self.strategy, model=hashed_once(real.model))
        self.path = folder / "journal.db"
        with opened_on(Disk):
            binding = Binding("sim", assembly.ACCOUNT, "proof", "flipping", False)
            self.journal = Journal.open(self.path, binding, create=True, at=market.FIRST - BEFORE)
        assembly._remember(self.journal, self.loaded)
        self.disk = cast(Disk, self.journal._database._raw)
        self.disk.path = str(self.path)
        self.look = sqlite3.connect(self.path, isolation_level=None)
        self.terms = Terms(
            instance=f"sim/{assembly.ACCOUNT}/flipping",
            interval=market.INTERVAL.minutes * 60_000,
            max_delay=market.INTERVAL.minutes * 6_000,
            closes={symbol: market.close_prices(symbol) for symbol in symbols},
            limit=LIMIT,
            span=market.span,
        )
        clocks._PIECE = 1e9  # the virtual loop has no suspends that a long sleep would miss: they are events of a plan
        burst.frame_of = cached_frames(burst.frame_of)
        self.began: Snapshot | None = None
        self._wire: Wire | None = None
        factory.Wire = self._reuse  # type: ignore[assignment,misc]

    def _reuse(self, **given: Any) -> Wire:
        """Make one client and hand it to every life: nothing of it outlives a request, and making it takes long."""
        if self._wire is None:
            self._wire = Wire(**given)
        self._wire._clock, self._wire._heard = given["clock"], given["heard"]
        self._wire.closed_by_user = False
        return self._wire

    def close(self) -> None:
        self.disk.step = None
        self.look.close()
        self.journal.close()

    def serialize(self) -> bytes:
        """Return the journal's file as it is."""
        with closing(sqlite3.connect(self.path)) as other:
            return other.serialize()


def hashed_once(model: Model) -> Model:
    """Return the same model with its hash at hand, which it otherwise computes anew whenever it is asked."""
    kind = type("HashedOnce", (Model,), {"hash": model.hash})
    same: Model = object.__new__(kind)
    for field in fields(model):
        object.__setattr__(same, field.name, getattr(model, field.name))
    return same


def cached_frames(frame_of: Callable[..., Any]) -> Callable[..., Any]:
    """Make the same rows into a candle frame once: it is pure, and a fifth of a cycle's time."""
    made: dict[str, Any] = {}

    def cached(rows: Any, span: Any, where: str, least: int | None) -> Any:
        key = f"{rows} {span} {least} {id(klines._closed)}"
        if key not in made:
            made[key] = frame_of(rows, span, where, least)
        return made[key]

    return cached


def new_stage(symbols: tuple[str, ...] = (market.SYMBOL,), *, stops: bool = False) -> Stage:
    """Set a stage on a file system in memory, where there is one."""
    memory = Path("/dev/shm")
    folder = Path(tempfile.mkdtemp(prefix="proof-", dir=memory if memory.is_dir() else None))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return Stage(folder, symbols, stops=stops)
