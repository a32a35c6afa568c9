"""The daemon's own decisions with arithmetic for an exchange.

The convention of one close, step by step, is in docs/architecture.md: the bar ends and its worst price meets the stop
and the liquidation test (of several symbols, each at its own worst: nobody knows that it was not at the same moment),
funding stamped up to the close is paid at the first price after it, the liquidation test and the stop at that price,
then the decision, sized, filled and marked at that same price.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta
from decimal import Decimal

import polars as pl

from trader.decide import Strategy, decide
from trader.domain.decision import Book, CloseReport, Decision, Forecast, Limits, State
from trader.domain.instrument import Instrument
from trader.domain.interval import Interval
from trader.errors import DataError
from trader.execution import guards
from trader.execution.fills import Costs, Execution, Ledger, Liquidation
from trader.execution.plan import chosen_leverages
from trader.execution.remainder import Rules
from trader.execution.round_trips import Funding
from trader.execution.stops import level_of, strike, touched
from trader.market.funding import with_funding
from trader.market.resample import resample
from trader.research.carrier import Carrier
from trader.research.track import PlayedBar, Tape

LIQUIDATED, STOPPED = "liquidated", "stopped"
"""How a position is taken between two closes."""

SETTLING = "SETTLING"
"""What the exchange calls a symbol that is traded no more."""


@dataclass(frozen=True, slots=True)
class Terms:
    """The money and the window of a backtest; the same words mean the same in `trader run`.

    `max_delay` is how late a first close may be decided when the window starts between two closes; `rules` are what
    follows on an order that ends short; `stop_halts` says whether nothing is opened any more after a stop.
    """

    equity: Decimal
    costs: Costs
    limits: Limits
    start: datetime | None = None
    end: datetime | None = None
    cycles: int | None = None
    max_delay: timedelta = timedelta(0)
    rules: Rules = field(default_factory=Rules)
    stop_halts: bool = True


@dataclass(slots=True)
class Backtest:
    """What happened: a record a close, the fills with the close that caused them, and the money paid.

    `forced` is what was taken away between closes, liquidated or stopped, with the end of the bar in which it was,
    `cleared` what of cross margin went with liquidations, by the symbol it is booked under; `bookings` is all funding
    in order.
    """

    start_equity: Decimal
    closes: list[CloseReport] = field(default_factory=list)
    fills: list[tuple[datetime, Execution]] = field(default_factory=list)
    forced: list[tuple[datetime, Execution]] = field(default_factory=list)
    cleared: dict[str, Decimal] = field(default_factory=dict)
    bookings: list[Funding] = field(default_factory=list)
    fees: Decimal = Decimal(0)
    funding: Decimal = Decimal(0)


def run_backtest(
    strategy: Strategy,
    candles: pl.DataFrame,
    source: Interval,
    funding: pl.DataFrame | None,
    instruments: Mapping[str, Instrument],
    terms: Terms,
    tell: Callable[[float, str], object] | None = None,
) -> Backtest:
    """Walk a tape from close to close.

    Args:
        strategy: what the daemon would run.
        candles: the tape, a candle frame of `source` bars; history before the window warms the forecaster up.
        source: the length of the tape's bars.
        funding: columns symbol, funding_time, funding_rate (positive: longs pay), or None.
        instruments: trading rules by symbol.
        terms: money and window.
        tell: told before each close what share of them is done, and the day.

    A close at which nothing is forecast, because no symbol differs from another, is not decided and not recorded.

    Raises:
        DataError: the window holds no close that can be decided, or that of one symbol does not begin with one.
    """
    tapes = {symbol: Tape.of(candles, funding, symbol, source) for symbol in strategy.symbols}
    result = Backtest(terms.equity)
    ledger = Ledger(terms.equity, terms.costs, strategy.leverage, strategy.margin_mode)
    state, peak = State.ACTIVE, terms.equity
    played: datetime | None = None
    sent: Counter[date] = Counter()
    closes, forecasts, candle_closes = _forecast_closes(strategy, candles, source, funding, tapes, terms)
    for number, close in enumerate(closes):
        if tell is not None:
            tell(number / len(closes), f"{close:%Y-%m-%d}")
        if close not in forecasts:
            continue
        # a first close decided late is decided, filled and marked at the time of the start, as the daemon would
        moment = max(close, terms.start or close)
        taken = play_bars(ledger, tapes, instruments, played, moment, result, terms.limits.protective_stop)
        played = moment
        if taken and (terms.stop_halts or set(taken.values()) != {STOPPED}):
            state = State.HALTED
        prices = {symbol: tape.price(moment) for symbol, tape in tapes.items() if tape.start <= moment}
        equity = ledger.equity(prices)
        peak = max(peak, equity)
        positions, rules = _positions(strategy, ledger), _rules(instruments, tapes, moment)
        day, orders = _day_equity(result.closes, close), sent[close.date()]
        rates = {symbol: tapes[symbol].rate(moment) for symbol in prices}
        profit = {symbol: ledger.unrealised(symbol, prices[symbol]) for symbol in ledger.holdings}
        book = Book(equity, peak, positions, prices, rules, state, day, orders, rates, unrealised=profit)
        decision = decide(strategy, close, forecasts[close], book, terms.limits)
        state = decision.state
        sent[close.date()] += _carry(ledger, decision, book, terms.rules, result)
        result.closes.append(_record(decision, strategy, ledger, prices, candle_closes[close], taken))
    result.fees, result.funding = ledger.fees, ledger.funding
    return result


def _forecast_closes(
    strategy: Strategy,
    candles: pl.DataFrame,
    source: Interval,
    funding: pl.DataFrame | None,
    tapes: Mapping[str, Tape],
    terms: Terms,
) -> tuple[list[datetime], dict[datetime, dict[str, Forecast]], dict[datetime, dict[str, float]]]:
    """Return the closes of the window with their forecasts and candle closes, as `_forecast` makes them.

    What is counted are closes that are decided, as in the daemon: one at which nothing is forecast is passed over.

    Raises:
        DataError: the window holds no close that is forecast, or that of one symbol does not begin with one.
    """
    every = _closes(strategy, tapes, terms)
    wanted = count = terms.cycles or len(every)
    while True:
        closes = every[:count]
        forecasts, candle_closes = _forecast(strategy, _needed(strategy, candles, closes), source, funding)
        if strategy.least is None and closes[0] not in forecasts:
            raise DataError(
                f"No forecast at {closes[0].isoformat()}: the candles before it are fewer than the model's warm-up; "
                "start the window later or give more history."
            )
        missing = wanted - sum(close in forecasts for close in closes)
        if not missing or len(closes) == len(every):
            break
        count += missing
    if not any(close in forecasts for close in closes):
        raise DataError(
            f"No forecast from {closes[0].isoformat()} to {closes[-1].isoformat()}: no two symbols of its universe are "
            "old enough and differ in carry; give more history, of more symbols, with their funding."
        )
    return closes, forecasts, candle_closes


def _day_equity(closes: Sequence[CloseReport], close: datetime) -> Decimal | None:
    found = guards.day_began(((report.close, report.equity) for report in reversed(closes)), close)
    return None if found is None else found[1]


def _needed(strategy: Strategy, candles: pl.DataFrame, closes: Sequence[datetime]) -> pl.DataFrame:
    """Return the bars that forecasts at these closes are made of: a warm-up before the first, and up to the last."""
    begin = closes[0] - strategy.warmup * strategy.interval.delta
    return candles.filter((pl.col("close_time") > begin) & (pl.col("close_time") <= closes[-1]))


def _forecast(
    strategy: Strategy, candles: pl.DataFrame, source: Interval, funding: pl.DataFrame | None
) -> tuple[dict[datetime, dict[str, Forecast]], dict[datetime, dict[str, float]]]:
    """Forecast all of them at once; return forecasts and candle closes by close and symbol."""
    wanted = candles.filter(pl.col("symbol").is_in(list(strategy.symbols)))
    if funding is not None:
        wanted = with_funding(wanted, funding)
    frame = resample(wanted, source, strategy.interval)
    forecasts: dict[datetime, dict[str, Forecast]] = {}
    for row in strategy.forecast(frame).iter_rows(named=True):
        told = Forecast(row["forecast"], row["confidence"], row.get("volatility"), row.get("spread"))
        forecasts.setdefault(row["close_time"], {})[row["symbol"]] = told
    closes: dict[datetime, dict[str, float]] = {}
    for symbol, close_time, price in frame.select("symbol", "close_time", "close").iter_rows():
        closes.setdefault(close_time, {})[symbol] = price
    return forecasts, closes


def _closes(strategy: Strategy, tapes: Mapping[str, Tape], terms: Terms) -> list[datetime]:
    """Return the closes the daemon would decide in the window."""
    first = terms.start or min(tape.start for tape in tapes.values())
    last = max(tape.end for tape in tapes.values())
    last = min(last, terms.end) if terms.end else last
    close = strategy.interval.floor(first)
    if first - close > terms.max_delay:
        close = strategy.interval.following(first)
    if close > last:
        raise DataError(f"No close of {strategy.interval} lies between {first} and {last}; widen the window.")
    return list(strategy.interval.closes(close, last))


def _positions(strategy: Strategy, ledger: Ledger) -> dict[str, Decimal]:
    """Return what is held by symbol; a strategy of one symbol is told of that one even when it holds nothing."""
    held = {symbol: ledger.quantity(symbol) for symbol in strategy.symbols}
    return held if len(held) == 1 else {symbol: quantity for symbol, quantity in held.items() if quantity}


def _rules(
    instruments: Mapping[str, Instrument], tapes: Mapping[str, Tape], moment: datetime
) -> Mapping[str, Instrument]:
    """Return the trading rules at a moment: a symbol whose bars have ended before the tape's is settled."""
    end = max(tape.end for tape in tapes.values())
    ended = [symbol for symbol, tape in tapes.items() if tape.end <= moment and tape.end < end]
    if not ended:
        return instruments
    return {**instruments, **{symbol: replace(instruments[symbol], status=SETTLING) for symbol in ended}}


def play_bars(
    ledger: Ledger,
    tapes: Mapping[str, Tape],
    instruments: Mapping[str, Instrument],
    since: datetime | None,
    until: datetime,
    result: Backtest,
    stop: Decimal | None = None,
) -> dict[str, str]:
    """Play every bar that ends in (since, until], all symbols of one end together; say how what was taken was taken.

    `stop` is how far from its average price a position is closed, as a fraction, None for no stops.
    """
    taken: dict[str, str] = {}
    bars: dict[datetime, dict[str, PlayedBar]] = {}
    if since is not None:
        for symbol in ledger.holdings:
            for bar in tapes[symbol].ended(since, until):
                bars.setdefault(bar.end, {})[symbol] = bar
    for end in sorted(bars):
        _Settlement(ledger, tapes, instruments, end, bars[end], result, taken).run(stop)
    return taken


@dataclass(frozen=True, slots=True)
class _Settlement:
    """Do to the account what the bars that end together do to it."""

    ledger: Ledger
    tapes: Mapping[str, Tape]
    instruments: Mapping[str, Instrument]
    end: datetime
    bars: Mapping[str, PlayedBar]
    result: Backtest
    taken: dict[str, str]

    def run(self, stop: Decimal | None) -> None:
        """Let worst prices, funding and first prices reach what is held, in this order."""
        ledger, bars = self.ledger, self.bars
        # what is held beyond its last bar keeps that bar's close
        after = {
            each: bars[each].next_price if each in bars else self.tapes[each].price(self.end) for each in self._held()
        }
        if stop is not None:
            self._stop(stop, self._worst(after), {each: bars[each].open for each in self._held() if each in bars})
        self._keep(ledger.liquidate(self.instruments, self._worst(after)))
        for symbol in self._held():
            for rate in bars[symbol].rates if symbol in bars else ():
                received = ledger.fund(symbol, rate, after[symbol])
                self.result.bookings.append(Funding(self.end, symbol, received))
        self._keep(ledger.liquidate(self.instruments, after))
        if stop is not None:
            self._stop(stop, after, None)

    def _held(self) -> list[str]:
        return list(self.ledger.holdings)

    def _worst(self, after: Mapping[str, Decimal]) -> dict[str, Decimal]:
        held = self.ledger.holdings
        return {each: self.bars[each].worst(held[each].quantity) if each in self.bars else after[each] for each in held}

    def _stop(self, stop: Decimal, met: Mapping[str, Decimal], opens: Mapping[str, Decimal] | None) -> None:
        """Close what the prices met reach: inside a bar at the trigger, after it at the price itself.

        Inside a bar the liquidation test comes first, with everything else where the bar began: a stop that lies beyond
        the liquidation price comes too late.
        """
        for symbol in sorted(self._held()):
            if symbol not in self.ledger.holdings:
                continue
            trigger = level_of(self.ledger, self.instruments[symbol], stop)
            if not touched(self.ledger.quantity(symbol), trigger, met[symbol]):
                continue
            if opens is not None:
                self._keep(self.ledger.liquidate(self.instruments, {**met, **opens, symbol: trigger}))
            if symbol in self.ledger.holdings:
                price = met[symbol] if opens is None else trigger
                done = strike(self.ledger, self.instruments[symbol], price)
                if done is not None:
                    self._take(done, STOPPED)

    def _keep(self, gone: Liquidation | None) -> None:
        if gone is not None:
            for execution in gone.executions:
                self._take(execution, LIQUIDATED)
            last, cleared = gone.executions[-1].symbol, self.result.cleared
            cleared[last] = cleared.get(last, Decimal(0)) + gone.cleared

    def _take(self, execution: Execution, how: str) -> None:
        self.taken[execution.symbol] = how
        self.result.forced.append((self.end, execution))


def _carry(ledger: Ledger, decision: Decision, book: Book, rules: Rules, result: Backtest) -> int:
    """Carry a decision's legs, keep what was filled, and return how many orders that took."""
    leverages = chosen_leverages(decision, book.prices, book.instruments, ledger.leverage)
    carrier = Carrier(ledger, book.instruments, book.prices, rules, leverages)
    result.fills.extend((decision.close, execution) for execution in carrier.carry(decision.legs))
    return carrier.sent


def _record(
    decision: Decision,
    strategy: Strategy,
    ledger: Ledger,
    prices: Mapping[str, Decimal],
    candle_closes: Mapping[str, float],
    taken: Mapping[str, str],
) -> CloseReport:
    told = (", ".join(sorted(symbol for symbol in taken if taken[symbol] == how)) for how in (LIQUIDATED, STOPPED))
    words = [f"{how}: {which}" for how, which in zip((LIQUIDATED, STOPPED), told, strict=True) if which]
    why = "; ".join([*words, decision.why])
    return CloseReport(
        close=decision.close,
        forecasts=decision.forecasts,
        targets=decision.targets,
        positions=_positions(strategy, ledger),
        equity=ledger.equity(prices),
        prices=prices,
        candle_closes=candle_closes,
        state=decision.state,
        why=why,
    )
