"""How much a symbol moves, from a fixed window of its last returns."""

import numpy as np

from trader.market.panel import Array, Mask, rolling_count, windowed_sum


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
    # a column is measured by itself, and most symbols are wanted at no close
    columns = np.flatnonzero(wanted.any(axis=0))
    read = returns[:, columns]
    known = np.isfinite(read)
    squares = np.where(known, read, 0.0)
    squares *= squares
    age = rolling_count(known, window)
    rows, places = np.nonzero(wanted[:, columns] & (age > 0))
    last = age[rows, places] - 1
    blended = np.zeros(len(last))
    for span in spans:
        decay = 1.0 - 2.0 / (span + 1.0)
        weights = np.cumsum(decay ** np.arange(window, dtype=np.float64))
        blended += 0.5 * (windowed_sum(squares, window, decay)[rows, places] / weights[last])
    found = np.full(returns.shape, np.nan)
    found[rows, columns[places]] = np.sqrt(blended)
    return found


def realised_volatility(returns: Array, wanted: Mask, window: int) -> Array:
    """Return the root mean square of the last `window` returns (fewer where a symbol is younger), per candle."""
    known = np.isfinite(returns)
    squares = np.where(known, returns, 0.0)
    total, count = windowed_sum(squares * squares, window), rolling_count(known, window)
    return np.where(wanted & (count > 0), np.sqrt(total / np.maximum(count, 1)), np.nan)
