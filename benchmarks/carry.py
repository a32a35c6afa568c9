"""The carry pipeline: from candles to a book of many symbols, day by day."""

from dataclasses import replace

import numpy as np

from benchmarks.carry_ways import COST, DAY, day_loop, market, signals
from benchmarks.frame import Check, Row, interleaved
from trader.forecast.carry import CarryForecaster
from trader.market.panel import panel_of
from trader.portfolio.inverse_volatility import InverseVolatilityAllocator
from trader.portfolio.policy import TenthPolicy
from trader.research.basket import Basket, carry_basket, walk, wishes_of


def measure() -> Row:
    candles = market()
    forecaster, policy = CarryForecaster(), TenthPolicy()
    # the research knows no limit of the net weight: compared is what both do, and what the limit takes is told
    allocator = InverseVolatilityAllocator(DAY.per_year)
    levelled = replace(allocator, net=0.2)
    rows = signals(candles)
    panel = panel_of(candles, DAY)
    section = forecaster.section(panel)
    wished, buffer = wishes_of(section, policy, allocator)

    def ours() -> Basket:
        return carry_basket(panel_of(candles, DAY), forecaster, policy, allocator, COST)

    def our_loop() -> Basket:
        return walk(panel, section.members, wished, buffer, allocator, COST)

    def levelled_loop() -> Basket:
        return walk(panel, section.members, *wishes_of(section, policy, levelled), levelled, COST)

    def theirs() -> list[float]:
        return day_loop(signals(candles))

    def their_loop() -> list[float]:
        return day_loop(rows)

    whole, loop, net, seed, seed_loop = interleaved(ours, our_loop, levelled_loop, theirs, their_loop, times=5)
    book = our_loop()
    gross = float(np.abs(book.weights).sum(axis=1).max())
    checks = {
        "pipeline": Check.faster(whole, seed, 40),
        "day loop": Check.faster(loop, seed_loop, 80),
        "limits": Check.true(gross <= allocator.gross + 1e-9, "gross within its limit", gross),
    }
    note = (
        f"{candles.height:,} candles, {len(book.traded):,} days; day loop {loop:.3g} s, with the wishes and a limit of "
        f"the net weight {net:.3g} s; the research's structure does less: no funding, no turnover that binds; its "
        "frames run on every core"
    )
    return Row("carry pipeline", whole, checks, note)
