"""The third ledger itself, against money worked out on paper: who checks the others must be checked first."""

import ast
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from tests.parity import third_ledger
from tests.parity.third_ledger import replay

START = datetime(2025, 1, 1, tzinfo=UTC)
ONE_TIER = [(Decimal("1e9"), Decimal("0.01"), Decimal(0))]
Bar = tuple[float, float, float, float]


def hour(number: int) -> datetime:
    return START + timedelta(hours=number)


def told(
    folder: Path, bars: list[Bar], held: dict[int, str], funding: dict[int, float] | None = None, **given: Any
) -> list[tuple[str, str]]:
    """Replay hourly (open, high, low, close) bars; positions after a close and funding rates are given by the hour."""
    columns = dict(zip(("open", "high", "low", "close"), zip(*bars, strict=True), strict=True))
    times = pl.Series("open_time", [hour(row) for row in range(len(bars))], pl.Datetime("ms", "UTC"))
    pl.DataFrame({"open_time": times, **columns, "volume": 1.0}).write_parquet(folder / "candles.parquet")
    rates = {"funding_time": [hour(at) for at in funding or {}], "funding_rate": list((funding or {}).values())}
    pl.DataFrame(rates, schema={"funding_time": pl.Datetime("ms", "UTC"), "funding_rate": pl.Float64}).write_parquet(
        folder / "funding.parquet"
    )
    money: dict[str, Any] = {
        "equity": Decimal(1000),
        "fee": Decimal(0),
        "slippage": Decimal(0),
        "spread": Decimal(0),
        "leverage": 10,
        "tick": Decimal("0.0001"),
        "brackets": ONE_TIER,
    }
    closes = [(hour(at), Decimal(quantity)) for at, quantity in held.items()]
    rows = replay(folder / "candles.parquet", folder / "funding.parquet", closes, **(money | given))
    return [(str(position), f"{equity.normalize():f}") for position, equity in rows]


def flat(*opens: float) -> list[Bar]:
    return [(price, price, price, price) for price in opens]


def test_a_long_a_flip_and_a_reduction_with_every_cost(tmp_path: Path) -> None:
    costs: dict[str, Any] = {"fee": Decimal("0.0005"), "slippage": Decimal("0.0001"), "spread": Decimal("0.0002")}
    rows = told(tmp_path, flat(1.0, 1.1, 1.2, 0.9), {0: "100", 1: "150", 2: "-60", 3: "-40", 4: "0"}, **costs)
    assert rows == [
        ("100", "999.92999"),  # bought at 1.0002, fee 0.05001, marked at 1
        ("150", "1009.8874825"),  # 50 more at 1.1003: fee 0.0275075, cost 155.035 marked at 165
        # 150 sold at 1.1997 (24.92 earned, fee 0.0899775); 60 more sold (fee 0.035991), 0.018 down at 1.2
        ("-60", "1024.698514"),
        # 20 bought at 0.9002 (5.99 earned, fee 0.009002): wallet 1030.697512; 40 cost -47.988, worth -36 at 0.9
        ("-40", "1042.685512"),
        ("0", "1042.659508"),  # 11.98 earned, fee 0.018004; after the last bar its close is the price
    ]


def test_funding_is_paid_on_what_was_held_until_its_stamp_at_the_first_price_after_it(tmp_path: Path) -> None:
    rows = told(
        tmp_path, flat(1.0, 2.0, 2.0, 2.0), {0: "100", 1: "-50", 2: "0", 3: "0"}, {0: 0.5, 1: 0.001, 2: 0.002, 3: 0.5}
    )
    assert rows == [("100", "1000"), ("-50", "1099.8"), ("0", "1100"), ("0", "1100")]


def test_the_worst_price_of_a_bar_liquidates_before_its_funding(tmp_path: Path) -> None:
    """100 at 1 with ten times leverage goes at 0.9 / 0.99; what is lost is the margin of 10 and nothing else."""
    deep, shallow = (1.0, 1.0, 0.909, 1.0), (1.0, 1.0, 0.9091, 1.0)
    assert told(tmp_path, [deep, *flat(1.0)], {0: "100", 1: "0"}, {1: 0.01}) == [("100", "1000"), ("0", "990")]
    assert told(tmp_path, [shallow, *flat(1.0)], {0: "100", 1: "100"}, {1: 0.01}) == [("100", "1000"), ("100", "999")]


def test_a_short_is_liquidated_by_the_high(tmp_path: Path) -> None:
    """1.1 / 1.01 is 1.08911."""
    high, low = (1.0, 1.0892, 1.0, 1.0), (1.0, 1.0891, 0.1, 1.0)
    assert told(tmp_path, [high, *flat(1.0)], {0: "-100", 1: "0"}) == [("-100", "1000"), ("0", "990")]
    assert told(tmp_path, [low, *flat(1.0)], {0: "-100", 1: "-100"}) == [("-100", "1000"), ("-100", "1000")]


def test_a_gap_between_two_bars_liquidates_at_the_open(tmp_path: Path) -> None:
    assert told(tmp_path, flat(1.0, 0.9), {0: "100", 1: "0"})[1] == ("0", "990")


def test_funding_beyond_what_is_free_lowers_the_margin_until_it_is_too_small(tmp_path: Path) -> None:
    """10 of 10 are bound; 9 of funding leave 1 of margin, which is what 0.01 of 100 asks for."""
    taken = told(tmp_path, flat(1.0, 1.0), {0: "100", 1: "0"}, {1: 0.09}, equity=Decimal(10))
    assert taken == [("100", "10"), ("0", "0")]
    kept = told(tmp_path, flat(1.0, 1.0), {0: "100", 1: "100"}, {1: 0.0899}, equity=Decimal(10))
    assert kept == [("100", "10"), ("100", "1.01")]


def test_the_tier_is_the_first_that_covers_the_notional(tmp_path: Path) -> None:
    tiers = [(Decimal(50), Decimal("0.001"), Decimal(0)), (Decimal(1000), Decimal("0.5"), Decimal(45))]
    # at 0.95 the notional is 95: half of it less 45 are 2.5, and 5 of the margin of 10 are left
    bars = [(1.0, 1.0, 0.95, 1.0), *flat(1.0)]
    assert told(tmp_path, bars, {0: "100", 1: "100"}, brackets=tiers)[1] == ("100", "1000")
    tiers[1] = (Decimal(1000), Decimal("0.5"), Decimal(42))
    assert told(tmp_path, bars, {0: "100", 1: "0"}, brackets=tiers)[1] == ("0", "990")


def test_a_close_that_is_no_beginning_of_a_bar_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="not in list"):
        told(tmp_path, flat(1.0, 1.0), {7: "100"})


def test_the_third_ledger_imports_nothing_of_ours() -> None:
    tree = ast.parse(Path(third_ledger.__file__).read_text(encoding="utf-8"))
    names = [node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    names += [alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names]
    assert {name.split(".")[0] for name in names} == {
        "collections",
        "datetime",
        "decimal",
        "pathlib",
        "polars",
        "typing",
    }
