"""The last look before an order leaves: what holds at this very moment, judged by the guards at the wire."""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from decimal import Decimal

from trader.domain.decision import State
from trader.domain.order import FOLLOW_UP
from trader.errors import ExchangeError
from trader.execution.guards import Approved, Moment, WireLimits, Withheld, admit
from trader.journal.journal import Journal
from trader.journal.rows import Intent, OrderRecord, Outcome
from trader.live.ports import Clock, Gateway
from trader.live.record import decode_positions


class Gate:
    """Clear an intent for one post, or withhold it.

    Args:
        gateway: is asked for the mark price and the clock's offset before an opening, where a limit wants them.
        journal: knows what is held.
        clock: the venue's.
        state: obeys whatever a person has asked for and returns the state that holds then.
        limits: what is allowed at the wire.
    """

    def __init__(
        self, gateway: Gateway, journal: Journal, clock: Clock, state: Callable[[], State], limits: WireLimits
    ) -> None:
        self._gateway = gateway
        self._journal = journal
        self._clock = clock
        self._state = state
        self._limits = limits
        self._held: tuple[datetime, Mapping[str, Decimal]] | None = None

    def barred(self, intent: Intent) -> Withheld | None:
        """Return why an order may not leave whatever the account is like: the state, or its age.

        It is asked before an account is made ready for an opening, so that neither halt nor flatten wait for that.
        """
        verdict = self._judge(intent, Decimal(0))
        return verdict if isinstance(verdict, Withheld) else None

    async def clear(self, intent: Intent) -> Approved | Withheld:
        """Return the order approved for one post, or why it is withheld.

        Raises:
            ExchangeError: what an opening has to be judged by could not be asked; nothing is sent then.
        """
        parts = [] if intent.reduce_only else self._parts(intent)
        refused = _refused(parts, intent)
        if refused is not None:
            return Withheld("parts", f"an earlier part was refused: {refused.error_text}")
        left = await self._left(intent, parts)
        verdict = self._judge(intent, left)
        if isinstance(verdict, Withheld) or intent.reduce_only:
            return verdict
        offset = mark = gross = None
        if self._limits.max_clock_offset is not None:
            offset = await self._gateway.sync_clock()
        if self._limits.canary_notional is not None:
            marks = await self._gateway.prices(sorted(self._reached(intent, sent=False)))
            mark = marks.get(intent.symbol)
            # read again: while prices were asked for, other lanes may have sent
            reached = self._reached(intent, sent=True)
            if untold := sorted(symbol for symbol, quantity in reached.items() if quantity and symbol not in marks):
                raise ExchangeError(
                    f"The exchange tells no price of {', '.join(untold)}, which the canary's cap counts."
                )
            gross = sum((abs(quantity) * marks[one] for one, quantity in reached.items() if quantity), Decimal(0))
        elif self._limits.max_deviation is not None and intent.price is not None:
            mark = (await self._gateway.prices([intent.symbol]))[intent.symbol]
        # a person may have said halt while the exchange was asked, and time has passed
        return self._judge(intent, left, offset, mark, gross)

    def _reached(self, intent: Intent, *, sent: bool) -> dict[str, Decimal]:
        """Return the position of each symbol once this opening and those under way are filled.

        Args:
            intent: the opening.
            sent: count others only once they may have left; a symbol of one that has not is told too where this is not.
        """
        reached = self._journal.positions()
        for other in self._journal.open_intents():
            if other.intent.reduce_only or other.intent.client_id == intent.client_id:
                continue
            if other.sent_at is not None or not sent:
                symbol = other.intent.symbol
                reached[symbol] = reached.get(symbol, Decimal(0)) + other.intent.quantity - other.filled
        reached[intent.symbol] = reached.get(intent.symbol, Decimal(0)) + intent.quantity
        return reached

    def _judge(
        self,
        intent: Intent,
        left: Decimal,
        offset: timedelta | None = None,
        mark: Decimal | None = None,
        gross: Decimal | None = None,
    ) -> Approved | Withheld:
        # obeying writes to the journal, which may take its time: the clock is looked at behind it
        state = self._state()
        moment = Moment(
            at=self._clock.now(),
            state=state,
            left=left,
            decided_price=intent.price,
            mark=mark,
            clock_offset=offset,
            gross=gross,
        )
        return admit(intent.request, kind=intent.leg, not_after=intent.not_after, moment=moment, limits=self._limits)

    def _parts(self, intent: Intent) -> list[OrderRecord]:
        """Return every order of the same opening."""
        orders = self._journal.orders(since=intent.close, until=intent.close)
        return [one for one in orders if (one.intent.symbol, one.intent.leg) == (intent.symbol, intent.leg)]

    async def _left(self, intent: Intent, parts: Sequence[OrderRecord]) -> Decimal:
        """Return what is held beyond the parts of the same opening and what it was decided to add to.

        That is what a failed close left, on any side, or what was adopted since. Before what opens from flat, less than
        an order may have is nothing: no close could have taken it.
        """
        if intent.reduce_only:
            return Decimal(0)
        left = self._journal.position(intent.symbol) - sum((part.filled for part in parts), Decimal(0))
        if intent.leg != "o":
            return left - self._decided_on(intent)
        if not left:
            return left
        instruments = await self._gateway.instruments([intent.symbol])
        return left if abs(left) >= instruments[intent.symbol].least else Decimal(0)

    def _decided_on(self, intent: Intent) -> Decimal:
        """Return what was held of a symbol when an order was decided."""
        if self._held is None or self._held[0] != intent.close:
            transcript = self._journal.transcript(intent.close)
            self._held = intent.close, {} if transcript is None else decode_positions(transcript.inputs)
        return self._held[1].get(intent.symbol, Decimal(0))


def _refused(parts: Sequence[OrderRecord], intent: Intent) -> OrderRecord | None:
    """Return an earlier part that was refused for good, unless what followed on it was not."""
    last: dict[int, OrderRecord] = {}
    for part in sorted(parts, key=lambda part: part.intent.attempt):
        last[part.intent.attempt % FOLLOW_UP] = part
    earlier = (part for number, part in last.items() if number < intent.attempt % FOLLOW_UP)
    return next((part for part in earlier if part.outcome is Outcome.REJECTED), None)
