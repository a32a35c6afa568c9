"""Reads are asked again, a bounded number of times, on the venue's clock; what they bring is never guessed."""

import datetime as dt
from decimal import Decimal

import aiohttp
import pytest

from tests.wire.fakes import FILLED, REQUEST, START, FakeClock, Reply, scripted
from trader.errors import Denied, ExchangeError, Mismatch, NotSent, OutcomeUnknown, RateLimited, Rejected, Unreached

ACCOUNT = {
    "totalMarginBalance": "10002.50",
    "availableBalance": "9000.1",
    "assets": [{"asset": "BNB", "walletBalance": "1"}, {"asset": "USDT", "walletBalance": "10000.25"}],
    "positions": [
        {
            "symbol": "ADAUSDT",
            "positionSide": "BOTH",
            "positionAmt": "-1000",
            "unrealizedProfit": "2.25",
            "notional": "-598.00",
        },
        {"symbol": "BTCUSDT", "positionSide": "BOTH", "positionAmt": "0", "unrealizedProfit": "0", "notional": "0"},
    ],
}


def without(answer: dict, *names: str) -> dict:
    return {name: value for name, value in answer.items() if name not in names}


def account(**changes: object) -> Reply:
    return Reply(ACCOUNT | changes)


@pytest.mark.parametrize(
    "fault",
    [
        aiohttp.ServerDisconnectedError(),
        aiohttp.ClientPayloadError("cut"),
        TimeoutError(),
        Reply("<html/>", 502),
        Reply(""),
        Reply("null"),
        Reply('{"totalMarginBalance":'),
        Reply("<html>portal</html>"),
        Reply({"code": -1001, "msg": "Internal error"}, 500),
        Reply({"code": -1008, "msg": "throttled"}, 503),
        Reply({}),
        account(assets=[]),
        account(positions=None),
    ],
    ids=range(13),
)
async def test_a_read_that_brought_nothing_usable_is_asked_again(fault: object) -> None:
    gateway, session, clock = scripted(fault, account())
    assert (await gateway.account()).equity == Decimal("10002.5")
    assert len(session.requests) == 2
    assert clock.slept == [START + dt.timedelta(seconds=0.25)]


async def test_patience_ends_after_five_attempts_with_the_last_error() -> None:
    gateway, session, clock = scripted(*[Reply("", 502) for _ in range(9)])
    with pytest.raises(Unreached) as raised:
        await gateway.account()
    assert type(raised.value) is Unreached
    assert raised.value.status == 502
    assert len(session.requests) == 5
    assert clock.now() - START < dt.timedelta(minutes=1)


@pytest.mark.parametrize("name", ["assets", "positions", "totalMarginBalance", "availableBalance"])
async def test_an_account_with_something_missing_is_an_error_and_never_zero(name: str) -> None:
    gateway, _, _ = scripted(*[Reply(without(ACCOUNT, name)) for _ in range(5)])
    with pytest.raises(ExchangeError, match=name):
        await gateway.account()


async def test_an_account_without_a_row_of_usdt_is_unknown_and_never_empty() -> None:
    gateway, _, _ = scripted(*[account(assets=[{"asset": "BNB", "walletBalance": "0"}]) for _ in range(5)])
    with pytest.raises(ExchangeError, match="0 rows of USDT"):
        await gateway.account()


async def test_an_account_tells_equity_and_signed_positions_with_their_entry_price() -> None:
    gateway, _, _ = scripted(account())
    told = await gateway.account()
    assert (str(told.wallet), str(told.equity), str(told.available)) == ("10000.25", "10002.50", "9000.1")
    assert list(told.positions) == ["ADAUSDT"]
    assert told.quantity("ADAUSDT") == -1000
    assert str(told.positions["ADAUSDT"].entry_price) == "0.60025000"


async def test_a_hedge_position_stops_everything_and_is_not_asked_again() -> None:
    position = ACCOUNT["positions"][0] | {"positionSide": "SHORT"}
    gateway, session, _ = scripted(account(positions=[position]))
    with pytest.raises(Mismatch, match="one-way"):
        await gateway.account()
    assert len(session.requests) == 1


async def test_an_empty_side_of_hedge_mode_is_no_position() -> None:
    position = ACCOUNT["positions"][0] | {"positionSide": "SHORT", "positionAmt": "0"}
    gateway, _, _ = scripted(account(positions=[position]))
    assert (await gateway.account()).positions == {}


@pytest.mark.fault(59)
@pytest.mark.parametrize(
    ("status", "code"), [(401, -2015), (400, -1121), (403, None), (404, None), (451, None), (400, -9)]
)
async def test_a_definite_no_is_not_asked_again(status: int, code: int | None) -> None:
    body = {"code": code, "msg": "no"} if code else "<html/>"
    gateway, session, _ = scripted(Reply(body, status))
    with pytest.raises(Rejected) as raised:
        await gateway.account()
    assert (raised.value.code, raised.value.status) == (code, status)
    assert len(session.requests) == 1


@pytest.mark.parametrize(
    ("reply", "burns"),
    [
        (Reply({"feeBurn": True}), True),
        (Reply({"feeBurn": False}), False),
        (Reply("<html>not found</html>", 404), None),
        (Reply("", 405), None),
        (Reply({"code": -5000, "msg": "Path /fapi/v1/feeBurn, Method GET is invalid"}, 404), None),
        (Reply({"code": -1, "msg": "not supported"}, 400), None),
    ],
)
async def test_a_venue_without_an_endpoint_for_it_does_not_tell_how_fees_are_paid(reply: Reply, burns: object) -> None:
    gateway, session, _ = scripted(reply)
    assert await gateway.burns_fees() is burns
    assert len(session.requests) == 1


@pytest.mark.parametrize(("status", "code"), [(401, -2015), (403, None), (451, None), (400, -1022), (400, -1121)])
async def test_a_refusal_that_is_about_key_or_address_does_not_stand_for_an_absent_endpoint(
    status: int, code: int | None
) -> None:
    gateway, _, _ = scripted(Reply({"code": code, "msg": "no"} if code else "<html/>", status))
    with pytest.raises(Rejected):
        await gateway.burns_fees()


async def test_a_read_waits_as_long_as_the_exchange_asks() -> None:
    gateway, session, clock = scripted(Reply("slow", 429, {"Retry-After": "30"}), account())
    await gateway.account()
    assert clock.now() == START + dt.timedelta(seconds=30)
    assert len(session.requests) == 2


async def test_a_read_does_not_wait_for_days() -> None:
    gateway, session, clock = scripted(Reply("banned", 418, {"retry-after": "259200"}))
    with pytest.raises(RateLimited) as raised:
        await gateway.account()
    assert raised.value.retry_at == START + dt.timedelta(days=3)
    assert clock.now() == START
    with pytest.raises(RateLimited):
        await gateway.sync_clock()
    assert len(session.requests) == 1


@pytest.mark.fault(21)
async def test_a_wrong_timestamp_is_measured_before_the_read_is_asked_again() -> None:
    gateway, session, clock = scripted(
        Reply({"code": -1021, "msg": "Timestamp"}, 400), Reply({"serverTime": 1709654406007}), account()
    )
    await gateway.account()
    assert session.paths() == ["GET /fapi/v3/account", "GET /fapi/v1/time", "GET /fapi/v3/account"]
    assert clock.offset == dt.timedelta(seconds=6)


async def test_a_private_read_without_a_key_is_denied_here() -> None:
    gateway, session, _ = scripted(account(), key="")
    with pytest.raises(Denied):
        await gateway.account()
    assert session.requests == []


async def test_an_unreachable_exchange_says_so() -> None:
    gateway, _, _ = scripted(*[aiohttp.ConnectionTimeoutError("x") for _ in range(5)])
    with pytest.raises(NotSent, match="network, DNS and TLS"):
        await gateway.sync_clock()


async def test_an_order_the_exchange_does_not_know_is_none() -> None:
    gateway, _, _ = scripted(Reply({"code": -2013, "msg": "Order does not exist."}, 400))
    assert await gateway.find("ADAUSDT", REQUEST.client_id) is None


@pytest.mark.parametrize("code", [-2011, -1022, -2015])
async def test_only_one_code_says_that_an_order_is_not_known(code: int) -> None:
    gateway, _, _ = scripted(Reply({"code": code, "msg": "no"}, 400))
    with pytest.raises(Rejected):
        await gateway.find("ADAUSDT", REQUEST.client_id)


@pytest.mark.parametrize("body", ["", "null", "[]", "{}", "<html/>", without(FILLED, "orderId")])
async def test_a_look_up_that_answers_nothing_proves_nothing(body: object) -> None:
    gateway, session, _ = scripted(*[Reply(body) for _ in range(5)])
    with pytest.raises(ExchangeError) as raised:
        await gateway.find("ADAUSDT", REQUEST.client_id)
    assert not isinstance(raised.value, Rejected | OutcomeUnknown)
    assert len(session.requests) == 5


@pytest.mark.parametrize("changes", [{"clientOrderId": "x"}, {"symbol": "XRPUSDT"}])
async def test_a_look_up_that_answers_with_another_order_is_an_error(changes: dict) -> None:
    gateway, _, _ = scripted(Reply(FILLED | changes))
    with pytest.raises(ExchangeError, match="another order"):
        await gateway.find("ADAUSDT", REQUEST.client_id)


async def test_an_order_is_found_by_the_exchanges_own_number() -> None:
    unknown = Reply({"code": -2013, "msg": "Order does not exist."}, 400)
    gateway, session, _ = scripted(Reply(FILLED), unknown, Reply(FILLED))
    found = await gateway.find_by_exchange_id("ADAUSDT", "4000000001")
    assert found is not None
    assert found.client_id == REQUEST.client_id
    assert "orderId=4000000001&" in session.requests[0][1]
    assert await gateway.find_by_exchange_id("ADAUSDT", "5") is None
    with pytest.raises(ExchangeError, match="another order"):
        await gateway.find_by_exchange_id("ADAUSDT", "5")


async def test_the_clock_takes_half_the_round_trip_off() -> None:
    clock = FakeClock()
    gateway, session, _ = scripted(Reply({"serverTime": round(START.timestamp() * 1000) + 5100}), clock=clock)
    answer = session.get

    def slow(*args: object, **more: object) -> object:
        clock.time += dt.timedelta(milliseconds=200)
        return answer(*args, **more)

    session.get = slow
    assert await gateway.sync_clock() == dt.timedelta(seconds=5)
    assert (clock.offset, clock.error) == (dt.timedelta(seconds=5), dt.timedelta(milliseconds=100))


@pytest.mark.fault(17, 20)
@pytest.mark.parametrize("under_way", [30, 3600, -3600])
async def test_a_clock_measured_while_the_machine_slept_or_was_set_is_measured_again(under_way: int) -> None:
    clock = FakeClock()
    true, moved = dt.timedelta(seconds=5), dt.timedelta(seconds=under_way)
    replies = [Reply({"serverTime": round((START + true + step).timestamp() * 1000)}) for step in (moved, moved)]
    gateway, session, _ = scripted(*replies, clock=clock)
    answer = session.get

    def slow(*args: object, **more: object) -> object:
        clock.time = START + moved
        return answer(*args, **more)

    session.get = slow
    assert await gateway.sync_clock() == true
    assert (clock.offset, clock.error) == (true, dt.timedelta(0))
    assert len(session.requests) == 2


async def test_on_a_slow_line_the_narrowest_of_four_looks_at_the_clock_counts() -> None:
    clock, seconds = FakeClock(), iter([4, 2, 6, 8])
    gateway, session, _ = scripted(*[Reply({"serverTime": round(START.timestamp() * 1000)})] * 5, clock=clock)
    answer = session.get

    def slow(*args: object, **more: object) -> object:
        clock.time += dt.timedelta(seconds=next(seconds))
        return answer(*args, **more)

    session.get = slow
    await gateway.sync_clock()
    assert clock.error == dt.timedelta(seconds=1)
    assert len(session.requests) == 4


async def test_setting_what_is_set_already_is_fine() -> None:
    gateway, _, _ = scripted(
        Reply({"code": -4046, "msg": "No need to change margin type."}, 400),
        Reply({"code": -4048, "msg": "Margin type cannot be changed if there exists position."}, 400),
    )
    await gateway.set_margin_mode("ADAUSDT", "isolated")
    with pytest.raises(Rejected):
        await gateway.set_margin_mode("ADAUSDT", "isolated")


async def test_a_leverage_that_was_not_taken_is_an_error() -> None:
    gateway, session, _ = scripted(
        Reply({"symbol": "ADAUSDT", "leverage": 2, "maxNotionalValue": "1"}),
        Reply({"symbol": "ADAUSDT", "leverage": 20}),
    )
    await gateway.set_leverage("ADAUSDT", 2)
    assert "leverage=2&" in session.requests[0][2]
    with pytest.raises(ExchangeError, match="set 20"):
        await gateway.set_leverage("ADAUSDT", 2)


async def test_the_set_up_joins_symbol_and_account() -> None:
    config = {"canTrade": True, "dualSidePosition": True, "multiAssetsMargin": False}
    symbol = {"symbol": "ADAUSDT", "marginType": "CROSSED", "leverage": 20}
    gateway, _, _ = scripted(Reply(config), Reply([symbol]), Reply(config), *[Reply([])] * 5)
    setup = await gateway.setup("ADAUSDT")
    assert (setup.leverage, setup.margin_mode, setup.hedge_mode, setup.multi_assets) == (20, "cross", True, False)
    with pytest.raises(ExchangeError, match="does not tell about ADAUSDT"):
        await gateway.setup("ADAUSDT")
