"""Carry over sixty daily closes of the most liquid real perpetuals, and where it goes wrong: all tell one story."""

import json
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path

import polars as pl
import pytest

from tests.parity.third_ledger import Account, replay
from tests.scenarios.processes import Home, agrees, rows
from tests.unit.perpetuals_at_hand import START, perpetuals
from trader.sim.instruments import default_brackets

SHIPPED = Path(__file__).resolve().parents[2] / "deploy" / "strategies" / "perp-carry-1d.toml"
YOUNG = SHIPPED.read_text().replace("window = 30", "window = 6").replace("least_history = 30", "least_history = 5")
TIERS = [(tier.cap, tier.rate, tier.cum) for tier in default_brackets()]
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


@pytest.mark.parametrize("equity", ["10000", "200000000"])
def test_real_filters_and_leverage_tiers_bind_both_alike(equity: str, shared: Path, tmp_path: Path) -> None:
    """With little money what is too small is left; with much, orders are cut and tiers lower the leverage."""
    tape, strategy, rules = tmp_path / "liquid_1d.parquet", tmp_path / "carry.toml", tmp_path / "instruments.json"
    bars = most_liquid(shared / "data" / "perps_1d_2023-09_2023-11.parquet", tape)
    listed = json.loads((shared / "binance" / "exchangeInfo_testnet_2025-03-06.json").read_text())
    tiers = json.loads((shared / "binance" / "leverageBracket_2024-10.json").read_text())
    known = {row["symbol"] for row in listed["symbols"]} & {row["symbol"] for row in tiers}
    bars.filter(pl.col("symbol").is_in(sorted(known))).write_parquet(tape)
    rules.write_text(json.dumps(listed | {"leverageBrackets": tiers}))
    strategy.write_text(SHIPPED.read_text().replace("tenths = 2 ", "tenths = 9 "))
    home = Home(tmp_path / "data")
    window = ("--from", "2023-10-02", "--cycles", "2", "--equity", equity, "--instruments", str(rules))
    common = ("--strategy", str(strategy), *window)
    ran = home.document("run", *common, "--tape", str(tape), "--speed", "max")
    assert ran == home.document("backtest", *common, "--candles", str(tape))
    agrees(home)
    assert len({trade["symbol"] for trade in ran["trades"]}) > 15
    leverages = {row[0] for row in rows(home.exchange / "ledger.db", "select leverage from settings")}
    assert (min(leverages) < 5) is (equity == "200000000")


def test_a_crash_takes_the_whole_basket_in_both_alike(tmp_path: Path) -> None:
    tape, strategy = tmp_path / "perpetuals_1d.parquet", tmp_path / "bold.toml"
    wild = pl.col("open_time") == START + timedelta(days=14)
    perpetuals(6, 12, 24).drop("close_time").with_columns(
        low=pl.when(wild).then((pl.col("low") * 0.1).round(4)).otherwise("low"),
        high=pl.when(wild).then((pl.col("high") * 4).round(4)).otherwise("high"),
    ).write_parquet(tape)
    bold = {
        "tenths = 2 ": "tenths = 8 ",
        "turnover = 0.3 ": "turnover = 2.0 ",
        "target_volatility = 0.4": "target_volatility = 2.0",
        "cap = 0.2": "cap = 0.9",
    }
    text = YOUNG
    for plain, other in bold.items():
        text = text.replace(plain, other)
    strategy.write_text(text)
    home = Home(tmp_path / "data")
    common = ("--strategy", str(strategy), "--from", "2023-01-12", "--cycles", "6")
    ran = home.document("run", *common, "--tape", str(tape), "--speed", "max")
    assert ran == home.document("backtest", *common, "--candles", str(tape))
    assert [close["state"] for close in ran["closes"]] == ["ACTIVE"] * 4 + ["HALTED"] * 2
    assert len(ran["closes"][3]["position"]) > 5
    assert {close["equity"] for close in ran["closes"][4:]} == {"0"}
    agrees(home)
    told, total = home.document("pnl"), ran["portfolio"]["attribution"]["total"]
    assert (told["net"], told["unexplained"]) == ("-10000", "0")
    assert (Decimal(total["net"]), total["other"]) == (-10_000, told["other"])


def test_a_basket_that_does_not_fit_is_opened_by_neither(tmp_path: Path) -> None:
    tape, strategy = tmp_path / "perpetuals_1d.parquet", tmp_path / "carry.toml"
    perpetuals(6, 8, 20).drop("close_time").write_parquet(tape)
    strategy.write_text(YOUNG.replace("tenths = 2 ", "tenths = 8 "))
    home = Home(tmp_path / "data")
    common = ("--strategy", str(strategy), "--from", "2023-01-12", "--cycles", "2")
    settings = {"TRADER_RISK__MAX_LEVERAGE": "0.2"}
    ran = home.document("run", *common, "--tape", str(tape), "--speed", "max", **settings)
    assert ran == home.document("backtest", *common, "--candles", str(tape), **settings)
    assert ran["trades"] == []
    (why,) = home.journal("select why from decisions limit 1")
    assert "by max_leverage: a gross notional of" in why[0]
    assert why[0].count("max_leverage") == 1


def test_the_stops_of_a_basket_close_symbol_by_symbol_in_both_alike(tmp_path: Path) -> None:
    tape, strategy = tmp_path / "perpetuals_1d.parquet", tmp_path / "carry.toml"
    perpetuals(6, 12, 24).drop("close_time").write_parquet(tape)
    strategy.write_text(YOUNG.replace("tenths = 2 ", "tenths = 8 "))
    home = Home(tmp_path / "data")
    common = ("--strategy", str(strategy), "--from", "2023-01-12", "--cycles", "8")
    settings = {"TRADER_RISK__PROTECTIVE_STOP": "0.03", "TRADER_RECONCILE__STOP": "adopt"}
    ran = home.document("run", *common, "--tape", str(tape), "--speed", "max", **settings)
    assert ran == home.document("backtest", *common, "--candles", str(tape), **settings)
    assert [close["state"] for close in ran["closes"]] == ["ACTIVE"] * 8
    agrees(home)
    assert home.document("replay", "--all") == {"replayed": 8, "differences": []}
    stopped = home.journal("select symbol, client_id from orders where leg = 's'")
    assert len({symbol for symbol, _ in stopped}) > 3
    standing = home.journal("select symbol, seq from stops where final = 0")
    held = {symbol for symbol, quantity in ran["closes"][-1]["position"].items() if Decimal(quantity)}
    assert {symbol for symbol, _ in standing} == held
    assert len(standing) == len(held)


def test_hourly_bars_that_begin_inside_a_day_with_funding_that_comes_late_are_traded_alike(tmp_path: Path) -> None:
    """No bar tells its dollar volume, the first day is not whole, and every stamp comes some milliseconds late."""
    begin, symbols = START + timedelta(hours=5), [f"S{number:02}USDT" for number in range(6)]
    frames, rates = [], []
    for number, symbol in enumerate(symbols):
        hours = perpetuals(90 + number, 1, 11 * 24 - 5).drop("close_time", "quote_volume", "funding_rate")
        times = pl.Series("open_time", [begin + timedelta(hours=hour) for hour in range(hours.height)])
        volume = 1.0 + (pl.int_range(pl.len()) * (number + 3)) % 7
        frames.append(hours.with_columns(times.cast(pl.Datetime("ms", "UTC")), symbol=pl.lit(symbol), volume=volume))
        apart = (8, 4, 1)[number % 3]
        stamps = [START + timedelta(hours=hour, milliseconds=hour % 9) for hour in range(0, 11 * 24, apart)]
        paid = [((row * (number + 2)) % 11 - 5) / 10_000 for row in range(len(stamps))]
        rates.append(pl.DataFrame({"symbol": symbol, "funding_time": stamps, "funding_rate": paid}))
    tape, funding, strategy = (tmp_path / name for name in ("hours.parquet", "funding.parquet", "young.toml"))
    pl.concat(frames).write_parquet(tape)
    pl.concat(rates).with_columns(pl.col("funding_time").dt.cast_time_unit("ms")).write_parquet(funding)
    strategy.write_text(YOUNG.replace("tenths = 2 ", "tenths = 6 "))
    home = Home(tmp_path / "data")
    common = ("--strategy", str(strategy), "--funding", str(funding), "--from", "2023-01-07", "--cycles", "4")
    ran = home.document("run", *common, "--tape", str(tape), "--speed", "max")
    assert ran == home.document("backtest", *common, "--candles", str(tape))
    assert len(ran["closes"]) == 4
    assert sum(bool(close["position"]) for close in ran["closes"]) == 4
    assert Decimal(ran["metrics"]["funding"])
