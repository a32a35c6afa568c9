"""Every fault of the plan, over a real socket: what the client sees, and what the ledger says happened."""

import asyncio
import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from trader.sim.faults import EVENTS, KINDS, Plan, check_entry

ORDER = "POST /fapi/v1/order"
PRICES = [0.5 + (index * 37 % 20) / 1000 for index in range(50)]


def on_order(action: str, nth: int = 1, **args: Any) -> dict[str, Any]:
    return {"on": {"path": ORDER, "nth": nth}, "do": action, **args}


async def orders_of(wire: Any) -> list[Any]:
    return list((await wire.control("GET", "ledger"))["orders"])


@pytest.mark.parametrize("action", ["lose_answer", "drop_request", "kill_before", "kill_after"])
async def test_a_connection_closed_without_an_answer(serve_market: Any, market: Any, action: str) -> None:
    victim = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    try:
        wire = await serve_market(market.steps(*PRICES), [on_order(action)], client_pid=victim.pid)
        with pytest.raises(aiohttp.ServerDisconnectedError):
            await wire.order()
        assert len(await orders_of(wire)) == (action in ("lose_answer", "kill_after"))
        if action.startswith("kill"):
            assert victim.wait(timeout=20) == -signal.SIGKILL
    finally:
        victim.kill()
        victim.wait()
    ledger = await wire.control("GET", "ledger")
    assert [(row["do"], row["path"], row["request"]) for row in ledger["fault_log"]] == [(action, ORDER, 1)]
    assert ledger["faults"][0]["fired"]
    assert (await wire.order()).status == 200  # each fault fires once


@pytest.mark.parametrize(
    ("action", "status", "code", "executed"),
    [
        ("unknown_503_executed", 503, -1000, True),
        ("unknown_503_not_executed", 503, -1000, False),
        ("service_unavailable_503", 503, -1000, False),
        ("timeout_1007_executed", 408, -1007, True),
        ("timeout_1007_not_executed", 408, -1007, False),
    ],
)
async def test_an_answer_that_may_lie_about_what_happened(
    serve_market: Any, market: Any, action: str, status: int, code: int, executed: bool
) -> None:
    wire = await serve_market(market.steps(*PRICES), [on_order(action)])
    answer = await wire.order()
    body = await answer.json()
    assert (answer.status, body["code"]) == (status, code)
    if action.startswith("unknown"):
        assert body["msg"] == "Unknown error, please check your request or try again later."
    assert len(await orders_of(wire)) == executed


@pytest.mark.parametrize("effect", [True, False])
async def test_html_and_empty_answers_with_200(serve_market: Any, market: Any, effect: bool) -> None:
    plan = [on_order("html_200", 1, effect=effect), on_order("empty_200", 2, effect=effect)]
    wire = await serve_market(market.steps(*PRICES), plan)
    html, empty = await wire.order(), await wire.order()
    assert (html.status, html.content_type) == (200, "text/html")
    assert "<html>" in await html.text()
    assert (empty.status, await empty.read()) == (200, b"")
    assert len(await orders_of(wire)) == 2 * effect


async def test_a_truncated_answer_stops_in_its_middle(serve_market: Any, market: Any) -> None:
    wire = await serve_market(market.steps(*PRICES), [on_order("truncated")])
    answer = await wire.order()
    with pytest.raises(aiohttp.ClientPayloadError):
        await answer.read()
    assert len(await orders_of(wire)) == 1


async def test_a_plain_refusal_with_status_code_and_retry_after(serve_market: Any, market: Any) -> None:
    plan = [on_order("status", 1, status=418, code=-1003, msg="Way too many requests.", retry_after=120)]
    wire = await serve_market(market.steps(*PRICES), plan)
    answer = await wire.order()
    assert (answer.status, answer.headers["Retry-After"]) == (418, "120")
    assert await answer.json() == {"code": -1003, "msg": "Way too many requests."}
    assert await orders_of(wire) == []


async def test_a_late_order_is_executed_when_the_clock_reaches_it(serve_market: Any, market: Any) -> None:
    wire = await serve_market(market.steps(*PRICES), [on_order("late", 1, ms=3000), on_order("late", 2, ms=6000)])
    for _ in range(2):
        with pytest.raises(aiohttp.ServerDisconnectedError):
            await wire.order()
    assert await orders_of(wire) == []
    start = market.T0
    await wire.control("POST", "advance", {"to": start + 3000})
    assert await orders_of(wire) == []
    await wire.control("POST", "advance", {"to": start + 7000})
    ledger = await wire.control("GET", "ledger")
    assert [order["time"] for order in ledger["orders"]] == [start + 3001]
    assert [row["do"] for row in ledger["fault_log"]][2:] == ["late order executed", "late order refused: -1021"]
    assert ledger["late"] == []


async def test_a_late_order_meets_the_price_of_its_own_bar(serve_market: Any, market: Any) -> None:
    wire = await serve_market(market.steps(0.5, 0.7, 0.7001), [on_order("late", ms=4000)])
    await wire.control("POST", "advance", {"to": market.T0 + market.HOUR - 2000})
    with pytest.raises(aiohttp.ServerDisconnectedError):
        await wire.order()
    await wire.control("POST", "advance", {"to": market.T0 + 2 * market.HOUR})
    assert [order["avg_price"] for order in await orders_of(wire)] == ["0.7002"]


async def test_a_delay_costs_the_venue_as_much_time(serve_market: Any, market: Any) -> None:
    plan = [
        {"on": {"nth": 1}, "do": "delay", "seconds": 0.02},
        {"on": {"nth": 2}, "do": "delay", "seconds": 0.02, "side": "after"},
        on_order("delay", 1, seconds=0.02),
    ]
    wire = await serve_market(market.steps(*PRICES), plan)
    first = await (await wire.ask("GET", "/fapi/v1/time")).json()
    second = await (await wire.ask("GET", "/fapi/v1/time")).json()
    assert (first["serverTime"], second["serverTime"]) == (market.T0 + 21, market.T0 + 22)
    assert wire.now == market.T0 + 42
    answer = await wire.order(recvWindow=10)
    assert (await answer.json())["code"] == -1021  # it came in after its window


async def test_an_order_is_executed_but_not_to_be_seen_for_a_while(serve_market: Any, market: Any) -> None:
    wire = await serve_market(market.steps(*PRICES), [on_order("late_visibility", ms=1000)])
    placed = await (await wire.order(newClientOrderId="veiled")).json()
    assert placed["status"] == "FILLED"

    async def seen() -> list[Any]:
        query = await (await wire.signed("GET", "/fapi/v1/order", symbol="ADAUSDT", origClientOrderId="veiled")).json()
        lists = [
            await (await wire.signed("GET", path, symbol="ADAUSDT")).json()
            for path in ("/fapi/v1/userTrades", "/fapi/v1/income", "/fapi/v3/positionRisk", "/fapi/v1/allOrders")
        ]
        account = await (await wire.signed("GET", "/fapi/v2/account")).json()
        return [query.get("code"), *map(len, lists), account["positions"][0]["positionAmt"]]

    assert await seen() == [-2013, 0, 0, 0, 0, "0"]
    await wire.control("POST", "advance", {"to": market.T0 + 1002})
    assert await seen() == [None, 1, 1, 1, 1, "1000"]


async def test_a_resting_order_is_open_until_it_fills_or_is_cancelled(serve_market: Any, market: Any) -> None:
    plan = [on_order("rest", nth, ms=1000) for nth in (1, 3)]
    wire = await serve_market(market.steps(*PRICES), plan)
    first = await (await wire.order(newClientOrderId="one")).json()
    assert (first["status"], first["executedQty"]) == ("NEW", "0")
    twin = await (await wire.order(newClientOrderId="one")).json()
    assert twin["code"] == -4116
    rows = await (await wire.signed("GET", "/fapi/v1/openOrders")).json()
    assert [row["clientOrderId"] for row in rows] == ["one"]
    await wire.control("POST", "advance", {"to": market.T0 + 1001})
    found = await (await wire.signed("GET", "/fapi/v1/order", symbol="ADAUSDT", origClientOrderId="one")).json()
    assert (found["status"], found["executedQty"], found["updateTime"]) == ("FILLED", "1000", market.T0 + 1001)
    second = await (await wire.order(newClientOrderId="two")).json()
    gone = await wire.signed("DELETE", "/fapi/v1/order", symbol="ADAUSDT", orderId=second["orderId"])
    assert (await gone.json())["status"] == "CANCELED"
    await wire.control("POST", "advance", {"to": market.T0 + 9000})
    ledger = await wire.control("GET", "ledger")
    assert [order["status"] for order in ledger["orders"]] == ["FILLED", "CANCELED"]
    assert [position["quantity"] for position in ledger["positions"]] == ["1000"]


async def test_control_calls_need_their_token_and_spend_no_time(serve_market: Any, market: Any) -> None:
    wire = await serve_market(market.steps(*PRICES))
    assert (await wire.control("GET", "time", token="wrong"))["code"] == -2015
    assert await wire.control("GET", "time") == {"time": market.T0, "tape_end": market.T0 + 50 * market.HOUR}
    assert await wire.control("POST", "advance", {"to": market.T0 - 1}) == {"time": market.T0, "ended": False}
    assert (await wire.control("POST", "advance", {"to": "soon"}))["code"] == -1102
    assert (await wire.control("POST", "nothing"))["code"] == -5000
    answer = await wire.ask("GET", "/fapi/v1/time")
    assert answer.headers["X-Sim-Time"] == str(market.T0 + 1)
    ledger = await wire.control("GET", "ledger")
    assert (ledger["requests"], ledger["counts"]) == (1, {"GET /fapi/v1/time": 1})
    ended = await wire.control("POST", "advance", {"to": market.T0 + 99 * market.HOUR})
    assert ended == {"time": market.T0 + 50 * market.HOUR, "ended": True}


async def test_faults_can_be_added_while_it_runs(serve_market: Any, market: Any) -> None:
    wire = await serve_market(market.steps(*PRICES))
    assert await wire.control("POST", "faults", [{"on": {"nth": 2}, "do": "drop_request"}]) == {"added": 1}
    for bad in ({}, [{"on": {"nth": 2}, "do": "explode"}], [{"do": "delay"}], [{"on": {"nth": 1}, "do": "delay"}]):
        assert (await wire.control("POST", "faults", bad))["code"] == -1130
    assert (await wire.ask("GET", "/fapi/v1/ping")).status == 200
    with pytest.raises(aiohttp.ServerDisconnectedError):
        await wire.order()  # a GET would be repeated by the client itself on a kept connection


def test_a_fired_fault_stays_fired_over_a_restart_and_the_same_file(
    open_market: Any, market: Any, tmp_path: Path
) -> None:
    plan = [{"on": {"nth": 1}, "do": "drop_request"}, {"on": {"nth": 3}, "do": "drop_request"}]
    (tmp_path / "faults.json").write_text(json.dumps(plan))
    client = open_market(market.steps(*PRICES), faults=tmp_path / "faults.json")
    request = __import__("trader.sim.wire", fromlist=["Request"]).Request("GET", "/fapi/v1/ping", "", "", None)
    assert client.exchange.begin(request).action == "drop_request"
    client.opened.exchange.ledger.close()
    client.opened.lock.close()
    again = open_market(market.steps(*PRICES), faults=tmp_path / "faults.json")
    drawn = [again.exchange.begin(request) for _ in range(3)]
    assert [shot.action if shot else None for shot in drawn] == [None, "drop_request", None]
    assert len(again.ledger()["faults"]) == 2


def test_random_faults_are_the_same_for_the_same_seed() -> None:
    def run(seed: int) -> list[str | None]:
        plan = Plan(
            [(1, check_entry({"random": {"seed": seed, "rate": 0.3, "kinds": ["drop_request", "truncated"]}}), False)]
        )
        shots = [plan.draw(request, "GET /fapi/v1/time", request, 0) for request in range(1, 200)]
        return [shot.action if shot else None for shot in shots]

    assert run(1) == run(1) != run(2)
    assert 30 < sum(action is not None for action in run(1)) < 90


def test_every_kind_of_fault_is_tested() -> None:
    source = "".join(path.read_text() for path in Path(__file__).parent.glob("test_*.py"))
    assert [kind for kind in KINDS if f'"{kind}"' not in source] == []


async def test_requests_are_served_during_a_delay(serve_market: Any, market: Any) -> None:
    wire = await serve_market(market.steps(*PRICES), [{"on": {"nth": 1}, "do": "delay", "seconds": 0.2}])
    slow = asyncio.create_task(wire.ask("GET", "/fapi/v1/time"))
    while (await wire.control("GET", "ledger"))["requests"] == 0:
        await asyncio.sleep(0)
    assert (await wire.ask("GET", "/fapi/v1/ping")).status == 200
    assert not slow.done()
    await slow


def test_every_fault_and_event_is_described(root: Path) -> None:
    page = (root / "docs" / "embedded-exchange.md").read_text()
    assert sorted(name for name in KINDS | EVENTS if f"`{name}`" not in page) == []
