"""One close, from wake-up to verified position.

Claim the close; settle whatever is open; look at candles, account and rules; check that journal and exchange tell the
same story; decide; write the decision and every order down; carry the orders; look again; finish; see to the stops.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal

import polars as pl
from structlog.typing import FilteringBoundLogger

from trader.decide import Strategy, decide
from trader.domain.account import Account
from trader.domain.decision import Book, CloseReport, Decision, Forecast, Leg, Limits, State
from trader.domain.order import client_id
from trader.errors import ExchangeError, Mismatch
from trader.execution.reconcile import Policies
from trader.journal.journal import Journal
from trader.journal.rows import DecisionRecord, Intent, Status
from trader.live.audit import Audit
from trader.live.blocks import cut
from trader.live.control import FLATTEN
from trader.live.leverage import Leverage
from trader.live.market import Lookout, Market
from trader.live.ports import Clock, Gateway
from trader.live.record import (
    Inputs,
    decode_candles,
    decode_decision,
    decode_inputs,
    encode_decision,
    encode_inputs,
    last_forecasts,
)
from trader.live.recovery import Recovery
from trader.live.today import day_equity, orders_today
from trader.market.revision import revised


@dataclass(frozen=True, slots=True)
class Terms:
    """What this instance trades under.

    `instance` names account and strategy and is part of every order's name; `max_delay` is how long after a close it
    may still be decided; `strategy` and `model` are the hashes under which both are kept in the journal; `policies` say
    what to do about what somebody changed; after `max_outage` without a close a person has to resume.
    """

    instance: str
    limits: Limits
    max_delay: timedelta
    strategy: str
    model: str
    policies: Policies = field(default_factory=Policies)
    max_outage: timedelta = timedelta(days=7)


class Cycle:
    """Decide closes of one strategy on one account."""

    def __init__(
        self,
        strategy: Strategy,
        gateway: Gateway,
        journal: Journal,
        clock: Clock,
        recovery: Recovery,
        leverage: Leverage,
        terms: Terms,
        log: FilteringBoundLogger,
    ) -> None:
        self._strategy = strategy
        self._gateway = gateway
        self._journal = journal
        self._clock = clock
        self._recovery = recovery
        self._leverage = leverage
        self._terms = terms
        self._log = log
        self._window: tuple[pl.DataFrame, Sequence[str]] | None = None
        self._moved = False
        self._seen: Account | None = None
        self._lookout = Lookout(strategy, gateway, clock)
        self._audit = Audit(strategy, gateway, journal, terms.instance, terms.policies, log, recovery.at_rest)

    async def run(self, close: datetime) -> CloseReport | None:
        """Decide a close and carry its orders; None where it has been finished before.

        Raises:
            DataError: the candles of this close are not usable; it may be run again, in case they are put right.
            Mismatch: journal and exchange tell different stories; the state is HALTED then.
            ExchangeError: the exchange could not be used, or has not published the candles yet; whatever is open stays
                open in the journal, and the close may be run again.
            JournalError: nothing is sent.
        """
        if not self._journal.claim(close, self._clock.now()):
            record = self._journal.decision(close)
            if record is None or record.status not in (Status.CLAIMED, Status.DECIDED):
                return None
            if record.status is Status.DECIDED:
                return await self.finish_decided()
        await self._gateway.sync_clock()
        await self.finish_decided()
        with self._halting():
            return await self._decide(close)

    async def measure(self) -> None:
        """Measure the venue's time."""
        await self._gateway.sync_clock()

    @property
    def unprotected(self) -> bool:
        """Whether stops have to be looked at: positions may have moved, or a stop was not in its place last time."""
        return self._moved or self._recovery.unprotected

    async def protect(self) -> None:
        """Bring the stops to what is held; `unprotected` says whether they are all in their place then.

        It comes after a close is finished, so that a stop that cannot be placed keeps nothing from being closed.

        Raises:
            Mismatch: journal and exchange tell different stories; the state is HALTED then.
            ExchangeError: the exchange could not be used.
        """
        account, self._seen = self._seen, None
        if self._recovery.unseen:
            await self._recovery.at_rest()
        left = self._journal.open_intents()
        if not self._recovery.stopless:
            with self._halting():
                if any(order.sent_at is not None for order in left):
                    # what an order does is not explained before it is settled
                    busy = {order.intent.symbol for order in left}
                    await self._recovery.protect_others(busy, tell=True)
                else:
                    await self._recovery.protect(account or await self.explained())
        self._moved = False

    async def explained(self) -> Account:
        """Return the account once it is explained, else see to the stops of what is; raises as `protect`."""
        held = self._journal.positions()
        try:
            with self._halting():
                return await self._recovery.reconcile()
        except (Mismatch, ExchangeError):
            await self.protect_others(tell=True)
            raise
        finally:
            self._moved = self._moved or self._journal.positions() != held  # the stops follow

    async def protect_others(self, *, tell: bool) -> bool:
        """Bring the stops of what is at rest and explained to what is held; `tell` whether one could not be."""
        if not self.unprotected or self._recovery.stopless:
            return True
        busy = {order.intent.symbol for order in self._journal.open_intents()}
        try:
            with self._halting():
                return await self._recovery.protect_others(busy, tell=tell)
        except (Mismatch, ExchangeError) as error:
            self._log.warning("stops not looked at", error=str(error), kind=type(error).__name__)
            return False

    async def finish_decided(self) -> CloseReport | None:
        """Settle whatever is open, finish every decision that was left, and return the last report; raises as `run`."""
        report = None
        with self._halting():
            self._moved = self._moved or bool(self._journal.open_intents())
            await self._recovery.settle_open(halt=self._halt)
            for record in self._journal.unfinished():
                if record.status is Status.DECIDED:
                    report = await self._finish_left(record)
        return report

    @contextmanager
    def _halting(self) -> Iterator[None]:
        """Halt where journal and exchange tell different stories, before anybody else hears of it."""
        try:
            yield
        except Mismatch as mismatch:
            self._halt(mismatch)
            raise

    def _halt(self, mismatch: Mismatch) -> None:
        self._journal.set_state(State.HALTED, str(mismatch), "reconciliation", self._clock.now())

    async def _decide(self, close: datetime) -> CloseReport:
        """Decide a claimed close and carry its orders."""
        market = await self._lookout.look(close)
        self._tell_revisions(market.candles)
        account = await self._recovery.agreed()
        await self._audit.run(account)
        await self._recovery.explain_bookings()
        forecasts = last_forecasts(self._strategy.forecast(market.candles), close)
        inputs = await self._inputs(close, market, account, forecasts)
        self._require_young(close)
        decision = decide(self._strategy, close, forecasts, inputs.book, self._terms.limits)
        self._leverage.choose(decision, inputs.book.prices, inputs.book.instruments)
        intents = self._record(inputs, decision)
        if intents:
            self._moved = True
            await self._recovery.router.carry_all(intents)
            account = await self._recovery.reconcile()
        return self._finish(inputs, decision, account)

    def _tell_revisions(self, candles: pl.DataFrame) -> None:
        """Say which candles of the last decision are told otherwise now; that decision keeps what it was made from."""
        before = self._before()
        if before is None:
            return
        for one in revised(before[0], candles):
            self._log.warning(
                "candle revised",
                symbol=one.symbol,
                candle=one.close_time.isoformat(),
                columns=list(one.columns),
                was=one.was,
                now=one.now,
                decided=before[0]["close_time"].sort()[-1].isoformat(),
            )

    def _require_young(self, close: datetime) -> None:
        """Refuse a close that grew too old while the exchange was asked, or the machine slept."""
        age = self._clock.now() - close
        if age > self._terms.max_delay:
            raise ExchangeError(
                f"The close {close.isoformat()} is {age} old now, more than the {self._terms.max_delay} within which "
                "it may be decided; nothing is sent for it."
            )

    async def _inputs(
        self, close: datetime, market: Market, account: Account, forecasts: Mapping[str, Forecast]
    ) -> Inputs:
        limits, positions = self._terms.limits, self._positions(account)
        asked = sorted({*forecasts, *positions})
        rates = {} if limits.max_funding is None else await self._gateway.funding_rates(asked)
        market, prices = await self._lookout.quoted(market, account, forecasts)
        self._tell_unknown(market.unknown, positions)
        book = Book(
            equity=account.equity,
            peak_equity=self._recovery.peak(account.equity),
            positions=positions,
            prices=prices,
            instruments=market.rules,
            state=self._recovery.state(),
            day_equity=None if limits.max_daily_loss == 1 else day_equity(self._journal, close, account.equity),
            orders_today=0 if limits.max_orders is None else orders_today(self._journal, close),
            funding_rates=rates,
            unknown=market.unknown,
            unrealised={symbol: one.unrealised for symbol, one in account.positions.items()},
        )
        return Inputs(close, market.candles, book, limits, self._terms.strategy, self._terms.model)

    def _positions(self, account: Account) -> dict[str, Decimal]:
        """Return what is held of the strategy's symbols, of one that has a universe of all; flat ones where named."""
        if self._strategy.symbols:
            return {symbol: account.quantity(symbol) for symbol in self._strategy.symbols}
        return {symbol: one.quantity for symbol, one in sorted(account.positions.items()) if one.quantity}

    def _tell_unknown(self, unknown: Mapping[str, str], held: Mapping[str, Decimal]) -> None:
        """Say which symbols this close is decided without, and what is held of them."""
        for symbol, why in unknown.items():
            quantity = held.get(symbol, Decimal(0))
            say = self._log.warning if quantity else self._log.info
            say("symbol left out", symbol=symbol, why=why, held=str(quantity))

    def _record(self, inputs: Inputs, decision: Decision) -> Sequence[Intent]:
        """Make the decision and its orders durable; nothing is sent before."""
        now = self._clock.now()
        intents = self._intents(inputs, decision, now)
        before = self._before()
        blocks, without = cut(inputs.candles, () if before is None else before[1])
        self._journal.record_decision(
            decision.close,
            inputs=encode_inputs(inputs, without),
            output=encode_decision(decision),
            model_hash=self._terms.model,
            why=decision.why,
            intents=intents,
            at=now,
            peak=inputs.book.peak_equity,
            state=None if decision.state is inputs.book.state else decision.state,
            blocks=blocks,
        )
        self._window = inputs.candles, blocks
        return intents

    def _before(self) -> tuple[pl.DataFrame, Sequence[str]] | None:
        """Return the candles decided on last and the texts they are kept as: of this process, else of the journal."""
        if self._window is None:
            last = self._journal.equity_points(last=1)
            transcript = self._journal.transcript(last[0].close) if last else None
            if transcript is not None:
                texts = self._journal.texts(transcript)
                self._window = decode_candles(transcript.inputs, texts), texts
        return self._window

    def _intents(self, inputs: Inputs, decision: Decision, now: datetime) -> list[Intent]:
        # only a loss at its limit closes into a halt; what it closes is not too old before the next close is due
        halts = decision.state is State.HALTED
        not_after = decision.close + (self._strategy.interval.delta if halts else self._terms.max_delay)
        intents: list[Intent] = []
        attempts: dict[tuple[str, str], int] = {}
        for leg in decision.legs:
            attempt = attempts.get((leg.symbol, leg.kind), 0)
            attempts[leg.symbol, leg.kind] = attempt + 1
            intents.append(self._intent(decision.close, leg, attempt, now, not_after, inputs.book.prices[leg.symbol]))
        return intents

    def _intent(
        self, close: datetime, leg: Leg, attempt: int, now: datetime, not_after: datetime, price: Decimal
    ) -> Intent:
        return Intent(
            client_id=client_id(self._terms.instance, close, leg.symbol, leg.kind, attempt),
            close=close,
            symbol=leg.symbol,
            leg=leg.kind,
            attempt=attempt,
            quantity=leg.quantity,
            reduce_only=leg.reduce_only,
            intended_at=now,
            not_after=not_after,
            price=price,
            limit=leg.limit,
        )

    async def _finish_left(self, record: DecisionRecord) -> CloseReport:
        """Finish a decision whose orders are at their end, with the account as it is now."""
        transcript = self._journal.transcript(record.close)
        if transcript is None:
            raise Mismatch(f"The decision at {record.close.isoformat()} has lost its transcript; restore the journal.")
        inputs = decode_inputs(transcript.inputs, self._journal.texts(transcript))
        decision = decode_decision(transcript.output)
        return self._finish(inputs, decision, await self._recovery.reconcile())

    def _insist(self, decision: Decision, account: Account) -> None:
        """Ask for a flatten where a loss at its limit was to close what is still held: a halted close sends nothing."""
        left = {symbol: one.quantity for symbol, one in account.positions.items() if one.quantity}
        if decision.state is not State.HALTED or not decision.legs or not left:
            return
        if left.keys() <= decision.quantities.keys():
            self._log.error("still held after a loss at its limit, flattening", **{s: str(q) for s, q in left.items()})
            self._journal.request(FLATTEN, self._clock.now())
        elif any(account.quantity(symbol) for symbol in decision.quantities):
            said = "still held after a loss at its limit beside what is not ours; run `trader flatten`"
            self._log.error(said, **{symbol: str(quantity) for symbol, quantity in left.items()})

    def _finish(self, inputs: Inputs, decision: Decision, account: Account) -> CloseReport:
        """Close the decision's row and tell what it came to; the stops are next."""
        self._moved, self._seen = True, account
        positions = self._positions(account)
        for symbol, wished in decision.quantities.items():
            if (held := account.quantity(symbol)) != wished:
                told = {"symbol": symbol, "held": str(held), "wished": str(wished)}
                self._log.warning("position differs from the decision", **told)
        self._insist(decision, account)
        self._journal.finish(
            decision.close,
            wallet=account.wallet,
            equity=account.equity,
            peak=inputs.book.peak_equity,
            positions=positions,
            at=self._clock.now(),
        )
        report = CloseReport(
            close=decision.close,
            forecasts=decision.forecasts,
            targets=decision.targets,
            positions=positions,
            equity=account.equity,
            prices=inputs.book.prices,
            candle_closes=candle_closes(inputs.candles),
            state=decision.state,
            why=decision.why,
            unknown=inputs.book.unknown,
        )
        self._log.info("close decided", **_line(report))
        return report


def candle_closes(candles: pl.DataFrame) -> dict[str, float]:
    """Return the newest close price of each symbol."""
    last = candles.group_by("symbol", maintain_order=True).last()
    return dict(last.select("symbol", "close").iter_rows())


def _line(report: CloseReport) -> dict[str, object]:
    """Say the whole close in one log line."""
    return {
        "close": report.close.isoformat(),
        "forecast": {symbol: forecast.value for symbol, forecast in report.forecasts.items()},
        "target": dict(report.targets),
        "position": {symbol: str(quantity) for symbol, quantity in report.positions.items()},
        "equity": str(report.equity),
        "state": report.state.value,
        "why": report.why,
    }
