"""Say whose trades are behind a difference between journal and account, and write down what may be."""

from collections.abc import Container, Iterable, Sequence
from dataclasses import replace
from decimal import Decimal

from structlog.typing import FilteringBoundLogger

from trader.domain.decision import State
from trader.domain.order import Fill, Order
from trader.execution.reconcile import (
    KINDS,
    Author,
    Difference,
    Finding,
    Kind,
    Policies,
    author,
    explained_by,
    taken_by,
)
from trader.journal.journal import Journal
from trader.journal.rows import StopRecord
from trader.live.ports import Clock, Gateway
from trader.live.protection import Protection

_BACK = 500
"""How many trades are looked through again for one that is not known, before all are: one page holds them."""


class Explaining:
    """Find the trades of what moved a position, and know whose they are.

    Args:
        gateway: the account.
        journal: the story so far.
        clock: the venue's.
        protection: knows which orders stops became.
        log: says what was found.
        policies: what to do about a difference that can be lived with.
        prefix: how this instance's client ids begin, so that another's are told apart.
    """

    def __init__(
        self,
        gateway: Gateway,
        journal: Journal,
        clock: Clock,
        protection: Protection,
        log: FilteringBoundLogger,
        policies: Policies,
        prefix: str,
    ) -> None:
        self._gateway = gateway
        self._journal = journal
        self._clock = clock
        self._protection = protection
        self._log = log
        self._policies = policies
        self._prefix = prefix

    async def explain(self, difference: Difference) -> Finding | None:
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
            return await self.explain(replace(difference, journal=self._journal.position(symbol)))
        if not fills or not explained_by(difference, fills):
            return finding
        forced = finding.kind is not Kind.POSITION
        adopted = self._policies.adopts(finding.kind) and finding.author in {Author.PERSON, *KINDS}
        if not forced and not adopted:
            return finding
        self._take(finding, fills, stopped)
        return None

    async def gone(self, difference: Difference) -> bool:
        """Whether trades tell where a position went that the account does not show any more."""
        return explained_by(difference, await self._unknown(difference))

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
        """Say whose the order of a trade is; one that nobody knows any more is a person's.

        A second copy of this daemon on the same account gives its orders the names of ours; their numbers are its own.
        """
        if order is None:
            return Author.PERSON
        if order.exchange_id in stopped:
            return Author.STOP
        known = self._journal.order(order.client_id)
        if known is None or known.exchange_id == order.exchange_id:
            return self.author(order.client_id)
        return Author.LOST

    def author(self, client_id: str) -> Author:
        """Say whose an order is."""
        return author(client_id, self._prefix, self.knows)

    def knows(self, client_id: str) -> bool:
        """Whether the journal intended an order of that name."""
        return self._journal.order(client_id) is not None
