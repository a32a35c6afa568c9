"""One instance, wired as the product wires it, which can die and start again on the same journal and exchange."""

import asyncio
import json
from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any, cast

import polars as pl
from structlog.typing import FilteringBoundLogger

from tests.unit.live.clock import FakeClock
from tests.unit.live.exchange import ADA, FakeExchange
from tests.unit.live.steps import Crash, SteppedJournal, Steps, open_journal
from tests.unit.live.stops import FakeStops
from trader.domain.account import MarginMode
from trader.domain.decision import Book, CloseReport, Forecast, Leg, Limits, Rebalance, State
from trader.domain.interval import Interval
from trader.domain.order import OrderRequest, client_id, client_prefix
from trader.errors import ExchangeError, Mismatch
from trader.execution.guards import WireLimits
from trader.execution.reconcile import Policies
from trader.execution.remainder import Rules
from trader.journal.rows import Intent, OrderRecord, Status
from trader.live.control import Control, Flattener
from trader.live.cycle import Cycle, Terms
from trader.live.daemon import Daemon, Span
from trader.live.gate import Gate
from trader.live.leverage import Leverage
from trader.live.patience import Begin, at_once
from trader.live.protection import Protection, StopTerms
from trader.live.recovery import Recovery
from trader.live.router import Router
from trader.live.startup import Startup
from trader.live.timing import Timing

CLOSE = datetime(2024, 1, 2, tzinfo=UTC)
INTERVAL = Interval.parse("16h")
INSTANCE = "sim/main/fake"
MAX_DELAY = timedelta(minutes=20)
SETTLE = timedelta(seconds=17)


class Lines:
    """Keeps what is logged."""

    def __init__(self) -> None:
        self.lines: list[tuple[str, str, dict[str, Any]]] = []

    def info(self, event: str, **words: Any) -> None:
        self.lines.append(("info", event, words))

    def warning(self, event: str, **words: Any) -> None:
        self.lines.append(("warning", event, words))

    def error(self, event: str, **words: Any) -> None:
        self.lines.append(("error", event, words))

    def said(self, event: str) -> list[dict[str, Any]]:
        return [words for _, said, words in self.lines if said == event]


@dataclass
class FakeStrategy:
    """Wishes what it is told for a close, else flips between long and short with every close."""

    symbols: tuple[str, ...] = (ADA,)
    interval: Interval = INTERVAL
    wishes: Mapping[datetime, float] = field(default_factory=dict)
    name: str = "fake"
    warmup: int = 2
    exposure: float = 0.5
    leverage: int = 2
    margin_mode: MarginMode = "isolated"
    band: float = 0.1
    capital: Decimal | None = None
    rebalance: Rebalance = "drift"
    least: int | None = None
    funded: bool = False

    def universe(self, listed: Collection[str]) -> tuple[str, ...]:
        return self.symbols or tuple(sorted(listed))

    def share(self, listed: int) -> float:
        return self.exposure / (len(self.symbols) or listed)

    def forecast(self, candles: pl.DataFrame) -> pl.DataFrame:
        last = candles.group_by("symbol", maintain_order=True).last()
        return last.select("symbol", "close_time").with_columns(
            forecast=pl.col("close_time").map_elements(self.wish, return_dtype=pl.Float64), confidence=pl.lit(1.0)
        )

    def wish(self, close: datetime) -> float:
        return self.wishes.get(close, (-1.0) ** ((close - CLOSE) // self.interval.delta))

    def targets(self, forecasts: Mapping[str, Forecast], book: Book) -> Mapping[str, float]:
        return {symbol: self.exposure * forecast.value for symbol, forecast in forecasts.items()}


class World:
    """Journal file, exchange and clock, which outlive the instance; `boot` starts one, as a process would.

    With `journal`, every start goes on with that open one, which is much faster: it keeps nothing outside its file.
    """

    def __init__(
        self,
        path: Path,
        start: datetime = CLOSE,
        journal: SteppedJournal | None = None,
        **exchange: Any,
    ) -> None:
        self.path = path
        self._kept = journal is not None
        self.clock = FakeClock(start)
        self.exchange = FakeExchange(self.clock, **exchange)
        self.stops = FakeStops(self.exchange)
        self.fraction: Decimal | None = None
        self.strategy = FakeStrategy(symbols=tuple(self.exchange.rules))
        self.limits = Limits(Decimal(1), Decimal(1000))
        self.wire_limits = WireLimits()
        self.policies = Policies()
        self.rules = Rules()
        self.parallel = 1
        self.patience: Callable[[Begin, asyncio.Event], Awaitable[bool]] = at_once
        self.steps = Steps()
        self.lives: list[Steps] = []
        self.log = Lines()
        self.reports: list[CloseReport] = []
        self.journal: SteppedJournal = cast(SteppedJournal, journal)
        self.daemon: Daemon = cast(Daemon, None)

    def boot(self, steps: Steps | None = None, **span: Any) -> "World":
        if not self._kept:
            if self.journal is not None:
                self.journal.close()
            self.journal = open_journal(self.path, Steps(), self.clock.now())
        self.take_steps(steps or (self.lives.pop(0) if self.lives else Steps()))
        self.exchange.watch = self._permitted
        log = cast(FilteringBoundLogger, self.log)
        exchange, journal, clock = self.exchange, self.journal, self.clock
        self.control = Control(journal, clock, log)
        self.gate = Gate(exchange, journal, clock, self.control.state, self.wire_limits)
        leverage = Leverage(exchange, journal, self.strategy.leverage, self.strategy.margin_mode)
        self.router = Router(
            exchange, journal, clock, Timing(SETTLE), self.gate, log, self.rules, leverage.ensure, self.parallel
        )
        prefix = client_prefix(INSTANCE)
        stop_terms = StopTerms(INSTANCE, self.strategy.interval, self.fraction)
        self.protection = Protection(self.stops, exchange, journal, clock, self.router, stop_terms, log)
        self.recovery = Recovery(exchange, journal, clock, self.router, self.protection, log, self.policies, prefix)
        self.startup = Startup(self.strategy, exchange, journal, clock, self.recovery, log, limits=self.limits)
        terms = Terms(INSTANCE, self.limits, MAX_DELAY, "strategy-hash", "model-hash", self.policies)
        self.cycle = Cycle(self.strategy, exchange, journal, clock, self.recovery, leverage, terms, log)
        self.flattener = Flattener(
            INSTANCE, self.strategy.interval, exchange, journal, clock, self.recovery, span.get("cycle", 900.0), log
        )
        self.daemon = Daemon(
            self.strategy,
            terms,
            Span(**({"poll": 86400.0} | span)),
            journal,
            clock,
            self.startup,
            self.cycle,
            self.control,
            self.flattener,
            log,
            self.reports.append,
            patience=self.patience,
        )
        return self

    def take_steps(self, steps: Steps) -> "World":
        self.steps = self.exchange.steps = self.journal.steps = steps
        self.clock.frozen = False
        steps.died = lambda: setattr(self.clock, "frozen", True)
        return self

    def _permitted(self, request: OrderRequest) -> None:
        """Nothing opens once somebody has said halt."""
        asked = [one.kind for one in self.journal.pending_requests() if one.kind != "resume"]
        halted = self.state() is not State.ACTIVE or asked
        assert request.reduce_only or not halted, "opened while halted"

    def begin(self, held: str = "0") -> "World":
        """Take the account, holding something, as the beginning of the story, of a process that began long before."""
        self.router.began = self.clock.now() - INTERVAL.delta
        if Decimal(held):
            self.exchange.trade(held, "before")
        self.journal.set_baseline(
            wallet=self.exchange.cash,
            equity=self.exchange.cash,
            positions={ADA: Decimal(held)} if Decimal(held) else {},
            last_trades={ADA: self.exchange.trades(ADA)[-1].trade_id} if Decimal(held) else {},
            at=self.clock.now(),
        )
        return self

    def decide(self, *legs: tuple[str, str], close: datetime = CLOSE, symbol: str = ADA) -> list[Intent]:
        """Make a decision of (kind, quantity) legs durable, as a cycle does."""
        turns: dict[str, int] = {}
        intents = []
        for kind, quantity in legs:
            attempt = turns.setdefault(kind, 0)
            turns[kind] += 1
            name = client_id(INSTANCE, close, symbol, kind, attempt)
            reduce_only = Leg(symbol, Decimal(quantity), kind).reduce_only
            now = self.clock.now()
            intents.append(
                Intent(name, close, symbol, kind, attempt, Decimal(quantity), reduce_only, now, close + MAX_DELAY)
            )
        self.journal.claim(close, self.clock.now())
        held = {one: str(quantity) for one, quantity in self.journal.positions().items()}
        inputs = json.dumps({"book": {"positions": held}})
        self.journal.record_decision(
            close, inputs, "{}", model_hash="m", why="a test", intents=intents, at=self.clock.now()
        )
        return intents

    async def carry_all(self) -> Mismatch | None:
        """Settle whatever is open, again and again as the daemon does, and start anew after a crash."""
        for _ in range(40):
            try:
                await self.recovery.settle_open()
            except Crash:
                self.boot()
            except Mismatch as mismatch:
                return mismatch
            except ExchangeError:
                self.clock.time += timedelta(seconds=30)
            else:
                return None
        raise AssertionError(f"never settled: {self.steps.names[-20:]}")

    async def run(self, steps: Steps | None = None, *, adopt: bool = False, **span: Any) -> None:
        """Run a daemon to its end, and start another after every crash."""
        self.boot(steps, **span)
        while True:
            try:
                return await self.daemon.run(adopt=adopt)
            except Crash:
                self.boot(**span)

    # --- what is looked at afterwards --------------------------------------------------------------------------------

    def record(self, intent: Intent) -> OrderRecord:
        found = self.journal.order(intent.client_id)
        assert found is not None
        return found

    def statuses(self) -> dict[datetime, Status]:
        return {record.close: record.status for record in self.journal.decisions()}

    def state(self) -> State:
        return self.journal.state().state

    def ours(self) -> list[str]:
        """Client ids of our orders with an effect, in the exchange's order."""
        known = {request.client_id for _, request, _ in self.exchange.posts}
        effective = [one.order.client_id for one in self.exchange.placed if one.order.filled]
        return [name for name in effective if name in known]

    def agree(self) -> None:
        """Journal and exchange tell the same story, and no order has had two effects."""
        ours = self.ours()
        assert len(ours) == len(set(ours)), "an order had two effects"
        told = {(fill.trade_id, fill.quantity) for fill in self.journal.fills()}
        begun = self.journal.baseline().last_trades
        happened = {
            (fill.trade_id, fill.quantity)
            for fill in self.exchange.trades()
            if int(fill.trade_id) > int(begun.get(fill.symbol, 0))
        }
        assert told == happened
        for symbol in self.exchange.rules:
            assert self.journal.position(symbol) == self.exchange.position(symbol)
        assert self.journal.open_intents() == []

    def obeyed(self) -> None:
        """Nothing was sent too late, nothing opened on top of what is held the other way."""
        for at, request, held in self.exchange.posts:
            record = self.journal.order(request.client_id)
            assert record is not None, "an order the journal never intended"
            assert at <= record.intent.not_after, "sent too late"
            assert request == record.intent.request
            if not request.reduce_only:
                assert not held or (held > 0) == (request.quantity > 0), "opened on top of the other side"


def hook(world: World, kind: str) -> Callable[[], object]:
    """Let a person ask for something, as the command line does from another process."""
    return lambda: world.journal.request(kind, world.clock.now())
