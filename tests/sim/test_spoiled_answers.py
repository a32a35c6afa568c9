"""Faults that spoil an answer, a connection or a span of time: what the client sees, and what was done."""

import asyncio
import json
from typing import Any

import aiohttp
import pytest

from trader.sim.distort import spoil
from trader.sim.faults import check_entry
from trader.sim.wire import Request

ORDER, KLINES = "POST /fapi/v1/order", "GET /fapi/v1/klines"
PRICES = [0.5 + (index * 37 % 20) / 1000 for index in range(50)]


def on(path: str, action: str, nth: int = 1, **args: Any) -> dict[str, Any]:
    return {"on": {"path": path, "nth": nth}, "do": action, **args}


async def klines(wire: Any, limit: int = 5) -> Any:
    return await (await wire.ask("GET", "/fapi/v1/klines", symbol="ADAUSDT", interval="1h", limit=limit)).json()


async def served(serve_market: Any, market: Any, *plan: Any, **options: Any) -> Any:
    begin = market.T0 + 10 * market.HOUR
    return await serve_market(market.steps(*PRICES), list(plan), begin=begin, **options)


async def test_a_stale_window_of_klines_is_whole_but_old(serve_market: Any, market: Any) -> None:
    wire = await served(serve_market, market, on(KLINES, "stale_klines", ms=2 * market.HOUR))
    old, new = await klines(wire), await klines(wire)
    assert [row[0] + 2 * market.HOUR for row in old] == [row[0] for row in new]
    assert old[2:4] == new[:2]


async def test_a_late_candle_is_still_open_after_its_close(serve_market: Any, market: Any) -> None:
    wire = await served(serve_market, market, on(KLINES, "late_candle"))
    late, new = await klines(wire), await klines(wire)
    assert late[-1][0] == new[-2][0] == market.T0 + 9 * market.HOUR
    assert [row[0] for row in late[1:]] == [row[0] for row in new[:-1]]


@pytest.mark.parametrize("index", [-2, 0, 3])
@pytest.mark.parametrize("action", ["missing_candle", "duplicate_candle", "swapped_candles"])
async def test_candles_are_missing_doubled_or_out_of_order(
    serve_market: Any, market: Any, action: str, index: int
) -> None:
    if action == "swapped_candles" and index == 0:
        index = 1
    wire = await served(serve_market, market, on(KLINES, action, index=index))
    spoiled = [row[0] for row in await klines(wire)]
    times = [row[0] for row in await klines(wire)]
    at = index % 5
    wanted = {
        "missing_candle": times[:at] + times[at + 1 :],
        "duplicate_candle": [*times[: at + 1], *times[at:]],
        "swapped_candles": [*times[: at - 1], times[at], times[at - 1], *times[at + 1 :]],
    }
    assert spoiled == wanted[action]


async def test_a_revised_candle_has_other_prices(serve_market: Any, market: Any) -> None:
    wire = await served(serve_market, market, on(KLINES, "revised_candle", factor=1.1))
    revised, true = await klines(wire), await klines(wire)
    assert [float(x) for x in revised[-2][1:5]] == pytest.approx([float(x) * 1.1 for x in true[-2][1:5]], abs=1e-3)
    assert revised[:-2] + revised[-1:] == true[:-2] + true[-1:]


@pytest.mark.parametrize("value", ["NaN", "0", "-1", "1e30", None])
async def test_a_bad_number_in_a_candle(serve_market: Any, market: Any, value: Any) -> None:
    wire = await served(serve_market, market, on(KLINES, "bad_candle", value=value, field="high"))
    assert (await klines(wire))[-2][2] == value
    assert float((await klines(wire))[-2][2]) > 0


async def test_positions_and_balances_that_are_not_there(serve_market: Any, market: Any) -> None:
    plan = [
        on("GET /fapi/v3/positionRisk", "empty_list"),
        on("GET /fapi/v3/balance", "no_usdt"),
        on("GET /fapi/v2/account", "no_usdt"),
        on("GET /fapi/v3/balance", "text_200", 2, text="null"),
        on("GET /fapi/v1/userTrades", "duplicate_rows"),
    ]
    wire = await served(serve_market, market, *plan)
    await wire.order()

    async def read(path: str, **params: Any) -> Any:
        return await (await wire.signed("GET", path, **params)).json()

    assert await read("/fapi/v3/positionRisk") == []
    assert len(await read("/fapi/v3/positionRisk")) == 1
    assert await read("/fapi/v3/balance") == []
    assert (await read("/fapi/v2/account"))["assets"] == []
    assert await read("/fapi/v3/balance") is None
    assert (await read("/fapi/v3/balance"))[0]["asset"] == "USDT"
    doubled = await read("/fapi/v1/userTrades", symbol="ADAUSDT")
    assert doubled == [doubled[0], doubled[0]]
    assert len(await read("/fapi/v1/userTrades", symbol="ADAUSDT")) == 1


async def test_an_order_answer_without_its_number_or_price(serve_market: Any, market: Any) -> None:
    wire = await served(serve_market, market, on(ORDER, "missing_fields", fields=["orderId", "avgPrice"]))
    answer = await (await wire.order(newClientOrderId="nameless")).json()
    assert not {"orderId", "avgPrice"} & set(answer)
    assert answer["clientOrderId"] == "nameless"
    assert [row["client_id"] for row in (await wire.control("GET", "ledger"))["orders"]] == ["nameless"]


async def test_a_refusal_is_not_spoiled(serve_market: Any, market: Any) -> None:
    wire = await served(serve_market, market, on(ORDER, "missing_fields", fields=["code"]))
    assert (await (await wire.order(quantity=0)).json())["code"] == -4003


@pytest.mark.parametrize("body", [b"", b"{}", b"[]", b'"text"', b"[1]"])
def test_an_answer_of_another_shape_stays_as_it_is(body: bytes) -> None:
    for action in ("missing_candle", "swapped_candles", "revised_candle", "no_usdt"):
        assert spoil(action, {"factor": 2}, body) in (body, b"[]")


@pytest.mark.parametrize(("share", "executed"), [("0", "0"), ("0.001", "1"), ("0.3337", "333"), ("1", "1000")])
async def test_a_thin_book_fills_a_part_and_the_rest_expires(
    serve_market: Any, market: Any, share: str, executed: str
) -> None:
    wire = await served(serve_market, market, on(ORDER, "partial", share=share))
    answer = await (await wire.order()).json()
    assert (answer["executedQty"], answer["origQty"]) == (executed, "1000")
    assert answer["status"] == ("FILLED" if share == "1" else "EXPIRED")
    ledger = await wire.control("GET", "ledger")
    assert [row["qty"] for row in ledger["trades"]] == [executed][: executed != "0"]
    assert await (await wire.signed("GET", "/fapi/v1/openOrders")).json() == []


@pytest.mark.parametrize("then", ["REJECTED", "EXPIRED", "CANCELED", "FILLED"])
async def test_an_accepted_order_ends_later(serve_market: Any, market: Any, then: str) -> None:
    wire = await served(serve_market, market, on(ORDER, "rest", ms=500, then=then, share="0.4"))
    assert (await (await wire.order()).json())["status"] == "NEW"
    await wire.control("POST", "advance", {"to": wire.now + 1000})
    order = (await wire.control("GET", "ledger"))["orders"][0]
    assert order["status"] == ("EXPIRED" if then == "FILLED" else then)
    assert order["executed_qty"] == ("400" if then == "FILLED" else "0")


async def test_maintenance_lasts_its_time_and_is_html(serve_market: Any, market: Any) -> None:
    begin = market.T0 + 10 * market.HOUR
    wire = await served(serve_market, market, {"during": {"from": begin, "to": begin + 60_000}, "do": "maintenance"})
    for path in ("/fapi/v1/time", "/fapi/v1/klines"):
        answer = await wire.ask("GET", path)
        assert (answer.status, answer.content_type) == (503, "text/html")
    assert (await wire.order()).status == 503
    await wire.control("POST", "advance", {"to": begin + 60_000})
    assert (await wire.order()).status == 200
    assert len((await wire.control("GET", "ledger"))["orders"]) == 1


async def test_a_span_can_be_of_one_path(serve_market: Any, market: Any) -> None:
    begin = market.T0 + 10 * market.HOUR
    span = {"from": begin, "to": begin + 60_000, "path": KLINES}
    wire = await served(serve_market, market, {"during": span, "do": "late_candle"})
    assert {(await klines(wire))[-1][0] for _ in range(3)} == {begin - market.HOUR}
    assert (await wire.ask("GET", "/fapi/v1/time")).status == 200
    log = (await wire.control("GET", "ledger"))["fault_log"]
    assert [row["do"] for row in log] == ["late_candle"] * 3


@pytest.mark.parametrize("effect", [True, False])
async def test_an_answer_that_never_comes(serve_market: Any, market: Any, effect: bool) -> None:
    wire = await served(serve_market, market, on(ORDER, "hang", effect=effect))
    order = asyncio.create_task(wire.order())
    while not (await wire.control("GET", "ledger"))["fault_log"]:
        await asyncio.sleep(0)
    assert not order.done()
    order.cancel()
    await asyncio.gather(order, return_exceptions=True)
    assert len((await wire.control("GET", "ledger"))["orders"]) == effect


async def test_an_answer_that_drips_costs_the_venue_as_much_time(serve_market: Any, market: Any) -> None:
    wire = await served(serve_market, market, on(ORDER, "drip", seconds=0.05))
    start = wire.now
    assert (await (await wire.order()).json())["status"] == "FILLED"
    assert (await wire.control("GET", "time"))["time"] >= start + 50


async def test_an_idle_connection_is_closed_under_the_client(serve_market: Any, market: Any) -> None:
    wire = await served(serve_market, market, on(ORDER, "close_idle", seconds=0.0))
    assert (await (await wire.order()).json())["status"] == "FILLED"
    try:
        second = (await wire.order()).status
    except aiohttp.ClientConnectionError:
        second = 0
    assert len((await wire.control("GET", "ledger"))["orders"]) == (2 if second else 1)
    assert (await wire.order()).status == 200


async def test_a_late_request_of_any_kind_is_carried_out(serve_market: Any, market: Any) -> None:
    wire = await served(serve_market, market, on("POST /fapi/v1/leverage", "late", ms=2000))
    with pytest.raises(aiohttp.ServerDisconnectedError):
        await wire.signed("POST", "/fapi/v1/leverage", symbol="ADAUSDT", leverage=3)
    await wire.control("POST", "advance", {"to": wire.now + 5000})
    ledger = await wire.control("GET", "ledger")
    assert [row["leverage"] for row in ledger["settings"]] == [3]
    assert ledger["fault_log"][-1]["do"] == "late request executed"


def test_a_bad_plan_is_refused() -> None:
    for bad in (
        {"during": {"from": 1}, "do": "maintenance"},
        {"during": {"from": 1, "to": 2}, "do": "transfer", "amount": 1},
        on(ORDER, "partial"),
        {"random": {"seed": 1, "rate": 0.1, "kinds": ["stale_klines"]}},
    ):
        with pytest.raises(ValueError, match=r"needs|unknown"):
            check_entry(bad)


def test_faults_are_kept_as_they_were_given(open_market: Any, market: Any) -> None:
    client = open_market(market.steps(*PRICES))
    entry = {"during": {"from": market.T0, "to": market.T0 + 5}, "do": "bad_candle", "value": None}
    client.exchange.add_faults([check_entry(entry)])
    assert client.ledger()["faults"] == [{"plan": json.loads(json.dumps(entry)), "fired": False}]
    shot = client.exchange.begin(Request("GET", "/fapi/v1/klines", "", "", None))
    assert (shot.action, shot.fault) == ("bad_candle", None)
