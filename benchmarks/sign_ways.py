"""A sign backtest done by others, and by a plain loop: every change of side trades the whole equity, with a fee."""

import warnings
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.frame import Skipped

FEE = 0.0005
Floats = NDArray[np.float64]


def market(bars: int, flips: int) -> tuple[Floats, Floats]:
    """Return prices of a random walk, and sides that change at `flips` bars taken at random."""
    chance = np.random.default_rng(7)
    prices = np.exp(np.cumsum(chance.normal(0, 0.001, bars)))
    changes = np.zeros(bars, dtype=np.int64)
    changes[chance.choice(np.arange(1, bars), flips, replace=False)] = 1
    return prices, np.where(np.cumsum(changes) % 2, 1.0, -1.0)


def loop(prices: Floats, sides: Floats, equity: float = 1.0) -> list[float]:
    """Bar after bar in plain floats."""
    wallet, units, entry, told = equity, 0.0, 0.0, []
    for price, side in zip(prices.tolist(), sides.tolist(), strict=True):
        if units * side <= 0:
            size = (wallet + units * (price - entry)) / price
            wallet += units * (price - entry) - abs(units) * price * FEE
            units, entry = side * size, price
            wallet -= size * price * FEE
        told.append(wallet + units * (price - entry))
    return told


def backtesting_py(prices: Floats, sides: Floats) -> Any:
    """Return a run of backtesting.py that goes to the wished side at every change."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            import pandas as pd
            from backtesting import Backtest, Strategy
    except ImportError as missing:
        raise Skipped("backtesting is not installed") from missing
    times = pd.date_range("2022-01-01", periods=len(prices), freq="16h")
    frame = pd.DataFrame(dict.fromkeys(("Open", "High", "Low", "Close"), prices * 1e-3), index=times)

    class Signs(Strategy):  # type: ignore[misc]
        def init(self) -> None:
            self.side = 0.0

        def next(self) -> None:
            side = sides[len(self.data) - 1]
            if side != self.side:
                self.side = side
                self.position.close()
                (self.buy if side > 0 else self.sell)(size=0.99)

    backtest = Backtest(frame, Signs, cash=1e6, commission=FEE, trade_on_close=True, exclusive_orders=True)

    def run() -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            backtest.run()

    return run


def vectorbt(prices: Floats, sides: Floats) -> Any:
    """Return a run of vectorbt's simulation of target percentages, one order at every change of side."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            import vectorbt as vbt
    except ImportError as missing:
        raise Skipped("vectorbt is not installed") from missing
    entries = np.append(True, sides[1:] != sides[:-1])
    longs, shorts = entries & (sides > 0), entries & (sides < 0)

    def run() -> Any:
        return vbt.Portfolio.from_signals(prices, entries=longs, short_entries=shorts, fees=FEE, freq="1h").value()

    return run
