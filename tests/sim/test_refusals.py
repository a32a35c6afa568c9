"""Every refusal of the protocol, with its code, and that it changes nothing."""

import json
from decimal import Decimal
from typing import Any

import pytest

D = Decimal


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"symbol": None}, -1102),
        ({"symbol": "NOPEUSDT"}, -1121),
        ({"side": None}, -1102),
        ({"side": "LONG"}, -1117),
        ({"type": None}, -1102),
        ({"type": "LIMIT", "timeInForce": "GTC"}, -1102),
        ({"type": "LIMIT", "price": "0.5"}, -1102),
        ({"type": "LIMIT", "price": "0.5", "timeInForce": "GTD"}, -1115),
        ({"type": "LIMIT", "price": "-1", "timeInForce": "GTC"}, -4001),
        ({"type": "LIMIT", "price": "0.49995", "timeInForce": "GTC"}, -1111),
        ({"type": "LIMIT", "price": "2000000", "timeInForce": "GTC"}, -4002),
        ({"type": "LIMIT", "price": "0.5501", "timeInForce": "GTC"}, -4016),
        ({"type": "LIMIT", "price": "0.4499", "timeInForce": "GTC", "side": "SELL"}, -4024),
        ({"type": "LIMIT", "price": "0.5", "timeInForce": "GTC", "quantity": "9"}, -4164),
        ({"type": "LIMIT", "price": "0.5", "timeInForce": "GTC", "quantity": "500000"}, -2019),
        ({"type": "LIMIT", "price": "0.5", "timeInForce": "GTC", "stopPrice": "0.4"}, -1106),
        ({"type": "LIMIT", "price": "0.5", "timeInForce": "FOK"}, -5021),
        ({"type": "LIMIT", "price": "0.5001", "timeInForce": "GTX"}, -5022),
        ({"type": "STOP_MARKET", "stopPrice": "0.4"}, -4120),
        ({"type": "TRAILING_STOP_MARKET", "callbackRate": "1"}, -4120),
        ({"closePosition": "true"}, -4136),
        ({"selfTradePreventionMode": "NEVER"}, -5039),
        ({"type": "SWAP"}, -1116),
        ({"quantity": None}, -1102),
        ({"quantity": "many"}, -1102),
        ({"quantity": "NaN"}, -1102),
        ({"quantity": "0"}, -4003),
        ({"quantity": "-5"}, -4003),
        ({"quantity": "10.5"}, -1111),
        ({"quantity": "10000001"}, -4005),
        ({"quantity": "9"}, -4164),
        ({"quantity": "500000"}, -2019),
        ({"price": "0.5"}, -1106),
        ({"positionSide": "LONG"}, -4061),
        ({"positionSide": "UP"}, -4060),
        ({"reduceOnly": "true"}, -2022),
        ({"reduceOnly": "perhaps"}, -1102),
        ({"newClientOrderId": "no spaces"}, -1100),
        ({"newClientOrderId": "x" * 37}, -4015),
        ({"newOrderRespType": "EVERYTHING"}, -1136),
        ({"recvWindow": "60001"}, -1131),
    ],
)
def test_a_bad_order_is_refused_with_its_code_and_changes_nothing(
    open_market: Any, market: Any, change: dict[str, Any], code: int
) -> None:
    client = open_market(market.steps(0.5, 0.5001))
    assert client.refused_order(**change) == code
    ledger = client.ledger()
    assert (ledger["wallet"], ledger["orders"], ledger["positions"]) == ("10000", [], [])


def test_reduce_only_in_the_same_direction_is_refused_and_too_much_is_cut(open_market: Any, market: Any) -> None:
    client = open_market(market.steps(0.5, 0.5001))
    client.order("BUY", 1000)
    assert client.refused_order("BUY", 10, reduceOnly="true") == -2022
    assert client.order("SELL", 5000, reduceOnly="true")["executedQty"] == "1000"
    assert client.position() is None


def test_the_minimum_notional_does_not_hold_for_reduce_only(open_market: Any, market: Any) -> None:
    client = open_market(market.steps(0.5, 0.5001))
    client.order("BUY", 1000)
    assert client.order("SELL", 1, reduceOnly="true")["executedQty"] == "1"


def test_a_position_beyond_its_bracket_is_refused(open_market: Any, market: Any) -> None:
    client = open_market(market.steps(0.5, 0.5001), equity=D(1_000_000))
    assert client.refused_order(quantity=500_200) == -2027  # 250,100 USDT at 20x, whose bracket ends at 250,000
    client.order("BUY", 400_000)
    assert client.refused_order(quantity=200_000) == -2027


def test_a_price_beyond_the_percent_filter_is_refused(open_market: Any, market: Any) -> None:
    client = open_market(market.steps(0.5, 0.5001), slippage=D("0.11"))
    assert client.refused_order() == -4131


def test_client_ids_are_unique_among_open_orders_only(open_market: Any, market: Any) -> None:
    client = open_market(market.steps(0.5, 0.5001))
    first = client.order("BUY", 1000, newClientOrderId="again")
    second = client.order("BUY", 1000, newClientOrderId="again")
    assert first["orderId"] != second["orderId"]
    found = client.read("/fapi/v1/order", symbol="ADAUSDT", origClientOrderId="again")
    assert found["orderId"] == second["orderId"]


@pytest.mark.parametrize(
    ("params", "code"),
    [
        ({"symbol": "ADAUSDT", "leverage": 51}, -4028),
        ({"symbol": "ADAUSDT", "leverage": 0}, -4028),
        ({"symbol": "ADAUSDT", "leverage": "5.0"}, -1102),
        ({"symbol": "ADAUSDT"}, -1102),
        ({"leverage": 5}, -1102),
    ],
)
def test_a_bad_leverage_is_refused(open_market: Any, market: Any, params: dict[str, Any], code: int) -> None:
    client = open_market(market.steps(0.5, 0.5001))
    assert client.refused("POST", "/fapi/v1/leverage", **params) == code
    assert client.read("/fapi/v1/symbolConfig", symbol="ADAUSDT")[0]["leverage"] == 20


def test_leverage_may_not_fall_under_an_isolated_position(open_market: Any, market: Any) -> None:
    client = open_market(market.steps(0.5, 0.5001))
    client.isolate(5)
    client.order("BUY", 1000)
    assert client.refused("POST", "/fapi/v1/leverage", symbol="ADAUSDT", leverage=4) == -4161
    assert client.post("/fapi/v1/leverage", symbol="ADAUSDT", leverage=6)["maxNotionalValue"] == "1000000"


def test_leverage_is_held_back_by_brackets_and_by_the_wallet(open_market: Any, market: Any) -> None:
    client = open_market(market.steps(0.5, 0.5001), equity=D(20_000))
    client.order("BUY", 200_000)
    assert client.refused("POST", "/fapi/v1/leverage", symbol="ADAUSDT", leverage=26) == -2027
    assert client.refused("POST", "/fapi/v1/leverage", symbol="ADAUSDT", leverage=2) == -2028


def test_margin_type_and_position_mode_change_only_when_flat_and_only_once(open_market: Any, market: Any) -> None:
    client = open_market(market.steps(0.5, 0.5001))
    margin, dual = "/fapi/v1/marginType", "/fapi/v1/positionSide/dual"
    assert client.refused("POST", margin, symbol="ADAUSDT", marginType="CROSSED") == -4046
    assert client.refused("POST", margin, symbol="ADAUSDT", marginType="OTHER") == -1130
    assert client.refused("POST", dual, dualSidePosition="false") == -4059
    client.order("BUY", 1000)
    assert client.refused("POST", margin, symbol="ADAUSDT", marginType="ISOLATED") == -4048
    assert client.refused("POST", dual, dualSidePosition="true") == -4068
    client.order("SELL", 1000)
    client.post(dual, dualSidePosition="true")
    assert client.read(dual) == {"dualSidePosition": True}
    assert client.read("/fapi/v1/accountConfig")["dualSidePosition"] is True
    assert client.refused_order() == -4061
    assert client.refused_order(positionSide="LONG", reduceOnly="false") == -1106


def test_unknown_orders_intervals_limits_and_paths(open_market: Any, market: Any) -> None:
    client = open_market(market.steps(0.5, 0.5001))
    assert client.refused("GET", "/fapi/v1/order", symbol="ADAUSDT", orderId=7) == -2013
    assert client.refused("GET", "/fapi/v1/order", symbol="ADAUSDT", origClientOrderId="a") == -2013
    assert client.refused("GET", "/fapi/v1/order", symbol="ADAUSDT") == -1102
    assert client.refused("DELETE", "/fapi/v1/order", symbol="ADAUSDT", orderId=7) == -2011
    client.order("BUY", 1000)
    assert client.refused("DELETE", "/fapi/v1/order", symbol="ADAUSDT", orderId=1) == -2011
    assert client.refused("GET", "/fapi/v1/userTrades", symbol="ADAUSDT", startTime=2, endTime=1) == -1023
    assert client.refused("GET", "/fapi/v1/userTrades", symbol="ADAUSDT", startTime=1, endTime=10**9) == -1127
    for interval in ("16h", "30m", "x"):
        assert client.raw("GET", "/fapi/v1/klines", f"symbol=ADAUSDT&interval={interval}")[1]["code"] == -1120
    assert client.raw("GET", "/fapi/v1/klines", "symbol=ADAUSDT&interval=1h&limit=1501")[1]["code"] == -1130
    assert client.raw("GET", "/fapi/v1/klines", "interval=1h")[1]["code"] == -1102
    assert client.raw("GET", "/fapi/v9/none") == (
        404,
        {"code": -5000, "msg": "Path /fapi/v9/none, Method GET is invalid"},
    )


def test_a_test_order_is_validated_like_a_real_one_and_changes_nothing(open_market: Any, market: Any) -> None:
    client = open_market(market.steps(0.5, 0.5001))
    params = {"symbol": "ADAUSDT", "side": "BUY", "type": "MARKET"}
    assert client.post("/fapi/v1/order/test", quantity="1000", **params)["orderId"] == 0
    assert client.refused("POST", "/fapi/v1/order/test", quantity="9", **params) == -4164
    assert client.refused("POST", "/fapi/v1/order/test", quantity="500000", **params) == -2019
    assert client.raw("POST", "/fapi/v1/order/test", "symbol=ADAUSDT")[1]["code"] == -2014
    ledger = client.ledger()
    assert (ledger["wallet"], ledger["orders"], ledger["counts"]["POST /fapi/v1/order/test"]) == ("10000", [], 4)


def test_weight_beyond_the_limit_is_429_until_the_minute_is_over(open_market: Any, market: Any) -> None:
    client = open_market(market.steps(0.5, 0.5001))
    for _ in range(80):
        client.read("/fapi/v1/income")
    assert client.headers["X-MBX-USED-WEIGHT-1M"] == "2400"
    status, answer = client.raw("GET", "/fapi/v1/ping")
    assert (status, answer["code"]) == (429, -1003)
    assert client.headers["Retry-After"] == "60"
    client.exchange.advance(market.T0 + 60_000)
    assert client.get("/fapi/v1/ping") == {}
    assert client.headers["X-MBX-USED-WEIGHT-1M"] == "1"


def test_orders_beyond_their_limit_are_429_for_ten_seconds(open_market: Any, market: Any) -> None:
    client = open_market(market.steps(0.5, 0.5001))
    for side in ("BUY", "SELL") * 150:
        client.order(side, 10)
    assert client.headers["X-MBX-ORDER-COUNT-10S"] == client.headers["X-MBX-ORDER-COUNT-1M"] == "300"
    assert client.refused_order() == -1015
    client.exchange.advance(market.T0 + 10_000)
    client.order("BUY", 10)
    assert client.headers["X-MBX-ORDER-COUNT-10S"] == "1"


def test_a_symbol_that_is_not_trading_takes_only_reducing_orders(open_market: Any, market: Any, tmp_path: Any) -> None:
    client = open_market(market.steps(0.5, 0.5001))
    info = client.get("/fapi/v1/exchangeInfo")
    client.order("BUY", 1000)
    info["symbols"][0]["status"] = "PENDING_TRADING"
    (tmp_path / "instruments.json").write_text(json.dumps(info))
    closed = open_market(market.steps(0.5, 0.5001), instruments=tmp_path / "instruments.json", folder="closed")
    assert closed.refused_order() == -4140
