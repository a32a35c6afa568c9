"""The loop: start up, wake at every close, obey requests, drain and stop."""

import asyncio
import signal
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from structlog.typing import FilteringBoundLogger

from trader.decide import Strategy
from trader.domain.decision import CloseReport, State
from trader.errors import (
    ConfigError,
    ExchangeError,
    JournalBusy,
    JournalError,
    Mismatch,
    NotPermitted,
    TraderError,
    Unreached,
)
from trader.journal.journal import Journal
from trader.journal.rows import Status
from trader.live.control import Control, Flattener
from trader.live.cycle import Cycle, Terms
from trader.live.desk import Desk
from trader.live.patience import Begin, at_once
from trader.live.persistence import FIRST, LONGEST, Persistence
from trader.live.ports import Clock
from trader.live.scheduler import GridTrigger, VenueScheduler
from trader.live.startup import Startup

_POLL_LONGEST = 60.0


@dataclass(frozen=True, slots=True)
class Span:
    """When to stop by itself: after so many closes, or after the last close at or before `end`.

    `delay` is how long after a close to wake; `poll` how often requests are looked for and `cycle` how long one attempt
    at a close may take, in seconds of real time.
    """

    cycles: int | None = None
    end: datetime | None = None
    delay: timedelta = timedelta(0)
    poll: float = 1.0
    cycle: float = 900.0


class Daemon:
    """One strategy on one account, until told to stop."""

    def __init__(
        self,
        strategy: Strategy,
        terms: Terms,
        span: Span,
        journal: Journal,
        clock: Clock,
        startup: Startup,
        cycle: Cycle,
        control: Control,
        flattener: Flattener,
        log: FilteringBoundLogger,
        on_close: Callable[[CloseReport], None] = lambda report: None,
        on_ready: Callable[[], None] = lambda: None,
        cooldown: Callable[[], datetime | None] = lambda: None,
        jumped: Callable[[], bool] = lambda: False,
        patience: Callable[[Begin, asyncio.Event], Awaitable[bool]] = at_once,
    ) -> None:
        self._strategy = strategy
        self._terms = terms
        self._span = span
        self._journal = journal
        self._clock = clock
        self._startup = startup
        self._cycle = cycle
        self._control = control
        self._flattener = flattener
        self._log = log
        self._on_close = on_close
        self._on_ready = on_ready
        self._cooldown = cooldown
        self._jumped = jumped
        self._patience = patience
        self.renew: Callable[[], Awaitable[Desk | None]] = self._keep
        self._one_at_a_time = asyncio.Lock()
        self._stop = asyncio.Event()
        self._persistence = Persistence(journal, clock, control, span.cycle, self._stop, self._obey_requests, log)
        self._failure: BaseException | None = None
        self._scheduler = VenueScheduler(clock, self._end_with)
        self._decided = 0
        # how long the next look at stops that are not in their place waits, and until when
        self._stop_pause, self._look_at = timedelta(0), clock.now()

    async def run(self, *, adopt: bool = False) -> None:
        """Run until the span is over, a signal comes, or something fails that no later close can mend.

        Raises:
            TraderError: start-up was refused, or the journal failed.
        """
        self._obey_signals()
        if not await self._patience(lambda: self._begin(adopt), self._stop):
            return
        self._on_ready()
        self._log.info("ready", strategy=self._strategy.name, next_close=self._next_close().isoformat())
        trigger = GridTrigger(self._strategy.interval, self._scheduler.zone, self._span.delay)
        # no grace time: how late is too late is decided by the age of the close, in `_wake`
        self._scheduler.add_job(
            self._wake, trigger, id="close", max_instances=1, coalesce=True, misfire_grace_time=None
        )
        # before the first close is looked at, so that none that ends meanwhile is slept through
        self._scheduler.start(paused=self._stop.is_set())
        requests = asyncio.create_task(self._poll_requests())
        requests.add_done_callback(self._polled)
        try:
            await self._wake()
            await self._stop.wait()
        finally:
            await self._drain(requests)
        if self._failure is not None:
            raise self._failure

    @property
    def deciding(self) -> bool:
        """Whether a close is under way now; may be asked from another thread."""
        return self._one_at_a_time.locked()

    def stop(self) -> None:
        """Finish what is under way, then stop."""
        self._stop.set()
        self._scheduler.rest()

    async def _begin(self, adopt: bool) -> bool:
        """Bring the account to where the first close finds it; False where the daemon stops first."""
        await self._wait_out()
        if self._stop.is_set():
            return False
        async with self._one_at_a_time:
            # whoever wakes the daemon meanwhile would settle the same orders beside the start
            try:
                await self._startup.run(adopt=adopt)
            except Unreached:
                await self._flatten_meanwhile()
                raise
        return True

    async def _flatten_meanwhile(self) -> None:
        """Close what was asked to be closed while a start waits; what cannot be closed now is tried at its next try."""
        if not self._journal.has_baseline():
            return
        try:
            self._control.state()
            if self._control.flatten_pending():
                await self._startup.before_flatten()
                await self._obey_requests()
        except (ConfigError, Mismatch, NotPermitted, ExchangeError, JournalBusy) as error:
            self._log.error("not flattened yet", error=str(error), kind=type(error).__name__)

    async def _wait_out(self) -> None:
        """Ask the exchange nothing while it wants no request; a start is no way around that."""
        while not self._stop.is_set() and (until := self._cooldown()) is not None:
            self._log.warning("the exchange wants no request", until=until.isoformat())
            await self._persistence.rest(until - self._clock.now())

    def _obey_signals(self) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._signalled, number)

    def _signalled(self, number: int) -> None:
        if self._stop.is_set():
            # asked twice: the journal is durable at every step, so leaving now loses nothing
            raise SystemExit(128 + number)
        self._log.info("stopping", signal=signal.Signals(number).name)
        self.stop()

    async def _drain(self, requests: asyncio.Task[None]) -> None:
        """Let the close under way end; APScheduler's own shutdown would cancel it."""
        self._scheduler.rest()
        async with self._one_at_a_time:
            requests.cancel()
            self._scheduler.shutdown(wait=False)
        self._log.info("stopped", closes=self._decided)

    def _end_with(self, error: BaseException) -> None:
        self._failure = self._failure or error
        self.stop()

    def _next_close(self) -> datetime:
        return self._strategy.interval.following(self._clock.now())

    async def _wake(self) -> None:
        """Decide the close that is due, and whichever falls due meanwhile."""
        async with self._one_at_a_time:
            with self._clock.working():
                while not self._stop.is_set():
                    due = await self._attempt()
                    if self._strategy.interval.floor(self._clock.now()) == due:
                        break
            self._scheduler.rearm("close")

    async def _attempt(self) -> datetime:
        """Obey and decide, and return which close was due; the one place where an error of any kind is logged."""
        due = self._strategy.interval.floor(self._clock.now())
        try:
            await self._obey_requests()
            if not await self._measured():
                return due
            due = self._strategy.interval.floor(self._clock.now())
            if self._journal.decision(due) is None:
                self._take(await self.renew())
            await self._decide_due()
        except JournalBusy as error:
            # whoever writes there comes to an end; nothing was sent meanwhile, and what is open is durable
            self._log.error("close failed", error=str(error), kind=type(error).__name__)
        except JournalError as error:
            self._end_with(error)
        except Exception as error:
            known = isinstance(error, TraderError)
            self._log.error("close failed", error=str(error), kind=type(error).__name__, exc_info=not known)
            if isinstance(error, TraderError):
                self._persistence.hear(error)
            else:
                self._end_with(error)
        over = self._span.end is not None and self._strategy.interval.following(due) > self._span.end
        over = over or self._decided == self._span.cycles
        await self._protect(due, last=over)
        if over:
            self.stop()
        return due

    async def _protect(self, due: datetime, *, last: bool) -> None:
        """See to the stops, again and again while another close is not due: a few times here, then from the poll."""
        following = due + self._strategy.interval.delta
        while self._failure is None and self._cycle.unprotected:
            left = await self._try_stops(following)
            self._stop_pause = min(2 * self._stop_pause, LONGEST) or FIRST if left else timedelta(0)
            self._look_at = max(self._look_at, self._clock.now() + self._stop_pause)
            here = last or self._stop_pause < LONGEST
            if not left or not here or self._stop.is_set() or self._look_at >= following:
                return
            await self._persistence.rest(self._stop_pause)

    async def _try_stops(self, following: datetime) -> bool:
        """See to the stops once; True where one is not in its place."""
        try:
            if self._stop_pause:
                await self._obey_requests()
            async with asyncio.timeout(self._span.cycle):
                await self._cycle.protect()
            self._persistence.answered()
        except (TraderError, TimeoutError) as error:
            self._log.error("stops not looked at", error=str(error), kind=type(error).__name__)
            if isinstance(error, JournalError) and not isinstance(error, JournalBusy):
                self._end_with(error)
            refused = isinstance(error, TraderError) and self._persistence.hear(error)
            if isinstance(error, Mismatch) or refused:
                # a person has to look; until then nothing but the next close asks
                self._look_at = following
        return self._cycle.unprotected

    async def _keep(self) -> Desk | None:
        return None

    def _take(self, desk: Desk | None) -> None:
        """Decide from now on under another configuration; only ever called between two closes."""
        if desk is not None:
            self._strategy, self._terms, self._cycle = desk.strategy, desk.terms, desk.cycle
            self._control, self._flattener = desk.control, desk.flattener

    async def _measured(self) -> bool:
        """Measure the venue's time before anything is concluded from it; False where the daemon stops first.

        While the exchange cannot be asked, our own clock is believed as long as it tells of one close at most since the
        last: a clock that was set, or a machine that slept, must not write closes down that have not been.
        """
        interval, pause = self._strategy.interval, timedelta(0)
        while not self._stop.is_set():
            try:
                await self._cycle.measure()
                return True
            except ExchangeError as error:
                last, due = self._journal.last_close(), interval.floor(self._clock.now())
                if last is None or last <= due <= interval.following(last):
                    return True
                self._log.warning("the exchange's time is not known", error=str(error), due=due.isoformat())
            pause = min(2 * pause, LONGEST) or FIRST
            await self._persistence.rest(pause)
        return False

    async def _decide_due(self) -> None:
        """Decide the last close if it is young enough; write down the ones that were slept through."""
        interval, now = self._strategy.interval, self._clock.now()
        due, last = interval.floor(now), self._journal.last_close()
        if self._span.end is not None and due > self._span.end:
            return
        if last is not None and due < last:
            self._log.error("the clock is behind the last close", now=now.isoformat(), last=last.isoformat())
            return
        self._leave_behind(due)
        if last is not None:
            self._miss(
                interval.following(last), due - interval.delta, "the daemon was not awake", self._too_long_since(due)
            )
        record = self._journal.decision(due)
        if record is not None and record.finished_at is not None:
            return
        if now - due <= self._terms.max_delay or (record is not None and record.status is Status.DECIDED):
            report = await self._persistence.decide(due, self._cycle, self._terms, interval)
            if report is not None:
                self._decided += 1
                self._on_close(report)
            return
        if last is not None:
            self._miss(due, due, "the daemon woke up too late to decide it")
        await self._persistence.within("What earlier closes left", self._cycle.finish_decided())
        await self._persistence.look(self._cycle)

    def _too_long_since(self, due: datetime) -> str | None:
        """Say why a person has to look first: so long nothing was decided, whether the daemon slept or the exchange."""
        points = self._journal.equity_points(last=1)
        since = max(self._journal.baseline().at, self._journal.losses_since(), *(point.close for point in points))
        if due - since <= self._terms.max_outage or self._journal.state().state is State.HALTED:
            return None
        return f"nothing was decided since {since:%Y-%m-%d %H:%M}Z: look at the account, then `trader resume`"

    def _leave_behind(self, due: datetime) -> None:
        """End earlier closes that a crash left undecided; decided ones are finished before the next is decided."""
        for record in self._journal.unfinished():
            if record.close < due and record.status is Status.CLAIMED:
                self._journal.fail(
                    record.close, "interrupted before it was decided, and too old now", self._clock.now()
                )

    def _miss(self, first: datetime, last: datetime, why: str, halt: str | None = None) -> None:
        """Write down every close from first to last as missed, and the halt that follows."""
        missed = list(self._strategy.interval.closes(first, last))
        if missed or halt is not None:
            self._journal.miss_all(missed, why, self._clock.now(), halt=halt)
        if halt is not None:
            self._log.error("halted", why=halt)
        if missed:
            self._log.warning(
                "closes missed", count=len(missed), first=first.isoformat(), last=last.isoformat(), why=why
            )

    async def _obey_requests(self) -> None:
        """Apply requests, and flatten where that was asked for."""
        self._control.state()
        while pending := self._control.flatten_pending():
            result = await self._flattener.run()
            self._control.flattened(pending, result)
            self._log.warning("flattened", closed=result, state=self._control.state().value)

    async def _poll_requests(self) -> None:
        """Look for requests between closes, and for a clock that was set or stood still, which is then measured."""
        pause = self._span.poll
        while True:
            await asyncio.sleep(pause)
            if self._one_at_a_time.locked():
                continue
            if self._jumped():
                self._log.warning("the clock jumped", now=self._clock.now().isoformat())
                await self._wake()
            if self._cycle.unprotected and self._clock.now() >= self._look_at:
                await self._wake()
            if self._journal.pending_requests():
                await self._wake()
                # what cannot be done now is not asked of the exchange every second
                pause = min(2 * pause, _POLL_LONGEST) if self._journal.pending_requests() else self._span.poll

    def _polled(self, requests: asyncio.Task[None]) -> None:
        if not requests.cancelled() and (error := requests.exception()) is not None:
            self._end_with(error)
