"""Every cent of an instance, as its journal tells it: what was earned by what, and what every round trip came to."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from itertools import groupby
from typing import Any, Literal

from trader.app.current import journal_path
from trader.app.results import round_trip_rows
from trader.config import Settings
from trader.domain.account import Income
from trader.domain.interval import Interval
from trader.domain.order import Fill
from trader.domain.wording import money, stamp
from trader.errors import JournalError
from trader.execution.profit import FUNDING, Marked, Profit, profits, together
from trader.execution.round_trips import Funding, RoundTrip, round_trips
from trader.journal.queries import Reader, number
from trader.journal.rows import Baseline
from trader.live.record import decode_inputs

Period = Literal["close", "day", "month", "year"]
_FORMATS = {"close": "%Y-%m-%dT%H:%M:%SZ", "day": "%Y-%m-%d", "month": "%Y-%m", "year": "%Y"}
_RATIO = Decimal("1e-12")
_MILLISECOND = timedelta(milliseconds=1)


def pnl(settings: Settings, by: Period) -> dict[str, Any]:
    """Say what was earned since the baseline, by what, in all and by period.

    Raises:
        JournalError: there is no journal, or nothing has been decided in it.
    """
    with Reader.read(journal_path(settings)) as journal:
        begun, spans = journal.baseline(), spans_of(journal)
        fills, incomes = since_baseline(journal, begun)
        periods = _periods(spans, by, begun)
        whole = together(spans)
        symbols = sorted({fill.symbol for fill in fills} | {one.symbol for one in incomes if one.kind == FUNDING})
        return {
            "since": stamp(begun.at),
            "until": stamp(spans[-2].end) if len(spans) > 1 and spans[-2].end else stamp(begun.at),
            "start_wallet": money(begun.wallet),
            "start_equity": money(begun.equity),
            **_row(whole, begun.equity),
            "symbols": {symbol: _symbol(symbol, fills, incomes) for symbol in symbols},
            "by": by,
            "periods": periods,
        }


def trades(settings: Settings, last: int) -> list[dict[str, Any]]:
    """List round trips, from flat to flat, oldest first; one that is still open is valued at the last price known.

    Raises:
        JournalError: there is no journal, or it has no baseline.
    """
    with Reader.read(journal_path(settings)) as journal:
        interval = journal.get("interval")
        if interval is None:
            raise JournalError(
                f"The journal {journal.path} names no interval; start the daemon once with `trader run`."
            )
        return round_trip_rows(trips_of(journal), Interval.parse(interval), journal.baseline().equity)[-last:]


def trips_of(journal: Reader) -> list[RoundTrip]:
    """Return every round trip since the baseline."""
    begun = journal.baseline()
    fills, incomes = since_baseline(journal, begun)
    paid = [Funding(one.time, one.symbol, one.amount) for one in incomes if one.kind == FUNDING]
    return round_trips(fills, paid, held=begun.positions, marks=last_prices(journal))


def spans_of(journal: Reader) -> list[Profit]:
    """Return what every close since the baseline came to, and as the last what has moved since."""
    begun = journal.baseline()
    fills, incomes = since_baseline(journal, begun)
    finished = {record.close: record.finished_at for record in journal.decisions() if record.finished_at is not None}
    points = [(point, finished[point.close]) for point in journal.equity_points() if point.close in finished]
    marks = [Marked(point.close, at, point.wallet, point.equity) for point, at in points if at >= begun.at]
    start = Marked(begun.at, begun.at, begun.wallet, begun.equity)
    return profits(start, marks, fills, incomes, flat=not journal.positions())


def since_baseline(journal: Reader, begun: Baseline) -> tuple[list[Fill], list[Income]]:
    """Return the trades and bookings whose effect is not in the baseline."""
    before = {symbol: number(trade) for symbol, trade in begun.last_trades.items()}
    fills = [fill for fill in journal.fills() if number(fill.trade_id) > before.get(fill.symbol, (0, ""))]
    return fills, journal.incomes(since=begun.at)


def last_prices(journal: Reader) -> dict[str, Decimal]:
    """Return the first prices after the close decided last."""
    for record in reversed(journal.decisions(last=100)):
        transcript = journal.transcript(record.close)
        if transcript is not None:
            return dict(decode_inputs(transcript.inputs).book.prices)
    return {}


def _periods(spans: Sequence[Profit], by: Period, begun: Baseline) -> list[dict[str, Any]]:
    newest = next((span.end for span in reversed(spans) if span.end is not None), begun.at)
    rows, equity = [], begun.equity
    # what moved after the last close is shown with it, and so are spans without a row of their own
    named = groupby(spans, key=lambda span: _name(span.end or newest, by))
    for name, group in named:
        whole = together(list(group))
        rows.append({"period": name, **_row(whole, equity)})
        equity = whole.equity
    return rows


def _name(end: datetime, by: Period) -> str:
    # a close at midnight ends the day before, and the month with it
    return (end if by == "close" else end - _MILLISECOND).strftime(_FORMATS[by])


def _row(span: Profit, equity_before: Decimal) -> dict[str, Any]:
    moved = span.moved
    return {
        "realised": money(moved.realised),
        "unrealised": money(span.unrealised),
        "fees": money(moved.fees),
        "funding": money(moved.funding),
        "other": money(moved.other),
        "net": money(span.net),
        "net_return": float((span.net / equity_before).quantize(_RATIO)) if equity_before > 0 else None,
        "transfers": money(moved.transfers),
        "wallet": money(span.wallet),
        "equity": money(span.equity),
        "unexplained": money(span.unexplained),
    }


def _symbol(symbol: str, fills: Sequence[Fill], incomes: Sequence[Income]) -> dict[str, Any]:
    mine = [fill for fill in fills if fill.symbol == symbol]
    paid = sum((one.amount for one in incomes if one.symbol == symbol and one.kind == FUNDING), Decimal(0))
    traded = sum((abs(fill.quantity) * fill.price for fill in mine), Decimal(0))
    return {
        "fills": len(mine),
        "traded": money(traded),
        "realised": money(sum((fill.realised for fill in mine), Decimal(0))),
        "fees": money(-sum((fill.fee for fill in mine), Decimal(0))),
        "funding": money(paid),
    }
