"""Carry a decision's legs on imagined fills, as the router carries them on an exchange."""

from collections.abc import Iterable, Mapping
from decimal import Decimal

from trader.domain.decision import Leg
from trader.domain.instrument import Instrument
from trader.errors import Rejected
from trader.execution.fills import Execution, Ledger
from trader.execution.remainder import Rules, Short, following

_ZERO = Decimal(0)


class Carrier:
    """The orders of one close.

    What a limit or a refusal left short is followed by at most one more order; after a refused part nothing more of its
    symbol is opened, nor on top of what a close left.

    Args:
        ledger: the imagined account.
        instruments: trading rules by symbol.
        prices: the first prices after the close.
        rules: what is followed.
        leverages: what each symbol that is opened from flat is set to.
    """

    def __init__(
        self,
        ledger: Ledger,
        instruments: Mapping[str, Instrument],
        prices: Mapping[str, Decimal],
        rules: Rules,
        leverages: Mapping[str, int],
    ) -> None:
        self.sent = 0
        self._ledger = ledger
        self._instruments = instruments
        self._prices = prices
        self._rules = rules
        self._leverages = leverages
        self._refused: set[str] = set()
        self._opened: dict[str, Decimal] = {}

    def carry(self, legs: Iterable[Leg]) -> list[Execution]:
        """Fill legs in order and return every execution; `sent` counts the orders."""
        done: list[Execution] = []
        for leg in legs:
            if leg.reduce_only or self._may_open(leg):
                done += self._carry(leg)
        return done

    def _may_open(self, leg: Leg) -> bool:
        if leg.symbol in self._refused:
            return False
        left = self._ledger.quantity(leg.symbol) - self._opened.get(leg.symbol, _ZERO)
        return leg.kind != "o" or abs(left) < self._instruments[leg.symbol].least

    def _carry(self, leg: Leg) -> list[Execution]:
        done, short = self._send(leg, leg.quantity, leg.limit)
        instrument, price = self._instruments[leg.symbol], self._prices[leg.symbol]
        found = following(short, self._rules, self._ledger.quantity(leg.symbol), instrument, price)
        if found is not None:
            more, short = self._send(leg, *found)
            done += more
        if short.refusal is not None and not leg.reduce_only:
            self._refused.add(leg.symbol)
        return done

    def _send(self, leg: Leg, quantity: Decimal, limit: Decimal | None) -> tuple[list[Execution], Short]:
        """Send one order; return its executions and how it ended, whether short or not."""
        symbol, refusal = leg.symbol, None
        done: list[Execution] = []
        if leg.kind == "o" and not self._ledger.quantity(symbol):
            self._ledger.chosen[symbol] = self._leverages[symbol]
        self.sent += 1
        try:
            done = self._ledger.trade(
                self._instruments[symbol],
                quantity,
                self._prices[symbol],
                reduce_only=leg.reduce_only,
                limit=limit,
                marks=self._prices,
            )
        except Rejected as error:
            refusal = error
        filled = sum((execution.quantity for execution in done), _ZERO)
        if leg.kind == "o":
            self._opened[symbol] = self._opened.get(symbol, _ZERO) + filled
        return done, Short(quantity, limit, leg.reduce_only, filled, refusal)
