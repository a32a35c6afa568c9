"""Virtual time: a loop that jumps to whatever is due next, and the true time all clocks derive from."""

import asyncio
import selectors
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Deadlock(RuntimeError):
    """Everybody waits and nothing will ever happen."""


class _Jumping(selectors.SelectSelector):
    """Waits for nothing: what would be waited for is passed over."""

    def __init__(self) -> None:
        super().__init__()
        self.jump: Callable[[float], None] = lambda seconds: None

    def select(self, timeout: float | None = None) -> Any:
        if timeout is None:
            raise Deadlock("no timer is set and nobody runs")
        if timeout > 0:
            self.jump(timeout)
        return []


class VirtualLoop(asyncio.SelectorEventLoop):
    """A loop whose seconds pass only when everybody sleeps."""

    def __init__(self) -> None:
        self.seconds = 0.0
        selector = _Jumping()
        selector.jump = self._jump
        super().__init__(selector)

    def time(self) -> float:
        return self.seconds

    def _jump(self, seconds: float) -> None:
        self.seconds += seconds

    def stand_still(self, seconds: float) -> None:
        """Let time pass in which nothing of this process runs: whatever falls due meanwhile is late."""
        self._jump(seconds)

    def add_signal_handler(self, sig: int, callback: Any, *args: Any) -> None:
        """Leave the machine's own signals alone: a life inside it is ended by its plan."""

    def clear(self) -> None:
        """Cancel whatever still waits."""
        tasks = asyncio.all_tasks(self)
        for task in tasks:
            task.cancel()
        if tasks:
            self.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))


class Timeline:
    """True time, and a machine whose wall clock may be wrong, stepped or suspended."""

    def __init__(self, loop: VirtualLoop, begin: int) -> None:
        self._loop = loop
        self._begin = begin
        self._suspended = 0.0
        self.skew = timedelta(0)

    def elapsed(self) -> float:
        """Return seconds since the beginning, as the exchange counts them."""
        return self._loop.seconds + self._suspended

    def now(self) -> int:
        """Return true time in epoch milliseconds."""
        return self._begin + round(self.elapsed() * 1000)

    def wall(self) -> datetime:
        """Return what the machine believes."""
        return _EPOCH + timedelta(milliseconds=self._begin, seconds=self.elapsed()) + self.skew

    def suspend(self, seconds: float) -> None:
        """Let time pass while the machine's monotonic clock stands still."""
        self._suspended += seconds


async def pass_time(seconds: float) -> None:
    """Let virtual time pass."""
    loop = asyncio.get_running_loop()
    passed = loop.create_future()
    loop.call_later(seconds, passed.set_result, None)
    await passed
