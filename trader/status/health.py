"""Whether a daemon is well, said line by line."""

from datetime import UTC, datetime, timedelta
from typing import Any

from trader.domain.interval import Interval
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
        return timedelta(0)
    oldest = unfinished if unfinished is not None else interval.following(last)
    return max(timedelta(0), now - oldest)


def lines(
    facts: Facts, one: Instance, *, silent: float, lag: timedelta, free: int, expires: str | None
) -> list[dict[str, Any]]:
    """Return one line a thing that can be wrong: its name, whether it is well, and the finding in words."""
    offset = facts.clock_offset
    found = [
        _line("loop", silent <= STALE, f"ran {silent:.0f} s ago" if silent >= 1 else "runs"),
        _line("start", facts.ready, _start(facts)),
        _line(
            "journal",
            lag <= _LATE,
            "every close that was due has its end" if not lag else f"a close is {_span(lag)} old and has no end yet",
        ),
        _line(
            "clock",
            abs(offset) <= one.max_clock_offset,
            f"{offset / _MILLISECOND:+.0f} ms to the exchange, known to {facts.clock_error / _MILLISECOND:.0f} ms",
        ),
    ]
    for window, (used, limit) in facts.weights.items():
        found.append(_line(window.replace("-", " in "), used <= 0.9 * limit, f"{used} of {limit}"))
    if facts.cooldown is not None:
        found.append(_line("exchange", False, f"wants no request before {facts.cooldown:%Y-%m-%d %H:%M:%S} UTC"))
    found.append(_line("disk", free >= _LEAST_FREE, f"{free / 2**30:,.1f} GiB free beside the journal"))
    if expires is not None:
        left = datetime.fromisoformat(expires) - datetime.now(UTC)
        text = f"expires on {expires[:10]}" if left > timedelta(0) else f"expired on {expires[:10]}"
        found.append(_line("model", left > _SOON, text))
    return found


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
