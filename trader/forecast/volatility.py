"""How much a symbol moves, from a fixed window of its last returns."""

import numpy as np

from trader.market.panel import Array, Mask


def blended_volatility(returns: Array, wanted: Mask, spans: tuple[int, int], window: int) -> Array:
    """Return the root of the mean of two exponential averages of squared returns, per candle; NaN where not wanted.

    Each average reads the last `window` returns at most and renormalises its weights over those that are there, so that
    a symbol younger than the window has an unbiased one too, and none depends on how much history lies before.

    Args:
        returns: log returns (closes, symbols); a symbol's are without holes from its first to its last.
        wanted: where a result is needed; at least one return must end there.
        spans: of the two averages, in candles (a weight decays by 1 - 2 / (span + 1) a candle).
        window: how many returns are read.
    """
    rows, columns = np.nonzero(wanted)
    known = np.isfinite(returns)
    squares = np.zeros((returns.shape[1], window - 1 + returns.shape[0]))
    squares[:, window - 1 :] = np.where(known, returns, 0.0).T ** 2
    age = np.minimum(np.cumsum(known, axis=0), window)[rows, columns]
    where = columns * squares.shape[1] + rows + window - 1
    flat = squares.ravel()
    decays = [1.0 - 2.0 / (span + 1.0) for span in spans]
    sums = [np.zeros(len(rows)) for _ in spans]
    square, weighted = np.empty(len(rows)), np.empty(len(rows))
    for lag in range(window):
        np.take(flat, where, out=square, mode="clip")
        for decay, running in zip(decays, sums, strict=True):
            np.multiply(square, decay**lag, out=weighted)
            running += weighted
        where -= 1
    blended = np.zeros(len(rows))
    for decay, running in zip(decays, sums, strict=True):
        weights = np.cumsum(decay ** np.arange(window, dtype=np.float64))
        blended += 0.5 * (running / weights[np.maximum(age, 1) - 1])
    found = np.full(returns.shape, np.nan)
    found[rows, columns] = np.where(age > 0, np.sqrt(blended), np.nan)
    return found


def realised_volatility(returns: Array, wanted: Mask, window: int) -> Array:
    """Return the root mean square of the last `window` returns (fewer where a symbol is younger), per candle."""
    known = np.isfinite(returns)
    squares = np.where(known, returns, 0.0) ** 2
    total, count = squares.copy(), known.astype(np.int64)
    for lag in range(1, min(window, len(returns))):
        total[lag:] += squares[:-lag]
        count[lag:] += known[:-lag]
    return np.where(wanted & (count > 0), np.sqrt(total / np.maximum(count, 1)), np.nan)
