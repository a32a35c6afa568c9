"""However trades and bookings fall between the closes, nothing of them is lost, counted twice or left unnamed."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from trader.domain.account import Income
from trader.domain.order import Fill
from trader.execution.profit import Marked, moved_by, profits, together

BEGIN = datetime(2024, 1, 1, tzinfo=UTC)
AMOUNTS = st.decimals(-1000, 1000, places=8)
MOMENTS = st.integers(0, 100)
KINDS = st.sampled_from(["FUNDING_FEE", "TRANSFER", "INSURANCE_CLEAR", "COMMISSION", "REALIZED_PNL"])


def at(minute: int) -> datetime:
    return BEGIN + timedelta(minutes=minute)


def fill(minute: int, fee: Decimal, realised: Decimal) -> Fill:
    return Fill("1", "1", "ADAUSDT", Decimal(1), Decimal(1), fee, realised, at(minute))


def income(minute: int, kind: str, amount: Decimal) -> Income:
    return Income("1", kind, "ADAUSDT", amount, at(minute), "")


@given(
    st.lists(st.builds(fill, MOMENTS, AMOUNTS, AMOUNTS)),
    st.lists(st.builds(income, MOMENTS, KINDS, AMOUNTS)),
    st.lists(st.tuples(MOMENTS, AMOUNTS, AMOUNTS), unique_by=lambda mark: mark[0]),
    st.booleans(),
)
def test_the_spans_add_up_to_the_account(
    fills: list[Fill], incomes: list[Income], told: list[tuple[int, Decimal, Decimal]], flat: bool
) -> None:
    start = Marked(BEGIN, BEGIN, Decimal(100), Decimal(101))
    marks = [Marked(at(minute), at(minute), wallet, equity) for minute, wallet, equity in sorted(told)]
    spans = profits(start, marks, fills, incomes, flat=flat)
    whole = together(spans)
    assert whole.moved == moved_by(fills, incomes)
    assert start.wallet + whole.moved.total + whole.unexplained == whole.wallet
    assert start.equity + whole.net + whole.moved.transfers == whole.equity
    assert not flat or whole.equity == whole.wallet
    assert [(span.wallet, span.equity) for span in spans[:-1]] == [(mark.wallet, mark.equity) for mark in marks]
