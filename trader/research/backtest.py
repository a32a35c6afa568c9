"""The daemon's own decisions with arithmetic for an exchange.

The convention of one close, step by step, is in docs/architecture.md: the bar ends and its worst price meets the
liquidation test (of several symbols, each at its own worst: nobody knows that it was not at the same moment), funding
stamped up to the close is paid at the first price after it, the liquidation test at that price, then the decision,
sized, filled and marked at that same price.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta
from decimal import Decimal
from itertools import islice

import polars as pl

from trader.decide import Strategy, decide
from trader.domain.decision import Book, CloseReport, Decision, Forecast, Limits, State
from trader.domain.instrument import Instrument
from trader.domain.interval import Interval
from trader.errors import DataError
from trader.execution import guards
from trader.execution.fills import Costs, Execution, Ledger
from trader.execution.plan import chosen_leverages
from trader.execution.remainder import Rules
from trader.execution.round_trips import Funding
from trader.market.funding import with_funding
from trader.market.resample import resample
from trader.research.carrier import Carrier
from trader.research.track import PlayedBar, Tape

SETTLING = "SETTLING"
"""What the exchange calls a symbol that is traded no more."""


@dataclass(frozen=True, slots=True)
class Terms:
    """The money and the window of a backtest; the same words mean the same in `trader run`.

    `max_delay` is how late a first close may be decided when the window starts between two closes; `rules` are what
    follows on an order that ends short.
    """

    equity: Decimal
    costs: Costs
    limits: Limits
    start: datetime | None = None
    end: datetime | None = None
    cycles: int | None = None
    max_delay: timedelta = timedelta(0)
    rules: Rules = field(default_factory=Rules)


@dataclass(slots=True)
class Backtest:
    """What happened: a record a close, the fills with the close that caused them, and the money paid.

    `liquidations` are what was taken away, with the end of the bar in which it was, `cleared` what of cross margin went
    with it, by the symbol it is booked under; `bookings` is all funding in order.
    """

    start_equity: Decimal
    closes: list[CloseReport] = field(default_factory=list)
    fills: list[tuple[datetime, Execution]] = field(default_factory=list)
    liquidations: list[tuple[datetime, Execution]] = field(default_factory=list)
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
        DataError: the window holds no close, or starts before the forecaster is warm.
    """
    tapes = {symbol: Tape.of(candles, funding, symbol, source) for symbol in strategy.symbols}
    forecasts, candle_closes = _forecast(strategy, candles, source, funding)
    result = Backtest(terms.equity)
    ledger = Ledger(terms.equity, terms.costs, strategy.leverage, strategy.margin_mode)
    state, peak = State.ACTIVE, terms.equity
    played: datetime | None = None
    sent: Counter[date] = Counter()
    closes = _closes(strategy, tapes, terms)
    for number, close in enumerate(closes):
        if tell is not None:
            tell(number / len(closes), f"{close:%Y-%m-%d}")
        if close not in forecasts:
            _require_begun(close, forecasts)
            continue
        # a first close decided late is decided, filled and marked at the time of the start, as the daemon would
        moment = max(close, terms.start or close)
        taken = play_bars(ledger, tapes, instruments, played, moment, result)
        played = moment
        if taken:
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


def _require_begun(close: datetime, forecasts: Mapping[datetime, object]) -> None:
    """Let a close pass at which nothing is forecast once something was: no decision, as in the daemon.

    Raises:
        DataError: nothing was forecast yet.
    """
    if not forecasts or close < min(forecasts):
        raise DataError(
            f"No forecast at {close.isoformat()}: the candles before it are fewer than the model's warm-up; "
            "start the window later or give more history."
        )


def _day_equity(closes: Sequence[CloseReport], close: datetime) -> Decimal | None:
    found = guards.day_began(((report.close, report.equity) for report in reversed(closes)), close)
    return None if found is None else found[1]


def _forecast(
    strategy: Strategy, candles: pl.DataFrame, source: Interval, funding: pl.DataFrame | None
) -> tuple[dict[datetime, dict[str, Forecast]], dict[datetime, dict[str, float]]]:
    """Forecast all history at once; return forecasts and candle closes by close and symbol."""
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
    return list(islice(strategy.interval.closes(close, last), terms.cycles))


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
) -> list[str]:
    """Play every bar that ends in (since, until], all symbols of one end together; return what was liquidated."""
    taken: list[str] = []
    bars: dict[datetime, dict[str, PlayedBar]] = {}
    if since is not None:
        for symbol in ledger.holdings:
            for bar in tapes[symbol].ended(since, until):
                bars.setdefault(bar.end, {})[symbol] = bar
    for end in sorted(bars):
        taken += _settle(ledger, tapes, instruments, end, bars[end], result)
    return taken


def _settle(
    ledger: Ledger,
    tapes: Mapping[str, Tape],
    instruments: Mapping[str, Instrument],
    end: datetime,
    bars: Mapping[str, PlayedBar],
    result: Backtest,
) -> list[str]:
    """Do to the account what the bars that end together do to it."""
    held = ledger.holdings
    # what is held beyond its last bar keeps that bar's close
    after = {symbol: bars[symbol].next_price if symbol in bars else tapes[symbol].price(end) for symbol in held}
    worst = {symbol: bars[symbol].worst(held[symbol].quantity) if symbol in bars else after[symbol] for symbol in held}
    gone = [ledger.liquidate(instruments, worst)]
    for symbol in list(ledger.holdings):
        for rate in bars[symbol].rates if symbol in bars else ():
            received = ledger.fund(symbol, rate, after[symbol])
            result.bookings.append(Funding(end, symbol, received))
    gone.append(ledger.liquidate(instruments, after))
    taken: list[str] = []
    for one in gone:
        if one is not None:
            taken += [execution.symbol for execution in one.executions]
            result.liquidations += [(end, execution) for execution in one.executions]
            last = one.executions[-1].symbol
            result.cleared[last] = result.cleared.get(last, Decimal(0)) + one.cleared
    return taken


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
    taken: Sequence[str],
) -> CloseReport:
    why = f"liquidated: {', '.join(taken)}; {decision.why}" if taken else decision.why
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
