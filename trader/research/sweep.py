"""Backtests of many signals at once, by arithmetic on arrays.

A sweep asks the backtest's question of thousands of signals and does not ask `decide` at each close. It keeps the same
convention (docs/architecture.md) in float and without steps: sized at equity marked before the fills, filled at the
first price after the close moved against us, a fee on every fill, funding at its stamps, marked after the fills. An
unchanged side is held, or closed and opened anew at every close. Wherever something else than arithmetic may happen (a
liquidation, a margin that does not suffice, a guard), that one signal is walked close by close instead (`walk`).
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from trader.research.path import Floats, Path
from trader.research.walk import Deal, Outcome, walk

_CLOSE_ENOUGH = 4e-16
_ROUNDS = 40
_DOUBT = 1e-9
"""How near to a limit, relatively, a signal is walked: far more than rounding, far less than a price step."""


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


def sides(forecasts: ArrayLike, threshold: float = 0.0) -> NDArray[np.int8]:
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
    rows = np.atleast_2d(np.asarray(signals, dtype=np.float64))
    if rows.ndim != 2 or rows.shape[1] != len(path.prices):
        raise ValueError(f"signals of shape {rows.shape} do not fit a path of {len(path.prices)} closes")
    if not (rows * rows == np.abs(rows)).all():
        raise ValueError("a signal is a side at each close: -1, 0 or 1")
    found = [_one(row, path, deal) or walk(row, path, deal) for row in rows]
    return Swept(
        deal.equity,
        np.array([one.equity for one in found]),
        np.array([one.fees for one in found]),
        np.array([one.funding for one in found]),
        np.array([one.stopped for one in found], dtype=np.int64),
    )


class _Stretches(NamedTuple):
    """Runs of closes over which a quantity is held: where each starts, its side, and price and funding there."""

    starts: NDArray[np.int64]
    side: Floats
    price: Floats
    funding: Floats


def _one(side: Floats, path: Path, deal: Deal) -> Outcome | None:
    """Backtest one signal; None where it must be walked."""
    changed = np.ones(len(side), dtype=np.bool_)
    if not deal.reopen:
        np.not_equal(side[1:], side[:-1], out=changed[1:])
    starts = np.flatnonzero(changed)
    at = _Stretches(starts, side[starts], path.prices[starts], path.funding[starts])
    opening = np.abs(at.side) * (deal.move + deal.fee * (1 + at.side * deal.move))
    # what the close at the start of the next stretch costs, per unit of base
    closing = np.abs(at.side[:-1]) * at.price[1:] * (deal.move + deal.fee * (1 - at.side[:-1] * deal.move))
    gain = at.side[:-1] * (np.diff(at.price) - np.diff(at.funding))
    if deal.capital is None:
        money = _compounded(at, gain, opening, closing, deal)
        if money is None:
            return None
        size = deal.exposure * money / at.price
    else:
        size = deal.exposure * deal.capital / at.price
        steps = size[:-1] * (gain - opening[:-1] * at.price[:-1])
        steps[1:] -= size[:-2] * closing[:-1]
        money = deal.equity + np.concatenate(([0.0], np.cumsum(steps)))
    held = size * at.side
    closed = np.concatenate(([0.0], np.abs(held[:-1]) * closing))
    after = money - closed - np.abs(held) * at.price * opening
    if _doubtful(at, money, closed, after, held, path, deal):
        return None
    lengths = np.diff(np.append(starts, len(side)))
    moving = path.prices - path.funding
    equity = np.repeat(after - held * (at.price - at.funding), lengths) + np.repeat(held, lengths) * moving
    if deal.max_drawdown < 1 and _breached(equity, money, starts, deal):
        return None
    traded = np.abs(held) * at.price * (1 + at.side * deal.move)
    traded_back = np.abs(held[:-1]) * at.price[1:] * (1 - at.side[:-1] * deal.move)
    paid = float(held @ (np.append(at.funding[1:], path.funding[-1]) - at.funding))
    return Outcome(equity, deal.fee * float(traded.sum() + traded_back.sum()), -paid, -1)


def _compounded(at: _Stretches, gain: Floats, opening: Floats, closing: Floats, deal: Deal) -> Floats | None:
    """Return the money before the fills of each stretch, where each size is a share of that money.

    A close is paid for after the next size was set, so money follows from the two stretches before it:
    E[j+1] = a[j] E[j] - b[j] E[j-1]. The ratio r = E[j+1] / E[j] is a[j] - b[j] / r[j-1]; b is a cost, a few parts in
    a thousand, so that putting r into its own right side gains as many digits each time.
    """
    kept = 1 + deal.exposure * (gain / at.price[:-1] - opening[:-1])
    lost = deal.exposure * closing[:-1] / at.price[:-2]
    ratio = kept.copy()
    if len(lost) and (deal.fee or deal.move):
        with np.errstate(all="ignore"):
            for _ in range(_ROUNDS):
                again = kept.copy()
                again[1:] -= lost / ratio[:-1]
                change = np.abs(again - ratio).max()
                ratio = again
                if not change > _CLOSE_ENOUGH:
                    break
            else:
                return None
    if not (ratio > 0).all():
        return None
    return deal.equity * np.concatenate(([1.0], np.cumprod(ratio)))


def _doubtful(
    at: _Stretches, money: Floats, closed: Floats, after: Floats, held: Floats, path: Path, deal: Deal
) -> bool:
    """Whether an opening may be refused, or a position liquidated or short of margin."""
    most = deal.max_leverage
    if most is not None and (np.abs(held) * at.price > most * (money - _DOUBT * np.abs(money))).any():
        return True
    if deal.leverage is None:
        return False
    filled = np.abs(held) * at.price * (1 + at.side * deal.move)
    margin = filled / deal.leverage
    room = money - closed - margin - filled * deal.fee
    if (room < _DOUBT * money).any():
        return True
    if path.bars is None:
        return False
    lengths = np.diff(np.append(at.starts, len(path.prices) - 1))
    units, bound = np.repeat(held, lengths), np.repeat(margin, lengths)
    cost = np.repeat(held * at.price * (1 + at.side * deal.move), lengths)
    lowest, highest = path.bars.worst
    worst = np.where(units > 0, lowest[: len(units)], highest[: len(units)])
    notional = np.abs(units) * worst
    left = bound + units * worst - cost
    if (left <= deal.maintenance(notional) + _DOUBT * notional)[units != 0].any():
        return True
    # the wallet pays funding, and what it cannot pay comes off the margin
    wallet = np.repeat(after + np.abs(held) * at.price * deal.move, lengths)
    since = np.repeat(at.funding, lengths)
    return bool((wallet - units * (path.funding[1:] - since) < bound * (1 + _DOUBT))[units != 0].any())


def _breached(equity: Floats, money: Floats, starts: NDArray[np.int64], deal: Deal) -> bool:
    """Whether the drawdown guard may trip at a close; it looks at money before the fills."""
    before = equity.copy()
    before[starts] = money
    peak = np.maximum.accumulate(np.maximum(before, deal.equity))
    return bool((1 - before / peak >= deal.max_drawdown - _DOUBT).any())
