"""The imagined account of a dry run: orders, trades and bookings as an exchange would keep them; pure."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from decimal import ROUND_HALF_EVEN, Decimal

from pydantic import TypeAdapter, ValidationError

from trader.domain.account import Account, Income, MarginMode, Position
from trader.domain.instrument import Bracket, Instrument
from trader.domain.order import Fill, Order, OrderRequest
from trader.errors import JournalError, Rejected
from trader.exchange.mapping import Funding
from trader.execution.fills import Costs, Execution, Ledger, booked

_ZERO = Decimal(0)
_EIGHT_DECIMALS = Decimal("1e-8")
_KEPT = timedelta(days=30)
_NO_MARKS: Mapping[str, Decimal] = {}
_NEW_SYMBOL: tuple[int, MarginMode] = (20, "cross")
# Without a key there are no brackets; a position then goes when its margin is used up.
_NO_MAINTENANCE = (Bracket(_ZERO, Decimal("Infinity"), 125, _ZERO, _ZERO),)


@dataclass(slots=True)
class Imagined:
    """One imagined account.

    `modes` is leverage and margin mode by symbol, `number` the last one given to an order, trade or booking, and
    `funded` the time up to which a symbol's funding is booked. What is older than a month is forgotten.
    """

    ledger: Ledger
    orders: list[Order] = field(default_factory=list)
    fills: list[Fill] = field(default_factory=list)
    incomes: list[Income] = field(default_factory=list)
    modes: dict[str, tuple[int, MarginMode]] = field(default_factory=dict)
    funded: dict[str, datetime] = field(default_factory=dict)
    number: int = 0

    @classmethod
    def opened(cls, equity: Decimal, costs: Costs) -> "Imagined":
        """Return an account with nothing but money."""
        return cls(Ledger(wallet=equity, costs=costs, leverage=_NEW_SYMBOL[0], margin_mode=_NEW_SYMBOL[1]))

    def mode(self, symbol: str) -> tuple[int, MarginMode]:
        """Return leverage and margin mode of a symbol."""
        return self.modes.get(symbol, _NEW_SYMBOL)

    def set_mode(self, symbol: str, leverage: int, margin_mode: MarginMode) -> None:
        """Set leverage and margin mode; all symbols of one strategy have the same margin mode."""
        self.modes[symbol] = (leverage, margin_mode)
        self.ledger.chosen[symbol], self.ledger.margin_mode = leverage, margin_mode

    def trade(
        self,
        request: OrderRequest,
        instrument: Instrument,
        price: Decimal,
        time: datetime,
        marks: Mapping[str, Decimal] = _NO_MARKS,
    ) -> Order:
        """Fill an order near a price, or what its limit reaches; the rest of it expires.

        `marks` are the prices of what else is held, which cross margin is tested at.

        Raises:
            Rejected: the rules or the margin do not allow it, with the code the exchange would give. What it may have
                changed by then must be thrown away.
        """
        _require_rules(request, instrument, price)
        symbol = request.symbol
        if not self.ledger.quantity(symbol) and symbol not in self.unfunded():
            self.funded[symbol] = time
        done = self.ledger.trade(
            instrument, request.quantity, price, reduce_only=request.reduce_only, limit=request.limit, marks=marks
        )
        order = self._record(request, done, time)
        self._forget(time)
        return order

    def unfunded(self) -> list[str]:
        """List symbols whose funding may have to be booked: held, or held since it was booked last."""
        traded = {fill.symbol for fill in self.fills if fill.time >= self.funded.get(fill.symbol, fill.time)}
        return sorted({*self.ledger.holdings, *traded})

    def fund(self, funding: Funding) -> None:
        """Book a funding stamp on the position held until then."""
        later = (fill.quantity for fill in self.fills if fill.symbol == funding.symbol and fill.time >= funding.time)
        held = self.ledger.quantity(funding.symbol)
        quantity = held - sum(later, _ZERO)
        if quantity == held:
            amount = self.ledger.fund(funding.symbol, funding.rate, funding.price)
        else:
            # It was told after the position had changed.
            amount = -booked(quantity * funding.price * funding.rate)
            self.ledger.wallet += amount
            self.ledger.funding += amount
        self.funded[funding.symbol] = funding.time
        if quantity:
            self._book("FUNDING_FEE", funding.symbol, amount, funding.time)

    def liquidate(self, instruments: Mapping[str, Instrument], prices: Mapping[str, Decimal], time: datetime) -> bool:
        """Take away what its margin no longer carries at the prices of all that is held; tell whether it did."""
        rules = {
            symbol: replace(instruments[symbol], brackets=instruments[symbol].brackets or _NO_MAINTENANCE)
            for symbol in prices
        }
        taken = self.ledger.liquidate(rules, prices)
        if taken is None:
            return False
        name = f"autoclose-{round(time.timestamp() * 1000)}"
        for gone in taken.executions:
            self._record(OrderRequest(name, gone.symbol, gone.quantity, reduce_only=True), [gone], time)
        if taken.cleared:
            self._book("INSURANCE_CLEAR", taken.executions[-1].symbol, taken.cleared, time)
        return True

    def account(self, prices: dict[str, Decimal], time: datetime) -> Account:
        """Return the account marked at prices of what it holds."""
        positions = {
            symbol: Position(
                symbol=symbol,
                quantity=holding.quantity,
                entry_price=(holding.cost / holding.quantity).quantize(_EIGHT_DECIMALS, ROUND_HALF_EVEN),
                unrealised=self.ledger.unrealised(symbol, prices[symbol]),
            )
            for symbol, holding in self.ledger.holdings.items()
        }
        return Account(
            time=time,
            wallet=self.ledger.wallet,
            equity=self.ledger.equity(prices),
            available=self.ledger.available(prices),
            positions=positions,
        )

    def _record(self, request: OrderRequest, done: list[Execution], time: datetime) -> Order:
        filled = sum((execution.quantity for execution in done), _ZERO)
        order = Order(
            client_id=request.client_id,
            exchange_id=str(self._next()),
            symbol=request.symbol,
            quantity=request.quantity,
            filled=filled,
            average_price=done[0].price if done else _ZERO,
            # a market order that only reduces is cut to what is held
            status="FILLED" if request.limit is None or filled == request.quantity else "EXPIRED",
            reduce_only=request.reduce_only,
            time=time,
        )
        self.orders.append(order)
        for execution in done:
            trade = self._next()
            self.fills.append(
                Fill(
                    trade_id=str(trade),
                    exchange_id=order.exchange_id,
                    symbol=order.symbol,
                    quantity=execution.quantity,
                    price=execution.price,
                    fee=execution.fee,
                    realised=execution.realised,
                    time=time,
                )
            )
            for kind, amount in (("REALIZED_PNL", execution.realised), ("COMMISSION", -execution.fee)):
                if amount:
                    self._book(kind, order.symbol, amount, time, str(trade))
        return order

    def _book(self, kind: str, symbol: str, amount: Decimal, time: datetime, trade_id: str = "") -> None:
        self.incomes.append(Income(str(self._next()), kind, symbol, amount, time, trade_id))

    def _next(self) -> int:
        self.number += 1
        return self.number

    def _forget(self, now: datetime) -> None:
        self.orders = [order for order in self.orders if order.time > now - _KEPT]
        self.fills = [fill for fill in self.fills if fill.time > now - _KEPT]
        self.incomes = [income for income in self.incomes if income.time > now - _KEPT]


_SHAPE = TypeAdapter(Imagined)


def encode(account: Imagined) -> str:
    """Return an account as JSON text."""
    return _SHAPE.dump_json(account).decode()


def decode(text: str) -> Imagined:
    """Return the account of a JSON text.

    Raises:
        JournalError: it is not one.
    """
    try:
        return _SHAPE.validate_json(text)
    except ValidationError as error:
        raise JournalError(
            f"The journal's imagined account cannot be read ({error.error_count()} faults); start the dry run "
            "with a new data directory."
        ) from error


def _require_rules(request: OrderRequest, instrument: Instrument, price: Decimal) -> None:
    size, limit = abs(request.quantity), request.limit
    notional = size * (limit or price)
    checks = [
        (not instrument.trading and not request.reduce_only, -4140, f"it is {instrument.status}"),
        (bool(size % instrument.step), -1111, f"{size} is not a whole number of steps of {instrument.step}"),
        (size < instrument.min_quantity or not size, -4003, f"{size} is below the least {instrument.min_quantity}"),
        (size > instrument.max_quantity, -4005, f"{size} is above the most {instrument.max_quantity}"),
        (
            not request.reduce_only and notional < instrument.min_notional,
            -4164,
            f"a notional of {notional:f} is below the least {instrument.min_notional}",
        ),
    ]
    if limit is not None:
        buys = request.quantity > 0
        outside = -4016 if buys else -4024
        checks += [
            (bool(limit % instrument.tick), -4014, f"{limit} is not a whole number of ticks of {instrument.tick}"),
            (instrument.within(limit, price, buys=buys) != limit, outside, f"{limit} is too far from {price}"),
        ]
    for wrong, code, words in checks:
        if wrong:
            raise Rejected(f"The imagined order of {request.symbol} was refused with {code}: {words}.", code=code)
