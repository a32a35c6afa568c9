"""Do the same for several symbols, a few of them at once."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Iterable
from typing import TypeVar

T = TypeVar("T")

UNREACHED = 2
"""After how many symbols in a row for which the exchange could not be reached the others are not tried."""


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
