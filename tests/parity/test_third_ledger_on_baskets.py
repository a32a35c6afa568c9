"""A portfolio backtested in money and the third ledger agree at every close, in every symbol, to the last digit."""

import json
import re
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from typer.testing import CliRunner

from tests.parity.third_ledger import Account, replay
from tests.unit.perpetuals_at_hand import COSTS, backtest, carry, perpetuals
from trader.cli import app
from trader.sim.instruments import default_brackets

TIERS = [(tier.cap, tier.rate, tier.cum) for tier in default_brackets()]
ONE_TIER = [(Decimal("1e12"), Decimal("0.005"), Decimal(0))]
Held = dict[str, Decimal]


def third(candles: Path, closes: list[tuple[datetime, Held]], **given: Any) -> list[tuple[Held, Decimal]]:
    money: dict[str, Any] = {"fee": COSTS.fee, "slippage": COSTS.slippage, "spread": COSTS.spread}
    return replay(candles, None, closes, equity=Decimal(10_000), leverage=5, cross=True, **money, **given)


@pytest.mark.parametrize(("seed", "gross"), [(1, 1.0), (2, 2.0), (3, 4.0), (4, 4.0)])
def test_generated_perpetuals_that_come_and_go(seed: int, gross: float, tmp_path: Path) -> None:
    bars = perpetuals(seed, 16, 60)
    bars.drop("close_time").write_parquet(tmp_path / "candles.parquet")
    result = backtest(bars, carry(bars, gross=gross, turnover=gross / 2, cap=0.9, target_volatility=2.0))
    ours = [(report.positions, report.equity) for report in result.closes]
    closes = [(report.close, dict(report.positions)) for report in result.closes]
    books: list[Account] = []
    assert third(tmp_path / "candles.parquet", closes, brackets=ONE_TIER, books=books) == ours
    assert len({symbol for held, _ in ours for symbol in held}) > 8
    assert (books[0].fees, books[0].funded) == (result.fees, result.funding)
    assert books[0].funded != 0


def test_a_crash_that_takes_the_whole_basket(tmp_path: Path) -> None:
    bars = perpetuals(6, 20, 60)
    wild = pl.col("open_time") == bars["open_time"].unique().sort()[30]
    crash = bars.with_columns(
        low=pl.when(wild).then((pl.col("low") * 0.2).round(4)).otherwise("low"),
        high=pl.when(wild).then((pl.col("high") * 3).round(4)).otherwise("high"),
    )
    crash.drop("close_time").write_parquet(tmp_path / "candles.parquet")
    result = backtest(crash, carry(crash, gross=2.0, turnover=2.0))
    closes = [(report.close, dict(report.positions)) for report in result.closes]
    told = third(tmp_path / "candles.parquet", closes, brackets=ONE_TIER)
    assert told == [(report.positions, report.equity) for report in result.closes]
    assert told[-1] == ({}, 0)
    assert len(result.forced) > 5


@pytest.fixture(scope="module")
def shipped(shared: Path) -> tuple[Path, dict[str, Any]]:
    """The shipped carry strategy over the real perpetuals, from the command line."""
    candles = shared / "data" / "perps_1d_2023-09_2023-11.parquet"
    words = ["backtest", "--strategy", "perp-carry-1d", "--candles", str(candles), "--json"]
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 0, done.output
    return candles, json.loads(done.stdout)


def test_the_shipped_carry_strategy_over_sixty_two_closes_of_all_real_perpetuals(
    shipped: tuple[Path, dict[str, Any]],
) -> None:
    candles, found = shipped
    closes = [
        (datetime.fromisoformat(one["close"]), {s: Decimal(q) for s, q in one["position"].items() if Decimal(q)})
        for one in found["closes"]
    ]
    told = third(candles, closes, brackets=TIERS)
    assert told == [(held, Decimal(one["equity"])) for (_, held), one in zip(closes, found["closes"], strict=True)]
    assert len(closes) == 62
    assert all(len(held) > 30 for _, held in closes)


def test_the_page_on_carry_says_what_became_of_the_money(root: Path, shipped: tuple[Path, dict[str, Any]]) -> None:
    _, found = shipped
    total = {name: Decimal(one) for name, one in found["portfolio"]["attribution"]["total"].items()}
    assert total["net"] == Decimal(found["closes"][-1]["equity"]) - 10_000
    assert sum(total.values()) - total["net"] == total["net"]
    page = " ".join((root / "docs" / "carry.md").read_text().split())
    parts = ", ".join(f"{name} {total[name] / 100:+.2f} %" for name in ("prices", "slippage", "fees", "funding"))
    assert f"it ends {-total['net'] / 100:.2f} % lower after 61 candles: {parts}." in page
    volatility = found["portfolio"]["volatility"]
    words = f"{volatility['realised'] * 100:.0f} % a year where {volatility['forecast'] * 100:.0f} % were forecast"
    assert re.search(re.escape(words), page)
