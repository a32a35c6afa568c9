"""Bring journal and exchange to the same story; start-up and every cycle begin with it."""

from datetime import timedelta
from decimal import Decimal

from structlog.typing import FilteringBoundLogger

from trader.domain.account import Account
from trader.domain.decision import State
from trader.domain.order import Fill
from trader.errors import Mismatch
from trader.execution.reconcile import Difference, differences, explained_by, forced
from trader.journal.journal import Journal
from trader.journal.rows import Outcome
from trader.live.ports import Clock, Gateway
from trader.live.router import Router

# income is asked for again from a little before the last booking: it is told late and out of order
_OVERLAP = timedelta(minutes=1)
_CENT = Decimal("0.01")
# a read may lag behind an order that has just been confirmed
_LOOKS = 4
# bookings are told up to half a minute late
_WALLET_LOOKS = 7
_PAUSE = timedelta(milliseconds=500)


class Recovery:
    """Settle open orders, book what happened meanwhile, and refuse what cannot be explained."""

    def __init__(
        self, gateway: Gateway, journal: Journal, clock: Clock, router: Router, log: FilteringBoundLogger
    ) -> None:
        self.router = router
        self._gateway = gateway
        self._journal = journal
        self._clock = clock
        self._log = log

    async def settle_open(self, *, give_up: bool = False) -> int:
        """Carry every intent that is not at its end, oldest first, and return how many there were.

        Args:
            give_up: end an order that no look at the exchange can settle, where a person accepts the account as it is.

        Raises:
            Mismatch: an order cannot be settled, or was decided on an account that is no longer explained.
            ExchangeError: the exchange could not be used; what is open stays open.
        """
        open_orders = self._journal.open_intents()
        for order in open_orders:
            name = order.intent.client_id
            self._log.warning("settling an open order", client_id=name, sends=order.sends)
            try:
                if order.sent_at is None:
                    # since it was decided, a person or the exchange may have traded
                    await self.reconcile()
                await self.router.carry(order.intent, sent_at=order.sent_at)
            except Mismatch as mismatch:
                if not give_up:
                    raise
                outcome = Outcome.DENIED if order.sent_at is None else Outcome.ABSENT
                self._log.error("order given up", client_id=name, why=str(mismatch))
                self._journal.settle(name, None, outcome, final=True, text=str(mismatch), at=self._clock.now())
        return len(open_orders)

    async def book_incomes(self) -> None:
        """Write down every booking on the wallet since the last one known."""
        since = self._journal.last_income_time()
        start = self._journal.baseline().at if since is None else since - _OVERLAP
        self._journal.record_incomes(await self._gateway.incomes(start))

    async def require_wallet(self) -> None:
        """Check that the journal's bookings make the account's wallet: another account, or a reset one, has another.

        Raises:
            Mismatch: they still do not after a few looks; bookings are told late.
        """
        pause = _PAUSE
        for _ in range(_WALLET_LOOKS - 1):
            booked, held = await self._wallets()
            if abs(booked - held) < _CENT:
                return
            await self._clock.sleep_until(self._clock.now() + pause)
            pause *= 2
        booked, held = await self._wallets()
        if abs(booked - held) >= _CENT:
            raise Mismatch(
                f"The journal's bookings make a wallet of {booked:.2f} USDT and the account has {held:.2f}: this is "
                "another account, or one that was reset; use the account the journal belongs to, another "
                "TRADER_DATA_DIR, or accept this one as the baseline with `trader run --adopt`."
            )

    async def _wallets(self) -> tuple[Decimal, Decimal]:
        """Return the wallet that every booking makes since the baseline, and the account's."""
        await self.book_incomes()
        begun = self._journal.baseline()
        booked = sum((income.amount for income in self._journal.incomes(since=begun.at)), begun.wallet)
        return booked, (await self._gateway.account()).wallet

    async def reconcile(self) -> Account:
        """Return the account once the journal explains every position on it.

        Trades of the exchange's own (liquidation, auto-deleveraging) are written down and halt the daemon.

        Raises:
            Mismatch: something else moved a position.
        """
        pause = _PAUSE
        for _ in range(_LOOKS - 1):
            account = await self._gateway.account()
            if await self._unexplained(account) is None:
                return account
            await self._clock.sleep_until(self._clock.now() + pause)
            pause *= 2
        account = await self._gateway.account()
        difference = await self._unexplained(account)
        if difference is not None:
            raise Mismatch(
                f"The account holds what the journal does not explain ({difference}); close it by hand, or accept "
                "it as the baseline with `trader run --adopt`."
            )
        return account

    async def _unexplained(self, account: Account) -> Difference | None:
        """Write down what the exchange itself did, and return the first difference that leaves."""
        for difference in differences(self._journal.positions(), account):
            fills = await self._gateway.fills(difference.symbol, since=self._journal.last_trade_id(difference.symbol))
            if not explained_by(difference, fills) or not await self._forced(difference, fills):
                return difference
            why = f"{difference.symbol} was liquidated or auto-deleveraged by the exchange ({difference})"
            self._log.error("position taken by the exchange", why=why)
            # halted first: once the trades are known, nothing would tell a restart of it
            self._journal.set_state(State.HALTED, why, "exchange", self._clock.now())
            self._journal.record_fills(fills)
        return None

    async def _forced(self, difference: Difference, fills: list[Fill]) -> bool:
        """Whether every trade belongs to an order of the exchange's own."""
        for exchange_id in {fill.exchange_id for fill in fills}:
            order = await self._gateway.find_by_exchange_id(difference.symbol, exchange_id)
            if order is None or not forced(order.client_id):
                return False
        return bool(fills)

    def state(self) -> State:
        """Return the durable state."""
        return self._journal.state().state

    def peak(self) -> Decimal:
        """Return the highest equity since the baseline or the last resume."""
        return self._journal.peak_equity()
