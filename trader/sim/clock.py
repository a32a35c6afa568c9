"""Own the venue's time: a millisecond a request, or the wall clock at some rate, and jumps on command."""

import math
import time
from collections.abc import Callable

from trader.sim.errors import StartError

REAL = "real"


def real_now() -> int:
    """Give the time outside, in epoch milliseconds."""
    return time.time_ns() // 1_000_000


class Clock:
    """Tell the venue's time in epoch milliseconds; it never goes back and never passes ``end``.

    ``rate`` None is stepped: every request is one millisecond later than the one before. Otherwise the time runs at
    ``rate`` times the wall's, from the committed instant at the start of the process. ``advance`` jumps in every mode.
    """

    def __init__(self, now: int, end: int, rate: float | None, elapsed: Callable[[], float] = time.monotonic) -> None:
        self.now = now
        self.end = end
        self.rate = rate
        self._elapsed = elapsed
        self._base = now
        self._since = elapsed()

    def tick(self) -> int:
        """Give the instant of a new request."""
        if self.rate is None:
            return min(self.now + 1, self.end)
        return self.read()

    def read(self) -> int:
        """Give the present instant without spending any."""
        if self.rate is None:
            return self.now
        run = int((self._elapsed() - self._since) * 1000 * self.rate)
        return max(self.now, min(self._base + run, self.end))

    def settle(self, now: int) -> None:
        """Take an instant as reached."""
        self.now = now

    def jump(self, to: int) -> None:
        """Stand at ``to`` and go on from there."""
        self.now = self._base = to
        self._since = self._elapsed()


def parse_rate(text: str) -> float | None:
    """Read ``stepped`` (None), ``wall`` and ``real`` (1) or a factor."""
    if text == "stepped":
        return None
    if text in ("wall", REAL):
        return 1.0
    try:
        rate = float(text)
    except ValueError:
        rate = math.nan
    if not (math.isfinite(rate) and rate > 0):
        raise StartError(f"The clock {text!r} is unknown; give stepped, wall, real or a factor above zero.", 2)
    return rate
