"""No step waits for ever: every call of a gateway ends within a bound of real time."""

import asyncio
from collections.abc import Awaitable
from functools import wraps
from inspect import iscoroutinefunction
from typing import Any, TypeVar, cast

from trader.errors import ExchangeError, OutcomeUnknown, Unreached
from trader.live.ports import Gateway, Stops

_Answer = TypeVar("_Answer")
_Port = TypeVar("_Port", bound=Gateway | Stops)
_POSTS = ("send", "place_stop")


class _Bounded:
    def __init__(self, gateway: Gateway | Stops, seconds: float) -> None:
        self._gateway = gateway
        self._seconds = seconds

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._gateway, name)
        if not iscoroutinefunction(method):
            return method

        @wraps(method)
        async def call(*given: Any, **named: Any) -> Any:
            try:
                async with asyncio.timeout(self._seconds):
                    return await method(*given, **named)
            except TimeoutError:
                said = f"The exchange did not bring {name} to an end within {self._seconds:g} s"
            if name in _POSTS:
                raise OutcomeUnknown(f"{said}; what became of the order is looked up.")
            raise Unreached(f"{said}; it is asked again.")

        return call


def bounded(gateway: _Port, seconds: float) -> _Port:
    """Return a gateway whose every call ends within so many seconds.

    A read that takes longer raises Unreached, an order OutcomeUnknown: the order protocol settles it.
    """
    return cast(_Port, _Bounded(gateway, seconds))


async def within(seconds: float, what: str, work: Awaitable[_Answer]) -> _Answer:
    """Do something within so many seconds; `what` begins the sentence where it comes to no end.

    Raises:
        ExchangeError: it came to none; what is durable by then decides how it goes on.
    """
    try:
        async with asyncio.timeout(seconds):
            return await work
    except TimeoutError:
        raise ExchangeError(f"{what} came to no end within {seconds:g} s; it is tried again.") from None
