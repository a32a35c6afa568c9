"""One document of everything there is to see, made from the journal and from what the daemon's loop tells."""

import json
import os
import shutil
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

from trader.domain.decision import State
from trader.domain.wording import money, stamp
from trader.journal.queries import number
from trader.journal.rows import Baseline, DecisionRecord, EquityPoint, OrderRecord
from trader.journal.totals import FUNDING, Costs, Totals
from trader.status.board import Board, Facts, Instance
from trader.status.health import lines, overdue
from trader.status.series import Series
from trader.status.summary import standing, summary

_DECISIONS = 12
_ORDERS = 20
_GATE = ("value", "needed", "passed")
_CENT = Decimal("0.01")
_RATIO = Decimal("0.000001")
_MILLISECOND = timedelta(milliseconds=1)


class Sight:
    """A view of one journal; belongs to the thread that opened it, and is closed there."""

    def __init__(self, journal: Path, instance: Instance, board: Board) -> None:
        """Open the journal.

        Raises:
            JournalError: it cannot be read.
        """
        self.journal = Totals.of(journal)
        self.instance = instance
        self.board = board
        self._series = Series(many=len(instance.symbols) != 1)
        self._costs: Costs | None = None
        self._before: tuple[datetime, Decimal] | None = None
        self._outputs: dict[datetime, tuple[dict[str, Any], dict[str, Any]]] = {}

    def close(self) -> None:
        """Close the journal."""
        self.journal.close()

    def series(self) -> dict[str, list[float]]:
        """Return equity, drawdown and position by close, for figures.

        Raises:
            JournalError: the journal cannot be read.
        """
        return self._series.columns(self.journal)

    def document(self) -> dict[str, Any]:
        """Return everything but the series, in the keys of `trader status --json` and more.

        Raises:
            JournalError: the journal cannot be read.
        """
        facts, journal, one = self.board.facts, self.journal, self.instance
        decisions, orders = journal.decisions(last=_DECISIONS), journal.orders(last=_ORDERS)
        points = journal.equity_points(last=1)
        closed = journal.last_closed()
        told = self._told(closed.close) if closed else ({}, {})
        verdict = self._verdict()
        return summary(journal, running=True, ready=facts.ready, pid=os.getpid()) | {
            "venue": one.venue,
            "strategy": one.strategy,
            "generated": one.generated,
            "interval": str(one.interval),
            "symbols": list(one.symbols),
            "version": one.version,
            "started": stamp(one.started.replace(microsecond=0)),
            "venue_time": stamp(facts.now.replace(microsecond=0)),
            "next": _next(facts, one, journal.state().state, self._pending()),
            "holdings": self._holdings(told[0], points[-1] if points else None),
            "money": self._money(points[-1] if points else None),
            "decisions": [self._decision(record) for record in reversed(decisions)],
            "orders": [_order(record) for record in reversed(orders)],
            "states": [
                {"state": one.state.value, "why": one.why, "by": one.by, "at": stamp(one.at)}
                for one in reversed(journal.states(last=5))
            ],
            "verdict": verdict,
            "health": self._health(facts, verdict, decisions),
        }

    def _pending(self) -> list[str]:
        return [request.kind for request in self.journal.pending_requests()]

    def _told(self, close: datetime) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return what a decision was made from and what it said; neither ever changes."""
        if close not in self._outputs:
            transcript = self.journal.transcript(close)
            if transcript is None:
                return {}, {}
            inputs = json.loads(transcript.inputs)
            inputs.pop("candles", None)
            told = inputs, json.loads(transcript.output)
            self._outputs[close] = told
            for old in sorted(self._outputs)[: -2 * _DECISIONS]:
                del self._outputs[old]
            # which may have been this one, where the last close that was decided is long ago
            return told
        return self._outputs[close]

    def _holdings(self, inputs: Mapping[str, Any], point: EquityPoint | None) -> list[dict[str, Any]]:
        """List what is held, valued at the first prices after the last close."""
        stops = standing(self.journal)
        prices: Mapping[str, str] = inputs.get("book", {}).get("prices", {})
        found = []
        for symbol, held in self.journal.held().items():
            if not held.quantity:
                continue
            price = Decimal(prices[symbol]) if symbol in prices else None
            notional = None if price is None else held.quantity * price
            known = notional is not None and point is not None and point.equity > 0
            found.append(
                {
                    "symbol": symbol,
                    "quantity": money(held.quantity),
                    "entry_price": None if held.cost is None else money(_figures(held.cost / held.quantity)),
                    "price": None if price is None else money(price),
                    "stop": stops.get(symbol),
                    "notional": None if notional is None else money(notional.quantize(_CENT)),
                    "exposure": float(notional / point.equity) if known and notional and point else None,
                }
            )
        return found

    def _money(self, point: EquityPoint | None) -> dict[str, Any]:
        """Tell equity, drawdown, what trading cost since the journal began, and its profit since the baseline."""
        if self._costs is None or self.journal.oldest_unfinished() is None:
            # in the middle of a close equity is still that of the last one, so its fills are not counted yet either
            self._costs = self.journal.costs(self._costs)
        costs = self._costs
        began = self.journal.baseline() if self.journal.has_baseline() else None
        return {
            "at": None if point is None else stamp(point.close),
            "equity": None if point is None else money(point.equity),
            "wallet": None if point is None else money(point.wallet),
            "unrealised": None if point is None else money(point.equity - point.wallet),
            "peak": None if point is None else money(point.peak),
            "drawdown": None
            if point is None or not point.peak
            else float((1 - point.equity / point.peak).quantize(_RATIO)),
            "since": None if began is None else stamp(began.at),
            "start_equity": None if began is None else money(began.equity),
            "profit": None if point is None else money(self._profit(costs, point, began)),
            "realised": money(costs.realised),
            "traded": money(costs.traded.quantize(_CENT)),
            "fees": money(costs.fees),
            "slippage": money(costs.slippage),
            "funding": money(costs.funding),
            "costs": money(costs.total),
            "fills": costs.fills,
        }

    def _profit(self, costs: Costs, point: EquityPoint, began: Baseline | None) -> Decimal:
        """Return what trading came to since the baseline, costs and what is not realised yet included, deposits not."""
        booked = costs.realised - costs.fees + costs.funding
        if began is None:
            return booked + point.equity - point.wallet
        if self._before is None or self._before[0] != began.at:
            self._before = began.at, _booked_before(self.journal, began)
        # what a position had gained or lost already when it was accepted is nobody's profit here
        ended = self.journal.decision(point.close)
        since = ended is not None and ended.finished_at is not None and ended.finished_at >= began.at
        moved = point.equity - point.wallet - (began.equity - began.wallet) if since else Decimal(0)
        return booked - self._before[1] + moved

    def _decision(self, record: DecisionRecord) -> dict[str, Any]:
        inputs, output = self._told(record.close)
        return {
            "close": stamp(record.close),
            "status": record.status.value,
            "forecast": {symbol: values[0] for symbol, values in output.get("forecasts", {}).items()},
            "confidence": {symbol: values[1] for symbol, values in output.get("forecasts", {}).items()},
            "target": output.get("targets", {}),
            "position": {symbol: money(held) for symbol, held in (record.positions or {}).items()},
            "equity": None if record.equity is None else money(record.equity),
            "refused": [f"{guard}: {reason}" for _, guard, reason in output.get("refusals", [])],
            "unknown": inputs.get("book", {}).get("unknown", {}),
            "why": record.why,
            "seconds": None if record.finished_at is None else (record.finished_at - record.claimed_at).total_seconds(),
        }

    def _verdict(self) -> dict[str, Any]:
        """Tell what decides now, and what that is worth."""
        worth = self.instance.worth()
        return {
            "model": worth.name,
            "hash": worth.hash,
            "verdict": worth.verdict,
            "reason": worth.reason,
            "expires": None if worth.expires is None else stamp(worth.expires),
            "gates": {name: {key: gate.get(key) for key in _GATE} for name, gate in worth.gates.items()},
        }

    def _health(self, facts: Facts, verdict: Mapping[str, Any], newest: Sequence[DecisionRecord]) -> dict[str, Any]:
        lag = overdue(self.journal, self.instance.interval, facts.now)
        silent = self.board.silent_for()
        free = _free(self.journal.path.parent)
        told = lines(facts, self.instance, silent=silent, lag=lag, newest=newest, free=free, expires=verdict["expires"])
        return {
            "well": all(line["well"] for line in told),
            "lines": told,
            "loop_silent_seconds": round(silent, 3),
            "clock_offset_seconds": facts.clock_offset.total_seconds(),
            "clock_error_seconds": facts.clock_error.total_seconds(),
            "weights": {window: {"used": used, "limit": limit} for window, (used, limit) in facts.weights.items()},
            "journal_lag_seconds": lag.total_seconds(),
            "disk_free_bytes": free,
        }


def _free(folder: Path) -> int | None:
    """Return the bytes that are free where a journal lies, None where that cannot be known."""
    try:
        return shutil.disk_usage(folder).free
    except OSError:
        return None


def _next(facts: Facts, one: Instance, state: State, pending: list[str]) -> dict[str, Any]:
    """Say what comes next, when, and what state and requests allow of it."""
    close = one.interval.following(facts.now)
    candle = f"candle of {', '.join(one.symbols) or 'every symbol that is listed'} that ends then"
    what = {
        State.ACTIVE: f"reads the {candle}, forecasts the next one, and trades to its target",
        State.REDUCING: f"reads the {candle} and only makes positions smaller",
        State.HALTED: "decides and sends nothing, until somebody has looked and says `trader resume`",
    }[state]
    if pending:
        what = f"obeys first what was asked for ({', '.join(pending)}); then {what}"
    if one.dry_run and state is not State.HALTED:
        what += "; a dry run sends no order"
    return {
        "close": stamp(close),
        "wakes": None if facts.wakes is None else stamp(facts.wakes.replace(microsecond=0)),
        "what": what,
        "pending": pending,
    }


def _order(record: OrderRecord) -> dict[str, Any]:
    intent = record.intent
    slipped = None
    if intent.price and record.average_price is not None and record.filled:
        sign = 1 if intent.quantity > 0 else -1
        slipped = float(((record.average_price / intent.price - 1) * sign).quantize(_RATIO))
    return {
        "client_id": intent.client_id,
        "close": stamp(intent.close),
        "symbol": intent.symbol,
        "side": "BUY" if intent.quantity > 0 else "SELL",
        "quantity": money(abs(intent.quantity)),
        "filled": money(abs(record.filled)),
        "price": None if intent.price is None else money(intent.price),
        "average_price": None if record.average_price is None else money(record.average_price),
        "slippage": slipped,
        "reduce_only": intent.reduce_only,
        "status": record.status,
        "outcome": record.outcome.value if record.outcome else None,
        "error": record.error_text,
    }


def _booked_before(journal: Totals, began: Baseline) -> Decimal:
    """Return what had been realised, paid and received by the time of a baseline."""
    known = {symbol: number(trade) for symbol, trade in began.last_trades.items()}
    fills = [one for one in journal.fills() if number(one.trade_id) <= known.get(one.symbol, (0, ""))]
    paid = [one.amount for one in journal.incomes(until=began.at - _MILLISECOND) if one.kind == FUNDING]
    return sum((one.realised - one.fee for one in fills), Decimal(0)) + sum(paid, Decimal(0))


def _figures(price: Decimal) -> Decimal:
    """Round an average to eight significant digits."""
    return Decimal(f"{price:.8g}")
