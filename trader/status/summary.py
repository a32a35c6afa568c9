"""What an instance holds, did last and will do next, in the keys that `trader status --json` promises."""

from datetime import UTC, datetime
from itertools import takewhile
from typing import Any

from trader.domain.interval import Interval
from trader.domain.wording import money, stamp
from trader.journal.queries import Reader
from trader.journal.rows import STAGES, DecisionRecord, StageRecord, Status


def summary(journal: Reader, *, running: bool, ready: bool, pid: int | None) -> dict[str, Any]:
    """Tell what the journal knows of an instance, beside what is known of its daemon."""
    binding, state = journal.binding(), journal.state()
    newest = journal.decisions(last=1)
    last = newest[-1] if newest else None
    points = journal.equity_points(last=1)
    interval = journal.get("interval")
    stage = StageRecord.read(journal.get(STAGES))[-1:]
    return {
        "state": state.state.value,
        "ready": ready,
        "running": running,
        "pid": pid,
        "venue": binding.venue if binding else None,
        "dry_run": binding.dry_run if binding else None,
        "stage": stage[0].stage if stage else None,
        "canary_notional": money(stage[0].notional) if stage and stage[0].notional is not None else None,
        "tape": binding.tape if binding else None,
        "strategy": binding.strategy if binding else None,
        "model": last.model_hash if last else None,
        "position": {symbol: money(held) for symbol, held in journal.positions().items() if held},
        "stops": standing(journal),
        "equity": money(points[-1].equity) if points else None,
        "last_close": stamp(last.close) if last else None,
        "next_close": stamp(Interval.parse(interval).following(last.close)) if last and interval else None,
        "last_decision": _decision(last) if last else None,
        "missed": _missed(journal),
        "why": state.why,
        "requests": [one.kind for one in journal.pending_requests()],
        "cooldown": _cooldown(journal, embedded=binding is None or binding.venue == "sim"),
    }


def standing(journal: Reader) -> dict[str, str]:
    """Return the price at which the stop of each position triggers, as journalled."""
    return {one.symbol: money(one.intent.request.trigger) for one in journal.standing_stops() if one.exchange_id}


def _missed(journal: Reader) -> list[str]:
    """List the closes missed since one was last decided, of the newest hundred."""
    since = takewhile(lambda one: one.status is not Status.CLOSED, reversed(journal.decisions(last=100)))
    return [stamp(one.close) for one in since if one.status is Status.MISSED][::-1]


def _cooldown(journal: Reader, *, embedded: bool) -> str | None:
    """Say until when the exchange wants no request; an embedded one's clock is known from its last close only."""
    until, now = journal.cooldown(), journal.last_close() if embedded else datetime.now(UTC)
    return stamp(until) if until is not None and (now is None or until > now) else None


def _decision(record: DecisionRecord) -> dict[str, Any]:
    return {"close": stamp(record.close), "status": record.status.value, "why": record.why}
