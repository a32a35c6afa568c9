"""What happens on exchange and account without a request of the client: by hand, or by the exchange itself."""

import inspect
import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from trader.sim import events
from trader.sim.faults import EVENTS, check_entry

D = Decimal
ORDER = "POST /fapi/v1/order"
NOTHING: dict[str, Any] = {"fee": D(0), "slippage": D(0), "spread": D(0)}


def test_an_order_by_hand_has_a_foreign_client_id(open_market: Any, market: Any) -> None:
    client = open_market(market.steps(0.5, 0.5001))
    assert client.happen(do="order", symbol="ADAUSDT", side="SELL", type="MARKET", quantity=700) == {"done": "order"}
    client.happen(
        do="order",
        symbol="ADAUSDT",
        side="BUY",
        type="MARKET",
        quantity="200",
        newClientOrderId="ios_x1",
        reduceOnly=True,
    )
    names = [row["clientOrderId"] for row in client.read("/fapi/v1/allOrders", symbol="ADAUSDT")]
    assert names == ["web_1", "ios_x1"]
    assert client.position()["positionAmt"] == "-500"
    assert client.ledger()["counts"].get(ORDER) is None
    assert [row["do"] for row in client.ledger()["fault_log"]] == ["order", "order"]


def test_orders_by_hand_can_rest_and_be_cancelled(open_market: Any, market: Any) -> None:
    client = open_market(market.steps(0.5, 0.5001))
    by_hand = {"symbol": "ADAUSDT", "side": "BUY", "type": "LIMIT", "quantity": 700, "price": "0.48"}
    client.happen(do="order", timeInForce="GTC", **by_hand)
    client.happen(do="order", timeInForce="GTC", **by_hand)
    client.happen(do="order", timeInForce="GTC", **by_hand)
    client.happen(do="cancel", symbol="ADAUSDT", orderId=2)
    assert [row["clientOrderId"] for row in client.read("/fapi/v1/openOrders")] == ["web_1", "web_3"]
    client.happen(do="cancel_all", symbol="ADAUSDT")
    assert client.read("/fapi/v1/openOrders") == []
    assert client.happen(do="cancel", symbol="ADAUSDT", orderId=9)["code"] == -2011


def test_settings_change_by_hand(open_market: Any, market: Any) -> None:
    client = open_market(market.steps(0.5, 0.5001))
    client.happen(do="leverage", symbol="ADAUSDT", leverage=7)
    client.happen(do="margin_type", symbol="ADAUSDT", marginType="ISOLATED")
    config = client.read("/fapi/v1/symbolConfig", symbol="ADAUSDT")[0]
    assert (config["leverage"], config["marginType"]) == (7, "ISOLATED")
    client.happen(do="margin_type", symbol="ADAUSDT", marginType="CROSSED")
    client.happen(do="position_mode", dualSidePosition=True)
    client.happen(do="multi_assets", multiAssetsMargin=True)
    modes = client.read("/fapi/v1/accountConfig")
    assert (modes["dualSidePosition"], modes["multiAssetsMargin"]) == (True, True)


def test_transfers_are_incomes_and_take_only_what_is_free(open_market: Any, market: Any) -> None:
    client = open_market(market.steps(0.5, 0.5001), **NOTHING)
    client.order("BUY", 100_000)  # binds 2500 at 20x
    client.happen(do="transfer", amount="250.5")
    assert client.happen(do="transfer", amount="-8000")["code"] == -4050
    client.happen(do="transfer", amount=-7750)
    assert client.wallet == D("2500.5")
    rows = client.read("/fapi/v1/income", incomeType="TRANSFER")
    assert [(row["income"], row["symbol"]) for row in rows] == [("250.50000000", ""), ("-7750.00000000", "")]


def test_deleveraging_closes_at_the_mark_price_without_a_fee(open_market: Any, market: Any) -> None:
    client = open_market(market.steps(0.5, 0.6, 0.6001), fee=D("0.001"), slippage=D(0), spread=D(0))
    client.order("BUY", 1000)
    client.advance(1)
    client.happen(do="adl", symbol="ADAUSDT", quantity=400)
    assert client.position()["positionAmt"] == "600"
    client.happen(do="adl", symbol="ADAUSDT")
    assert client.position() is None
    rows = client.read("/fapi/v1/forceOrders", autoCloseType="ADL")
    assert [(row["clientOrderId"], row["executedQty"], row["avgPrice"]) for row in rows] == [
        ("adl_autoclose", "600", "0.6"),
        ("adl_autoclose", "400", "0.6"),
    ]
    assert client.wallet == D("10099.5")  # 1000 * 0.1, less the fee of the opening


@pytest.mark.parametrize("isolated", [True, False])
def test_a_liquidation_takes_the_margin_at_once(open_market: Any, market: Any, isolated: bool) -> None:
    client = open_market(market.steps(0.5, 0.5001), **NOTHING)
    if isolated:
        client.isolate(5)
    client.order("BUY", 1000)
    client.happen(do="liquidate", symbol="ADAUSDT")
    assert client.position() is None
    assert client.wallet == (D(9900) if isolated else D(0))
    assert client.ledger()["orders"][1]["client_id"].startswith("autoclose-")


def test_filters_and_brackets_change_overnight_and_stay_changed(open_market: Any, market: Any) -> None:
    client = open_market(market.steps(5.0, 5.01))
    before = client.get("/fapi/v1/exchangeInfo")["symbols"][0]
    at = market.T0 + 60_000
    later = client.happen(
        do="symbol",
        at=at,
        symbol="ADAUSDT",
        filters={"LOT_SIZE": {"stepSize": "10", "minQty": "10"}, "PRICE_FILTER": {"tickSize": "0.05"}},
        brackets=[
            {"initialLeverage": 3, "notionalFloor": 0, "notionalCap": 900, "maintMarginRatio": 0.05, "cum": 0},
        ],
    )
    client.happen(do="symbol", at=at, symbol="ADAUSDT", filters={"MIN_NOTIONAL": {"notional": "200"}})
    assert later == {"at": at}
    assert client.get("/fapi/v1/exchangeInfo")["symbols"][0] == before
    client.exchange.advance(at)
    client.opened.exchange.ledger.close()
    client.opened.lock.close()
    client = open_market(market.steps(5.0, 5.01))
    filters = {row["filterType"]: row for row in client.get("/fapi/v1/exchangeInfo")["symbols"][0]["filters"]}
    assert filters["LOT_SIZE"] == {"filterType": "LOT_SIZE", "stepSize": "10", "maxQty": "1000000", "minQty": "10"}
    assert client.refused_order(quantity=105) == -4023
    assert client.refused_order(quantity=30) == -4164
    assert client.refused_order(quantity=100) == -2027  # 20x is no longer in the table
    client.post("/fapi/v1/leverage", symbol="ADAUSDT", leverage=3)
    assert client.order("BUY", 100)["avgPrice"] == "5.05"
    assert client.refused_order(quantity=100) == -2027
    assert client.refused("POST", "/fapi/v1/leverage", symbol="ADAUSDT", leverage=4) == -4028


def test_a_change_that_makes_no_sense_is_refused_and_changes_nothing(open_market: Any, market: Any) -> None:
    client = open_market(market.steps(0.5, 0.5001))
    before = client.get("/fapi/v1/exchangeInfo")["symbols"]
    bad = client.happen(do="symbol", symbol="ADAUSDT", filters={"LOT_SIZE": {"stepSize": "none"}})
    assert bad["code"] == -1130
    assert client.happen(do="symbol", symbol="ADAUSDT", brackets=[])["code"] == -1130
    assert client.happen(do="symbol", symbol="NOPEUSDT", status="CLOSE")["code"] == -1121
    assert client.happen(do="fees", maker="0", taker="5")["code"] == -4026
    assert client.get("/fapi/v1/exchangeInfo")["symbols"] == before


def test_a_delisted_symbol_settles_on_its_day(open_market: Any, market: Any) -> None:
    client = open_market(market.steps(0.5, 0.6, 0.7, 0.7001), **NOTHING)
    client.order("BUY", 1000)
    waiting = client.limit("BUY", 1000, "0.47")
    day = market.T0 + 2 * market.HOUR
    client.happen(do="delist", symbol="ADAUSDT", deliveryDate=day)
    shown = client.get("/fapi/v1/exchangeInfo")["symbols"][0]
    assert (shown["deliveryDate"], shown["status"]) == (day, "TRADING")
    client.happen(do="symbol", symbol="ADAUSDT", status="CLOSE_ONLY")
    assert client.refused_order() == -4140
    client.exchange.advance(day)
    assert client.get("/fapi/v1/exchangeInfo")["symbols"][0]["status"] == "SETTLING"
    assert client.position() is None
    assert client.found(waiting["orderId"])["status"] == "EXPIRED"
    assert client.ledger()["orders"][-1]["client_id"] == f"settlement_autoclose-{day}"
    assert client.wallet == D(10200)
    client.happen(do="symbol", symbol="ADAUSDT", status="CLOSE")
    assert client.get("/fapi/v1/exchangeInfo")["symbols"] == []
    client.happen(do="settle", symbol="ADAUSDT")


def test_rules_refuse_what_opens_and_let_reduce(open_market: Any, market: Any) -> None:
    client = open_market(market.steps(0.5, 0.5001))
    client.order("BUY", 1000)
    for code, symbol in ((-4400, "ADAUSDT"), (-4192, "")):
        client.happen(do="rule", code=code, msg="Only reduceOnly order is allowed.", symbol=symbol)
        assert client.refused_order() == code
        assert client.order("SELL", 10)["status"] == "FILLED"
        client.happen(do="lift_rule", symbol=symbol)
    assert client.order("BUY", 1000)["status"] == "FILLED"


def test_fees_change_for_makers_and_takers(open_market: Any, market: Any) -> None:
    client = open_market(market.steps(0.5, 0.48, 0.4801), slippage=D(0), spread=D(0))
    client.happen(do="fees", maker="0.0002", taker="0.0004")
    rates = client.read("/fapi/v1/commissionRate", symbol="ADAUSDT")
    assert (rates["makerCommissionRate"], rates["takerCommissionRate"]) == ("0.0002", "0.0004")
    client.order("BUY", 1000)
    client.limit("BUY", 1000, "0.49")
    client.advance(1)
    trades = client.read("/fapi/v1/userTrades", symbol="ADAUSDT")
    assert [(row["commission"], row["maker"]) for row in trades] == [("0.20000000", False), ("0.09800000", True)]


def test_a_key_loses_its_rights(open_market: Any, market: Any) -> None:
    client = open_market(market.steps(0.5, 0.5001))
    restrictions = "/sapi/v1/account/apiRestrictions"
    client.happen(do="key", enableWithdrawals=True, ipRestrict=False)
    rights = client.read(restrictions)
    assert (rights["enableWithdrawals"], rights["ipRestrict"], rights["enableFutures"]) == (True, False, True)
    client.happen(do="key", enableFutures=False)
    assert client.refused_order() == -2015
    assert client.read(restrictions)["enableFutures"] is False
    client.happen(do="key", enableFutures=True, revoked=True)
    assert client.refused("GET", restrictions) == -2015
    assert client.refused("GET", "/fapi/v3/balance") == -2015
    client.happen(do="key", revoked=False)
    assert client.order("BUY", 1000)["status"] == "FILLED"


def test_a_skewed_exchange_shows_and_checks_another_time(open_market: Any, market: Any) -> None:
    client = open_market(market.steps(0.5, 0.5001))
    client.happen(do="skew", ms=7000)
    assert client.get("/fapi/v1/time")["serverTime"] == client.exchange.venue.now + 7000
    assert client.refused_order() == -1021
    assert client.order("BUY", 1000, timestamp=client.exchange.venue.now + 7000)["status"] == "FILLED"
    client.happen(do="skew", ms=0)
    assert client.order("BUY", 1000)["status"] == "FILLED"


def test_an_event_can_come_between_two_requests(open_market: Any, market: Any, tmp_path: Path) -> None:
    plan = [
        {"on": {"path": "GET /fapi/v3/balance", "nth": 2}, "do": "transfer", "amount": "-1000"},
        {"on": {"path": "GET /fapi/v3/balance", "nth": 3}, "do": "transfer", "amount": "-99999"},
    ]
    client = open_market(market.steps(0.5, 0.5001))
    client.exchange.add_faults([check_entry(each) for each in plan])
    request = json.loads(json.dumps([]))
    for _ in range(3):
        request.append(_balance(client))
    assert request == ["10000.00000000", "9000.00000000", "9000.00000000"]
    log = client.ledger()["fault_log"]
    assert [row["do"] for row in log] == ["transfer", "transfer", "transfer refused: -4050"]


def _balance(client: Any) -> str:
    from trader.sim.wire import Request

    request = Request("GET", "/fapi/v3/balance", client.sign({}), "", client.exchange.keys.api_key)
    shot = client.exchange.begin(request)
    if shot is not None:
        client.exchange.perform(shot)
    return str(json.loads(client.exchange.answer(request).body)[0]["balance"])


def test_an_event_at_its_time_happens_once_also_over_a_restart(open_market: Any, market: Any, tmp_path: Path) -> None:
    plan = [{"at": market.T0 + 5_000, "do": "transfer", "amount": "5"}]
    (tmp_path / "faults.json").write_text(json.dumps(plan))
    bars = market.steps(0.5, 0.5001)
    client = open_market(bars, faults=tmp_path / "faults.json")
    client.exchange.advance(market.T0 + 6_000)
    assert client.wallet == 10005
    assert client.read("/fapi/v1/income")[0]["time"] == market.T0 + 5_000
    client.opened.exchange.ledger.close()
    client.opened.lock.close()
    again = open_market(bars, faults=tmp_path / "faults.json")
    again.exchange.advance(market.T0 + 20_000)
    assert again.wallet == 10005


def test_a_stop_that_is_triggered_by_an_event_closes_its_position_at_the_price_of_now(
    open_market: Any, market: Any
) -> None:
    client = open_market(market.steps(0.5, 0.5001), **NOTHING)
    client.order("BUY", 1000)
    stop = {"symbol": "ADAUSDT", "side": "SELL", "type": "STOP_MARKET", "triggerPrice": "0.4", "closePosition": True}
    client.happen(do="algo_order", **stop)
    client.happen(do="algo_order", **stop | {"type": "TAKE_PROFIT_MARKET", "triggerPrice": "0.6"})
    assert client.happen(do="trigger", symbol="ADAUSDT") == {"done": "trigger"}
    assert client.position() is None
    assert client.read("/fapi/v1/userTrades", symbol="ADAUSDT")[-1]["price"] == "0.5"
    assert [row["status"] for row in client.ledger()["algos"]] == ["FINISHED", "EXPIRED"]
    assert client.happen(do="trigger", symbol="NOBODY")["code"] == -1121


def test_an_algo_order_by_hand_is_placed_and_cancelled(open_market: Any, market: Any) -> None:
    client = open_market(market.steps(0.5, 0.5001))
    client.order("BUY", 1000)
    client.happen(
        do="algo_order", symbol="ADAUSDT", side="SELL", type="STOP_MARKET", triggerPrice="0.4", quantity="1000"
    )
    assert [row["clientAlgoId"] for row in client.read("/fapi/v1/openAlgoOrders")] == ["web_a1"]
    client.happen(do="cancel_algo", algoId=1)
    assert client.read("/fapi/v1/openAlgoOrders") == []
    for price in ("0.4", "0.3"):
        client.happen(
            do="algo_order", symbol="ADAUSDT", side="SELL", type="STOP_MARKET", triggerPrice=price, quantity="1000"
        )
    client.happen(do="cancel_all_algos", symbol="ADAUSDT")
    assert client.read("/fapi/v1/openAlgoOrders") == []


@pytest.mark.parametrize(
    "bad", [{}, {"do": "explode"}, {"do": "transfer"}, {"at": "noon", "do": "skew", "ms": 1}, {"at": 5, "do": "delay"}]
)
def test_a_bad_event_is_refused(bad: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"event|needs|instant|on"):
        check_entry({"at": 5, **bad} if "do" in bad else bad)


async def test_the_control_port_takes_events(serve_market: Any, market: Any) -> None:
    wire = await serve_market(market.steps(0.5, 0.5001))
    done = await wire.control("POST", "events", [{"do": "transfer", "amount": "7"}, {"do": "adl", "symbol": "NOPE"}])
    assert done == [{"done": "transfer"}, {"code": -1121, "msg": "Invalid symbol."}]
    assert (await wire.control("POST", "events", {"do": "nothing"}))["code"] == -1130
    assert (await wire.control("GET", "ledger"))["wallet"] == "10007.00000000"


def test_every_event_is_tested_here() -> None:
    source = Path(__file__).read_text()
    assert [name for name in EVENTS if f'do="{name}"' not in source] == []
    assert set(events._HANDLERS) == EVENTS
    assert inspect.getdoc(events.perform)


def test_fees_in_bnb_leave_the_wallet_and_are_told_with_their_asset(open_market: Any, market: Any) -> None:
    client = open_market(market.steps(0.5, 0.5001))
    assert client.read("/fapi/v1/feeBurn") == {"feeBurn": False}
    client.post("/fapi/v1/feeBurn", feeBurn="true")
    assert client.read("/fapi/v1/feeBurn") == {"feeBurn": True}
    assert client.read("/fapi/v2/account")["feeBurn"] is True
    before = client.wallet
    client.order("BUY", 10_000)
    (trade,) = client.read("/fapi/v1/userTrades", symbol="ADAUSDT")
    paid = D(trade["quoteQty"]) * D("0.0005") * D("0.9") / 500
    assert (trade["commissionAsset"], D(trade["commission"])) == ("BNB", paid.quantize(D("1e-8")))
    assert client.wallet == before
    (row,) = client.read("/fapi/v1/income", incomeType="COMMISSION")
    assert (row["asset"], D(row["income"])) == ("BNB", -D(trade["commission"]))
    client.happen(do="fee_burn", feeBurn=False)
    client.order("SELL", 10_000)
    assert client.read("/fapi/v1/userTrades", symbol="ADAUSDT")[-1]["commissionAsset"] == "USDT"
    assert client.refused("POST", "/fapi/v1/feeBurn") == -1102
