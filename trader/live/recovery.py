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
from trader.live.ports import Clock, Gateway
from trader.live.router import Router

# income is asked for again from a little before the last booking: it is told late and out of order
_OVERLAP = timedelta(minutes=1)


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

    async def settle_open(self) -> int:
        """Carry every intent that is not at its end, oldest first, and return how many there were."""
        open_orders = self._journal.open_intents()
        for order in open_orders:
            self._log.warning("settling an open order", client_id=order.intent.client_id, sends=order.sends)
            await self.router.carry(order.intent, sent_at=order.sent_at)
        return len(open_orders)

    async def book_incomes(self) -> None:
        """Write down every booking on the wallet since the last one known."""
        since = self._journal.last_income_time()
        start = self._journal.baseline().at if since is None else since - _OVERLAP
        self._journal.record_incomes(await self._gateway.incomes(start))

    async def explain(self, account: Account) -> None:
        """Check that the journal's positions are the account's.

        Trades of the exchange's own (liquidation, auto-deleveraging) are written down and halt the daemon.

        Raises:
            Mismatch: something else moved a position.
        """
        for difference in differences(self._journal.positions(), account):
            fills = await self._gateway.fills(difference.symbol, since=self._journal.last_trade_id(difference.symbol))
            if not explained_by(difference, fills) or not await self._forced(difference, fills):
                raise Mismatch(
                    f"The account holds what the journal does not explain ({difference}); close it by hand, or accept "
                    "it as the baseline with `trader run --adopt`."
                )
            self._journal.record_fills(fills)
            why = f"{difference.symbol} was liquidated or auto-deleveraged by the exchange ({difference})"
            self._log.error("position taken by the exchange", why=why)
            self._journal.set_state(State.HALTED, why, "exchange", self._clock.now())

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
