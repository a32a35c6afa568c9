"""An exchange in memory with a ledger of its own, which answers as badly as a test's plan says."""

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import polars as pl

from tests.unit.execution_world import instrument
from tests.unit.live.clock import FakeClock
from tests.unit.live.steps import Steps
from trader.domain.account import Account, Income, MarginMode, Position, Setup
from trader.domain.instrument import Instrument
from trader.domain.interval import Interval
from trader.domain.order import DONE, Fill, Order, OrderRequest
from trader.errors import Denied, ExchangeError, NotSent, OutcomeUnknown, RateLimited, Rejected
from trader.market.candles import with_close

ADA = "ADAUSDT"
RULES = {"listed", "instruments", "any_instruments"}
PUBLIC = {"sync_clock", "candles", "funding_paid", "prices", "funding_rates", *RULES}
"""What needs no key."""
FOREVER = timedelta(days=36500)
SILENT = OutcomeUnknown("POST /fapi/v1/order was sent and no usable answer came back.")


@dataclass(frozen=True)
class Reply:
    """What becomes of one posted order.

    Args:
        effect: whether it is carried out at all.
        error: what is raised instead of the answer; a number is the code of a rejection.
        delay: seconds after which it is accepted.
        rests: seconds it is NEW before its end.
        lag: seconds after its end before any read tells of it; with `hidden` the order itself is hidden too.
        share: how much of it is filled at its end.
        status: its last status.
    """

    effect: bool = True
    error: Exception | int | str | None = None
    delay: float = 0
    rests: float = 0
    lag: float = 0
    share: Decimal = Decimal(1)
    status: str = "FILLED"
    forgotten: bool = False


REPLIES: dict[str, Reply] = {
    "confirmed": Reply(),
    "rejected": Reply(effect=False, error=-2019),
    "denied": Reply(effect=False, error=Denied("over our own limit")),
    "not_sent": Reply(effect=False, error=NotSent("connection refused")),
    "limited": Reply(effect=False, error="limited"),
    "never": Reply(effect=False, error=SILENT),
    "executed": Reply(error=SILENT),
    "late": Reply(error=SILENT, delay=4),
    "late_lagging": Reply(error=SILENT, delay=4, lag=6),
    "lagging": Reply(error=SILENT, lag=9),
    "answered_lagging": Reply(lag=9),
    "partial": Reply(share=Decimal("0.5"), status="EXPIRED"),
    "partial_unknown": Reply(error=SILENT, share=Decimal("0.5"), status="EXPIRED"),
    "rests": Reply(rests=3),
    "rests_unknown": Reply(error=SILENT, rests=3),
    "rests_expires": Reply(rests=3, share=Decimal(0), status="EXPIRED"),
    "empty": Reply(share=Decimal(0), status="EXPIRED"),
    "lost": Reply(effect=False, forgotten=True),
}


@dataclass
class Placed:
    """One order on the exchange's book; `shown_at` is when reads tell of it, `done_at` when it ends."""

    order: Order
    done_at: datetime
    shown_at: datetime
    fills: list[Fill] = field(default_factory=list)

    def seen(self, now: datetime) -> Order | None:
        if now < self.shown_at:
            return None
        if now < self.done_at:
            return replace(self.order, status="NEW", filled=Decimal(0))
        return self.order


class FakeExchange:
    """One account; implements `live.ports.Gateway`."""

    def __init__(self, clock: FakeClock, *, equity: str = "10000", symbols: Sequence[str] = (ADA,)) -> None:
        self.clock = clock
        self.steps = Steps()
        self.cash = Decimal(equity)
        self.prices_now: dict[str, Decimal] = dict.fromkeys(symbols, Decimal(1))
        self.rules: dict[str, Instrument] = {symbol: instrument(symbol) for symbol in symbols}
        self.setups = {symbol: Setup(symbol, 2, "isolated", False, False, True) for symbol in symbols}
        self.funding_now: dict[str, Decimal] = {}
        self.clock_offset = timedelta(0)
        self.plan: list[Reply] = []
        self.faults: dict[tuple[str, int], Exception] = {}
        self.outages: list[tuple[datetime, datetime]] = []
        self.barred: list[tuple[datetime, datetime]] = []
        self.watch: Callable[[OrderRequest], object] = lambda request: None
        self.posts: list[tuple[datetime, OrderRequest, Decimal]] = []
        self.placed: list[Placed] = []
        self.bookings: list[Income] = []
        self.resting: list[Order] = []
        self.moved: Callable[[str], object] = lambda symbol: None
        self.conditional: Callable[[], list[Order]] = list
        self.accept_setup = True
        self.burns: bool | None = False
        self.account_lag = timedelta(0)
        self.publish_after = timedelta(0)
        self.candle_frames: list[pl.DataFrame] = []
        self.blind: set[str] = set()
        self.priceless: set[str] = set()
        self.stamps: dict[str, list[tuple[datetime, float]]] = {}
        self.hours: dict[str, int] = {}
        self.unreadable: dict[str, str] = {}
        self.closed = False
        self._turns: Counter[str] = Counter()
        self._later: list[tuple[datetime, Callable[[], object]]] = []

    async def _enter(self, name: str) -> None:
        await asyncio.sleep(0)
        self.steps.take(name)
        turn = self._turns[name]
        self._turns[name] += 1
        self._happen()
        if any(start <= self.clock.now() < end for start, end in self.outages):
            raise NotSent(f"{name} never reached the exchange; check the network.")
        if name not in PUBLIC and any(start <= self.clock.now() < end for start, end in self.barred):
            raise Rejected(f"{name} was refused with -2015; check the API key.", code=-2015, status=401)
        if (fault := self.faults.pop((name, turn), None)) is not None:
            raise fault

    def _happen(self) -> None:
        due = [event for event in self._later if event[0] <= self.clock.now()]
        self._later = [event for event in self._later if event[0] > self.clock.now()]
        for _, event in sorted(due, key=lambda event: event[0]):
            event()

    # --- the ledger --------------------------------------------------------------------------------------------------

    def trades(self, symbol: str | None = None) -> list[Fill]:
        self._happen()
        return [
            fill
            for one in self.placed
            for fill in one.fills
            if fill.time <= self.clock.now() and symbol in (None, fill.symbol)
        ]

    def position(self, symbol: str = ADA) -> Decimal:
        return sum((fill.quantity for fill in self.trades(symbol)), Decimal(0))

    def trade(self, quantity: str, client_id: str = "by-hand", symbol: str = ADA) -> None:
        """Let somebody else trade on the account: a person, or the exchange itself."""
        self._place(OrderRequest(client_id, symbol, Decimal(quantity), False), Reply(), self.clock.now())

    def _place(self, request: OrderRequest, reply: Reply, at: datetime) -> Placed | None:
        held = self.position(request.symbol)
        quantity = request.quantity
        if request.reduce_only:
            if not held or (held > 0) == (quantity > 0):
                return None
            quantity = max(-abs(held), min(abs(held), quantity))
        number = str(len(self.placed) + 1)
        price = self.prices_now[request.symbol]
        done_at = at + timedelta(seconds=reply.rests)
        filled = quantity * reply.share
        order = Order(
            client_id=request.client_id,
            exchange_id=number,
            symbol=request.symbol,
            quantity=request.quantity,
            filled=filled,
            average_price=price,
            status=reply.status,
            reduce_only=request.reduce_only,
            time=done_at,
        )
        lag = timedelta(seconds=reply.lag)
        placed = Placed(order, done_at, at + lag)
        if filled:
            trade_id = str(10 + len(self.placed))
            placed.fills = [Fill(trade_id, number, request.symbol, filled, price, Decimal(0), Decimal(0), done_at)]
        self.placed.append(placed)
        self.moved(request.symbol)
        return placed

    def _shown_trades(self, symbol: str, lag: timedelta = timedelta(0)) -> list[Fill]:
        now = self.clock.now() - lag
        shown = [fill for one in self.placed if one.shown_at <= now for fill in one.fills]
        return [fill for fill in shown if fill.symbol == symbol and fill.time <= now]

    # --- the port ----------------------------------------------------------------------------------------------------

    async def sync_clock(self) -> timedelta:
        await self._enter("sync_clock")
        return self.clock_offset

    async def candles(
        self, symbols: Sequence[str], interval: Interval, count: int, least: int | None = None
    ) -> tuple[pl.DataFrame, Mapping[str, str]]:
        await self._enter("candles")
        if self.candle_frames:
            return self.candle_frames.pop(0), {}
        left = [symbol for symbol in symbols if symbol not in self.blind]
        last = interval.floor(self.clock.now() - self.publish_after)
        reasons = {symbol: "its candles have a hole" for symbol in symbols if symbol in self.blind}
        return flat_candles(left, interval, last, count), reasons

    async def funding_paid(self, symbols: Sequence[str], since: datetime) -> pl.DataFrame:
        await self._enter("funding_paid")
        told = [(symbol, at, rate) for symbol in symbols for at, rate in self.stamps.get(symbol, []) if at > since]
        stamps = [(symbol, at, rate, self.hours.get(symbol, 8)) for symbol, at, rate in told]
        names = {"symbol": pl.String, "funding_time": pl.Datetime("ms", "UTC"), "funding_rate": pl.Float64}
        return pl.DataFrame(stamps, schema=names | {"hours": pl.Int64}, orient="row")

    async def listed(self) -> tuple[Mapping[str, Instrument], Mapping[str, str]]:
        await self._enter("listed")
        return dict(self.rules), dict(self.unreadable)

    async def prices(self, symbols: Sequence[str]) -> Mapping[str, Decimal]:
        await self._enter("prices")
        told = {symbol: self.prices_now[symbol] for symbol in symbols if symbol not in self.priceless}
        if symbols and not told:
            raise ExchangeError(f"It tells no price of {', '.join(symbols)}.")
        return told

    async def funding_rates(self, symbols: Sequence[str]) -> Mapping[str, Decimal]:
        await self._enter("funding_rates")
        return {symbol: self.funding_now[symbol] for symbol in symbols if symbol in self.funding_now}

    async def instruments(self, symbols: Sequence[str]) -> Mapping[str, Instrument]:
        await self._enter("instruments")
        return {symbol: self.rules[symbol] for symbol in symbols}

    async def any_instruments(self, symbols: Sequence[str]) -> tuple[Mapping[str, Instrument], Mapping[str, str]]:
        await self._enter("any_instruments")
        told = {symbol: self.rules[symbol] for symbol in symbols if symbol in self.rules}
        return told, {symbol: "it is not listed on this venue" for symbol in symbols if symbol not in told}

    async def account(self) -> Account:
        await self._enter("account")
        held = {
            symbol: sum((fill.quantity for fill in self._shown_trades(symbol, self.account_lag)), Decimal(0))
            for symbol in self.prices_now
        }
        paid = sum((fill.quantity * fill.price for fill in self.trades()), Decimal(0))
        worth = sum((self.position(symbol) * price for symbol, price in self.prices_now.items()), Decimal(0))
        booked = sum((income.amount for income in self.bookings if income.time <= self.clock.now()), Decimal(0))
        equity = self.cash + booked - paid + worth
        positions = {
            symbol: Position(symbol, quantity, self.prices_now[symbol], Decimal(0))
            for symbol, quantity in held.items()
            if quantity
        }
        return Account(self.clock.now(), self.cash + booked, equity, equity, positions)

    async def setup(self, symbol: str) -> Setup:
        await self._enter("setup")
        return self.setups[symbol]

    async def setups_of(self, symbols: Sequence[str]) -> list[Setup]:
        return [await self.setup(symbol) for symbol in symbols]

    async def burns_fees(self) -> bool | None:
        await self._enter("burns_fees")
        return self.burns

    async def set_leverage(self, symbol: str, leverage: int) -> None:
        await self._enter("set_leverage")
        if self.accept_setup:
            self.setups[symbol] = replace(self.setups[symbol], leverage=leverage)

    async def set_margin_mode(self, symbol: str, mode: MarginMode) -> None:
        await self._enter("set_margin_mode")
        if self.accept_setup:
            self.setups[symbol] = replace(self.setups[symbol], margin_mode=mode)

    async def send(self, order: OrderRequest) -> Order:
        now = self.clock.now()
        await self._enter("send")
        self.watch(order)
        self.posts.append((now, order, self.position(order.symbol)))
        answer = self._carry_out(order, self.plan.pop(0) if self.plan else Reply(), now)
        self.steps.take("answer")
        return answer() if callable(answer) else answer

    def _carry_out(self, order: OrderRequest, reply: Reply, now: datetime) -> Any:
        """Do what the reply says; return the order, or what raises the failure once the effect is there."""
        twin = next((one for one in self.placed if one.order.client_id == order.client_id), None)
        if twin is not None and now < twin.done_at:
            return _raiser(Rejected("an order of that name is open", code=-4116))
        if reply.forgotten:
            return Order(order.client_id, "0", order.symbol, order.quantity, Decimal(0), Decimal(0), "NEW", False, now)
        placed = None
        if reply.effect and reply.delay:
            self._later.append((at := now + timedelta(seconds=reply.delay), lambda: self._place(order, reply, at)))
        elif reply.effect:
            placed = self._place(order, reply, now)
            if placed is None:
                return _raiser(Rejected("nothing to reduce", code=-2022))
        if reply.error is not None:
            return _raiser(_error(reply.error, now))
        assert placed is not None
        return placed.order if now >= placed.done_at else replace(placed.order, status="NEW", filled=Decimal(0))

    async def find(self, symbol: str, client_id: str) -> Order | None:
        await self._enter("find")
        return self._newest(lambda one: one.symbol == symbol and one.client_id == client_id)

    async def find_by_exchange_id(self, symbol: str, exchange_id: str) -> Order | None:
        await self._enter("find_by_exchange_id")
        return self._newest(lambda one: one.symbol == symbol and one.exchange_id == exchange_id)

    def _newest(self, wanted: Callable[[Order], bool]) -> Order | None:
        seen = [one.seen(self.clock.now()) for one in self.placed if wanted(one.order)]
        return next((order for order in reversed(seen) if order is not None), None)

    async def fills(self, symbol: str, *, order: Order | None = None, since: str | None = None) -> list[Fill]:
        await self._enter("fills")
        found = self._shown_trades(symbol)
        if order is not None:
            found = [fill for fill in found if fill.exchange_id == order.exchange_id]
        return [fill for fill in found if since is None or int(fill.trade_id) > int(since)]

    async def incomes(self, since: datetime) -> list[Income]:
        await self._enter("incomes")
        return [income for income in self.bookings if since <= income.time <= self.clock.now()]

    async def open_orders(self, *, conditional: bool = True) -> list[Order]:
        await self._enter("open_orders")
        resting = [order for one in self.placed if (order := one.seen(self.clock.now())) and order.status not in DONE]
        return self.resting + resting + (self.conditional() if conditional else [])

    async def close(self) -> None:
        self.closed = True


def _raiser(error: Exception) -> Callable[[], Order]:
    def answer() -> Order:
        raise error

    return answer


def _error(kind: Exception | int | str, now: datetime) -> Exception:
    if isinstance(kind, int):
        return Rejected("refused for good", code=kind)
    if kind == "limited":
        return RateLimited("too many requests", retry_at=now + timedelta(seconds=20), code=-1003, status=429)
    assert isinstance(kind, ExchangeError)
    return kind


def flat_candles(symbols: Sequence[str], interval: Interval, last: datetime, count: int) -> pl.DataFrame:
    """Whole candles at a price of 1, the last one closing at `last`."""
    opens = [last - (row + 1) * interval.delta for row in reversed(range(count))]
    bars = pl.DataFrame(
        {"symbol": [s for s in symbols for _ in opens], "open_time": opens * len(symbols), "close": 1.0},
        schema={"symbol": pl.String, "open_time": pl.Datetime("ms", "UTC"), "close": pl.Float64},
    ).with_columns(pl.col("close").alias(name) for name in ("open", "high", "low", "volume"))
    return with_close(bars, interval)
