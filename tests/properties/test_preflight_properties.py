"""What the check calls enough margin is enough for an exchange, and what it refuses an exchange refuses."""

from decimal import Decimal

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from trader.domain.instrument import Instrument
from trader.errors import Rejected
from trader.execution.fills import Costs, Ledger
from trader.live.preflight import Size, headroom

TINY = Decimal("0.00000001")
RULES = Instrument("X", "TRADING", TINY, TINY, TINY, Decimal(10**12), TINY)
EQUITY = Decimal(10000)


@given(
    st.integers(1, 20),
    st.decimals("0.5", "1.2", places=4),
    st.decimals("0", "0.002", places=4),
    st.decimals("0", "0.002", places=4),
    st.decimals("0", "0.002", places=4),
)
def test_a_change_of_side_is_filled_exactly_where_there_is_headroom(
    leverage: int, near: Decimal, fee: Decimal, slippage: Decimal, spread: Decimal
) -> None:
    costs, exposure = Costs(fee, slippage, spread), near * leverage
    price, move = Decimal(100), spread / 2 + slippage
    free = headroom(Size("X", exposure, EQUITY, price), EQUITY, leverage, costs)
    assume(abs(free) > Decimal("0.0001"))
    size = exposure * EQUITY / price
    ledger = Ledger(EQUITY, Costs(Decimal(0), Decimal(0), Decimal(0)), 1000)
    ledger.trade(RULES, size, price, reduce_only=False)
    # the position is there already, with the margin of its own leverage and no cost so far
    ledger.leverage, ledger.costs = leverage, costs
    ledger.trade(RULES, -size, price, reduce_only=True)
    assert ledger.wallet == EQUITY - size * price * move - (size * price * (1 - move) * fee).quantize(TINY)
    if free > 0:
        ledger.trade(RULES, -size, price, reduce_only=False)
        assert ledger.quantity("X") == -size
    else:
        with pytest.raises(Rejected) as refused:
            ledger.trade(RULES, -size, price, reduce_only=False)
        assert refused.value.code == -2019
