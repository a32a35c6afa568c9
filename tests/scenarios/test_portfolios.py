"""A portfolio traded by the daemon over the embedded exchange: decisions, orders and money, close by close."""

from datetime import timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from tests.scenarios.processes import Home, agrees
from tests.unit.perpetuals_at_hand import START, perpetuals

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
    assert home.document("report", "live", "--out", str(home.data / "live.html"))["shortfall"] == 0
    found = home.document("check")
    assert found["ok"]
    assert {one["check"]: one["found"] for one in found["checks"]}["modes"].startswith("one-way mode; 3 symbols as")
    assert set(home.document("decide")["forecast"]) == set(status["position"])


def test_symbols_that_are_listed_and_delisted_meanwhile_are_opened_and_given_up(home: Home) -> None:
    ran, tested = both(home, tape(home, 12, 32), "--from", "2023-01-11", "--cycles", "20")
    assert ran == tested
    held = [set(close["position"]) for close in ran["closes"]]
    assert held[-1] - set(ran["closes"][0]["forecast"]), "nothing was listed meanwhile"
    assert any("S07USDT" in names for names in held)
    assert "S07USDT" not in held[-1]
    agrees(home)
    assert home.document("replay", "--all") == {"replayed": 20, "differences": []}


# --- twenty symbols, and what may go wrong of one

WINDOW = ("--from", "2023-01-09", "--cycles", "6")
KLINES, POST = "GET /fapi/v1/klines", "POST /fapi/v1/order"
ANSWERS: list[dict[str, Any]] = [
    {"do": "lose_answer"},
    {"do": "drop_request"},
    {"do": "timeout_1007_executed"},
    {"do": "timeout_1007_not_executed"},
    {"do": "unknown_503_executed"},
    {"do": "html_200", "effect": True},
    {"do": "html_200", "effect": False},
    {"do": "empty_200", "effect": True},
    {"do": "late_visibility", "ms": 8000},
]


def twenty(home: Home) -> tuple[str, list[str]]:
    """A tape of twenty symbols that are listed all the time."""
    bars = perpetuals(5, 40, 16).drop("close_time")
    lived = bars.group_by("symbol").len().filter(pl.col("len") == 16)["symbol"].sort().to_list()[:20]
    path = home.data.parent / "twenty_1d.parquet"
    bars.filter(pl.col("symbol").is_in(lived)).write_parquet(path)
    return str(path), lived


def played(home: Home, *faults: dict[str, Any]) -> tuple[dict[str, Any], list[str]]:
    candles, symbols = twenty(home)
    settings = {"TRADER_SIM__FAULTS": home.plan(*faults)} if faults else {}
    words = ("run", "--strategy", "wide.toml", *WINDOW, "--tape", candles, "--speed", "max")
    ran = home.document(*words, **settings)
    assert len(ran["closes"]) == 6
    agrees(home)
    assert home.document("replay", "--all") == {"replayed": 6, "differences": []}
    return ran, symbols


@pytest.mark.fault(26, 27, 31, 32)
def test_any_answer_to_a_leg_of_a_basket_has_the_effect_of_the_right_one(home: Home, tmp_path: Path) -> None:
    calm = Home(tmp_path / "calm" / "data")
    calm.data.parent.mkdir()
    (calm.data.parent / "wide.toml").write_text(WIDE)
    undisturbed, _ = played(calm)
    faults = [{"on": {"path": POST, "nth": 2 + 5 * number}, **answer} for number, answer in enumerate(ANSWERS)]
    ran, _ = played(home, *faults)
    assert len(undisturbed["trades"]) > 5 * len(ANSWERS)
    assert ran["closes"] == undisturbed["closes"]
    assert home.ledger()["positions"] == calm.ledger()["positions"]
    assert home.ledger()["wallet"] == calm.ledger()["wallet"]


@pytest.mark.fault(64, 65, 68)
def test_candles_that_cannot_be_used_leave_out_their_symbol_alone(home: Home) -> None:
    spoiled = [
        {"do": "missing_candle", "index": 3},
        {"do": "duplicate_candle", "index": 3},
        {"do": "swapped_candles", "index": 3},
        {"do": "bad_candle", "value": "nan"},
    ]
    # one symbol at each close after the first: the third, the sixth, ...
    faults = [{"on": {"path": KLINES, "nth": 23 * number}, **one} for number, one in enumerate(spoiled, start=1)]
    ran, symbols = played(home, *faults)
    for number in range(1, 5):
        before, after = (ran["closes"][place] for place in (number - 1, number))
        symbol = symbols[3 * number - 1]
        assert symbol not in after["forecast"]
        assert after["position"].get(symbol) == before["position"].get(symbol)
        assert len(after["forecast"]) >= 14
    assert ran["portfolio"]["excluded"] == {}


@pytest.mark.fault(50)
def test_a_halted_symbol_keeps_its_position_and_the_others_are_traded(home: Home) -> None:
    moment = round((START + timedelta(days=10, hours=12)).timestamp() * 1000)
    later = round((START + timedelta(days=12, hours=12)).timestamp() * 1000)
    ran, symbols = played(
        home,
        {"at": moment, "do": "symbol", "symbol": "S01USDT", "status": "BREAK"},
        {"at": later, "do": "symbol", "symbol": "S01USDT", "status": "TRADING"},
    )
    held = [close["position"].get("S01USDT") for close in ran["closes"]]
    assert held[2] is not None
    assert held[2] == held[3] == held[4]
    assert "S01USDT" in symbols
    assert [("S01USDT" in close["forecast"]) for close in ran["closes"]] == [True, True, True, False, False, True]
