"""Close what is held outside any decision."""

import asyncio
from collections.abc import Mapping, Sequence
from datetime import datetime
from decimal import Decimal

from trader.domain.instrument import Instrument
from trader.domain.interval import Interval
from trader.domain.order import FLATTENING, client_id
from trader.errors import ConfigError, ExchangeError
from trader.execution.plan import closing_legs
from trader.journal.journal import Journal
from trader.journal.rows import Intent
from trader.live.lanes import Reach
from trader.live.ports import Clock, Gateway
from trader.live.router import Router


async def rules_of(gateway: Gateway, symbols: Sequence[str]) -> tuple[Mapping[str, Instrument], Mapping[str, str]]:
    """Return the trading rules of symbols, and of which the exchange tells none that can be used, and why.

    What a person has adopted may be of a kind that no strategy trades, a perpetual in USDC or a quarterly: it is ours,
    and is protected and closed as all else is.

    Raises:
        ExchangeError: the exchange could not be used.
    """
    try:
        return await gateway.instruments(symbols) if symbols else {}, {}
    except (ConfigError, ExchangeError):
        # one that cannot be told fails the answer of all
        return await gateway.any_instruments(symbols)


class Rulebook:
    """The trading rules of some symbols, asked for once, and only where one of them is needed."""

    def __init__(self, gateway: Gateway, symbols: Sequence[str]) -> None:
        self._gateway = gateway
        self._symbols = symbols
        self._asking = asyncio.Lock()
        self._told: tuple[Mapping[str, Instrument], Mapping[str, str]] | None = None

    async def of(self, symbol: str) -> Instrument:
        """Return the rules of one symbol.

        Raises:
            ExchangeError: they are not told, or not of that one.
        """
        async with self._asking:
            if self._told is None:
                self._told = await rules_of(self._gateway, self._symbols)
            told, untold = self._told
            if symbol in told:
                return told[symbol]
        raise ExchangeError(f"{untold[symbol]}, so no stop can be placed; close {symbol} by hand on the exchange")


class Closer:
    """Send reduce-only orders that belong to no decision, each under a name of its own."""

    def __init__(
        self, instance: str, interval: Interval, gateway: Gateway, journal: Journal, clock: Clock, router: Router
    ) -> None:
        self._gateway = gateway
        self._instance = instance
        self._interval = interval
        self._journal = journal
        self._clock = clock
        self._router = router

    async def close(self, held: Mapping[str, Decimal], instruments: Mapping[str, Instrument]) -> None:
        """Close signed quantities, symbols side by side, and see every order to its end.

        All orders are durable before the first is sent. A symbol that fails does not stop the others; an exchange that
        cannot be asked at all does.

        Raises:
            Mismatch, ExchangeError: as `Router.carry_all` does, once all the others are at their end.
        """
        intents, failed, reach = list[Intent](), list[ExchangeError](), Reach(self._gateway)
        for symbol, quantity in held.items():
            try:
                for leg in closing_legs(symbol, quantity, instruments[symbol], FLATTENING):
                    intents.append(await self._intent(symbol, leg.quantity))
                    self._journal.intend(intents[-1])
                await reach.lost()
            except ExchangeError as error:
                failed.append(error)
                if await reach.lost(error):
                    break
        if intents:
            await self._router.carry_all(intents)
        for failure in failed:
            raise failure

    async def _intent(self, symbol: str, quantity: Decimal) -> Intent:
        now = self._clock.now()
        close = self._interval.floor(now)
        attempt = await self._free_attempt(close, symbol)
        return Intent(
            client_id=client_id(self._instance, close, symbol, FLATTENING, attempt),
            close=close,
            symbol=symbol,
            leg=FLATTENING,
            attempt=attempt,
            quantity=quantity,
            reduce_only=True,
            intended_at=now,
            not_after=now + self._interval.delta,
        )

    async def _free_attempt(self, close: datetime, symbol: str) -> int:
        """Return the first attempt whose name neither the journal nor, from before this process, the exchange knows."""
        attempt = 0
        while True:
            name = client_id(self._instance, close, symbol, FLATTENING, attempt)
            if self._journal.order(name) is None and await self._router.namesake(symbol, close, name) is None:
                return attempt
            attempt += 1
