"""Protective stops through the real client: placed once, found whatever became of them, cancelled as often as asked."""

from collections.abc import Mapping
from decimal import Decimal

import pytest

from tests.wire.fakes import KEY, SECRET, Reply, scripted
from trader.domain.stop import StopRequest
from trader.errors import ExchangeError, NotSent, OutcomeUnknown, RateLimited, Rejected

REQUEST = StopRequest("t123456.abc.ADAUSDT.s0", "ADAUSDT", Decimal("-25"), Decimal("0.4800"))
WAITS: dict[str, object] = {
    "algoId": 2148627,
    "clientAlgoId": REQUEST.client_id,
    "algoType": "CONDITIONAL",
    "orderType": "STOP_MARKET",
    "symbol": "ADAUSDT",
    "side": "SELL",
    "positionSide": "BOTH",
    "quantity": "0",
    "algoStatus": "NEW",
    "triggerPrice": "0.4800",
    "closePosition": True,
    "reduceOnly": True,
    "createTime": 1709654400010,
    "updateTime": 1709654400010,
}


def refused(code: int, status: int = 400) -> Reply:
    return Reply({"code": code, "msg": "no"}, status)


async def test_a_stop_closes_the_whole_position_by_the_mark_price() -> None:
    gateway, session, _ = scripted(Reply(WAITS))
    placed = await gateway.place_stop(REQUEST)
    assert (placed.exchange_id, placed.status, placed.order_id, placed.done) == ("2148627", "NEW", None, False)
    _, url, body = session.requests[0]
    assert url == "https://demo-fapi.binance.com/fapi/v1/algoOrder"
    for pair in (
        "algoType=CONDITIONAL", "type=STOP_MARKET", "side=SELL", "triggerPrice=0.48", "workingType=MARK_PRICE",
        "closePosition=true", f"clientAlgoId={REQUEST.client_id}", "recvWindow=5000",
    ):  # fmt: skip
        assert pair in body.split("&")
    assert "quantity" not in body
    assert "reduceOnly" not in body


@pytest.mark.parametrize(
    "changes",
    [
        {"clientAlgoId": "another"},
        {"symbol": "BTCUSDT"},
        {"triggerPrice": "0.47"},
        {"algoStatus": ""},
        {"side": "HOLD"},
    ],
)
async def test_an_answer_that_speaks_of_another_stop_leaves_its_outcome_unknown(changes: Mapping[str, str]) -> None:
    gateway, session, _ = scripted(Reply(WAITS | changes))
    with pytest.raises(OutcomeUnknown, match="does not say what became of it"):
        await gateway.place_stop(REQUEST)
    assert session.paths() == ["POST /fapi/v1/algoOrder"]


@pytest.mark.parametrize(
    ("reply", "error"),
    [
        (refused(-2021), Rejected),
        (refused(-4130), Rejected),
        (refused(-4509), Rejected),
        (refused(-4116), OutcomeUnknown),
        (refused(-1008, 503), NotSent),
        (refused(-1007, 504), OutcomeUnknown),
        (Reply("<html>", 200), OutcomeUnknown),
        (TimeoutError(), OutcomeUnknown),
    ],
)
async def test_a_stop_that_fails_means_what_an_order_that_fails_means(reply: object, error: type[Exception]) -> None:
    gateway, session, _ = scripted(reply)
    with pytest.raises(error) as raised:
        await gateway.place_stop(REQUEST)
    assert len(session.requests) == 1
    assert not {KEY, SECRET} & set(str(raised.value).split())


async def test_a_clock_found_wrong_is_measured_before_the_stop_may_be_placed_again() -> None:
    gateway, session, _ = scripted(refused(-1021), Reply({"serverTime": 1709654405007}))
    with pytest.raises(NotSent):
        await gateway.place_stop(REQUEST)
    assert session.paths() == ["POST /fapi/v1/algoOrder", "GET /fapi/v1/time"]


async def test_a_stop_that_has_triggered_names_the_order_it_became() -> None:
    gateway, session, _ = scripted(Reply(WAITS | {"algoStatus": "FINISHED", "actualOrderId": 77}))
    found = await gateway.find_stop("ADAUSDT", REQUEST.client_id)
    assert found is not None
    assert (found.status, found.order_id, found.done) == ("FINISHED", "77", True)
    assert session.paths() == ["GET /fapi/v1/algoOrder"]


async def test_a_stop_the_exchange_knows_nothing_of_is_none_and_any_other_refusal_an_error() -> None:
    gateway, _, _ = scripted(refused(-2013), refused(-2015, 401))
    assert await gateway.find_stop("ADAUSDT", REQUEST.client_id) is None
    with pytest.raises(Rejected):
        await gateway.find_stop("ADAUSDT", REQUEST.client_id)


async def test_an_answer_about_another_stop_is_not_taken_for_the_one_asked_for() -> None:
    gateway, _, _ = scripted(Reply(WAITS | {"clientAlgoId": "another"}))
    with pytest.raises(ExchangeError, match="another stop"):
        await gateway.find_stop("ADAUSDT", REQUEST.client_id)


async def test_a_stop_that_waits_no_more_is_as_good_as_cancelled() -> None:
    done = Reply({"algoId": 2148627, "clientAlgoId": REQUEST.client_id, "code": "200", "msg": "success"})
    gateway, session, _ = scripted(done, refused(-2011), refused(-2015, 401))
    await gateway.cancel_stop("ADAUSDT", REQUEST.client_id)
    await gateway.cancel_stop("ADAUSDT", REQUEST.client_id)
    with pytest.raises(Rejected):
        await gateway.cancel_stop("ADAUSDT", REQUEST.client_id)
    assert session.paths() == ["DELETE /fapi/v1/algoOrder"] * 3


async def test_conditional_orders_are_listed_where_somebody_wants_them_to_be() -> None:
    gateway, session, _ = scripted(*[Reply([])] * 3)
    gateway._algo_orders = False  # as on an embedded exchange
    assert await gateway.open_orders() == []
    gateway.list_conditional()
    assert await gateway.open_orders() == []
    assert session.paths() == ["GET /fapi/v1/openOrders"] * 2 + ["GET /fapi/v1/openAlgoOrders"]


async def test_a_limit_of_our_own_puts_a_stop_off_before_it_is_sent() -> None:
    gateway, session, _ = scripted(*[Reply(WAITS) for _ in range(300)])
    for _ in range(300):
        await gateway.place_stop(REQUEST)
    with pytest.raises(RateLimited):
        await gateway.place_stop(REQUEST)
    assert len(session.requests) == 300
