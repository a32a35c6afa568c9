"""Whatever is asked of it, the exchange's books agree with each other."""

import json
from collections import defaultdict
from decimal import Decimal
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from trader.sim.folder import Options, open_exchange
from trader.sim.wire import Request

D = Decimal
T0 = 1_704_067_200_000
HOUR = 3_600_000

actions = st.one_of(
    st.tuples(st.just("order"), st.sampled_from(["BUY", "SELL"]), st.integers(1, 60_000), st.booleans()),
    st.tuples(st.just("advance"), st.integers(1, 30 * 60)),
    st.tuples(st.just("leverage"), st.integers(1, 60)),
    st.tuples(st.just("margin"), st.sampled_from(["ISOLATED", "CROSSED"])),
)


def write_tape(folder: Path, moves: list[int]) -> None:
    price, rows = 0.5, []
    for hour in range(48):
        after = max(0.05, round(price * (1 + moves[hour % len(moves)] / 100), 4))
        high, low = round(max(price, after) * 1.03, 4), round(min(price, after) * 0.97, 4)
        rate = moves[(hour * 7) % len(moves)] / 5000 if hour % 8 == 7 else None
        rows.append({"open": price, "high": high, "low": low, "close": after, "funding_rate": rate})
        price = after
    times = pl.Series([T0 + hour * HOUR for hour in range(48)]).cast(pl.Datetime("ms", "UTC"))
    frame = pl.DataFrame(rows, schema_overrides={"funding_rate": pl.Float64})
    frame.with_columns(times.alias("open_time"), pl.lit(1.0).alias("volume")).write_parquet(folder / "ADAUSDT.parquet")


def act(client: Any, action: tuple[Any, ...]) -> None:
    match action:
        case "order", side, quantity, reduce_only:
            params = {"symbol": "ADAUSDT", "side": side, "type": "MARKET", "quantity": quantity}
            client.signed("POST", "/fapi/v1/order", **params, **({"reduceOnly": "true"} if reduce_only else {}))
        case "advance", minutes:
            client.exchange.advance(client.exchange.venue.now + minutes * 60_000)
        case "leverage", leverage:
            client.signed("POST", "/fapi/v1/leverage", symbol="ADAUSDT", leverage=leverage)
        case "margin", kind:
            client.signed("POST", "/fapi/v1/marginType", symbol="ADAUSDT", marginType=kind)


def books_agree(ledger: dict[str, Any]) -> None:
    wallet = D(ledger["equity_start"]) + sum((D(row["income"]) for row in ledger["incomes"]), D(0))
    assert wallet == D(ledger["wallet"])
    held: dict[str, Decimal] = defaultdict(D)
    cash = D(0)
    for trade in ledger["trades"]:
        sign = 1 if trade["side"] == "BUY" else -1
        held[trade["symbol"]] += sign * D(trade["qty"])
        cash -= sign * D(trade["qty"]) * D(trade["price"])
    held = {symbol: quantity for symbol, quantity in held.items() if quantity}
    assert held == {row["symbol"]: D(row["quantity"]) for row in ledger["positions"]}
    realised = sum((D(trade["realized_pnl"]) for trade in ledger["trades"]), D(0))
    # The roundings of released cost and of bankruptcy prices are all that may separate cash from profit and cost.
    cost = sum((D(row["cost"]) for row in ledger["positions"]), D(0))
    seized = sum(D(order["executed_qty"]) for order in ledger["orders"] if order["client_id"].startswith("autoclose"))
    assert abs(cash - realised + cost) <= D("1e-8") * (2 * len(ledger["trades"]) + seized)
    kinds = {"REALIZED_PNL": "realized_pnl", "COMMISSION": "commission"}
    for kind, column in kinds.items():
        booked = sum((D(row["income"]) for row in ledger["incomes"] if row["income_type"] == kind), D(0))
        traded = sum((D(trade[column]) for trade in ledger["trades"]), D(0))
        assert booked == (traded if kind == "REALIZED_PNL" else -traded)
    traded_by: dict[int, Decimal] = defaultdict(D)
    for trade in ledger["trades"]:  # an order through zero has two
        traded_by[trade["order_id"]] += D(trade["qty"])
    assert traded_by == {order["order_id"]: D(order["executed_qty"]) for order in ledger["orders"]}


@settings(max_examples=60)
@given(st.lists(st.integers(-30, 30), min_size=3, max_size=10), st.lists(actions, min_size=5, max_size=40))
def test_wallet_incomes_trades_and_positions_agree_after_any_story(
    client_class: Any, moves: list[int], story: list[tuple[Any, ...]]
) -> None:
    with TemporaryDirectory() as name:
        folder = Path(name)
        write_tape(folder, moves)
        options = Options(
            folder=folder / "exchange", tape=folder / "ADAUSDT.parquet", begin=T0, clock="stepped", equity=D(3000)
        )
        opened = open_exchange(options)
        client = client_class(opened)
        for action in story:
            act(client, action)
        before = client.ledger()
        account = client.read("/fapi/v2/account")
        risks = client.read("/fapi/v3/positionRisk")
        opened.exchange.ledger.close()
        opened.lock.close()
        books_agree(before)
        assert D(account["totalMarginBalance"]) == D(before["wallet"]) + sum(
            D(row["unRealizedProfit"]) for row in risks
        )
        assert [row["positionAmt"] for row in risks] == [
            f"{D(row['quantity']).normalize():f}" for row in before["positions"]
        ]
        again = open_exchange(options)
        after = json.loads(again.exchange.report())
        again.exchange.ledger.close()
        again.lock.close()
        times = ("time", "requests", "counts")  # the two reads took a millisecond each
        assert {k: v for k, v in after.items() if k not in times} == {k: v for k, v in before.items() if k not in times}


def test_time_moves_by_a_millisecond_a_request_and_never_past_the_end(open_market: Any, market: Any) -> None:
    client = open_market(market.steps(0.5, 0.5001))
    request = Request("GET", "/fapi/v1/time", "", "", None)
    client.exchange.advance(market.T0 + 2 * market.HOUR - 2)
    times = []
    for _ in range(4):
        client.exchange.begin(request)
        times.append(json.loads(client.exchange.answer(request).body)["serverTime"] - market.T0 - 2 * market.HOUR)
    assert times == [-1, 0, 0, 0]
