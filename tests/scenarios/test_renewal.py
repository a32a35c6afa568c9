"""A configuration that is changed under a running daemon holds from a close on, as a whole, and is written down."""

import json
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.scenarios.processes import COMMAND, Home, agrees
from trader.sim.generated import generated_tape

DEPLOY = Path(__file__).resolve().parents[2] / "deploy"
PATIENCE = 200


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path / "data")


def own(folder: Path) -> Path:
    """A strategy file of one's own with its model beside it."""
    folder.mkdir()
    shutil.copytree(DEPLOY / "models" / "ada-ar-16h", folder / "first")
    text = (DEPLOY / "strategies" / "ada-ar-16h.toml").read_text()
    file = folder / "own.toml"
    file.write_text(text.replace('model = "ada-ar-16h"', 'model = "first"').replace('"ada-ar-16h"', '"own"'))
    return file


class Running:
    """A daemon whose log is read line by line."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self.lines: list[dict[str, Any]] = []

    def until(self, event: str) -> dict[str, Any]:
        """Read on to the next line of an event."""
        assert self.process.stderr is not None
        for _ in range(PATIENCE):
            line = self.process.stderr.readline()
            assert line, self.lines[-5:]
            if line.startswith("{"):
                self.lines.append(json.loads(line))
                if self.lines[-1]["event"] == event:
                    return self.lines[-1]
        raise AssertionError(f"{event} never came: {self.lines[-3:]}")


@contextmanager
def running(home: Home, *words: str) -> Iterator[Running]:
    with subprocess.Popen(
        [*COMMAND, "run", *words],
        env=home.environment(TRADER_LOG__LEVEL="INFO"),
        cwd=home.data.parent,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            yield Running(process)
        finally:
            process.terminate()
            process.communicate(timeout=60)


def test_a_new_model_and_another_size_hold_from_the_next_close_on_without_a_restart(home: Home, tmp_path: Path) -> None:
    file = own(tmp_path / "strategies")
    model = str(tmp_path / "strategies" / "second")
    candles = tmp_path / "candles.parquet"
    generated_tape()[0][: 24 * 300].write_parquet(candles)
    home.document("train", "ar", "--candles", str(candles), "--interval", "16h", "--lags", "1,2", "--out", model)
    with running(home, "--strategy", str(file), "--speed", "60000") as daemon:
        first = daemon.until("close decided")
        text = (
            file.read_text().replace('model = "first"', 'model = "second"').replace("exposure = 0.5", "exposure = 0.2")
        )
        fresh = file.with_suffix(".new")
        fresh.write_text(text)
        fresh.replace(file)
        changed = daemon.until("configuration changed")["changes"]
        after = daemon.until("close decided")
    assert changed["strategy.allocation.exposure"] == ["0.5", "0.2"]
    assert changed["strategy.model"] == ["first", "second"]
    assert changed["model.name"][1] != changed["model.name"][0]
    assert abs(first["target"]["ADAUSDT"]) == 0.5
    assert abs(after["target"]["ADAUSDT"]) == 0.2
    ((by, diff),) = home.journal("select by, diff from changes where id > 0")
    assert by == "close"
    assert json.loads(diff) == changed
    assert len(set(home.journal("select model_hash from decisions where model_hash is not null"))) == 2
    assert home.document("replay", "--all")["differences"] == []
    agrees(home)


@pytest.mark.fault(75)
def test_what_cannot_be_used_or_cannot_change_is_not_taken_and_trading_goes_on(home: Home, tmp_path: Path) -> None:
    file = own(tmp_path / "strategies")
    good = file.read_text()
    with running(home, "--strategy", str(file), "--speed", "60000") as daemon:
        daemon.until("close decided")
        for bad, why in (
            (good.replace("exposure = 0.5", "exposure = 5"), "must be greater than exposure"),
            (good.replace('interval = "16h"', 'interval = "12h"'), "interval"),
            (good.replace('model = "first"', 'model = "nowhere"'), "no model folder"),
            (good.replace('margin_mode = "isolated"', 'margin_mode = "cross"'), "close the position"),
        ):
            file.write_text(bad)
            assert why in daemon.until("configuration not taken")["why"]
            assert abs(daemon.until("close decided")["target"]["ADAUSDT"]) == 0.5
        file.write_text(good)
        daemon.until("close decided")
    assert home.journal("select count(*) from changes") == [(0,)]
    # what was refused has left nothing behind, not even the text that a replay would read
    assert home.journal("select count(*) from meta where key like 'strategy:%'") == [(1,)]


def test_a_line_of_env_that_would_be_lost_is_not_taken_and_the_limits_stay(home: Home) -> None:
    env = home.data.parent / ".env"
    limits = "TRADER_STAGE=canary\nTRADER_RISK__CANARY_NOTIONAL=200\nTRADER_RISK__MAX_NOTIONAL"

    def becomes(text: str) -> None:
        fresh = env.with_suffix(".new")
        fresh.write_text(text)
        fresh.replace(env)

    becomes(f'{limits}="300"\n')
    with running(home, "--speed", "60000") as daemon:
        daemon.until("close decided")
        for bad, why in (
            (f'TRADER_STRATEGY="ada-ar-16h\n{limits}="300"\n', f"Line 1 of {env} ("),
            (f"{limits}: 300\n", f"Line 3 of {env} ("),
            (f"{limits}=300\nTRADER_RISK__MAX_DELAY=57600\n", "is not shorter than the interval"),
            # an editor that writes in place empties it first, and may end there
            ("", "is gone or empty"),
        ):
            becomes(bad)
            assert why in daemon.until("configuration not taken")["why"]
            daemon.until("close decided")
        env.unlink()
        daemon.until("close decided")
        becomes(f'{limits}="400"\n')
        assert daemon.until("configuration changed")["changes"] == {"risk.max_notional": ["300", "400"]}
    assert home.journal("select count(*) from changes where id > 0") == [(1,)]


def test_what_a_restart_changes_is_written_down_too(home: Home) -> None:
    run = ("run", "--cycles", "1", "--speed", "max")
    assert home.run(*run).returncode == 0
    assert home.run(*run, TRADER_RISK__MAX_NOTIONAL="1234", TRADER_API_KEY="k" * 64, TRADER_API_SECRET="s" * 64)
    ((by, diff),) = home.journal("select by, diff from changes where id > 0")
    assert (by, json.loads(diff)) == ("start", {"risk.max_notional": [None, "1234"]})
