"""One request: counted, sent, classified, validated; and how reads repeat and run side by side."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Mapping
from datetime import datetime, timedelta
from typing import TypeVar

from ccxt.base.errors import BaseError  # type: ignore[import-untyped]
from pydantic import TypeAdapter

from trader.errors import ExchangeError, RateLimited
from trader.exchange import answers, endpoints, outcome
from trader.exchange.clock import VenueClock, from_milliseconds
from trader.exchange.endpoints import Endpoint
from trader.exchange.limits import Limiter
from trader.exchange.reads import Reads
from trader.exchange.wire import Wire

T = TypeVar("T")
_NARROW = timedelta(milliseconds=500)
"""How far a measurement of the clock may be wrong without being repeated."""
_MEASUREMENTS = 4
_Classify = Callable[[BaseException, str, datetime, tuple[str, ...]], ExchangeError]


class Calls:
    """The requests of one gateway.

    Args:
        wire: the signed connection.
        clock: the venue's clock.
        limiter: our own count of weights and orders.
        secrets: key and secret, kept out of every message; empty without a key.
        parallel: how many reads of one call may be under way at once.
    """

    def __init__(
        self, wire: Wire, clock: VenueClock, limiter: Limiter, *, secrets: tuple[str, ...], parallel: int
    ) -> None:
        self.wire = wire
        self.clock = clock
        self.limiter = limiter
        self.secrets = secrets
        self._parallel = parallel
        self._reads = Reads(clock, self._measure)

    async def sync_clock(self) -> timedelta:
        """Measure venue time minus local time and hand it to the clock."""
        return await self._reads.ask(self._measure)

    async def repeat(self, once: Callable[[], Awaitable[T]]) -> T:
        """Call a read until it brings an answer, a definite no, or patience ends."""
        return await self._reads.ask(once)

    async def ask(self, endpoint: Endpoint, parameters: Mapping[str, object], shape: TypeAdapter[T]) -> T:
        """Read an endpoint, again where it brings nothing usable."""
        return await self._reads.ask(lambda: self.once(endpoint, parameters, shape))

    async def once(self, endpoint: Endpoint, parameters: Mapping[str, object], shape: TypeAdapter[T]) -> T:
        """Request an endpoint exactly once; failures mean what they mean for a read."""
        await self.limiter.admit(endpoint.weight)
        raw = await self._request(endpoint, parameters, outcome.read_failure)
        return answers.read(shape, raw, endpoint.where)

    async def post_order(self, endpoint: Endpoint, parameters: Mapping[str, object]) -> object:
        """Post an order exactly once and return the raw answer; failures mean what they mean for an order."""
        return await self._request(endpoint, parameters, outcome.order_failure)

    async def side_by_side(self, calls: Iterable[Callable[[], Awaitable[T]]]) -> list[T]:
        """Run reads side by side and keep their order; the first failure starts no more and leaves none running."""
        waiting = deque(enumerate(calls))
        found: dict[int, T] = {}

        async def work() -> None:
            while waiting:
                place, call = waiting.popleft()
                try:
                    found[place] = await call()
                finally:
                    if place not in found:
                        waiting.clear()

        tasks = [asyncio.create_task(work()) for _ in range(min(self._parallel, len(waiting)))]
        try:
            await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        return [found[place] for place in sorted(found)]

    async def close(self) -> None:
        """Release sockets."""
        await self.wire.close()

    async def _measure(self) -> timedelta:
        """Look at the venue's clock, again where the answer was long under way: the narrowest look counts.

        A machine that sleeps, or a clock that is set, while the answer is under way puts it off by half of that.
        """
        offset, error = await self._look_at_clock()
        for _ in range(_MEASUREMENTS - 1):
            if error <= _NARROW:
                break
            offset, error = min((offset, error), await self._look_at_clock(), key=lambda look: look[1])
        self.clock.correct(offset, error)
        return offset

    async def _look_at_clock(self) -> tuple[timedelta, timedelta]:
        """Ask for the venue's time once; return venue minus local time, and how far that may be wrong."""
        # what our own limiter makes us wait is no part of the round trip
        await self.limiter.admit(endpoints.TIME.weight)
        sent = self.clock.local()
        raw = await self._request(endpoints.TIME, {}, outcome.read_failure)
        received = self.clock.local()
        answer = answers.read(answers.SERVER_TIME, raw, endpoints.TIME.where)
        offset = from_milliseconds(answer.server_time) - (sent + (received - sent) / 2)
        return offset, abs(received - sent) / 2

    async def _request(self, endpoint: Endpoint, parameters: Mapping[str, object], classify: _Classify) -> object:
        try:
            raw: object = await getattr(self.wire, endpoint.method)(dict(parameters))
        except BaseError as error:
            failure = classify(error, endpoint.where, self.clock.now(), self.secrets)
        else:
            return raw
        # Raised here and not above, so that no traceback leads to an exception whose text is a signed address.
        if isinstance(failure, RateLimited):
            self.limiter.cool_down(failure.retry_at)
        raise failure
