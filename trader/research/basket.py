"""A portfolio close by close in plain numbers: matrices for what is known, one small loop for what is held.

Money is a factor here, prices move from close to close, and nothing is rounded: for sweeps, folds and simple rules.
`backtest` makes the daemon's own decisions in money.
"""

from dataclasses import dataclass, replace

import numpy as np

from trader.forecast.carry import CarryForecaster, Section
from trader.market.panel import Array, Mask, Panel
from trader.portfolio.inverse_volatility import InverseVolatilityAllocator
from trader.portfolio.policy import TenthPolicy


@dataclass(frozen=True, slots=True)
class Basket:
    """What a portfolio did, one row a close.

    `weights` (closes, symbols) are those held after it, `traded` what was traded for them, `cost` what that took, all
    as fractions of the equity before it. `prices` and `funding` are what the candle after it brought (0 after the
    last), `earned` that candle's simple return after the costs of its beginning.
    """

    weights: Array
    traded: Array
    cost: Array
    prices: Array
    funding: Array

    @property
    def earned(self) -> Array:
        """Return the simple return of each candle, costs paid at its beginning."""
        return np.asarray((1.0 - self.cost) * (1.0 + self.prices + self.funding) - 1.0)


def wishes_of(section: Section, policy: TenthPolicy, allocator: InverseVolatilityAllocator) -> tuple[Array, Array]:
    """Return the weights wished and the buffers around them, of every close at once."""
    volatility = np.where(section.members, section.volatility, 1.0)
    wished = allocator.wished(policy.targets(section.tenth), volatility, section.members)
    return wished, allocator.buffer(volatility, np.where(section.members, section.spread, 0.0))


def walk(
    panel: Panel, members: Mask, wished: Array, buffer: Array, allocator: InverseVolatilityAllocator, cost: float
) -> Basket:
    """Hold what is wished, close after close.

    A symbol whose candles end before the panel's is given up at the close of its last one. A close without a member is
    not decided: what is held stays. Funding that nobody knows of a symbol that is held counts as none.

    Args:
        panel: prices and funding.
        members: who may be held from each close on.
        wished: as `wishes_of` says.
        buffer: as `wishes_of` says.
        allocator: its limits, and how it trades towards a wish.
        cost: of trading one unit of notional.
    """
    # whoever is no member at any close is never held: what is known of it matters to nothing here
    columns = np.flatnonzero(members.any(axis=0))
    closes, symbols = len(panel.close), len(columns)
    members, wished, buffer = members[:, columns], wished[:, columns], buffer[:, columns]
    close = panel.close[:, columns]
    moves = np.zeros((closes, symbols))
    np.divide(close[1:], close[:-1], out=moves[:-1])
    moves[:-1] -= 1.0
    paid = np.zeros((closes, symbols))
    paid[:-1] = panel.paid.rates[1:, columns]
    for unknown in (moves, paid):
        np.putmask(unknown, np.isnan(unknown), 0.0)
    listed = np.isfinite(close)
    gone: Mask = np.zeros((closes, symbols), dtype=np.bool_)
    gone[:-1] = listed[:-1] & ~listed[1:]
    busy = set(np.flatnonzero(members.any(axis=1)).tolist())
    leaving = set(np.flatnonzero(gone.any(axis=1)).tolist())
    weights, traded = np.zeros((closes, symbols)), [0.0] * closes
    brought, grown = moves - paid, 1.0 + moves
    low, high = wished - buffer, wished + buffer
    held = np.zeros(symbols)
    each = zip(weights, wished, low, high, members, gone, brought, grown, strict=True)
    for row, (kept, wish, least, most, member, ends, profit, factor) in enumerate(each):
        lost = ends if row in leaving else None
        if row in busy:
            after, traded[row] = allocator.rebalanced(held, wish, least, most, member, lost)
        else:
            after = held if lost is None else np.where(lost, 0.0, held)
            traded[row] = float(np.abs(after - held).sum())
        kept[:] = after
        growth = 1.0 + float(after.dot(profit))
        held = after * factor
        held = held / growth if growth > 0 else np.zeros(symbols)
    spent = np.array(traded)
    prices, funding = (weights * moves).sum(axis=1), -(weights * paid).sum(axis=1)
    everyone = np.zeros(panel.close.shape)
    everyone[:, columns] = weights
    return Basket(everyone, spent, cost * spent, prices, funding)


def carry_basket(
    panel: Panel, forecaster: CarryForecaster, policy: TenthPolicy, allocator: InverseVolatilityAllocator, cost: float
) -> Basket:
    """Walk the carry strategy over a panel."""
    universe = forecaster.universe(panel)
    # most symbols are in the universe of no close, and nothing of theirs matters to those that are
    columns = np.flatnonzero(universe.any(axis=0))
    few = panel.only(columns)
    section = forecaster.scored(few, universe[:, columns])
    wished, buffer = wishes_of(section, policy, allocator)
    found = walk(few, section.members, wished, buffer, allocator, cost)
    weights = np.zeros(panel.close.shape)
    weights[:, columns] = found.weights
    return replace(found, weights=weights)
