from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal

import pytest

from tests.unit.journal.steps import SECOND, begin, decide, fill, finish
from trader.domain.account import Income
from trader.domain.decision import State
from trader.errors import JournalError
from trader.journal.journal import Journal


@pytest.mark.fault(39)
def test_a_fill_reported_twice_counts_once(journal: Journal, close: datetime) -> None:
    """Fault 39."""
    assert journal.record_fills([]) == 0
    assert journal.record_fills([fill("9", close), fill("9", close)]) == 1
    assert journal.record_fills([fill("9", close), fill("10", close)]) == 1
    assert [found.trade_id for found in journal.fills()] == ["9", "10"]
    assert journal.fills()[0] == fill("9", close)


def test_the_last_trade_is_the_newest_by_number_not_by_letter(journal: Journal, close: datetime) -> None:
    journal.record_fills([fill("100", close), fill("99", close)])
    assert journal.last_trade_id("ADAUSDT") == "100"
    assert journal.last_trade_id("XRPUSDT") is None


@pytest.mark.parametrize("begun", [True, False])
def test_a_fill_that_is_told_after_later_ones_costs_what_it_would_have_in_its_own_turn(
    begun: bool, journal: Journal, close: datetime
) -> None:
    if begun:
        begin(journal, close, {}, {"ADAUSDT": "8"})
    opened, sold, again = fill("9", close, "10"), fill("10", close, "-10"), fill("11", close, "10")
    opened, again = replace(opened, price=Decimal("0.5")), replace(again, price=Decimal("0.4"))
    journal.record_fills([opened, again])
    assert journal.held()["ADAUSDT"].cost == 9
    journal.record_fills([sold])
    held = journal.held()["ADAUSDT"]
    assert (held.quantity, held.cost, held.last_trade) == (10, 4, "11")


def test_a_fill_told_late_leaves_a_cost_unknown_that_was_not_known_before_it(journal: Journal, close: datetime) -> None:
    begin(journal, close, {"ADAUSDT": Decimal(5)}, {"ADAUSDT": "8"})
    journal.record_fills([fill("10", close, "1"), fill("9", close, "2")])
    held = journal.held()["ADAUSDT"]
    assert (held.quantity, held.cost) == (8, None)


def test_a_booking_counts_once_by_id_and_kind(journal: Journal, close: datetime) -> None:
    funding = Income("5", "FUNDING_FEE", "ADAUSDT", Decimal("-0.01234567"), close, "")
    fee = Income("5", "COMMISSION", "ADAUSDT", Decimal("-0.3"), close + SECOND, "9")
    assert journal.record_incomes([funding, fee]) == [funding, fee]
    assert journal.record_incomes([funding]) == []
    assert journal.record_incomes([]) == []
    assert journal.incomes() == [funding, fee]
    assert journal.last_income_time() == close + SECOND


def test_the_wallet_is_the_baseline_and_every_booking_since_whoever_asked_for_them(
    journal: Journal, close: datetime
) -> None:
    begin(journal, close, {}, {})
    begun = journal.baseline().wallet
    before = Income("1", "COMMISSION", "ADAUSDT", Decimal("-7"), close - SECOND, "")
    journal.record_incomes([before])
    assert journal.wallet() == begun
    paid = Income("2", "COMMISSION", "ADAUSDT", Decimal("-0.4"), close + SECOND, "")
    journal.record_incomes([before, paid])
    journal.record_incomes([paid])
    assert journal.wallet() == begun - Decimal("0.4")
    begin(journal, close + 2 * SECOND, {}, {})
    assert journal.wallet() == begun


def test_the_peak_follows_the_closes_until_it_is_reset(journal: Journal, close: datetime) -> None:
    closes = [close + timedelta(hours=16 * n) for n in range(4)]
    for moment, peak in zip(closes[:2], ("12", "13"), strict=True):
        decide(journal, moment, [], peak=Decimal(peak))
        finish(journal, moment, equity="11", peak=peak)
    assert journal.peak_equity() == Decimal(13)
    decide(journal, closes[2], [], peak=Decimal(13))
    journal.obey(journal.request("resume", close), State.ACTIVE, "a person", "resumed", close)
    assert journal.peak_equity() == 0
    assert journal.losses_since() == closes[2]
    # it was decided on the old peak
    finish(journal, closes[2], peak="13")
    assert journal.peak_equity() == 0
    decide(journal, closes[3], [], peak=Decimal("11.5"))
    finish(journal, closes[3], peak="11.5")
    assert journal.peak_equity() == Decimal("11.5")


@pytest.mark.fault(56)
def test_deposits_and_withdrawals_multiply_the_peak_and_gains_do_not(journal: Journal, close: datetime) -> None:
    """As a fraction a loss stays what it was: of peak and equity the same part was moved."""
    begin(journal, close, {}, {})

    def booked(number: str, kind: str, amount: str) -> Income:
        return Income(number, kind, "", Decimal(amount), close, "")

    for _ in range(2):
        journal.record_incomes([booked("1", "TRANSFER", "8"), booked("2", "FUNDING_FEE", "-2")])
        # ten have become eight, and eight were paid in
        assert journal.peak_at(Decimal(16)) == 20
        assert journal.peak_at(Decimal(30)) == 30
    decide(journal, close, [], peak=Decimal(20))
    assert journal.peak_at(Decimal(16)) == 20
    journal.record_incomes([booked("3", "TRANSFER", "-12")])
    assert journal.peak_at(Decimal(4)) == 5
    # and what is taken in between twice is taken once
    journal.record_incomes([booked("4", "TRANSFER", "-2"), booked("3", "TRANSFER", "-12")])
    assert journal.peak_at(Decimal(2)) == Decimal("2.5")


@pytest.mark.fault(56)
def test_a_transfer_that_is_told_late_and_was_there_at_the_baseline_multiplies_nothing(
    journal: Journal, close: datetime
) -> None:
    begin(journal, close, {}, {})
    journal.record_incomes([Income("1", "TRANSFER", "", Decimal(5), close - SECOND, "")])
    assert journal.peak_at(Decimal(10)) == 10


@pytest.mark.fault(56)
def test_money_that_comes_after_everything_was_lost_hides_nothing_and_an_emptied_account_begins_anew(
    journal: Journal, close: datetime
) -> None:
    begin(journal, close, {}, {})
    journal.record_incomes([Income("1", "TRANSFER", "", Decimal(8), close, "")])
    assert journal.peak_at(Decimal(8)) > 1000
    journal.record_incomes([Income("2", "TRANSFER", "", Decimal(-16), close, "")])
    assert journal.peak_at(Decimal(0)) == 0
    decide(journal, close, [], peak=Decimal(0))
    journal.record_incomes([Income("3", "TRANSFER", "", Decimal(7), close, "")])
    assert journal.peak_at(Decimal(7)) == 7


def test_a_baseline_is_where_positions_and_peak_begin(
    reopen: Callable[[], Journal], journal: Journal, close: datetime
) -> None:
    assert not journal.has_baseline()
    with pytest.raises(JournalError, match="no baseline yet"):
        journal.baseline()
    journal.record_fills([fill("5", close, "3")])
    assert journal.position("ADAUSDT") == 3
    begin(journal, close, {"ADAUSDT": Decimal("-10"), "XRPUSDT": Decimal(7)}, {"ADAUSDT": "99"})
    with reopen() as journal:
        assert journal.has_baseline()
        found = journal.baseline()
        assert (found.at, found.wallet, found.equity) == (close, Decimal(9), Decimal(10))
        assert found.positions == {"ADAUSDT": Decimal(-10), "XRPUSDT": Decimal(7)}
        assert found.last_trades == {"ADAUSDT": "99"}
        assert journal.positions() == found.positions
        assert journal.last_trade_id("ADAUSDT") == "99"
        assert journal.last_trade_id("XRPUSDT") is None
        assert journal.peak_equity() == Decimal(10)


def test_fills_move_positions_once_and_only_after_the_baseline(journal: Journal, close: datetime) -> None:
    begin(journal, close, {"ADAUSDT": Decimal(-10)}, {"ADAUSDT": "99"})
    fills = [fill("100", close, "4"), fill("98", close, "50"), fill("99", close, "50"), fill("101", close, "6")]
    assert journal.record_fills(fills) == 4
    assert journal.record_fills(fills) == 0
    assert journal.position("ADAUSDT") == 0
    assert journal.positions() == {}
    assert journal.last_trade_id("ADAUSDT") == "101"
    begin(journal, close, {}, {})
    assert journal.position("ADAUSDT") == 0
    journal.record_fills([fill("102", close, "1")])
    assert journal.positions() == {"ADAUSDT": Decimal(1)}


def test_what_cannot_be_kept_exactly_is_refused_whole(journal: Journal, close: datetime) -> None:
    decide(journal, close, [])
    with pytest.raises(JournalError, match="NaN is no amount"):
        finish(journal, close, peak="NaN")
    with pytest.raises(JournalError, match="naive"):
        journal.claim(datetime(2024, 1, 1), close)
    assert journal.equity_points() == []
    assert [found.close for found in journal.unfinished()] == [close]


def test_a_trade_is_known_as_a_fill_or_as_one_before_the_baseline(journal: Journal, close: datetime) -> None:
    journal.record_fills([fill("120", close)])
    assert journal.knows_trade("ADAUSDT", "120")
    with pytest.raises(JournalError, match="has no baseline yet; start the daemon once"):
        journal.knows_trade("ADAUSDT", "99")
    begin(journal, close, {}, {"ADAUSDT": "100"})
    # as numbers: 99 comes before 100
    assert [journal.knows_trade("ADAUSDT", trade) for trade in ("99", "100", "101", "120")] == [True, True, False, True]
    assert not journal.knows_trade("XRPUSDT", "99")
