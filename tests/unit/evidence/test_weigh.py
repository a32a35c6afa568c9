"""What a position of any size has to prove: the same as one ten times as large."""

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

import numpy as np
import pytest

from tests.unit.forecast_frames import INTERVAL, START
from trader.execution.fills import Costs
from trader.research.evidence.causality import Causality
from trader.research.evidence.earnings import Candles
from trader.research.evidence.weigh import Case, weigh


def test_a_tenth_of_the_exposure_is_judged_as_all_of_it() -> None:
    """A share of the exposure earns a share of what always long earns, however good it is."""
    rng = np.random.default_rng(1)
    returns = rng.normal(0.0, 0.01, 300)
    returns += 0.002 - returns.mean()
    sides = np.where(rng.random(300) < 0.85, np.sign(returns), -np.sign(returns))
    candles = Candles(INTERVAL, [START + row * timedelta(hours=16) for row in range(300)], returns, None)
    costs = Costs(Decimal("0.0002"), Decimal(0), Decimal(0))
    whole = Case(
        unseen=candles,
        sides=sides,
        no_bias=-sides,
        rivals=np.empty((300, 0)),
        trials=3,
        known=np.array([]),
        walk=None,
        causality=Causality(1, (), (), ()),
        costs=costs,
    )
    found = weigh(whole, replications=300)
    less = weigh(replace(whole, sides=sides / 10, no_bias=-sides / 10), replications=300)
    assert found.gates["superiority"].passed
    assert less.gates["superiority"].passed
    assert found.numbers["always_long"]["net_sharpe"] > 1
    for rule in ("cash", "always_long", "always_short", "no_bias"):
        assert less.numbers["spa"][rule] == found.numbers["spa"][rule]
    assert less.gates["deflated_sharpe"].value == pytest.approx(found.gates["deflated_sharpe"].value)
