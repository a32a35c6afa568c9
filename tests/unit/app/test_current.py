"""Which instance a command means is said, never guessed, where another one's daemon runs."""

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from trader.app import current, places
from trader.app.operating import request
from trader.cli import main
from trader.config import Settings
from trader.errors import ConfigError
from trader.journal.lock import Lock

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
