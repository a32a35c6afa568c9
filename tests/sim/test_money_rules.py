"""The money rules, each worked by hand."""

from datetime import timedelta
from decimal import Decimal
from typing import Any

import polars as pl
import pytest

D = Decimal


def incomes(client: Any, kind: str) -> list[Decimal]:
    return [D(row["income"]) for row in client.ledger()["incomes"] if row["income_type"] == kind]


def test_a_buy_pays_half_the_spread_the_slippage_and_the_fee(open_market: Any, market: Any) -> None:
    client = open_market(market.steps(0.5, 0.5001))
    order = client.order("BUY", 1000)
    assert order["avgPrice"] == "0.5001"  # 0.5 * 1.0002, exactly on the tick
    assert order["status"] == "FILLED"
    assert client.wallet == D("10000") - D("0.25005")  # 1000 * 0.5001 * 0.0005
    assert incomes(client, "COMMISSION") == [D("-0.25005")]


def test_prices_are_rounded_to_the_tick_against_us(open_market: Any, market: Any) -> None:
    client = open_market(market.steps(0.3333, 0.3333))
    assert client.order("BUY", 100)["avgPrice"] == "0.3334"  # 0.33336666 up
    assert client.order("SELL", 100)["avgPrice"] == "0.3332"  # 0.33323334 down


def test_reducing_releases_its_share_of_cost_and_margin(open_market: Any, market: Any) -> None:
    client = open_market(market.steps(0.5, 0.6, 0.6001), fee=D(0), slippage=D(0), spread=D(0))
    client.isolate(3)
    client.order("BUY", 1000)
    position = client.exchange.venue.account.positions[("ADAUSDT", "BOTH")]
    assert position.margin == D("166.66666667")  # 500 / 3
    client.advance(1)
    client.order("SELL", 333)
    assert position.cost == D("333.5")  # 500 - 500 * 333 / 1000
    assert position.margin == D("111.16666667")  # 166.66666667 - 55.5 (55.50000000111 rounded)
    assert client.wallet == D("10000") + D("33.3")  # 333 * 0.6 - 166.5
    assert client.position()["entryPrice"] == "0.5"
    client.order("SELL", 667, reduceOnly="true")
    assert client.position() is None
    assert client.wallet == D("10100")


def test_an_order_through_zero_closes_first_and_opens_the_rest(open_market: Any, market: Any) -> None:
    client = open_market(market.steps(0.5, 0.6, 0.6001), fee=D(0), slippage=D(0), spread=D(0))
    client.isolate(2)
    client.order("BUY", 1000)
    client.advance(1)
    client.order("SELL", 1500)
    row = client.position()
    assert (row["positionAmt"], row["entryPrice"], row["isolatedWallet"]) == ("-500", "0.6", "150.00000000")
    assert client.wallet == D("10100")
    trades = client.read("/fapi/v1/userTrades", symbol="ADAUSDT", orderId=2)
    assert [(trade["qty"], trade["realizedPnl"]) for trade in trades] == [
        ("1000", "100.00000000"),
        ("500", "0.00000000"),
    ]


def test_crossing_zero_may_use_the_margin_and_profit_it_frees(open_market: Any, market: Any) -> None:
    client = open_market(market.steps(0.5, 0.6, 0.6001), fee=D(0), slippage=D(0), spread=D(0), equity=D(500))
    client.isolate(1)
    client.order("BUY", 1000)  # binds all 500
    client.advance(1)
    assert client.refused_order("SELL", 2001) == -2019  # 1001 * 0.6 = 600.6 > 600
    client.order("SELL", 2000)
    assert client.position()["isolatedWallet"] == "600.00000000"


def test_funding_is_paid_by_longs_at_the_first_price_after_the_stamp(open_market: Any, market: Any) -> None:
    stamp = market.START + timedelta(hours=1)
    client = open_market(market.steps(0.5, 0.6, 0.6001), {stamp: 0.001}, fee=D(0), slippage=D(0), spread=D(0))
    client.order("BUY", 1000)
    client.advance(0.9999)
    assert client.wallet == D("10000")
    client.advance(1)
    assert client.wallet == D("9999.4")  # 1000 * 0.6 * 0.001
    row = client.read("/fapi/v1/income", incomeType="FUNDING_FEE")[0]
    assert (row["income"], row["time"], row["tradeId"]) == ("-0.60000000", market.T0 + market.HOUR, "")


def test_a_short_receives_and_a_stamp_inside_a_bar_is_paid_at_its_end(open_market: Any, market: Any) -> None:
    rates = {market.START + timedelta(minutes=m): rate for m, rate in ((0, 0.5), (20, 0.001), (40, 0.002))}
    client = open_market(market.steps(0.5, 0.6, 0.6001), rates, fee=D(0), slippage=D(0), spread=D(0))
    client.order("SELL", 1000)
    client.advance(2)
    assert incomes(client, "FUNDING_FEE") == [D("0.6"), D("1.2")]  # the stamp at 0:00 was before the position


def test_an_order_in_the_millisecond_after_the_stamp_pays_nothing(open_market: Any, market: Any) -> None:
    stamp = market.START + timedelta(hours=1)
    client = open_market(market.steps(0.5, 0.6, 0.6001), {stamp: 0.001})
    client.advance(1)
    client.order("BUY", 1000)
    client.advance(2)
    assert incomes(client, "FUNDING_FEE") == []


def liquidation_market(market: Any, low: float, after: float) -> Any:
    return market.candles([(0.5, 0.5, low, 0.5), (after, after, after, after), (0.5, 0.5001, 0.5, 0.5001)])


def test_the_worst_price_of_the_ended_bar_liquidates_even_if_the_price_came_back(open_market: Any, market: Any) -> None:
    # 1000 at 0.5, M = 50 (10x): 50 + 1000 X - 500 <= 0.01 * 1000 X  <=>  X <= 0.454545...
    client = open_market(liquidation_market(market, 0.4545, 0.5), fee=D(0), slippage=D(0), spread=D(0))
    client.isolate(10)
    client.order("BUY", 1000)
    client.advance(1)
    assert client.position() is None
    assert client.wallet == D("9950")


def test_a_tick_above_the_liquidation_price_survives(open_market: Any, market: Any) -> None:
    client = open_market(liquidation_market(market, 0.4546, 0.5), fee=D(0), slippage=D(0), spread=D(0))
    client.isolate(10)
    client.order("BUY", 1000)
    client.advance(1)
    assert client.position()["positionAmt"] == "1000"
    assert client.position()["liquidationPrice"] == "0.45454545"


def test_a_liquidation_is_an_autoclose_order_at_the_bankruptcy_price(open_market: Any, market: Any) -> None:
    client = open_market(liquidation_market(market, 0.4, 0.5), fee=D(0), slippage=D(0), spread=D(0))
    client.isolate(7)
    client.order("BUY", 1000)
    client.advance(1)
    order = client.read("/fapi/v1/allOrders", symbol="ADAUSDT")[-1]
    trade = client.read("/fapi/v1/userTrades", symbol="ADAUSDT")[-1]
    assert order["clientOrderId"] == f"autoclose-{market.T0 + market.HOUR}"
    assert (order["side"], order["status"], order["executedQty"]) == ("SELL", "FILLED", "1000")
    assert trade["price"] == "0.42857143"  # (500 - 71.42857143) / 1000
    assert trade["realizedPnl"] == "-71.42857143"
    assert trade["commission"] == "0.00000000"


def test_a_short_is_liquidated_by_the_high(open_market: Any, market: Any) -> None:
    # M = 50: 50 - 1000 X + 500 <= 10 X  <=>  X >= 0.544554...
    bars = market.candles([(0.5, 0.5446, 0.5, 0.5), (0.5, 0.5, 0.5, 0.5)])
    client = open_market(bars, fee=D(0), slippage=D(0), spread=D(0))
    client.isolate(10)
    client.order("SELL", 1000)
    client.advance(1)
    assert client.position() is None
    assert client.wallet == D("9950")


def test_liquidation_by_the_ended_bar_comes_before_funding(open_market: Any, market: Any) -> None:
    stamp = market.START + timedelta(hours=1)
    bars = liquidation_market(market, 0.4545, 0.5)
    client = open_market(bars, {stamp: 0.001}, fee=D(0), slippage=D(0), spread=D(0))
    client.isolate(10)
    client.order("BUY", 1000)
    client.advance(1)
    assert incomes(client, "FUNDING_FEE") == []


def test_funding_comes_before_the_liquidation_at_the_new_price(open_market: Any, market: Any) -> None:
    stamp = market.START + timedelta(hours=1)
    bars = liquidation_market(market, 0.5, 0.45)
    client = open_market(bars, {stamp: 0.001}, fee=D(0), slippage=D(0), spread=D(0))
    client.isolate(10)
    client.order("BUY", 1000)
    client.advance(1)
    assert incomes(client, "FUNDING_FEE") == [D("-0.45")]
    assert client.position() is None
    assert client.wallet == D("9949.55")


def test_funding_beyond_the_free_wallet_is_taken_from_the_isolated_margin(open_market: Any, market: Any) -> None:
    stamp = market.START + timedelta(hours=1)
    rules = {"fee": D(0), "slippage": D(0), "spread": D(0), "equity": D("250.1")}
    client = open_market(market.steps(0.5, 0.5, 0.5001), {stamp: 0.001}, **rules)
    client.isolate(2)
    client.order("BUY", 1000)
    client.advance(1)
    assert client.wallet == D("249.6")
    assert client.position()["isolatedWallet"] == "249.60000000"  # 250 less the shortfall of 0.4


def test_the_price_after_the_tape_is_the_last_close_and_time_stops_there(open_market: Any, market: Any) -> None:
    client = open_market(
        market.candles([(0.5, 0.5, 0.5, 0.5), (0.5, 0.7, 0.5, 0.6)]), fee=D(0), slippage=D(0), spread=D(0)
    )
    client.order("BUY", 1000)
    assert client.advance(9) == {"time": market.T0 + 2 * market.HOUR, "ended": True}
    assert client.read("/fapi/v3/account")["totalMarginBalance"] == "10100.00000000"
    client.order("SELL", 1000)
    assert client.wallet == D("10100")
    assert client.exchange.venue.now == market.T0 + 2 * market.HOUR


def test_the_margin_test_counts_margin_and_fee(open_market: Any, market: Any) -> None:
    rules = {"slippage": D(0), "spread": D(0), "equity": D("250.25")}
    client = open_market(market.steps(0.5, 0.5001), **rules)
    client.isolate(2)
    assert client.refused_order("BUY", 1001) == -2019
    assert client.wallet == D("250.25")
    client.order("BUY", 1000)  # 250 margin and 0.25 fee, all there is
    assert client.read("/fapi/v3/balance")[0]["availableBalance"] == "0.00000000"


def test_cross_positions_share_the_wallet_and_lose_it_together(open_market: Any, market: Any) -> None:
    bars = market.candles([(0.5, 0.5, 0.4, 0.5), (0.5, 0.5, 0.5, 0.5)])
    client = open_market(bars, fee=D(0), slippage=D(0), spread=D(0), equity=D(1000))
    client.order("BUY", 10000)  # notional 5000 at the default 20x; at 0.4 the loss is 1000
    client.advance(1)
    assert client.position() is None
    assert client.wallet == 0
    assert sum(D(row["income"]) for row in client.ledger()["incomes"]) == D(-1000)


def test_a_cross_loss_reduces_what_may_be_opened(open_market: Any, market: Any) -> None:
    client = open_market(market.steps(0.5, 0.45, 0.4501), fee=D(0), slippage=D(0), spread=D(0), equity=D(1000))
    client.order("BUY", 10000)
    client.advance(1)
    row = client.read("/fapi/v2/account")
    assert row["totalUnrealizedProfit"] == "-500.00000000"
    assert row["availableBalance"] == "275.00000000"  # 1000 - 10000 * 0.45 / 20 - 500


def test_hedge_mode_holds_both_sides(open_market: Any, market: Any) -> None:
    client = open_market(market.steps(0.5, 0.6, 0.6001), fee=D(0), slippage=D(0), spread=D(0))
    client.post("/fapi/v1/positionSide/dual", dualSidePosition="true")
    client.order("BUY", 1000, positionSide="LONG")
    client.order("SELL", 400, positionSide="SHORT")
    assert client.refused_order("SELL", 1001, positionSide="LONG") == -2022
    client.advance(1)
    client.order("SELL", 1000, positionSide="LONG")
    rows = {row["positionSide"]: row["positionAmt"] for row in client.read("/fapi/v2/positionRisk")}
    assert rows == {"BOTH": "0", "LONG": "0", "SHORT": "-400"}
    assert client.wallet == D("10100")


@pytest.mark.parametrize(
    ("opens", "tick", "step"), [((0.05, 0.0513), "0.0001", "1"), ((16537.5, 16600), "0.1", "0.00001")]
)
def test_default_filters_follow_the_tape(open_market: Any, market: Any, opens: Any, tick: str, step: str) -> None:
    client = open_market(market.steps(*opens))
    filters = {row["filterType"]: row for row in client.get("/fapi/v1/exchangeInfo")["symbols"][0]["filters"]}
    assert filters["PRICE_FILTER"]["tickSize"] == tick
    assert filters["MARKET_LOT_SIZE"]["stepSize"] == filters["MARKET_LOT_SIZE"]["minQty"] == step
    assert D(filters["LOT_SIZE"]["maxQty"]) == 10_000_000 * D(step)


def test_two_symbols_are_one_account(open_market: Any, market: Any) -> None:
    ada = market.candles(market.steps(0.5, 0.6, 0.6001), symbol="ADAUSDT")
    btc = market.candles(market.steps(40000, 40000), first=market.START + timedelta(hours=1), symbol="BTCUSDT")
    client = open_market(pl.concat([ada, btc]), fee=D(0), slippage=D(0), spread=D(0), name="two.parquet")
    assert [row["symbol"] for row in client.get("/fapi/v1/exchangeInfo")["symbols"]] == ["ADAUSDT"]
    assert client.refused_order(symbol="BTCUSDT", quantity="0.1") == -1121  # not listed yet
    client.order("BUY", 1000)
    client.advance(1)
    client.order("SELL", "0.1", symbol="BTCUSDT")
    account = client.read("/fapi/v3/account")
    assert account["totalUnrealizedProfit"] == "100.00000000"
    assert {row["symbol"]: row["positionAmt"] for row in account["positions"]} == {"ADAUSDT": "1000", "BTCUSDT": "-0.1"}
