"""Bring what an earlier try, or an earlier process, has left open to its end."""

from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from structlog.typing import FilteringBoundLogger

from trader.domain.account import Account
from trader.domain.order import follow_up_id
from trader.errors import ExchangeError, Mismatch, OutcomeUnknown, RateLimited, Rejected
from trader.execution.refusals import bars
from trader.journal.journal import Journal
from trader.journal.rows import Intent, OrderRecord, Outcome
from trader.live.lanes import Reach
from trader.live.ports import Clock, Gateway
from trader.live.router import Router, differs

Failure = Mismatch | ExchangeError


class Reconciles(Protocol):
    """Knows what stops have closed, and whether the journal explains the account, or some symbols of it."""

    async def take_fired(self, *, among: set[str] | None = None) -> Mapping[str, ExchangeError]:
        """Write down what stops have closed that nobody has heard of yet; return of which symbols it is not told."""

    async def reconcile(self, *, among: Callable[[str], bool]) -> Account:
        """Return the account once the journal explains every position of some symbols on it."""


def ends_all(error: Exception) -> bool:
    """Whether nothing more is to be asked of the exchange for now, of whichever symbol."""
    return isinstance(error, RateLimited) or bars(error)


@dataclass
class _Try:
    """What has failed in one try to settle everything, and what is not done for that.

    `halt` hears of every Mismatch; without it, as at a start, nothing is posted that opens once any symbol has failed.
    """

    reach: Reach
    halt: Callable[[Mismatch], None] | None
    failed: dict[str, Failure] = field(default_factory=dict)
    over: bool = False
    untold: Mapping[str, ExchangeError] | None = None
    """Of which symbols it is not told what a stop has closed, and why; None before it was looked for."""

    def waits(self, order: OrderRecord) -> bool:
        """Whether an order is left for now: its symbol has failed, or others have and it opens."""
        if self.over or order.intent.symbol in self.failed:
            return True
        if order.intent.reduce_only:
            return False
        if self.halt is None:
            return bool(self.failed)
        return order.sent_at is None and differs(self.failed)

    async def went(self, order: OrderRecord, error: Failure | None = None) -> None:
        """Hear what came of an order."""
        if error is not None:
            self.failed[order.intent.symbol] = error
            if isinstance(error, Mismatch) and self.halt is not None:
                self.halt(error)
        # what is known already of another symbol was not asked for this one
        known = self.untold is not None and error in self.untold.values()
        self.over = await self.reach.lost(None if known else error) or (error is not None and ends_all(error))

    def worst(self) -> Failure | None:
        """Return the failure that is told: a story that differs before a key that is refused before all else."""
        told = sorted(self.failed.values(), key=lambda one: (not isinstance(one, Mismatch), not bars(one)))
        return told[0] if told else None


class Settling:
    """Carry every order that is not at its end.

    What may have been sent comes first, because its trades have to be known before anything else is sent; then the
    oldest close, and of one close what reduces before what opens. A symbol that fails stops neither what reduces nor
    what has been sent in others; only an exchange that cannot be asked at all does.
    """

    def __init__(
        self,
        gateway: Gateway,
        journal: Journal,
        clock: Clock,
        router: Router,
        account: Reconciles,
        log: FilteringBoundLogger,
    ) -> None:
        self._gateway = gateway
        self._journal = journal
        self._clock = clock
        self._router = router
        self._account = account
        self._log = log

    async def run(self, *, give_up: bool, halt: Callable[[Mismatch], None] | None) -> int:
        """Settle everything, and return how much there was; see `Recovery.settle_open`."""
        left, tried = self._journal.open_intents(), _Try(Reach(self._gateway), halt)
        if left:
            # an order that is not found is proven absent by trades, so those of a stop of its symbol come first
            tried.failed |= await self._account.take_fired(among={order.intent.symbol for order in left})
        left.sort(key=lambda one: (one.sent_at is None, one.intent.close, not one.intent.reduce_only))
        for order in left:
            if tried.waits(order):
                continue
            await self._tell(tried, order, self._carry_on(tried, order, give_up=give_up))
        if tried.failed and halt is None and not tried.over:
            await self._look_for(left, tried, give_up=give_up)
        if (failure := tried.worst()) is not None:
            raise failure
        return len(left)

    async def _tell(self, tried: _Try, order: OrderRecord, work: Awaitable[object], *, quiet: bool = False) -> None:
        """Do something about an order; what fails is kept, but not where an order that differs is given up later."""
        try:
            await work
        except (Mismatch, ExchangeError) as error:
            self._log.warning("order not settled", client_id=order.intent.client_id, why=str(error))
            await tried.went(order, None if quiet and isinstance(error, Mismatch) else error)
        else:
            await tried.went(order)

    async def _look_for(self, orders: Iterable[OrderRecord], tried: _Try, *, give_up: bool) -> None:
        """Look for what may have been sent of symbols that have not failed, and post nothing of what is not found."""
        for order in orders:
            sent, done = order.sent_at is not None, tried.over or order.intent.symbol in tried.failed
            if sent and not done and self._is_open(order.intent.client_id):
                look = self._router.look(order.intent, order.sent_at)
                await self._tell(tried, order, look, quiet=give_up)

    async def _carry_on(self, tried: _Try, order: OrderRecord, *, give_up: bool) -> None:
        """Carry one open order, which is sent only on an account that is explained.

        What only reduces goes by its own symbol; for what opens, nothing is asked of a symbol whose order is under way.
        """
        intent = order.intent
        self._log.warning("settling an open order", client_id=intent.client_id, sends=order.sends)
        try:
            barred = None if order.sent_at or intent.reduce_only else self._router.gate.barred(intent)
            if barred is not None:
                # for good: by the time it was looked for, somebody may have resumed
                return await self._router.forgo(intent, barred)
            if not (intent.reduce_only or give_up) and await self._found(tried, order):
                return None
            if order.sent_at is None:
                # since it was decided, a person or the exchange may have traded
                own = intent.symbol if intent.reduce_only else None
                busy = {one.intent.symbol for one in self._journal.open_intents() if one.sent_at is not None}
                await self._account.reconcile(among=lambda one: one == own if own else one not in busy)
            await self._router.carry(intent, sent_at=order.sent_at)
        except (Mismatch, OutcomeUnknown, Rejected) as error:
            if not give_up or bars(error):
                # a key or an address that is refused says nothing of the order
                raise
            # nothing of it may still be under way, and an exchange that cannot be reached proves nothing
            if order.sent_at is not None or self._router.is_from_before(intent.close):
                await self._router.settled(self._clock.now() + self._router.timing.settle)
            self._give_up(intent, str(error))

    async def _found(self, tried: _Try, order: OrderRecord) -> bool:
        """Find out what every stop did before something is opened; True where its order was found, and nothing follows.

        Raises:
            ExchangeError: the trades of a stop are not told, so that nothing is posted that opens.
        """
        if tried.untold is None:
            tried.untold = await self._account.take_fired()
        for why in tried.untold.values():
            if order.sent_at is not None:
                found = await self._router.look(order.intent, order.sent_at)
                if found is not None and found[1] is None:
                    return True
            raise why
        return False

    def _is_open(self, name: str) -> bool:
        record = self._journal.order(name)
        return record is not None and not record.final

    def _give_up(self, intent: Intent, why: str) -> None:
        """End an order, or the one that followed on it, as nobody can tell what became of it."""
        names = (intent.client_id, follow_up_id(intent.client_id, intent.attempt))
        for left in self._journal.open_intents():
            name = left.intent.client_id
            if name in names:
                outcome = Outcome.DENIED if left.sent_at is None else Outcome.ABSENT
                self._log.error("order given up", client_id=name, why=why)
                self._journal.settle(name, None, outcome, final=True, text=why, at=self._clock.now())
