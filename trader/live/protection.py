"""Keep one stop at rest on the exchange for every position that is held, and none where nothing is.

It is there for the hours in which nobody is: between two closes, and while daemon or machine are dead. A stop closes
the whole position, whatever its size has become, so that only its price has to be kept up, which follows the average
entry price. It is durable before it is placed; what an answer does not prove is settled by looking; and one that has to
go is proven gone before another takes its place, because the exchange takes no two of a side.
"""

from collections.abc import AsyncIterator, Container, Iterable, Mapping, Sequence, Set
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from structlog.typing import FilteringBoundLogger

from trader.domain.account import Account, Position
from trader.domain.decision import State
from trader.domain.interval import Interval
from trader.domain.order import Order, client_id, client_prefix
from trader.domain.stop import Stop, StopRequest
from trader.errors import Denied, ExchangeError, Mismatch, NotSent, OutcomeUnknown, RateLimited, Rejected
from trader.execution.refusals import Action, action_of
from trader.execution.stops import level, same
from trader.journal.journal import Journal
from trader.journal.protection import LEG
from trader.journal.rows import MISSING_STOP, StopIntent, StopRecord
from trader.live.closing import Closer, Rulebook
from trader.live.lanes import Reach, side_by_side
from trader.live.ports import Clock, Gateway, Stops
from trader.live.router import Router

WAITS: Final = "NEW"
ABSENT: Final = "ABSENT"
"""The status of a stop the exchange does not have."""

_BEYOND, _NOTHING_HELD = -2021, -4509
_REPLACED = "the position has another price, or another side"
_NEEDLESS = "the position is gone"
_UNWANTED = "no stop is wanted any more"
_FORGOTTEN = "the journal has forgotten a stop that has its name"
_NOT_OURS = "the exchange or somebody took it back"


@dataclass(frozen=True, slots=True)
class StopTerms:
    """Whose stops they are, and how far the price may move against a position; None for no stops."""

    instance: str
    interval: Interval
    fraction: Decimal | None


class Protection:
    """Place, look up, replace and take back stops.

    Args:
        stops: where they rest; None where there is no such place, as in a dry run.
        gateway: the account.
        journal: the story so far.
        clock: the venue's.
        router: waits as the order protocol does, and closes what is beyond its stop already.
        terms: whose stops, and where they lie.
        log: says what was done.
    """

    def __init__(
        self,
        stops: Stops | None,
        gateway: Gateway,
        journal: Journal,
        clock: Clock,
        router: Router,
        terms: StopTerms,
        log: FilteringBoundLogger,
    ) -> None:
        self._stops = stops
        self._gateway = gateway
        self._journal = journal
        self._clock = clock
        self._router = router
        self._terms = terms
        self._log = log
        self._closer = Closer(terms.instance, terms.interval, gateway, journal, clock, router)
        self.failed: Mapping[str, str] = {}
        self.missing: Mapping[str, str] = {}
        self.unseen = ""

    @property
    def doubtful(self) -> bool:
        """Whether a stop that is wanted is missing, or what rests is not told."""
        return bool(self.missing or self.unseen)

    @property
    def idle(self) -> bool:
        """Whether no stop is wanted and none stands."""
        return self._stops is None or (self._terms.fraction is None and not self._journal.standing_stops())

    async def follow(self, account: Account, *, leave: Set[str] = frozenset(), tell: bool = True) -> list[str]:
        """Bring every stop to what the account holds; a symbol that fails keeps no other without its stop.

        What fails is in `failed` until a later call puts it right, with its reason. A stop that a position should have
        is in `missing` then, and the daemon only reduces until none is, unless that is not to be told yet.

        Returns:
            The symbols of which something was closed that the journal need not know yet.

        Raises:
            Mismatch: an order that closed what was beyond its stop cannot be explained.
        """
        stops = self._stops
        if stops is None:
            return []
        standing: dict[str, list[StopRecord]] = {}
        for record in self._journal.standing_stops():
            standing.setdefault(record.symbol, []).append(record)
        held = {symbol: position for symbol, position in account.positions.items() if position.quantity}
        wanted = held if self._terms.fraction is not None else {}
        rules, closed = Rulebook(self._gateway, sorted(wanted)), list[str]()
        failed, mismatches = {one: why for one, why in self.failed.items() if one in leave}, list[Mismatch]()

        async def follow(symbol: str) -> None:
            why = _NEEDLESS if symbol not in held else _REPLACED if symbol in wanted else _UNWANTED
            try:
                if await self._follow(stops, wanted.get(symbol), standing.get(symbol, []), rules, why):
                    closed.append(symbol)
            except (Mismatch, ExchangeError) as error:
                self._log.warning("stop not in its place", symbol=symbol, why=str(error))
                failed[symbol] = str(error)
                if isinstance(error, Mismatch):
                    mismatches.append(error)

        await side_by_side(sorted({*standing, *wanted} - leave), follow, self._router.parallel)
        self.failed, self.missing = failed, {symbol: failed[symbol] for symbol in sorted(wanted) if symbol in failed}
        if tell:
            self._tell(lift=not leave)
        if mismatches:
            raise mismatches[0]
        return sorted(closed)

    def _tell(self, *, lift: bool = True) -> None:
        """Reduce only while a stop that is wanted is not known to rest; nobody has to resume what mends itself."""
        if self.doubtful:
            said = [f"no stop is known to rest for {one}: {why.rstrip('.')}" for one, why in self.missing.items()]
            unseen = [f"which stops rest is not told: {self.unseen.rstrip('.')}"] if self.unseen else []
            self._restrict(State.REDUCING, f"{'; '.join(said + unseen)}; it is tried again", MISSING_STOP)
        elif lift and self._journal.state().passing:
            why = "every position that is to have a stop has one again"
            self._log.warning("state changed", state=State.ACTIVE.value, why=why, by=MISSING_STOP)
            self._journal.set_state(State.ACTIVE, why, MISSING_STOP, self._clock.now())

    def tell_unseen(self, why: str) -> None:
        """Hear why the exchange does not tell which stops rest; nothing where it did."""
        before, self.unseen = self.unseen, why
        if why or (before and not self.failed):
            self._tell()

    async def fired(self, *, every: bool = False, among: Container[str] | None = None) -> list[str]:
        """Look at every stop that stands; return the symbols of those that closed something the journal does not know.

        One that cannot be keeps no order from its end: what it closed is found as a difference. Where `every` one has
        to be, it raises ExchangeError; `among` some symbols only theirs are.
        """
        if self._stops is None:
            return []
        closed, standing, reach = set(), self._journal.standing_stops(), Reach(self._gateway)
        for record in [one for one in standing if among is None or one.symbol in among]:
            try:
                if (stop := await self._settle(self._stops, record)) is not None and stop.done:
                    closed.add(record.symbol)
                await reach.lost()
            except ExchangeError as error:
                if every:
                    raise
                self._log.warning("stop not looked at", client_id=record.client_id, why=str(error))
                if await reach.lost(error):
                    break
        return sorted(closed)

    async def sweep(self, orders: Iterable[Order], *, adopt: bool = False) -> list[Order]:
        """Take back stops of ours that rest although the journal ended them, and return the orders that are not ours.

        Args:
            orders: what rests on the account.
            adopt: take back stops of this instance that the journal does not know, too: it is a new one.
        """
        left = []
        for order in orders:
            record, name = self._journal.stop(order.client_id), order.client_id
            lost = record is None and adopt and _names_stop(name, client_prefix(self._terms.instance))
            if record is None and not lost:
                left.append(order)
            elif self._stops is not None and (record is None or record.final):
                self._log.warning("stop left over", client_id=name, symbol=order.symbol)
                self._journal.require_lock()
                try:
                    await self._stops.cancel_stop(order.symbol, name)
                except ExchangeError as error:
                    self._log.warning("stop still left over", client_id=name, why=str(error))
        return left

    async def origin(self, order: Order) -> StopRecord | None:
        """Return the stop that became an order, by its name or by what the exchange says it became."""
        known = self._journal.stop(order.client_id)
        if known is not None or self._stops is None:
            return known
        found = [
            record async for record, stop in self._of(self._stops, order.symbol) if stop.order_id == order.exchange_id
        ]
        return found[0] if found else None

    async def struck(self, symbol: str) -> list[Order]:
        """Return the orders that the stops of a symbol which stand in the journal have become."""
        if self._stops is None:
            return []
        numbers = [stop.order_id async for _, stop in self._of(self._stops, symbol) if stop.order_id is not None]
        orders = [await self._gateway.find_by_exchange_id(symbol, number) for number in numbers]
        return [order for order in orders if order is not None]

    async def _of(self, stops: Stops, symbol: str) -> AsyncIterator[tuple[StopRecord, Stop]]:
        """Look at the stops of a symbol that stand in the journal."""
        for record in self._journal.standing_stops():
            if record.symbol == symbol and record.sent_at is not None:
                stop = await stops.find_stop(symbol, record.client_id)
                if stop is not None:
                    yield record, stop

    async def _follow(
        self, stops: Stops, position: Position | None, records: Sequence[StopRecord], rules: Rulebook, why: str
    ) -> bool:
        """Bring the stops of one symbol to its position; True where something was closed."""
        kept = False
        for record in records:
            stop = await self._settle(stops, record)
            if stop is not None and not stop.done and (kept or position is None or not self._fits(record, position)):
                stop = await self._take_back(stops, record, why)
            if stop is not None and stop.done:
                return True
            kept = kept or stop is not None
        return position is not None and not kept and await self._place(stops, position, rules)

    def _fits(self, record: StopRecord, position: Position) -> bool:
        intent = record.intent
        right_side = intent.request.closes * position.quantity < 0
        return right_side and intent.fraction == self._terms.fraction and same(intent.entry, self._entry(position))

    def _entry(self, position: Position) -> Decimal:
        """Return what a position cost on average, as its fills say, else as the exchange does."""
        held = self._journal.held().get(position.symbol)
        if held is None or held.cost is None or held.quantity != position.quantity:
            return position.entry_price
        return held.cost / held.quantity

    async def _settle(self, stops: Stops, record: StopRecord, why: str = _NOT_OURS) -> Stop | None:
        """Find out how a stop stands: None where it is at its end, which is durable then.

        One that is returned as done has closed something that the journal does not know.
        """
        if (sent_at := record.sent_at) is None:
            before = self._router.is_from_before(record.intent.close)
            if not before or await stops.find_stop(record.symbol, record.client_id) is None:
                self._end(record, ABSENT, "it was never posted")
                return None
            # an older journal has only forgotten that it was
            sent_at = self._clock.now()
            self._journal.mark_stop_sent(record.client_id, sent_at)
        absences, stop, over = 0, None, None
        for look in range(self._router.timing.looks):
            stop = await stops.find_stop(record.symbol, record.client_id)
            if stop is None:
                # not finding it proves nothing until it can no longer be accepted; one that has rested was
                if over is None:
                    known = record.exchange_id is not None
                    over = sent_at if known else await self._router.over(sent_at)
                await self._router.settled(over + self._router.timing.settle)
                absences += 1
                if absences == 2:
                    self._end(record, ABSENT, "the exchange does not know it")
                    return None
            elif stop.status == WAITS:
                if record.exchange_id is None:
                    self._journal.stands(stop)
                return stop
            elif stop.done and (ended := await self._ended(record, stop, why)) is not None:
                return stop if ended else None
            else:
                absences = 0
            await self._rest(look)
        if stop is not None and stop.done:
            self._end(record, stop.status, "its order is not told any more", stop)
            return None
        word = "not known" if stop is None else stop.status
        raise ExchangeError(
            f"The stop {record.client_id} is {word} and does not come to an end; it is looked up again before anything "
            "takes its place."
        )

    async def _ended(self, record: StopRecord, stop: Stop, why: str) -> bool | None:
        """Write down how a stop ended; True where its trades have to be first, None where they are not told yet."""
        if stop.order_id is not None:
            order = await self._gateway.find_by_exchange_id(record.symbol, stop.order_id)
            if order is None or not order.done:
                return None
            fills = await self._gateway.fills(record.symbol, order=order)
            if sum((fill.quantity for fill in fills), Decimal(0)) != order.filled:
                return None
            if not all(self._journal.knows_trade(fill.symbol, fill.trade_id) for fill in fills):
                return True
        said = {"CANCELED": why, "EXPIRED": _NEEDLESS, "REJECTED": "its order was refused", "FINISHED": "it triggered"}
        self._end(record, stop.status, said[stop.status], stop)
        return False

    def _end(self, one: StopRecord | StopRequest, status: str, why: str, stop: Stop | None = None) -> None:
        self._log.info("stop ended", client_id=one.client_id, status=status, why=why)
        self._journal.end_stop(one.client_id, status, why, self._clock.now(), stop)

    async def _take_back(self, stops: Stops, record: StopRecord, why: str) -> Stop | None:
        """Cancel a stop and see that it is gone; done where it had triggered meanwhile."""
        for look in range(self._router.timing.looks):
            self._journal.require_lock()
            await stops.cancel_stop(record.symbol, record.client_id)
            if (stop := await self._settle(stops, record, why)) is None or stop.done:
                return stop
            await self._rest(look)
        raise ExchangeError(f"The stop {record.client_id} still rests after it was cancelled; it is cancelled again.")

    async def _place(self, stops: Stops, position: Position, rules: Rulebook) -> bool:
        """Place a stop, again where it surely was not placed; True where the position was closed instead."""
        failure: ExchangeError | None = None
        for attempt in range(self._router.timing.sends):
            if attempt:
                await self._rest(attempt)
            request = await self._intend(stops, position, rules)
            self._journal.mark_stop_sent(request.client_id, self._clock.now())
            try:
                self._journal.stands(stop := await stops.place_stop(request))
            except Rejected as error:
                return await self._refused(request, position, error, rules)
            except (NotSent, RateLimited, Denied) as error:
                self._end(request, ABSENT, str(error))
                if not isinstance(error, NotSent):
                    raise
                failure = error
            except OutcomeUnknown as error:
                self._log.warning("stop outcome unknown", client_id=request.client_id, error=str(error))
                sent = self._journal.stop(request.client_id)
                found = None if sent is None else await self._settle(stops, sent)
                if found is not None:
                    return found.done
                failure = error
            else:
                self._log.info("stop placed", client_id=stop.client_id, symbol=stop.symbol, trigger=str(stop.trigger))
                return False
        raise failure or ExchangeError(f"No stop could be placed for {position.symbol}; it is tried again.")

    async def _intend(self, stops: Stops, position: Position, rules: Rulebook) -> StopRequest:
        """Write down the stop that a position is to have, under a name that no stop has yet."""
        symbol, fraction = position.symbol, self._terms.fraction or Decimal(0)
        instrument = await rules.of(symbol)
        entry, now = self._entry(position), self._clock.now()
        close = self._journal.last_close() or self._terms.interval.floor(now)
        trigger = level(entry, position.quantity, fraction, instrument)
        while True:
            turn = self._journal.stops_of(close, symbol)
            name = client_id(self._terms.instance, close, symbol, LEG, turn)
            request = StopRequest(name, symbol, -position.quantity, trigger)
            self._journal.intend_stop(StopIntent(close, turn, request, entry, fraction, now))
            if not self._router.is_from_before(close) or await stops.find_stop(symbol, name) is None:
                return request
            self._end(request, ABSENT, _FORGOTTEN)

    async def _refused(self, request: StopRequest, position: Position, error: Rejected, rules: Rulebook) -> bool:
        """Do what a refusal asks for: what has no stop is not added to, what is beyond its stop is closed.

        The state changes before the stop ends, so that a death between the two loses nothing.
        """
        symbol, trigger = request.symbol, request.trigger
        if error.code == _BEYOND:
            why = f"{symbol} was beyond its protective stop at {trigger:f} and is closed: {error}"
            self._restrict(State.HALTED, why)
        elif error.code != _NOTHING_HELD:
            wanted = State.HALTED if action_of(error) is Action.HALT else State.REDUCING
            self._restrict(wanted, f"the protective stop of {symbol} was refused: {error}")
        self._end(request, "REJECTED", str(error))
        if error.code == _BEYOND:
            await self._closer.close({symbol: position.quantity}, {symbol: await rules.of(symbol)})
        return error.code in (_BEYOND, _NOTHING_HELD)

    def _restrict(self, state: State, why: str, by: str = "protection") -> None:
        self._log.error("position without a stop", why=why)
        now = self._journal.state()
        if now.yields_to(state) and not (now.passing and by == MISSING_STOP):
            self._journal.set_state(state, why, by, self._clock.now())

    async def _rest(self, turn: int) -> None:
        await self._clock.sleep_until(self._clock.now() + self._router.timing.pause * 2**turn)


def _names_stop(name: str, prefix: str) -> bool:
    """Whether a name is one that an instance gives its stops."""
    return name.startswith(prefix) and name.rpartition(".")[2].startswith(LEG)
