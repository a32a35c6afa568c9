"""What an account should have earned: the backtest of the very closes a daemon lived through.

Every close is decided again by `decide`, on what the daemon saw and on an account of its own, filled at once at the
price of the decision moved by the costs that were expected. What the daemon missed is decided here too. Where nothing
goes wrong and trading costs what was expected, this account and the real one are the same to the last digit.

Money that is paid in or out multiplies both by the same factor: one of them is no nearer to the other for it, and this
one is left with something wherever the real one is.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime
from decimal import Decimal

from trader.decide import Strategy, decide
from trader.domain.decision import Book, Forecast, Limits, State
from trader.domain.instrument import Instrument
from trader.execution import guards
from trader.execution.fills import Costs, Holding, Ledger, booked
from trader.execution.plan import chosen_leverages
from trader.execution.remainder import Rules
from trader.execution.stops import level_of, strike, touched
from trader.research.carrier import Carrier

_ZERO = Decimal(0)
_RULES = Rules()


@dataclass(frozen=True, slots=True)
class Seen:
    """What was known at one close: first prices after it, rules, limits, forecasts and the next funding rates.

    `lows` and `highs` are those of the candle that ended, for stops and the liquidation test; empty where they are not
    known. `stopped` says whether the real account's stops rested on the exchange, `halted` whether it was halted here,
    `unknown` of which symbols nothing was known, and why.
    """

    close: datetime
    prices: Mapping[str, Decimal]
    instruments: Mapping[str, Instrument]
    limits: Limits
    forecasts: Mapping[str, Forecast]
    rates: Mapping[str, Decimal]
    lows: Mapping[str, Decimal]
    highs: Mapping[str, Decimal]
    stopped: bool = False
    halted: bool = False
    unknown: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Booked:
    """A booking of the real account: funding of a symbol on what it `held` then, or a transfer (`symbol` empty).

    Of a transfer `held` is the real account's equity at this close without it: nothing is traded between two closes, so
    that what is earned until then is earned on what the close before left.
    """

    time: datetime
    symbol: str
    amount: Decimal
    held: Decimal


class Expectation:
    """An account that carries out every decision at its own price.

    Args:
        costs: what trading is expected to cost.
        equity: what it begins with, in USDT, marked at `prices`.
        positions: signed quantities it begins with.
        prices: first prices at its beginning.
    """

    def __init__(
        self,
        costs: Costs,
        *,
        equity: Decimal,
        positions: Mapping[str, Decimal],
        prices: Mapping[str, Decimal],
        strategy: Strategy,
    ) -> None:
        self._ledger = Ledger(equity, costs, strategy.leverage, strategy.margin_mode)
        for symbol, held in positions.items():
            if held:
                cost = held * prices[symbol]
                margin = booked(abs(cost) / strategy.leverage) if strategy.margin_mode == "isolated" else _ZERO
                self._ledger.holdings[symbol] = Holding(held, cost, margin)
        self._state = State.ACTIVE
        self._peak = equity
        self._points: list[tuple[datetime, Decimal]] = []
        self._orders: tuple[date | None, int] = (None, 0)
        self.funding = _ZERO
        self.slippage = _ZERO
        self.moved = _ZERO
        self._prices: Mapping[str, Decimal] = dict(prices)
        self._rules: Mapping[str, Instrument] = {}

    @property
    def fees(self) -> Decimal:
        """Return all fees so far, in USDT.

        `slippage` is what fills cost against their price, `funding` was received, and `moved` was paid in or out.
        """
        return self._ledger.fees

    @property
    def active(self) -> bool:
        """Whether it may open positions."""
        return self._state is State.ACTIVE

    def resume(self) -> None:
        """Trade again, with the losses of all and of the day counted anew, as a resume does for the real account."""
        self._state = State.ACTIVE
        self._count_anew()

    def _count_anew(self) -> None:
        self._peak = _ZERO
        self._points.clear()

    def step(self, strategy: Strategy, seen: Seen, bookings: Sequence[Booked] = (), rules: Rules = _RULES) -> Decimal:
        """Play on to a close, decide it, and return the equity after its fills.

        Args:
            strategy: what decided at that close.
            seen: what was known.
            bookings: what was booked on the real account since the close before; funding is paid in the proportion of
                the two positions, and not at all where the real account held nothing that says the rate. Transfers come
                last, in the proportion of the two equities: what is decided now is the first that is traded on them.
            rules: what follows on an order that ends short.
        """
        ledger = self._ledger
        ledger.leverage, ledger.margin_mode = strategy.leverage, strategy.margin_mode
        seen = self._remembered(seen)
        if self._met(seen, worst=True):
            # a real account that was stopped had paid until then
            self._book(bookings)
            self._strike(seen, worst=True)
            self._take(seen, worst=True)
        else:
            self._take(seen, worst=True)
            self._book(bookings)
        self._take(seen, worst=False)
        self._strike(seen, worst=False)
        self._move(bookings, seen.prices)
        equity = ledger.equity(seen.prices)
        self._peak = max(self._peak, equity)
        book = self._seen(strategy, seen, equity)
        decision = decide(strategy, seen.close, seen.forecasts, book, seen.limits)
        self._state = decision.state
        leverages = chosen_leverages(decision, seen.prices, seen.instruments, strategy.leverage)
        carrier = Carrier(ledger, seen.instruments, seen.prices, rules, leverages)
        for done in carrier.carry(decision.legs):
            self.slippage += done.quantity * (done.price - seen.prices[done.symbol])
        day, sent = self._orders
        self._orders = (seen.close.date(), (sent if day == seen.close.date() else 0) + carrier.sent)
        after = ledger.equity(seen.prices)
        self._points.append((seen.close, after))
        return after

    def _remembered(self, seen: Seen) -> Seen:
        """Return what was known, with what is known from before of what is held here alone, which is left alone."""
        known, why = seen.prices.keys() & seen.instruments.keys(), "the real account neither held nor forecast it"
        missing = {symbol: why for symbol in self._ledger.holdings if symbol not in known}
        self._prices, self._rules = {**self._prices, **seen.prices}, {**self._rules, **seen.instruments}
        if not missing:
            return seen
        prices = {symbol: self._prices[symbol] for symbol in missing}
        rules = {symbol: self._rules[symbol] for symbol in missing if symbol in self._rules}
        return replace(
            seen,
            prices={**prices, **seen.prices},
            instruments={**rules, **seen.instruments},
            unknown={**missing, **seen.unknown},
        )

    def _seen(self, strategy: Strategy, seen: Seen, equity: Decimal) -> Book:
        day = guards.day_began(reversed(self._points[-_A_DAY_OF_MINUTES:]), seen.close)
        sent_on, sent = self._orders
        return Book(
            equity=equity,
            peak_equity=self._peak,
            positions={name: self._ledger.quantity(name) for name in strategy.symbols or self._ledger.holdings},
            prices=seen.prices,
            instruments=seen.instruments,
            state=self._state,
            day_equity=None if day is None else day[1],
            orders_today=sent if sent_on == seen.close.date() else 0,
            funding_rates=seen.rates,
            unrealised={
                symbol: self._ledger.unrealised(symbol, seen.prices[symbol]) for symbol in self._ledger.holdings
            },
            unknown=seen.unknown,
        )

    def _met(self, seen: Seen, *, worst: bool) -> dict[str, Decimal]:
        """Return the price at which each stop triggers that the candle's worst price reached, or the first after it."""
        stop = seen.limits.protective_stop
        found: dict[str, Decimal] = {}
        if stop is None or not seen.stopped:
            return found
        for symbol, holding in self._ledger.holdings.items():
            price = self._price(seen, symbol, holding, worst=worst)
            if price is not None and symbol in seen.instruments:
                trigger = level_of(self._ledger, seen.instruments[symbol], stop)
                if touched(holding.quantity, trigger, price):
                    found[symbol] = trigger if worst else price
        return found

    def _strike(self, seen: Seen, *, worst: bool) -> None:
        """Close what stops reach; that halts where it has halted the real account."""
        for symbol, price in self._met(seen, worst=worst).items():
            done = strike(self._ledger, seen.instruments[symbol], price)
            if done is not None:
                self.slippage += done.quantity * (done.price - price)
                self._state = State.HALTED if seen.halted else self._state

    def _price(self, seen: Seen, symbol: str, holding: Holding, *, worst: bool) -> Decimal | None:
        extremes = seen.lows if holding.quantity > 0 else seen.highs
        return extremes.get(symbol) if worst else seen.prices.get(symbol)

    def _take(self, seen: Seen, *, worst: bool) -> None:
        """Look for liquidation, which halts, at the candle's worst price, or at the first one after it."""
        prices: dict[str, Decimal] = {}
        for symbol, holding in self._ledger.holdings.items():
            instrument = seen.instruments.get(symbol)
            price = self._price(seen, symbol, holding, worst=worst)
            if instrument is not None and instrument.brackets and price is not None:
                prices[symbol] = price
        if self._ledger.margin_mode == "cross" and len(prices) < len(self._ledger.holdings):
            return  # of an account that is backed as a whole, a part says nothing
        if self._ledger.liquidate(seen.instruments, prices) is not None:
            self._state = State.HALTED

    def _book(self, bookings: Sequence[Booked]) -> None:
        """Pay the funding of what is held."""
        for one in bookings:
            held = self._ledger.quantity(one.symbol) if one.symbol else _ZERO
            if one.held and held:
                amount = _in_proportion(one.amount, held, one.held)
                self.funding += amount
                self._ledger.wallet += amount

    def _move(self, bookings: Sequence[Booked], prices: Mapping[str, Decimal]) -> None:
        """Let money in or out, and scale with it what losses are counted from: neither is a gain or a loss."""
        for one in bookings:
            if one.symbol:
                continue
            before = self._ledger.equity(prices)
            # to nothing there is no proportion
            amount = _in_proportion(one.amount, before, one.held) if before > 0 and one.held > 0 else one.amount
            self._ledger.wallet += amount
            self.moved += amount
            after = before + amount
            if before > 0 and after > 0:
                self._peak = self._peak * after / before
                recent = self._points[-_A_DAY_OF_MINUTES:]
                self._points = [(close, equity * after / before) for close, equity in recent]
            else:
                self._count_anew()


def _in_proportion(amount: Decimal, ours: Decimal, theirs: Decimal) -> Decimal:
    """Return what an amount of theirs is of ours, which is the same to the last digit where the two are the same."""
    return amount if ours == theirs else booked(amount * ours / theirs)


_A_DAY_OF_MINUTES = 1441
