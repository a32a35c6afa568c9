from pathlib import Path

import pytest

from trader.errors import JournalError
from trader.notify.alert import Alert, Severity
from trader.notify.outbox import FIRST_PAUSE, GIVEN_UP_AFTER, Outbox

DAY = 86400.0


def alert(key: str = "k", severity: Severity = Severity.WARNING, *, once: bool = False) -> Alert:
    return Alert(key, severity, f"title of {key}", "text", once=once)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "alerts.db"


def test_what_was_put_in_is_there_after_a_crash(path: Path) -> None:
    box = Outbox.open(path)
    assert box.put(alert(), 100.0, repeat=60)
    # never closed
    with Outbox.open(path) as again:
        (entry,) = again.waiting(100.0)
        assert (entry.title, entry.severity, entry.told) == ("title of k", Severity.WARNING, frozenset())
    box.close()


def test_the_same_news_is_counted_and_not_told_again_until_it_was_quiet(path: Path) -> None:
    with Outbox.open(path) as box:
        assert box.put(alert(), 100.0, repeat=60)
        assert not box.put(alert(), 130.0, repeat=60)
        (entry,) = box.waiting(130.0)
        assert entry.repeats == 1
        box.tell(entry, [1], [1], 131.0)
        assert not box.put(alert(), 159.0, repeat=60)
        assert box.put(alert(), 161.0, repeat=60)


def test_news_that_still_waits_is_never_put_in_twice(path: Path) -> None:
    with Outbox.open(path) as box:
        assert box.put(alert(), 100.0, repeat=60)
        assert not box.put(alert(), 100.0 + DAY, repeat=60)


def test_a_fact_is_told_once_for_ever(path: Path) -> None:
    with Outbox.open(path) as box:
        assert box.put(alert(once=True), 100.0, repeat=0)
        (entry,) = box.waiting(100.0)
        box.tell(entry, [1], [1], 100.0)
        assert not box.put(alert(once=True), 100.0 + 365 * DAY, repeat=0)


def test_the_gravest_is_told_first(path: Path) -> None:
    with Outbox.open(path) as box:
        for key, severity in (("a", Severity.INFO), ("b", Severity.CRITICAL), ("c", Severity.WARNING)):
            box.put(alert(key, severity), 100.0, repeat=0)
        assert [entry.title[-1] for entry in box.waiting(100.0)] == ["b", "a", "c"]


def test_an_address_that_took_it_is_not_asked_again_and_the_other_one_later(path: Path) -> None:
    with Outbox.open(path) as box:
        box.put(alert(), 100.0, repeat=0)
        (entry,) = box.waiting(100.0)
        box.tell(entry, [2], [1, 2], 100.0)
        assert box.waiting(100.0 + FIRST_PAUSE - 1) == []
        (entry,) = box.waiting(100.0 + FIRST_PAUSE)
        assert entry.told == {2}
        box.tell(entry, [], [1, 2], 130.0)
        assert box.waiting(130.0 + 2 * FIRST_PAUSE - 1) == []
        (entry,) = box.waiting(130.0 + 2 * FIRST_PAUSE)
        box.tell(entry, [1], [1, 2], 200.0)
        assert box.undelivered() == 0
        assert [one.done for one in box.newest(5)] == ["told"]


def test_what_nobody_took_for_three_days_is_given_up(path: Path) -> None:
    with Outbox.open(path) as box:
        box.put(alert(), 0.0, repeat=0)
        (entry,) = box.waiting(GIVEN_UP_AFTER + 1)
        box.tell(entry, [], [1], GIVEN_UP_AFTER + 1)
        assert [one.done for one in box.newest(1)] == ["given up"]
        assert box.waiting(1e12) == []


def test_a_box_that_is_damaged_is_moved_aside_and_begun_anew(path: Path) -> None:
    path.write_bytes(b"this was a database once" * 100)
    with Outbox.open(path) as box:
        assert box.put(alert(), 1.0, repeat=0)
    assert path.with_name("alerts.db.damaged").exists()


def test_a_box_that_cannot_be_made_says_where_and_what_helps(tmp_path: Path) -> None:
    with pytest.raises(JournalError, match=r"alerts in .*nowhere/alerts.db cannot be kept: .*check the disk"):
        Outbox.open(tmp_path / "nowhere" / "alerts.db")


def test_marks_are_kept_and_replaced(path: Path) -> None:
    with Outbox.open(path) as box:
        assert box.mark("m") is None
        box.set_mark("m", "1")
        box.set_mark("m", "2")
        assert box.mark("m") == "2"


def test_what_was_to_be_told_again_is_not_kept_back_by_a_clock_that_was_set_back(path: Path) -> None:
    with Outbox.open(path) as box:
        box.put(alert(), 1e9, repeat=0)
        (entry,) = box.waiting(1e9)
        box.tell(entry, [], [1], 1e9)
        assert box.waiting(1e9) == []
        assert len(box.waiting(1e9 - 86400)) == 1
