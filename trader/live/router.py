"""Carry one order to a certain end.

The protocol, which had no violation in any plan of faults it was tried on: the intent is durable before it is sent;
where an earlier process may have used its name, that is looked for first, once nothing of it can be under way; an
answer that proves nothing is settled by looking, never by sending; only an order proven absent twice, after the last
moment it could still have been accepted, with no new trade and the position unchanged, may be sent again, under the
same name; a decision that is too old is never sent. On an order that ended short at most one more may follow, under a
name of its own and towards the same position.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal

from structlog.typing import FilteringBoundLogger

from trader.domain.decision import State
from trader.domain.order import FLATTENING, FOLLOW_UP, Order, follow_up_id
from trader.errors import ConfigError, Denied, ExchangeError, Mismatch, NotSent, OutcomeUnknown, RateLimited, Rejected
from trader.execution.guards import Approved, Withheld
from trader.execution.refusals import Action, action_of
from trader.execution.remainder import Rules, Short, following, wanted
from trader.journal.journal import Journal
from trader.journal.rows import Intent, Outcome
from trader.live.gate import Gate
from trader.live.lanes import side_by_side
from trader.live.ports import Clock, Gateway
from trader.live.timing import Timing

CLOCK_SKEW, OVERLOADED = -1021, -1008
_NONE = Decimal(0)
_AT_ONCE = timedelta(seconds=1)
"""How long after the gate's last look an order may still be called posted immediately after it."""


_End = tuple[Order | Rejected | Denied | None, Intent | None]


async def _ready(symbol: str) -> None:
    """Prepare nothing: the account is as it is."""


class Router:
    """Send intents and settle them.

    The gate is asked immediately before every post, `prepare` makes a symbol's account ready before anything of it is
    opened, `parallel` is how many symbols of one decision may be under way at once; with more than one the clock must
    be one that never jumps.
    """

    def __init__(
        self,
        gateway: Gateway,
        journal: Journal,
        clock: Clock,
        timing: Timing,
        gate: Gate,
        log: FilteringBoundLogger,
        rules: Rules | None = None,
        prepare: Callable[[str], Awaitable[None]] = _ready,
        parallel: int = 1,
    ) -> None:
        self._gateway = gateway
        self._journal = journal
        self._clock = clock
        self.began = clock.now()
        self.timing = timing
        self.gate = gate
        self._log = log
        self._rules = rules or Rules()
        self._prepare = prepare
        self.parallel = parallel

    async def carry_all(self, intents: Sequence[Intent]) -> Mapping[str, Decimal]:
        """Bring the orders of one decision to their ends: all that reduce, symbols side by side, then all that open.

        A symbol that fails stops neither the others nor, unless the stories differ, what they open; what was not sent
        stays open in the journal. Of a symbol whose opening was refused no further part is sent.

        Args:
            intents: what is durable already; those of one symbol are sent in this order.

        Returns:
            The signed quantity that stayed unfilled, for every symbol.

        Raises:
            Mismatch, ExchangeError: the first failure, once all the others are at their end.
        """
        left = {intent.symbol: _NONE for intent in intents}
        failed: dict[str, Mismatch | ExchangeError] = {}
        for reducing in (True, False):
            lanes: dict[str, list[Intent]] = {}
            for intent in intents:
                if intent.reduce_only is reducing and intent.symbol not in failed:
                    lanes.setdefault(intent.symbol, []).append(intent)
            await self._side_by_side(lanes, left, failed)
        for symbol, quantity in left.items():
            if quantity or symbol in failed:
                why = str(failed.get(symbol, "its orders ended short"))
                self._log.warning("symbol not at its target", symbol=symbol, left=str(quantity), why=why)
        for error in sorted(failed.values(), key=lambda error: not isinstance(error, Mismatch)):
            raise error
        return left

    async def _side_by_side(
        self,
        lanes: Mapping[str, Sequence[Intent]],
        left: dict[str, Decimal],
        failed: dict[str, Mismatch | ExchangeError],
    ) -> None:
        """Carry each symbol's orders one after the other, a few symbols at once."""

        async def carry(symbol: str) -> None:
            try:
                for intent in lanes[symbol]:
                    if intent.reduce_only or not differs(failed):
                        left[symbol] += await self.carry(intent)
            except (Mismatch, ExchangeError) as error:
                failed[symbol] = error

        await side_by_side(lanes, carry, self.parallel)

    async def carry(self, intent: Intent, *, sent_at: datetime | None = None) -> Decimal:
        """Bring an intent, and what may follow on it, to a final outcome in the journal.

        Args:
            intent: what is durable already.
            sent_at: when it was last posted by an earlier run, or None where it never was.

        Returns:
            The signed quantity that stayed unfilled; nothing where a position that was to be reduced is gone.

        Raises:
            OutcomeUnknown, Mismatch: it could not be settled now; it stays open and nothing else may be sent.
            ExchangeError: the exchange could not be asked, or took no order a few times in a row; it stays open.
        """
        ended, follow = await self._carry(intent, sent_at)
        left = intent.quantity - (ended.filled if isinstance(ended, Order) else _NONE)
        if follow is not None:
            left -= follow.quantity - await self.carry(follow)
        return _NONE if intent.reduce_only and not self._journal.position(intent.symbol) else left

    async def _carry(self, intent: Intent, sent_at: datetime | None) -> _End:
        """Return what an intent came to, and the one that follows on it."""
        left = await self.look(intent, sent_at)
        if left is not None:
            return left
        answer: Order | ExchangeError | None = None
        for attempt in range(self.timing.sends):
            if attempt > 1 or (attempt and not _at_once(intent, answer)):
                await self._rest(attempt)
            barred = self.gate.barred(intent)
            if not intent.reduce_only and barred is None:
                try:
                    await self._prepare(intent.symbol)
                except Rejected as error:
                    return error, await self._refuse(intent, error)
            verdict = barred or await self._clear(intent)
            if isinstance(verdict, Withheld):
                return self._withhold(intent, verdict)
            answer = await self._post(verdict, intent)
            if isinstance(answer, Order):
                return await self._confirm(intent, answer)
            if isinstance(answer, Rejected | Denied):
                return answer, await self._refuse(intent, answer)
        if isinstance(answer, NotSent | RateLimited):
            raise answer
        self._end(intent, Outcome.ABSENT, f"not accepted in {self.timing.sends} attempts")
        return None, None

    def begin(self) -> None:
        """Take now, by a clock that was measured, for the time from which all names are this process's own."""
        self.began = self._clock.now()

    def is_from_before(self, close: datetime) -> bool:
        """Whether an earlier process may have used the names that follow from a close.

        Its journal may be lost: an older one was put back, or another put in its place. The exchange takes the name of
        an order that is at its end a second time, and tells of either when asked for it.
        """
        return close <= self.began

    async def namesake(self, symbol: str, close: datetime, name: str) -> Order | None:
        """Return the order that an earlier process gave a name which follows from a close; None where none did."""
        return await self._gateway.find(symbol, name) if self.is_from_before(close) else None

    async def _namesake(self, intent: Intent) -> Order | None:
        """Return the order that has the name of an intent already, once what was posted before us can no longer appear.

        What only closes, and belongs to no decision, does not wait for that: it can close nothing twice.
        """
        over = self.began + self.timing.settle
        if intent.leg != FLATTENING and self.is_from_before(intent.close) and self._clock.now() < over:
            await self.settled(over)
        return await self.namesake(intent.symbol, intent.close, intent.client_id)

    async def forgo(self, intent: Intent, verdict: Withheld) -> None:
        """End what was never sent and may not be, unless an older journal has only forgotten that it was."""
        found = await self.look(intent, None)
        for one in (intent,) if found is None else (found[1],):
            if one is not None:
                self._withhold(one, verdict)

    def _withhold(self, intent: Intent, verdict: Withheld) -> _End:
        self._end(intent, Outcome.EXPIRED if verdict.late else Outcome.DENIED, verdict.reason)
        return None, None

    async def look(self, intent: Intent, sent_at: datetime | None) -> _End | None:
        """Return what an earlier process has made of an intent, or of its name; None where there is no such order."""
        if sent_at is not None:
            order = await self._settle(intent, await self.over(sent_at))
        else:
            order = await self._namesake(intent)
            # one of the same quantity from after the intent is its own: the journal has only forgotten that it was sent
            if order is not None and not (order.time > intent.intended_at and order.quantity == intent.quantity):
                self._end(intent, Outcome.DENIED, "the journal has forgotten an order that has its name")
                return None, None
        return None if order is None else await self._confirm(intent, order)

    async def _clear(self, intent: Intent) -> Approved | Withheld:
        """Ask the gate, and make durable that the order is posted, before it is.

        A disk or a machine may stand still meanwhile. What the gate has seen is old then, so it is asked once more;
        that the order may have left stays true, and is not written again.
        """
        verdict = await self.gate.clear(intent)
        if isinstance(verdict, Withheld):
            return verdict
        sent_at = self._clock.now()
        self._journal.mark_sent(intent.client_id, sent_at, verdict.mark)
        took = self._clock.now() - sent_at
        if abs(took) <= _AT_ONCE:
            return verdict
        self._log.warning("writing took long", client_id=intent.client_id, seconds=round(took.total_seconds(), 3))
        return await self.gate.clear(intent)

    async def over(self, since: datetime) -> datetime:
        """Return a time at which what was posted after `since` had certainly been signed: after that no more leaves us.

        `since` itself is none: disk or machine may have stood still between it and the signature, here or in the
        process that died. Now is one, by a clock that is measured where it moved by more than a post can take.
        """
        now = self._clock.now()
        if not timedelta(0) <= now - since <= self.timing.settle:
            await self._gateway.sync_clock()
            now = self._clock.now()
        return max(since, now)

    async def _post(self, approved: Approved, intent: Intent) -> Order | ExchangeError:
        """Post once; return the order where it exists, else why not: Rejected and Denied are for good."""
        began = self._clock.now()
        try:
            return await self._gateway.send(approved.order)
        except Rejected as error:
            if action_of(error) is not Action.LOOK:
                return error
            return await self._settle(intent, await self.over(began)) or OutcomeUnknown(str(error), code=error.code)
        except Denied as error:
            return error
        except RateLimited as error:
            self._log.warning("order refused for now", client_id=intent.client_id, error=str(error))
            if error.retry_at > intent.not_after:
                return Rejected(str(error), code=error.code, status=error.status)
            await self._clock.sleep_until(error.retry_at)
            return error
        except NotSent as error:
            self._log.warning("order not sent", client_id=intent.client_id, error=str(error))
            return error
        except OutcomeUnknown as error:
            self._log.warning("order outcome unknown", client_id=intent.client_id, error=str(error))
            return await self._settle(intent, await self.over(began)) or error

    async def _refuse(self, intent: Intent, error: Rejected | Denied) -> Intent | None:
        """Do what a refusal asks for and end the order; return what follows.

        The state changes before the order ends, so that a death between the two loses nothing.
        """
        if isinstance(error, Rejected):
            action = action_of(error)
            wanted = {Action.HALT: State.HALTED, Action.REDUCE: State.REDUCING}.get(action)
            if wanted is not None and self._journal.state().yields_to(wanted):
                self._log.error("restricted by the exchange", state=wanted.value, why=str(error))
                self._journal.set_state(wanted, str(error), "exchange", self._clock.now())
        follow = await self._follow_up(intent, error)
        outcome = Outcome.REJECTED if isinstance(error, Rejected) else Outcome.DENIED
        self._end(intent, outcome, str(error), error.code, follow)
        return follow

    async def _settle(self, intent: Intent, over: datetime) -> Order | None:
        """Find out what became of a post that was over by then: the order, or None where it is proven absent.

        Finding it is proof at once. Not finding it proves nothing until it can no longer be accepted, and only together
        with trades and position.
        """
        order = await self._gateway.find(intent.symbol, intent.client_id)
        if order is not None:
            return order
        await self.settled(over + self.timing.settle)
        absences = 0
        for look in range(self.timing.looks):
            order = await self._gateway.find(intent.symbol, intent.client_id)
            if order is not None:
                return order
            absences = absences + 1 if await self._unchanged(intent.symbol) else 0
            if absences == 2:
                return None
            await self._rest(look)
        raise Mismatch(
            f"The order {intent.client_id} is not known to the exchange, but trades or position of {intent.symbol} "
            "moved; see `trader reconcile`, then start with --adopt once the account is as you want it."
        )

    async def settled(self, moment: datetime) -> None:
        """Return no earlier than `moment` by a clock measured after the wait: ours may have been set meanwhile."""
        while True:
            await self._clock.sleep_until(moment)
            await self._gateway.sync_clock()
            if self._clock.now() >= moment:
                return

    async def _unchanged(self, symbol: str) -> bool:
        """Whether neither a trade nor the position tells of an order the journal does not know."""
        if self._journal.unheard(symbol, await self._gateway.fills(symbol, since=self._journal.last_trade_id(symbol))):
            return False
        account = await self._gateway.account()
        return account.quantity(symbol) == self._journal.position(symbol)

    async def _confirm(self, intent: Intent, order: Order) -> _End:
        """Wait until the order is at its end and all its trades are told, then write both down, and what follows."""
        for look in range(self.timing.looks):
            if order.done:
                fills = await self._gateway.fills(intent.symbol, order=order)
                if sum((fill.quantity for fill in fills), _NONE) == order.filled:
                    self._journal.record_fills(fills)
                    follow = await self._follow_up(intent, order)
                    at, name = self._clock.now(), intent.client_id
                    self._journal.settle(name, order, Outcome.CONFIRMED, final=True, at=at, follow=follow)
                    if abs(order.filled) < abs(order.quantity):
                        told = {"status": order.status, "filled": str(order.filled)}
                        self._log.warning("order ended short", client_id=name, **told)
                    return order, follow
            await self._rest(look)
            found = await self._gateway.find(intent.symbol, intent.client_id)
            order = found if found is not None else order
        raise OutcomeUnknown(
            f"The order {intent.client_id} is {order.status} with {order.filled} filled and does not come to an end; "
            "it is looked up again before anything else is sent; where its trades are told no more, accept the account "
            "with `trader run --adopt`."
        )

    async def _follow_up(self, intent: Intent, ended: Order | Rejected | Denied) -> Intent | None:
        """Return the one order that is to follow on one that ended short, None where none is."""
        if intent.attempt >= FOLLOW_UP or isinstance(ended, Denied):
            return None
        filled, refusal = (ended.filled, None) if isinstance(ended, Order) else (_NONE, ended)
        short = Short(intent.quantity, intent.limit, intent.reduce_only, filled, refusal)
        if not wanted(short, self._rules):
            return None
        held = self._journal.position(intent.symbol)
        try:
            instrument = (await self._gateway.instruments([intent.symbol]))[intent.symbol]
            mark = (await self._gateway.prices([intent.symbol]))[intent.symbol]
        except (ConfigError, ExchangeError) as error:
            self._log.warning("nothing follows on the order", client_id=intent.client_id, why=str(error))
            return None
        found = following(short, self._rules, held, instrument, mark)
        if found is None:
            return None
        quantity, limit = found
        self._log.warning("an order follows", client_id=intent.client_id, quantity=str(quantity))
        return replace(
            intent,
            client_id=follow_up_id(intent.client_id, intent.attempt),
            attempt=intent.attempt + FOLLOW_UP,
            quantity=quantity,
            limit=limit,
            intended_at=self._clock.now(),
        )

    async def _rest(self, turn: int) -> None:
        await self._clock.sleep_until(self._clock.now() + self.timing.pause * 2**turn)

    def _end(
        self, intent: Intent, outcome: Outcome, why: str, code: int | None = None, follow: Intent | None = None
    ) -> None:
        name, at = intent.client_id, self._clock.now()
        self._log.warning("order ended unfilled", client_id=name, outcome=outcome.value, why=why)
        self._journal.settle(name, None, outcome, final=True, code=code, text=why, at=at, follow=follow)


def differs(failed: Mapping[str, Exception]) -> bool:
    """Whether journal and exchange tell different stories of any symbol."""
    return any(isinstance(error, Mismatch) for error in failed.values())


def _at_once(intent: Intent, answer: Order | ExchangeError | None) -> bool:
    """Whether an order that was turned away is sent again without a pause: nothing is gained by waiting."""
    code = answer.code if isinstance(answer, NotSent) else None
    return code == CLOCK_SKEW or (code == OVERLOADED and intent.reduce_only)
