"""Whatever is asked of it, the exchange's books agree with each other."""

import json
import random
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

SYMBOLS = ("ADAUSDT", "XRPUSDT")
symbols = st.sampled_from(SYMBOLS)
sides = st.sampled_from(["BUY", "SELL"])
positions = st.sampled_from(["BOTH"] * 6 + ["LONG", "SHORT"])
sizes = st.one_of(st.integers(10, 6_000), st.integers(1, 60_000))
ticks = st.integers(-400, 400)
lives = st.sampled_from(["GTC", "GTC", "IOC", "FOK", "GTX"])
kinds = st.sampled_from(["STOP_MARKET", "TAKE_PROFIT_MARKET", "STOP", "TAKE_PROFIT"])

often = [
    st.tuples(st.just("order"), symbols, sides, sizes, st.booleans(), positions),
    st.tuples(st.just("limit"), symbols, sides, sizes, ticks, lives, st.booleans(), positions),
    st.tuples(st.just("algo"), symbols, sides, sizes, ticks, kinds, st.booleans()),
    st.tuples(st.just("advance"), st.integers(1, 10 * 60)),
]
sometimes = [
    st.tuples(st.just("partial"), symbols, sides, sizes, st.integers(0, 9)),
    st.tuples(st.just("cancel"), symbols, st.integers(1, 12)),
    st.tuples(st.just("cancel_all"), symbols),
    st.tuples(st.just("leverage"), symbols, st.integers(1, 60)),
    st.tuples(st.just("margin"), symbols, st.sampled_from(["ISOLATED", "CROSSED"])),
    st.tuples(st.just("dual"), st.booleans()),
    st.tuples(st.just("multi"), st.booleans()),
    st.tuples(st.just("transfer"), st.integers(-900, 900)),
    st.tuples(st.just("adl"), symbols, st.integers(1, 5000)),
    st.tuples(st.just("liquidate"), symbols),
    st.tuples(st.just("settle"), symbols),
    st.tuples(st.just("fees"), st.integers(-2, 9), st.integers(0, 9)),
]
actions = st.one_of(*often * 6, *sometimes)


def write_tape(folder: Path, moves: list[int]) -> None:
    rows = []
    for symbol in SYMBOLS:
        price = 0.5
        for hour in range(48):
            after = max(0.05, round(price * (1 + moves[hour % len(moves)] / 100), 4))
            high, low = round(max(price, after) * 1.03, 4), round(min(price, after) * 0.97, 4)
            rate = moves[(hour * 7) % len(moves)] / 5000 if hour % 8 == 7 else None
            row = {"open": price, "high": high, "low": low, "close": after, "funding_rate": rate}
            rows.append({**row, "open_time": T0 + hour * HOUR, "symbol": symbol, "volume": 9000.0 + hour})
            price = after
        moves = [*reversed(moves)]
    frame = pl.DataFrame(rows, schema_overrides={"funding_rate": pl.Float64})
    frame.with_columns(pl.col("open_time").cast(pl.Datetime("ms", "UTC"))).write_parquet(folder / "pair.parquet")


def near(client: Any, symbol: str, ticks: int) -> str:
    """A price some basis points from the last one, on the tick."""
    return f"{float(client.exchange.venue.price(symbol)) * (1 + ticks / 10_000):.4f}"


def order(client: Any, symbol: str, side: str, quantity: int, reduce_only: bool, position: str, **more: Any) -> None:
    params = {"symbol": symbol, "side": side, "type": "MARKET", "quantity": quantity, "positionSide": position, **more}
    client.signed("POST", "/fapi/v1/order", **params, **({"reduceOnly": "true"} if reduce_only else {}))


def limit(
    client: Any, symbol: str, side: str, quantity: int, ticks: int, tif: str, reduce_only: bool, position: str
) -> None:
    more = {"type": "LIMIT", "price": near(client, symbol, ticks), "timeInForce": tif}
    order(client, symbol, side, quantity, reduce_only, position, **more)


def algo(client: Any, symbol: str, side: str, quantity: int, ticks: int, kind: str, close: bool) -> None:
    params = {"algoType": "CONDITIONAL", "symbol": symbol, "side": side, "type": kind}
    params |= {"closePosition": "true"} if close else {"quantity": quantity}
    params |= {"price": near(client, symbol, 0)} if kind in ("STOP", "TAKE_PROFIT") else {}
    client.signed("POST", "/fapi/v1/algoOrder", triggerPrice=near(client, symbol, ticks), **params)


def cancel(client: Any, symbol: str, number: int) -> None:
    client.signed("DELETE", "/fapi/v1/order", symbol=symbol, orderId=number)
    client.signed("DELETE", "/fapi/v1/algoOrder", algoId=number)


def partial(client: Any, symbol: str, side: str, quantity: int, tenths: int) -> None:
    client.exchange.desk.treat("partial", {"share": f"0.{tenths}"})
    order(client, symbol, side, quantity, False, "BOTH")
    client.exchange.desk.treat_as_usual()


def fees(client: Any, maker: int, taker: int) -> None:
    client.happen(do="fees", maker=f"{D(maker) / 10_000:f}", taker=f"{D(taker) / 10_000:f}")


ACTS: dict[str, Any] = {
    "order": order,
    "limit": limit,
    "algo": algo,
    "cancel": cancel,
    "partial": partial,
    "fees": fees,
    "cancel_all": lambda client, symbol: client.signed("DELETE", "/fapi/v1/allOpenOrders", symbol=symbol),
    "advance": lambda client, minutes: client.exchange.advance(client.exchange.venue.now + minutes * 60_000),
    "leverage": lambda client, symbol, to: client.signed("POST", "/fapi/v1/leverage", symbol=symbol, leverage=to),
    "margin": lambda client, symbol, to: client.signed("POST", "/fapi/v1/marginType", symbol=symbol, marginType=to),
    "dual": lambda client, to: client.happen(do="position_mode", dualSidePosition=to),
    "multi": lambda client, to: client.happen(do="multi_assets", multiAssetsMargin=to),
    "transfer": lambda client, amount: client.happen(do="transfer", amount=amount),
    "adl": lambda client, symbol, quantity: client.happen(do="adl", symbol=symbol, quantity=quantity),
    "liquidate": lambda client, symbol: client.happen(do="liquidate", symbol=symbol),
    "settle": lambda client, symbol: client.happen(do="settle", symbol=symbol),
}


def books_agree(ledger: dict[str, Any]) -> None:
    wallet = D(ledger["equity_start"]) + sum((D(row["income"]) for row in ledger["incomes"]), D(0))
    assert wallet == D(ledger["wallet"])
    held: dict[tuple[str, str], Decimal] = defaultdict(D)
    cash = D(0)
    for trade in ledger["trades"]:
        sign = 1 if trade["side"] == "BUY" else -1
        held[(trade["symbol"], trade["position_side"])] += sign * D(trade["qty"])
        cash -= sign * D(trade["qty"]) * D(trade["price"])
    held = {key: quantity for key, quantity in held.items() if quantity}
    assert held == {(row["symbol"], row["side"]): D(row["quantity"]) for row in ledger["positions"]}
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


def orders_agree(ledger: dict[str, Any]) -> None:
    traded: dict[int, Decimal] = defaultdict(D)
    worth: dict[int, Decimal] = defaultdict(D)
    for trade in ledger["trades"]:  # an order through zero has two
        traded[trade["order_id"]] += D(trade["qty"])
        worth[trade["order_id"]] += D(trade["qty"]) * D(trade["price"])
    for order in ledger["orders"]:
        executed, whole = D(order["executed_qty"]), D(order["orig_qty"])
        assert executed == traded[order["order_id"]]
        assert D(order["cum_quote"]) == worth[order["order_id"]]
        assert 0 <= executed <= whole
        assert (order["status"] == "FILLED") == (executed == whole)
        assert order["status"] != "NEW" or executed == 0
        assert order["status"] != "PARTIALLY_FILLED" or executed > 0
        if order["type"] == "LIMIT" and executed and "autoclose" not in order["client_id"]:
            sign = 1 if order["side"] == "BUY" else -1
            assert sign * (D(order["price"]) - D(order["avg_price"])) >= -D("1e-8")  # never worse than asked
    by_id = {order["order_id"]: order for order in ledger["orders"]}
    for algo in ledger["algos"]:
        started = algo["status"] in ("TRIGGERED", "FINISHED")
        assert started == (algo["order_id"] in by_id) == (algo["order_id"] > 0)
        if started:
            assert by_id[algo["order_id"]]["client_id"] == algo["client_id"]


@settings(max_examples=60)
@given(st.lists(st.integers(-12, 12), min_size=3, max_size=10), st.lists(actions, min_size=20, max_size=60))
def test_wallet_incomes_trades_and_positions_agree_after_any_story(
    client_class: Any, moves: list[int], story: list[tuple[Any, ...]]
) -> None:
    with TemporaryDirectory() as name:
        folder = Path(name)
        write_tape(folder, moves)
        options = Options(
            folder=folder / "exchange", tape=folder / "pair.parquet", begin=T0, clock="stepped", equity=D(3000)
        )
        opened = open_exchange(options)
        client = client_class(opened)
        for action in story:
            ACTS[action[0]](client, *action[1:])
        before = client.ledger()
        account = client.read("/fapi/v2/account")
        risks = client.read("/fapi/v3/positionRisk")
        shown = [row["orderId"] for row in client.read("/fapi/v1/openOrders")]
        waiting = [row["algoId"] for row in client.read("/fapi/v1/openAlgoOrders")]
        opened.exchange.ledger.close()
        opened.lock.close()
        books_agree(before)
        orders_agree(before)
        open_ = [row["order_id"] for row in before["orders"] if row["status"] in ("NEW", "PARTIALLY_FILLED")]
        assert sorted(shown) == open_
        assert waiting == [row["algo_id"] for row in before["algos"] if row["status"] == "NEW"]
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
        times = ("time", "requests", "counts")  # the reads took a millisecond each
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


def random_action(dice: random.Random, dual: bool) -> tuple[Any, ...]:
    """An action as a busy person with two hands might take it: small sizes near the price, much going on at once."""
    symbol, side, ticks = dice.choice(SYMBOLS), dice.choice(["BUY", "SELL"]), dice.randint(-150, 150)
    size = dice.choice([dice.randint(10, 900), dice.randint(10, 9000)])
    position, reduce_only = (dice.choice(["LONG", "SHORT"]), False) if dual else ("BOTH", dice.random() < 0.3)
    kind = dice.choice(["STOP_MARKET", "TAKE_PROFIT_MARKET", "STOP", "TAKE_PROFIT"])
    close = kind.endswith("MARKET") and dice.random() < 0.4
    life = dice.choice(["GTC", "GTC", "GTC", "IOC", "GTX", "FOK"])
    choices: list[tuple[int, tuple[Any, ...]]] = [
        (20, ("advance", dice.randint(1, 80))),
        (15, ("order", symbol, side, size, reduce_only, position)),
        (30, ("limit", symbol, side, size, ticks, life, reduce_only, position)),
        (20, ("algo", symbol, side, size, ticks, kind, close)),
        (5, ("cancel", symbol, dice.randint(1, 30))),
        (3, ("adl", symbol, dice.randint(1, 500))),
        (2, ("partial", symbol, side, size, dice.randint(0, 9))),
        (1, ("leverage", symbol, dice.randint(1, 50))),
        (1, ("transfer", dice.randint(-500, 500))),
        (1, ("liquidate", symbol)),
        (1, ("cancel_all", symbol)),
    ]
    return dice.choices([action for _, action in choices], [weight for weight, _ in choices])[0]


def test_the_books_agree_over_long_stories_of_many_orders(client_class: Any, tmp_path: Path) -> None:
    seen: set[tuple[str, str]] = set()
    for seed in range(20):
        dice = random.Random(seed)
        folder = tmp_path / str(seed)
        folder.mkdir()
        write_tape(folder, [dice.randint(-4, 4) for _ in range(7)])
        options = Options(folder=folder / "exchange", tape=folder / "pair.parquet", begin=T0, clock="stepped")
        opened = open_exchange(options)
        client = client_class(opened)
        dual = seed % 4 == 0
        if dual:
            client.happen(do="position_mode", dualSidePosition=True)
        if seed % 2:
            client.isolate(dice.choice([2, 5, 20]))
        for _ in range(80):
            action = random_action(dice, dual)
            ACTS[action[0]](client, *action[1:])
            account = opened.exchange.venue.account
            assert account.isolated() <= account.wallet
        ledger = client.ledger()
        books_agree(ledger)
        orders_agree(ledger)
        seen |= {(row["orig_type"], row["status"]) for row in ledger["orders"]}
        seen |= {("algo", row["status"]) for row in ledger["algos"]}
        opened.exchange.ledger.close()
        opened.lock.close()
    ends = {"FILLED", "EXPIRED", "EXPIRED_IN_MATCH", "CANCELED", "NEW", "PARTIALLY_FILLED"}
    assert {("LIMIT", status) for status in ends} <= seen
    assert {("algo", status) for status in ("FINISHED", "REJECTED", "NEW")} <= seen
    assert {(kind, "FILLED") for kind in ("STOP", "STOP_MARKET", "TAKE_PROFIT", "TAKE_PROFIT_MARKET")} <= seen
