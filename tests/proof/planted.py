"""Bugs planted on purpose, each the kind a good engineer has shipped, to show that the machine finds them.

Nothing in the product can turn one on: they live here, in the tests.
"""

import logging
from contextlib import suppress
from copy import copy
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, cast

from tests.proof.planting import Bug, bug
from trader.domain.decision import State
from trader.errors import JournalError, NotSent, OutcomeUnknown, Rejected
from trader.exchange import klines, outcome
from trader.exchange.binance import BinanceGateway
from trader.exchange.clock import WallClock
from trader.exchange.wire import Wire
from trader.execution.guards import Approved
from trader.execution.refusals import Action
from trader.journal.database import Database
from trader.journal.journal import Journal
from trader.journal.rows import Outcome
from trader.live import router
from trader.live.control import Control
from trader.live.gate import Gate
from trader.live.recovery import Recovery
from trader.live.router import Router


@bug(Router, "_settle")
def naive_retry(right: Any) -> Any:
    """After an answer that proves nothing, send again."""

    async def settle(self: Router, intent: Any, over: datetime) -> None:
        return None

    return settle


@bug(BinanceGateway, "send")
def retry_around_send(right: Any) -> Any:
    """Put the post of an order into the same retries as a read, as a decorator does."""

    async def send(self: BinanceGateway, order: Any) -> Any:
        for _ in range(2):
            try:
                return await right(self, order)
            except (OutcomeUnknown, NotSent):
                continue
        return await right(self, order)

    return send


@bug(Router, "_post")
def new_id_on_retry(right: Any) -> Any:
    """Give every attempt an id of its own, which no look-up of the first one finds."""

    async def post(self: Router, approved: Any, intent: Any) -> Any:
        record = self._journal.order(intent.client_id)
        assert record is not None
        if record.sends > 1:
            approved = copy(approved)
            order = replace(approved.order, client_id=f"{intent.client_id}x{record.sends}")
            object.__setattr__(approved, "order", order)
        return await right(self, approved, intent)

    return post


@bug(Router, "_settle")
def query_then_resend(right: Any) -> Any:
    """Believe "not found" at once, while the request may still be under way."""

    async def settle(self: Router, intent: Any, over: datetime) -> Any:
        return await self._gateway.find(intent.symbol, intent.client_id)

    return settle


@bug(Router, "_settle")
def one_look(right: Any) -> Any:
    """Wait as one should, and then believe the first look."""

    async def settle(self: Router, intent: Any, over: datetime) -> Any:
        await self._clock.sleep_until(over + self.timing.settle)
        return await self._gateway.find(intent.symbol, intent.client_id)

    return settle


@bug(Router, "over")
def written_before_the_stall(right: Any) -> Any:
    """Count the wait from the time that was written down, though writing may take longer than the wait."""

    async def over(self: Router, since: datetime) -> datetime:
        record = self._journal.orders()[-1]
        return min(since, record.sent_at or since)

    return over


@bug(Router, "_clear")
def stall_slept_through(right: Any) -> Any:
    """Look at age and state before the order is written down, and never again."""

    async def clear(self: Router, intent: Any) -> Any:
        verdict = await self.gate.clear(intent)
        if isinstance(verdict, Approved):
            self._journal.mark_sent(intent.client_id, self._clock.now(), verdict.mark)
        return verdict

    return clear


@bug(Router, "settled")
def wall_clock_believed(right: Any) -> Any:
    """Wait by the machine's clock, and never ask whether somebody has set it meanwhile."""

    async def settled(self: Router, moment: datetime) -> None:
        await self._clock.sleep_until(moment)

    return settled


@bug(Database, "_prepare")
def unsynced_journal(right: Any) -> Any:
    """Turn off the syncing of the journal, which is so much faster."""

    def prepare(self: Database, *, writable: bool) -> None:
        right(self, writable=writable)
        self._raw.execute("PRAGMA synchronous = OFF")

    return prepare


@bug(klines, "_closed")
def forming_candle(right: Any) -> Any:
    """Take the newest row for a whole candle because its close time is past, though the answer is older than that."""

    def closed(symbol: str, rows: list[Any], span: Any, where: str) -> Any:
        after = [span.end, *("0" for _ in range(5)), span.end + span.native.milliseconds - 1, "0"]
        return right(symbol, [*rows, after], span, where)

    return closed


@bug(WallClock, "correct")
def local_time(right: Any) -> Any:
    """Trust the machine's clock and never the exchange's."""

    def correct(self: WallClock, offset: timedelta, error: timedelta) -> None:
        pass

    return correct


@bug(Router, "_confirm")
def fills_not_awaited(right: Any) -> Any:
    """Take the answer's word for the end of an order and its trades for told, however few they are."""

    async def confirm(self: Router, intent: Any, order: Any) -> Any:
        self._journal.record_fills(await self._gateway.fills(intent.symbol, order=order))
        self._journal.settle(intent.client_id, order, Outcome.CONFIRMED, final=True, at=self._clock.now())
        return order, None

    return confirm


@bug(Gate, "_judge")
def guard_after_send(right: Any) -> Any:
    """Look at what a person asked for only once the order is away."""

    def judge(self: Gate, *what: Any) -> Any:
        state, self._state = self._state, lambda: State.ACTIVE
        try:
            return right(self, *what)
        finally:
            self._state = state

    return judge


@bug(Recovery, "_unexplained")
def reconcile_skipped(right: Any) -> Any:
    """Trade on whatever the account holds."""

    async def unexplained(self: Recovery, account: Any, among: Any) -> None:
        return None

    return unexplained


@bug(Recovery, "_unexplained")
def empty_is_flat(right: Any) -> Any:
    """Take an answer without positions for an account without positions."""

    async def unexplained(self: Recovery, account: Any, among: Any) -> Any:
        return await right(self, account, among) if account.positions else None

    return unexplained


@bug(Router, "_post")
def unknown_is_rejected(right: Any) -> Any:
    """Take an answer that proves nothing for a refusal."""

    async def post(self: Router, approved: Any, intent: Any) -> Any:
        settle, self._settle = self._settle, None  # type: ignore[method-assign,assignment]
        try:
            return await right(self, approved, intent)
        except TypeError:
            return Rejected("no usable answer")
        finally:
            self._settle = settle  # type: ignore[method-assign]

    return post


@bug(Journal, "mark_sent")
def written_after_the_post(right: Any) -> Any:
    """Write down that an order was sent once it is known what came of it."""

    def mark_sent(self: Journal, client_id: str, at: datetime, arrival: Decimal | None = None) -> None:
        pass

    return mark_sent


@bug(Journal, "mark_sent")
def full_disk_ignored(right: Any) -> Any:
    """Trade on when the journal cannot be written: the log line will do."""

    def mark_sent(self: Journal, client_id: str, at: datetime, arrival: Decimal | None = None) -> None:
        with suppress(JournalError):
            right(self, client_id, at, arrival)

    return mark_sent


@bug(Gate, "_judge")
def age_not_looked_at(right: Any) -> Any:
    """Send what was decided, however long ago that was."""

    def judge(self: Gate, intent: Any, *what: Any) -> Any:
        return right(self, replace(intent, not_after=intent.not_after + timedelta(days=1)), *what)

    return judge


@bug(Gate, "_left")
def opens_on_a_failed_close(right: Any) -> Any:
    """Send the opening leg whatever became of the closing one."""

    async def left(self: Gate, intent: Any, parts: Any) -> Decimal:
        return Decimal(0)

    return left


@bug(Recovery, "settle_open")
def open_orders_forgotten(right: Any) -> Any:
    """Start anew after a crash and leave what was under way to itself."""

    async def settle_open(self: Recovery, *, give_up: bool = False, halt: Any = None) -> int:
        return 0

    return settle_open


@bug(Router, "carry")
def restart_sends_first(right: Any) -> Any:
    """After a restart send what has no end in the journal, instead of looking for it."""

    async def carry(self: Router, intent: Any, *, sent_at: datetime | None = None) -> Any:
        self.began = datetime.min.replace(tzinfo=UTC)
        return await right(self, intent)

    return carry


@bug(outcome, "order_failure")
def secret_in_the_message(right: Any) -> Any:
    """Tell with a refused order what it was signed with, to find out why."""

    def order_failure(error: BaseException, where: str, now: datetime, secrets: tuple[str, ...] = ()) -> Any:
        failure = right(error, where, now, secrets)
        failure.args = (f"{failure} (signed by {secrets})",)
        return failure

    return order_failure


@bug(router, "action_of")
def refusal_not_heeded(right: Any) -> Any:
    """Take every refusal for one that concerns its own order only."""

    def action_of(error: Rejected) -> Action:
        return Action.STAND_ASIDE

    return action_of


@bug(router, "following")
def whole_order_again(right: Any) -> Any:
    """Let the whole quantity follow on an order of which a part was filled."""

    def following(short: Any, *given: Any) -> Any:
        return (short.quantity, short.limit) if short.filled else right(short, *given)

    return following


@bug(Control, "state")
def resume_overheard(right: Any) -> Any:
    """Obey whoever restricts, and never whoever resumes."""

    def state(self: Control) -> State:
        kept = self._journal.state().state
        return right(self) if kept is State.ACTIVE else kept

    return state


class Listener(logging.Handler):
    """Writes to where the log goes, and knows nothing of secrets."""

    def emit(self, record: logging.LogRecord) -> None:
        cast(Any, logging.getLogger().handlers[0]).stream.write(f"{record.getMessage()}\n")


@bug(Wire, "logger")
def client_heard_at_debug(right: Any) -> Any:
    """Listen to the client at DEBUG through a handler of its own."""
    listener = logging.Logger("listener", logging.DEBUG)  # noqa: LOG001
    listener.addHandler(Listener())
    return listener


BUGS: dict[str, Bug] = {
    plant.__name__: plant
    for plant in (
        naive_retry,
        retry_around_send,
        new_id_on_retry,
        query_then_resend,
        one_look,
        written_before_the_stall,
        stall_slept_through,
        wall_clock_believed,
        unsynced_journal,
        forming_candle,
        local_time,
        fills_not_awaited,
        guard_after_send,
        reconcile_skipped,
        empty_is_flat,
        unknown_is_rejected,
        written_after_the_post,
        full_disk_ignored,
        age_not_looked_at,
        opens_on_a_failed_close,
        open_orders_forgotten,
        restart_sends_first,
        secret_in_the_message,
        refusal_not_heeded,
        whole_order_again,
        resume_overheard,
        client_heard_at_debug,
    )
}

OPENED_WITH = ("unsynced_journal", "client_heard_at_debug")
"""The bugs that are in the way journal or client are opened."""
