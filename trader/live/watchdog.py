"""End a process whose event loop stands still: nothing inside the loop could."""

import asyncio
import faulthandler
import os
import sys
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from time import monotonic

from trader.errors import TraderError

_BEAT_SECONDS = 1.0


def leave(seconds: float) -> None:
    """Dump every thread's stack and end the process as a crash; the journal is durable at every step."""
    sys.stderr.write(f"trader: the event loop stood still for {seconds:.0f} s; every stack follows, then the end.\n")
    faulthandler.dump_traceback(all_threads=True)
    os._exit(TraderError.exit_code)


class Watchdog:
    """A thread that expects a beat at least every `stall` seconds.

    A process that was stopped or asleep as a whole is given time to beat again: the thread then was not awake either.

    Args:
        stall: seconds without a beat after which `stalled` is called.
        stalled: ends the process; is told for how long there was no beat.
    """

    def __init__(self, stall: float, stalled: Callable[[float], None] = leave) -> None:
        self._stall = stall
        self._stalled = stalled
        self._beaten = monotonic()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="watchdog", daemon=True)

    def start(self) -> None:
        """Begin to expect beats."""
        self.beat()
        self._thread.start()

    def beat(self) -> None:
        """Say that the loop runs."""
        self._beaten = monotonic()

    def stop(self) -> None:
        """Expect nothing any more."""
        self._ended.set()
        self._thread.join()

    def _watch(self) -> None:
        pause = self._stall / 4
        looked = monotonic()
        while not self._ended.wait(pause):
            now = monotonic()
            if now - looked > 2 * pause + _BEAT_SECONDS:
                self._beaten = now
            looked = now
            if now - self._beaten > self._stall:
                self._stalled(now - self._beaten)


@asynccontextmanager
async def watched(stall: float, stalled: Callable[[float], None] = leave) -> AsyncIterator[None]:
    """Watch the running loop while the body lasts."""
    watchdog = Watchdog(stall, stalled)

    async def beat() -> None:
        while True:
            watchdog.beat()
            await asyncio.sleep(min(_BEAT_SECONDS, stall / 4))

    watchdog.start()
    beating = asyncio.create_task(beat())
    try:
        yield
    finally:
        beating.cancel()
        watchdog.stop()
