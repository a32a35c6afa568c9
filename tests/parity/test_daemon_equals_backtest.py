"""The daemon over the embedded exchange, the backtest, and the third ledger agree at every close, to the last digit."""

import json
import re
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from tests.parity.third_ledger import replay
from tests.scenarios.processes import Home, agrees
from trader.domain.interval import Interval
from trader.forecast.artifact import dump
from trader.research.dataset import read_candles
from trader.research.recurrent import Recipe
from trader.research.train_recurrent import train_recurrent
from trader.sim.generated import generated_tape
from trader.sim.instruments import default_brackets

STRATEGIES = Path(__file__).resolve().parents[2] / "deploy" / "strategies"
TIERS = [(tier.cap, tier.rate, tier.cum) for tier in default_brackets()]
Tape = tuple[Path, Path]


@pytest.fixture(scope="module")
def generated(tmp_path_factory: pytest.TempPathFactory) -> Tape:
    folder = tmp_path_factory.mktemp("tape")
    candles, funding = generated_tape()
    candles.write_parquet(folder / "ADAUSDT_1h.parquet")
    funding.write_parquet(folder / "ADAUSDT_funding.parquet")
    return folder / "ADAUSDT_1h.parquet", folder / "ADAUSDT_funding.parquet"


@pytest.fixture
def real(shared: Path) -> Tape:
    return shared / "data" / "ADAUSDT_1h.parquet", shared / "data" / "ADAUSDT_funding.parquet"


def strategy(
    folder: Path, name: str, *, exposure: str = "0.5", leverage: int = 2, drawdown: str = "1.0", more: str = ""
) -> Path:
    """Write a shipped strategy with other sizes."""
    text = (STRATEGIES / f"{name}.toml").read_text()
    for key, value in (("exposure", exposure), ("leverage", leverage), ("max_drawdown", drawdown)):
        text, found = re.subn(rf"^{key} = [0-9.]+", f"{key} = {value}", text, flags=re.MULTILINE)
        assert found == 1
    path = folder / "strategy.toml"
    path.write_text(text.replace("[allocation]\n", f"[allocation]\n{more}"))
    return path


def compare(
    folder: Path, tape: Tape, file: Path, start: str, cycles: int, leverage: int = 2, *, reopen: bool = False
) -> dict[str, Any]:
    """Run both, let the third ledger follow the positions, and return what all three agree on."""
    home = Home(folder / "data")
    candles, funding = tape
    window = ("--from", start, "--cycles", str(cycles), "--equity", "10000")
    common = ("--strategy", str(file), "--funding", str(funding), *window)
    ran = home.document("run", *common, "--tape", str(candles), "--speed", "max")
    tested = home.document("backtest", *common, "--candles", str(candles))
    assert len(ran["closes"]) == cycles
    assert ran["closes"] == tested["closes"]
    assert ran["trades"] == tested["trades"]
    assert ran["metrics"] == tested["metrics"]
    assert ran["round_trips"] == tested["round_trips"]
    assert ran["performance"] == tested["performance"]
    agrees(home)
    assert home.run("replay", "--all").returncode == 0
    closes = [(datetime.fromisoformat(c["close"]), Decimal(c["position"])) for c in ran["closes"]]
    tick = Decimal("0.00001") if "shared" in str(candles) else Decimal("0.0001")
    money = {"equity": Decimal(10000), "fee": Decimal("0.0005"), "slippage": Decimal("0.0001")}
    third = replay(
        candles,
        funding,
        closes,
        **money,
        spread=Decimal("0.0002"),
        leverage=leverage,
        tick=tick,
        brackets=TIERS,
        reopen=reopen,
    )
    assert third == [(Decimal(c["position"]), Decimal(c["equity"])) for c in ran["closes"]]
    document: dict[str, Any] = ran
    return document


def states(document: dict[str, Any]) -> list[str]:
    return [close["state"] for close in document["closes"]]


@pytest.mark.parametrize("name", ["ada-ar-16h", "ada-ar-12h"])
def test_on_a_generated_tape_for_three_hundred_closes(name: str, generated: Tape, tmp_path: Path) -> None:
    document = compare(tmp_path, generated, strategy(tmp_path, name), "2024-01-01", 300)
    assert len(document["trades"]) > 50
    assert Decimal(document["metrics"]["funding"]) != 0
    assert states(document) == ["ACTIVE"] * 300


@pytest.mark.parametrize("sizing", ["", 'sizing = "constant"\ncapital = 4000\n'])
def test_closed_and_opened_anew_at_every_close(sizing: str, generated: Tape, tmp_path: Path) -> None:
    file = strategy(tmp_path, "ada-ar-12h", more=f'rebalance = "every_close"\n{sizing}')
    document = compare(tmp_path, generated, file, "2024-01-01", 120, reopen=True)
    assert len(document["trades"]) == 239
    opened = [abs(Decimal(t["quantity"])) * Decimal(t["price"]) for t in document["trades"][::2]]
    if sizing:
        assert all(Decimal(1995) < one < Decimal(2005) for one in opened)
    else:
        assert max(opened) - min(opened) > 200


def test_a_constant_size_that_is_held_does_not_follow_the_equity(generated: Tape, tmp_path: Path) -> None:
    file = strategy(tmp_path, "ada-ar-16h", more='sizing = "constant"\ncapital = 4000\n')
    document = compare(tmp_path, generated, file, "2024-01-01", 120)
    opened = [abs(Decimal(t["quantity"])) * Decimal(t["price"]) for t in document["trades"] if t["realised"] == "0"]
    assert len(opened) > 20
    assert all(Decimal(1995) < one < Decimal(2005) for one in opened)


def test_a_drawdown_on_a_generated_tape_halts_both_at_the_same_close(generated: Tape, tmp_path: Path) -> None:
    document = compare(tmp_path, generated, strategy(tmp_path, "ada-ar-16h", drawdown="0.02"), "2024-01-01", 60)
    halted = states(document).index("HALTED")
    assert 0 < halted < 50
    assert {close["position"] for close in document["closes"][halted:]} == {"0"}


def test_a_liquidation_on_a_generated_tape_takes_both_alike(generated: Tape, tmp_path: Path) -> None:
    file = strategy(tmp_path, "ada-ar-16h", exposure="9.0", leverage=20)
    document = compare(tmp_path, generated, file, "2024-01-01", 120, leverage=20)
    halted = states(document).index("HALTED")
    assert document["closes"][halted - 1]["position"] != "0"
    assert {close["position"] for close in document["closes"][halted:]} == {"0"}


@pytest.mark.parametrize(("rebalance", "policy"), [("drift", "halt"), ("every_close", "adopt")])
def test_a_protective_stop_closes_both_alike_and_halts_both_or_neither(
    rebalance: str, policy: str, generated: Tape, tmp_path: Path
) -> None:
    file = strategy(tmp_path, "ada-ar-16h", more=f'rebalance = "{rebalance}"\n')
    file.write_text(file.read_text().replace("[risk]\n", "[risk]\nprotective_stop = 0.008\n"))
    assert "protective_stop" in file.read_text()
    home = Home(tmp_path / "data")
    common = ("--strategy", str(file), "--from", "2024-01-01", "--cycles", "25", "--equity", "10000")
    candles, funding, chosen = str(generated[0]), str(generated[1]), {"TRADER_RECONCILE__STOP": policy}
    ran = home.document("run", *common, "--tape", candles, "--funding", funding, "--speed", "max", **chosen)
    tested = home.document("backtest", *common, "--candles", candles, "--funding", funding, **chosen)
    for part in ("closes", "trades", "metrics", "round_trips", "performance"):
        assert ran[part] == tested[part]
    agrees(home)
    assert home.run("replay", "--all").returncode == 0
    orders = json.loads(home.run("orders", "--last", "500", "--json").stdout)
    stopped = [one for one in orders if one["client_id"].rpartition(".")[2].startswith("s")]
    assert all((one["status"], one["outcome"]) == ("FILLED", "confirmed") for one in stopped)
    if policy == "halt":
        assert len(stopped) == 1
        first = states(ran).index("HALTED")
        assert {close["position"] for close in ran["closes"][first:]} == {"0"}
    else:
        assert len(stopped) > 3
        assert states(ran) == ["ACTIVE"] * 25


def test_both_begin_at_the_same_close_where_nobody_says_when(generated: Tape, tmp_path: Path) -> None:
    home = Home(tmp_path / "data")
    candles = str(generated[0])
    ran = home.document("run", "--tape", candles, "--cycles", "2", "--speed", "max")
    assert ran["closes"] == home.document("backtest", "--candles", candles, "--cycles", "2")["closes"]
    ran = home.document("run", "--cycles", "2", "--speed", "max")
    assert ran["closes"] == home.document("backtest", "--cycles", "2")["closes"]
    assert ran["generated"] is True


@pytest.mark.parametrize(
    ("bound", "more"),
    [("0.01", ""), ("0.0012", ""), ("0.0012", "top_up = false\n"), ("0.00001", "")],
    ids=["wide", "tight", "without_a_second_order", "too_tight"],
)
def test_orders_with_a_bounded_price_are_filled_alike(bound: str, more: str, generated: Tape, tmp_path: Path) -> None:
    file = strategy(tmp_path, "ada-ar-12h")
    text = f'\n[execution]\norder_type = "marketable_limit"\nmax_slippage = {bound}\n{more}'
    file.write_text(file.read_text() + text)
    home, slippery = Home(tmp_path / "data"), {"TRADER_SIM__SLIPPAGE": "0.002"}
    common = ("--strategy", str(file), "--from", "2024-01-01", "--cycles", "16", "--equity", "10000")
    ran = home.document("run", *common, "--tape", str(generated[0]), "--speed", "max", **slippery)
    tested = home.document("backtest", *common, "--candles", str(generated[0]), **slippery)
    assert ran["closes"] == tested["closes"]
    assert ran["trades"] == tested["trades"]
    assert ran["metrics"] == tested["metrics"]
    agrees(home)
    assert home.run("replay", "--all").returncode == 0
    held = [close["position"] for close in ran["closes"]]
    short = home.journal("select quantity, filled from orders where quantity != filled")
    assert bool(short) is (bound != "0.01")
    if bound == "0.00001":
        assert set(held) == {"0"}
    else:
        assert len(ran["trades"]) > 5
        assert any(Decimal(one) for one in held)


def test_a_leverage_that_the_brackets_do_not_allow_is_lowered_in_both_alike(generated: Tape, tmp_path: Path) -> None:
    file = strategy(tmp_path, "ada-ar-16h", exposure="3.0", leverage=20)
    home = Home(tmp_path / "data")
    common = ("--strategy", str(file), "--from", "2024-01-01", "--cycles", "8", "--equity", "200000")
    ran = home.document("run", *common, "--tape", str(generated[0]), "--speed", "max")
    tested = home.document("backtest", *common, "--candles", str(generated[0]))
    assert ran["closes"] == tested["closes"]
    assert ran["trades"] == tested["trades"]
    assert ran["closes"][0]["position"] != "0"
    agrees(home)


@pytest.mark.parametrize("name", ["ada-ar-16h", "ada-ar-12h"])
def test_on_real_candles_for_three_hundred_closes(name: str, real: Tape, tmp_path: Path) -> None:
    document = compare(tmp_path, real, strategy(tmp_path, name), "2023-02-11", 300)
    assert len(document["trades"]) > 50


def test_a_drawdown_on_real_candles_halts_both_at_the_same_close(real: Tape, tmp_path: Path) -> None:
    document = compare(tmp_path, real, strategy(tmp_path, "ada-ar-16h", drawdown="0.1"), "2023-02-11", 300)
    assert 0 < states(document).index("HALTED") < 300


def test_the_crash_of_october_2025_liquidates_both_alike(real: Tape, tmp_path: Path) -> None:
    file = strategy(tmp_path, "ada-ar-12h", exposure="5.0", leverage=6)
    document = compare(tmp_path, real, file, "2025-08-01", 300, leverage=6)
    halted = states(document).index("HALTED")
    assert document["closes"][halted]["close"] <= "2025-10-11T00:00:00Z"


def test_a_recurrent_network_in_proportion_to_its_probabilities_for_five_hundred_closes(
    generated: Tape, tmp_path: Path
) -> None:
    interval = Interval.parse("1h")
    candles = read_candles(generated[0])[:2000]
    recipe = Recipe(window=24, layers=2, width=4, epochs=3, rate=0.01)
    model = train_recurrent(candles, interval, recipe, name="small", created=datetime(2026, 1, 1, tzinfo=UTC))
    (tmp_path / "small").mkdir()
    for file, content in zip(("card.json", "weights.safetensors"), dump(model), strict=True):
        (tmp_path / "small" / file).write_bytes(content)
    file = tmp_path / "gru.toml"
    file.write_text(
        'name = "gru"\nkind = "gru"\nsymbol = "ADAUSDT"\ninterval = "1h"\nmodel = "small"\n'
        '[policy]\nkind = "proportional"\n[allocation]\nexposure = 1.5\nleverage = 2\nband = 0.1\n'
    )
    document = compare(tmp_path, generated, file, "2024-01-01", 500)
    said = {close["forecast"] for close in document["closes"]}
    assert len(said) > 400
    assert len(document["trades"]) > 100
