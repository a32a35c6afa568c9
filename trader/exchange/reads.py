"""Asking again: reads only, a bounded number of times, on the venue's clock. An order never comes here."""

from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from typing import TypeVar

from tenacity import AsyncRetrying, RetryCallState, retry_if_exception

from trader.errors import ExchangeError, RateLimited
from trader.exchange.clock import VenueClock
from trader.exchange.outcome import CLOCK_SKEW, retryable

Answer = TypeVar("Answer")

_ATTEMPTS = 5
_PATIENCE = timedelta(seconds=60)
_FIRST_WAIT = 0.25
_LONGEST_WAIT = 8.0


class Reads:
    """Asks until an answer comes, a definite no, five attempts, or a minute of venue time.

    Args:
        clock: waits pass on it.
        resync: is called before asking again where the exchange found our clock wrong.
    """

    def __init__(self, clock: VenueClock, resync: Callable[[], Awaitable[object]]) -> None:
        self._clock = clock
        self._resync = resync

    async def ask(self, once: Callable[[], Awaitable[Answer]]) -> Answer:
        """Call `once` until it returns.

        Raises:
            ExchangeError: the last one, where patience ended or the answer was a definite no.
        """
        deadline = self._clock.now() + _PATIENCE
        try:
            return await once()
        except ExchangeError as error:
            # nearly every read is answered at once; only one that is not is worth what counting attempts costs
            failed: ExchangeError | None = error

        async def attempt() -> Answer:
            nonlocal failed
            first, failed = failed, None
            if first is not None:
                raise first
            return await once()

        retrying = AsyncRetrying(
            retry=retry_if_exception(retryable),
            wait=self._wait,
            stop=lambda state: self._enough(state, deadline),
            sleep=self._sleep,
            before_sleep=self._prepare,
            reraise=True,
        )
        return await retrying(attempt)

    def _wait(self, state: RetryCallState) -> float:
        error = _error(state)
        if isinstance(error, RateLimited):
            return max(0.0, (error.retry_at - self._clock.now()).total_seconds())
        return min(_LONGEST_WAIT, _FIRST_WAIT * 4.0 ** (state.attempt_number - 1))

    def _enough(self, state: RetryCallState, deadline: datetime) -> bool:
        waited = self._clock.now() + timedelta(seconds=state.upcoming_sleep)
        return state.attempt_number >= _ATTEMPTS or waited > deadline

    async def _sleep(self, seconds: float) -> None:
        await self._clock.sleep_until(self._clock.now() + timedelta(seconds=seconds))

    async def _prepare(self, state: RetryCallState) -> None:
        error = _error(state)
        if isinstance(error, ExchangeError) and error.code == CLOCK_SKEW:
            await self._resync()


def _error(state: RetryCallState) -> BaseException | None:
    return state.outcome.exception() if state.outcome is not None else None
