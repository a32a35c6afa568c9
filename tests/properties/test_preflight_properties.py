"""What the check calls enough margin is enough for an exchange, and what it refuses an exchange refuses."""

from decimal import Decimal

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from trader.domain.instrument import Instrument
from trader.errors import Rejected
from trader.execution.fills import Costs, Ledger
from trader.live.preflight import Size, headroom

TINY = Decimal("0.00000001")
RULES = Instrument("X", "TRADING", TINY, TINY, TINY, Decimal(10**12), TINY)
EQUITY, PRICE = Decimal(10000), Decimal(100)


@given(
    st.integers(1, 20),
    st.decimals("0.5", "1.2", places=4),
    st.decimals("0", "0.002", places=4),
    st.decimals("0", "0.002", places=4),
    st.decimals("0", "0.002", places=4),
)
@example(4, Decimal("0.9701"), Decimal("0.002"), Decimal("0.002"), Decimal("0.002"))
def test_a_change_of_side_is_filled_exactly_where_there_is_headroom(
    leverage: int, near: Decimal, fee: Decimal, slippage: Decimal, spread: Decimal
) -> None:
    costs, exposure = Costs(fee, slippage, spread), near * leverage
    free = headroom(Size("X", exposure, EQUITY, PRICE), EQUITY, leverage, costs)
    assume(abs(free) > Decimal("0.0001"))
    size = exposure * EQUITY / PRICE
    bought = closed(-size, leverage, costs)
    if free > 0:
        bought.trade(RULES, size, PRICE, reduce_only=False)
        assert bought.quantity("X") == size
        # what sells is paid less and binds less
        sold = closed(size, leverage, costs)
        sold.trade(RULES, -size, PRICE, reduce_only=False)
        assert sold.quantity("X") == -size
    else:
        with pytest.raises(Rejected) as refused:
            bought.trade(RULES, size, PRICE, reduce_only=False)
        assert refused.value.code == -2019


def closed(held: Decimal, leverage: int, costs: Costs) -> Ledger:
    """Return an account after it has closed a position that had cost nothing so far."""
    ledger = Ledger(EQUITY, Costs(Decimal(0), Decimal(0), Decimal(0)), 1000)
    ledger.trade(RULES, held, PRICE, reduce_only=False)
    ledger.leverage, ledger.costs = leverage, costs
    (end,) = ledger.trade(RULES, -held, PRICE, reduce_only=True)
    assert ledger.wallet == EQUITY + end.realised - end.fee
    return ledger
