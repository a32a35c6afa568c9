"""Try a close again while exchange, candles or journal cannot be used, and halt where key or address are refused."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TypeVar

from structlog.typing import FilteringBoundLogger

from trader.domain.decision import CloseReport, State
from trader.domain.interval import Interval
from trader.errors import (
    ConfigError,
    DataError,
    ExchangeError,
    JournalBusy,
    JournalError,
    Mismatch,
    Rejected,
    TraderError,
)
from trader.execution.refusals import bars
from trader.journal.journal import Journal
from trader.journal.rows import MISSING_STOP, Status
from trader.live.bounded import within
from trader.live.control import Control
from trader.live.cycle import Cycle, Terms
from trader.live.patience import unless
from trader.live.ports import Clock

Answer = TypeVar("Answer")

FIRST, LONGEST = timedelta(seconds=1), timedelta(seconds=30)
_BESIDE = 30.0
"""Seconds that a close which is tried again waits at most for the stops of other symbols."""
_BESIDE_AGAIN = timedelta(minutes=2)
"""For how long it does not wait for them again once one could not be placed."""

_REFUSED_LONGEST = timedelta(minutes=10)
_BELIEVED = timedelta(minutes=1)
"""For how long a key or an address has to be refused until a person has to look: an exchange errs for a while, too."""


@dataclass(slots=True)
class _Others:
    """When the stops of other symbols are looked at next while a close is tried again, and whether one failed last."""

    again: datetime
    failed: bool = False


class Persistence:
    """Tries closes again and again while they are worth it.

    Args:
        journal: knows what a close has come to.
        clock: the venue's.
        control: halts.
        seconds: how long one try may take, in real time.
        stop: is set by whoever stops the daemon.
        obey: obeys what a person has asked for meanwhile.
        log: says why a close is not decided yet.
    """

    def __init__(
        self,
        journal: Journal,
        clock: Clock,
        control: Control,
        seconds: float,
        stop: asyncio.Event,
        obey: Callable[[], Awaitable[None]],
        log: FilteringBoundLogger,
    ) -> None:
        self._journal = journal
        self._clock = clock
        self._control = control
        self._seconds = seconds
        self._stop = stop
        self._obey = obey
        self._log = log
        self._refused_since: datetime | None = None

    async def decide(self, close: datetime, cycle: Cycle, terms: Terms, interval: Interval) -> CloseReport | None:
        """Return what a close came to; None where it was decided before, or is left to the next start.

        Raises:
            TraderError: it is not decided, and why not is in the journal.
        """
        pause, others = timedelta(0), _Others(self._clock.now())
        while not self._stop.is_set():
            try:
                if pause:
                    await self._obey()
                return await self._once(close, cycle)
            except (ExchangeError, DataError, JournalBusy) as error:
                # candles with a hole are candles an exchange has not put right yet
                self.hear(error)
                # a refusal is mended by a person, and asking on and on gets an address banned
                longest = _REFUSED_LONGEST if isinstance(error, Rejected) else LONGEST
                pause = min(2 * pause, longest) or FIRST
                if self._clock.now() + pause > self._deadline(close, terms, interval):
                    await self._fail(close, error, cycle)
                    raise
                self._log.warning("close not decided yet", close=close.isoformat(), error=str(error))
            except JournalError:
                raise
            except TraderError as error:
                await self._fail(close, error, cycle)
                raise
            if pause > FIRST and self._clock.now() >= others.again:
                # what keeps one symbol from its end keeps no other without its stop; stops keep no close from its own
                await self._protect_others(cycle, others)
            await self.rest(pause)
        self._log.warning("close left to the next start", close=close.isoformat())
        return None

    async def _protect_others(self, cycle: Cycle, others: "_Others") -> None:
        """See for a short while to the stops of all symbols at rest; where one fails twice the daemon only reduces."""
        failed, why = others.failed, ""
        try:
            looked = cycle.protect_others(tell=failed)
            others.failed = not await within(_BESIDE, "A look at the other stops", looked)
        except (ExchangeError, JournalBusy) as error:
            self._log.warning("stops not looked at", error=str(error), kind=type(error).__name__)
            others.failed, why = True, f"which stops rest is not known: {error}"
        if failed and why:
            self._write(lambda: self._reduce(why))
        others.again = self._clock.now() + (_BESIDE_AGAIN if others.failed else timedelta(0))

    def _reduce(self, why: str) -> None:
        if self._journal.state().state is State.ACTIVE:
            self._journal.set_state(State.REDUCING, why, MISSING_STOP, self._clock.now())
            self._log.warning("state changed", state=State.REDUCING.value, why=why, by=MISSING_STOP)

    def _write(self, change: Callable[[], None]) -> bool:
        """Write a change of state down; False where another process writes, and the next try finds the same again."""
        try:
            change()
        except JournalBusy as error:
            self._log.warning("state not written down", error=str(error))
            return False
        return True

    def hear(self, error: TraderError) -> bool:
        """Halt durably where key or address are refused for a minute; whether they are and it is written down.

        Nothing is lost by that: what is on its way is settled by looking as soon as the exchange lets us look, and a
        stop stands meanwhile. A person puts the key right and resumes.
        """
        if not bars(error):
            return False
        now = self._clock.now()
        self._refused_since = self._refused_since or now
        lasts = now - self._refused_since >= _BELIEVED
        # a halt that a person lifts too early is found again by the next try
        if lasts and self._journal.state().state is not State.HALTED:
            why = f"the exchange refuses this key or address: {error}"
            return self._write(lambda: self._control.restrict(State.HALTED, why, "exchange"))
        return lasts

    def answered(self) -> None:
        """Hear that the exchange let us look: what it refused before was for a while."""
        self._refused_since = None

    async def rest(self, pause: timedelta) -> None:
        """Wait, but not longer than until somebody stops the daemon."""
        await unless(self._stop, self._sleep(pause))

    async def _sleep(self, pause: timedelta) -> None:
        await self._clock.sleep_until(self._clock.now() + pause)

    async def _once(self, close: datetime, cycle: Cycle) -> CloseReport | None:
        """Try a close once."""
        report = await self.within(f"The close {close.isoformat()}", cycle.run(close))
        self.answered()
        return report

    async def within(self, what: str, work: Awaitable[Answer]) -> Answer:
        """Do something within the bound of one try.

        Raises:
            ExchangeError: it came to no end; what is durable by then decides how it goes on.
        """
        return await within(self._seconds, what, work)

    def _deadline(self, close: datetime, terms: Terms, interval: Interval) -> datetime:
        """Return until when a close is tried: what is decided already, until another one is due."""
        record = self._journal.decision(close)
        decided = record is not None and record.status is Status.DECIDED
        return close + (interval.delta if decided else terms.max_delay)

    async def look(self, cycle: Cycle) -> None:
        """Look at what is held at a close that is not decided: nothing else does before the next one.

        Raises:
            Mismatch: the account holds what the journal does not explain; the state is HALTED then.
            JournalError: nothing can be written down.
        """
        if self._stop.is_set() or self._journal.open_intents():
            # a start looks anyway, and what an order does is not explained before it is settled
            return
        try:
            await self.within("A look at what is held", cycle.explained())
        except (ConfigError, DataError, ExchangeError, JournalBusy) as error:
            # why the close failed is said, and not why this did
            self._log.warning("account not looked at", error=str(error), kind=type(error).__name__)

    async def _fail(self, close: datetime, error: TraderError, cycle: Cycle) -> None:
        """Write down why a close was not decided; one with a decision keeps it and is finished by recovery."""
        record = self._journal.decision(close)
        if record is not None and record.status is Status.CLAIMED:
            self._journal.fail(close, str(error), self._clock.now())
            if not isinstance(error, Mismatch):
                await self.look(cycle)
