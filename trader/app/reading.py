"""What the journal tells people."""

from datetime import UTC, datetime
from typing import Any

from trader.app.current import journal_path
from trader.app.strategies import load_strategy
from trader.config import Settings
from trader.domain.interval import Interval
from trader.domain.order import Fill
from trader.domain.wording import money, stamp
from trader.journal.lock import holder
from trader.journal.queries import Reader
from trader.journal.rows import OrderRecord
from trader.status.summary import summary


def status(settings: Settings) -> dict[str, Any]:
    """Say what the instance holds, did last and will do next."""
    path = journal_path(settings)
    with Reader.read(path) as journal:
        daemon = holder(path)
        found = summary(
            journal,
            running=daemon is not None,
            ready=daemon is not None and daemon.ready,
            pid=daemon.pid if daemon else None,
        )
    if daemon is not None and daemon.out is not None:
        found["exchange_out_since"] = stamp(daemon.out)
    if found["venue"] is None:
        # a journal that no daemon has used yet belongs to nobody
        found |= {"venue": settings.venue, "dry_run": settings.dry_run}
    return found


def upcoming(settings: Settings, count: int) -> list[dict[str, Any]]:
    """List the next closes: after the last decided one on an embedded exchange, after now on a real one."""
    moment = datetime.now(UTC)
    if settings.venue == "sim":
        with Reader.read(journal_path(settings)) as journal:
            moment, told = journal.last_close() or moment, journal.get("interval")
    else:
        told = None
    interval = Interval.parse(told) if told else load_strategy(settings).strategy.interval
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
