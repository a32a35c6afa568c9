"""Whether what one close would open fits the account as a whole; asked before the first of its orders.

A basket of which only the first half finds margin is another position than the one that was decided, long or short
where it was to be neither. So it opens as a whole or not at all; what only reduces goes in either case.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal

from trader.domain.decision import Book, Leg, Limits, Margin

_ZERO = Decimal(0)


@dataclass(slots=True)
class _Account:
    """The account as it will be: positions and their profit at the prices of the book, and realised money."""

    wallet: Decimal
    positions: dict[str, Decimal]
    profit: dict[str, Decimal] = field(default_factory=dict)

    def take(self, leg: Leg, price: Decimal, cost: Decimal) -> None:
        """Fill a leg at its price, at a cost that is a fraction of its notional."""
        held = self.positions.get(leg.symbol, _ZERO)
        after = leg.reaches(held)
        self.wallet -= abs(after - held) * price * cost
        if leg.reduce_only and held:
            profit = self.profit.get(leg.symbol, _ZERO)
            realised = profit * (held - after) / held
            self.wallet += realised
            self.profit[leg.symbol] = profit - realised
        self.positions[leg.symbol] = after


def misfit(legs: Sequence[Leg], book: Book, limits: Limits, margin: Margin) -> tuple[str, str] | None:
    """Return the guard that what legs lead to does not pass, and why in words; None where it fits.

    Gross notional is measured against the leverage limit and the canary's cap. Margin is tested where more than one
    symbol is opened: all that is then bound, at the leverage the brackets allow, against what the account has once
    costs are paid; one opening alone the exchange takes whole or refuses whole itself. Under cross margin the distance
    to liquidation is how far every position may move against us at once.
    """
    opened = {leg.symbol for leg in legs if not leg.reduce_only}
    if not opened:
        return None
    unrealised = book.unrealised or {}
    account = _Account(book.equity - sum(unrealised.values(), _ZERO), dict(book.positions), dict(unrealised))
    for leg in legs:
        account.take(leg, book.prices[leg.symbol], limits.cost)
    held = {symbol: quantity for symbol, quantity in account.positions.items() if quantity}
    gross = sum((abs(quantity) * book.prices[symbol] for symbol, quantity in held.items()), _ZERO)
    if gross > limits.max_leverage * book.equity:
        return "max_leverage", (
            f"a gross notional of {gross:.2f} passes {limits.max_leverage} times the equity {book.equity:.2f}"
        )
    if limits.canary_notional is not None and gross > limits.canary_notional:
        return "canary_notional", f"a gross notional of {gross:.2f} passes the canary's {limits.canary_notional}"
    bound, free = _margin(account, held, book, margin)
    if len(opened) > 1 and bound > free:
        why = f"all positions together would bind {bound:.2f} USDT of margin where {free:.2f} are there"
        return "basket_margin", why
    least = limits.min_liquidation_distance
    return None if least is None or margin.isolated else _near(account, held, book, least)


def _near(account: _Account, held: Mapping[str, Decimal], book: Book, least: Decimal) -> tuple[str, str] | None:
    """Say where liquidation of the whole cross account would be nearer than it may be.

    Solves equity - d * gross = sum of rate * notional * (1 - d for a long, 1 + d for a short) - amount for d, with
    rate and amount of the brackets the notionals are in now.
    """
    cushion, slope = account.wallet + sum(account.profit.values(), _ZERO), _ZERO
    for symbol, quantity in held.items():
        rules = book.instruments.get(symbol)
        if rules is None or not rules.brackets:
            return "liquidation", f"the leverage brackets of {symbol} are not known"
        notional = abs(quantity) * book.prices[symbol]
        tier = rules.bracket(notional)
        cushion += tier.maintenance_amount - tier.maintenance_rate * notional
        slope += notional - tier.maintenance_rate * quantity * book.prices[symbol]
    distance = min(cushion / slope, Decimal(1))
    if distance >= least:
        return None
    why = f"liquidation of the account would be {distance:.4f} away if all moved against it, nearer than {least}"
    return "liquidation", why


def _margin(account: _Account, held: Mapping[str, Decimal], book: Book, margin: Margin) -> tuple[Decimal, Decimal]:
    """Return what positions bind and what may be bound: isolated at what they cost, cross at the price, less losses."""
    bound = _ZERO
    for symbol, quantity in held.items():
        notional = abs(quantity) * book.prices[symbol]
        rules = book.instruments.get(symbol)  # none of what is held and no longer listed
        leverage = margin.leverage if rules is None else rules.leverage(notional, margin.leverage)
        side = 1 if quantity > 0 else -1
        paid = notional - side * account.profit.get(symbol, _ZERO) if margin.isolated else notional
        bound += paid / leverage
    lost = _ZERO if margin.isolated else min(sum(account.profit.values(), _ZERO), _ZERO)
    return bound, account.wallet + lost
