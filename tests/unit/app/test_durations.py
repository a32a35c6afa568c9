"""Bounds that do not go together are refused before anything starts: each would end what it should only bound."""

import asyncio
from pathlib import Path

import pytest

from tests.unit.live.world import SETTLE
from trader.app.backtesting import backtest
from trader.app.checking import check
from trader.app.daemon import RunOptions, run_daemon
from trader.app.strategies import Loaded, load_strategy, max_delay, max_outage, require_times
from trader.app.tapes import TapeChoice
from trader.config import Settings
from trader.domain.interval import Interval
from trader.errors import ConfigError

SHIPPED = Path(__file__).resolve().parents[3] / "deploy" / "strategies" / "ada-ar-16h.toml"
INTERVAL = 16 * 3600


def test_an_order_is_given_the_time_that_is_waited_for_it() -> None:
    assert Settings.load().exchange.settle == SETTLE


@pytest.mark.parametrize(
    ("said", "least"),
    [
        ({}, 37),
        ({"TRADER_EXCHANGE__TIMEOUT": "20"}, 67),
        ({"TRADER_EXCHANGE__TIMEOUT": "4", "TRADER_EXCHANGE__RECV_WINDOW": "1000"}, 15),
    ],
)
def test_a_try_that_ends_before_an_order_can_be_proven_absent_is_refused(
    monkeypatch: pytest.MonkeyPatch, said: dict[str, str], least: int
) -> None:
    for name, value in said.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("TRADER_WATCHDOG__CYCLE", str(least))
    Settings.load().require_time_enough()
    monkeypatch.setenv("TRADER_WATCHDOG__CYCLE", str(least - 0.5))
    with pytest.raises(ConfigError, match=rf"^TRADER_WATCHDOG__CYCLE .* proven absent; set it to {least} at least"):
        Settings.load().require_time_enough()


def test_a_question_is_not_ended_before_its_timeout(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRADER_WATCHDOG__STEP", "10")
    Settings.load().require_time_enough()
    monkeypatch.setenv("TRADER_WATCHDOG__STEP", "9.5")
    with pytest.raises(ConfigError, match=r"^TRADER_WATCHDOG__STEP \(9.5 s\) .* set it to 10 at least"):
        Settings.load().require_time_enough()


def shipped(monkeypatch: pytest.MonkeyPatch, **risk: float) -> tuple[Settings, Loaded]:
    for name, value in risk.items():
        monkeypatch.setenv(f"TRADER_RISK__{name.upper()}", str(value))
    settings = Settings.load()
    return settings, load_strategy(settings)


def test_a_close_is_never_decided_after_the_next_one(monkeypatch: pytest.MonkeyPatch) -> None:
    require_times(*shipped(monkeypatch))
    require_times(*shipped(monkeypatch, max_delay=INTERVAL - 1))
    for seconds in (INTERVAL, 30 * 3600):
        with pytest.raises(
            ConfigError, match=rf"^TRADER_RISK__MAX_DELAY \({seconds} s\) is not shorter than .* 57600 s"
        ):
            require_times(*shipped(monkeypatch, max_delay=seconds))


def test_an_outage_is_longer_than_what_passes_between_two_closes(monkeypatch: pytest.MonkeyPatch) -> None:
    require_times(*shipped(monkeypatch, max_outage=INTERVAL * 1.1))
    with pytest.raises(ConfigError, match=r"^TRADER_RISK__MAX_OUTAGE \(3600 s\) .* set it to 63360 at least"):
        require_times(*shipped(monkeypatch, max_outage=3600))
    with pytest.raises(ConfigError, match=r"set it to 57700 at least"):
        require_times(*shipped(monkeypatch, max_outage=INTERVAL, max_delay=100))
    require_times(*shipped(monkeypatch, max_outage=INTERVAL + 100, max_delay=100))


def test_a_run_a_backtest_and_a_check_refuse_them_alike(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    settings, _ = shipped(monkeypatch, max_outage=3600)
    with pytest.raises(ConfigError, match="MAX_OUTAGE"):
        asyncio.run(run_daemon(settings, RunOptions(TapeChoice())))
    with pytest.raises(ConfigError, match="MAX_OUTAGE"):
        backtest(settings, TapeChoice(), 1)
    found = asyncio.run(check(settings))
    assert [one["verdict"] for one in found["checks"] if "MAX_OUTAGE" in one["found"]] == ["failed"]
    assert not settings.data_dir.exists()


def test_what_the_strategy_file_says_is_refused_as_its_own(tmp_path: Path) -> None:
    file = tmp_path / "own.toml"
    file.write_text(SHIPPED.read_text().replace("[risk]\n", "[risk]\nmax_delay = 60000\n"))
    assert "max_delay" in file.read_text()
    settings = Settings.load(strategy=str(file))
    with pytest.raises(ConfigError, match=r"^risk\.max_delay in the strategy file \(60000 s\)"):
        require_times(settings, load_strategy(settings))


@pytest.mark.parametrize(("minutes", "delay"), [(1, 30), (2, 60), (5, 60), (30, 180), (960, 5760)])
def test_what_nobody_sets_goes_with_every_interval(minutes: int, delay: int) -> None:
    class Anything:
        strategy = type("Strategy", (), {"interval": Interval(minutes)})()
        file = load_strategy(Settings.load()).file.model_copy(update={"risk": Settings.load().risk})

    assert max_delay(Settings.load(), Anything()).total_seconds() == delay
    assert max_outage(Settings.load(), Anything()) >= 2 * Interval(minutes).delta
    require_times(Settings.load(), Anything())
