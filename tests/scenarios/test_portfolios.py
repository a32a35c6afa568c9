"""A portfolio traded by the daemon over the embedded exchange: decisions, orders and money, close by close."""

from pathlib import Path
from typing import Any

import pytest

from tests.scenarios.processes import Home, agrees
from tests.unit.perpetuals_at_hand import perpetuals

SHIPPED = (Path(__file__).resolve().parents[2] / "deploy" / "strategies" / "perp-carry-1d.toml").read_text()
QUICK = SHIPPED.replace("window = 30", "window = 6").replace("least_history = 30", "least_history = 5")
WIDE = QUICK.replace("tenths = 2", "tenths = 8").replace('name = "perp-carry-1d"', 'name = "wide"')


@pytest.fixture
def home(tmp_path: Path) -> Home:
    (tmp_path / "wide.toml").write_text(WIDE)
    return Home(tmp_path / "data")


def tape(home: Home, symbols: int, days: int, seed: int = 5) -> str:
    """Daily candles of many symbols, some listed late and some delisted, as a file."""
    path = home.data.parent / "perpetuals_1d.parquet"
    perpetuals(seed, symbols, days).drop("close_time").write_parquet(path)
    return str(path)


def both(home: Home, candles: str, *window: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Run the daemon and the backtest over the same window."""
    common = ("--strategy", "wide.toml", *window)
    ran = home.document("run", *common, "--tape", candles, "--speed", "max")
    return ran, home.document("backtest", *common, "--candles", candles)


def test_three_symbols_for_five_closes_are_traded_as_the_backtest_does_and_replay(home: Home) -> None:
    ran, tested = both(home, tape(home, 3, 20), "--from", "2023-01-09", "--cycles", "5")
    assert len(ran["closes"]) == 5
    assert ran == tested
    assert {trade["symbol"] for trade in ran["trades"]} == {"S00USDT", "S01USDT", "S02USDT"}
    agrees(home)
    assert home.document("replay", "--all") == {"replayed": 5, "differences": []}
    status = home.document("status")
    assert status["position"] == ran["closes"][-1]["position"]
    assert status["strategy"] == "wide"
    assert home.document("reconcile")["differences"] == []
    assert len(home.document("orders")) == len(ran["trades"])
    assert home.document("pnl")["unexplained"] == "0"


def test_symbols_that_are_listed_and_delisted_meanwhile_are_opened_and_given_up(home: Home) -> None:
    ran, tested = both(home, tape(home, 12, 32), "--from", "2023-01-11", "--cycles", "20")
    assert ran == tested
    held = [set(close["position"]) for close in ran["closes"]]
    assert held[-1] - set(ran["closes"][0]["forecast"]), "nothing was listed meanwhile"
    assert any("S07USDT" in names for names in held)
    assert "S07USDT" not in held[-1]
    agrees(home)
    assert home.document("replay", "--all") == {"replayed": 20, "differences": []}
