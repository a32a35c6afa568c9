"""Carry over sixty daily closes of the most liquid real perpetuals: daemon, backtest and third ledger are one story."""

from datetime import datetime
from decimal import Decimal
from pathlib import Path

import polars as pl

from tests.parity.third_ledger import Account, replay
from tests.scenarios.processes import Home, agrees
from trader.sim.instruments import default_brackets

TIERS = [(tier.cap, tier.rate, tier.cum) for tier in default_brackets()]
SHIPPED = Path(__file__).resolve().parents[2] / "deploy" / "strategies" / "perp-carry-1d.toml"
SYMBOLS, CLOSES = 24, 60


def most_liquid(candles: Path, out: Path) -> pl.DataFrame:
    """Write the candles of the symbols with the largest dollar volume in all; some of them are listed on the way."""
    bars = pl.read_parquet(candles)
    volume = bars.group_by("symbol").agg(pl.col("quote_volume").sum()).sort("quote_volume", descending=True)
    chosen = bars.filter(pl.col("symbol").is_in(volume["symbol"].head(SYMBOLS).to_list()))
    chosen.write_parquet(out)
    return chosen


def test_every_decision_every_fill_and_every_cent_of_sixty_closes(shared: Path, tmp_path: Path) -> None:
    tape, strategy = tmp_path / "liquid_1d.parquet", tmp_path / "carry.toml"
    bars = most_liquid(shared / "data" / "perps_1d_2023-09_2023-11.parquet", tape)
    # of so few symbols nearly all are held
    strategy.write_text(SHIPPED.read_text().replace("tenths = 2 ", "tenths = 9 "))
    home = Home(tmp_path / "data")
    common = ("--strategy", str(strategy), "--from", "2023-10-02", "--cycles", str(CLOSES))
    ran = home.document("run", *common, "--tape", str(tape), "--speed", "max")
    assert ran == home.document("backtest", *common, "--candles", str(tape))
    assert [close["state"] for close in ran["closes"]] == ["ACTIVE"] * CLOSES
    agrees(home)
    assert home.document("replay", "--all") == {"replayed": CLOSES, "differences": []}

    closes = [
        (datetime.fromisoformat(one["close"]), {name: Decimal(q) for name, q in one["position"].items() if Decimal(q)})
        for one in ran["closes"]
    ]
    books: list[Account] = []
    costs = {"fee": Decimal("0.0005"), "slippage": Decimal("0.0001"), "spread": Decimal("0.0002")}
    money = {"equity": Decimal(10_000), "leverage": 5, "cross": True, "brackets": TIERS, "books": books, **costs}
    third = replay(tape, None, closes, **money)  # type: ignore[arg-type]
    assert third == [(held, Decimal(one["equity"])) for (_, held), one in zip(closes, ran["closes"], strict=True)]
    (book,) = books
    assert (book.fees, book.funded) == (Decimal(ran["metrics"]["fees"]), Decimal(ran["metrics"]["funding"]))
    assert Decimal(ran["portfolio"]["attribution"]["total"]["net"]) == third[-1][1] - 10_000

    late = {symbol for symbol, count in bars.group_by("symbol").len().iter_rows() if count < 91}
    held = {symbol for _, positions in closes for symbol in positions}
    assert len(held) >= 20
    assert held & late
