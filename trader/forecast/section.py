"""Arithmetic across the symbols of a close: matrices (closes, symbols), each close by itself.

A mask says which symbols take part; where it is False the result is NaN (or 0 where it counts). Those that do are
pushed together first, in the order of their columns, and sums run along them one after the other, so that a close comes
out the same, bit for bit, alone or among a thousand others, and whatever symbols stand idle beside it.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from trader.market.panel import TENTHS, Array, Mask

Whole = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Places:
    """Where a mask's symbols stand, and where they are pushed to: `count` of each close, (closes, 1)."""

    shape: tuple[int, ...]
    rows: Whole
    columns: Whole
    pushed: Whole
    count: Whole

    @classmethod
    def of(cls, mask: Mask) -> "Places":
        """Read a mask (closes, symbols)."""
        rows, columns = np.nonzero(mask)
        count = np.asarray(mask.sum(axis=1, keepdims=True, dtype=np.int64))
        starts = np.cumsum(count[:, 0]) - count[:, 0]
        return cls(mask.shape, rows, columns, np.arange(len(rows)) - starts[rows], count)

    @property
    def most(self) -> int:
        """How many symbols take part in a close at most."""
        return int(self.count.max(initial=0))

    def push(self, values: Array, empty: float) -> Array:
        """Push the values that take part together; what is left of each row is `empty`."""
        pushed = np.full((self.shape[0], self.most), empty)
        pushed[self.rows, self.pushed] = values[self.rows, self.columns]
        return pushed

    def spread(self, pushed: Array, empty: float) -> Array:
        """Put values back to their symbols; `empty` elsewhere."""
        found = np.full(self.shape, empty)
        found[self.rows, self.columns] = pushed[self.rows, self.pushed]
        return found


def total(pushed: Array) -> Array:
    """Return the sum of each close, (closes, 1), of values pushed together before zeros."""
    if not pushed.shape[1]:
        return np.zeros((len(pushed), 1))
    return np.cumsum(pushed, axis=1)[:, -1:]


def winsorised(values: Array, mask: Mask, share: float) -> Array:
    """Bring values beyond the `share` and the 1 - `share` quantile of their close to that quantile (nearest rank)."""
    places = Places.of(mask)
    if not places.most:
        return np.full(mask.shape, np.nan)
    ordered = np.sort(places.push(values, np.inf), axis=1)
    last = np.maximum(places.count - 1, 0)
    low = np.take_along_axis(ordered, _nearest(share * last), axis=1)[places.rows, 0]
    high = np.take_along_axis(ordered, _nearest((1.0 - share) * last), axis=1)[places.rows, 0]
    found = np.full(mask.shape, np.nan)
    found[places.rows, places.columns] = np.minimum(np.maximum(values[places.rows, places.columns], low), high)
    return found


def standardised(values: Array, mask: Mask) -> Array:
    """Return values less their mean, over their sample deviation; NaN in a close where nothing differs."""
    places = Places.of(mask)
    pushed = places.push(values, 0.0)
    apart = pushed - total(pushed) / np.maximum(places.count, 1)
    apart[np.arange(places.most) >= places.count] = 0.0
    variance = total(apart * apart) / np.maximum(places.count - 1, 1)
    differs = (places.count > 1) & (variance > 0)
    return places.spread(apart / np.sqrt(np.where(differs, variance, np.nan)), np.nan)


def tenths(values: Array, mask: Mask) -> Whole:
    """Part the symbols of a close into tenths by rank, 1 (the smallest) to 10; equal values share their mean rank."""
    places = Places.of(mask)
    found = np.zeros(mask.shape, dtype=np.int64)
    if not places.most:
        return found
    pushed = places.push(values, np.inf)
    order = np.argsort(pushed, axis=1, kind="stable")
    ordered = np.take_along_axis(pushed, order, axis=1)
    stand = np.arange(order.shape[1])
    new = np.ones(order.shape, dtype=bool)
    new[:, 1:] = ordered[:, 1:] != ordered[:, :-1]
    first = np.maximum.accumulate(np.where(new, stand, 0), axis=1)
    ends = np.ones(order.shape, dtype=bool)
    ends[:, :-1] = new[:, 1:]
    last = np.minimum.accumulate(np.where(ends, stand, order.shape[1])[:, ::-1], axis=1)[:, ::-1]
    twice = np.empty(order.shape, dtype=np.int64)
    np.put_along_axis(twice, order, first + last, axis=1)  # twice the mean rank, counted from 0
    ranks = twice[places.rows, places.pushed]
    found[places.rows, places.columns] = ranks * TENTHS // (2 * places.count[places.rows, 0]) + 1
    return found


def _nearest(place: Array) -> Whole:
    return np.floor(place + 0.5).astype(np.int64)
