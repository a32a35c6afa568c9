"""Bring journal and exchange to the same story; start-up and every cycle begin with it."""

from collections.abc import Container, Iterable, Sequence, Set
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

from structlog.typing import FilteringBoundLogger

from trader.domain.account import Account
from trader.domain.decision import State
from trader.domain.order import Fill, Order, follow_up_id
from trader.errors import ExchangeError, Mismatch, OutcomeUnknown, Rejected
from trader.execution.reconcile import (
    KINDS,
    TRANSFERS,
    Author,
    Difference,
    Finding,
    Kind,
    Policies,
    author,
    differences,
    explained_by,
    taken_by,
    untold,
    wallet_gap,
)
from trader.execution.refusals import Action, action_of
from trader.journal.journal import Journal
from trader.journal.rows import Intent, Outcome, StopRecord
from trader.live.ports import Clock, Gateway
from trader.live.protection import Protection
from trader.live.router import Router

# income is asked for again from a little before the last booking: it is told late and out of order
_OVERLAP = timedelta(minutes=1)
_A_DAY = timedelta(days=1)
_HALT = Policies()
_STOP_LOOKS = 4
_LOOKS = 7  # bookings are told up to half a minute late, and an account may lag as long behind its orders
START_LOOKS = 8
"""How often a start looks, which ends a daemon for good where it refuses: for a minute."""
_PAUSE = timedelta(milliseconds=500)
_BACK = 500  # trades that are looked through again for one that is not known, before all are: one page


class Recovery:
    """Settle open orders, book what happened meanwhile, and refuse what cannot be explained.

    Args:
        gateway: the account.
        journal: the story so far.
        clock: the venue's.
        router: carries what is still open.
        protection: keeps the stops, and knows which orders they became.
        log: says what was found.
        policies: what to do about a difference that can be lived with.
        prefix: how this instance's client ids begin, so that another's are told apart.
    """

    def __init__(
        self,
        gateway: Gateway,
        journal: Journal,
        clock: Clock,
        router: Router,
        protection: Protection,
        log: FilteringBoundLogger,
        policies: Policies = _HALT,
        prefix: str = "",
    ) -> None:
        self.router = router
        self._protection = protection
        self._policies = policies
        self._prefix = prefix
        # what was told already of fees in other coins
        self._paid: dict[str, Decimal] = {}
        self._gateway = gateway
        self._journal = journal
        self._clock = clock
        self._log = log

    async def settle_open(self, *, give_up: bool = False) -> int:
        """Carry every intent that is not at its end, and return how many there were.

        What may have been sent comes first, because its trades have to be known before anything else is sent; then the
        oldest close, and of one close what reduces before what opens.

        Args:
            give_up: end an order that no look at the exchange can settle, where a person accepts the account as it is.

        Raises:
            Mismatch: an order cannot be settled, or was decided on an account that is no longer explained.
            ExchangeError: the exchange could not be used; what is open stays open.
        """
        open_orders = self._journal.open_intents()
        if open_orders:
            # an order that is not found is proven absent by trades, so those of a stop have to be known first
            await self.take_fired()
        open_orders.sort(key=lambda one: (one.sent_at is None, one.intent.close, not one.intent.reduce_only))
        for order in open_orders:
            name = order.intent.client_id
            self._log.warning("settling an open order", client_id=name, sends=order.sends)
            try:
                if order.sent_at is None:
                    # since it was decided, a person or the exchange may have traded
                    await self.reconcile()
                await self.router.carry(order.intent, sent_at=order.sent_at)
            except (Mismatch, OutcomeUnknown, Rejected) as error:
                if not give_up or (isinstance(error, Rejected) and action_of(error) is Action.HALT):
                    # a key or an address that is refused says nothing of the order
                    raise
                # nothing of it may still be under way, and an exchange that cannot be reached proves nothing
                await self.router.settled(self._clock.now() + self.router.timing.settle)
                self._give_up(order.intent, str(error))
        return len(open_orders)

    def _give_up(self, intent: Intent, why: str) -> None:
        """End an order, or the one that followed on it, as nobody can tell what became of it."""
        names = (intent.client_id, follow_up_id(intent.client_id, intent.attempt))
        for left in self._journal.open_intents():
            name = left.intent.client_id
            if name in names:
                outcome = Outcome.DENIED if left.sent_at is None else Outcome.ABSENT
                self._log.error("order given up", client_id=name, why=why)
                self._journal.settle(name, None, outcome, final=True, text=why, at=self._clock.now())

    async def book_incomes(self) -> None:
        """Write down every booking on the wallet since the last one known; name what came in or went out."""
        since = self._journal.last_income_time()
        start = self._journal.baseline().at if since is None else since - _OVERLAP
        new = self._journal.record_incomes(await self._gateway.incomes(start))
        paid = self._journal.paid_elsewhere()
        if paid != self._paid:
            self._log.warning("fees paid in other coins", **{coin: str(amount) for coin, amount in paid.items()})
            self._paid = paid
        for income in new:
            if income.kind in TRANSFERS:
                self._log.warning("money moved in or out", kind=income.kind, amount=str(income.amount))

    async def agreed(self) -> Account:
        """Return the account as it was at one look at which the journal explains both its positions and its wallet.

        Money that comes in between two looks raises the peak by the one and the equity only by the other, which makes a
        drawdown that never was; what somebody trades between them is seen by the second.

        Raises:
            Mismatch: as `reconcile` and `require_wallet`.
            ExchangeError: the account does not come to rest; the close is tried again.
        """
        for _ in range(_LOOKS):
            await self.reconcile()
            account = await self.require_wallet()
            if not differences(self._journal.positions(), account):
                return account
        raise ExchangeError("The account changes with every look; it is looked at again.")

    async def require_wallet(self, *, looks: int = _LOOKS) -> Account:
        """Return the account once the journal's bookings make its wallet: another, or a reset one, has another.

        Raises:
            Mismatch: they still do not after a few looks; bookings are told late.
        """
        pause = _PAUSE
        for _ in range(looks - 1):
            account, gap = await self._booked()
            if gap is None:
                return account
            await self._clock.sleep_until(self._clock.now() + pause)
            pause *= 2
        account, gap = await self._booked()
        if gap is not None:
            raise Mismatch(
                f"{gap.text[0].upper()}{gap.text[1:]}: this is another account, or one that was reset; use the account "
                "the journal belongs to, another TRADER_DATA_DIR, or accept this one as the baseline with "
                "`trader run --adopt`."
            )
        return account

    async def _booked(self) -> tuple[Account, Finding | None]:
        """Compare every booking since the baseline with the wallet of the account, which is returned too."""
        await self.book_incomes()
        account = await self._gateway.account()
        return account, wallet_gap(self._journal.wallet(), account.wallet)

    async def reconcile(self, *, looks: int = _LOOKS) -> Account:
        """Return the account once the journal explains every position on it.

        Trades of the exchange's own (liquidation, auto-deleveraging, settlement) and, where the policy says so, of a
        person are written down; the first halt the daemon unless the policy adopts them.

        Raises:
            Mismatch: something else moved a position.
        """
        pause = _PAUSE
        for _ in range(looks - 1):
            account = await self._gateway.account()
            if await self._unexplained(account) is None:
                return account
            await self._clock.sleep_until(self._clock.now() + pause)
            pause *= 2
        account = await self._gateway.account()
        finding = await self._unexplained(account)
        if finding is not None:
            raise Mismatch(
                f"The account holds what the journal does not explain ({finding.text}); close by hand what should not "
                "be held, then accept what is left as the baseline with `trader run --adopt`."
            )
        return account

    async def protect(self, account: Account) -> Account:
        """Bring the stops to what the account holds, and return the account after whatever they have closed.

        Raises:
            Mismatch: what the account holds after that is not explained.
            ExchangeError: a stop could not be placed or taken back; the next call goes on with it.
        """
        pause = _PAUSE
        for _ in range(_STOP_LOOKS):
            closed = await self._protection.follow(account)
            if not closed:
                return account
            await self._take_stopped(closed)
            await self._clock.sleep_until(self._clock.now() + pause)
            pause *= 2
            account = await self.reconcile()
        raise ExchangeError("The stops and what the account holds do not come to rest; they are looked at again.")

    async def protect_others(self, busy: Set[str]) -> None:
        """Bring the stops of symbols to what is held where no order is open, and journal and account agree."""
        account = await self._gateway.account()
        doubtful = {one.symbol for one in differences(self._journal.positions(), account)}
        await self._take_stopped(await self._protection.follow(account, leave=busy | doubtful))

    async def at_rest(self, *, adopt: bool = False) -> Sequence[Order]:
        """Return the orders at rest that are no stops of ours; see `Protection.sweep`.

        Where the exchange tells all but the conditional ones, nothing is opened until it does.
        """
        try:
            orders, unseen = await self._gateway.open_orders(), ""
        except ExchangeError as error:
            orders, unseen = await self._gateway.open_orders(conditional=False), str(error)
        self._protection.tell_unseen(unseen)
        return await self._protection.sweep(orders, adopt=adopt)

    async def take_fired(self, *, every: bool = False) -> None:
        """Write down what stops have closed that nobody has heard of yet; what is not explained is left to `reconcile`.

        Raises:
            ExchangeError: `every` stop that stands has to be looked at, and one cannot be.
        """
        await self._take_stopped(await self._protection.fired(every=every))

    async def _take_stopped(self, symbols: Iterable[str]) -> None:
        for symbol in symbols:
            held = (await self._gateway.account()).quantity(symbol)
            await self._explain(Difference(symbol, self._journal.position(symbol), held))

    async def explain_bookings(self) -> None:
        """Look for trades that left no position behind, by the bookings that name them.

        Raises:
            Mismatch: somebody else traded.
        """
        last = self._journal.equity_points(last=1)
        since = max([self._journal.baseline().at, *(point.close - _A_DAY for point in last)])
        for symbol in untold(self._journal.incomes(since=since), self._journal.knows_trade):
            held = (await self._gateway.account()).quantity(symbol)
            finding = await self._explain(Difference(symbol, self._journal.position(symbol), held))
            if finding is not None:
                raise Mismatch(
                    f"Somebody else traded on the account ({finding.text}); stop whoever it was, then accept the "
                    "account as the baseline with `trader run --adopt`."
                )

    async def _unexplained(self, account: Account) -> Finding | None:
        """Write down what can be explained, and return the first difference that cannot."""
        for difference in differences(self._journal.positions(), account):
            finding = await self._explain(difference)
            if finding is not None:
                return finding
        return None

    async def gone(self, difference: Difference) -> bool:
        """Whether trades tell where a position went that the account does not show any more."""
        return explained_by(difference, await self._unknown(difference))

    async def _explain(self, difference: Difference) -> Finding | None:
        """Write down the trades behind a difference where that is allowed, else name what it is.

        What a stop of ours did is written down whoever traded beside it: it is ours, and only what is left is theirs.
        """
        symbol = difference.symbol
        fills = await self._unknown(difference)
        numbers = dict.fromkeys(fill.exchange_id for fill in fills)
        orders = [await self._gateway.find_by_exchange_id(symbol, number) for number in numbers]
        stopped = [(stop, order) for order in orders if order and (stop := await self._protection.origin(order))]
        ours = {order.exchange_id for _, order in stopped}
        finding = taken_by(difference, [self._whose(order, ours) for order in orders])
        if not all(order.done for _, order in stopped):
            return finding
        if stopped and not (finding.kind is Kind.STOP and explained_by(difference, fills)):
            own = await self._whole(symbol, [order for _, order in stopped])
            if not own:
                return finding
            self._take(replace(finding, kind=Kind.STOP), own, stopped)
            return await self._explain(replace(difference, journal=self._journal.position(symbol)))
        if not fills or not explained_by(difference, fills):
            return finding
        forced = finding.kind is not Kind.POSITION
        adopted = self._policies.adopts(finding.kind) and finding.author in {Author.PERSON, *KINDS}
        if not forced and not adopted:
            return finding
        self._take(finding, fills, stopped)
        return None

    def _take(self, finding: Finding, fills: Sequence[Fill], stopped: Sequence[tuple[StopRecord, Order]]) -> None:
        """Write down trades that no decision asked for, and halt unless the policy takes them as they are."""
        adopted = self._policies.adopts(finding.kind)
        self._log.error("position taken", why=finding.text, kind=finding.kind.value, adopted=adopted)
        if not adopted:
            # halted first: once the trades are known, nothing would tell a restart of it
            self._journal.set_state(State.HALTED, finding.text, "exchange", self._clock.now())
        self._journal.record_stopped(fills, stopped, self._clock.now())

    async def _whole(self, symbol: str, orders: Iterable[Order]) -> list[Fill]:
        """Return the unknown trades of orders at their end; none while not all of them are told."""
        told = [(order, await self._gateway.fills(symbol, order=order)) for order in orders]
        if any(sum((fill.quantity for fill in fills), Decimal(0)) != order.filled for order, fills in told):
            return []
        return self._journal.unheard(symbol, [fill for _, fills in told for fill in fills])

    async def _unknown(self, difference: Difference) -> list[Fill]:
        """Return the trades of a symbol that the journal does not know, as few as explain the difference.

        They come after the last one it knows, unless they were made while an order of ours was under way.
        """
        symbol = difference.symbol
        fills = await self._unheard(symbol, self._journal.last_trade_id(symbol))
        if fills and explained_by(difference, fills):
            return fills
        found = {fill.trade_id: fill for fill in fills}
        for order in await self._protection.struck(symbol):
            told = await self._gateway.fills(symbol, order=order)
            found |= {fill.trade_id: fill for fill in told if not self._journal.knows_trade(symbol, fill.trade_id)}
        if explained_by(difference, found.values()) and found:
            return list(found.values())
        # the trade of an order of ours that came after theirs is the last one known
        for since in self._journal.earlier_trade_ids(symbol, _BACK):
            fills = await self._unheard(symbol, since)
            if fills and explained_by(difference, fills):
                break
        return fills

    async def _unheard(self, symbol: str, since: str | None) -> list[Fill]:
        """Return the trades after one, or of all time, that neither the journal knows nor its baseline holds."""
        return self._journal.unheard(symbol, await self._gateway.fills(symbol, since=since))

    def _whose(self, order: Order | None, stopped: Container[str]) -> Author:
        """Say whose the order of a trade is; one that nobody knows any more is a person's."""
        if order is None:
            return Author.PERSON
        return Author.STOP if order.exchange_id in stopped else self.author(order.client_id)

    def author(self, client_id: str) -> Author:
        """Say whose an order is."""
        return author(client_id, self._prefix, self.knows)

    def knows(self, client_id: str) -> bool:
        """Whether the journal intended an order of that name."""
        return self._journal.order(client_id) is not None

    def state(self) -> State:
        """Return the durable state; nothing is opened while a stop is missing, whatever a person resumed."""
        state = self._journal.state().state
        return State.REDUCING if state is State.ACTIVE and self._protection.doubtful else state

    @property
    def unprotected(self) -> bool:
        """Whether a stop is not where it should be, in this run or since an earlier one."""
        return bool(self._protection.failed or self._protection.unseen) or self._journal.state().passing

    @property
    def unseen(self) -> bool:
        """Whether the exchange has not told which conditional orders rest."""
        return bool(self._protection.unseen)

    @property
    def stopless(self) -> bool:
        """Whether no stop is wanted and none stands."""
        return self._protection.idle

    def peak(self) -> Decimal:
        """Return the highest equity since the baseline or the last resume."""
        return self._journal.peak_equity()
