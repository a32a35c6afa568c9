"""Backtests of many signals at once, by arithmetic on arrays.

A sweep asks the backtest's question of thousands of signals and does not ask `decide` at each close. It keeps the same
convention (docs/architecture.md) in float and without steps: sized at equity marked before the fills, filled at the
first price after the close moved against us, a fee on every fill, funding at its stamps, marked after the fills. An
unchanged side is held, or closed and opened anew at every close. Wherever something else than arithmetic may happen (a
liquidation, a margin that does not suffice, a guard), that one signal is walked close by close instead (`walk`).
"""

from dataclasses import dataclass
from math import sqrt
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from trader.research.path import Floats, Path
from trader.research.walk import Deal, Outcome, walk

_CLOSE_ENOUGH = 4e-16
_SLOW = 0.25
"""By how much of itself an error must shrink each time, or the signal is walked."""
_PIECE = 16384
"""Closes worked out at a time: arrays that fit into a cache, because fetching memory costs more than arithmetic."""
_DOUBT = 1e-9
"""How near to a limit, relatively, a signal is walked: far more than rounding, far less than a price step."""


Sides = NDArray[np.int8]


@dataclass(frozen=True)
class Swept:
    """What each signal came to: `equity` (signals, closes) after each close's fills, fees and funding in money.

    `start` is the money each began with, `stopped` the close by which trading had ended for good (a liquidation or a
    drawdown), -1 where it never did.
    """

    start: float
    equity: Floats
    fees: Floats
    funding: Floats
    stopped: NDArray[np.int64]

    @property
    def net_return(self) -> Floats:
        """Return the last equity over the first money, less one."""
        return self.equity[:, -1] / self.start - 1


def sides(forecasts: ArrayLike, threshold: float = 0.0) -> Sides:
    """Follow the sign of each forecast, and keep the side before it where it is zero or below the threshold.

    What the sign policy does close by close, for (signals, closes) or one signal; flat until a first forecast counts.
    """
    values = np.asarray(forecasts, dtype=np.float64)
    said = (np.abs(values) >= threshold) & (values != 0)
    last = np.maximum.accumulate(np.where(said, np.arange(values.shape[-1]), -1), axis=-1)
    signs = np.take_along_axis(np.sign(values), np.maximum(last, 0), axis=-1)
    return np.where(last >= 0, signs, 0).astype(np.int8)


def sweep(signals: ArrayLike, path: Path, deal: Deal) -> Swept:
    """Backtest sides, one row a signal: -1, 0 or 1 at each close of the path.

    Raises:
        ValueError: the rows are not as long as the path, or hold something else than sides.
    """
    given = np.atleast_2d(np.asarray(signals))
    rows = given.astype(np.int8)
    if given.ndim != 2 or given.shape[1] != len(path.prices):
        raise ValueError(f"signals of shape {given.shape} do not fit a path of {len(path.prices)} closes")
    if rows.min(initial=0) < -1 or rows.max(initial=0) > 1 or not np.array_equal(rows, given):
        raise ValueError("a signal is a side at each close: -1, 0 or 1")
    found = [_one(row, path, deal) or walk(row.astype(np.float64), path, deal) for row in rows]
    return Swept(
        deal.equity,
        found[0].equity[None] if len(found) == 1 else np.array([one.equity for one in found]),
        np.array([one.fees for one in found]),
        np.array([one.funding for one in found]),
        np.array([one.stopped for one in found], dtype=np.int64),
    )


class _Stretches(NamedTuple):
    """Runs of closes over which a quantity is held: where each starts, its side, and price and funding there.

    `of` is the stretch that each close is in.
    """

    of: NDArray[np.int64]
    starts: NDArray[np.int64]
    side: Floats
    price: Floats
    funding: Floats


class _Piece(NamedTuple):
    """Some stretches worked out: money before the fills of each, what closing the last one costs, and what is held."""

    at: _Stretches
    money: Floats
    closed: Floats
    after: Floats
    held: Floats


def _one(side: Sides, path: Path, deal: Deal) -> Outcome | None:
    """Backtest one signal piece by piece; None where it must be walked."""
    equity = np.empty(len(side))
    before = np.empty(len(side)) if deal.max_drawdown < 1 else None
    fees = funding = 0.0
    first, money, owed = 0, deal.equity, 0.0
    while first < len(side):
        last = _cut(side, first, deal)
        stop = len(side) if last == len(side) - 1 else last
        piece = _piece(side[first : last + 1], path, first, (money, owed), deal)
        if piece is None or _doubtful(piece, path, first, last, deal):
            return None
        at, held = piece.at, piece.held
        fixed = np.stack((piece.after - held * (at.price - at.funding), held), axis=1)
        each = fixed.take(at.of[: stop - first], axis=0)
        worth = equity[first:stop]
        np.subtract(path.prices[first:stop], path.funding[first:stop], out=worth)
        worth *= each[:, 1]
        worth += each[:, 0]
        whole = stop == len(side)
        if before is not None:
            before[first:stop] = worth
            inside = len(at.starts) if whole else -1
            before[first + at.starts[:inside]] = piece.money[:inside]
        ended, begun = held[:-1], held if whole else held[:-1]
        fees += _product(np.abs(ended), at.price[1:] * (1 - at.side[:-1] * deal.move))
        fees += _product(np.abs(begun), (at.price * (1 + at.side * deal.move))[: len(begun)])
        funding -= _product(ended, np.diff(at.funding))
        if whole:
            funding -= float(held[-1] * (path.funding[last] - at.funding[-1]))
        first, money, owed = stop, float(piece.money[-1]), float(piece.closed[-1])
    if before is not None and _breached(before, deal):
        return None
    return Outcome(equity, deal.fee * fees, funding, -1)


def _product(left: Floats, right: Floats) -> float:
    """Return the sum of products in one thread; a library would wake others, and wait for them longer than it works."""
    return float(np.einsum("i,i", left, right))


def _cut(side: Sides, first: int, deal: Deal) -> int:
    """Return the close at which a piece ends: the last start of a stretch within reach, else the last close of all."""
    reach = _PIECE
    while first + reach < len(side) - 1:
        if deal.reopen:
            return first + reach
        changes = side[first + 1 : first + reach + 1] != side[first : first + reach]
        back = int(changes[::-1].argmax())
        if changes[reach - 1 - back]:
            return first + reach - back
        reach *= 2
    return len(side) - 1


def _piece(side: Sides, path: Path, first: int, before: tuple[float, float], deal: Deal) -> _Piece | None:
    """Work out some closes; `before` is the money at the first of them, and what closing what was held costs there."""
    changed = np.ones(len(side), dtype=np.bool_)
    if not deal.reopen:
        np.not_equal(side[1:], side[:-1], out=changed[1:])
    starts = np.flatnonzero(changed)
    places = starts + first
    sign = side[starts]
    of = np.cumsum(changed.view(np.int8), dtype=np.int64)
    of -= 1
    at = _Stretches(of, starts, sign.astype(np.float64), path.prices[places], path.funding[places])
    # what an opening costs per unit of notional, and the close at the start of the next stretch per unit of base
    opening, closing = _costs(at.side, deal)
    closing = closing[:-1] * at.price[1:]
    gain = np.diff(at.price)
    gain -= np.diff(at.funding)
    gain *= at.side[:-1]
    if deal.capital is None:
        found = _compounded(at, gain, opening, closing, before, deal)
        if found is None:
            return None
        money = found
        size = deal.exposure * money / at.price
    else:
        size = deal.exposure * deal.capital / at.price
        steps = size[:-1] * (gain - opening[:-1] * at.price[:-1])
        steps[1:] -= size[:-2] * closing[:-1]
        steps[:1] -= before[1]
        money = before[0] + np.concatenate(([0.0], np.cumsum(steps)))
    held = size * at.side
    closed = np.concatenate(([before[1]], np.abs(held[:-1]) * closing))
    return _Piece(at, money, closed, money - closed - np.abs(held) * at.price * opening, held)


def _costs(side: Floats, deal: Deal) -> tuple[Floats, Floats]:
    """Return what opening each side costs and what closing it costs, per unit of notional; nothing where it is flat."""
    tilted = side * (deal.fee * deal.move)
    level: Floats | float = deal.move + deal.fee
    if not side.all():
        level = np.abs(side) * level
    return level + tilted, level - tilted


def _compounded(
    at: _Stretches, gain: Floats, opening: Floats, closing: Floats, before: tuple[float, float], deal: Deal
) -> Floats | None:
    """Return the money before the fills of each stretch, where each size is a share of that money.

    A close is paid for after the next size was set, so money follows from the two stretches before it:
    E[j+1] = a[j] E[j] - b[j] E[j-1]. The ratio r = E[j+1] / E[j] is a[j] - b[j] / r[j-1]; b is a cost, a few parts in
    a thousand, so that putting r into its own right side gains as many digits each time.
    """
    money, owed = before
    kept = gain / at.price[:-1]
    kept -= opening[:-1]
    kept *= deal.exposure
    kept += 1
    kept[:1] -= owed / money
    ratio = kept
    if len(kept) > 1 and (deal.fee or deal.move):
        lost = closing[:-1] / at.price[:-2]
        lost *= deal.exposure
        found = _ratio(kept, lost)
        if found is None:
            return None
        ratio = found
    if not ratio.min(initial=1.0) > 0:
        return None
    return money * np.concatenate(([1.0], np.cumprod(ratio)))


def _ratio(kept: Floats, lost: Floats) -> Floats | None:
    """Solve r[j] = kept[j] - lost[j] / r[j-1]; None where that settles slowly or not at all.

    No r is below the larger root of r = min(kept) - max(lost) / r, and an error shrinks each time by max(lost) / r**2
    at least; so it is known beforehand how often is enough.
    """
    most, least = float(lost.max()), float(kept.min())
    room = least * least - 4 * most
    if not (least > 0 and room > 0):
        return None
    lowest = (least + sqrt(room)) / 2
    error, shrinks = most / lowest, most / (lowest * lowest)
    if shrinks > _SLOW:
        return None
    ratio, change = kept.copy(), np.empty_like(lost)
    while error > _CLOSE_ENOUGH:
        np.divide(lost, ratio[:-1], out=change)
        np.subtract(kept[1:], change, out=ratio[1:])
        error *= shrinks
    return ratio


def _doubtful(piece: _Piece, path: Path, first: int, last: int, deal: Deal) -> bool:
    """Whether an opening may be refused, or a position liquidated or short of margin."""
    at, money, held = piece.at, piece.money, piece.held
    most = deal.max_leverage
    if most is not None and (np.abs(held) * at.price > most * (money - _DOUBT * np.abs(money))).any():
        return True
    if deal.leverage is None:
        return False
    filled = np.abs(held) * at.price * (1 + at.side * deal.move)
    margin = filled / deal.leverage
    room = money - piece.closed - margin - filled * deal.fee
    if (room < _DOUBT * money).any():
        return True
    if path.bars is None:
        return False
    lengths = np.diff(np.append(at.starts, last - first))
    units, bound = np.repeat(held, lengths), np.repeat(margin, lengths)
    cost = np.repeat(held * at.price * (1 + at.side * deal.move), lengths)
    lowest, highest = path.bars.worst
    worst = np.where(units > 0, lowest[first:last], highest[first:last])
    notional = np.abs(units) * worst
    left = bound + units * worst - cost
    if (left <= deal.maintenance(notional) + _DOUBT * notional)[units != 0].any():
        return True
    # the wallet pays funding, and what it cannot pay comes off the margin
    wallet = np.repeat(piece.after + np.abs(held) * at.price * deal.move, lengths)
    since = np.repeat(at.funding, lengths)
    paid = path.funding[first + 1 : last + 1] - since
    return bool((wallet - units * paid < bound * (1 + _DOUBT))[units != 0].any())


def _breached(before: Floats, deal: Deal) -> bool:
    """Whether the drawdown guard may trip at a close; it looks at money before the fills."""
    peak = np.maximum.accumulate(np.maximum(before, deal.equity))
    return bool((1 - before / peak >= deal.max_drawdown - _DOUBT).any())
