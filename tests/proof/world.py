"""One account, one exchange, one journal, and the lives of a daemon between them, under a plan."""

import traceback
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any, NoReturn, cast

from tests.proof import checker, market
from tests.proof.case import read
from tests.proof.happenings import Happenings
from tests.proof.odd import is_innocent, leaves_closes_due, puts_back
from tests.proof.plan import (
    COMMIT,
    LOOK,
    OF_ALL,
    ORDER,
    PLACE,
    RESTRICTING,
    SKEWS,
    STOP,
    Dealer,
    Plan,
    argument,
    ends_a_life,
    is_event,
)  # fmt: skip
from tests.proof.stage import BEFORE, CANARIES, KEY, SECRET, Snapshot, Stage
from tests.proof.timeline import Timeline, VirtualLoop
from tests.proof.wire import Crash, Session
from trader.app import assembly
from trader.app.venues import Venue
from trader.errors import TraderError
from trader.exchange.binance import BinanceGateway
from trader.exchange.clock import WallClock
from trader.exchange.factory import open_gateway
from trader.exchange.loopback import Loopback
from trader.live.daemon import Daemon, Span
from trader.live.startup import Startup
from trader.sim.account import Account
from trader.sim.clock import Clock
from trader.sim.exchange import Exchange
from trader.sim.ledger import Ledger, State
from trader.sim.records import Terms
from trader.sim.wire import Keys, Params, Request, read_params

POLL = 4 * 3600.0
SHORT_PAUSE, LONG_PAUSE = 4.0, 7200.0
BOOT = -1
"""The step before the first one, at which a machine may be set up wrongly."""
LIVES, REMEDIES = 12, 4


@dataclass
class Posted:
    """What the journal's file held when an order left for the exchange, read through a connection of its own."""

    client_id: str
    reduce_only: bool
    at: int
    signed: int
    durable: bool
    state: str
    asked: list[str]
    quantity: Decimal
    held: Decimal
    trades: int


@dataclass
class Told:
    """What came of a plan; `starts` are the steps at which its lives began."""

    violations: list[str]
    trace: list[str]
    dealt: dict[int, str]
    ends: list[str]
    output: str
    starts: list[int]


class Started:
    """A start that is behind: the story begins in the middle of a life."""

    async def run(self, *, adopt: bool) -> None:
        """Do nothing."""


class World:
    """One run of one plan."""

    def __init__(self, stage: Stage, begin: Snapshot, plan: Plan) -> None:
        self.stage = stage
        self.dealer: Dealer = plan.dealer(stage.drawn)
        self.trace: list[str] = []
        self.posted: list[Posted] = []
        self.ends: list[str] = []
        self.raised: list[str] = []
        self.looks: list[tuple[int, int]] = []
        self.lives: list[int] = []
        self.starts: list[int] = []
        self.put_back_at: int | None = None
        self.by_command = False
        self.internal: str | None = None
        self.dead = False
        self.pause = SHORT_PAUSE
        self.due: list[datetime] = []
        self.resumed: datetime | None = None
        self.daemon: Daemon | None = None
        stage.output.seek(0)
        stage.output.truncate()
        disk = stage.disk
        disk.step = None
        disk.history = [] if self.dealer.puts_back else None
        disk.begin_again(begin.journal)
        disk.step, disk.die, disk.dead = self.step, self.die, lambda: self.dead
        ledger = Ledger(Path(":memory:"))
        begin.ledger._db.backup(ledger._db)
        self.loop = VirtualLoop()
        disk.stall = self.loop.stand_still
        self.time = Timeline(self.loop, begin.now)
        clock = Clock(begin.now, stage.tape.end, 1.0, self.time.elapsed)
        self.exchange = Exchange(stage.tape, stage.listing, Terms(), ledger, clock, Keys(KEY, SECRET))
        self.session = Session(self.exchange, self.step, self.die, self._witness)
        self.beside = Happenings(stage, self.exchange, self.time, lambda: len(self.trace) - 1, self._wake)
        if (skew := self.dealer.deal(BOOT, "boot")) is not None:
            self.beside.happen(skew)

    # --- steps -------------------------------------------------------------------------------------------------------

    def step(self, name: str) -> str | None:
        """Count a step, let whatever is planned before it happen, and return the fault of the step itself."""
        if self.dead:
            raise Crash("dead")
        number = len(self.trace)
        self.trace.append(name)
        kind = self.dealer.deal(number, name)
        self.beside.settle_fees()
        if kind is not None and puts_back(kind):
            self._put_back(kind)
        if kind is not None and is_event(kind):
            if name.startswith(COMMIT):
                self.loop.call_soon(self.beside.happen, kind)
            else:
                self.beside.happen(kind)
            kind = None
        if name == LOOK:
            self.looks.append((self.time.now(), self.exchange.venue.next_trade))
        return kind or self.beside.fault_of(name)

    def die(self, long: bool) -> None:
        """End the process here and now; a long death is noticed late."""
        self.dead = True
        self.pause = LONG_PAUSE if long else SHORT_PAUSE
        raise Crash("killed")

    def _wake(self) -> None:
        """Wake the daemon a second time, as a second job would."""
        if self.daemon is not None:
            waking = self.loop.create_task(self.daemon._wake())
            waking.add_done_callback(lambda task: task.cancelled() or task.exception())

    def _put_back(self, kind: str) -> NoReturn:
        """End the process, and let its journal be what it was some commits ago."""
        name, back = argument(kind)
        self.put_back_at, self.by_command = self.time.now(), name == "restored"
        self.stage.disk.put_back(int(back), by_command=self.by_command, at=self.time.wall())
        self.die(False)

    def _witness(self, request: Request) -> None:
        parameters: Params = read_params(request)
        stop = request.name == PLACE
        name = parameters["clientAlgoId" if stop else "newClientOrderId"]
        table, look = "stops" if stop else "orders", self.stage.look
        row = look.execute(f"SELECT sent_at FROM {table} WHERE client_id = ? AND final = 0", (name,)).fetchone()
        durable = row is not None and row[0] is not None
        state = look.execute("SELECT state FROM states ORDER BY id DESC LIMIT 1").fetchone()
        pending = {row[0] for row in look.execute("SELECT id FROM requests WHERE done_at IS NULL AND kind != 'resume'")}
        # the commit just before the post marks it as sent; whoever asks later is too late for this one
        marked = len(self.trace) - 2
        asked = [one.kind for one in self.beside.asked if one.number in pending and one.step < marked]
        quantity = Decimal(parameters.get("quantity", "0")) * (1 if parameters["side"] == "BUY" else -1)
        held = sum((each.quantity for each in self.exchange.venue.account.of(parameters["symbol"])), Decimal(0))
        reduce_only = "true" in (parameters.get("reduceOnly"), parameters.get("closePosition"))
        now, signed, known = self.time.now(), int(parameters["timestamp"]), state[0] if state else "ACTIVE"
        self.posted.append(Posted(name, reduce_only, now, signed, durable, known, asked, quantity, held,
                                  self.exchange.venue.next_trade))  # fmt: skip

    # --- lives -------------------------------------------------------------------------------------------------------

    def run(self, closes: int, *, running: bool = True, audit: bool = True) -> "World":
        """Live through so many closes, start again after every end and as long as a planned fault is to come, and once
        more undisturbed.

        Args:
            closes: how many, after the one everything begins behind.
            running: whether the first life begins in a daemon that has started already.
            audit: whether to start once more in any case, and not only where something was left open.
        """
        self.due = market.closes(closes + 1)
        running = running and BOOT not in self.dealer.dealt
        for _ in range(LIVES):
            if not (self.ends and self._waits() and self._do_as_told(closes + 1)):
                self.live(closes + 1, running=running)
            running = False
            if (self.ends[-1] == "done" and not self._waits()) or self._gives_up():
                break
            self.time.suspend(self.pause)
        if audit or len(self.ends) > 1 or self.dealer.dealt:
            self.dealer.over = True
            self.time.suspend(max(SHORT_PAUSE, self.beside.outage_left()))
            self.live(closes + 1)
        if any(is_event(kind) or puts_back(kind) for kind in self.dealer.dealt.values()):
            # what a person is told to do has to work
            for _ in range(REMEDIES):
                told = self.ends[-1]
                if not self._do_as_told(closes + 1) or self.ends[-1] == told:
                    break
        if self._restricted() and self.ends[-1] == "done" and not self._outside_kinds():
            self._resume(closes + 2)
        return self

    def _waits(self) -> bool:
        """Whether a fault is planned for a step that is still to come."""
        return self.dealer.waits(len(self.trace))

    def _do_as_told(self, closes: int) -> bool:
        """Do what an end names as its remedy, and start again; False where it names none that there is."""
        told = self.ends[-1]
        if "fees in BNB" in told:
            self.beside.burn(on=False)
        elif "cancel" in told:
            self.beside.take_back_orders()
        elif "close the position or set" in told and any("--adopt" in one for one in self.ends):
            # its leverage was changed by hand, too, and cannot be set back under it
            self.beside.close_by_hand()
        elif "--adopt" not in told:
            return False
        self.live(closes, adopt="--adopt" in told)
        return True

    def _restricted(self) -> dict[str, str]:
        """Return the refusals that were heard and only a person can mend, with the state that has to follow on each."""
        return {
            kind: RESTRICTING[kind]
            for kind in self.dealer.dealt.values()
            if kind in RESTRICTING.keys() & self.session.heard
        }

    def _outside_kinds(self) -> frozenset[str]:
        """Return what somebody outside did."""
        kinds = self.dealer.dealt.values()
        return frozenset(kind for kind in kinds if (is_event(kind) and not is_innocent(kind)) or puts_back(kind))

    def _resume(self, closes: int) -> None:
        """Do what a refusal asks of a person, after which one more close has to be decided and carried."""
        self.time.suspend(SHORT_PAUSE)
        self.beside.ask("resume")
        self.live(closes)
        self.resumed = market.closes(closes)[-1]

    def _gives_up(self) -> bool:
        """Whether three ends in a row are the same refusal: a person is needed."""
        last = self.ends[-3:]
        return len(last) == 3 and last[0] != "killed" and len(set(last)) == 1

    def live(self, closes: int, *, running: bool = False, adopt: bool = False) -> None:
        """Live one life of a process."""
        self.dead = False
        self.pause = SHORT_PAUSE
        self.lives.append(self.time.now())
        self.starts.append(len(self.trace))
        end = "done"
        try:
            self.loop.run_until_complete(self._daemon(closes, running, adopt))
        except Crash:
            end = "killed"
        except TraderError as error:
            end = self._raised(error)
        except Exception as error:  # an end that no error of ours explains is a finding of its own
            end = self.internal = self._raised(error)
        self.dead = True
        self.loop.clear()
        if self.stage.disk.left is not None:
            self.stage.disk.begin_again(self.stage.disk.left)
            self.beside.forget(lost=not self.by_command, since=len(self.trace) - 1)
        self.ends.append(end)

    def _raised(self, error: Exception) -> str:
        """Keep an error with everything it was raised from, and return it in one line."""
        self.raised += traceback.format_exception(error)
        return f"{type(error).__name__}: {error}"

    async def _daemon(self, closes: int, running: bool, adopt: bool) -> None:
        one = self._assemble()
        span = Span(None, market.closes(closes)[-1], timedelta(0), POLL)
        self.daemon = Daemon(
            one.loaded.strategy, one.terms, span, one.journal, one.venue.clock,
            cast(Startup, Started()) if running else one.startup, one.cycle, one.control, one.flattener, one.log,
        )  # fmt: skip
        await self.daemon.run(adopt=adopt)

    def _assemble(self) -> assembly.Assembly:
        clock = WallClock(self.time.wall)
        gateway: BinanceGateway = open_gateway(
            "sim", key=KEY, secret=SECRET, clock=clock, loopback=Loopback(1, Path("nowhere"))
        )
        gateway._calls.wire.session = self.session
        venue = Venue(clock, gateway, "proof", False, timedelta(0))
        # the journal is opened once for all lives, and remembers nothing of the one before
        self.stage.journal._summed = None
        return assembly._wire(self.stage.settings, self.stage.loaded, venue, self.stage.journal, cast(Any, None))

    def _legs(self) -> int | None:
        """Of how many orders all that went wrong is the matter; None where it was more than theirs."""
        struck = [("boot" if step == BOOT else self.trace[step], kind) for step, kind in self.dealer.dealt.items()]
        others = [kind.startswith(OF_ALL) or is_event(kind) or puts_back(kind) for _, kind in struck]
        of_one = [name == ORDER and not other for (name, _), other in zip(struck, others, strict=True)]
        return len(struck) if struck and all(of_one) else None

    def _wished(self, close: datetime) -> dict[str, int]:
        """Return the side each symbol is wished to have at a close."""
        wishes = {symbol: self.stage.strategy.wish(close, symbol) for symbol in self.stage.symbols}
        return {symbol: (wish > 0) - (wish < 0) for symbol, wish in wishes.items()}

    def end(self) -> Told:
        """Close everything and judge what is left: the ledger, the journal's file, and what was written meanwhile."""
        self.loop.close()
        self.stage.disk.step = None
        output = self.stage.output.getvalue() + "\n".join(self.ends)
        written = {
            "the log": output.encode(),
            "an exception": "".join(self.raised).encode(),
            "the journal's file": self.stage.serialize(),
        }
        outside = self._outside_kinds()
        due = (
            [*self.due] if all(kind in SKEWS or leaves_closes_due(kind) for kind in self.dealer.dealt.values()) else []
        )
        due += [self.resumed] if self.resumed is not None else []
        case = read(
            self.exchange.ledger._db,
            self.stage.path,
            posted=self.posted,
            asked=self.beside.asked,
            outages=self.beside.outages,
            put_back_at=self.put_back_at,
            looks=self.looks,
            lives=self.lives,
            dealt=[(self.trace[step] if step != BOOT else "boot", kind) for step, kind in self.dealer.dealt.items()],
            ends=self.ends,
            outside=outside,
            restricted=self._restricted(),
            legs=self._legs(),
            undying=not any(ends_a_life(kind) for kind in self.dealer.dealt.values()),
            sides={} if self.resumed is None else self._wished(self.resumed),
            stops=self.stage.stops,
            due=[round(close.timestamp() * 1000) for close in due],
            ended_well=self.ends[-1] == "done",
            canaries=CANARIES,
            written=written,
            terms=self.stage.terms,
        )
        found = checker.violations(case)
        if self.internal is not None:
            found.append(f"internal: {self.internal}")
        if outside <= {STOP} and self.ends[-1] != "done":
            found.append(f"stuck: nobody outside did anything, and a person is needed: {self.ends[-1]}")
        return Told(found, self.trace, self.dealer.dealt, self.ends, output, self.starts)


def beginning(stage: Stage) -> Snapshot:
    """Return the snapshot every plan begins from, made once a stage: a daemon that has decided its first close."""
    if stage.began is None:
        ledger = Ledger(Path(":memory:"))
        now = market.FIRST - BEFORE
        begin = round(now.timestamp() * 1000)
        created = {"tape": "", "funding": "", "instruments": "", "name": "proof", "created": str(begin)}
        ledger.create(created, State(begin), Account(Terms().equity, update_time=begin))
        world = World(stage, Snapshot(ledger, stage.serialize(), begin), Plan())
        world.live(1)
        assert world.ends == ["done"], world.ends
        world.end()
        at = round((market.FIRST + market.INTERVAL.delta - BEFORE).timestamp() * 1000)
        world.exchange.advance(at)
        stage.began = Snapshot(world.exchange.ledger, stage.serialize(), at)
    return stage.began
