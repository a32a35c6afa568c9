"""Hold what every rule of the exchange works on: prices, account, open orders, and how a change is written down."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from trader.sim.account import Account
from trader.sim.instruments import Instrument
from trader.sim.money import ONE, ZERO, q8, to_tick
from trader.sim.records import Algo, Income, Order, Position, Terms, Trade
from trader.sim.tape import Tape


@dataclass(frozen=True, slots=True)
class Ticket:
    """Hold an order as asked: unsigned quantity, ``direction`` +1 buy or -1 sell, ``price`` 0 for a market order."""

    symbol: str
    direction: int
    quantity: Decimal
    reduce_only: bool
    position_side: str
    client_id: str
    kind: str = "MARKET"
    price: Decimal = ZERO
    time_in_force: str = "GTC"
    stp: str = "EXPIRE_MAKER"


@dataclass(slots=True)
class News:
    """Collect what the ledger has not written yet."""

    orders: list[Order] = field(default_factory=list)
    trades: list[Trade] = field(default_factory=list)
    incomes: list[Income] = field(default_factory=list)
    algos: list[Algo] = field(default_factory=list)


BNB = "BNB"
BNB_PRICE = Decimal(500)
"""What a BNB is worth here, at any time; there is no tape of it."""
_BURN_RATE = Decimal("0.9")


class Floor:
    """Hold one account on a tape at an instant.

    ``open`` are resting orders, ``waiting`` algo orders not yet triggered, ``triggered`` those whose order (the key) is
    at work. ``fees`` overrides (maker, taker) by symbol ("" for all), ``rules`` refuses what would open a position, by
    symbol or "" for all. With ``burn`` fees are paid in BNB, of which there is always enough.
    """

    def __init__(
        self,
        tape: Tape,
        instruments: Mapping[str, Instrument],
        account: Account,
        terms: Terms,
        now: int,
        next_ids: tuple[int, int, int, int] = (1, 1, 1, 1),
    ) -> None:
        self.tape, self.instruments, self.account, self.terms, self.now = tape, instruments, account, terms, now
        self.next_order, self.next_trade, self.next_income, self.next_algo = next_ids
        self.news = News()
        self.open: dict[int, Order] = {}
        self.waiting: dict[int, Algo] = {}
        self.triggered: dict[int, Algo] = {}
        self.fees: dict[str, tuple[Decimal, Decimal]] = {}
        self.burn = False
        self.rules: dict[str, tuple[int, str]] = {}

    # -- prices ---------------------------------------------------------------------------------------------------

    def price(self, symbol: str) -> Decimal:
        """Give last and mark price: the first price after the clock."""
        return self.tape.series[symbol].price(self.now)

    def listed(self, symbol: str) -> bool:
        """Tell whether a symbol's first bar has begun."""
        series = self.tape.series.get(symbol)
        return series is not None and series.first <= self.now

    def status(self, symbol: str) -> str:
        """Give a symbol's status; one whose bars ended before the tape's is SETTLING."""
        end = self.tape.series[symbol].end
        if end <= self.now and end < self.tape.end:
            return "SETTLING"
        return str(self.instruments[symbol].entry.get("status", "TRADING"))

    def quote(self, symbol: str, direction: int, move: Decimal, base: Decimal | None = None) -> Decimal:
        """Give the price (or another ``base``) moved against a side and rounded to the tick."""
        price = self.price(symbol) if base is None else base
        return to_tick(price * (ONE + direction * move), self.instruments[symbol].tick, direction)

    def fee(self, symbol: str, notional: Decimal, maker: bool = False) -> Decimal:
        """Give the commission of an execution."""
        rates = self.fees.get(symbol) or self.fees.get("")
        return q8(notional * (rates[0 if maker else 1] if rates else self.terms.fee))

    def held(self, symbol: str, position_side: str) -> Decimal:
        """Give the signed quantity of a position, zero without one."""
        position = self.account.positions.get((symbol, position_side))
        return position.quantity if position else ZERO

    # -- open orders ----------------------------------------------------------------------------------------------

    def opening(self, symbol: str, direction: int, position_side: str) -> tuple[Decimal, Decimal]:
        """Add up what resting orders of a side would open: (quantity, notional); the nearest prices close first."""
        held = self.held(symbol, position_side)
        closing = abs(held) if held * direction < 0 else ZERO
        orders = [
            each
            for each in self.open.values()
            if each.symbol == symbol
            and each.direction == direction
            and each.position_side == position_side
            and not each.reduce_only
        ]
        quantity = notional = ZERO
        for order in sorted(orders, key=lambda each: -direction * each.price):
            left = order.left
            closed = min(left, closing)
            closing -= closed
            quantity += left - closed
            notional += (left - closed) * (order.price or self.price(symbol))
        return quantity, notional

    def reserved(self) -> Decimal:
        """Give the initial margin bound by resting orders: of every symbol the larger side."""
        total = ZERO
        for symbol, side in {(each.symbol, each.position_side) for each in self.open.values()}:
            notional = max(self.opening(symbol, direction, side)[1] for direction in (1, -1))
            total += q8(notional / self.account.setting(symbol).leverage)
        return total

    def reducing(self, symbol: str, direction: int, position_side: str) -> Decimal:
        """Add up what resting reduce-only orders of a side will close."""
        return sum(
            (
                each.left
                for each in self.open.values()
                if each.symbol == symbol
                and each.direction == direction
                and each.position_side == position_side
                and each.reduce_only
            ),
            ZERO,
        )

    def cancel(self, order: Order, status: str = "CANCELED") -> None:
        """Take a resting order off the book."""
        self.open.pop(order.order_id, None)
        order.status, order.update_time = status, self.now
        self._note(order)
        self._follow(order)

    def end_algo(self, algo: Algo, status: str) -> None:
        """End an algo order that has not triggered."""
        self.waiting.pop(algo.algo_id, None)
        algo.status, algo.update_time = status, self.now
        self.news.algos.append(algo)

    def tidy(self, symbol: str, besides: Order | None = None) -> None:
        """Expire what could only close a position that is gone: reduce-only orders, and algo orders bound to it."""
        for order in list(self.open.values()):
            if order.symbol != symbol or order is besides or not order.reduce_only:
                continue
            if self.held(symbol, order.position_side) * order.direction >= 0:
                self.cancel(order, "EXPIRED")
        for algo in list(self.waiting.values()):
            bound = algo.close_position or algo.time_in_force == "GTE_GTC"
            if algo.symbol == symbol and bound and self.held(symbol, algo.position_side) * algo.direction >= 0:
                self.end_algo(algo, "EXPIRED")

    # -- writing down ---------------------------------------------------------------------------------------------

    def new_order(self, ticket: Ticket, **more: Any) -> Order:
        """Write down an order that has been accepted."""
        order = Order(
            order_id=self.next_order,
            symbol=ticket.symbol,
            client_id=ticket.client_id,
            side="BUY" if ticket.direction > 0 else "SELL",
            position_side=ticket.position_side,
            type=ticket.kind,
            reduce_only=ticket.reduce_only,
            orig_qty=ticket.quantity,
            executed_qty=ZERO,
            avg_price=ZERO,
            cum_quote=ZERO,
            status="NEW",
            time_in_force=ticket.time_in_force,
            time=self.now,
            update_time=self.now,
            price=ticket.price,
            stp=ticket.stp,
            **{"orig_type": ticket.kind, **more},
        )
        self.next_order += 1
        self.news.orders.append(order)
        return order

    def fill_order(self, order: Order, quantity: Decimal, price: Decimal) -> None:
        """Add an execution to an order; the book is left by one that is whole."""
        order.avg_price = price
        order.executed_qty += quantity
        order.cum_quote += quantity * price
        if order.executed_qty != quantity:
            order.avg_price = q8(order.cum_quote / order.executed_qty)
        order.status = "FILLED" if order.left == 0 else "PARTIALLY_FILLED"
        order.update_time = self.now
        if order.left == 0:
            self.open.pop(order.order_id, None)
            self._follow(order)
        self._note(order)

    def _note(self, order: Order) -> None:
        """Let the ledger write an order; one that has just been noted is written as it then stands."""
        if not self.news.orders or self.news.orders[-1] is not order:
            self.news.orders.append(order)

    def _follow(self, order: Order) -> None:
        """End the algo order whose order has come to its end."""
        algo = self.triggered.pop(order.order_id, None)
        if algo is not None:
            self.end_algo(algo, "FINISHED")

    def trade(
        self, order: Order, price: Decimal, quantity: Decimal, pnl: Decimal, fee: Decimal, maker: bool = False
    ) -> None:
        """Write down an execution and what it does to the wallet."""
        asset = BNB if self.burn and fee > 0 else "USDT"
        if asset == BNB:
            fee = q8(fee * _BURN_RATE / BNB_PRICE)
        trade = Trade(
            self.next_trade, order.order_id, order.symbol, order.side, order.position_side, price, quantity, pnl, fee,
            self.now, maker, asset,
        )  # fmt: skip
        self.next_trade += 1
        self.news.trades.append(trade)
        for kind, amount, of in (("REALIZED_PNL", pnl, "USDT"), ("COMMISSION", -fee, asset)):
            if amount:
                self.pay(order.symbol, kind, amount, trade, of)
        self.account.update_time = self.now

    def pay(self, symbol: str, kind: str, amount: Decimal, trade: Trade | None = None, asset: str = "USDT") -> None:
        """Change the wallet of an asset and say why."""
        if asset == "USDT":
            self.account.wallet += amount
        self.account.update_time = self.now
        trade_id, order_id = (trade.trade_id, trade.order_id) if trade else (0, 0)
        self.news.incomes.append(Income(self.next_income, symbol, kind, amount, self.now, trade_id, order_id, asset))
        self.next_income += 1

    def drop(self, position: Position) -> None:
        """Forget a position that is closed."""
        del self.account.positions[(position.symbol, position.side)]
