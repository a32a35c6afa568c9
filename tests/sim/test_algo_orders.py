"""Conditional orders: kept apart from the others, triggered by the bars of the tape, gone with their position."""

from decimal import Decimal
from typing import Any

import pytest

D = Decimal
ALGO = "/fapi/v1/algoOrder"
NOTHING: dict[str, Any] = {"fee": D(0), "slippage": D(0), "spread": D(0)}


def stop(client: Any, side: str = "SELL", trigger: object = "0.45", **params: Any) -> Any:
    base = {"algoType": "CONDITIONAL", "symbol": "ADAUSDT", "side": side, "type": "STOP_MARKET"}
    given = {"triggerPrice": trigger, "workingType": "MARK_PRICE", **params}
    if "closePosition" not in given and "quantity" not in given:
        given["quantity"] = "1000"
    return client.post(ALGO, **{**base, **given})


def refused(client: Any, **params: Any) -> int:
    base = {"algoType": "CONDITIONAL", "symbol": "ADAUSDT", "side": "SELL", "type": "STOP_MARKET", "quantity": "1000"}
    chosen = {**base, "triggerPrice": "0.45", **params}
    return int(client.refused("POST", ALGO, **{name: value for name, value in chosen.items() if value is not None}))


def test_a_stop_sells_at_its_trigger_when_a_bar_touches_it(open_market: Any, market: Any) -> None:
    bars = [(0.5, 0.5, 0.4501, 0.5), (0.5, 0.5, 0.45, 0.5), (0.5001, 0.5001, 0.5001, 0.5001)]
    client = open_market(bars, fee=D(0), spread=D(0), slippage=D("0.001"))
    client.order("BUY", 1000)
    placed = stop(client, clientAlgoId="guard")
    assert (placed["algoStatus"], "actualOrderId" in placed) == ("NEW", False)
    client.advance(1)
    assert client.read(ALGO, clientAlgoId="guard")["algoStatus"] == "NEW"
    client.advance(2)
    done = client.read(ALGO, clientAlgoId="guard")
    assert (done["algoStatus"], done["actualType"], done["actualQty"]) == ("FINISHED", "MARKET", "1000")
    assert (done["actualPrice"], done["triggerTime"]) == ("0.4495", market.T0 + 2 * market.HOUR)
    order = client.read("/fapi/v1/order", symbol="ADAUSDT", origClientOrderId="guard")
    assert str(order["orderId"]) == done["actualOrderId"]
    assert (order["type"], order["origType"], order["stopPrice"]) == ("MARKET", "STOP_MARKET", "0.45")
    assert client.position() is None


def test_a_gap_over_the_trigger_sells_at_the_first_price_after_it(open_market: Any, market: Any) -> None:
    client = open_market(market.steps(0.5, 0.4, 0.4001), **NOTHING)
    client.order("BUY", 1000)
    stop(client)
    client.advance(1)
    assert client.wallet == D(9900)


@pytest.mark.parametrize(
    ("side", "kind", "trigger", "bar"),
    [
        ("SELL", "STOP_MARKET", "0.48", (0.5, 0.5, 0.47, 0.5)),
        ("SELL", "TAKE_PROFIT_MARKET", "0.52", (0.5, 0.53, 0.5, 0.5)),
        ("BUY", "STOP_MARKET", "0.52", (0.5, 0.53, 0.5, 0.5)),
        ("BUY", "TAKE_PROFIT_MARKET", "0.48", (0.5, 0.5, 0.47, 0.5)),
    ],
)
def test_stops_wait_for_worse_and_targets_for_better_prices(
    open_market: Any, market: Any, side: str, kind: str, trigger: str, bar: Any
) -> None:
    client = open_market([bar, (0.5001, 0.5001, 0.5001, 0.5001)], **NOTHING)
    client.order("SELL" if side == "BUY" else "BUY", 1000)
    stop(client, side, trigger, type=kind, closePosition="true")
    client.advance(1)
    assert client.position() is None
    assert client.read("/fapi/v1/userTrades", symbol="ADAUSDT")[-1]["price"] == trigger


def test_a_stop_beyond_the_liquidation_price_comes_too_late(open_market: Any, market: Any) -> None:
    for trigger, saved in (("0.45", True), ("0.35", False)):
        bars = [(0.5, 0.5, 0.3, 0.5), (0.5001, 0.5001, 0.5001, 0.5001)]
        client = open_market(bars, folder=f"at{trigger}", **NOTHING)
        client.isolate(5)
        client.order("BUY", 1000)
        algo = stop(client, trigger=trigger, closePosition="true")
        client.advance(1)
        assert client.wallet == (D(9950) if saved else D(9900))
        status = client.read(ALGO, algoId=algo["algoId"])["algoStatus"]
        assert status == ("FINISHED" if saved else "EXPIRED")


def test_an_untriggered_order_is_unknown_to_ordinary_queries_and_cancels(open_market: Any, market: Any) -> None:
    client = open_market(market.steps(0.5, 0.5001))
    stop(client, clientAlgoId="guard")
    assert client.refused("GET", "/fapi/v1/order", symbol="ADAUSDT", origClientOrderId="guard") == -2013
    assert client.refused("DELETE", "/fapi/v1/order", symbol="ADAUSDT", origClientOrderId="guard") == -2011
    client.signed("DELETE", "/fapi/v1/allOpenOrders", symbol="ADAUSDT")
    assert client.read("/fapi/v1/openOrders") == []
    assert [row["clientAlgoId"] for row in client.read("/fapi/v1/openAlgoOrders")] == ["guard"]
    status, gone = client.signed("DELETE", ALGO, clientAlgoId="guard")
    assert (status, gone) == (200, {"algoId": 1, "clientAlgoId": "guard", "code": "200", "msg": "success"})
    assert client.refused("DELETE", ALGO, algoId=1) == -2011
    assert client.refused("GET", ALGO, algoId=7) == -2013
    assert client.refused("GET", ALGO) == -1102
    stop(client)
    client.signed("DELETE", "/fapi/v1/algoOpenOrders", symbol="ADAUSDT")
    rows = client.read("/fapi/v1/allAlgoOrders", symbol="ADAUSDT")
    assert [row["algoStatus"] for row in rows] == ["CANCELED", "CANCELED"]
    assert len(client.read("/fapi/v1/allAlgoOrders", symbol="ADAUSDT", algoId=2)) == 1


@pytest.mark.parametrize("how", ["close", "flip", "adl"])
def test_an_order_bound_to_a_position_expires_with_it(open_market: Any, market: Any, how: str) -> None:
    client = open_market(market.steps(0.5, 0.5001))
    client.order("BUY", 1000)
    bound = [stop(client, closePosition="true"), stop(client, trigger="0.44", timeInForce="GTE_GTC")]
    free = stop(client, trigger="0.43", reduceOnly="true")
    if how == "adl":
        client.happen(do="adl", symbol="ADAUSDT")
    else:
        client.order("SELL", 1000 if how == "close" else 1500)
    status = [client.read(ALGO, algoId=each["algoId"])["algoStatus"] for each in (*bound, free)]
    assert status == ["EXPIRED", "EXPIRED", "NEW"]


def test_a_reduce_only_stop_without_a_position_is_rejected_when_it_triggers(open_market: Any, market: Any) -> None:
    client = open_market(market.steps(0.5, 0.4, 0.4001))
    stop(client, reduceOnly="true")
    client.advance(1)
    assert client.read(ALGO, algoId=1)["algoStatus"] == "REJECTED"
    assert client.ledger()["orders"] == []


def test_a_stop_limit_becomes_a_limit_order(open_market: Any, market: Any) -> None:
    client = open_market(market.steps(0.5, 0.44, 0.46, 0.4601), **NOTHING)
    client.order("BUY", 1000)
    stop(client, type="STOP", price="0.45", clientAlgoId="guard")
    client.advance(1)
    algo = client.read(ALGO, clientAlgoId="guard")
    assert (algo["algoStatus"], algo["actualQty"]) == ("TRIGGERED", "0")
    assert client.read("/fapi/v1/openOrders")[0]["clientOrderId"] == "guard"
    client.advance(2)
    assert client.read(ALGO, clientAlgoId="guard")["algoStatus"] == "FINISHED"
    assert client.position() is None


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"algoType": "VP"}, -1130),
        ({"algoType": None}, -1102),
        ({"type": "MARKET"}, -1116),
        ({"type": "TRAILING_STOP_MARKET"}, -1116),
        ({"triggerPrice": None}, -1102),
        ({"triggerPrice": "0"}, -4006),
        ({"triggerPrice": "0.45001"}, -1111),
        ({"triggerPrice": "2000000", "side": "BUY"}, -4007),
        ({"triggerPrice": "0.51"}, -2021),
        ({"triggerPrice": "0.49", "type": "TAKE_PROFIT_MARKET"}, -2021),
        ({"quantity": None}, -1102),
        ({"quantity": "0"}, -4003),
        ({"quantity": "1.5"}, -1111),
        ({"price": "0.45"}, -1106),
        ({"type": "STOP"}, -1102),
        ({"type": "STOP", "closePosition": "true", "price": "0.45"}, -4136),
        ({"closePosition": "true"}, -4137),
        ({"closePosition": "true", "quantity": None, "reduceOnly": "true"}, -1106),
        ({"closePosition": "true", "quantity": None, "side": "BUY", "triggerPrice": "0.55"}, -4509),
        ({"timeInForce": "GTE_GTC", "side": "BUY", "triggerPrice": "0.55"}, -4509),
        ({"workingType": "INDEX"}, -4031),
        ({"timeInForce": "DAY"}, -1115),
        ({"callbackRate": "1"}, -1106),
        ({"clientAlgoId": "x" * 37}, -4015),
        ({"positionSide": "LONG"}, -4061),
    ],
)
def test_a_bad_conditional_order_is_refused(open_market: Any, market: Any, change: dict[str, Any], code: int) -> None:
    client = open_market(market.steps(0.5, 0.5001))
    client.order("BUY", 1000)
    assert refused(client, **change) == code
    assert client.ledger()["algos"] == []


def test_twins_of_a_position_and_of_a_client_id_and_too_many_are_refused(open_market: Any, market: Any) -> None:
    client = open_market(market.steps(0.5, 0.5001))
    client.order("BUY", 1000)
    stop(client, closePosition="true", clientAlgoId="one")
    assert refused(client, quantity=None, closePosition="true") == -4130
    assert refused(client, clientAlgoId="one") == -4116
    for _ in range(9):
        stop(client)
    assert refused(client) == -4045


def test_waiting_orders_survive_a_restart(open_market: Any, market: Any) -> None:
    bars = market.steps(0.5, 0.4, 0.4001)
    client = open_market(bars, **NOTHING)
    client.order("BUY", 1000)
    stop(client, closePosition="true")
    client.opened.exchange.ledger.close()
    client.opened.lock.close()
    again = open_market(bars)
    again.advance(1)
    assert again.wallet == D(9900)
    assert again.read("/fapi/v1/allAlgoOrders", symbol="ADAUSDT")[0]["algoStatus"] == "FINISHED"
