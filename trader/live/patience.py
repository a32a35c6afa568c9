"""A start that outlasts an exchange which is out: nobody may be there to start the daemon again.

Only what the exchange did not answer is waited for. Whatever it or this side refuses, with a remedy for a person, ends
the start at once.
"""

import asyncio
import random
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, TypeVar

from structlog.typing import FilteringBoundLogger

from trader.errors import RateLimited, Unreached

Answer = TypeVar("Answer")
Begin = Callable[[], Coroutine[Any, Any, bool]]

FIRST, LONGEST = 2.0, 60.0
"""Seconds between two tries: each pause is twice the one before it, up to the longest."""
_SPREAD = 0.2
_WALL = partial(datetime.now, UTC)


@dataclass(frozen=True, slots=True)
class Outage:
    """An exchange that a start cannot reach: since when, how often it was tried, why last, and when it is tried again.

    Times are this machine's: nobody tells the exchange's.
    """

    since: datetime
    tries: int
    why: str
    again: datetime


class Patience:
    """Begin again and again while the exchange cannot be reached.

    Args:
        told: hears of an outage after every try that met one, and None once the exchange answers again.
        idle: whether nothing of ours is on its way; then a stop ends a try at once, else the try ends first.
        log: says the same.
        sleep: waits for seconds that only count: an exchange that is out moves no clock, and a machine that has just
            booted may set its own.
        draw: a number from 0 to 1, so that those who lost the exchange together do not come back together.
        wall: this machine's time.
    """

    def __init__(
        self,
        told: Callable[[Outage | None], None],
        idle: Callable[[], bool],
        log: FilteringBoundLogger,
        sleep: Callable[[float], Coroutine[Any, Any, None]] = asyncio.sleep,
        draw: Callable[[], float] = random.random,
        wall: Callable[[], datetime] = _WALL,
    ) -> None:
        self._told = told
        self._idle = idle
        self._log = log
        self._sleep = sleep
        self._draw = draw
        self._wall = wall

    async def __call__(self, begin: Begin, stop: asyncio.Event) -> bool:
        """Return what `begin` returns once it does; False where somebody says stop first.

        Raises:
            TraderError: the start was refused.
        """
        pause, outage = FIRST, None
        while not stop.is_set():
            try:
                begun = await unless(stop, begin(), self._idle)
            except (Unreached, RateLimited) as error:
                seconds = pause * (1 + _SPREAD * (2 * self._draw() - 1))
                outage = self._missed(outage, str(error), seconds)
            else:
                if outage is not None and begun:
                    self._over(outage)
                return bool(begun)
            await unless(stop, self._sleep(seconds))
            pause = min(2 * pause, LONGEST)
        return False

    def _missed(self, before: Outage | None, why: str, seconds: float) -> Outage:
        """Tell of one more try that came to nothing, and in how many seconds another follows."""
        now = self._wall()
        outage = Outage(
            since=now if before is None else before.since,
            tries=1 if before is None else before.tries + 1,
            why=why,
            again=now + timedelta(seconds=seconds),
        )
        self._log.warning(
            "the exchange is out, the start waits",
            since=outage.since.isoformat(timespec="seconds"),
            tries=outage.tries,
            again_in=round(seconds, 1),
            error=why,
        )
        self._told(outage)
        return outage

    def _over(self, outage: Outage) -> None:
        lasted = (self._wall() - outage.since).total_seconds()
        self._log.warning("the exchange answers again", seconds=round(lasted), tries=outage.tries)
        self._told(None)


async def unless(
    stop: asyncio.Event, wanted: Coroutine[Any, Any, Answer], cut: Callable[[], bool] = lambda: True
) -> Answer | None:
    """Wait for something, but not longer than until somebody says stop; None where that came first.

    Args:
        stop: is set by whoever says stop.
        wanted: is cancelled then.
        cut: says, once it is set, whether it may be cancelled; otherwise its end is waited for all the same.
    """
    task, stopped = asyncio.ensure_future(wanted), asyncio.ensure_future(stop.wait())
    try:
        await asyncio.wait({task, stopped}, return_when=asyncio.FIRST_COMPLETED)
        return None if not task.done() and cut() else await task
    finally:
        for one in (task, stopped):
            one.cancel()
        await asyncio.gather(task, stopped, return_exceptions=True)


async def at_once(begin: Begin, stop: asyncio.Event) -> bool:
    """Begin once: what cannot be reached ends the start."""
    return await begin()
