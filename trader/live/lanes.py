"""Do the same for several symbols: a few of them at once, or one after the other while the exchange is there at all."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Iterable
from typing import TypeVar

from trader.errors import ExchangeError, Unreached
from trader.live.ports import Gateway

T = TypeVar("T")

UNREACHED, ENOUGH = 2, 3
"""After how many symbols in a row that cannot be reached the exchange is asked whether it is there, and after how many
it is taken for gone whatever it says: what tells the time may be well where nothing else is."""


class Reach:
    """Tells a symbol that cannot be reached from an exchange that cannot, so that the one costs no other its turn."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        self._row = 0

    async def lost(self, error: Exception | None = None) -> bool:
        """Hear how it went with a symbol; True where the exchange does not even tell the time, or many failed."""
        self._row = self._row + 1 if isinstance(error, Unreached) else 0
        if self._row != UNREACHED:
            return self._row >= ENOUGH
        try:
            await self._gateway.sync_clock()
        except ExchangeError:
            return True
        return False


async def side_by_side(items: Iterable[T], do: Callable[[T], Awaitable[None]], parallel: int) -> None:
    """Call `do` with every item, at most so many at once, begun in their order; the first failure ends the others."""
    waiting = deque(items)

    async def work() -> None:
        while waiting:
            await do(waiting.popleft())

    workers = [asyncio.ensure_future(work()) for _ in range(min(parallel, len(waiting)) - 1)]
    try:
        await work()
        await asyncio.gather(*workers)
    finally:
        waiting.clear()
        for worker in workers:
            worker.cancel()
        await asyncio.gather(*workers, return_exceptions=True)
