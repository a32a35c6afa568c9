"""What a person asked for, obeyed before the next order leaves."""

from collections.abc import Mapping, Sequence
from datetime import timedelta
from decimal import Decimal
from itertools import takewhile

from structlog.typing import FilteringBoundLogger

from trader.domain.account import Account
from trader.domain.decision import STRICTNESS, State
from trader.domain.interval import Interval
from trader.domain.order import FLATTENING
from trader.errors import ExchangeError, Mismatch
from trader.execution.guards import Withheld
from trader.execution.reconcile import differences
from trader.journal.journal import Journal
from trader.journal.rows import OPERATOR, Intent, Request
from trader.live.bounded import within
from trader.live.closing import Closer, rules_of
from trader.live.lanes import Reach
from trader.live.ports import Clock, Gateway
from trader.live.recovery import Recovery

_LOOKS, _PAUSE = 7, timedelta(milliseconds=500)
"""How often a flatten looks whether the account has caught up with its orders: for half a minute."""

_NONE = Decimal(0)
HALT, RESUME, FLATTEN = "halt", "resume", "flatten"
_OVERTAKEN = "a resume asked for before this was found does not lift it; look at it, then `trader resume` again"


class Control:
    """Apply pending requests to the durable state."""

    def __init__(self, journal: Journal, clock: Clock, log: FilteringBoundLogger) -> None:
        self._journal = journal
        self._clock = clock
        self._log = log
        self._withheld: tuple[str, str] | None = None

    def withhold(self, why: str, by: str) -> None:
        """Only reduce from now on, whoever resumes: what may open again has a control of its own."""
        self._withheld = why, by
        self._withhold()

    def _withhold(self) -> None:
        if self._withheld is not None and self._journal.state().state is State.ACTIVE:
            self.restrict(State.REDUCING, *self._withheld)

    def restrict(self, state: State, why: str, by: str) -> None:
        """Allow less from now on, durably; a state that allows as little or less stays, with its own reason."""
        now = self._journal.state()
        # written down again where a resume waits, which must not lift what it did not know of, or where the state ends
        # by itself
        waits = any(request.kind == RESUME for request in self._journal.pending_requests())
        if STRICTNESS[state] > STRICTNESS[State.ACTIVE if waits or now.passing else now.state]:
            state = max(state, now.state, key=STRICTNESS.__getitem__)
            self._journal.set_state(state, why, by, self._clock.now())
            self._log.warning("state changed", state=state.value, why=why, by=by)

    def state(self) -> State:
        """Apply pending requests and return the state that now holds; asked before every post.

        A flatten halts at once and stays pending until its orders are done; what was asked for after it waits for it.
        A resume lifts only what was there when it was asked for, and halts that persons asked for before it.
        """
        for request in self._journal.pending_requests():
            now = self._clock.now()
            if request.kind == FLATTEN:
                if self._journal.state().state is not State.HALTED:
                    self._journal.set_state(State.HALTED, "flatten requested", OPERATOR, now)
                break
            if request.kind == RESUME and (self._overtaken(request) or self._held_back(request)):
                continue
            if request.kind == RESUME:
                self._journal.obey(request.id, State.ACTIVE, "resumed by request", "resumed", now)
            else:
                self._journal.obey(request.id, State.HALTED, f"{request.kind} requested", "halted", now)
            self._log.warning("request obeyed", request=request.kind)
        self._withhold()
        return self._journal.state().state

    def _overtaken(self, request: Request) -> bool:
        """Answer a resume with what was found after it was asked for: a person has to look at that first."""
        now = self._journal.state()
        if now.state is State.ACTIVE or now.passing or not self._journal.overtaken(request):
            return False
        why = f"{now.why} - {_OVERTAKEN}" if _OVERTAKEN not in now.why else now.why
        self._journal.obey(request.id, now.state, why, f"overtaken: {now.why}", self._clock.now())
        self._log.error("resume overtaken", state=now.state.value, why=why)
        return True

    def _held_back(self, request: Request) -> bool:
        """Answer a resume with what is withheld; what losses are counted from stays, as nothing begins anew."""
        if self._withheld is None:
            return False
        why, _ = self._withheld
        self._journal.obey(request.id, State.REDUCING, why, f"withheld: {why}", self._clock.now())
        self._log.error("resume withheld", why=why)
        return True

    def flatten_pending(self) -> list[int]:
        """Return the ids of flatten requests to be done now: those before the first request of another kind."""
        leading = takewhile(lambda request: request.kind == FLATTEN, self._journal.pending_requests())
        return [request.id for request in leading]

    def flattened(self, ids: list[int], result: str) -> None:
        """Mark flatten requests as done."""
        for request_id in ids:
            self._journal.complete_request(request_id, result, self._clock.now())


class Flattener:
    """Close every position of the account with reduce-only orders, within `seconds` of real time a try."""

    def __init__(
        self,
        instance: str,
        interval: Interval,
        gateway: Gateway,
        journal: Journal,
        clock: Clock,
        recovery: Recovery,
        seconds: float,
        log: FilteringBoundLogger,
    ) -> None:
        self._gateway = gateway
        self._log = log
        self._journal = journal
        self._clock = clock
        self._seconds = seconds
        self._recovery = recovery
        self._closer = Closer(instance, interval, gateway, journal, clock, recovery.router)

    async def run(self) -> str:
        """Close everything that is held and say what was closed.

        It goes by what the account holds, so neither an order nor a position that cannot be explained is in its way.

        What the exchange tells no rules of keeps nothing else from being closed. Stops go last, so that what is not
        closed yet stays protected.

        Raises:
            Mismatch: the account is not flat afterwards.
            ExchangeError: the exchange could not be used, or wants no request for longer than a try may take; the next
                one goes on.
        """
        return await within(self._seconds, "The flatten", self._run())

    async def _run(self) -> str:
        failures, closed = list[Mismatch | ExchangeError](), dict[str, Decimal]()
        if self._journal.open_intents():
            await self._take_up(await self._gateway.account(), closed, failures)
            # what is at rest waits for no order that has to come to its end
            await self._close(await self._gateway.account(), closed, failures)
        try:
            # nothing is opened: a flatten has halted
            await self._recovery.settle_open(give_up=True, halt=lambda mismatch: None)
        except (Mismatch, ExchangeError) as error:
            failures.append(error)
        account = await self._gateway.account()
        lags = bool(differences(self._journal.positions(), account))
        untold = await self._close(account, closed, failures)
        if lags or not failures:
            account = await self._caught_up()
        if lags and any(one.quantity for symbol, one in account.positions.items() if symbol not in untold):
            untold = await self._close(account, closed, failures)
            account = account if failures else await self._caught_up()
        for failure in sorted(failures, key=lambda one: not isinstance(one, Mismatch)):
            raise failure
        account = await self._recovery.protect(account)
        left = {symbol: position.quantity for symbol, position in account.positions.items() if position.quantity}
        if strange := "; ".join(f"{one} {left[one]:+f}, as {why}" for one, why in untold.items() if one in left):
            raise Mismatch(
                f"Everything was closed but what has no rules to be closed by ({strange}): close it by hand on the "
                "exchange; the flatten ends once it is gone."
            )
        if left:
            raise Mismatch(f"After flattening the account still holds {left}; run `trader flatten` again.")
        return ", ".join(f"{symbol} {-quantity:+f}" for symbol, quantity in closed.items()) or "nothing was held"

    async def _take_up(
        self, account: Account, closed: dict[str, Decimal], failures: list[Mismatch | ExchangeError]
    ) -> None:
        """See to what an earlier try was to close and did not send.

        It is sent now where it is what the account holds, or where no rules are told to close that by. All else is
        ended, and what is held is closed as if nothing had been written down.
        """
        orders = [order.intent for order in self._journal.open_intents() if order.sent_at is None]
        left: dict[str, list[Intent]] = {}
        for intent in orders:
            if intent.leg == FLATTENING:
                left.setdefault(intent.symbol, []).append(intent)
        held = {symbol: account.quantity(symbol) for symbol in left}
        moved = {symbol for symbol, parts in left.items() if sum(part.quantity for part in parts) != -held[symbol]}
        try:
            told, _ = await rules_of(self._gateway, sorted(symbol for symbol in moved if held[symbol]))
        except ExchangeError as error:
            self._log.warning("rules not told", symbols=", ".join(sorted(moved)), error=str(error))
            told = {}
        anew = {symbol for symbol in moved if symbol in told or not held[symbol]}
        await self._supersede([part for symbol in anew for part in left[symbol]])
        kept = {symbol: parts for symbol, parts in left.items() if symbol not in anew}
        try:
            await self._recovery.router.carry_all([part for parts in kept.values() for part in parts])
        except (Mismatch, ExchangeError) as error:
            failures.append(error)
        closed |= {symbol: -sum((part.quantity for part in parts), _NONE) for symbol, parts in kept.items()}

    async def _supersede(self, intents: Sequence[Intent]) -> None:
        """End orders that were never sent; where that cannot be done they stay open and are settled like all others."""
        reach, verdict = Reach(self._gateway), Withheld("superseded", "what is held now is closed instead")
        for intent in intents:
            try:
                await self._recovery.router.forgo(intent, verdict)
                await reach.lost()
            except ExchangeError as error:
                self._log.warning("order not settled", client_id=intent.client_id, why=str(error))
                if await reach.lost(error):
                    return

    async def _close(
        self, account: Account, closed: dict[str, Decimal], failures: list[Mismatch | ExchangeError]
    ) -> Mapping[str, str]:
        """Close what an account shows, but for what the journal knows to be closed and where an order is under way.

        What is closed is added to `closed`, what fails to `failures`.

        Returns:
            Of which symbols no rules are told, and why.
        """
        orders = self._journal.open_intents()
        # what is to close already, and could neither leave nor be ended, is no second one's
        left = {one.intent.symbol for one in orders if one.sent_at is not None or one.intent.leg == FLATTENING}
        left |= {symbol for symbol in closed if not self._journal.position(symbol)}
        held = {one: position.quantity for one, position in account.positions.items() if position.quantity}
        held = {one: quantity for one, quantity in held.items() if one not in left}
        instruments, untold = await rules_of(self._gateway, sorted(held))
        try:
            await self._closer.close({one: held[one] for one in held if one in instruments}, instruments)
        except (Mismatch, ExchangeError) as error:
            failures.append(error)
        closed |= {one: closed.get(one, _NONE) + quantity for one, quantity in held.items()}
        return untold

    async def _caught_up(self) -> Account:
        """Return the account once it shows what the journal holds, or trades tell where that went.

        An account may lag behind its orders; after a few looks it is taken as it is, because nothing may be in the way
        of a flatten.
        """
        pause = _PAUSE
        for _ in range(_LOOKS - 1):
            account = await self._gateway.account()
            if not await self._lags(account):
                return account
            await self._clock.sleep_until(self._clock.now() + pause)
            pause *= 2
        return await self._gateway.account()

    async def _lags(self, account: Account) -> bool:
        """Whether the account shows something else than the journal holds, and no trades tell why."""
        for one in differences(self._journal.positions(), account):
            try:
                if not await self._recovery.explaining.gone(one):
                    return True
            except ExchangeError as error:
                self._log.warning("trades not told", symbol=one.symbol, error=str(error))
                return True
        return False
