"""Arithmetic across the symbols of a close: matrices (closes, symbols), each close by itself.

A mask says which symbols take part; where it is False the result is NaN (or 0 where it counts). Sums run along the
columns one after the other, and what takes no part adds an exact zero, so that a row comes out the same, bit for bit,
alone or among a thousand others, and whatever symbols stand idle beside it.
"""

import numpy as np
from numpy.typing import NDArray

from trader.market.panel import TENTHS, Array, Mask


def total(values: Array, mask: Mask) -> Array:
    """Return the sum of each close, (closes, 1)."""
    return np.cumsum(np.where(mask, values, 0.0), axis=1)[:, -1:]


def size(mask: Mask) -> NDArray[np.int64]:
    """Return how many symbols take part in each close, (closes, 1)."""
    return np.asarray(mask.sum(axis=1, keepdims=True, dtype=np.int64))


def winsorised(values: Array, mask: Mask, share: float) -> Array:
    """Bring values beyond the `share` and the 1 - `share` quantile of their close to that quantile (nearest rank)."""
    ordered = np.sort(np.where(mask, values, np.inf), axis=1)
    last = np.maximum(size(mask) - 1, 0)
    low = np.take_along_axis(ordered, _nearest(share * last), axis=1)
    high = np.take_along_axis(ordered, _nearest((1.0 - share) * last), axis=1)
    return np.where(mask, np.clip(values, low, high), np.nan)


def standardised(values: Array, mask: Mask) -> Array:
    """Return values less their mean, over their sample deviation; NaN in a close where nothing differs."""
    count = size(mask)
    mean = total(values, mask) / np.maximum(count, 1)
    apart = np.where(mask, values - mean, 0.0)
    variance = total(apart * apart, mask) / np.maximum(count - 1, 1)
    differs = (count > 1) & (variance > 0)
    return np.where(mask & differs, apart / np.sqrt(np.where(differs, variance, 1.0)), np.nan)


def tenths(values: Array, mask: Mask) -> NDArray[np.int64]:
    """Part the symbols of a close into tenths by rank, 1 (the smallest) to 10; equal values share their mean rank."""
    order = np.argsort(np.where(mask, values, np.inf), axis=1, kind="stable")
    ordered = np.take_along_axis(values, order, axis=1)
    places = np.broadcast_to(np.arange(order.shape[1]), order.shape)
    new = np.ones(order.shape, dtype=bool)
    new[:, 1:] = ordered[:, 1:] != ordered[:, :-1]
    first = np.maximum.accumulate(np.where(new, places, 0), axis=1)
    ends = np.roll(new, -1, axis=1)
    ends[:, -1] = True
    last = np.minimum.accumulate(np.where(ends, places, order.shape[1])[:, ::-1], axis=1)[:, ::-1]
    twice = np.empty(order.shape, dtype=np.int64)
    np.put_along_axis(twice, order, first + last, axis=1)  # twice the mean rank, counted from 0
    return np.where(mask, twice * TENTHS // (2 * np.maximum(size(mask), 1)) + 1, 0)


def _nearest(place: Array) -> NDArray[np.int64]:
    return np.floor(place + 0.5).astype(np.int64)
