"""Imagined fills: the arithmetic of an exchange for the backtest and for the dry run.

The rules are those of the embedded exchange, written a second time on purpose: the parity tests compare the two.
Amounts are rounded to eight decimals, half to even, whenever they are booked.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from decimal import ROUND_HALF_EVEN, Decimal

from trader.domain.account import MarginMode
from trader.domain.instrument import Instrument
from trader.errors import Rejected

_CENTS = Decimal("1e-8")
_ZERO = Decimal(0)
_NO_MARKS: Mapping[str, Decimal] = {}


def booked(amount: Decimal) -> Decimal:
    """Round an amount of money as it is booked."""
    return amount.quantize(_CENTS, ROUND_HALF_EVEN)


@dataclass(frozen=True, slots=True)
class Costs:
    """What trading costs, as fractions: taker fee of the notional, the whole spread and the slippage of the price."""

    fee: Decimal
    slippage: Decimal
    spread: Decimal


@dataclass(slots=True)
class Holding:
    """A position: signed quantity, signed cost basis, and the margin set aside for it where margin is isolated."""

    quantity: Decimal = _ZERO
    cost: Decimal = _ZERO
    margin: Decimal = _ZERO

    def add(self, quantity: Decimal, price: Decimal) -> None:
        """Let it grow by a signed quantity bought or sold at a price."""
        self.quantity += quantity
        self.cost += quantity * price

    def release(self, quantity: Decimal) -> Decimal:
        """Let it shrink by a signed quantity of the other side and return the cost that goes with it."""
        whole = quantity == -self.quantity
        cost = self.cost if whole else booked(self.cost * abs(quantity) / abs(self.quantity))
        margin = self.margin if whole else booked(self.margin * abs(quantity) / abs(self.quantity))
        self.quantity += quantity
        self.cost -= cost
        self.margin -= margin
        return cost


@dataclass(frozen=True, slots=True)
class Execution:
    """One imagined fill: signed quantity, price paid, fee paid (positive) and profit realised, in USDT."""

    symbol: str
    quantity: Decimal
    price: Decimal
    fee: Decimal
    realised: Decimal


@dataclass(frozen=True, slots=True)
class Liquidation:
    """What was taken away at one moment: the fills in order, and what cross margin cleared.

    `cleared` is booked under the symbol of the last fill, as the wallet felt it: what was left of it went (negative),
    or what it lacked was given.
    """

    executions: tuple[Execution, ...]
    cleared: Decimal = _ZERO


@dataclass(slots=True)
class Ledger:
    """A USDT-margined account in one-way mode; under cross margin one wallet backs the positions of all symbols.

    `leverage` is the setting of every symbol that has none of its own in `chosen`.
    """

    wallet: Decimal
    costs: Costs
    leverage: int
    margin_mode: MarginMode = "isolated"
    chosen: dict[str, int] = field(default_factory=dict)
    holdings: dict[str, Holding] = field(default_factory=dict)
    fees: Decimal = _ZERO
    funding: Decimal = _ZERO

    def quantity(self, symbol: str) -> Decimal:
        """Return the signed quantity held."""
        holding = self.holdings.get(symbol)
        return holding.quantity if holding else _ZERO

    def unrealised(self, symbol: str, price: Decimal) -> Decimal:
        """Return the profit of a position at a price, not yet realised."""
        holding = self.holdings.get(symbol)
        return booked(holding.quantity * price - holding.cost) if holding else _ZERO

    def equity(self, prices: Mapping[str, Decimal]) -> Decimal:
        """Return wallet plus unrealised profit."""
        return self.wallet + sum((self.unrealised(symbol, prices[symbol]) for symbol in self.holdings), _ZERO)

    def available(self, marks: Mapping[str, Decimal] = _NO_MARKS) -> Decimal:
        """Return what an opening may bind: the wallet less the margins set aside.

        Under cross margin a position binds notional over leverage at its mark, and all together bind what they lose
        where their sum is a loss; `marks` then holds the price of everything held.
        """
        if self.margin_mode == "isolated":
            return self.wallet - sum((holding.margin for holding in self.holdings.values()), _ZERO)
        return self._unbound(self.holdings, marks)

    def trade(
        self,
        instrument: Instrument,
        quantity: Decimal,
        price: Decimal,
        *,
        reduce_only: bool,
        limit: Decimal | None = None,
        marks: Mapping[str, Decimal] = _NO_MARKS,
    ) -> list[Execution]:
        """Fill an order at once, at a price moved against us by half the spread and the slippage.

        With a limit it takes what its price reaches, and nothing of it rests: the quantity lies evenly on the ticks
        from the best price to that of a market order, and is paid at the limit where that lies between the two.
        `marks` are the prices of what else is held, which cross margin is tested at.

        Returns:
            One execution, or two where the order crosses zero (the closing part first); none where a limit reaches
            nothing.

        Raises:
            Rejected: -2022 where a reduce-only order has nothing to reduce, -2019 where the margin does not suffice for
                the whole order, -2027 where the leverage allows no such position, -4131 where PERCENT_PRICE allows no
                market order; nothing has changed then.
        """
        held = self.quantity(instrument.symbol)
        crossing = held != 0 and (held > 0) != (quantity > 0)
        if reduce_only and not crossing:
            raise Rejected(f"{instrument.symbol}: a reduce-only order found no position to reduce", code=-2022)
        if reduce_only:
            quantity = _signed(min(abs(quantity), abs(held)), quantity)
        paid = self._price(instrument, quantity, price)
        filled = quantity
        if limit is not None:
            filled, paid = self._reach(instrument, quantity, price, limit)
        elif not instrument.admits(paid, price):
            raise Rejected(f"{instrument.symbol}: {paid} is not within PERCENT_PRICE of {price}", code=-4131)
        self._require_room(instrument, quantity, max(paid, limit or paid), {**marks, instrument.symbol: price})
        closing = _signed(min(abs(filled), abs(held)), quantity) if crossing else _ZERO
        opening = filled - closing
        done = [self._reduce(instrument.symbol, closing, paid)] if closing else []
        if opening:
            done.append(self._add(instrument.symbol, opening, paid))
        return done

    def fund(self, symbol: str, rate: Decimal, price: Decimal) -> Decimal:
        """Book funding at a positive-longs-pay rate and return what was received (negative: paid)."""
        holding = self.holdings.get(symbol)
        if holding is None:
            return _ZERO
        paid = booked(holding.quantity * price * rate)
        self.wallet -= paid
        self.funding -= paid
        if self.margin_mode == "isolated":
            # below zero too: the liquidation that follows then takes the debt with it
            holding.margin -= max(-self.available(), _ZERO)
        return -paid

    def liquidate(self, instruments: Mapping[str, Instrument], prices: Mapping[str, Decimal]) -> Liquidation | None:
        """Take away what its margin no longer carries at the given prices; return how, None where nothing is taken.

        An isolated position is tested alone, where a price of it is given, and loses its margin as a whole: a fill at
        the price where nothing of it would be left. Cross positions are tested together, each at its given price, by
        the wallet and all their profit against all their maintenance margins: where that does not suffice they are
        closed at those prices, the largest loss first, and what is left of the wallet is lost. The exchange may stop
        after the first of them; the careful account does not.
        """
        if self.margin_mode == "isolated":
            held = [symbol for symbol in self.holdings if symbol in prices]
            gone = [self._take_margin(symbol) for symbol in held if not self._carried(instruments[symbol], prices)]
            return Liquidation(tuple(gone)) if gone else None
        profit = sum((each.quantity * prices[symbol] - each.cost for symbol, each in self.holdings.items()), _ZERO)
        required = sum((self._maintenance(instruments[symbol], prices[symbol]) for symbol in self.holdings), _ZERO)
        return None if not self.holdings or self.wallet + profit > required else self._take_everything(prices)

    def _carried(self, instrument: Instrument, prices: Mapping[str, Decimal]) -> bool:
        holding, price = self.holdings[instrument.symbol], prices[instrument.symbol]
        return holding.margin + holding.quantity * price - holding.cost > self._maintenance(instrument, price)

    def _maintenance(self, instrument: Instrument, price: Decimal) -> Decimal:
        notional = abs(self.holdings[instrument.symbol].quantity) * price
        bracket = instrument.bracket(notional)
        return bracket.maintenance_rate * notional - bracket.maintenance_amount

    def _take_margin(self, symbol: str) -> Execution:
        holding = self.holdings.pop(symbol)
        self.wallet -= holding.margin
        bankruptcy = booked((holding.cost - holding.margin) / holding.quantity)
        return Execution(symbol, -holding.quantity, bankruptcy, _ZERO, -holding.margin)

    def _take_everything(self, prices: Mapping[str, Decimal]) -> Liquidation:
        gone: list[Execution] = []
        for symbol in sorted(self.holdings, key=lambda each: (self.unrealised(each, prices[each]), each)):
            realised = self.unrealised(symbol, prices[symbol])
            holding = self.holdings.pop(symbol)
            self.wallet += realised
            gone.append(Execution(symbol, -holding.quantity, prices[symbol], _ZERO, realised))
        rest, self.wallet = self.wallet, _ZERO
        return Liquidation(tuple(gone), -rest)

    def _price(self, instrument: Instrument, quantity: Decimal, price: Decimal) -> Decimal:
        """Return what a market order pays."""
        return self._quote(instrument, quantity, price, self.costs.spread / 2 + self.costs.slippage)

    def _quote(self, instrument: Instrument, quantity: Decimal, price: Decimal, moved: Decimal) -> Decimal:
        buys = quantity > 0
        return instrument.round_price(price * (1 + (1 if buys else -1) * moved), up=buys)

    def _reach(
        self, instrument: Instrument, quantity: Decimal, price: Decimal, limit: Decimal
    ) -> tuple[Decimal, Decimal]:
        """Return how much of a limit order is filled at once, in whole steps, and what is paid."""
        best = self._quote(instrument, quantity, price, self.costs.spread / 2)
        worst = self._price(instrument, quantity, price)
        sign = 1 if quantity > 0 else -1
        if sign * (limit - worst) >= 0:
            return quantity, worst
        levels, taken = sign * (worst - best) / instrument.tick + 1, sign * (limit - best) / instrument.tick + 1
        return instrument.quantity(instrument.steps(quantity * max(taken, _ZERO) / levels)), limit

    def _require_room(
        self, instrument: Instrument, quantity: Decimal, paid: Decimal, marks: Mapping[str, Decimal]
    ) -> None:
        """Check that what a whole order would open at a price paid finds margin and bracket."""
        held = self.quantity(instrument.symbol)
        crossing = held != 0 and (held > 0) != (quantity > 0)
        closing = _signed(min(abs(quantity), abs(held)), quantity) if crossing else _ZERO
        opening = quantity - closing
        if not opening:
            return
        free = self._freed(instrument.symbol, closing, paid, marks) if closing else self.available(marks)
        self._require_margin(instrument, opening, paid, free)
        self._require_bracket(instrument, opening if closing else held + opening, marks[instrument.symbol])

    def _leverage(self, symbol: str) -> int:
        return self.chosen.get(symbol, self.leverage)

    def _unbound(self, symbols: Iterable[str], marks: Mapping[str, Decimal]) -> Decimal:
        """Return what the cross positions of some symbols leave of the wallet."""
        held = list(symbols)
        bound = [booked(abs(self.holdings[one].quantity) * marks[one] / self._leverage(one)) for one in held]
        profit = sum((self.unrealised(one, marks[one]) for one in held), _ZERO)
        return self.wallet - sum(bound, _ZERO) + min(profit, _ZERO)

    def _freed(self, symbol: str, quantity: Decimal, price: Decimal, marks: Mapping[str, Decimal]) -> Decimal:
        """Return what will be available once the whole position is closed by a quantity at a price."""
        holding = self.holdings[symbol]
        earned = booked(-quantity * price - holding.cost) - booked(abs(quantity) * price * self.costs.fee)
        if self.margin_mode == "isolated":
            return self.available() + holding.margin + earned
        return self._unbound((one for one in self.holdings if one != symbol), marks) + earned

    def _require_margin(self, instrument: Instrument, quantity: Decimal, price: Decimal, available: Decimal) -> None:
        notional = abs(quantity) * price
        required = booked(notional / self._leverage(instrument.symbol)) + booked(notional * self.costs.fee)
        if required > available:
            raise Rejected(
                f"{instrument.symbol}: {required} USDT of margin and fee exceed the {available} available", code=-2019
            )

    def _require_bracket(self, instrument: Instrument, quantity: Decimal, price: Decimal) -> None:
        leverage = self._leverage(instrument.symbol)
        allowed = [bracket.cap for bracket in instrument.brackets if bracket.max_leverage >= leverage]
        largest = max(allowed, default=_ZERO)
        if instrument.brackets and abs(quantity) * price > largest:
            raise Rejected(
                f"{instrument.symbol}: at leverage {leverage} a position may be worth {largest} USDT", code=-2027
            )

    def _add(self, symbol: str, quantity: Decimal, price: Decimal) -> Execution:
        holding = self.holdings.setdefault(symbol, Holding())
        notional = abs(quantity) * price
        holding.add(quantity, price)
        if self.margin_mode == "isolated":
            holding.margin += booked(notional / self._leverage(symbol))
        return self._pay(symbol, quantity, price, _ZERO)

    def _reduce(self, symbol: str, quantity: Decimal, price: Decimal) -> Execution:
        holding = self.holdings[symbol]
        realised = booked(-quantity * price - holding.release(quantity))
        if holding.quantity == 0:
            del self.holdings[symbol]
        self.wallet += realised
        return self._pay(symbol, quantity, price, realised)

    def _pay(self, symbol: str, quantity: Decimal, price: Decimal, realised: Decimal) -> Execution:
        fee = booked(abs(quantity) * price * self.costs.fee)
        self.wallet -= fee
        self.fees += fee
        return Execution(symbol, quantity, price, fee, realised)


def _signed(size: Decimal, like: Decimal) -> Decimal:
    return size if like > 0 else -size
