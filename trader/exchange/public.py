"""What an exchange tells everybody: its time, candles, prices, funding and rules."""

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, TypeVar

import polars as pl
from pydantic import TypeAdapter

from trader.domain.instrument import Bracket, Instrument
from trader.domain.interval import Interval
from trader.errors import ConfigError, ExchangeError
from trader.exchange import answers, endpoints, mapping
from trader.exchange.burst import burst
from trader.exchange.calls import Calls
from trader.exchange.clock import from_milliseconds, milliseconds
from trader.exchange.endpoints import Endpoint
from trader.exchange.klines import Span, Unpublished, page_of
from trader.exchange.mapping import Funding
from trader.market.tables import TIME

T = TypeVar("T")
Stamp = TypeVar("Stamp", answers.FundingStamp, answers.FundingRow)

_PAGE = 1000
_SETTLED = timedelta(minutes=10)  # after its close nobody tells a candle as it was before any more
_BRACKETS_KEPT = timedelta(hours=1)
_FEW = 10
_USUAL_HOURS = 8
_PAID: dict[str, Any] = {"symbol": pl.String, "funding_time": TIME, "funding_rate": pl.Float64, "hours": pl.Int64}


class Market:
    """The public part of a gateway; leverage brackets are told with a key only.

    Args:
        calls: its requests.
    """

    def __init__(self, calls: Calls) -> None:
        self._calls = calls
        self._clock = calls.clock
        self._limiter = calls.limiter
        self._brackets: dict[str, tuple[Bracket, ...]] = {}
        self._brackets_at: datetime | None = None

    @property
    def keyed(self) -> bool:
        """Whether there is an API key, without which nothing private can be asked."""
        return bool(self._calls.secrets)

    async def sync_clock(self) -> timedelta:
        """Measure venue time minus local time and hand it to the clock."""
        return await self._calls.sync_clock()

    async def candles(
        self, symbols: Sequence[str], interval: Interval, count: int, least: int | None = None
    ) -> tuple[pl.DataFrame, Mapping[str, str]]:
        """Return the last whole closed candles of symbols as a candle frame, and who is not in it and why.

        Closed is what surely is by the venue's clock: its measured error counts against a candle. The exchange may
        publish a candle late; then the last ones are those before it.

        Args:
            symbols: whose.
            interval: of the candles.
            count: how many of each.
            least: how few of a young symbol will do; what cannot be had of one symbol leaves out that one. None where
                every symbol is needed with all of them.

        Raises:
            DataError: a candle of a symbol that is needed is missing or impossible.
        """
        span = Span.ending(interval, count, self._clock.now() - self._clock.error)
        try:
            return await burst(self._calls, symbols, span, least)
        except Unpublished:
            return await burst(self._calls, symbols, span.before(), least)

    async def klines(self, symbol: str, interval: Interval, start: datetime, end: datetime) -> pl.DataFrame:
        """Return the first closed candles of a native interval in [start, end), a thousand at most; needs no key.

        Where the exchange has none, there is a gap; empty where it has none at all, or none that is surely whole.
        """
        now = self._clock.now() - self._clock.error
        end = min(end, now)
        # one row more: the newest candle is whole where the one after it is told
        limit = min(_PAGE, max(1, (end - start) // interval.delta) + 1)
        parameters = {
            "symbol": symbol,
            "interval": str(interval),
            "startTime": milliseconds(start),
            "endTime": milliseconds(end),
            "limit": limit,
        }
        endpoint = endpoints.klines(limit)
        rows = await self._calls.ask(endpoint, parameters, answers.ROWS)
        return page_of(symbol, rows, interval, start, end, endpoint.where, settled=now - _SETTLED)

    async def prices(self, symbols: Sequence[str]) -> Mapping[str, Decimal]:
        """Return mark prices; of several symbols those that the exchange does not tell are absent."""
        return {row.symbol: row.mark_price for row in await self._premium(symbols)}

    async def funding_rates(self, symbols: Sequence[str]) -> Mapping[str, Decimal]:
        """Return the rates of the next funding, positive where longs pay."""
        told = {row.symbol: row.last_funding_rate for row in await self._premium(symbols)}
        return {symbol: rate for symbol, rate in told.items() if rate is not None}

    async def _premium(self, symbols: Sequence[str]) -> list[answers.PremiumIndex]:
        if len(symbols) == 1:
            row = await self._calls.ask(endpoints.PREMIUM_INDEX, {"symbol": symbols[0]}, answers.PREMIUM_INDEX)
            return [known({row.symbol: row}, symbols[0], endpoints.PREMIUM_INDEX)]
        # all at once: what is wrong with one is not in the way of the others, and their prices are of one moment
        rows = await self._calls.ask(endpoints.ALL_PREMIUM_INDEX, {}, answers.ROWS_OF_OBJECTS)
        return _usable({str(row.get("symbol")): row for row in rows}, symbols)

    async def instruments(self, symbols: Sequence[str]) -> Mapping[str, Instrument]:
        """Return today's trading rules, with leverage brackets (at most an hour old) where there is a key.

        Raises:
            ConfigError: a symbol is not a USDT-margined perpetual of this venue.
        """
        rows = await self._perpetuals()
        brackets = await self._leverage_brackets(symbols) if self.keyed else {}
        where = endpoints.EXCHANGE_INFO.where
        found = {}
        for symbol in symbols:
            if symbol not in rows:
                raise ConfigError(
                    f"{symbol} is not a USDT-margined perpetual of this venue; check the strategy's symbol."
                )
            if self.keyed:
                known(brackets, symbol, endpoints.BRACKETS)
            row = answers.read(answers.SYMBOL, rows[symbol], where)
            found[symbol] = mapping.instrument_of(row, brackets.get(symbol, ()), where)
        return found

    async def listed(self) -> tuple[Mapping[str, Instrument], Mapping[str, str]]:
        """Return today's rules of every USDT-margined perpetual, and of what is traded whose cannot be used and why."""
        rows = await self._perpetuals()
        brackets = await self._leverage_brackets(rows) if self.keyed else {}
        where = endpoints.EXCHANGE_INFO.where
        found: dict[str, Instrument] = {}
        unusable: dict[str, str] = {}
        for symbol, raw in rows.items():
            try:
                if self.keyed:
                    known(brackets, symbol, endpoints.BRACKETS)
                row = answers.read(answers.SYMBOL, raw, where)
                found[symbol] = mapping.instrument_of(row, brackets.get(symbol, ()), where)
            except ExchangeError as error:
                if raw.get("status") == "TRADING":
                    unusable[symbol] = f"its rules cannot be used ({error})"
        if not found:
            raise ExchangeError(f"{where} lists no USDT-margined perpetual that can be used; ask again.")
        return found, unusable

    async def any_instruments(self, symbols: Sequence[str]) -> tuple[Mapping[str, Instrument], Mapping[str, str]]:
        """Return today's rules of symbols of whatever kind, and by name whose cannot be used and why."""
        rows = await self._contracts()
        brackets = await self._leverage_brackets(()) if self.keyed else {}
        where = endpoints.EXCHANGE_INFO.where
        found: dict[str, Instrument] = {}
        unusable: dict[str, str] = {}
        for symbol in symbols:
            if symbol not in rows:
                unusable[symbol] = "it is not listed on this venue"
                continue
            try:
                row = answers.read(answers.SYMBOL, rows[symbol], where)
                found[symbol] = mapping.instrument_of(row, brackets.get(symbol, ()), where)
            except ExchangeError as error:
                unusable[symbol] = f"its rules cannot be used ({error})"
        return found, unusable

    async def _perpetuals(self) -> Mapping[str, Mapping[str, object]]:
        """Return the raw rules of every USDT-margined perpetual."""
        wanted = {"contractType": "PERPETUAL", "quoteAsset": "USDT", "marginAsset": "USDT"}
        return {symbol: row for symbol, row in (await self._contracts()).items() if wanted.items() <= row.items()}

    async def _contracts(self) -> Mapping[str, Mapping[str, object]]:
        """Return the raw rules of everything that is listed."""
        info = await self._calls.ask(endpoints.EXCHANGE_INFO, {}, answers.EXCHANGE_INFO)
        self._limiter.learn(info.rate_limits)
        return {str(row.get("symbol")): row for row in info.symbols}

    async def funding_paid(self, symbols: Sequence[str], since: datetime) -> pl.DataFrame:
        """Return the funding stamps of symbols after `since` as `market.funding` reads them; needs no key.

        One column more tells after how many `hours` a symbol is settled now. The stamps of all symbols come together,
        a thousand a request.
        """
        rows = await self._calls.ask(endpoints.FUNDING_INFO, {}, answers.FUNDING_INFOS)
        hours = {row.symbol: row.funding_interval_hours for row in rows}
        found = await self._stamps_of_all(milliseconds(since) + 1, answers.FUNDING_STAMPS)
        wanted = set(symbols)
        stamps = [
            (symbol, from_milliseconds(time), float(row.funding_rate), hours.get(symbol, _USUAL_HOURS))
            for (symbol, time), row in sorted(found.items())
            if symbol in wanted
        ]
        return pl.DataFrame(stamps, schema=_PAID, orient="row")

    async def _stamps_of_all(self, start: int, shape: TypeAdapter[list[Stamp]]) -> dict[tuple[str, int], Stamp]:
        """Return the funding stamps of all symbols from `start` to now, by symbol and time."""
        stop = milliseconds(self._clock.now())
        found: dict[tuple[str, int], Stamp] = {}
        while True:
            parameters = {"startTime": start, "endTime": stop, "limit": _PAGE}
            page = await self._calls.ask(endpoints.FUNDING_RATE, parameters, shape)
            found |= {(row.symbol, row.funding_time): row for row in page}
            if len(page) < _PAGE:
                return found
            last = max(row.funding_time for row in page)
            if last <= start:
                raise ExchangeError(
                    f"{endpoints.FUNDING_RATE} has {_PAGE} stamps within one millisecond, more than can be paged."
                )
            start = last

    async def fundings(self, since: Mapping[str, datetime]) -> list[Funding]:
        """Return the funding of symbols, each at or after its own time, in order; more than ten are asked together."""
        if len(since) > _FEW:
            found = await self._stamps_of_all(milliseconds(min(since.values())), answers.FUNDINGS)
            told = [mapping.funding_of(row) for row in found.values() if row.symbol in since]
        else:
            told = [one for symbol, begin in since.items() for one in await self.funding(symbol, begin)]
        return sorted((one for one in told if one.time >= since[one.symbol]), key=lambda one: (one.time, one.symbol))

    async def funding(self, symbol: str, since: datetime) -> list[Funding]:
        """Return a symbol's funding at or after `since`, oldest first, paged to the end; needs no key."""
        found: dict[datetime, Funding] = {}
        start = milliseconds(since)
        while True:
            parameters = {"symbol": symbol, "startTime": start, "limit": _PAGE}
            page = await self._calls.ask(endpoints.FUNDING_RATE, parameters, answers.FUNDINGS)
            found.update((funding.time, funding) for funding in map(mapping.funding_of, page))
            if len(page) < _PAGE:
                return [found[time] for time in sorted(found) if time >= since]
            start = max(row.funding_time for row in page) + 1

    async def funding_stamps(self, symbol: str, start: datetime, end: datetime) -> list[tuple[datetime, Decimal]]:
        """Return the first funding stamps in [start, end), a thousand at most; needs no key."""
        parameters = {
            "symbol": symbol,
            "startTime": milliseconds(start),
            "endTime": milliseconds(end) - 1,
            "limit": _PAGE,
        }
        page = await self._calls.ask(endpoints.FUNDING_RATE, parameters, answers.FUNDING_STAMPS)
        told = {from_milliseconds(row.funding_time): row.funding_rate for row in page if row.symbol == symbol}
        return [(time, told[time]) for time in sorted(told) if start <= time < end]

    async def _leverage_brackets(self, symbols: Iterable[str]) -> Mapping[str, tuple[Bracket, ...]]:
        now = self._clock.now()
        fresh = self._brackets_at is not None and abs(now - self._brackets_at) < _BRACKETS_KEPT
        if not fresh or any(symbol not in self._brackets for symbol in symbols):
            rows = await self._calls.ask(endpoints.BRACKETS, {}, answers.BRACKETS)
            self._brackets = {row.symbol: mapping.brackets_of(row.brackets) for row in rows}
            self._brackets_at = now
        return self._brackets


def known(found: Mapping[str, T], symbol: str, endpoint: Endpoint) -> T:
    """Return what an answer tells of a symbol.

    Raises:
        ExchangeError: nothing.
    """
    if symbol not in found:
        raise ExchangeError(f"{endpoint} does not tell about {symbol}; check the strategy's symbol.")
    return found[symbol]


def _usable(rows: Mapping[str, Mapping[str, object]], symbols: Sequence[str]) -> list[answers.PremiumIndex]:
    """Read the rows of symbols; what is missing or unreadable of one is that one's matter.

    Raises:
        ExchangeError: nothing can be used.
    """
    found: list[answers.PremiumIndex] = []
    for symbol in symbols:
        with suppress(ExchangeError):
            found.append(answers.read(answers.PREMIUM_INDEX, rows.get(symbol), endpoints.ALL_PREMIUM_INDEX.where))
    if not found:
        raise ExchangeError(f"{endpoints.ALL_PREMIUM_INDEX} tells none of the prices asked for; ask again.")
    return found
