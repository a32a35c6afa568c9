"""What losses are counted from, where money comes and goes."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest

from trader.domain.account import Income
from trader.domain.decision import Book, Limits, State
from trader.execution.guards import breach, daily_loss, drawdown
from trader.journal.journal import Journal
from trader.journal.rows import Binding
from trader.live.today import day_equity

BEGUN = datetime(2025, 1, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)
LIMITS = Limits(max_drawdown=Decimal("0.2"), max_leverage=Decimal(2), max_daily_loss=Decimal("0.2"))


class Story:
    """A journal of closes, each with what the account had, and of what was booked between them."""

    def __init__(self, path: Path) -> None:
        self.journal = Journal.open(path, Binding("live", "main", "", "s", False), create=True, at=BEGUN)
        thousand = Decimal(1000)
        self.journal.set_baseline(wallet=thousand, equity=thousand, positions={}, last_trades={}, at=BEGUN)
        self.now, self.booked = BEGUN, 0

    def book(self, amount: str, kind: str = "REALIZED_PNL", after: timedelta = HOUR) -> None:
        """Book an amount some time after the last close."""
        self.booked += 1
        self.journal.record_incomes([Income(str(self.booked), kind, "", Decimal(amount), self.now + after, "")])

    def look(self, equity: str) -> Book:
        """Look at the account two hours after the last close."""
        return self.seen(Decimal(equity), self.now + 2 * HOUR)

    def seen(self, equity: Decimal, close: datetime) -> Book:
        """Return what a decision at a close knows of losses."""
        day = day_equity(self.journal, close, equity)
        return Book(equity, self.journal.peak_at(equity), {}, {}, {}, State.ACTIVE, day_equity=day)

    def close(self, equity: str) -> Book:
        """Decide and finish a close two hours after the last one."""
        found = self.look(equity)
        self.now += 2 * HOUR
        assert self.journal.claim(self.now, self.now)
        self.journal.record_decision(
            self.now, "{}", "{}", model_hash="", why="", intents=[], at=self.now, peak=found.peak_equity,
        )  # fmt: skip
        self.journal.finish(
            self.now, wallet=self.journal.wallet(), equity=found.equity, peak=found.peak_equity, positions={},
            at=self.now + timedelta(seconds=5),
        )  # fmt: skip
        return found


@pytest.fixture
def story(tmp_path: Path) -> Iterator[Story]:
    made = Story(tmp_path / "journal.db")
    yield made
    made.journal.close()


@pytest.mark.fault(56)
@pytest.mark.parametrize("part", ["-0.5", "-0.9", "0.25", "9"])
def test_what_is_moved_below_the_peak_changes_no_loss(part: str, story: Story) -> None:
    """Twelve per cent were lost, and a limit of twenty is not reached by withdrawing half of what is left."""
    story.close("1000")
    story.book("-120")
    moved = Decimal(880) * Decimal(part)
    story.book(str(moved), "TRANSFER")
    found = story.look(str(880 + moved))
    assert round(drawdown(found), 12) == round(daily_loss(found), 12) == Decimal("0.12")
    assert breach(found, LIMITS) is None


@pytest.mark.fault(56)
def test_what_is_lost_after_a_transfer_is_a_part_of_what_was_there_then(story: Story) -> None:
    story.close("1000")
    story.book("-500", "TRANSFER")
    assert drawdown(story.close("500")) == 0
    story.book("-50")
    found = story.close("450")
    assert drawdown(found) == daily_loss(found) == Decimal("0.1")
    story.book("450", "TRANSFER")
    story.book("-90")
    found = story.look("810")
    # nine tenths, and eight of these: what was held was sized before the money came
    assert round(drawdown(found), 12) == round(daily_loss(found), 12) == Decimal("0.28")


@pytest.mark.fault(56)
def test_money_between_the_last_look_of_a_close_and_its_end_is_moved_once(story: Story) -> None:
    story.close("1000")
    story.book("-500", "TRANSFER", after=timedelta(seconds=1))
    assert story.look("500").day_equity == 500


@pytest.mark.fault(56)
def test_where_no_wallet_was_the_one_of_a_look_the_times_part_what_was_moved(story: Story) -> None:
    story.book("7", "FUNDING_FEE", after=-HOUR)
    story.close("1000")
    story.book("100", "TRANSFER")
    story.journal.record_incomes([Income("late", "FUNDING_FEE", "", Decimal(3), story.now, "")])
    assert story.look("1100").day_equity == 1100


def test_without_transfers_a_day_begins_with_what_was_there_to_the_last_digit(story: Story) -> None:
    story.close("1000.000000000000000000000001")
    story.close("7")
    assert story.look("3").day_equity == Decimal("1000.000000000000000000000001")
