"""What the journal tells people."""

from datetime import UTC, datetime
from itertools import takewhile
from typing import Any

from trader.app.current import journal_path
from trader.app.results import money, stamp
from trader.app.strategies import load_strategy
from trader.config import Settings
from trader.domain.interval import Interval
from trader.domain.order import Fill
from trader.journal.lock import holder
from trader.journal.queries import Reader
from trader.journal.rows import STAGES, DecisionRecord, OrderRecord, StageRecord, Status


def status(settings: Settings) -> dict[str, Any]:
    """Say what the instance holds, did last and will do next."""
    path = journal_path(settings)
    with Reader.read(path) as journal:
        daemon = holder(path)
        binding, state = journal.binding(), journal.state()
        newest = journal.decisions(last=1)
        last = newest[-1] if newest else None
        points = journal.equity_points(last=1)
        interval = journal.get("interval")
        model = last.model_hash if last else None
        stage = StageRecord.read(journal.get(STAGES))[-1:]
        positions = {symbol: money(held) for symbol, held in journal.positions().items() if held}
        return {
            "state": state.state.value,
            "ready": daemon is not None and daemon.ready,
            "running": daemon is not None,
            "pid": daemon.pid if daemon else None,
            "venue": binding.venue if binding else settings.venue,
            "dry_run": binding.dry_run if binding else settings.dry_run,
            "stage": stage[0].stage if stage else None,
            "canary_notional": money(stage[0].notional) if stage and stage[0].notional is not None else None,
            "tape": binding.tape if binding else None,
            "strategy": binding.strategy if binding else None,
            "model": model,
            "position": positions,
            "equity": money(points[-1].equity) if points else None,
            "last_close": stamp(last.close) if last else None,
            "next_close": stamp(Interval.parse(interval).following(last.close)) if last and interval else None,
            "last_decision": _decision(last) if last else None,
            "missed": _missed(journal),
            "why": state.why,
            "cooldown": _cooldown(journal, embedded=settings.venue == "sim"),
        }


def upcoming(settings: Settings, count: int) -> list[dict[str, Any]]:
    """List the next closes: after the last decided one on an embedded exchange, after now on a real one."""
    interval = load_strategy(settings).strategy.interval
    moment = datetime.now(UTC)
    if settings.venue == "sim":
        with Reader.read(journal_path(settings)) as journal:
            moment = journal.last_close() or moment
    closes = []
    for _ in range(count):
        moment = interval.following(moment)
        closes.append({"close": stamp(moment), "interval": str(interval)})
    return closes


def orders(settings: Settings, last: int) -> list[dict[str, Any]]:
    """List orders, oldest first."""
    with Reader.read(journal_path(settings)) as journal:
        return [_order(record) for record in journal.orders(last=last)]


def fills(settings: Settings, last: int) -> list[dict[str, Any]]:
    """List trades, oldest first."""
    with Reader.read(journal_path(settings)) as journal:
        return [_fill(fill) for fill in journal.fills(last=last)]


def equity(settings: Settings, last: int) -> list[dict[str, Any]]:
    """List money by close, oldest first."""
    with Reader.read(journal_path(settings)) as journal:
        return [
            {
                "close": stamp(point.close),
                "wallet": money(point.wallet),
                "equity": money(point.equity),
                "peak": money(point.peak),
            }
            for point in journal.equity_points(last=last)
        ]


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


def _order(record: OrderRecord) -> dict[str, Any]:
    intent = record.intent
    return {
        "client_id": intent.client_id,
        "symbol": intent.symbol,
        "side": "BUY" if intent.quantity > 0 else "SELL",
        "quantity": money(abs(intent.quantity)),
        "filled": money(abs(record.filled)),
        "average_price": None if record.average_price is None else money(record.average_price),
        "status": record.status,
        "reduce_only": intent.reduce_only,
        "close": stamp(intent.close),
        "outcome": record.outcome.value if record.outcome else None,
        "error": record.error_text,
    }


def _fill(fill: Fill) -> dict[str, Any]:
    return {
        "trade_id": fill.trade_id,
        "order_id": fill.exchange_id,
        "symbol": fill.symbol,
        "side": "BUY" if fill.quantity > 0 else "SELL",
        "quantity": money(abs(fill.quantity)),
        "price": money(fill.price),
        "fee": money(fill.fee),
        "realised": money(fill.realised),
        "time": stamp(fill.time),
    }
