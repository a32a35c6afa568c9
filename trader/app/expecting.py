"""Follow a journal close by close, and work out beside it what the account should have earned."""

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import polars as pl

from trader.app.replaying import made_with
from trader.app.strategies import Loaded, follow_rules
from trader.domain.account import Income
from trader.domain.decision import Forecast, State
from trader.execution.fills import Costs
from trader.execution.profit import FUNDING
from trader.execution.reconcile import TRANSFERS
from trader.journal.queries import Reader, number
from trader.journal.rows import OPERATOR, DecisionRecord, Status
from trader.live.record import Inputs, decode_decision, decode_inputs, forecast_of
from trader.research.drift import FillCost, Point
from trader.research.expectation import Booked, Expectation, Seen

_KEPT_BARS = 1024
_MILLISECOND, _CENT, _NONE = timedelta(milliseconds=1), Decimal("0.01"), Decimal(0)


@dataclass(frozen=True, slots=True)
class _Lived:
    """A close that was lived through: its row, what it was decided on, and whether it could trade before and after."""

    record: DecisionRecord
    inputs: Inputs
    active: bool

    @property
    def looked(self) -> datetime:
        """Return the last moment at which the account may have been looked at for the decision."""
        return self.record.decided_at or self.inputs.close


@dataclass(slots=True)
class Follower:
    """The expectation of one journal, brought up to date by `follow`.

    Args:
        journal: what is followed.
        costs: what trading is expected to cost.
        since: closes after it are followed; the account as it was at the first of them is where both begin.

    `moved` is what was paid in or out of the real account since then, and `funding` what it received, in USDT.
    """

    journal: Reader
    costs: Costs
    since: datetime | None = None
    points: list[Point] = field(default_factory=list)
    expectation: Expectation | None = None
    moved: Decimal = _NONE
    funding: Decimal = _NONE
    _last: datetime | None = None
    _known: dict[tuple[str, str], Loaded] = field(default_factory=dict)
    _history: pl.DataFrame | None = None
    _waiting: deque[DecisionRecord] = field(default_factory=deque)
    _inputs: Inputs | None = None
    _booked_until: datetime | None = None
    _looked: datetime | None = None
    _last_lived: datetime | None = None
    _transferred: set[tuple[str, str]] = field(default_factory=set)

    def follow(self) -> list[Point]:
        """Take every close that ended since the last call, and return their points.

        Raises:
            JournalError: the journal cannot be read, or has lost what a decision was made with.
        """
        before = len(self.points)
        for record in self.journal.decisions(since=self._last or self.since):
            after = self._last or self.since
            if after is not None and record.close <= after:
                continue
            if record.status in (Status.CLAIMED, Status.DECIDED):
                break
            self._last = record.close
            if record.status is Status.CLOSED:
                self._lived(record)
            elif self.expectation is not None:
                # what it would have decided is known once a later close has brought the candles
                self._waiting.append(record)
        return self.points[before:]

    def _lived(self, record: DecisionRecord) -> None:
        transcript = self.journal.transcript(record.close)
        if transcript is None:
            return
        inputs = decode_inputs(transcript.inputs, self.journal.texts(transcript))
        self._remember(inputs.candles)
        self._inputs = self._inputs or inputs
        loaded = made_with(self.journal, inputs, self._known)
        after = decode_decision(transcript.output).state
        lived = _Lived(record, inputs, inputs.book.state is State.ACTIVE and after is State.ACTIVE)
        if self.expectation is None:
            self._begin(lived, loaded)
        while self._waiting:
            self._missed(self._waiting.popleft().close, loaded)
        self._inputs = inputs
        forecasts = self._forecasts(loaded, inputs.candles).get(record.close, {})
        self._step(inputs.close, dict(inputs.book.prices), forecasts, loaded, lived)

    def _begin(self, lived: _Lived, loaded: Loaded) -> None:
        book = lived.inputs.book
        self.expectation = Expectation(
            self.costs, equity=book.equity, positions=book.positions, prices=book.prices, strategy=loaded.strategy
        )
        self._booked_until = self._looked = lived.looked
        self._last_lived = lived.inputs.close
        self._transferred = {(one.id, one.kind) for one in self._transfers(lived)}

    def _missed(self, close: datetime, loaded: Loaded) -> None:
        """Decide a close that nobody was there for, at the open of the candle that began with it."""
        history = self._history
        if history is None:
            return
        opened = history.filter(pl.col("open_time") == close).select("symbol", "open")
        prices = {symbol: Decimal(repr(price)) for symbol, price in opened.iter_rows()}
        forecasts = self._forecasts(loaded, history.filter(pl.col("close_time") <= close)).get(close, {})
        symbols = set(loaded.strategy.symbols or forecasts)
        if symbols and symbols <= set(prices) and symbols <= set(forecasts):
            self._step(close, prices, forecasts, loaded, None)

    def _step(
        self,
        close: datetime,
        prices: Mapping[str, Decimal],
        forecasts: Mapping[str, Forecast],
        loaded: Loaded,
        lived: _Lived | None,
    ) -> None:
        if self.expectation is None or self._inputs is None or self._history is None:
            return
        bar, binding = self._history.filter(pl.col("close_time") == close), self.journal.binding()
        seen = Seen(
            close=close,
            prices=prices,
            instruments=self._inputs.book.instruments,
            limits=self._inputs.limits,
            forecasts=forecasts,
            rates=self._inputs.book.funding_rates,
            lows={row["symbol"]: Decimal(repr(row["low"])) for row in bar.iter_rows(named=True)},
            highs={row["symbol"]: Decimal(repr(row["high"])) for row in bar.iter_rows(named=True)},
            stopped=binding is not None and not binding.dry_run,
            halted=self._inputs.book.state is State.HALTED,
            unknown=self._inputs.book.unknown,
        )
        if self._resumed(close if lived is None else lived.looked):
            self.expectation.resume()
        elif lived is not None and lived.active and not self.expectation.active:
            # a loss limit that this account met, and the real one did not, is nobody's to lift: flat for ever, it would
            # say nothing of what should have been earned
            self.expectation.resume()
        bookings, live = list(self._funding(close if lived is None else lived.record.finished_at or close)), None
        if lived is not None:
            bookings += self._moved(lived)
            live = self._worth(lived)
        expected = self.expectation.step(loaded.strategy, seen, bookings, follow_rules(loaded))
        self.points.append(Point(close, live, expected))

    def _resumed(self, until: datetime) -> bool:
        """Whether a person let the account trade again after it was looked at for the close before, until a moment."""
        since = self._looked
        self._looked = until if since is None else max(since, until)
        return since is not None and any(
            one.state is State.ACTIVE and one.by == OPERATOR and one.at > since
            for one in self.journal.states(since=since, until=until)
        )

    def _funding(self, until: datetime) -> Iterator[Booked]:
        """Return the funding since that taken last, with what the account held when it was booked."""
        since = self._booked_until
        if since is None or until <= since:
            return
        for one in self.journal.incomes(since=since, until=until):
            if one.time > since and one.kind == FUNDING:
                self.funding += one.amount
                yield Booked(one.time, one.symbol, one.amount, self._held(one.symbol, one.time))
        self._booked_until = until

    def _moved(self, lived: _Lived) -> list[Booked]:
        """Return what was paid in or out by the time a close was decided and not before, as one transfer."""
        new = [one for one in self._transfers(lived) if (one.id, one.kind) not in self._transferred]
        amount = sum((one.amount for one in new), _NONE)
        self._transferred |= {(one.id, one.kind) for one in new}
        self._last_lived = lived.inputs.close
        self.moved += amount
        return [Booked(new[-1].time, "", amount, lived.inputs.book.equity - amount)] if new else []

    def unseen(self) -> Decimal:
        """Return what was paid in or out since the last close was decided, in USDT: its equity knows nothing of it."""
        later = self.journal.incomes(since=self._last_lived)
        left = [one for one in later if one.kind in TRANSFERS and (one.id, one.kind) not in self._transferred]
        return sum((one.amount for one in left), _NONE)

    def _worth(self, lived: _Lived) -> Decimal | None:
        """Return the equity after a close without what was paid in or out after it was decided: the next one sees it.

        Where a close is followed before all its bookings are told, that is not known yet.
        """
        equity, finished = lived.record.equity, lived.record.finished_at
        points = self.journal.equity_points(since=lived.inputs.close, until=lived.inputs.close)
        if equity is None or finished is None or not points:
            return equity
        told = self._told(lived, points[0].wallet, finished) or []
        late = [one for one in told if one.kind in TRANSFERS and (one.id, one.kind) not in self._transferred]
        return equity - sum((one.amount for one in late), _NONE)

    def _transfers(self, lived: _Lived) -> list[Income]:
        """Return the transfers since the close before that are in the account as a close was decided on it."""
        book, close = lived.inputs.book, lived.inputs.close
        sure = self.journal.incomes(since=self._last_lived, until=close - _MILLISECOND)
        told = None
        if book.unrealised is not None:
            told = self._told(lived, book.equity - sum(book.unrealised.values(), _NONE), lived.looked)
        if told is None:
            told = self.journal.incomes(since=close, until=lived.looked)
        return [one for one in [*sure, *told] if one.kind in TRANSFERS]

    def _told(self, lived: _Lived, wallet: Decimal, until: datetime) -> list[Income] | None:
        """Return the bookings since a close that are in a look at the account, None where they do not make its wallet.

        What is booked while a close is decided is before or behind that look whatever its time says.
        """
        later = self.journal.incomes(since=lived.inputs.close, until=until)
        if not any(one.kind in TRANSFERS for one in later):
            return []
        begun = self.journal.baseline()
        before = self.journal.incomes(since=begun.at, until=lived.inputs.close - _MILLISECOND)
        makes = begun.wallet + sum((one.amount for one in before), _NONE)
        later = [one for one in sorted(later, key=lambda one: (one.time, number(one.id))) if one.time >= begun.at]
        for count in range(len(later) + 1):
            if abs(makes + sum((one.amount for one in later[:count]), _NONE) - wallet) < _CENT:
                return later[:count]
        return None

    def _held(self, symbol: str, moment: datetime) -> Decimal:
        """Return what the account held of a symbol just before a moment."""
        since = [fill for fill in self.journal.fills(since=moment) if fill.symbol == symbol]
        return self.journal.position(symbol) - sum((fill.quantity for fill in since), Decimal(0))

    def _forecasts(self, loaded: Loaded, candles: pl.DataFrame) -> dict[datetime, dict[str, Forecast]]:
        found: dict[datetime, dict[str, Forecast]] = {}
        last = candles["close_time"].max()
        for row in loaded.strategy.forecast(candles).filter(pl.col("close_time") == last).iter_rows(named=True):
            found.setdefault(row["close_time"], {})[row["symbol"]] = forecast_of(row)
        return found

    def _remember(self, candles: pl.DataFrame) -> None:
        """Keep the newest candles of all that decisions were made on."""
        if self._history is not None:
            candles = pl.concat([self._history, candles.select(self._history.columns)])
        unique = candles.unique(["symbol", "close_time"], keep="first").sort("close_time", "symbol")
        self._history = unique.tail(_KEPT_BARS)


def fill_costs(journal: Reader, costs: Costs, since: datetime | None = None) -> list[dict[str, Any]]:
    """List every fill of ours with what it cost: decision price, arrival, fill, fee, against what was expected.

    Prices and amounts are Decimal; `delay` (decision to arrival) and `execution` (arrival to fill, or from the decision
    where no arrival is known) are costs in USDT, `realised` is both and the fee, `expected` what they should have been.
    """
    orders = {one.exchange_id: one for one in journal.orders(since=since) if one.exchange_id is not None}
    rows: list[dict[str, Any]] = []
    for fill in journal.fills(since=since):
        order = orders.get(fill.exchange_id)
        if order is None or order.intent.price is None:
            continue
        decided, arrival = order.intent.price, order.arrival
        delay = fill.quantity * ((arrival if arrival is not None else decided) - decided)
        execution = fill.quantity * (fill.price - (arrival if arrival is not None else decided))
        notional = abs(fill.quantity) * decided
        rows.append(
            {
                "close": order.intent.close,
                "symbol": fill.symbol,
                "leg": order.intent.leg,
                "quantity": fill.quantity,
                "decided": decided,
                "arrival": arrival,
                "fill": fill.price,
                "fee": fill.fee,
                "delay": delay,
                "execution": execution,
                "realised": delay + execution + fill.fee,
                "expected": notional * (costs.fee + costs.spread / 2 + costs.slippage),
                "notional": notional,
                "sent": order.sent_at,
                "filled": fill.time,
            }
        )
    return rows


def costs_of(rows: Sequence[Mapping[str, Any]]) -> list[FillCost]:
    """Return what an alarm needs of fills."""
    return [FillCost(row["close"], row["realised"], row["expected"]) for row in rows]
