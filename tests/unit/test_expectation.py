"""The expected account beside the real one: moved by the same transfers, and never halted where the real one trades."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from tests.unit.live.world import FakeStrategy
from trader.domain.decision import Forecast, Limits
from trader.domain.instrument import Instrument
from trader.execution.fills import Costs
from trader.research.drift import DriftLimits, Point, alarm, shortfall
from trader.research.expectation import Booked, Expectation, Seen

NAME = "AUSDT"
FREE = Costs(Decimal(0), Decimal(0), Decimal(0))
CLOSE = datetime(2025, 1, 1, 8, tzinfo=UTC)
BAR = timedelta(hours=4)
RULES = Instrument(NAME, "TRADING", Decimal("0.0001"), Decimal(1), Decimal(1), Decimal(1_000_000), Decimal(5))


HALF = FakeStrategy(symbols=(NAME,))


class Played:
    """An expectation that is stepped bar by bar, and what it came to."""

    def __init__(self, equity: str, limits: Limits, held: str = "0") -> None:
        self.limits = limits
        self.close = CLOSE
        self.account = Expectation(
            FREE, equity=Decimal(equity), positions={NAME: Decimal(held)}, prices={NAME: Decimal(1)}, strategy=HALF
        )

    def step(self, price: str = "1", moved: str | None = None, of: str = "0") -> Decimal:
        """Play a bar; `moved` is paid in or out of a real account that is worth `of` without it."""
        paid = [] if moved is None else [Booked(self.close, "", Decimal(moved), Decimal(of))]
        seen = Seen(
            self.close, {NAME: Decimal(price)}, {NAME: RULES}, self.limits, {NAME: Forecast(1.0, 1.0)}, {}, {}, {}
        )
        self.close += BAR
        return self.account.step(HALF, seen, paid)


def limits(loss: str = "1", drawdown: str = "1") -> Limits:
    return Limits(max_drawdown=Decimal(drawdown), max_leverage=Decimal(2), max_daily_loss=Decimal(loss))


def behind(*rows: tuple[str, Decimal | str]) -> Decimal | None:
    points = [Point(CLOSE + place * BAR, Decimal(live), Decimal(should)) for place, (live, should) in enumerate(rows)]
    return shortfall(points)


def test_a_loss_after_a_deposit_is_a_share_of_what_is_there_then() -> None:
    played = Played("100", limits())
    first, second, third = played.step(), played.step(moved="900", of="100"), played.step()
    assert (first, second, third) == (100, 1000, 1000)
    assert behind(("100", first), ("1000", second), ("994", third)) == Decimal("0.006")


def test_an_account_that_is_ahead_is_not_behind_after_a_deposit() -> None:
    played = Played("100", limits())
    first, second = played.step(), played.step(moved="900", of="100.6")
    assert behind(("100.6", first), ("1000.6", second)) == pytest.approx(Decimal(0), abs=Decimal("1e-8"))


def test_half_of_what_a_withdrawal_left_is_half_behind() -> None:
    played = Played("1000", limits())
    first, second, third = played.step(), played.step(moved="-900", of="1000"), played.step()
    rows = [("1000", first), ("100", second), ("51", third)]
    assert behind(*rows) == Decimal("0.49")
    points = [Point(CLOSE, Decimal(live), Decimal(should)) for live, should in rows]
    assert "49.00% of its equity behind" in (alarm(points, [], DriftLimits(Decimal("0.05"))) or "")


@pytest.mark.parametrize("live", ["1100", "900"])
def test_an_account_that_is_emptied_empties_its_expectation_and_both_begin_anew(live: str) -> None:
    played = Played("1000", limits())
    first = played.step()
    second = played.step(moved=f"-{live}", of=live)
    third = played.step(moved="500", of="0")
    assert (second, third) == (0, 500)
    assert behind((live, first), ("0", second)) is None
    assert behind((live, first), ("0", second), ("500", third)) is None
    assert behind((live, first), ("0", second), ("500", third), ("490", third)) == Decimal("0.02")


def test_an_account_that_lost_all_is_wholly_behind() -> None:
    assert behind(("100", "100"), ("0", "100")) == 1


def test_a_withdrawal_is_no_loss_of_that_day_and_no_drawdown() -> None:
    played = Played("1000", limits(loss="0.05", drawdown="0.05"))
    assert played.step() == 1000
    assert played.step(moved="-100", of="1000") == 900
    assert played.account.active
    # half of what is left is held, and goes up
    assert played.step(price="1.1") == 945


@pytest.mark.parametrize("moved", ["9000", "-900"])
@pytest.mark.parametrize("limit", [{"loss": "0.05"}, {"drawdown": "0.05"}])
@pytest.mark.parametrize(("price", "active"), [("0.912", True), ("0.893", False)])
def test_a_loss_is_the_same_fraction_before_and_after_a_transfer(
    limit: dict[str, str], moved: str, price: str, active: bool
) -> None:
    played = Played("1000", limits(**limit), held="500")
    played.step()
    # three percent are lost before it; half of what there is then falls by three percent more, or by five
    played.step(price="0.94", moved=moved, of="970")
    assert played.account.active
    played.step(price=price)
    assert played.account.active is active


def test_a_resume_counts_the_loss_of_the_day_anew() -> None:
    played = Played("1000", limits(loss="0.05"), held="500")
    played.step()
    assert played.step(price="0.88") == 940
    assert not played.account.active
    played.account.resume()
    played.step(price="0.88")
    assert played.account.active
    assert played.step(price="0.968") > 985
