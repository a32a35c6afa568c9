"""Whether a daemon is well, said line by line."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from itertools import takewhile
from typing import Any

from trader.domain.interval import Interval
from trader.journal.rows import DecisionRecord, Status
from trader.journal.totals import Totals
from trader.status.board import STALE, Facts, Instance

_LATE = timedelta(minutes=15)
_LEAST_FREE = 100 * 1024 * 1024
_MILLISECOND = timedelta(milliseconds=1)
_SOON = timedelta(days=14)


def overdue(journal: Totals, interval: Interval, now: datetime) -> timedelta:
    """Return for how long the oldest close that is due has no end in the journal, nothing where every one has."""
    unfinished, last = journal.oldest_unfinished(), journal.last_close()
    if last is None:
        if not journal.has_baseline():
            return timedelta(0)
        # no close was ever taken: the first one after the account was accepted is due
        last = journal.baseline().at
    oldest = unfinished if unfinished is not None else interval.following(last)
    return max(timedelta(0), now - oldest)


def lines(
    facts: Facts,
    one: Instance,
    *,
    silent: float,
    lag: timedelta,
    newest: Sequence[DecisionRecord],
    free: int | None,
    expires: str | None,
) -> list[dict[str, Any]]:
    """Return one line a thing that can be wrong: its name, whether it is well, and the finding in words.

    `newest` are the newest closes, the oldest of them first.
    """
    offset = facts.clock_offset
    found = [
        _line("loop", silent <= STALE, f"ran {silent:.0f} s ago" if silent >= 1 else "runs"),
        _line("start", facts.ready, _start(facts)),
        _line(
            "journal",
            lag <= _LATE,
            "every close that was due has its end" if not lag else f"a close is {_span(lag)} old and has no end yet",
        ),
        _closes(newest),
        _line(
            "clock",
            abs(offset) <= one.max_clock_offset(),
            f"{offset / _MILLISECOND:+.0f} ms to the exchange, known to {facts.clock_error / _MILLISECOND:.0f} ms",
        ),
    ]
    for window, (used, limit) in facts.weights.items():
        found.append(_line(window.replace("-", " in "), used <= 0.9 * limit, f"{used} of {limit}"))
    if facts.cooldown is not None:
        found.append(_line("exchange", False, f"wants no request before {facts.cooldown:%Y-%m-%d %H:%M:%S} UTC"))
    room = "it cannot be looked at" if free is None else f"{free / 2**30:,.1f} GiB free beside the journal"
    found.append(_line("disk", free is not None and free >= _LEAST_FREE, room))
    if expires is not None:
        left = datetime.fromisoformat(expires) - datetime.now(UTC)
        text = f"expires on {expires[:10]}" if left > timedelta(0) else f"expired on {expires[:10]}"
        found.append(_line("model", left > _SOON, text))
    return found


def _closes(newest: Sequence[DecisionRecord]) -> dict[str, Any]:
    """Say whether the newest close that has its end was decided, and if not, how many in a row were not."""
    ended = [record for record in newest if record.finished_at is not None]
    undone = list(takewhile(lambda record: record.status is not Status.CLOSED, reversed(ended)))
    if not undone:
        return _line("closes", True, "the newest was decided" if ended else "none was due yet")
    many = "was" if len(undone) == 1 else f"{len(undone)}{' or more' if len(undone) == len(newest) else ''} were"
    return _line("closes", False, f"the newest {many} not decided: {undone[0].why}")


def _start(facts: Facts) -> str:
    if facts.out_since is not None:
        return f"the exchange is out since {facts.out_since:%Y-%m-%d %H:%M} UTC; it is asked again"
    return "recovered; waits for closes" if facts.ready else "has not recovered yet"


def _line(name: str, well: object, text: str) -> dict[str, Any]:
    return {"name": name, "well": bool(well), "text": text}


def _span(length: timedelta) -> str:
    """Write a length of time in its largest unit that is not too coarse."""
    seconds = int(length.total_seconds())
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds // size} {unit}"
    return f"{seconds} s"
