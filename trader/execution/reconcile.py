"""Compare what the journal believes with what the exchange says, and name what the difference is; pure.

What must hold between journal and exchange, once every order of ours is at its end:

* quantity: baseline and fills make the exchange's position, symbol by symbol (`differences`);
* ids: every trade since the last one known belongs to an order, and every order has an author (`author`); a booking
  names no trade that the journal does not know (`untold`), which finds trades that cancel each other out;
* average price: what the fills cost is what the exchange says the position cost (`mispriced`);
* money: baseline and bookings (funding, fees, realised profit, transfers) make the wallet, to the cent (`wallet_gap`);
* set-up: one-way mode, single-asset mode where margin is isolated, and the strategy's leverage and margin mode
  (`misconfigured`);
* nothing rests on the exchange that the journal does not know (`resting`).
"""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from decimal import ROUND_HALF_EVEN, Decimal
from enum import StrEnum
from typing import Final, Literal

from trader.domain.account import Account, Income, MarginMode, Position, Setup
from trader.domain.order import Fill, Order


class Author(StrEnum):
    """Who sent an order, by its client id."""

    OURS = "this daemon"
    LOST = "this instance or a second copy of it, in an order that the journal does not know by its number"
    TWIN = "another trader with the same keys"
    LIQUIDATION = "the exchange, liquidating"
    ADL = "the exchange, deleveraging"
    SETTLEMENT = "the exchange, settling a delisted symbol"
    STOP = "the exchange, on our protective stop"
    PERSON = "a person or another program"


class Kind(StrEnum):
    """What differs."""

    POSITION = "position"
    ORDER = "order"
    LEVERAGE = "leverage"
    MARGIN_MODE = "margin_mode"
    POSITION_MODE = "position_mode"
    ASSETS_MODE = "assets_mode"
    LIQUIDATION = "liquidation"
    ADL = "adl"
    SETTLEMENT = "settlement"
    STOP = "stop"
    PRICE = "price"
    WALLET = "wallet"


Policy = Literal["halt", "adopt"]


@dataclass(frozen=True, slots=True)
class Policies:
    """What to do about a difference that can be lived with: open nothing until a person resumes, or take it as it is.

    A hedge mode, another trader with the same keys, a wallet or a position without an explanation always halt.
    """

    position: Policy = "halt"
    order: Policy = "halt"
    leverage: Policy = "halt"
    margin_mode: Policy = "halt"
    liquidation: Policy = "halt"
    adl: Policy = "halt"
    settlement: Policy = "halt"
    stop: Policy = "halt"

    def adopts(self, kind: Kind) -> bool:
        """Whether a kind of difference is taken as it is."""
        return getattr(self, kind, "halt") == "adopt"


@dataclass(frozen=True, slots=True)
class Finding:
    """One difference: its kind, whose it is where that is known, and a sentence without the remedy."""

    kind: Kind
    text: str
    author: Author = Author.PERSON


_FORCED: Final = (
    ("autoclose-", Author.LIQUIDATION),
    ("adl_autoclose", Author.ADL),
    ("settlement_autoclose-", Author.SETTLEMENT),
)
_OUR_FORM: Final = re.compile(r"t[0-9a-f]{6}\.")
KINDS: Final = {
    Author.LIQUIDATION: Kind.LIQUIDATION,
    Author.ADL: Kind.ADL,
    Author.SETTLEMENT: Kind.SETTLEMENT,
    Author.STOP: Kind.STOP,
}
"""What it is called when the exchange itself took a position."""
_TRADED: Final = frozenset({"COMMISSION", "REALIZED_PNL"})
_CENT: Final = Decimal("0.01")
_PRICE_TOLERANCE: Final = Decimal("1e-5")


def author(client_id: str, prefix: str, known: Callable[[str], bool]) -> Author:
    """Say who sent an order.

    Args:
        client_id: its name.
        prefix: how this instance's names begin.
        known: whether the journal intended an order of that name.
    """
    for first_letters, forced in _FORCED:
        if client_id.startswith(first_letters):
            return forced
    if known(client_id):
        return Author.OURS
    if not _OUR_FORM.match(client_id):
        return Author.PERSON
    return Author.LOST if prefix and client_id.startswith(prefix) else Author.TWIN


TRANSFERS: Final = frozenset(
    {
        "TRANSFER",
        "INTERNAL_TRANSFER",
        "CROSS_COLLATERAL_TRANSFER",
        "STRATEGY_UMFUTURES_TRANSFER",
        "COIN_SWAP_DEPOSIT",
        "COIN_SWAP_WITHDRAW",
        "WELCOME_BONUS",
    }
)
"""Kinds of bookings that bring money in or out and are neither gain nor loss."""
_EIGHT = Decimal("1e-8")


def moved(quantity: Decimal, cost: Decimal | None, fill: Fill) -> tuple[Decimal, Decimal | None]:
    """Return quantity and cost of a position after a fill, both signed; a cost of None is not known.

    What is added costs its price; what is taken off takes its share of the cost with it; a position turned around costs
    the price that turned it. Flat costs nothing, which makes an unknown cost known again.
    """
    after = quantity + fill.quantity
    if after == 0:
        return after, Decimal(0)
    if quantity * fill.quantity >= 0:
        return after, None if cost is None else cost + fill.quantity * fill.price
    if after * quantity < 0:
        return after, after * fill.price
    return after, None if cost is None else (cost * after / quantity).quantize(_EIGHT, ROUND_HALF_EVEN)


@dataclass(frozen=True, slots=True)
class Difference:
    """One position on which journal and exchange disagree; quantities are signed."""

    symbol: str
    journal: Decimal
    exchange: Decimal

    def __str__(self) -> str:
        return f"{self.symbol}: the journal says {self.journal}, the exchange says {self.exchange}"


def differences(believed: Mapping[str, Decimal], account: Account) -> tuple[Difference, ...]:
    """List every symbol whose quantity differs, over all symbols either side knows."""
    symbols = sorted({*believed, *account.positions})
    pairs = ((symbol, believed.get(symbol, Decimal(0)), account.quantity(symbol)) for symbol in symbols)
    return tuple(Difference(symbol, ours, theirs) for symbol, ours, theirs in pairs if ours != theirs)


def explained_by(difference: Difference, fills: Iterable[Fill]) -> bool:
    """Whether trades unknown to the journal account for a difference exactly."""
    unknown = sum((fill.quantity for fill in fills if fill.symbol == difference.symbol), Decimal(0))
    return difference.journal + unknown == difference.exchange


def taken_by(difference: Difference, authors: Iterable[Author]) -> Finding:
    """Name what moved a position, by those who sent the orders of its unknown trades."""
    whose = sorted(set(authors))
    if whose and all(one in KINDS for one in whose):
        return Finding(KINDS[whose[0]], f"{difference}: it was {', '.join(whose)}", whose[0])
    worst = next((one for one in (Author.TWIN, Author.LOST) if one in whose), Author.PERSON)
    by = f"it was {', '.join(whose)}" if whose else "no trade tells of it"
    return Finding(Kind.POSITION, f"{difference}; {by}", worst)


def untold(incomes: Iterable[Income], known: Callable[[str, str], bool]) -> tuple[str, ...]:
    """List the symbols of which a booking names a trade that the journal does not know."""
    found = {
        income.symbol
        for income in incomes
        if income.kind in _TRADED and income.trade_id and not known(income.symbol, income.trade_id)
    }
    return tuple(sorted(found))


def mispriced(symbol: str, cost: Decimal | None, position: Position) -> Finding | None:
    """Compare the average price that the fills make with the exchange's; an unknown cost is not compared."""
    if cost is None or not position.quantity:
        return None
    average = cost / position.quantity
    if abs(average - position.entry_price) <= _PRICE_TOLERANCE * position.entry_price:
        return None
    return Finding(
        Kind.PRICE,
        f"the fills of {symbol} make an average price of {average:.8f}, the exchange says {position.entry_price}",
    )


def wallet_gap(booked: Decimal, held: Decimal) -> Finding | None:
    """Compare the wallet that baseline and all bookings since make with the account's, to the cent."""
    if abs(booked - held) < _CENT:
        return None
    return Finding(
        Kind.WALLET, f"the journal's bookings make a wallet of {booked:.2f} USDT and the account has {held:.2f}"
    )


def misconfigured(setup: Setup, leverage: int, margin_mode: MarginMode) -> tuple[Finding, ...]:
    """List what in an account's set-up is not as a strategy needs it."""
    found = []
    if setup.hedge_mode:
        found.append(Finding(Kind.POSITION_MODE, "the account is in hedge mode"))
    if setup.multi_assets:
        found.append(Finding(Kind.ASSETS_MODE, "the account is in multi-assets mode, which counts every coin"))
    if setup.margin_mode != margin_mode:
        found.append(Finding(Kind.MARGIN_MODE, f"{setup.symbol} has {setup.margin_mode} margin and not {margin_mode}"))
    if setup.leverage != leverage:
        found.append(Finding(Kind.LEVERAGE, f"{setup.symbol} is set to {setup.leverage}x and not {leverage}x"))
    return tuple(found)


def resting(orders: Iterable[Order], prefix: str, known: Callable[[str], bool]) -> tuple[Finding, ...]:
    """List the orders at rest on the account that are not ours, and whose they are."""
    found = []
    for order in orders:
        whose = author(order.client_id, prefix, known)
        if whose is not Author.OURS:
            found.append(Finding(Kind.ORDER, f"the order {order.client_id} of {whose} rests on {order.symbol}", whose))
    return tuple(found)
