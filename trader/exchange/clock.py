"""The venue's clock: the wall clock corrected, or the embedded exchange's own."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from contextvars import ContextVar
from datetime import UTC, datetime, timedelta
from time import monotonic
from typing import Protocol

import aiohttp

from trader.errors import TraderError, Unreached
from trader.exchange.loopback import Loopback, open_session

SIM_TIME = "x-sim-time"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)
# A suspend or a step of the wall clock makes a longer sleep late by as much.
_PIECE = 20.0
_STEP = 1.0


class TapeEnded(TraderError):
    """The tape is over: the embedded exchange has no later time; not a failure."""

    exit_code = 0


def milliseconds(moment: datetime) -> int:
    """Return Unix time in whole milliseconds, rounding down."""
    return (moment - _EPOCH) // _MILLISECOND


def from_milliseconds(milliseconds: int) -> datetime:
    """Return aware UTC time of Unix milliseconds."""
    return _EPOCH + milliseconds * _MILLISECOND


class VenueClock(Protocol):
    """What the wire needs of a clock: the daemon's `Clock`, and ways to correct it."""

    @property
    def error(self) -> timedelta:
        """How far `now` may be from the venue's time, as measured last."""
        ...

    def now(self) -> datetime:
        """Return venue time, aware UTC."""
        ...

    def local(self) -> datetime:
        """Return the uncorrected time that offsets are measured against."""
        ...

    async def sleep_until(self, moment: datetime) -> None:
        """Return no earlier than `moment` of venue time."""
        ...

    def working(self) -> AbstractContextManager[None]:
        """Keep time from jumping while the body is awake."""
        ...

    def correct(self, offset: timedelta, error: timedelta) -> None:
        """Take a measured offset (venue minus local) and how far it may be wrong."""
        ...

    def heard(self, headers: Mapping[str, str]) -> None:
        """Take what an answer's headers (lower-case names) tell about time."""
        ...

    async def close(self) -> None:
        """Release sockets."""
        ...


def _wall() -> datetime:
    return datetime.now(UTC)


class WallClock:
    """The wall clock plus the measured offset, for real venues.

    `wall`, `sleep` and `monotonic_clock` are the machine's; tests give their own.
    """

    def __init__(
        self,
        wall: Callable[[], datetime] = _wall,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        monotonic_clock: Callable[[], float] = monotonic,
    ) -> None:
        self._wall = wall
        self._sleep = sleep
        self._offset = timedelta(0)
        self._error = timedelta(0)
        self._monotonic = monotonic_clock
        self._apart = self._lead()

    @property
    def error(self) -> timedelta:
        """Half the round trip of the last measurement."""
        return self._error

    def now(self) -> datetime:
        """Return venue time, aware UTC."""
        return self._wall() + self._offset

    def local(self) -> datetime:
        """Return the wall clock, uncorrected."""
        return self._wall()

    async def sleep_until(self, moment: datetime) -> None:
        """Return no earlier than `moment`, looking at the wall clock again at least every 20 seconds."""
        while (left := (moment - self.now()).total_seconds()) > 0:
            await self._sleep(min(left, _PIECE))

    def working(self) -> AbstractContextManager[None]:
        """Do nothing: this clock never jumps for a sleeper."""
        return nullcontext()

    def correct(self, offset: timedelta, error: timedelta) -> None:
        """Take a measured offset (venue minus local) and how far it may be wrong."""
        self._offset = offset
        self._error = error

    def jumped(self) -> bool:
        """Whether the clock was set or the machine slept since this was asked last: the offset may be wrong by as much.

        Then the wall clock and the one that only counts have moved apart by more than a second.
        """
        before, self._apart = self._apart, self._lead()
        return abs(self._apart - before) > _STEP

    def _lead(self) -> float:
        return self._wall().timestamp() - self._monotonic()

    def heard(self, headers: Mapping[str, str]) -> None:
        """Do nothing: a real venue's headers tell whole seconds at best."""

    async def close(self) -> None:
        """Do nothing: there is nothing to release."""


class StepClock:
    """The embedded exchange's clock: what its answers told last, moved on by a sleep.

    With `speed` None ("max") time is exactly what the last answer told, and a sleep costs none: the exchange is asked
    to play on. With a number, time runs at wall rate between answers and a sleep takes that fraction of its length.
    Of several sleepers the earliest is served first, and nobody jumps while a task inside `working` is awake; the
    daemon's cycle runs inside it. A task inside `working` must not wait for a sleeper outside.

    Args:
        loopback: the exchange's port and authority.
        control: the token of its control calls.
        start: venue time when it got ready.
        speed: venue seconds per second of sleep, None for max.
    """

    def __init__(
        self, loopback: Loopback, *, control: str, start: datetime, speed: float | None, timeout: float = 60.0
    ) -> None:
        self._loopback = loopback
        self._control = control
        self._speed = speed
        self._timeout = aiohttp.ClientTimeout(total=timeout)
        self._session: aiohttp.ClientSession | None = None
        self._seen = start
        self._seen_at = monotonic()
        self._sleepers: dict[object, datetime] = {}
        self._turn = asyncio.Lock()
        self._changed = asyncio.Event()
        self._awake = 0
        self._inside: ContextVar[bool] = ContextVar("working", default=False)

    @property
    def error(self) -> timedelta:
        """Nothing: the exchange itself tells this clock."""
        return timedelta(0)

    def now(self) -> datetime:
        """Return venue time, aware UTC."""
        if self._speed is None:
            return self._seen
        return self._seen + timedelta(seconds=monotonic() - self._seen_at)

    def local(self) -> datetime:
        """Return the same as `now`: there is no other clock."""
        return self.now()

    async def sleep_until(self, moment: datetime) -> None:
        """Return no earlier than `moment`, asking the exchange to play on.

        Raises:
            TapeEnded: the tape ends before `moment`.
            Unreached: the embedded exchange does not answer.
        """
        with self._asleep(moment):
            while self.now() < moment:
                async with self._turn:
                    # Whoever goes to sleep in the same turn of the loop is counted before time jumps.
                    await asyncio.sleep(0)
                    if self.now() < moment:
                        await self._approach(min(self._sleepers.values()))

    @contextmanager
    def working(self) -> Iterator[None]:
        """Keep time from jumping while the body is awake; its own sleeps let time jump."""
        if self._inside.get():
            yield
            return
        token = self._inside.set(True)
        self._awake += 1
        try:
            yield
        finally:
            self._awake -= 1
            self._inside.reset(token)
            self._changed.set()

    def correct(self, offset: timedelta, error: timedelta) -> None:
        """Do nothing: every answer already tells this clock."""

    def heard(self, headers: Mapping[str, str]) -> None:
        """Take the venue time an answer tells; an answer overtaken by a later one tells nothing."""
        told = headers.get(SIM_TIME)
        if told is not None and told.isdecimal():
            self._take(int(told))

    async def close(self) -> None:
        """Release sockets."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    @contextmanager
    def _asleep(self, moment: datetime) -> Iterator[None]:
        key = object()
        works = self._inside.get()
        self._sleepers[key] = moment
        self._awake -= works
        self._changed.set()
        try:
            yield
        finally:
            del self._sleepers[key]
            self._awake += works

    async def _approach(self, target: datetime) -> None:
        self._changed.clear()
        if target <= self.now():
            return
        if self._awake > 0:
            await self._changed.wait()
            return
        if self._speed is not None:
            with suppress(TimeoutError):
                async with asyncio.timeout((target - self.now()).total_seconds() / self._speed):
                    await self._changed.wait()
                    return
        await self._advance(target)

    async def _advance(self, target: datetime) -> None:
        if self._session is None:
            self._session = open_session(self._loopback)
        try:
            async with self._session.post(
                "https://localhost/sim/v1/advance",
                json={"to": -((_EPOCH - target) // _MILLISECOND)},
                headers={"X-Sim-Control": self._control},
                timeout=self._timeout,
            ) as response:
                status, answer = response.status, await response.json(content_type=None)
        except (aiohttp.ClientError, TimeoutError, ValueError) as error:
            raise self._lost(type(error).__name__) from error
        if status != 200 or not isinstance(answer, dict) or not isinstance(answer.get("time"), int):
            raise self._lost(f"HTTP {status}")
        self._take(answer["time"])
        if answer.get("ended") and from_milliseconds(answer["time"]) < target:
            raise TapeEnded(f"The tape ended at {from_milliseconds(answer['time']):%Y-%m-%d %H:%M:%S}Z.")

    def _take(self, told: int) -> None:
        moment = from_milliseconds(told)
        if moment >= self._seen:
            self._seen = moment
            self._seen_at = monotonic()

    def _lost(self, reason: str) -> Unreached:
        return Unreached(
            f"The embedded exchange on port {self._loopback.port} did not move its clock ({reason}); start it again."
        )
