"""A sign backtest of 1,641 bars."""

from benchmarks.frame import Check, Row, Skipped, interleaved
from benchmarks.sign_ways import FEE, backtesting_py, loop, market
from trader.research.path import Path
from trader.research.sweep import Swept, sweep
from trader.research.walk import Deal

_BARS = 1641


def measure() -> Row:
    prices, sides = market(_BARS, _BARS // 2)
    path, deal = Path.of_prices(prices), Deal(fee=FEE)

    def ours() -> Swept:
        return sweep(sides, path, deal)

    ways, note = [ours], ""
    try:
        ways.append(backtesting_py(prices, sides))
    except Skipped as reason:
        note = f"{reason}; equality with a plain loop is all that is measured"
    seconds, *peers = interleaved(*ways)
    worst = max(abs(a - b) for a, b in zip(ours().equity[0].tolist(), loop(prices, sides), strict=True))
    checks = {"loop": Check.true(worst <= 1e-12, "equal to a plain loop within 1e-12", worst)}
    if peers:
        checks["backtesting.py"] = Check.faster(seconds, peers[0], 100)
    return Row(f"sign backtest, {_BARS:,} bars", seconds, checks, note)
