"""Match, settle, fund and liquidate: the exchange's state machine in Decimal, without clock, socket or disk.

At every bar boundary B (bar [A, B) ends) for the positions held, in this order: the ended bar's worst price against
liquidation; the funding stamps in (A, B] at the first price after B; the liquidation test at that price.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal

from trader.sim.account import Account, available, maintenance, reduce, unrealised
from trader.sim.errors import Refusal, unknown_symbol
from trader.sim.instruments import Instrument
from trader.sim.money import ONE, ZERO, q8, sign, to_tick
from trader.sim.records import Income, Order, Position, Terms, Trade
from trader.sim.tape import Tape


@dataclass(frozen=True, slots=True)
class Ticket:
    """Hold a market order as asked: unsigned quantity, ``direction`` +1 buy or -1 sell."""

    symbol: str
    direction: int
    quantity: Decimal
    reduce_only: bool
    position_side: str
    client_id: str


@dataclass(slots=True)
class News:
    """Collect what the ledger has not written yet."""

    orders: list[Order] = field(default_factory=list)
    trades: list[Trade] = field(default_factory=list)
    incomes: list[Income] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _Fill:
    """Hold what an accepted ticket will do: close ``closing`` of the held position, then open ``opening``."""

    price: Decimal
    closing: Decimal
    opening: Decimal
    pnl: Decimal
    cost: Decimal
    margin: Decimal


class Venue:
    """Play one account through a tape. All methods are synchronous; a refused order changes nothing."""

    def __init__(
        self,
        tape: Tape,
        instruments: Mapping[str, Instrument],
        account: Account,
        terms: Terms,
        now: int,
        next_ids: tuple[int, int, int] = (1, 1, 1),
    ) -> None:
        self.tape = tape
        self.instruments = instruments
        self.account = account
        self.terms = terms
        self.now = now
        self.next_order, self.next_trade, self.next_income = next_ids
        self.news = News()
        self.open: dict[int, Order] = {}

    def price(self, symbol: str) -> Decimal:
        """Give last and mark price: the first price after the clock."""
        return self.tape.series[symbol].price(self.now)

    def listed(self, symbol: str) -> bool:
        """Tell whether a symbol's first bar has begun."""
        series = self.tape.series.get(symbol)
        return series is not None and series.first <= self.now

    def quote(self, symbol: str, direction: int, move: Decimal) -> Decimal:
        """Give the price moved against a side and rounded to the tick."""
        return to_tick(self.price(symbol) * (ONE + direction * move), self.instruments[symbol].tick, direction)

    # -- time -----------------------------------------------------------------------------------------------------

    def play(self, until: int) -> None:
        """Play every bar boundary in (now, until], then stand at ``until``."""
        spacing = self.tape.spacing
        while self.account.positions:
            boundary = (self.now // spacing + 1) * spacing
            if boundary > until:
                break
            self.now = boundary
            self._settle(boundary - spacing, boundary)
        self.now = max(self.now, until)

    def _settle(self, opened: int, boundary: int) -> None:
        series = self.tape.series
        self._liquidate(lambda position: series[position.symbol].worst(opened, position.quantity > 0))
        self._fund(opened, boundary)
        self._liquidate(lambda position: self.price(position.symbol))

    def _fund(self, opened: int, boundary: int) -> None:
        due = [
            (stamp, index, position, rate)
            for index, position in enumerate(self.account.positions.values())
            for stamp, rate in self.tape.series[position.symbol].due(opened, boundary)
        ]
        for _, _, position, rate in sorted(due, key=lambda each: each[:2]):
            amount = q8(position.quantity * self.price(position.symbol) * rate)
            if amount == 0:
                continue
            self._pay(position.symbol, "FUNDING_FEE", -amount)
            shortfall = self.account.isolated() - self.account.wallet
            if shortfall > 0 and self.account.setting(position.symbol).isolated:
                position.margin -= shortfall

    # -- liquidation ----------------------------------------------------------------------------------------------

    def _liquidate(self, at: Callable[[Position], Decimal]) -> None:
        for position in list(self.account.positions.values()):
            if not self.account.setting(position.symbol).isolated:
                continue
            price = at(position)
            equity = position.margin + position.quantity * price - position.cost
            if equity <= maintenance(position, price, self.instruments[position.symbol]):
                bankruptcy = q8((position.cost - position.margin) / position.quantity)
                self._seize(position, bankruptcy, -position.margin)
        self._liquidate_cross(at)

    def _liquidate_cross(self, at: Callable[[Position], Decimal]) -> None:
        """Close all cross positions when together they miss their maintenance margin; the cross wallet is lost."""
        positions = self.account.cross()
        if not positions:
            return
        prices = [at(position) for position in positions]
        pairs = list(zip(positions, prices, strict=True))
        equity = self.account.wallet - self.account.isolated()
        equity += sum((position.quantity * price - position.cost for position, price in pairs), ZERO)
        needed = sum((maintenance(each, price, self.instruments[each.symbol]) for each, price in pairs), ZERO)
        if equity > needed:
            return
        for position, price in pairs:
            self._seize(position, price, unrealised(position, price))
        rest = self.account.wallet - self.account.isolated()
        if rest:
            self._pay(positions[-1].symbol, "INSURANCE_CLEAR", -rest)

    def _seize(self, position: Position, price: Decimal, pnl: Decimal) -> None:
        """Take a position away at a price, with an order `autoclose-<ms>` and one trade."""
        direction = -sign(position.quantity)
        quantity = abs(position.quantity)
        ticket = Ticket(position.symbol, direction, quantity, True, position.side, f"autoclose-{self.now}")
        order = self._new_order(ticket, "LIMIT", "IOC")
        self._fill_order(order, quantity, price)
        self._trade(order, price, quantity, pnl, ZERO)
        del self.account.positions[(position.symbol, position.side)]

    # -- orders ---------------------------------------------------------------------------------------------------

    def check(self, ticket: Ticket) -> Ticket:
        """Refuse a market order that would not be accepted now; gives it as it would be executed."""
        return self._prepare(ticket)[0]

    def execute(self, ticket: Ticket) -> Order:
        """Fill a market order at once and completely, or refuse it."""
        ticket, fill = self._prepare(ticket)
        order = self._new_order(ticket)
        self._apply(order, ticket, fill)
        return order

    def rest(self, ticket: Ticket) -> Order:
        """Accept a market order without filling it yet; it stays open until `settle_resting` or `cancel`."""
        order = self._new_order(self.check(ticket))
        self.open[order.order_id] = order
        return order

    def settle_resting(self, order: Order) -> None:
        """Fill an order that has rested, at the price of now; one no longer acceptable expires."""
        del self.open[order.order_id]
        self.news.orders.append(order)
        direction = 1 if order.side == "BUY" else -1
        ticket = Ticket(
            order.symbol, direction, order.orig_qty, order.reduce_only, order.position_side, order.client_id
        )
        try:
            ticket, fill = self._prepare(ticket)
        except Refusal:
            order.status, order.update_time = "EXPIRED", self.now
        else:
            self._apply(order, ticket, fill)

    def cancel(self, order: Order) -> None:
        """Take an open order back."""
        del self.open[order.order_id]
        order.status, order.update_time = "CANCELED", self.now
        self.news.orders.append(order)

    def _apply(self, order: Order, ticket: Ticket, fill: _Fill) -> None:
        account, key = self.account, (ticket.symbol, ticket.position_side)
        position = account.positions.get(key)
        if position is not None and fill.closing:
            position.quantity -= sign(position.quantity) * fill.closing
            position.cost -= fill.cost
            position.margin -= fill.margin
            if position.quantity == 0:
                del account.positions[key]
                position = None
        if fill.opening:
            if position is None:
                position = account.positions[key] = Position(ticket.symbol, ticket.position_side)
            setting = account.setting(ticket.symbol)
            position.quantity += ticket.direction * fill.opening
            position.cost += ticket.direction * fill.opening * fill.price
            if setting.isolated:
                position.margin += q8(fill.opening * fill.price / setting.leverage)
        if position is not None:
            position.update_time = self.now
        self._fill_order(order, ticket.quantity, fill.price)
        for quantity, pnl in ((fill.closing, fill.pnl), (fill.opening, ZERO)):
            if quantity:
                self._trade(order, fill.price, quantity, pnl, self._fee(quantity, fill.price))

    def _prepare(self, ticket: Ticket) -> tuple[Ticket, _Fill]:
        if not self.listed(ticket.symbol):
            raise unknown_symbol()
        instrument = self.instruments[ticket.symbol]
        _check_quantity(ticket.quantity, instrument)
        mark = self.price(ticket.symbol)
        position = self.account.positions.get((ticket.symbol, ticket.position_side))
        held = position.quantity if position else ZERO
        closes = held * ticket.direction < 0
        closing_only = ticket.reduce_only or (ticket.position_side != "BOTH" and _closes_side(ticket))
        if not closing_only and ticket.quantity * mark < instrument.min_notional:
            notional = f"{instrument.min_notional.normalize():f}"
            raise Refusal(
                -4164, f"Order's notional must be no smaller than {notional} (unless you choose reduce only)."
            )
        if closing_only:
            if not closes or (ticket.position_side != "BOTH" and ticket.quantity > abs(held)):
                raise Refusal(-2022, "ReduceOnly Order is rejected.")
            quantity = min(ticket.quantity, abs(held))
            ticket = Ticket(ticket.symbol, ticket.direction, quantity, True, ticket.position_side, ticket.client_id)
        price = self.quote(ticket.symbol, ticket.direction, self.terms.spread / 2 + self.terms.slippage)
        if not mark * instrument.multiplier_down <= price <= mark * instrument.multiplier_up:
            raise Refusal(-4131, "The counterparty's best price does not meet the PERCENT_PRICE filter limit.")
        return ticket, self._work_out(ticket, instrument, position if closes else None, price)

    def _work_out(self, ticket: Ticket, instrument: Instrument, closes: Position | None, price: Decimal) -> _Fill:
        closing = min(ticket.quantity, abs(closes.quantity)) if closes else ZERO
        opening = ticket.quantity - closing
        pnl, cost, margin = reduce(closes, closing, price) if closes else (ZERO, ZERO, ZERO)
        if opening:
            if self.tape.series[ticket.symbol].end <= self.now < self.tape.end or not self.trading(ticket.symbol):
                raise Refusal(-4140, "Invalid symbol status for opening position.")
            setting = self.account.setting(ticket.symbol)
            free = available(self.account, self.price, without=closes) + pnl - self._fee(closing, price)
            if q8(opening * price / setting.leverage) + self._fee(opening, price) > free:
                raise Refusal(-2019, "Margin is insufficient.")
            kept = ZERO if closes else self._held(ticket)
            if (kept + opening) * self.price(ticket.symbol) > instrument.max_notional(setting.leverage):
                raise Refusal(-2027, "Exceeded the maximum allowable position at current leverage.")
        return _Fill(price, closing, opening, pnl, cost, margin)

    def _fee(self, quantity: Decimal, price: Decimal) -> Decimal:
        return q8(quantity * price * self.terms.fee)

    def trading(self, symbol: str) -> bool:
        """Tell whether a symbol takes opening orders."""
        return bool(self.instruments[symbol].entry.get("status", "TRADING") == "TRADING")

    def _held(self, ticket: Ticket) -> Decimal:
        position = self.account.positions.get((ticket.symbol, ticket.position_side))
        return abs(position.quantity) if position else ZERO

    # -- writing down ---------------------------------------------------------------------------------------------

    def _new_order(self, ticket: Ticket, kind: str = "MARKET", time_in_force: str = "GTC") -> Order:
        order = Order(
            order_id=self.next_order,
            symbol=ticket.symbol,
            client_id=ticket.client_id,
            side="BUY" if ticket.direction > 0 else "SELL",
            position_side=ticket.position_side,
            type=kind,
            reduce_only=ticket.reduce_only,
            orig_qty=ticket.quantity,
            executed_qty=ZERO,
            avg_price=ZERO,
            cum_quote=ZERO,
            status="NEW",
            time_in_force=time_in_force,
            time=self.now,
            update_time=self.now,
        )
        self.next_order += 1
        self.news.orders.append(order)
        return order

    def _fill_order(self, order: Order, quantity: Decimal, price: Decimal) -> None:
        order.status, order.update_time = "FILLED", self.now
        order.orig_qty = order.executed_qty = quantity
        order.avg_price, order.cum_quote = price, quantity * price

    def _trade(self, order: Order, price: Decimal, quantity: Decimal, pnl: Decimal, fee: Decimal) -> None:
        trade = Trade(
            self.next_trade, order.order_id, order.symbol, order.side, order.position_side, price, quantity, pnl, fee,
            self.now,
        )  # fmt: skip
        self.next_trade += 1
        self.news.trades.append(trade)
        for kind, amount in (("REALIZED_PNL", pnl), ("COMMISSION", -fee)):
            if amount:
                self._pay(order.symbol, kind, amount, trade)
        self.account.update_time = self.now

    def _pay(self, symbol: str, kind: str, amount: Decimal, trade: Trade | None = None) -> None:
        """Change the wallet and say why."""
        self.account.wallet += amount
        self.account.update_time = self.now
        trade_id, order_id = (trade.trade_id, trade.order_id) if trade else (0, 0)
        self.news.incomes.append(Income(self.next_income, symbol, kind, amount, self.now, trade_id, order_id))
        self.next_income += 1


def _closes_side(ticket: Ticket) -> bool:
    return (ticket.position_side == "LONG") == (ticket.direction < 0)


def _check_quantity(quantity: Decimal, instrument: Instrument) -> None:
    if quantity <= 0:
        raise Refusal(-4003, "Quantity less than or equal to zero.")
    if any(quantity % step for step in instrument.steps):
        raise Refusal(-1111, "Precision is over the maximum defined for this asset.")
    if quantity < instrument.min_qty:
        raise Refusal(-4004, "Quantity less than min quantity.")
    if quantity > instrument.max_qty:
        raise Refusal(-4005, "Quantity greater than max quantity.")
