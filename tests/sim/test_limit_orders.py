"""Limit orders: what fills at once, what waits, and what the bars of the tape do to it."""

from decimal import Decimal
from typing import Any

import pytest

D = Decimal
NOTHING: dict[str, Any] = {"fee": D(0), "slippage": D(0), "spread": D(0)}


def test_a_limit_beyond_the_market_price_is_filled_at_the_market_price(open_market: Any, market: Any) -> None:
    client = open_market(market.steps(0.5, 0.5001))
    order = client.limit("BUY", 1000, "0.51", "IOC")
    assert (order["status"], order["avgPrice"], order["price"], order["type"]) == ("FILLED", "0.5001", "0.51", "LIMIT")
    assert client.position()["positionAmt"] == "1000"
    assert client.read("/fapi/v1/userTrades", symbol="ADAUSDT")[0]["maker"] is False


def test_an_immediate_order_that_reaches_nothing_expires_unfilled(open_market: Any, market: Any) -> None:
    client = open_market(market.steps(0.5, 0.5001))
    order = client.limit("BUY", 1000, "0.5", "IOC")
    assert (order["status"], order["executedQty"], order["timeInForce"]) == ("EXPIRED", "0", "IOC")
    assert client.position() is None
    assert client.read("/fapi/v1/openOrders") == []
    assert client.found(order["orderId"])["status"] == "EXPIRED"


def test_a_limit_between_the_best_and_the_market_price_takes_its_share_of_the_ticks(
    open_market: Any, market: Any
) -> None:
    # best ask 1.0000 (no spread), a market order pays 1.0009: ten ticks of 100 each
    client = open_market(market.steps(1.0, 1.0001), spread=D(0), slippage=D("0.0009"), fee=D(0))
    order = client.limit("BUY", 1000, "1.0003", "IOC")
    assert (order["status"], order["executedQty"], order["avgPrice"]) == ("EXPIRED", "400", "1.0003")
    assert client.refused_order(quantity=1000, type="LIMIT", price="1.0003", timeInForce="FOK") == -5021
    rest = client.limit("BUY", 1000, "1.0003")
    assert (rest["status"], rest["executedQty"]) == ("PARTIALLY_FILLED", "400")
    assert [row["orderId"] for row in client.read("/fapi/v1/openOrders")] == [rest["orderId"]]
    assert client.read("/fapi/v1/openOrder", symbol="ADAUSDT", orderId=rest["orderId"])["executedQty"] == "400"


def test_a_resting_order_fills_at_its_price_when_a_bar_trades_through_it(open_market: Any, market: Any) -> None:
    bars = [(5.0, 5.0, 4.9, 5.0), (5.0, 5.0, 4.8, 5.0), (5.001, 5.001, 5.001, 5.001)]
    client = open_market(bars, **NOTHING)
    order = client.limit("BUY", 10, "4.9")
    client.advance(1)
    assert client.found(order["orderId"])["status"] == "NEW"  # touched, not traded through
    client.advance(2)
    found = client.found(order["orderId"])
    assert (found["status"], found["avgPrice"], found["updateTime"]) == ("FILLED", "4.9", market.T0 + 2 * market.HOUR)
    assert client.read("/fapi/v1/userTrades", symbol="ADAUSDT")[0]["maker"] is True
    assert client.read("/fapi/v1/openOrders") == []


def test_a_bar_gives_a_resting_order_at_most_a_tenth_of_its_volume(open_market: Any, market: Any) -> None:
    client = open_market([(0.5, 0.5, 0.4, 0.5)] * 3 + [(0.5001, 0.5001, 0.5001, 0.5001)], **NOTHING)
    order = client.limit("BUY", 25, "0.45")
    executed = []
    for hour in (1, 2, 3):
        client.advance(hour)
        executed.append((client.found(order["orderId"])["executedQty"], client.found(order["orderId"])["status"]))
    assert executed == [("10", "PARTIALLY_FILLED"), ("20", "PARTIALLY_FILLED"), ("25", "FILLED")]
    assert client.position()["positionAmt"] == "25"


def test_a_gap_through_a_resting_order_fills_it_whole(open_market: Any, market: Any) -> None:
    client = open_market(market.steps(0.5, 0.46, 0.4601), **NOTHING)
    order = client.limit("BUY", 5000, "0.47")
    client.advance(1)
    assert (client.found(order["orderId"])["status"], client.position()["entryPrice"]) == ("FILLED", "0.47")


def test_a_resting_order_survives_a_restart(open_market: Any, market: Any) -> None:
    bars = market.steps(0.5, 0.46, 0.4601)
    client = open_market(bars, **NOTHING)
    order = client.limit("BUY", 5000, "0.47")
    client.opened.exchange.ledger.close()
    client.opened.lock.close()
    again = open_market(bars)
    assert [row["orderId"] for row in again.read("/fapi/v1/openOrders")] == [order["orderId"]]
    again.advance(1)
    assert again.found(order["orderId"])["status"] == "FILLED"


def test_resting_orders_bind_margin_until_they_are_cancelled(open_market: Any, market: Any) -> None:
    client = open_market(market.steps(0.5, 0.5001), **NOTHING)
    client.post("/fapi/v1/leverage", symbol="ADAUSDT", leverage=2)
    client.limit("BUY", 20_000, "0.49")
    account = client.read("/fapi/v2/account")
    assert (account["totalOpenOrderInitialMargin"], account["availableBalance"]) == ("4900.00000000", "5100.00000000")
    assert client.refused_order(quantity=20_500) == -2019
    assert client.read("/fapi/v3/account")["totalInitialMargin"] == "4900.00000000"
    done = client.signed("DELETE", "/fapi/v1/allOpenOrders", symbol="ADAUSDT")
    assert done == (200, {"code": 200, "msg": "The operation of cancel all open order is done."})
    assert client.read("/fapi/v2/account")["availableBalance"] == "10000.00000000"
    assert [row["status"] for row in client.read("/fapi/v1/allOrders", symbol="ADAUSDT")] == ["CANCELED"]


def test_reduce_only_orders_share_the_position_and_go_with_it(open_market: Any, market: Any) -> None:
    client = open_market(market.steps(0.5, 0.52, 0.5201), **NOTHING)
    client.order("BUY", 1000)
    first = client.limit("SELL", 600, "0.51", reduceOnly="true")
    second = client.limit("SELL", 600, "0.53", reduceOnly="true")
    assert (first["origQty"], second["origQty"]) == ("600", "400")
    assert client.refused_order("SELL", 10, reduceOnly="true") == -2022
    client.advance(1)  # opens at 0.52
    assert client.found(first["orderId"])["status"] == "FILLED"
    client.order("SELL", 400)
    assert client.found(second["orderId"])["status"] == "EXPIRED"
    assert client.position() is None


def test_an_order_against_an_own_resting_one_expires_it_in_match(open_market: Any, market: Any) -> None:
    client = open_market(market.steps(0.5, 0.5001), **NOTHING)
    resting = client.limit("SELL", 100, "0.505")
    client.limit("BUY", 100, "0.51")
    assert client.found(resting["orderId"])["status"] == "EXPIRED_IN_MATCH"


def test_the_same_client_id_is_free_again_when_the_order_is_at_rest(open_market: Any, market: Any) -> None:
    client = open_market(market.steps(0.5, 0.5001))
    order = client.limit("BUY", 1000, "0.49", newClientOrderId="one")
    assert client.refused_order(newClientOrderId="one") == -4116
    status, gone = client.signed("DELETE", "/fapi/v1/order", symbol="ADAUSDT", origClientOrderId="one")
    assert (status, gone["status"], gone["orderId"]) == (200, "CANCELED", order["orderId"])
    assert client.refused("DELETE", "/fapi/v1/order", symbol="ADAUSDT", origClientOrderId="one") == -2011
    assert client.order("BUY", 1000, newClientOrderId="one")["status"] == "FILLED"


def test_a_liquidation_cancels_the_orders_of_its_symbol(open_market: Any, market: Any) -> None:
    client = open_market(market.steps(0.5, 0.3, 0.3001), **NOTHING)
    client.isolate(5)
    client.order("BUY", 1000)
    waiting = client.limit("SELL", 100, "0.54")
    client.advance(1)
    assert client.position() is None
    assert client.found(waiting["orderId"])["status"] == "CANCELED"
    forced = client.read("/fapi/v1/forceOrders", autoCloseType="LIQUIDATION")
    assert [row["clientOrderId"] for row in forced] == [f"autoclose-{market.T0 + market.HOUR}"]


@pytest.mark.parametrize(("lot", "quantity", "code"), [("10", "15", -4023), ("10", "10.5", -1111), ("1", "10", 0)])
def test_a_market_lot_binds_market_orders_only(
    open_market: Any, market: Any, lot: str, quantity: str, code: int
) -> None:
    client = open_market(market.steps(5.0, 5.01))
    client.happen(do="symbol", symbol="ADAUSDT", filters={"MARKET_LOT_SIZE": {"stepSize": lot}})
    client.happen(do="symbol", symbol="ADAUSDT", filters={"LOT_SIZE": {"stepSize": "1"}})
    if code:
        assert client.refused_order(quantity=quantity) == code
    whole = quantity.partition(".")[0]
    assert client.limit("BUY", whole, "5.1", "IOC")["status"] == "FILLED"
