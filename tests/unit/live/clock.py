"""A clock that stands still while anybody works, and jumps when everybody sleeps."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import datetime

from trader.errors import TraderError


class ClockEnded(TraderError):
    """There is no later time, as at the end of a tape."""


class FakeClock:
    """Venue time; of several sleepers the earliest is woken first.

    `overshoots` maps a moment to a later one: whoever sleeps until the first wakes at the second, as after a suspend.
    `patience` is how many turns of the loop others get before time jumps; `frozen` keeps it from jumping at all.
    """

    def __init__(self, start: datetime) -> None:
        self.time = start
        self.overshoots: dict[datetime, datetime] = {}
        self.patience = 3
        self.frozen = False
        self.ends: datetime | None = None
        self._sleepers: dict[object, datetime] = {}
        self._awake = 0
        self._inside: ContextVar[bool] = ContextVar("inside", default=False)

    def now(self) -> datetime:
        return self.time

    async def sleep_until(self, moment: datetime) -> None:
        if self.ends is not None and moment > self.ends:
            raise ClockEnded(f"nothing comes after {self.ends}")
        key, works = object(), self._inside.get()
        self._sleepers[key] = moment
        self._awake -= works
        try:
            while self.time < moment:
                for _ in range(self.patience):
                    await asyncio.sleep(0)
                if not self.frozen and self._awake == 0 and self.time < moment == min(self._sleepers.values()):
                    self.time = max(moment, self.overshoots.pop(moment, moment))
        finally:
            del self._sleepers[key]
            self._awake += works

    @contextmanager
    def working(self) -> Iterator[None]:
        token = self._inside.set(True)
        self._awake += 1
        try:
            yield
        finally:
            self._awake -= 1
            self._inside.reset(token)
