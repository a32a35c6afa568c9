"""Read in the journal what is news: changes of state, closes that came to nothing, orders that did, a model's age."""

import json
from collections.abc import Iterator
from datetime import datetime, timedelta
from itertools import groupby

from trader.domain.decision import State
from trader.domain.interval import Interval
from trader.journal.queries import Reader
from trader.journal.rows import DecisionRecord, OrderRecord, Outcome, StateRecord, Status
from trader.notify.alert import Alert, Severity

OVERDUE = timedelta(minutes=5)
BARRED, BARRED_LONG = timedelta(minutes=1), timedelta(hours=1)
"""How long a ban has to last for people to be told, and for it to be grave."""
EXPIRY_DAYS = (30, 14, 7, 3, 1, 0)
_URGENT_DAYS = 3
_NAMED = 6
_STATES = {State.ACTIVE: Severity.INFO, State.REDUCING: Severity.WARNING, State.HALTED: Severity.CRITICAL}
_UNDONE = (Outcome.REJECTED, Outcome.DENIED, Outcome.ABSENT, Outcome.EXPIRED)
_MINUTE = "%Y-%m-%d %H:%MZ"


def begin(journal: Reader) -> str:
    """Return how far a journal is known when somebody begins to watch it: all of it."""
    last, states = journal.last_close(), journal.states(last=1)
    return _mark(last, states[-1].at if states else None)


def news(journal: Reader, mark: str) -> tuple[list[Alert], str]:
    """Return what a journal tells since a mark, and the next mark.

    What is told again because it happened in the very moment of the mark has the key it had before.
    """
    known = json.loads(mark)
    close, state = (None if known[name] is None else datetime.fromisoformat(known[name]) for name in ("close", "state"))
    states = journal.states(since=state)
    decisions = journal.decisions(since=close)
    alerts = [*map(_state, states), *_decisions(decisions), *_orders(journal.orders(since=close))]
    # a close that is not finished yet is looked at again
    finished = [one.close for one in decisions if one.finished_at is not None]
    unfinished = [one.close for one in decisions if one.finished_at is None]
    ends = [one for one in finished if not unfinished or one < min(unfinished)]
    return alerts, _mark(max(ends, default=close), states[-1].at if states else state)


def overdue(journal: Reader, now: datetime) -> Alert | None:
    """Return the alert that the last close is not decided although it could be for minutes; `now` is venue time."""
    interval = journal.get("interval")
    last = journal.last_close() or (journal.baseline().at if journal.has_baseline() else None)
    if interval is None or last is None:
        return None
    due = Interval.parse(interval).floor(now)
    record = journal.decision(due)
    if now - due < OVERDUE or due < last or (record is not None and record.finished_at is not None):
        return None
    return Alert(
        key=f"overdue:{due.isoformat()}",
        severity=Severity.CRITICAL,
        title=f"The close {due:{_MINUTE}} is not decided",
        text=f"It was due {_minutes(now - due)} ago. It is tried until it is too old; look at the log, the network and "
        "the exchange's own status page.",
    )


def barred(journal: Reader, now: datetime) -> Alert | None:
    """Return the alert that the exchange wants no request for longer than a minute; `now` is venue time."""
    until = journal.cooldown()
    if until is None or until - now <= BARRED:
        return None
    return Alert(
        key=f"barred:{until.isoformat()}",
        severity=Severity.CRITICAL if until - now > BARRED_LONG else Severity.WARNING,
        title=f"The exchange wants no request before {until:{_MINUTE}}",
        text="Too many came from this address, or it was banned. Nothing is asked or sent until then, also after a "
        "restart; look for what else asks from here.",
    )


def expiry(journal: Reader, now: datetime) -> Alert | None:
    """Return the warning that the model is near its end; the exchange does not tell when a key ends."""
    last = journal.decisions(last=1)
    model = journal.load_model(last[-1].model_hash) if last and last[-1].model_hash else None
    card = {} if model is None else json.loads(model.card)
    if model is None or not card.get("expires"):
        return None
    end = datetime.fromisoformat(card["expires"])
    left = [days for days in EXPIRY_DAYS if end - now <= timedelta(days=days)]
    if not left:
        return None
    word = f"expires at {end:{_MINUTE}}" if left[-1] else f"expired at {end:{_MINUTE}}"
    return Alert(
        key=f"expiry:{model.hash[:12]}:{left[-1]}",
        severity=Severity.CRITICAL if left[-1] <= _URGENT_DAYS else Severity.WARNING,
        title=f"The model {card['name']} {word}",
        text="An expired one refuses to start on a real exchange; put a newer one in its place before that.",
        once=True,
    )


def digest(journal: Reader, day: str, now: datetime, waiting: int) -> Alert:
    """Return the daily word: alive, holds, next; `now` is venue time, `day` names the digest."""
    state = journal.state()
    decisions = journal.decisions(since=now - timedelta(days=1))
    missed = sum(one.status in (Status.MISSED, Status.FAILED) for one in decisions)
    held = [f"{symbol} {quantity:+f}" for symbol, quantity in journal.positions().items()]
    holds = ", ".join(held) or "nothing"
    short = holds if len(held) <= _NAMED else f"{len(held)} symbols"
    interval, last = journal.get("interval"), journal.last_close()
    following = Interval.parse(interval).following(now) if interval else None
    lines = [
        f"State: {state.state.value} since {state.at:{_MINUTE}} ({state.why})",
        f"Holds: {holds}",
        *_equity(journal, now),
        f"A day's closes: {len(decisions) - missed} decided, {missed} missed or failed",
        f"Last: {last:{_MINUTE}}" if last else "Last: none yet",
        f"Next: {following:{_MINUTE}}" if following else "Next: not known",
        *([f"{waiting} alerts could not be delivered yet"] if waiting else []),
    ]
    title = f"trader is alive: {state.state.value}, holds {short}"
    return Alert(f"digest:{day}", Severity.INFO, title, "\n".join(lines), once=True, always=True)


def _equity(journal: Reader, now: datetime) -> list[str]:
    """Say the newest equity with its close, and what changed since the last close that is a day old."""
    newest = journal.equity_points(last=1)
    if not newest:
        return []
    said = f"Equity: {newest[0].equity:.2f} USDT at {newest[0].close:{_MINUTE}}"
    # closes may be further apart than a day is long
    before = journal.equity_points(until=now - timedelta(days=1), last=1) or journal.equity_points(
        since=now - timedelta(days=1)
    )
    if before[0].close == newest[0].close:
        return [said]
    return [f"{said} ({newest[0].equity - before[0].equity:+.2f} since {before[0].close:{_MINUTE}})"]


def _mark(close: datetime | None, state: datetime | None) -> str:
    return json.dumps({name: at and at.isoformat() for name, at in (("close", close), ("state", state))})


def _minutes(span: timedelta) -> str:
    return f"{span.total_seconds() / 60:.0f} minutes"


def _state(record: StateRecord) -> Alert:
    remedy = "Look at `trader status`; `trader resume` ends it."
    if record.passing:
        remedy = "It ends by itself once every stop rests; look at `trader status`."
    return Alert(
        key=f"state:{record.at.isoformat()}:{record.state.value}",
        severity=_STATES[record.state],
        title=f"State {record.state.value}",
        text=f"{record.why} (by {record.by}, {record.at:{_MINUTE}}). "
        + ("" if record.state is State.ACTIVE else remedy),
        once=True,
    )


def _decisions(records: list[DecisionRecord]) -> Iterator[Alert]:
    """Tell closes that came to nothing, a run of them with one reason as one."""
    undone = [one for one in records if one.status in (Status.MISSED, Status.FAILED)]
    for (status, why), group in groupby(undone, key=lambda one: (one.status, one.why)):
        closes = [one.close for one in group]
        span = f"{closes[0]:{_MINUTE}}" + (f" to {closes[-1]:{_MINUTE}}" if len(closes) > 1 else "")
        yield Alert(
            key=f"close:{closes[0].isoformat()}:{status.value}",
            severity=Severity.WARNING,
            title=f"{len(closes)} {'close was' if len(closes) == 1 else 'closes were'} not decided ({status.value})",
            text=f"{span}: {why}. What was held is still held.",
            once=True,
        )


def _orders(records: list[OrderRecord]) -> Iterator[Alert]:
    """Tell orders that came to nothing, each by itself, or as one where a close had many."""
    undone = [one for one in records if one.outcome in _UNDONE and one.final]
    for close, group in groupby(undone, key=lambda one: one.intent.close):
        orders = list(group)
        if len(orders) <= _NAMED:
            yield from map(_order, orders)
            continue
        named = "; ".join(f"{one.intent.symbol} {one.intent.quantity:+f}: {_why(one)}" for one in orders[:_NAMED])
        yield Alert(
            # one more is news again
            key=f"orders:{close.isoformat()}:{len(orders)}",
            severity=Severity.WARNING,
            title=f"{len(orders)} orders were not filled at {close:{_MINUTE}}",
            text=f"{named}; and {len(orders) - _NAMED} more. See `trader orders`.",
            once=True,
        )


def _order(one: OrderRecord) -> Alert:
    intent = one.intent
    return Alert(
        key=f"order:{intent.client_id}",
        severity=Severity.WARNING,
        title=f"An order was not filled: {intent.symbol} {intent.quantity:+f}",
        text=f"{intent.client_id} ended {_why(one)}. See `trader orders`.",
        once=True,
    )


def _why(one: OrderRecord) -> str:
    return f"{one.status}: {one.error_text or one.outcome}"
