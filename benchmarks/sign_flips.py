"""A sign backtest of a million bars whose side changes at every second one."""

import numpy as np

from benchmarks.frame import Check, Row, Skipped, interleaved
from benchmarks.sign_ways import FEE, loop, market, vectorbt
from trader.research.path import Path
from trader.research.sweep import Swept, sweep
from trader.research.walk import Deal

_BARS, _FLIPS = 1_000_000, 500_000


def measure() -> Row:
    prices, sides = market(_BARS, _FLIPS)
    path = Path.of_prices(prices)
    # the size is constant: at this many flips an equity that compounds is eaten by its fees
    compounding, constant = Deal(fee=FEE), Deal(equity=1000.0, capital=1.0, fee=FEE)

    def ours() -> Swept:
        return sweep(sides, path, compounding)

    def ours_constant() -> Swept:
        return sweep(sides, path, constant)

    ways, note = [ours, ours_constant], f"{_FLIPS:,} flips; compounding"
    try:
        ways.append(vectorbt(prices, sides))
    except Skipped as reason:
        note += f"; {reason}"
    seconds, constant_seconds, *peers = interleaved(*ways)
    told = np.array(loop(prices, sides))
    worst = float(np.abs(ours().equity[0] - told).max())
    checks = {"loop": Check.true(worst <= 1e-12, "equal to a plain loop within 1e-12", worst)}
    if peers:
        checks["vectorbt"] = Check.faster(seconds, peers[0], 10)
    return Row(f"sign backtest, {_BARS:,} bars", seconds, checks, f"{note}; constant size {constant_seconds:.3g} s")
