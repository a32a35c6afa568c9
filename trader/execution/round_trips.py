"""From fills to round trips: what every trade from flat to flat earned, from a backtest or from a journal alike."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from heapq import merge

from trader.domain.order import Fill

_ZERO = Decimal(0)


@dataclass(frozen=True, slots=True)
class Funding:
    """One funding booking; `amount` in USDT is signed: positive was received."""

    time: datetime
    symbol: str
    amount: Decimal


@dataclass(frozen=True, slots=True)
class RoundTrip:
    """One position of one symbol, from flat to flat.

    `quantity` is the largest position held on the way, signed; prices are averages over what was opened and what was
    closed. `gross` is the realised profit, `fees` were paid, `funding` was received (negative: paid), all in USDT.
    `entry_time` and `entry_price` are None where the position was there before the first fill. `exit_time` is None
    while it is open: then `gross` holds the unrealised profit too, as far as a mark price was given.
    """

    symbol: str
    quantity: Decimal
    entry_time: datetime | None
    exit_time: datetime | None
    entry_price: Decimal | None
    exit_price: Decimal | None
    gross: Decimal
    fees: Decimal
    funding: Decimal

    @property
    def net(self) -> Decimal:
        """Return what it earned after fees and funding, in USDT."""
        return self.gross - self.fees + self.funding

    @property
    def net_return(self) -> Decimal | None:
        """Return `net` over the notional at entry; None where the entry is not known."""
        return None if self.entry_price is None else self.net / (abs(self.quantity) * self.entry_price)


@dataclass(slots=True)
class _Open:
    """A round trip on its way: the position, its cost basis, and how much was opened and closed for how much."""

    symbol: str
    held: Decimal = _ZERO
    largest: Decimal = _ZERO
    entry_time: datetime | None = None
    cost: Decimal = _ZERO
    opened: Decimal = _ZERO
    paid: Decimal = _ZERO
    closed: Decimal = _ZERO
    received: Decimal = _ZERO
    gross: Decimal = _ZERO
    fees: Decimal = _ZERO
    funding: Decimal = _ZERO

    def take(self, fill: Fill) -> None:
        """Add a fill that does not cross zero."""
        if self.held * fill.quantity >= 0:
            if not self.held:
                self.entry_time = fill.time
            self.opened += fill.quantity
            self.paid += fill.quantity * fill.price
        else:
            self.closed -= fill.quantity
            self.received -= fill.quantity * fill.price
        # what the exchange realised leaves the cost basis with it, however it averaged
        self.cost += fill.quantity * fill.price + fill.realised
        self.held += fill.quantity
        self.largest = max(self.largest, self.held, key=abs)
        self.gross += fill.realised
        self.fees += fill.fee

    def told(self, exit_time: datetime | None, mark: Decimal | None) -> RoundTrip:
        """Return it as it is now; a mark price adds what is not yet realised."""
        known = self.entry_time is not None
        return RoundTrip(
            symbol=self.symbol,
            quantity=self.largest,
            entry_time=self.entry_time,
            exit_time=exit_time,
            entry_price=self.paid / self.opened if known else None,
            exit_price=self.received / self.closed if self.closed else None,
            gross=self.gross + (self.held * mark - self.cost if mark is not None and known else _ZERO),
            fees=self.fees,
            funding=self.funding,
        )


def round_trips(
    fills: Iterable[Fill],
    funding: Iterable[Funding] = (),
    *,
    held: Mapping[str, Decimal] | None = None,
    marks: Mapping[str, Decimal] | None = None,
) -> list[RoundTrip]:
    """Part fills into round trips, each with the funding booked while it was open.

    A fill that crosses zero ends one round trip and begins the next; its profit belongs to the first, its fee to both
    in proportion. Funding booked at the very time of a fill was paid on what was held before it.

    Args:
        fills: in the order they happened.
        funding: in the order it was booked; what no position of ours explains is left out.
        held: signed positions before the first fill, such as a journal's baseline.
        marks: prices by symbol at which what is still open is valued.

    Returns:
        Ended round trips in the order they ended, then those still open, by symbol.
    """
    now = {symbol: _Open(symbol, quantity, quantity) for symbol, quantity in (held or {}).items() if quantity}
    done: list[RoundTrip] = []
    events: Iterator[Fill | Funding] = merge(funding, fills, key=lambda event: event.time)
    for event in events:
        if isinstance(event, Funding):
            if event.symbol in now:
                now[event.symbol].funding += event.amount
            continue
        for part in _parts(event, now[event.symbol].held if event.symbol in now else _ZERO):
            trip = now.setdefault(part.symbol, _Open(part.symbol))
            trip.take(part)
            if not trip.held:
                done.append(now.pop(part.symbol).told(part.time, None))
    return done + [now[symbol].told(None, (marks or {}).get(symbol)) for symbol in sorted(now)]


def _parts(fill: Fill, held: Decimal) -> list[Fill]:
    """Cut a fill at zero."""
    if held * (held + fill.quantity) >= 0:
        return [fill]
    fee = fill.fee * held / -fill.quantity
    closing = replace(fill, quantity=-held, fee=fee)
    return [closing, replace(fill, quantity=fill.quantity + held, fee=fill.fee - fee, realised=_ZERO)]
