"""Where protective stops rest in memory, beside the exchange, as badly answered as a test's plan says."""

from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from decimal import Decimal

from tests.unit.live.exchange import FOREVER, FakeExchange, Reply
from trader.domain.order import Order, OrderRequest
from trader.domain.stop import Stop, StopRequest
from trader.errors import ExchangeError, NotSent, OutcomeUnknown, RateLimited, Rejected

SILENT = OutcomeUnknown("POST /fapi/v1/algoOrder was sent and no usable answer came back.")


@dataclass(frozen=True)
class Answer:
    """What becomes of one posted stop: whether and after how many seconds it rests, and what is raised instead.

    `hidden` is for how long no look finds it.
    """

    effect: bool = True
    error: Exception | None = None
    delay: float = 0
    hidden: float = 0


ANSWERS = {
    "confirmed": Answer(),
    "executed": Answer(error=SILENT),
    "never": Answer(effect=False, error=SILENT),
    "late": Answer(error=SILENT, delay=4),
    "hidden": Answer(error=SILENT, hidden=9),
    "answered_hidden": Answer(hidden=9),
    "not_sent": Answer(effect=False, error=NotSent("connection refused")),
}


@dataclass
class Resting:
    """One stop on the book, from when it rests, and since when it is shown."""

    request: StopRequest
    stop: Stop
    shown_at: datetime


class FakeStops:
    """Implements `live.ports.Stops` on a fake exchange: closePosition, one of a side, gone with its position."""

    def __init__(self, exchange: FakeExchange) -> None:
        self.exchange = exchange
        self.book: list[Resting] = []
        self.plan: list[Answer] = []
        self.posts: list[StopRequest] = []
        self.slow_cancels = 0
        self.carries_name = True
        exchange.moved = self.tidy
        exchange.conditional = self.at_rest

    @property
    def now(self) -> datetime:
        return self.exchange.clock.now()

    def waiting(self, symbol: str | None = None) -> list[StopRequest]:
        self.exchange._happen()
        found = [one for one in self.book if one.stop.status == "NEW"]
        return [one.request for one in found if symbol in (None, one.request.symbol)]

    def at_rest(self) -> list[Order]:
        return [
            Order(one.client_id, "9", one.symbol, Decimal(0), Decimal(0), Decimal(0), "NEW", True, self.now)
            for one in self.waiting()
        ]

    def tidy(self, symbol: str) -> None:
        """Expire what could only close a position that is gone, or turned."""
        for one in self.book:
            held = self.exchange.position(symbol)
            if one.request.symbol == symbol and one.stop.status == "NEW" and held * one.request.closes >= 0:
                one.stop = replace(one.stop, status="EXPIRED")

    def trigger(self, symbol: str, status: str = "FINISHED", reply: Reply | None = None) -> None:
        """Let the price touch whatever waits."""
        for one in self.book:
            if one.request.symbol != symbol or one.stop.status != "NEW":
                continue
            one.stop = replace(one.stop, status=status)
            name = one.request.client_id if self.carries_name else f"algo-{one.stop.exchange_id}"
            order = OrderRequest(name, symbol, -self.exchange.position(symbol), True)
            placed = self.exchange._place(order, reply or Reply(), self.now)
            assert placed is not None
            one.stop = replace(one.stop, order_id=placed.order.exchange_id)

    async def place_stop(self, stop: StopRequest) -> Stop:
        await self.exchange._enter("place_stop")
        self.posts.append(stop)
        answer = self.plan.pop(0) if self.plan else Answer()
        if answer.effect and answer.delay:
            at = self.now + timedelta(seconds=answer.delay)
            self.exchange._later.append((at, lambda: self._arrive(stop)))
        elif answer.effect:
            self._rest(stop, answer)
        self.exchange.steps.take("answer_stop")
        if isinstance(answer.error, RateLimited):
            raise RateLimited("too many requests", retry_at=self.now + timedelta(seconds=20), code=-1003, status=429)
        if answer.error is not None:
            raise answer.error
        return self.book[-1].stop

    def _arrive(self, stop: StopRequest) -> None:
        """Accept a stop that was long under way, or refuse it where nobody hears of it."""
        with suppress(ExchangeError):
            self._rest(stop, Answer())

    def _rest(self, stop: StopRequest, answer: Answer) -> None:
        held, price = self.exchange.position(stop.symbol), self.exchange.prices_now[stop.symbol]
        if any(one.client_id == stop.client_id for one in self.waiting()):
            raise OutcomeUnknown("a twin is open", code=-4116)
        if held * stop.closes >= 0:
            raise Rejected("nothing to close", code=-4509)
        if (price <= stop.trigger) if held > 0 else (price >= stop.trigger):
            raise Rejected("would trigger at once", code=-2021)
        if any(one.closes * stop.closes > 0 for one in self.waiting(stop.symbol)):
            raise Rejected("there is one of that side", code=-4130)
        number = str(len(self.book) + 1)
        known = Stop(stop.client_id, number, stop.symbol, stop.trigger, "NEW", None, self.now)
        self.book.append(Resting(stop, known, self.now + timedelta(seconds=answer.hidden)))

    async def find_stop(self, symbol: str, client_id: str) -> Stop | None:
        await self.exchange._enter("find_stop")
        named = [one for one in self.book if one.request.client_id == client_id and one.shown_at <= self.now]
        return named[-1].stop if named else None

    async def cancel_stop(self, symbol: str, client_id: str) -> None:
        await self.exchange._enter("cancel_stop")
        if self.slow_cancels:
            self.slow_cancels -= 1
            return
        for one in self.book:
            if one.request.client_id == client_id and one.stop.status == "NEW":
                one.stop = replace(one.stop, status="CANCELED")

    def forget(self) -> None:
        """Know nothing of any stop any more, as of one that ended long ago."""
        for one in self.book:
            one.shown_at = self.now + FOREVER
