"""The dry run: a real market, an imagined account, and no order sent."""

from collections.abc import Mapping, Sequence
from copy import deepcopy
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Protocol

import polars as pl

from trader.domain.account import Account, Income, MarginMode, Setup
from trader.domain.instrument import Instrument
from trader.domain.interval import Interval
from trader.domain.order import Fill, Order, OrderRequest
from trader.errors import NotSent, OutcomeUnknown, Rejected
from trader.exchange.binance import BinanceGateway
from trader.exchange.clock import VenueClock
from trader.exchange.imagined import Imagined, decode, encode
from trader.exchange.outcome import TWIN_OPEN
from trader.execution.fills import Costs

# What order/test says about margin and position of the real account is not about the imagined one.
_OF_THE_REAL_ACCOUNT = frozenset({-2018, -2019, -2022, -2024, -2027, -2028})
_MILLISECOND = timedelta(milliseconds=1)


class Shelf(Protocol):
    """Where the imagined account is kept, durably; the journal is one."""

    def load_paper(self) -> str | None:
        """Return what was kept last, None at first."""
        ...

    def save_paper(self, snapshot: str) -> None:
        """Keep a text before returning."""
        ...


class PaperGateway:
    """Implements `live.ports.Gateway`: market data from a real gateway, everything else imagined and kept on a shelf.

    Orders fill at the mark price moved against us by half the spread and the slippage; funding is booked as the
    exchange states it, liquidation is looked for at the mark price whenever the account is asked for. With an API key
    every order is validated by the exchange's order/test first.

    Args:
        market: the real gateway; it is never asked to send an order.
        clock: the venue's clock.
        shelf: where the imagined account is kept.
        equity: USDT of a new imagined account.
        costs: what imagined trading costs.
    """

    def __init__(
        self, market: BinanceGateway, clock: VenueClock, shelf: Shelf, *, equity: Decimal, costs: Costs
    ) -> None:
        self._market = market
        self._clock = clock
        self._shelf = shelf
        kept = shelf.load_paper()
        self._account = Imagined.opened(equity, costs) if kept is None else decode(kept)
        self._account.ledger.costs = costs
        self._rules: dict[str, Instrument] = {}
        self._marks: dict[str, Decimal] = {}

    async def sync_clock(self) -> timedelta:
        """Measure venue time minus local time and hand it to the clock."""
        return await self._market.sync_clock()

    async def candles(
        self, symbols: Sequence[str], interval: Interval, count: int, least: int | None = None
    ) -> tuple[pl.DataFrame, Mapping[str, str]]:
        """Return the last whole closed candles of symbols as a candle frame, and who is not in it and why."""
        return await self._market.candles(symbols, interval, count, least)

    async def funding_paid(self, symbols: Sequence[str], since: datetime) -> pl.DataFrame:
        """Return the funding stamps of symbols after `since`."""
        return await self._market.funding_paid(symbols, since)

    async def listed(self) -> tuple[Mapping[str, Instrument], Mapping[str, str]]:
        """Return today's rules of every USDT-margined perpetual, and whose cannot be used and why."""
        found, unusable = await self._market.listed()
        self._rules.update(found)
        return found, unusable

    async def any_instruments(self, symbols: Sequence[str]) -> tuple[Mapping[str, Instrument], Mapping[str, str]]:
        """Return today's rules of symbols of whatever kind, and whose cannot be used and why."""
        return await self._market.any_instruments(symbols)

    async def prices(self, symbols: Sequence[str]) -> Mapping[str, Decimal]:
        """Return mark prices."""
        return await self._market.prices(symbols)

    async def funding_rates(self, symbols: Sequence[str]) -> Mapping[str, Decimal]:
        """Return the rates of the next funding, positive where longs pay."""
        return await self._market.funding_rates(symbols)

    async def instruments(self, symbols: Sequence[str]) -> Mapping[str, Instrument]:
        """Return today's trading rules."""
        found = await self._market.instruments(symbols)
        self._rules.update(found)
        return found

    async def account(self) -> Account:
        """Return imagined equity and positions, after what happened to them meanwhile."""
        prices = await self._catch_up()
        return self._account.account(prices, self._clock.now())

    async def setup(self, symbol: str) -> Setup:
        """Return how the imagined account is configured for a symbol."""
        leverage, mode = self._account.mode(symbol)
        return Setup(symbol, leverage, mode, hedge_mode=False, multi_assets=False, can_trade=True)

    async def setups_of(self, symbols: Sequence[str]) -> list[Setup]:
        """Return how the imagined account is configured for each of some symbols."""
        return [await self.setup(symbol) for symbol in symbols]

    async def burns_fees(self) -> bool:
        """Whether the imagined account pays its fees in BNB: never."""
        return False

    async def set_leverage(self, symbol: str, leverage: int) -> None:
        """Set a symbol's imagined leverage."""
        account = deepcopy(self._account)
        account.set_mode(symbol, leverage, account.mode(symbol)[1])
        self._keep(account)

    async def set_margin_mode(self, symbol: str, mode: MarginMode) -> None:
        """Set a symbol's imagined margin mode."""
        account = deepcopy(self._account)
        account.set_mode(symbol, account.mode(symbol)[0], mode)
        self._keep(account)

    async def send(self, order: OrderRequest) -> Order:
        """Imagine one order, once; nothing is sent.

        Raises:
            Rejected: the exchange's rules or the imagined margin do not allow it.
            NotSent: it could not be validated.
            OutcomeUnknown: an order of that name exists.
        """
        if await self.find(order.symbol, order.client_id) is not None:
            raise OutcomeUnknown(f"An imagined order {order.client_id} exists; look it up.", code=TWIN_OPEN)
        if self._market.keyed:
            await self._validate(order)
        if order.symbol not in self._rules:
            await self.instruments([order.symbol])
        price = (await self._market.prices([order.symbol]))[order.symbol]
        marks = await self._catch_up()
        # nothing is awaited between the copy and its keeping: another order may be filled meanwhile
        account = deepcopy(self._account)
        done = account.trade(order, self._rules[order.symbol], price, self._clock.now(), marks)
        self._keep(account)
        return done

    async def find(self, symbol: str, client_id: str) -> Order | None:
        """Return the imagined order of that name, or None."""
        known = (order for order in self._account.orders if (order.symbol, order.client_id) == (symbol, client_id))
        return next(known, None)

    async def find_by_exchange_id(self, symbol: str, exchange_id: str) -> Order | None:
        """Return the imagined order of that number, or None."""
        known = (order for order in self._account.orders if (order.symbol, order.exchange_id) == (symbol, exchange_id))
        return next(known, None)

    async def fills(self, symbol: str, *, order: Order | None = None, since: str | None = None) -> list[Fill]:
        """Return imagined trades of one order, or all of a symbol after the trade id `since`, oldest first."""
        return [
            fill
            for fill in self._account.fills
            if fill.symbol == symbol
            and (order is None or fill.exchange_id == order.exchange_id)
            and (since is None or int(fill.trade_id) > int(since))
        ]

    async def incomes(self, since: datetime) -> list[Income]:
        """Return every imagined booking at or after `since`, oldest first."""
        await self._catch_up()
        found = (income for income in self._account.incomes if income.time >= since)
        return sorted(found, key=lambda income: (income.time, int(income.id)))

    async def open_orders(self, *, conditional: bool = True) -> list[Order]:
        """Return nothing: imagined orders never rest."""
        return []

    async def close(self) -> None:
        """Release sockets."""
        await self._market.close()

    async def _validate(self, order: OrderRequest) -> None:
        try:
            await self._market.order_test(order)
        except Rejected as error:
            if error.code not in _OF_THE_REAL_ACCOUNT:
                raise
        except OutcomeUnknown as error:
            raise NotSent(
                f"The imagined order {order.client_id} could not be validated: {error}",
                code=error.code,
                status=error.status,
            ) from error

    async def _catch_up(self) -> dict[str, Decimal]:
        """Book funding that was stamped meanwhile, look for liquidation, and return the mark prices of what is held.

        Another order may be filled while the market is asked: the account is copied only once all answers are there.
        What has no price now is carried at the one told last, or at what it cost.
        """
        while True:
            told = await self._market.fundings(
                {symbol: self._account.funded[symbol] + _MILLISECOND for symbol in self._account.unfunded()}
            )
            held = sorted(self._account.ledger.holdings)
            if held:
                self._marks |= await self._market.prices(held)
            prices = {symbol: self._marks[symbol] if symbol in self._marks else self._cost(symbol) for symbol in held}
            missing = [symbol for symbol in prices if symbol not in self._rules]
            if missing:
                await self.instruments(missing)
            if self._account.ledger.holdings.keys() <= prices.keys():
                break
        account = deepcopy(self._account)
        now = self._clock.now()
        stamps = [funding for funding in told if account.funded[funding.symbol] < funding.time <= now]
        for funding in stamps:
            account.fund(funding)
        prices = {symbol: prices[symbol] for symbol in account.ledger.holdings}
        taken = account.liquidate(self._rules, prices, now)
        if stamps or taken:
            self._keep(account)
        return prices

    def _cost(self, symbol: str) -> Decimal:
        holding = self._account.ledger.holdings[symbol]
        return holding.cost / holding.quantity

    def _keep(self, account: Imagined) -> None:
        """Make a changed account durable before anybody is told of it."""
        self._shelf.save_paper(encode(account))
        self._account = account
