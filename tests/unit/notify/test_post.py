import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
import structlog
from structlog.testing import capture_logs

from tests.unit.notify.servers import hearing, misbehaving
from trader.domain.decision import State
from trader.journal.journal import Journal
from trader.journal.rows import Binding
from trader.notify.alert import Alert, Severity
from trader.notify.outbox import FILE, Outbox
from trader.notify.post import Post, Surroundings, Wishes, letter

NOW = datetime(2024, 1, 1, 16, tzinfo=UTC)
WISHES = Wishes((), None, 300.0, Severity.WARNING, 60.0, None, delivery=200.0)
PATIENCE = 400


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    binding = Binding("sim", "main", "tape", "ada-ar-16h", dry_run=False)
    with Journal.open(tmp_path / "journal.db", binding, create=True, at=NOW) as opened:
        opened.put("interval", "16h")
        yield opened


def post(journal: Journal, wishes: Wishes, busy: Callable[[], bool] = lambda: False) -> Post:
    around = Surroundings(busy, lambda: True, lambda: NOW, real=False)
    made = Post(journal.path, wishes, around, structlog.get_logger("test"))
    made.start()
    made.look()
    return made


def watched_once(journal: Journal) -> None:
    """Let somebody begin to watch."""
    with Outbox.open(journal.path.with_name(FILE)) as box:
        box.set_mark("journal", '{"close": null, "state": null}')


def test_what_the_journal_says_is_heard_and_the_ping_comes(journal: Journal) -> None:
    watched_once(journal)
    journal.set_state(State.HALTED, "a test", "test", NOW)
    with hearing() as server:
        one = post(journal, replace(WISHES, urls=(f"json://{server.url}/",), ping=f"http://{server.url}/pong"))
        while len(server.paths) < 2:
            assert server.came.wait(PATIENCE)
            server.came.clear()
        one.stop()
    assert server.titles() == ["trader: State HALTED"]
    assert "/pong" in server.paths


def test_while_a_close_is_decided_nothing_is_read_and_nobody_is_told(journal: Journal) -> None:
    watched_once(journal)
    journal.set_state(State.HALTED, "a test", "test", NOW)
    deciding, asked = threading.Event(), threading.Event()
    deciding.set()

    def busy() -> bool:
        asked.set()
        return deciding.is_set()

    with hearing() as server:
        one = post(journal, replace(WISHES, urls=(f"json://{server.url}/",)), busy)
        assert asked.wait(PATIENCE)
        with Outbox.open(journal.path.with_name(FILE)) as box:
            assert box.newest(1) == []
        deciding.clear()
        assert server.came.wait(PATIENCE)
        one.stop()
    assert server.titles() == ["trader: State HALTED"]


def test_what_an_address_refused_waits_on_disk_and_is_told_by_the_next_start(journal: Journal) -> None:
    watched_once(journal)
    journal.set_state(State.HALTED, "a test", "test", NOW)
    with hearing() as server:
        wishes = replace(WISHES, urls=(f"json://{server.url}/",))
        server.status = 500
        one = post(journal, wishes)
        assert server.came.wait(PATIENCE)
        one.stop()
        with Outbox.open(journal.path.with_name(FILE)) as box:
            assert [entry.done for entry in box.newest(5)] == [None]
        server.status = 200
        server.came.clear()
        one = post(journal, wishes)
        assert server.came.wait(PATIENCE)
        one.stop()
    with Outbox.open(journal.path.with_name(FILE)) as box:
        assert len(box.newest(5)) == 1


def test_last_words_are_told_although_another_address_hangs(journal: Journal) -> None:
    with hearing() as server, misbehaving("black hole") as hole:
        one = post(journal, replace(WISHES, urls=(f"json://{hole}/?rto=1", f"json://{server.url}/")))
        one.stop(Alert("ended", Severity.CRITICAL, "The daemon has ended", "why"))
    assert "trader: The daemon has ended" in server.titles()


def test_what_is_less_grave_than_asked_for_is_not_told_but_the_daily_word_is(journal: Journal) -> None:
    with hearing() as server:
        wishes = replace(WISHES, urls=(f"json://{server.url}/",), level=Severity.CRITICAL)
        one = post(journal, wishes)
        one.hand(Alert("a", Severity.WARNING, "small", ""))
        one.hand(Alert("b", Severity.INFO, "daily", "", always=True))
        one.look()
        assert server.came.wait(PATIENCE)
        one.stop()
    assert server.titles() == ["trader: daily"]


ENDED = Alert("ended", Severity.CRITICAL, "The daemon has ended", "why")


def test_last_words_are_told_although_the_journal_cannot_be_read_any_more(journal: Journal) -> None:
    watched_once(journal)
    journal.path.unlink()
    with hearing() as server:
        post(journal, replace(WISHES, urls=(f"json://{server.url}/",))).stop(ENDED)
    assert server.titles() == ["trader: The daemon has ended"]


def test_last_words_are_told_although_no_box_can_be_opened(journal: Journal) -> None:
    journal.path.with_name(FILE).mkdir()
    with hearing() as server:
        post(journal, replace(WISHES, urls=(f"json://{server.url}/",))).stop(ENDED)
    assert server.titles() == ["trader: The daemon has ended"]


def test_a_box_that_could_not_be_opened_at_first_is_opened_later(journal: Journal) -> None:
    box = journal.path.with_name(FILE)
    box.mkdir()
    with hearing() as server:
        one = post(journal, replace(WISHES, urls=(f"json://{server.url}/",)))
        one.hand(Alert("a", Severity.WARNING, "unkept", ""))
        assert server.came.wait(PATIENCE)
        box.rmdir()
        server.came.clear()
        one.hand(Alert("b", Severity.WARNING, "kept", ""))
        one.look()
        assert server.came.wait(PATIENCE)
        one.stop()
    assert server.titles() == ["trader: unkept", "trader: kept"]
    with Outbox.open(box) as opened:
        assert [entry.title for entry in opened.newest(5)] == ["kept"]


def test_an_address_that_never_answers_is_logged_without_its_keys(journal: Journal) -> None:
    with misbehaving("slow") as slow, capture_logs() as lines:
        url = f"json://{slow}/open-sesame/?rto=60&cto=60"
        one = post(journal, replace(WISHES, urls=(url,), ping=f"http://{slow}/open-sesame", delivery=2.0))
        one.stop(ENDED)
    said = {line["scheme"]: line["why"] for line in lines if line["event"] == "alerts are not taken"}
    assert said == {"json": "it did not answer within 2 s", "ping": "it did not answer within 2 s"}
    assert "sesame" not in str(lines)


def test_a_process_that_cannot_be_started_ends_no_post(
    journal: Journal, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    python = sys.executable
    monkeypatch.setattr(sys, "executable", str(tmp_path / "nowhere"))
    with hearing() as server, capture_logs() as lines:
        one = post(journal, replace(WISHES, urls=(f"json://{server.url}/",)))
        one.hand(Alert("a", Severity.WARNING, "early", ""))
        one.look()
        while not any("no process" in str(line.get("why")) for line in lines):
            one.look()
        monkeypatch.setattr(sys, "executable", python)
        one.stop(ENDED)
    assert server.titles() == ["trader: The daemon has ended", "trader: early"]


def test_what_is_too_long_for_some_places_is_cut() -> None:
    written = letter(1, Severity.INFO, "T" * 5000, "x" * 50000, [1])
    assert len(written["title"]) == 200
    assert len(written["text"]) == 1500
    assert written["text"].endswith("…")


def test_an_alert_without_a_text_is_told_by_its_title() -> None:
    assert letter(1, Severity.INFO, "T", "", [1])["text"] == "T"


def test_a_clock_that_is_set_back_silences_no_ping(journal: Journal, monkeypatch: pytest.MonkeyPatch) -> None:
    with hearing() as server:
        one = post(journal, replace(WISHES, ping=f"http://{server.url}/pong", ping_every=0.1))
        assert server.came.wait(PATIENCE)
        monkeypatch.setattr("trader.notify.post.time", lambda: 1e9)
        server.came.clear()
        one.look()
        assert server.came.wait(PATIENCE)
        one.stop()
    assert set(server.paths) == {"/pong"}


def test_what_is_less_grave_than_asked_for_is_not_told_without_a_box_either(journal: Journal) -> None:
    journal.path.with_name(FILE).mkdir()
    with hearing() as server:
        one = post(journal, replace(WISHES, urls=(f"json://{server.url}/",), level=Severity.CRITICAL))
        one.hand(Alert("a", Severity.WARNING, "small", ""))
        one.stop(ENDED)
    assert server.titles() == ["trader: The daemon has ended"]
