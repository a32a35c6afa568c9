"""Does the account still do what its decisions should? Measured against the expectation, and said in words; pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

WINDOW = 60
"""Closes that are looked back on."""
FEWEST_FILLS = 20
"""Fills before their costs say anything."""


@dataclass(frozen=True, slots=True)
class Point:
    """One close: equity as it was (None where the close was missed) and as it should have been, in USDT."""

    close: datetime
    live: Decimal | None
    expected: Decimal


@dataclass(frozen=True, slots=True)
class FillCost:
    """What one fill cost against the price it was decided at, and what was expected, in USDT; a cost is positive."""

    close: datetime
    realised: Decimal
    expected: Decimal


@dataclass(frozen=True, slots=True)
class DriftLimits:
    """How far reality may fall behind; None asks nothing.

    `max_shortfall` is a fraction of what the account should be worth, over the window; `max_cost_ratio` is what fills
    may cost in all, as a multiple of what was expected.
    """

    max_shortfall: Decimal | None = None
    max_cost_ratio: Decimal | None = None


def shortfall(points: Sequence[Point]) -> Decimal | None:
    """Return how far the account fell behind its expectation over these closes, as a fraction of what it should be.

    Positive is behind. Both begin at the first close that was lived through; None where there are not two of them.
    Money that is paid in or out multiplies both accounts by the same factor, so that it is in neither and what was lost
    before and after it count alike. Where nothing was expected to be left, both begin anew.
    """
    begun: tuple[Decimal, Decimal] | None = None
    behind = None
    for point in points:
        if point.live is None:
            continue
        if point.expected <= 0:
            begun = behind = None
        elif begun is not None:
            behind = 1 - point.live * begun[1] / (begun[0] * point.expected)
        elif point.live > 0:
            begun = point.live, point.expected
    return behind


def cost_ratio(fills: Sequence[FillCost]) -> Decimal | None:
    """Return what fills cost over what was expected; None before there are enough of them, or nothing was expected."""
    expected = sum((fill.expected for fill in fills), Decimal(0))
    if len(fills) < FEWEST_FILLS or expected <= 0:
        return None
    return sum((fill.realised for fill in fills), Decimal(0)) / expected


def alarm(points: Sequence[Point], fills: Sequence[FillCost], limits: DriftLimits) -> str | None:
    """Say what has drifted beyond its limit over the window that the points span; None where nothing has."""
    behind, ratio = shortfall(points), cost_ratio(fills)
    if limits.max_shortfall is not None and behind is not None and behind > limits.max_shortfall:
        return (
            f"over {len(points)} closes the account fell {behind:.2%} of its equity behind what its decisions should "
            f"have earned, over the limit {limits.max_shortfall:.2%}"
        )
    if limits.max_cost_ratio is not None and ratio is not None and ratio > limits.max_cost_ratio:
        return f"the last {len(fills)} fills cost {ratio:.1f} times what was expected, over {limits.max_cost_ratio}"
    return None
