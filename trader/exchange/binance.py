"""The gateway to one account on Binance USDT-M futures."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from datetime import datetime

from trader.domain.account import Account, Income, KeyRights, MarginMode, Setup
from trader.domain.order import Fill, Order, OrderRequest
from trader.errors import ExchangeError, OutcomeUnknown, Rejected
from trader.exchange import answers, endpoints, mapping, outcome
from trader.exchange.calls import Calls
from trader.exchange.clock import milliseconds
from trader.exchange.public import Market, known
from trader.exchange.stops import StopOrders

_PAGE = 1000
_PAGES = 100


class BinanceGateway(Market, StopOrders):
    """One account on one venue; implements `live.ports.Gateway` and `live.ports.Stops`.

    It is opened by `factory.open_gateway`. Reads are asked again a few times; an order is posted exactly once.

    Args:
        calls: its requests.
        algo_orders: whether the venue keeps conditional orders apart, so that they are listed too.
        tells_rights: whether it can be asked what the key may do; the demo exchange cannot.
    """

    def __init__(self, calls: Calls, *, algo_orders: bool, tells_rights: bool = False) -> None:
        super().__init__(calls)
        self._tells_rights = tells_rights
        self._algo_orders = algo_orders

    def list_conditional(self) -> None:
        """Count conditional orders among those at rest from now on."""
        self._algo_orders = True

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
        return (await self.setups_of([symbol]))[0]

    async def setups_of(self, symbols: Sequence[str]) -> list[Setup]:
        """Return how the account is configured for each of some symbols."""
        config = await self._calls.ask(endpoints.ACCOUNT_CONFIG, {}, answers.ACCOUNT_CONFIG)
        named: Mapping[str, object] = {"symbol": symbols[0]} if len(symbols) == 1 else {}
        rows = await self._calls.ask(endpoints.SYMBOL_CONFIG, named, answers.SYMBOL_CONFIGS)
        told = {row.symbol: row for row in rows}
        return [mapping.setup_of(known(told, symbol, endpoints.SYMBOL_CONFIG), config) for symbol in symbols]

    async def burns_fees(self) -> bool | None:
        """Whether the account pays its fees in BNB, None where the venue does not tell."""
        try:
            return (await self._calls.ask(endpoints.FEE_BURN, {}, answers.FEE_BURN)).fee_burn
        except Rejected as error:
            if outcome.unsupported(error):
                return None
            raise

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
        start, number = milliseconds(since), 1
        while True:
            asked = {"startTime": start, "limit": _PAGE} | ({"page": number} if number > 1 else {})
            page = await self._calls.ask(endpoints.INCOME, asked, answers.INCOMES)
            for row in page:
                if row.asset == mapping.USDT:
                    found[row.tran_id, row.income_type] = mapping.income_of(row)
            if len(page) < _PAGE:
                break
            last = max(row.time for row in page)
            # times are whole seconds there, and more bookings of one than a page holds are passed by none of them
            start, number = (last, 1) if last > start else (start, number + 1)
            if number > _PAGES:
                raise ExchangeError(
                    f"{endpoints.INCOME} has more than {_PAGES * _PAGE} bookings of one time, which is not believed; "
                    "look at the account's transactions, and begin a new journal in another TRADER_DATA_DIR."
                )
        return sorted(
            (income for income in found.values() if income.time >= since),
            key=lambda income: (income.time, int(income.id)),
        )

    async def open_orders(self, *, conditional: bool = True) -> list[Order]:
        """Return orders at rest on the whole account, conditional ones included unless they are not asked for."""
        orders = [mapping.order_of(row) for row in await self._calls.ask(endpoints.OPEN_ORDERS, {}, answers.ORDERS)]
        if self._algo_orders and conditional:
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
