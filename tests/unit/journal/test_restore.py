"""What a copy that is put back takes over from the journal that it replaces: state, requests and losses."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest

from tests.unit.journal.steps import begin, decide
from trader.domain.account import Income
from trader.domain.decision import State
from trader.journal import archive
from trader.journal.journal import Journal
from trader.journal.queries import Reader
from trader.journal.rows import Binding

RESTORED = datetime(2024, 2, 3, 4, 5, 6, tzinfo=UTC)


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "copy.db"


@pytest.mark.parametrize(
    ("before", "after", "found"),
    [
        (State.ACTIVE, State.HALTED, State.HALTED),
        (State.ACTIVE, State.REDUCING, State.REDUCING),
        (State.HALTED, State.ACTIVE, State.HALTED),
    ],
)
def test_a_restore_lifts_no_halt(before: State, after: State, found: State, journal: Journal, target: Path) -> None:
    begin(journal, RESTORED, {}, {})
    journal.set_state(before, "then", "a test", RESTORED)
    archive.copy(journal.path, target)
    journal.set_state(after, "a drawdown", "a test", RESTORED)
    journal.close()
    archive.put_back(target, journal.path, RESTORED)
    with Reader.read(journal.path) as reader:
        assert reader.state().state is found
        assert (reader.state().why == "kept by a restore: a drawdown") is (found is not before)


def test_a_restore_loses_no_halt_that_nobody_has_obeyed_yet(journal: Journal, target: Path) -> None:
    begin(journal, RESTORED, {}, {})
    journal.request("halt", RESTORED)
    archive.copy(journal.path, target)
    done = journal.request("flatten", RESTORED)
    journal.complete_request(done, "nothing was held", RESTORED)
    for kind in ("resume", "flatten"):
        journal.request(kind, RESTORED)
    journal.close()
    archive.put_back(target, journal.path, RESTORED)
    with Reader.read(journal.path) as reader:
        assert [one.kind for one in reader.pending_requests()] == ["halt", "flatten"]


def test_a_restore_drops_a_resume_that_waits_in_the_copy_and_knew_nothing_of_a_later_halt(
    journal: Journal, target: Path
) -> None:
    begin(journal, RESTORED, {}, {})
    journal.set_state(State.HALTED, "a stop has triggered", "a test", RESTORED)
    resume = journal.request("resume", RESTORED)
    archive.copy(journal.path, target)
    journal.obey(resume, State.ACTIVE, "resumed", "done", RESTORED)
    journal.set_state(State.HALTED, "a drawdown", "a test", RESTORED)
    journal.close()
    archive.put_back(target, journal.path, RESTORED)
    with Reader.read(journal.path) as reader:
        assert reader.pending_requests() == []
        assert (reader.state().state, reader.state().why) == (State.HALTED, "kept by a restore: a drawdown")


def test_a_flatten_that_waits_in_the_copy_and_was_obeyed_since_is_not_carried_out_again(
    journal: Journal, target: Path
) -> None:
    begin(journal, RESTORED, {}, {})
    flatten = journal.request("flatten", RESTORED)
    archive.copy(journal.path, target)
    journal.complete_request(flatten, "closed", RESTORED)
    journal.close()
    archive.put_back(target, journal.path, RESTORED)
    with Reader.read(journal.path) as reader:
        assert reader.pending_requests() == []


@pytest.mark.parametrize(("paid", "before", "now"), [("10", "20", "15"), ("-5", "5", "10"), ("10", "20", "10.1")])
def test_a_restore_counts_losses_as_the_replaced_journal_did_and_transfers_that_are_told_again_once(
    paid: str, before: str, now: str, journal: Journal, target: Path, reopen: Callable[[], Journal]
) -> None:
    """Whatever was gained or lost between the transfer and the restore."""
    begin(journal, RESTORED, {}, {})
    archive.copy(journal.path, target)
    deposit = Income("1", "TRANSFER", "", Decimal(paid), RESTORED, "")
    late = Income("2", "TRANSFER", "", Decimal(1), RESTORED, "")
    journal.record_incomes([deposit])
    peak = journal.peak_at(Decimal(before))
    assert peak == Decimal(10) + Decimal(paid)
    decide(journal, RESTORED, [], peak=peak)
    journal.record_incomes([late])
    journal.close()
    archive.put_back(target, journal.path, RESTORED)
    restored = reopen()
    restored.record_incomes([deposit, late])
    # the second was not counted yet
    equity = Decimal(now) + 1
    assert restored.peak_at(equity) == pytest.approx(max(peak * equity / Decimal(now), equity), rel=Decimal("1e-20"))
    restored.close()


def test_a_restore_over_a_journal_that_was_begun_anew_counts_losses_as_the_copy_does(
    journal: Journal, target: Path, binding: Binding, reopen: Callable[[], Journal]
) -> None:
    """What was moved before is in the new one's baseline, and will be told to the copy."""
    begin(journal, RESTORED, {}, {})
    archive.copy(journal.path, target)
    journal.close()
    journal.path.unlink()
    anew = Journal.open(journal.path, binding, create=True, at=RESTORED)
    twenty = Decimal(20)
    anew.set_baseline(wallet=twenty, equity=twenty, positions={}, last_trades={}, at=RESTORED + timedelta(hours=1))
    anew.close()
    archive.put_back(target, journal.path, RESTORED)
    restored = reopen()
    restored.record_incomes([Income("1", "TRANSFER", "", Decimal(10), RESTORED, "")])
    assert restored.peak_at(twenty) == 20
    restored.close()


def test_a_restore_after_a_resume_counts_losses_anew_as_the_replaced_journal_did(
    journal: Journal, target: Path, reopen: Callable[[], Journal]
) -> None:
    begin(journal, RESTORED, {}, {})
    archive.copy(journal.path, target)
    journal.obey(journal.request("resume", RESTORED), State.ACTIVE, "resumed", "done", RESTORED)
    journal.close()
    archive.put_back(target, journal.path, RESTORED)
    restored = reopen()
    assert restored.peak_at(Decimal(3)) == 3
    restored.close()


def test_a_halt_that_waits_in_a_copy_is_obeyed_where_the_replaced_journal_never_heard_of_it(
    journal: Journal, target: Path, binding: Binding
) -> None:
    """The journal was moved away and a new one begun before the copy was put back."""
    begin(journal, RESTORED, {}, {})
    journal.request("halt", RESTORED)
    archive.copy(journal.path, target)
    journal.close()
    journal.path.unlink()
    Journal.open(journal.path, binding, create=True, at=RESTORED).close()
    archive.put_back(target, journal.path, RESTORED)
    with Reader.read(journal.path) as reader:
        assert [one.kind for one in reader.pending_requests()] == ["halt"]


def test_a_copy_in_the_place_of_what_cannot_be_read_is_halted(journal: Journal, target: Path) -> None:
    archive.copy(journal.path, target)
    journal.close()
    journal.path.write_bytes(b"torn" * 999)
    archive.put_back(target, journal.path, RESTORED)
    with Reader.read(journal.path) as reader:
        assert reader.state().state is State.HALTED
        assert "could not be read" in reader.state().why


def test_a_copy_in_the_place_of_what_is_damaged_is_halted_whatever_that_still_says(
    journal: Journal, target: Path
) -> None:
    begin(journal, RESTORED, {}, {})
    archive.copy(journal.path, target)
    root = journal._database._raw.execute("SELECT rootpage FROM sqlite_master WHERE name = 'decisions'").fetchone()[0]
    journal.close()
    content = bytearray(journal.path.read_bytes())
    content[(root - 1) * 4096 : (root - 1) * 4096 + 64] = b"\xff" * 64
    journal.path.write_bytes(content)
    archive.put_back(target, journal.path, RESTORED)
    with Reader.read(journal.path) as reader:
        assert (reader.state().state, "could not be read" in reader.state().why) == (State.HALTED, True)
