"""Which instance a command means is said, never guessed, where another one's daemon runs."""

import asyncio
import json
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pytest

from trader.app import current, places
from trader.app.daemon import RunOptions, run_daemon
from trader.app.operating import flatten, request
from trader.app.tapes import TapeChoice
from trader.cli import main
from trader.config import Settings
from trader.errors import ConfigError
from trader.journal.journal import Journal
from trader.journal.lock import Lock
from trader.journal.rows import Binding, Intent

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def after_a_demo(data: Path) -> Path:
    """Leave behind what a demo does, and return its folder."""
    folder = data / "sim" / "demo"
    folder.mkdir(parents=True)
    now = current.Current("demo", 1, "ada-ar-16h", None, None, None, None, None, "10000", "0", "0", "0")
    current.remember(folder, now)
    return folder


@pytest.mark.parametrize(
    ("venue", "dry_run", "said"),
    [
        ("testnet", False, "TRADER_VENUE=testnet and what else"),
        ("testnet", True, "TRADER_VENUE=testnet and TRADER_DRY_RUN=true"),
        ("live", False, "TRADER_VENUE=live and what else"),
    ],
)
@pytest.mark.parametrize("demo", [False, True])
def test_without_a_venue_a_request_beside_the_daemon_of_a_venue_is_refused_and_left_nowhere(
    venue: str, dry_run: bool, said: str, demo: bool, tmp_path: Path
) -> None:
    if demo:
        after_a_demo(tmp_path)
    running = places.venue_folder(tmp_path, venue, dry_run=dry_run) / places.JOURNAL
    with Lock.acquire(running, started=NOW), pytest.raises(ConfigError, match=said):
        request(Settings.load(data_dir=tmp_path), "halt")
    assert not list(tmp_path.rglob(places.JOURNAL))


def test_the_embedded_exchange_is_meant_where_it_is_said_or_runs_or_is_alone(tmp_path: Path) -> None:
    folder = after_a_demo(tmp_path)
    unsaid, said = Settings.load(data_dir=tmp_path), Settings.load(data_dir=tmp_path, venue="sim")
    assert current.home(unsaid) == folder
    with Lock.acquire(tmp_path / "live" / places.JOURNAL, started=NOW):
        assert current.home(said) == folder
        with Lock.acquire(folder / places.JOURNAL, started=NOW):
            assert current.home(unsaid) == folder


def journal_of(data: Path, venue: str, *, tape: str = "", held: str = "0") -> Path:
    """Leave a journal whose account holds so much, and whose daemon is dead."""
    folder = data / venue if not tape else data / "sim" / tape
    binding = Binding(venue, "main", tape, "ada-ar-16h", False)
    journal = Journal.open(folder / places.JOURNAL, binding, create=True, at=NOW)
    positions = {"ADAUSDT": Decimal(held)} if Decimal(held) else {}
    journal.set_baseline(
        wallet=Decimal(1000),
        equity=Decimal(1000),
        positions=positions,
        last_trades=dict.fromkeys(positions, "1"),
        at=NOW,
    )
    journal.close()
    return folder / places.JOURNAL


def ask(settings: Settings, kind: str) -> None:
    """Ask for one of the three."""
    if kind == "flatten":
        asyncio.run(flatten(settings))
    else:
        request(settings, kind)


def demo_with_a_journal(data: Path) -> Path:
    after_a_demo(data)
    return journal_of(data, "sim", tape="demo")


@pytest.mark.parametrize("venue", ["testnet", "live"])
@pytest.mark.parametrize("running", [False, True])
@pytest.mark.parametrize("kind", ["halt", "resume", "flatten"])
def test_without_a_venue_nothing_acts_on_the_demo_while_a_dead_daemons_journal_holds_a_position(
    venue: str, running: bool, kind: str, tmp_path: Path
) -> None:
    demo = demo_with_a_journal(tmp_path)
    journal_of(tmp_path, venue, held="-500")
    content = demo.read_bytes()
    said = (
        rf"journal .*/{venue}/journal\.db holds ADAUSDT; say .*`TRADER_VENUE={venue} trader {kind}` with .*=sim trader"
    )
    lock = Lock.acquire(demo, started=NOW) if running else None
    with pytest.raises(ConfigError, match=said):
        ask(Settings.load(data_dir=tmp_path), kind)
    if lock is not None:
        lock.release()
    assert demo.read_bytes() == content


def test_a_demo_that_runs_is_not_halted_for_a_venue_whose_daemon_runs_too(tmp_path: Path) -> None:
    demo = demo_with_a_journal(tmp_path)
    with Lock.acquire(demo, started=NOW), Lock.acquire(tmp_path / "live" / places.JOURNAL, started=NOW):
        with pytest.raises(ConfigError, match="set TRADER_VENUE=live and what else"):
            request(Settings.load(data_dir=tmp_path), "halt")
        assert request(Settings.load(data_dir=tmp_path, venue="sim"), "halt")["venue"] == "sim"


def test_a_request_names_its_venue_where_the_venue_is_said_or_nothing_is_at_stake(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    demo_with_a_journal(tmp_path)
    journal_of(tmp_path, "testnet")
    assert request(Settings.load(data_dir=tmp_path), "halt")["venue"] == "sim"
    journal_of(tmp_path, "live", held="500")
    live = Settings.load(data_dir=tmp_path, venue="live", live="I-understand")
    assert request(live, "halt") == {"request": "halt", "number": 1, "venue": "live", "daemon": None}
    assert request(Settings.load(data_dir=tmp_path, venue="sim"), "halt")["number"] == 2
    Path(".env").write_text("TRADER_VENUE=sim\n")
    assert request(Settings.load(data_dir=tmp_path), "halt")["number"] == 3
    Path(".env").write_text("TRADER_VENUE=\n")
    with pytest.raises(ConfigError, match="No venue is said"):
        request(Settings.load(data_dir=tmp_path), "halt")
    monkeypatch.setenv("TRADER_VENUE", "sim")
    assert request(Settings.load(data_dir=tmp_path), "resume")["number"] == 4


def test_a_journal_that_cannot_be_read_may_hold_something(tmp_path: Path) -> None:
    demo_with_a_journal(tmp_path)
    (tmp_path / "live").mkdir()
    (tmp_path / "live" / places.JOURNAL).write_bytes(b"no journal at all")
    with pytest.raises(ConfigError, match=r"live/journal\.db cannot be read and may hold a position; say"):
        request(Settings.load(data_dir=tmp_path), "halt")


def test_an_order_without_an_end_may_have_opened_something(tmp_path: Path) -> None:
    demo_with_a_journal(tmp_path)
    path = journal_of(tmp_path, "live")
    intent = Intent("an-order", NOW, "ADAUSDT", "o", 0, Decimal(5), False, NOW, NOW)
    with Journal.open(path, Binding("live", "main", "", "ada-ar-16h", False), create=False, at=NOW) as journal:
        journal.claim(NOW, NOW)
        journal.record_decision(NOW, "{}", "{}", model_hash="x", why="", intents=[intent], at=NOW, peak=Decimal(1000))
    with pytest.raises(ConfigError, match=r"live/journal\.db holds the open order an-order; say"):
        request(Settings.load(data_dir=tmp_path), "halt")


def test_a_lost_venue_does_not_start_the_demo_beside_a_position(tmp_path: Path) -> None:
    journal_of(tmp_path, "testnet", held="500")
    with pytest.raises(ConfigError, match=r"holds ADAUSDT; say .* `TRADER_VENUE=testnet trader run` with"):
        asyncio.run(run_daemon(Settings.load(data_dir=tmp_path), RunOptions(TapeChoice())))
    assert not (tmp_path / "sim").exists()
    current.require_nothing_unattended(Settings.load(data_dir=tmp_path, venue="sim"), "run")
    current.require_nothing_unattended(Settings.load(data_dir=tmp_path, venue="testnet"), "run")
    assert current.recall(tmp_path) is None


def test_people_are_told_and_asked_which_venue_is_meant(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TRADER_DATA_DIR", str(tmp_path))
    demo_with_a_journal(tmp_path)
    for words in (("resume",), ("flatten",)):
        with pytest.raises(SystemExit):
            main(words)
        assert " on sim " in capsys.readouterr().err
    with pytest.raises(SystemExit) as end:
        main(("halt",))
    assert end.value.code in (0, None)
    told = capsys.readouterr()
    assert "venue" in told.out
    assert "No daemon runs on sim" in told.err
    journal_of(tmp_path, "live", held="500")
    for words in (("resume",), ("flatten",), ("flatten", "--yes"), ("halt", "--json")):
        with pytest.raises(SystemExit) as end:
            main(words)
        told = capsys.readouterr()
        assert (end.value.code, told.out, "[y/N]" in told.err) == (78, "", False)
        assert f"TRADER_VENUE=live trader {words[0]}" in told.err


def test_health_answers_as_json_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TRADER_DATA_DIR", str(tmp_path))
    after_a_demo(tmp_path)
    with pytest.raises(SystemExit) as end:
        main(("health", "--json"))
    assert end.value.code == 1
    found = json.loads(capsys.readouterr().out)
    assert found["well"] is False
    assert "start it with" in found["why"]
