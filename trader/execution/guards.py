"""Guards approve or refuse; they never change a leg or an order.

They stand at two places. `judge` is asked in the decision, by the daemon and the backtest alike, on what was known at
the close. `admit` is asked at the wire, immediately before every post, on what holds at that moment; only it can make
an `Approved` order, and the router posts nothing else. At both, what can only make a position smaller passes.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Final

from trader.domain.decision import Book, Leg, Limits, Margin, Refusal, State
from trader.domain.instrument import Instrument
from trader.domain.order import OrderRequest
from trader.execution.basket import misfit

_ZERO = Decimal(0)
_SEAL: Final = object()


def drawdown(book: Book) -> Decimal:
    """Return the loss from peak equity as a fraction of the peak, at least 0."""
    if book.peak_equity <= 0:
        return Decimal(1)
    return max(_ZERO, 1 - book.equity / book.peak_equity)


def daily_loss(book: Book) -> Decimal:
    """Return the loss since the UTC day began as a fraction of the equity then, at least 0."""
    if book.day_equity is None:
        return _ZERO
    if book.day_equity <= 0:
        return Decimal(1)
    return max(_ZERO, 1 - book.equity / book.day_equity)


def midnight(close: datetime) -> datetime:
    """Return when the UTC day of a close began."""
    return close.replace(hour=0, minute=0, second=0, microsecond=0)


def day_began(points: Iterable[tuple[datetime, Decimal]], close: datetime) -> tuple[datetime, Decimal] | None:
    """Return the close and equity a day's loss is counted from: the last before the day began, else the first known.

    Args:
        points: closes and the equity at each, newest first, all before `close`.
        close: what is decided now.
    """
    found = None
    for point in points:
        found = point
        if point[0] < midnight(close):
            break
    return found


def breach(book: Book, limits: Limits) -> str | None:
    """Say which loss has reached its limit, so that everything is closed and the daemon halts; a limit of 1 is none."""
    lost = drawdown(book)
    if limits.max_drawdown < 1 and lost >= limits.max_drawdown:
        return f"drawdown {lost:.4f} reached its limit {limits.max_drawdown}"
    lost = daily_loss(book)
    if limits.max_daily_loss < 1 and lost >= limits.max_daily_loss:
        return f"daily loss {lost:.4f} reached its limit {limits.max_daily_loss}"
    return None


def judge(
    legs: Iterable[Leg], book: Book, limits: Limits, margin: Margin
) -> tuple[tuple[Leg, ...], tuple[Refusal, ...]]:
    """Part legs into approved and refused, walking them in order as if each approved one were filled.

    Legs that only reduce are always approved. An opening leg is refused where the state forbids it, where the symbol is
    not trading, or where the position it leads to would pass a limit; what it would have followed is then refused too.
    Where the openings left do not fit the account together, all of them are refused.
    """
    approved: list[Leg] = []
    refused: list[Refusal] = []
    held = dict(book.positions)
    for leg in legs:
        if not leg.reduce_only:
            reached = held.get(leg.symbol, _ZERO) + leg.quantity
            earlier = next((one for one in refused if one.leg.symbol == leg.symbol), None)
            refusal = (
                replace(earlier, leg=leg)
                if earlier
                else _count_refusal(leg, book.orders_today + len(approved), limits)
                or _refusal(leg, reached, book, limits)
                or _risk_refusal(leg, reached, book, limits, margin)
            )
            if refusal:
                refused.append(refusal)
                continue
        held[leg.symbol] = leg.reaches(held.get(leg.symbol, _ZERO))
        approved.append(leg)
    found = misfit(approved, book, limits, margin)
    if found is not None:
        refused += [Refusal(leg, *found) for leg in approved if not leg.reduce_only]
        approved = [leg for leg in approved if leg.reduce_only]
    return tuple(approved), tuple(refused)


def _count_refusal(leg: Leg, sent: int, limits: Limits) -> Refusal | None:
    if limits.max_orders is not None and sent >= limits.max_orders:
        return Refusal(leg, "max_orders", f"{sent} orders today reach the limit {limits.max_orders}")
    return None


def _refusal(leg: Leg, reached: Decimal, book: Book, limits: Limits) -> Refusal | None:
    if book.state is not State.ACTIVE:
        return Refusal(leg, "state", f"{book.state} opens nothing")
    instrument = book.instruments[leg.symbol]
    if not instrument.trading:
        return Refusal(leg, "status", f"{leg.symbol} is {instrument.status}, not TRADING")
    notional = abs(reached) * book.prices[leg.symbol]
    if limits.max_position is not None and abs(reached) > limits.max_position:
        return Refusal(leg, "max_position", f"a position of {reached} passes the limit {limits.max_position}")
    if limits.max_notional is not None and notional > limits.max_notional:
        return Refusal(leg, "max_notional", f"a notional of {notional:.2f} passes the limit {limits.max_notional}")
    cap = limits.canary_notional
    if cap is not None and notional > cap:
        return Refusal(leg, "canary_notional", f"a notional of {notional:.2f} passes the canary's {cap}")
    if notional > limits.max_leverage * book.equity:
        return Refusal(
            leg,
            "max_leverage",
            f"a notional of {notional:.2f} passes {limits.max_leverage} times the equity {book.equity:.2f}",
        )
    return None


def _risk_refusal(leg: Leg, reached: Decimal, book: Book, limits: Limits, margin: Margin) -> Refusal | None:
    price = book.prices[leg.symbol]
    least, stop, instrument = limits.min_liquidation_distance, limits.protective_stop, book.instruments[leg.symbol]
    if least is not None and not instrument.brackets:
        return Refusal(leg, "liquidation", f"the leverage brackets of {leg.symbol} are not known")
    if (least is not None or stop is not None) and instrument.brackets:
        distance = liquidation_distance(instrument, reached, price, book.equity, margin)
        if least is not None and distance < least:
            return Refusal(leg, "liquidation", f"liquidation would be {distance:.4f} away, nearer than {least}")
        if stop is not None and distance <= stop:
            return Refusal(
                leg, "protective_stop", f"liquidation would be {distance:.4f} away, nearer than the stop at {stop}"
            )
    if limits.max_funding is not None:
        rate = book.funding_rates.get(leg.symbol)
        if rate is None:
            return Refusal(leg, "max_funding", f"the next funding rate of {leg.symbol} is not known")
        cost = reached * price * rate
        if cost > limits.max_funding * book.equity:
            return Refusal(
                leg, "max_funding", f"the next funding would cost {cost:.2f}, over {limits.max_funding} of the equity"
            )
    return None


def liquidation_distance(
    instrument: Instrument, quantity: Decimal, price: Decimal, equity: Decimal, margin: Margin
) -> Decimal:
    """Return how far the price may move against a position opened at it before liquidation, as a fraction of it.

    A position with a margin of its own is backed by notional over leverage, a cross one by the whole equity (other
    positions left out). Solves backing + quantity * (p - price) = rate * |quantity| * p - amount for p, with rate and
    amount of the bracket the notional is in now; 1 where no price does it, negative where it is past already.
    """
    size, notional = abs(quantity), abs(quantity) * price
    bracket = instrument.bracket(notional)
    backing = notional / margin.leverage if margin.isolated else equity
    cushion = (backing + bracket.maintenance_amount) / size
    sign = 1 if quantity > 0 else -1
    reached = (price - sign * cushion) / (1 - sign * bracket.maintenance_rate)
    return min(Decimal(1), sign * (price - reached) / price)


@dataclass(frozen=True, slots=True)
class WireLimits:
    """What holds at the wire: how far the mark may be from the decision's price, and our clock from the venue's.

    `canary_notional` is what all positions together may be worth in USDT, with room of `max_deviation` for the price.
    """

    max_deviation: Decimal | None = None
    max_clock_offset: timedelta | None = None
    canary_notional: Decimal | None = None


@dataclass(frozen=True, slots=True)
class Moment:
    """What holds immediately before a post; `mark` and `clock_offset` are None where nothing asks for them.

    `left` is what a close before an opening has left, signed; `decided_price` the price the order was sized at, None
    where it was not kept; `gross` what all positions would be worth after the order, at their marks.
    """

    at: datetime
    state: State
    left: Decimal = _ZERO
    decided_price: Decimal | None = None
    mark: Decimal | None = None
    clock_offset: timedelta | None = None
    gross: Decimal | None = None


@dataclass(frozen=True, slots=True)
class Withheld:
    """An order that is not sent: the guard's name, its reason in words, and whether it was only too late."""

    guard: str
    reason: str

    @property
    def late(self) -> bool:
        """Whether nothing but its age speaks against it."""
        return self.guard == "age"


class Approved:
    """An order that may be posted now, once, and the mark price it was judged by; only `admit` makes one.

    Raises:
        TypeError: somebody else tries to.
    """

    __slots__ = ("mark", "order")

    def __init__(self, order: OrderRequest, *, seal: object, mark: Decimal | None = None) -> None:
        if seal is not _SEAL:
            raise TypeError("only a guard approves an order")
        self.order: Final = order
        self.mark: Final = mark


def admit(
    order: OrderRequest, *, kind: str, not_after: datetime, moment: Moment, limits: WireLimits
) -> Approved | Withheld:
    """Approve an order for one post, or say which guard withholds it.

    Args:
        order: what would be posted.
        kind: the letter of its leg; what opens is withheld while something is held that it was not decided on.
        not_after: the last moment its decision is young enough.
        moment: what holds now.
        limits: what is allowed at the wire.
    """
    withheld = _untimely(order, kind, not_after, moment)
    if withheld is None and not order.reduce_only:
        withheld = _strayed(moment, limits)
    return withheld or Approved(order, seal=_SEAL, mark=moment.mark)


def _untimely(order: OrderRequest, kind: str, not_after: datetime, moment: Moment) -> Withheld | None:
    if moment.state is not State.ACTIVE and not order.reduce_only:
        return Withheld("state", f"the state is {moment.state}: nothing is opened")
    if moment.at > not_after:
        return Withheld("age", "the decision is too old to be sent")
    if kind == "o" and moment.left:
        return Withheld("closing", f"the closing leg left {moment.left}: nothing is opened on top of it")
    if not order.reduce_only and moment.left:
        return Withheld("moved", f"{moment.left:+f} came to what it was decided to add to: the next close decides anew")
    return None


def _strayed(moment: Moment, limits: WireLimits) -> Withheld | None:
    offset, most = moment.clock_offset, limits.max_clock_offset
    if most is not None and offset is not None and abs(offset) > most:
        return Withheld(
            "clock",
            f"this machine's clock is {-offset.total_seconds():+.3f} s from the exchange's, over "
            f"{most.total_seconds():g} s; set it right",
        )
    allowed, decided = limits.max_deviation, moment.decided_price
    if allowed is not None and decided and moment.mark is not None:
        strayed = abs(moment.mark / decided - 1)
        if strayed > allowed:
            return Withheld(
                "deviation", f"the mark {moment.mark} is {strayed:.4f} from the decision's {decided}, over {allowed}"
            )
    cap, gross = limits.canary_notional, moment.gross
    if cap is not None and gross is not None and gross > cap * (1 + (allowed or _ZERO)):
        return Withheld("canary_notional", f"all positions would be worth {gross:.2f}, over the canary's {cap}")
    return None
