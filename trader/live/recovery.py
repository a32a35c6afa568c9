"""Bring journal and exchange to the same story; start-up and every cycle begin with it."""

from collections.abc import Callable, Container, Iterable, Mapping, Sequence, Set
from datetime import timedelta
from decimal import Decimal

from structlog.typing import FilteringBoundLogger

from trader.domain.account import Account
from trader.domain.decision import State
from trader.domain.order import Order
from trader.errors import ExchangeError, Mismatch
from trader.execution.reconcile import (
    TRANSFERS,
    Difference,
    Finding,
    Policies,
    differences,
    untold,
    wallet_gap,
)
from trader.journal.journal import Journal
from trader.live.explaining import Explaining
from trader.live.ports import Clock, Gateway
from trader.live.protection import Protection
from trader.live.router import Router
from trader.live.settling import Settling, ends_all

# income is asked for again from a little before the last booking: it is told late and out of order
_OVERLAP = timedelta(minutes=1)
_A_DAY = timedelta(days=1)
_HALT = Policies()
_STOP_LOOKS = 4
# bookings are told up to half a minute late, and an account may lag as long behind its orders
_LOOKS = 7
START_LOOKS = 8
"""How often a start looks, which ends a daemon for good where it refuses: for a minute."""
_PAUSE = timedelta(milliseconds=500)


def _any(symbol: str) -> bool:
    return True


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
        self.explaining = Explaining(gateway, journal, clock, protection, log, policies, prefix)
        # what was told already of fees in other coins
        self._paid: dict[str, Decimal] = {}
        # of which symbols the account showed something else when stops were looked at beside open orders
        self._doubtful: Set[str] = frozenset()
        self._gateway = gateway
        self._journal = journal
        self._clock = clock
        self._log = log
        self._settling = Settling(gateway, journal, clock, router, self, log)

    async def settle_open(self, *, give_up: bool = False, halt: Callable[[Mismatch], None] | None = None) -> int:
        """Carry every intent that is not at its end, and return how many there were; see `Settling`.

        Args:
            give_up: end an order that no look at the exchange can settle, where a person accepts the account as it is.
            halt: is called with every Mismatch, and lets nothing be opened from then on. Without it, as at a start,
                nothing is sent that opens once any symbol has failed.

        Raises:
            Mismatch: an order cannot be settled, or was decided on an account that is no longer explained.
            ExchangeError: the exchange could not be used; what is open stays open.
        """
        return await self._settling.run(give_up=give_up, halt=halt)

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

    async def reconcile(self, *, looks: int = _LOOKS, among: Callable[[str], bool] = _any) -> Account:
        """Return the account once the journal explains every position on it, or those among some symbols.

        Trades of the exchange's own (liquidation, auto-deleveraging, settlement) and, where the policy says so, of a
        person are written down; the first halt the daemon unless the policy adopts them.

        Raises:
            Mismatch: something else moved a position.
        """
        pause = _PAUSE
        for _ in range(looks - 1):
            account = await self._gateway.account()
            if await self._unexplained(account, among) is None:
                return account
            await self._clock.sleep_until(self._clock.now() + pause)
            pause *= 2
        account = await self._gateway.account()
        finding = await self._unexplained(account, among)
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

    async def protect_others(self, busy: Set[str], *, tell: bool, resting: Iterable[Order] = ()) -> bool:
        """Bring the stops of symbols to what is held where no order is open, and journal and account agree.

        Of those, what is left over among the orders `resting` is taken back first, as it would keep another from its
        place. What is missing is told in the state only on request.

        Returns:
            Whether each could be brought there.

        Raises:
            Mismatch: as `protect`.
            ExchangeError: as `protect`, or the trades of a stop that closed something are not told.
        """
        known, pause = self._doubtful, _PAUSE
        account = await self._shown(busy)
        for _ in range(_STOP_LOOKS - 1):
            if self._doubtful <= known:
                break
            # it may lag behind its orders; where it showed the same before it does not
            await self._clock.sleep_until(self._clock.now() + pause)
            pause *= 2
            account = await self._shown(busy)
        leave = busy | self._doubtful
        await self._protection.sweep([order for order in resting if order.symbol not in leave])
        untold = await self._take_stopped(await self._protection.follow(account, leave=leave, tell=tell))
        for why in untold.values():
            raise why
        return not self._protection.failed

    async def _shown(self, busy: Set[str]) -> Account:
        """Return the account, and remember of which symbols at rest it shows something else than the journal holds."""
        account = await self._gateway.account()
        self._doubtful = {one.symbol for one in differences(self._journal.positions(), account)} - busy
        return account

    async def at_rest(self, *, adopt: bool = False) -> Sequence[Order]:
        """Return the orders at rest that are no stops of ours; see `Protection.sweep`."""
        return await self._protection.sweep(await self.resting(), adopt=adopt)

    async def resting(self) -> Sequence[Order]:
        """Return the orders at rest; where all but the conditional ones are told, nothing is opened until those are."""
        try:
            orders, unseen = await self._gateway.open_orders(), ""
        except ExchangeError as error:
            orders, unseen = await self._gateway.open_orders(conditional=False), str(error)
        self._protection.tell_unseen(unseen)
        return orders

    def knows(self, order: Order) -> bool:
        """Whether the journal intended an order or stop of that name."""
        return self.explaining.knows(order.client_id) or self._journal.stop(order.client_id) is not None

    async def take_fired(
        self, *, every: bool = False, among: Container[str] | None = None
    ) -> Mapping[str, ExchangeError]:
        """Write down what stops have closed that nobody has heard of yet; what is not explained is left to `reconcile`.

        Returns:
            Of which symbols the trades of a stop are not told, and why.

        Raises:
            ExchangeError: `every` stop that stands has to be looked at, and one cannot be; or nothing can be asked.
        """
        return await self._take_stopped(await self._protection.fired(every=every, among=among), every=every)

    async def _take_stopped(self, symbols: Iterable[str], *, every: bool = False) -> dict[str, ExchangeError]:
        """Write down what was closed, and return the symbols whose trades are not told, which a later look finds."""
        left: dict[str, ExchangeError] = {}
        for symbol in symbols:
            try:
                held = (await self._gateway.account()).quantity(symbol)
                await self.explaining.explain(Difference(symbol, self._journal.position(symbol), held))
            except ExchangeError as error:
                if every or ends_all(error):
                    raise
                self._log.warning("trades not told", symbol=symbol, why=str(error))
                left[symbol] = error
        return left

    async def explain_bookings(self) -> None:
        """Look for trades that left no position behind, by the bookings that name them.

        Raises:
            Mismatch: somebody else traded.
        """
        last = self._journal.equity_points(last=1)
        since = max([self._journal.baseline().at, *(point.close - _A_DAY for point in last)])
        for symbol in untold(self._journal.incomes(since=since), self._journal.knows_trade):
            held = (await self._gateway.account()).quantity(symbol)
            finding = await self.explaining.explain(Difference(symbol, self._journal.position(symbol), held))
            if finding is not None:
                raise Mismatch(
                    f"Somebody else traded on the account ({finding.text}); stop whoever it was, then accept the "
                    "account as the baseline with `trader run --adopt`."
                )

    async def _unexplained(self, account: Account, among: Callable[[str], bool]) -> Finding | None:
        """Write down what can be explained, and return the first difference among some symbols that cannot."""
        for difference in differences(self._journal.positions(), account):
            finding = await self.explaining.explain(difference) if among(difference.symbol) else None
            if finding is not None:
                return finding
        return None

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

    def peak(self, equity: Decimal) -> Decimal:
        """Return the highest equity since the baseline or the last resume, that of this look, `agreed`, included."""
        return self._journal.peak_at(equity)
