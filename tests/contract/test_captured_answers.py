"""Answers have the shapes and types of what the real exchange answered, and it lists what the real one lists."""

import json
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from trader.sim.exchange import Exchange
from trader.sim.folder import Options, open_exchange
from trader.sim.instruments import default_listing
from trader.sim.tape import tape_from_frames
from trader.sim.wire import Request

CAPTURES = ("exchangeInfo_mainnet_2021-09-06.json", "exchangeInfo_testnet_2025-03-06.json")
# What only some rows of the captures have, and what the exchange says about itself.
OPTIONAL = {"settlePlan", "maxMoveOrderLimit"}


def tape_of(symbols: list[str]) -> pl.DataFrame:
    start = datetime(2025, 3, 1, tzinfo=UTC)
    rows = [
        {"open_time": start + timedelta(days=day), "symbol": symbol, "open": 2.0, "high": 2.2, "low": 1.9, "close": 2.1}
        for symbol in symbols
        for day in range(12)
    ]
    return pl.DataFrame(rows).with_columns(pl.lit(1000.0).alias("volume"))


def perpetuals(captured: dict[str, Any]) -> list[dict[str, Any]]:
    rows = captured["symbols"]
    return [
        row
        for row in rows
        if row["contractType"] == "PERPETUAL" and row["symbol"].isalnum() and len(row["symbol"]) < 20
    ]


def ask(exchange: Exchange, path: str, query: str = "") -> Any:
    request = Request("GET", path, query, "", None)
    exchange.begin(request)
    answer = exchange.answer(request)
    assert answer.status == 200, answer.body
    return json.loads(answer.body)


def shape(value: Any) -> Any:
    """Reduce a document to its keys and types; whole and fractional numbers are one type in JSON."""
    if isinstance(value, dict):
        return {key: shape(each) for key, each in value.items()}
    if isinstance(value, list):
        return [shape(value[0])] if value and not isinstance(value[0], str) else ["..."]
    return "number" if isinstance(value, int | float) and not isinstance(value, bool) else type(value).__name__


@pytest.mark.parametrize("name", CAPTURES)
def test_exchange_info_of_a_captured_file_is_served_as_it_was_captured(shared: Path, tmp_path: Path, name: str) -> None:
    path = shared / "binance" / name
    captured = json.loads(path.read_text())
    rows = {row["symbol"]: row for row in perpetuals(captured)}
    tape_of(list(rows)).write_parquet(tmp_path / "tape.parquet")
    options = Options(
        folder=tmp_path / "exchange", tape=tmp_path / "tape.parquet", instruments=path, clock="stepped",
        begin=round(datetime(2025, 3, 3, tzinfo=UTC).timestamp() * 1000),
    )  # fmt: skip
    opened = open_exchange(options)
    served = ask(opened.exchange, "/fapi/v1/exchangeInfo")
    assert len(rows) > 100
    assert {row["symbol"]: row for row in served["symbols"]} == rows
    assert served["rateLimits"] == captured["rateLimits"]
    assert served["assets"] == captured["assets"]
    assert set(captured) - set(served) == set()
    for symbol in list(rows)[::40]:
        assert len(ask(opened.exchange, "/fapi/v1/klines", f"symbol={symbol}&interval=1d")) == 3
    opened.exchange.ledger.close()
    opened.lock.close()


@pytest.mark.parametrize("name", CAPTURES)
def test_stated_defaults_have_the_shape_of_a_captured_row(shared: Path, name: str) -> None:
    captured = json.loads((shared / "binance" / name).read_text())
    real = next(row for row in captured["symbols"] if row["symbol"] == "ADAUSDT")
    tape = tape_from_frames(tape_of(["ADAUSDT"]), None, name="tape")
    ours = default_listing(tape).instruments["ADAUSDT"].entry
    told, known = shape(dict(ours)), shape(real)
    absent = set(known) ^ set(told)
    assert absent <= OPTIONAL
    assert {key: told[key] for key in told if key not in absent | {"filters"}} == {
        key: known[key] for key in known if key not in absent | {"filters"}
    }
    filters = {row["filterType"]: shape(row) for row in real["filters"]}
    assert {row["filterType"]: shape(row) for row in ours["filters"]} == filters
    assert set(ours["timeInForce"]) <= set(real["timeInForce"])
    assert set(ours["orderTypes"]) <= set(real["orderTypes"])


def test_captured_leverage_tables_are_served_as_numbers(shared: Path, tmp_path: Path) -> None:
    tables = {
        row["symbol"]: row for row in json.loads((shared / "binance" / "leverageBracket_2024-10.json").read_text())
    }
    info = json.loads((shared / "binance" / CAPTURES[1]).read_text())
    rows = {row["symbol"]: row for row in perpetuals(info) if row["symbol"] in tables}
    info["leverageBrackets"] = list(tables.values())
    (tmp_path / "instruments.json").write_text(json.dumps(info))
    tape_of(list(rows)).write_parquet(tmp_path / "tape.parquet")
    options = Options(
        folder=tmp_path / "exchange", tape=tmp_path / "tape.parquet", instruments=tmp_path / "instruments.json",
        clock="stepped", begin=round(datetime(2025, 3, 3, tzinfo=UTC).timestamp() * 1000),
    )  # fmt: skip
    opened = open_exchange(options)
    instruments = opened.exchange.desk.listing.instruments
    assert len(rows) > 200
    for symbol in rows:
        brackets = instruments[symbol].brackets
        real = tables[symbol]["brackets"]
        assert len(brackets) == len(real)
        for one, other in zip(brackets, sorted(real, key=lambda row: float(row["notionalFloor"])), strict=True):
            assert (one.leverage, float(one.cap)) == (int(other["initialLeverage"]), float(other["notionalCap"]))
            assert (float(one.rate), float(one.cum)) == (float(other["maintMarginRatio"]), float(other["cum"]))
        # A maintenance margin that jumped at the edge of a bracket would liquidate who gains a cent.
        for lower, upper in pairwise(brackets):
            jump = (upper.rate - lower.rate) * lower.cap - (upper.cum - lower.cum)
            assert abs(jump) <= lower.cap / 1_000_000
        assert instruments[symbol].max_notional(brackets[0].leverage) == brackets[0].cap
    opened.exchange.ledger.close()
    opened.lock.close()
