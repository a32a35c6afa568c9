"""Carry one order to a certain end.

The protocol, which had no violation in any plan of faults it was tried on: the intent is durable before it is sent; an
answer that proves nothing is settled by looking, never by sending; only an order proven absent twice, after the last
moment it could still have been accepted, with no new trade and the position unchanged, may be sent again, under the
same name; a decision that is too old is never sent.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal

from structlog.typing import FilteringBoundLogger

from trader.domain.order import Order
from trader.errors import Denied, ExchangeError, Mismatch, NotSent, OutcomeUnknown, RateLimited, Rejected
from trader.execution.guards import Approved, Withheld
from trader.journal.journal import Journal
from trader.journal.rows import Intent, Outcome
from trader.live.gate import Gate
from trader.live.ports import Clock, Gateway

DUPLICATE_ID = -4116


@dataclass(frozen=True, slots=True)
class Timing:
    """How long an order may stay uncertain.

    `settle` is the time after sending at which an order the exchange does not know can no longer appear: HTTP timeout,
    receive window, clock error and a margin. `pause` is the first wait between two looks; each following one doubles.
    """

    settle: timedelta
    pause: timedelta = timedelta(milliseconds=500)
    looks: int = 8
    sends: int = 4


class Router:
    """Send intents and settle them; the gate is asked immediately before every post."""

    def __init__(
        self,
        gateway: Gateway,
        journal: Journal,
        clock: Clock,
        timing: Timing,
        gate: Gate,
        log: FilteringBoundLogger,
    ) -> None:
        self._gateway = gateway
        self._journal = journal
        self._clock = clock
        self._timing = timing
        self._gate = gate
        self._log = log

    async def carry(self, intent: Intent, *, sent_at: datetime | None = None) -> None:
        """Bring an intent to a final outcome in the journal.

        Args:
            intent: what is durable already.
            sent_at: when it was last posted by an earlier run, or None where it never was.

        Raises:
            OutcomeUnknown, Mismatch: it could not be settled now; it stays open and nothing else may be sent.
            ExchangeError: the exchange could not be asked, or took no order a few times in a row; it stays open.
        """
        if sent_at is not None:
            order = await self._settle(intent, sent_at)
            if order is not None:
                await self._confirm(intent, order)
                return
        again: ExchangeError | None = None
        for attempt in range(self._timing.sends):
            if attempt:
                await self._rest(attempt)
            verdict = await self._gate.clear(intent)
            if isinstance(verdict, Withheld):
                self._end(intent, Outcome.EXPIRED if verdict.late else Outcome.DENIED, verdict.reason)
                return
            sent_at = self._clock.now()
            self._journal.mark_sent(intent.client_id, sent_at)
            order, again = await self._post(verdict, intent, sent_at)
            if order is not None:
                await self._confirm(intent, order)
                return
            if again is None:
                return
        if isinstance(again, NotSent | RateLimited):
            raise again
        self._end(intent, Outcome.ABSENT, f"not accepted in {self._timing.sends} attempts")

    async def _post(
        self, approved: Approved, intent: Intent, sent_at: datetime
    ) -> tuple[Order | None, ExchangeError | None]:
        """Post once; return the order where it exists, else the failure after which it may be posted again."""
        try:
            return await self._gateway.send(approved.order), None
        except Rejected as error:
            if error.code == DUPLICATE_ID:
                return await self._settle(intent, sent_at), error
            self._end(intent, Outcome.REJECTED, str(error), error.code)
        except Denied as error:
            self._end(intent, Outcome.DENIED, str(error), error.code)
        except RateLimited as error:
            self._log.warning("order refused for now", client_id=intent.client_id, error=str(error))
            if error.retry_at > intent.not_after:
                self._end(intent, Outcome.REJECTED, str(error), error.code)
                return None, None
            await self._clock.sleep_until(error.retry_at)
            return None, error
        except NotSent as error:
            self._log.warning("order not sent", client_id=intent.client_id, error=str(error))
            return None, error
        except OutcomeUnknown as error:
            self._log.warning("order outcome unknown", client_id=intent.client_id, error=str(error))
            return await self._settle(intent, sent_at), error
        return None, None

    async def _settle(self, intent: Intent, sent_at: datetime) -> Order | None:
        """Find out what became of a post: the order, or None where it is proven absent.

        Finding it is proof at once. Not finding it proves nothing until it can no longer be accepted, and only together
        with trades and position.
        """
        order = await self._gateway.find(intent.symbol, intent.client_id)
        if order is not None:
            return order
        await self._settled(sent_at + self._timing.settle)
        absences = 0
        for look in range(self._timing.looks):
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

    async def _settled(self, moment: datetime) -> None:
        """Return no earlier than `moment` by a clock measured after the wait: ours may have been set meanwhile."""
        while True:
            await self._clock.sleep_until(moment)
            await self._gateway.sync_clock()
            if self._clock.now() >= moment:
                return

    async def _unchanged(self, symbol: str) -> bool:
        """Whether neither a trade nor the position tells of an order the journal does not know."""
        if await self._gateway.fills(symbol, since=self._journal.last_trade_id(symbol)):
            return False
        account = await self._gateway.account()
        return account.quantity(symbol) == self._journal.position(symbol)

    async def _confirm(self, intent: Intent, order: Order) -> None:
        """Wait until the order is at its end and all its trades are told, then write both down."""
        for look in range(self._timing.looks):
            if order.done:
                fills = await self._gateway.fills(intent.symbol, order=order)
                if sum((fill.quantity for fill in fills), Decimal(0)) == order.filled:
                    self._journal.record_fills(fills)
                    self._journal.settle(intent.client_id, order, Outcome.CONFIRMED, final=True, at=self._clock.now())
                    return
            await self._rest(look)
            found = await self._gateway.find(intent.symbol, intent.client_id)
            order = found if found is not None else order
        raise OutcomeUnknown(
            f"The order {intent.client_id} is {order.status} with {order.filled} filled and does not come to an end; "
            "it is looked up again before anything else is sent."
        )

    async def _rest(self, turn: int) -> None:
        await self._clock.sleep_until(self._clock.now() + self._timing.pause * 2**turn)

    def _end(self, intent: Intent, outcome: Outcome, why: str, code: int | None = None) -> None:
        self._log.warning("order ended unfilled", client_id=intent.client_id, outcome=outcome.value, why=why)
        self._journal.settle(intent.client_id, None, outcome, final=True, code=code, text=why, at=self._clock.now())
