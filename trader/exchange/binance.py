"""The gateway to one account on Binance USDT-M futures."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from decimal import Decimal
from functools import partial
from typing import TypeVar

import polars as pl

from trader.domain.account import Account, Income, KeyRights, MarginMode, Setup
from trader.domain.instrument import Bracket, Instrument
from trader.domain.interval import Interval
from trader.domain.order import Fill, Order, OrderRequest
from trader.errors import ConfigError, ExchangeError, OutcomeUnknown, Rejected
from trader.exchange import answers, endpoints, mapping, outcome
from trader.exchange.calls import Calls
from trader.exchange.clock import from_milliseconds, milliseconds
from trader.exchange.endpoints import Endpoint
from trader.exchange.klines import Span, Unpublished, frame_of, page_of
from trader.exchange.mapping import Funding

T = TypeVar("T")

_PAGE = 1000
_SETTLED = timedelta(minutes=10)  # after its close nobody tells a candle as it was before any more
_BRACKETS_KEPT = timedelta(hours=1)
_FEW = 10


class BinanceGateway:
    """One account on one venue; implements `live.ports.Gateway`. Opened by `factory.open_gateway`.

    Reads are asked again a few times; an order is posted exactly once.

    Args:
        calls: its requests.
        algo_orders: whether the venue keeps conditional orders apart, so that they are listed too.
        tells_rights: whether it can be asked what the key may do; the demo exchange cannot.
    """

    def __init__(self, calls: Calls, *, algo_orders: bool, tells_rights: bool = False) -> None:
        self._tells_rights = tells_rights
        self._calls = calls
        self._clock = calls.clock
        self._limiter = calls.limiter
        self._algo_orders = algo_orders
        self._brackets: dict[str, tuple[Bracket, ...]] = {}
        self._brackets_at: datetime | None = None

    @property
    def keyed(self) -> bool:
        """Whether there is an API key, without which nothing private can be asked."""
        return bool(self._calls.secrets)

    @property
    def cooldown(self) -> datetime | None:
        """Until when the exchange wants no request at all, None where that has passed."""
        return self._limiter.cooldown

    def keep_cooldown(self, until: datetime | None, keep: Callable[[datetime], None]) -> None:
        """Send nothing before `until`, which an earlier process was told, and let `keep` write down what we are told.

        A restart is no way around a ban: whoever asks again before it ends is banned for longer.
        """
        self._limiter.keep(until, keep)

    def usage(self) -> dict[str, tuple[int, int]]:
        """Return how much of the exchange's limits is used, and how much is ours, by window."""
        return self._limiter.usage()

    async def sync_clock(self) -> timedelta:
        """Measure venue time minus local time and hand it to the clock."""
        return await self._calls.sync_clock()

    async def candles(self, symbols: Sequence[str], interval: Interval, count: int) -> pl.DataFrame:
        """Return the last `count` whole closed candles of each symbol as a candle frame.

        Closed is what surely is by the venue's clock: its measured error counts against a candle. The exchange may
        publish a candle late; then the last ones are those before it.

        Raises:
            DataError: a candle is missing or impossible.
        """
        span = Span.ending(interval, count, self._clock.now() - self._clock.error)
        try:
            return await self._candles(symbols, span)
        except Unpublished:
            return await self._candles(symbols, span.before())

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

    async def _candles(self, symbols: Sequence[str], span: Span) -> pl.DataFrame:
        pages = [(symbol, first, limit) for symbol in dict.fromkeys(symbols) for first, limit in span.pages]
        found = await self._calls.side_by_side(partial(self._klines, span, *page) for page in pages)
        rows: dict[str, list[answers.Row]] = {symbol: [] for symbol in symbols}
        for (symbol, _, _), page in zip(pages, found, strict=True):
            rows[symbol].extend(page)
        return frame_of(rows, span, endpoints.klines(1).where)

    async def prices(self, symbols: Sequence[str]) -> Mapping[str, Decimal]:
        """Return mark prices."""
        return {row.symbol: row.mark_price for row in await self._premium(symbols)}

    async def funding_rates(self, symbols: Sequence[str]) -> Mapping[str, Decimal]:
        """Return the rates of the next funding, positive where longs pay."""
        told = {row.symbol: row.last_funding_rate for row in await self._premium(symbols)}
        return {symbol: rate for symbol, rate in told.items() if rate is not None}

    async def _premium(self, symbols: Sequence[str]) -> list[answers.PremiumIndex]:
        if len(symbols) > _FEW:
            rows = await self._calls.ask(endpoints.ALL_PREMIUM_INDEX, {}, answers.ROWS_OF_OBJECTS)
            told = {row.get("symbol"): row for row in rows}
            found = [answers.read(answers.PREMIUM_INDEX, told.get(symbol), symbol) for symbol in symbols]
        else:
            found = await self._calls.side_by_side(
                partial(self._calls.ask, endpoints.PREMIUM_INDEX, {"symbol": symbol}, answers.PREMIUM_INDEX)
                for symbol in symbols
            )
        told_of = {row.symbol: row for row in found}
        return [_known(told_of, symbol, endpoints.PREMIUM_INDEX) for symbol in symbols]

    async def instruments(self, symbols: Sequence[str]) -> Mapping[str, Instrument]:
        """Return today's trading rules, with leverage brackets (at most an hour old) where there is a key.

        Raises:
            ConfigError: a symbol is not a USDT-margined perpetual of this venue.
        """
        info = await self._calls.ask(endpoints.EXCHANGE_INFO, {}, answers.EXCHANGE_INFO)
        self._limiter.learn(info.rate_limits)
        brackets = await self._leverage_brackets(symbols) if self.keyed else {}
        where = endpoints.EXCHANGE_INFO.where
        rows = {str(row.get("symbol")): row for row in info.symbols}
        found = {}
        for symbol in symbols:
            row = answers.read(answers.SYMBOL, rows[symbol], where) if symbol in rows else None
            if row is None or (row.contract_type, row.quote_asset, row.margin_asset) != ("PERPETUAL", "USDT", "USDT"):
                raise ConfigError(
                    f"{symbol} is not a USDT-margined perpetual of this venue; check the strategy's symbol."
                )
            found[symbol] = mapping.instrument_of(row, brackets.get(symbol, ()), where)
        return found

    async def account(self) -> Account:
        """Return equity and positions; an incomplete answer raises.

        Raises:
            Mismatch: a position is held in hedge mode.
        """

        async def once() -> Account:
            answer = await self._calls.once(endpoints.ACCOUNT, {}, answers.ACCOUNT)
            return mapping.account_of(answer, self._clock.now())

        return await self._calls.repeat(once)

    async def key_rights(self) -> KeyRights | None:
        """Return what the key may do, None where there is no key or the venue does not tell."""
        if not (self._tells_rights and self.keyed):
            return None
        told = await self._calls.ask(endpoints.KEY_RIGHTS, {}, answers.API_RESTRICTIONS)
        return KeyRights(
            read=told.enable_reading,
            trade_futures=told.enable_futures,
            withdraw=told.enable_withdrawals,
            transfer=told.enable_internal_transfer or told.permits_universal_transfer,
            bound_to_address=told.ip_restrict,
        )

    async def setup(self, symbol: str) -> Setup:
        """Return how the account is configured for a symbol."""
        config = await self._calls.ask(endpoints.ACCOUNT_CONFIG, {}, answers.ACCOUNT_CONFIG)
        rows = await self._calls.ask(endpoints.SYMBOL_CONFIG, {"symbol": symbol}, answers.SYMBOL_CONFIGS)
        row = _known({row.symbol: row for row in rows}, symbol, endpoints.SYMBOL_CONFIG)
        return mapping.setup_of(row, config)

    async def set_leverage(self, symbol: str, leverage: int) -> None:
        """Set a symbol's leverage."""
        answer = await self._calls.once(
            endpoints.SET_LEVERAGE, {"symbol": symbol, "leverage": leverage}, answers.LEVERAGE
        )
        if (answer.symbol, answer.leverage) != (symbol, leverage):
            raise ExchangeError(
                f"{endpoints.SET_LEVERAGE} set {answer.leverage} for {answer.symbol}, not {leverage} for {symbol}; "
                "read the set-up back."
            )

    async def set_margin_mode(self, symbol: str, mode: MarginMode) -> None:
        """Set a symbol's margin mode; already set is fine."""
        parameters = {"symbol": symbol, "marginType": mapping.margin_type(mode)}
        try:
            await self._calls.once(endpoints.SET_MARGIN_MODE, parameters, answers.EMPTY)
        except Rejected as error:
            if error.code != outcome.SAME_MARGIN_MODE:
                raise

    async def send(self, order: OrderRequest) -> Order:
        """Post one order, once; see `live.ports.Gateway.send`.

        A timestamp the exchange did not accept raises NotSent after the clock was measured again.
        """
        self._limiter.admit_order()
        where = endpoints.SEND_ORDER
        try:
            raw = await self._calls.post_order(where, mapping.order_parameters(order))
        except ExchangeError as error:
            if error.code == outcome.CLOCK_SKEW:
                with suppress(ExchangeError):
                    await self.sync_clock()
            raise
        try:
            answer = mapping.order_of(answers.read(answers.ORDER, raw, where.where))
            problem = "speaks of another order" if not mapping.answers_request(answer, order) else None
        except ExchangeError as error:
            answer, problem = None, str(error).rstrip(".")
        if answer is not None and problem is None:
            return answer
        raise OutcomeUnknown(f"{where} {order.client_id}: the answer does not say what became of it ({problem}).")

    async def order_test(self, order: OrderRequest) -> None:
        """Let the exchange validate an order without sending it; raises what `send` would."""
        await self._limiter.admit(endpoints.TEST_ORDER.weight)
        raw = await self._calls.post_order(endpoints.TEST_ORDER, mapping.order_parameters(order))
        answers.read(answers.EMPTY, raw, endpoints.TEST_ORDER.where)

    async def find(self, symbol: str, client_id: str) -> Order | None:
        """Return the order of that name, or None where the exchange says it knows none."""
        order = await self._find({"symbol": symbol, "origClientOrderId": client_id})
        if order is not None and (order.symbol, order.client_id) != (symbol, client_id):
            raise ExchangeError(f"{endpoints.FIND_ORDER} answered with another order than {client_id}; ask again.")
        return order

    async def find_by_exchange_id(self, symbol: str, exchange_id: str) -> Order | None:
        """Return the order with the exchange's own number, or None where it says it knows none."""
        order = await self._find({"symbol": symbol, "orderId": exchange_id})
        if order is not None and (order.symbol, order.exchange_id) != (symbol, exchange_id):
            raise ExchangeError(f"{endpoints.FIND_ORDER} answered with another order than {exchange_id}; ask again.")
        return order

    async def fills(self, symbol: str, *, order: Order | None = None, since: str | None = None) -> list[Fill]:
        """Return trades of one order, or all of a symbol after the trade id `since`, paged to the end, oldest first."""
        found: dict[str, Fill] = {}
        parameters: dict[str, object] = {"symbol": symbol, "limit": _PAGE}
        if order is not None:
            parameters["orderId"] = order.exchange_id
        else:
            parameters["fromId"] = int(since) + 1 if since is not None else 0
        while True:
            page = await self._calls.ask(endpoints.USER_TRADES, parameters, answers.TRADES)
            fills = [mapping.fill_of(row) for row in page]
            found.update((fill.trade_id, fill) for fill in fills)
            if len(page) < _PAGE:
                break
            # An order id cannot be paged; what follows by trade id is filtered below.
            parameters.pop("orderId", None)
            parameters["fromId"] = max(int(fill.trade_id) for fill in fills) + 1
        wanted = [
            fill
            for fill in found.values()
            if fill.symbol == symbol
            and (order is None or fill.exchange_id == order.exchange_id)
            and (since is None or int(fill.trade_id) > int(since))
        ]
        return sorted(wanted, key=lambda fill: (fill.time, int(fill.trade_id)))

    async def incomes(self, since: datetime) -> list[Income]:
        """Return every booking at or after `since`, oldest first, paged to the end.

        The exchange keeps three months; one booking is told once, however pages overlap.
        """
        found: dict[tuple[str, str], Income] = {}
        start = milliseconds(since)
        while True:
            page = await self._calls.ask(endpoints.INCOME, {"startTime": start, "limit": _PAGE}, answers.INCOMES)
            for row in page:
                if row.asset == mapping.USDT:
                    found[row.tran_id, row.income_type] = mapping.income_of(row)
            if len(page) < _PAGE:
                break
            last = max(row.time for row in page)
            if last <= start:
                raise ExchangeError(
                    f"{endpoints.INCOME} has {_PAGE} bookings within one millisecond, more than can be paged; correct "
                    "the journal by hand."
                )
            start = last
        return sorted(
            (income for income in found.values() if income.time >= since),
            key=lambda income: (income.time, int(income.id)),
        )

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

    async def open_orders(self) -> list[Order]:
        """Return orders at rest on the whole account, conditional ones included."""
        orders = [mapping.order_of(row) for row in await self._calls.ask(endpoints.OPEN_ORDERS, {}, answers.ORDERS)]
        if self._algo_orders:
            rows = await self._calls.ask(endpoints.OPEN_ALGO_ORDERS, {}, answers.ALGO_ORDERS)
            orders.extend(mapping.algo_order_of(row) for row in rows)
        return orders

    async def close(self) -> None:
        """Release sockets."""
        await self._calls.close()

    async def _find(self, parameters: Mapping[str, object]) -> Order | None:
        try:
            return mapping.order_of(await self._calls.ask(endpoints.FIND_ORDER, parameters, answers.ORDER))
        except Rejected as error:
            if error.code == outcome.NO_SUCH_ORDER:
                return None
            raise

    async def _klines(self, span: Span, symbol: str, first: int, limit: int) -> list[answers.Row]:
        end = first + limit * span.native.milliseconds - 1
        parameters = {
            "symbol": symbol,
            "interval": str(span.native),
            "startTime": first,
            "endTime": end,
            "limit": limit,
        }
        return await self._calls.ask(endpoints.klines(limit), parameters, answers.ROWS)

    async def _leverage_brackets(self, symbols: Iterable[str]) -> Mapping[str, tuple[Bracket, ...]]:
        now = self._clock.now()
        fresh = self._brackets_at is not None and abs(now - self._brackets_at) < _BRACKETS_KEPT
        if not fresh or any(symbol not in self._brackets for symbol in symbols):
            rows = await self._calls.ask(endpoints.BRACKETS, {}, answers.BRACKETS)
            self._brackets = {row.symbol: mapping.brackets_of(row.brackets) for row in rows}
            self._brackets_at = now
        for symbol in symbols:
            _known(self._brackets, symbol, endpoints.BRACKETS)
        return self._brackets


def _known(found: Mapping[str, T], symbol: str, endpoint: Endpoint) -> T:
    if symbol not in found:
        raise ExchangeError(f"{endpoint} does not tell about {symbol}; check the strategy's symbol.")
    return found[symbol]
