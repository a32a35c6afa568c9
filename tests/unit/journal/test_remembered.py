"""What one start remembers for the next: why it may trade, with what settings, and until when it has to wait."""

from collections.abc import Callable
from datetime import datetime
from decimal import Decimal

from tests.unit.journal.steps import SECOND, decide
from trader.domain.decision import State
from trader.journal.database import left_open
from trader.journal.journal import Journal
from trader.journal.rows import STAGES, ChangeRecord, StageRecord


def test_a_halt_by_a_person_leaves_the_peak_from_which_drawdown_is_counted(journal: Journal, close: datetime) -> None:
    decide(journal, close, [], peak=Decimal(12))
    journal.obey(journal.request("halt", close), State.HALTED, "a person", "halted", close)
    assert (journal.state().state, journal.state().by) == (State.HALTED, "operator")
    assert journal.pending_requests() == []
    assert journal.peak_equity() == Decimal(12)


def test_a_configuration_is_kept_with_each_change_it_made_and_without_one_where_it_made_none(
    journal: Journal, close: datetime
) -> None:
    journal.configure('{"leverage": 1}', None, "a start", close)
    assert (journal.get("configuration"), journal.changes()) == ('{"leverage": 1}', [])
    journal.configure('{"leverage": 2}', '{"leverage": [1, 2]}', "a start", close + SECOND)
    assert journal.get("configuration") == '{"leverage": 2}'
    assert journal.changes() == [ChangeRecord(close + SECOND, "a start", '{"leverage": [1, 2]}')]
    assert journal.changes(until=close) == []


def test_how_long_the_exchange_wants_no_request_is_known_to_the_next_start(
    reopen: Callable[[], Journal], journal: Journal, close: datetime
) -> None:
    assert journal.cooldown() is None
    journal.keep_cooldown(close + SECOND)
    with reopen() as journal:
        assert journal.cooldown() == close + SECOND


def test_a_stage_is_entered_once_and_again_only_with_another_notional(
    reopen: Callable[[], Journal], journal: Journal, close: datetime
) -> None:
    assert journal.enter_stage("canary", Decimal("150.50"), close)
    assert not journal.enter_stage("canary", Decimal("150.50"), close + SECOND)
    with reopen() as journal:
        assert journal.enter_stage("canary", Decimal(200), close + SECOND)
        assert journal.enter_stage("full", None, close + 2 * SECOND)
        assert not journal.enter_stage("full", None, close + 3 * SECOND)
        assert StageRecord.read(journal.get(STAGES)) == [
            StageRecord("canary", Decimal("150.50"), close),
            StageRecord("canary", Decimal(200), close + SECOND),
            StageRecord("full", None, close + 2 * SECOND),
        ]


def test_a_journal_that_was_closed_is_told_from_one_that_was_left_open(journal: Journal, close: datetime) -> None:
    journal.claim(close, close)
    assert left_open(journal.path)
    journal.close()
    assert not left_open(journal.path)
