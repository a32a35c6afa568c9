"""What the daemon needs from the outside, declared by its user."""

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Protocol

import polars as pl

from trader.domain.account import Account, Income, MarginMode, Setup
from trader.domain.instrument import Instrument
from trader.domain.interval import Interval
from trader.domain.order import Fill, Order, OrderRequest
from trader.domain.stop import Stop, StopRequest


class Clock(Protocol):
    """The venue's clock: the one time everything here reads."""

    def now(self) -> datetime:
        """Return venue time, aware UTC."""
        ...

    async def sleep_until(self, moment: datetime) -> None:
        """Return no earlier than `moment` of venue time."""
        ...

    def working(self) -> AbstractContextManager[None]:
        """Keep a clock that can jump from jumping while the body is awake."""
        ...


class Gateway(Protocol):
    """One account on one exchange. Every method may raise `ExchangeError`; no answer is ever invented."""

    async def sync_clock(self) -> timedelta:
        """Measure venue time minus local time and hand it to the clock."""
        ...

    async def candles(
        self, symbols: Sequence[str], interval: Interval, count: int, least: int | None = None
    ) -> tuple[pl.DataFrame, Mapping[str, str]]:
        """Return the last `count` whole closed candles of each symbol as a candle frame (see `market.candles`).

        Where `least` says how few of a young symbol will do, what cannot be had of one symbol leaves out that one, and
        the second value says by name why; without it every symbol is needed, with all of them.
        """
        ...

    async def funding_paid(self, symbols: Sequence[str], since: datetime) -> pl.DataFrame:
        """Return the funding stamps after `since`, as `market.funding.with_funding` reads them."""
        ...

    async def listed(self) -> tuple[Mapping[str, Instrument], Mapping[str, str]]:
        """Return today's trading rules of every USDT-margined perpetual, and by name whose cannot be used and why."""
        ...

    async def prices(self, symbols: Sequence[str]) -> Mapping[str, Decimal]:
        """Return mark prices; of several symbols those that the exchange does not tell are absent.

        Where none is told it raises.
        """
        ...

    async def funding_rates(self, symbols: Sequence[str]) -> Mapping[str, Decimal]:
        """Return the rates of the next funding, positive where longs pay."""
        ...

    async def instruments(self, symbols: Sequence[str]) -> Mapping[str, Instrument]:
        """Return today's trading rules with leverage brackets."""
        ...

    async def any_instruments(self, symbols: Sequence[str]) -> tuple[Mapping[str, Instrument], Mapping[str, str]]:
        """Return today's rules of symbols of whatever kind, and by name whose cannot be used and why.

        Nothing is opened by them: they are for what is held already, in another margin or until a delivery.
        """
        ...

    async def account(self) -> Account:
        """Return equity and positions; an incomplete answer raises."""
        ...

    async def setup(self, symbol: str) -> Setup:
        """Return how the account is configured for a symbol."""
        ...

    async def setups_of(self, symbols: Sequence[str]) -> list[Setup]:
        """Return how the account is configured for each of some symbols."""
        ...

    async def burns_fees(self) -> bool | None:
        """Whether the account pays its fees in BNB, None where the exchange does not tell."""
        ...

    async def set_leverage(self, symbol: str, leverage: int) -> None:
        """Set a symbol's leverage."""
        ...

    async def set_margin_mode(self, symbol: str, mode: MarginMode) -> None:
        """Set a symbol's margin mode; already set is fine."""
        ...

    async def send(self, order: OrderRequest) -> Order:
        """Post one order that never rests, once.

        Raises:
            Rejected: a definite no.
            NotSent, RateLimited: surely without effect; may be sent again.
            Denied: refused on this side.
            OutcomeUnknown: anything else; only the order protocol may settle it.
        """
        ...

    async def find(self, symbol: str, client_id: str) -> Order | None:
        """Return the order of that name, or None where the exchange says it knows none."""
        ...

    async def find_by_exchange_id(self, symbol: str, exchange_id: str) -> Order | None:
        """Return the order with the exchange's own number, or None where it says it knows none."""
        ...

    async def fills(self, symbol: str, *, order: Order | None = None, since: str | None = None) -> list[Fill]:
        """Return trades of one order, or all of a symbol after the trade id `since`, to the end, oldest first."""
        ...

    async def incomes(self, since: datetime) -> list[Income]:
        """Return every booking at or after `since`, oldest first, paged to the end."""
        ...

    async def open_orders(self, *, conditional: bool = True) -> list[Order]:
        """Return orders at rest on the whole account; conditional ones too, which an exchange may keep apart."""
        ...

    async def close(self) -> None:
        """Release sockets."""
        ...


class Stops(Protocol):
    """Where protective stops rest. Every method may raise `ExchangeError`; no answer is ever invented."""

    async def place_stop(self, stop: StopRequest) -> Stop:
        """Post one stop, once; raises as `Gateway.send` does."""
        ...

    async def find_stop(self, symbol: str, client_id: str) -> Stop | None:
        """Return the stop of that name, whatever became of it, or None where the exchange says it knows none."""
        ...

    async def cancel_stop(self, symbol: str, client_id: str) -> None:
        """Cancel the stop of that name; one that does not wait any more is fine."""
        ...
