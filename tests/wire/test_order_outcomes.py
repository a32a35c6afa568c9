"""Every row of the outcome table, through the real client's own fetch."""

import datetime as dt
import socket
import ssl
from types import SimpleNamespace

import aiohttp
import pytest

from tests.wire.fakes import FILLED, REQUEST, START, FakeClock, Reply, scripted
from trader.errors import Denied, ExchangeError, NotSent, OutcomeUnknown, RateLimited, Rejected

SERVER_TIME = Reply({"serverTime": 1709654405007})


def connection_key() -> SimpleNamespace:
    return SimpleNamespace(host="demo-fapi.binance.com", port=443, is_ssl=True, ssl=True)


def refused(code: int, message: str = "no", status: int = 400, **headers: str) -> Reply:
    return Reply(
        {"code": code, "msg": message}, status, {name.replace("_", "-"): value for name, value in headers.items()}
    )


async def failure(*script: object, clock: FakeClock | None = None) -> ExchangeError:
    gateway, session, _ = scripted(*script, clock=clock)
    with pytest.raises(ExchangeError) as raised:
        await gateway.send(REQUEST)
    assert session.paths().count("POST /fapi/v1/order") == 1, "an order is posted exactly once"
    assert raised.value.__context__ is None
    assert raised.value.__cause__ is None
    return raised.value


async def test_a_filled_order_comes_back_as_ours() -> None:
    gateway, session, _ = scripted(Reply(FILLED))
    order = await gateway.send(REQUEST)
    assert (order.exchange_id, order.quantity, order.filled, order.status) == ("4000000001", 25, 25, "FILLED")
    _, url, body = session.requests[0]
    assert url == "https://demo-fapi.binance.com/fapi/v1/order"
    for pair in (
        "side=BUY",
        "type=MARKET",
        "quantity=25",
        "reduceOnly=false",
        f"newClientOrderId={REQUEST.client_id}",
        "newOrderRespType=RESULT",
        "recvWindow=5000",
        "timestamp=1709654400007",
    ):
        assert pair in body.split("&")


@pytest.mark.fault(42)
@pytest.mark.parametrize("status", ["NEW", "PARTIALLY_FILLED", "EXPIRED"])
async def test_an_order_that_is_not_filled_yet_or_never_will_be_is_still_an_answer(status: str) -> None:
    answer = {name: value for name, value in FILLED.items() if name != "avgPrice"} | {
        "status": status,
        "executedQty": "3",
    }
    gateway, _, _ = scripted(Reply(answer))
    order = await gateway.send(REQUEST)
    assert (order.status, order.filled, order.average_price) == (status, 3, 0)


UNSENT = {
    "refused": aiohttp.ClientConnectorError(connection_key(), ConnectionRefusedError(111, "Connection refused")),
    "name unknown": aiohttp.ClientConnectorDNSError(connection_key(), socket.gaierror(-2, "Name or service not known")),
    "name unknown, bare": socket.gaierror(-2, "Name or service not known"),
    "certificate": aiohttp.ClientConnectorCertificateError(
        connection_key(), ssl.SSLCertVerificationError(1, "self-signed")
    ),
    "handshake": aiohttp.ClientConnectorSSLError(connection_key(), ssl.SSLError(1, "handshake")),
    "no connection in time": aiohttp.ConnectionTimeoutError("Connection timeout to host"),
}


@pytest.mark.fault(23)
@pytest.mark.parametrize("name", UNSENT)
async def test_what_never_left_is_not_sent(name: str) -> None:
    assert type(await failure(UNSENT[name])) is NotSent


UNKNOWN = {
    "disconnected": aiohttp.ServerDisconnectedError(),
    "reset": aiohttp.ClientOSError(104, "Connection reset by peer"),
    "reset while writing": aiohttp.ClientConnectionResetError("Cannot write to closing transport"),
    "read timeout": aiohttp.SocketTimeoutError("Timeout on reading data from socket"),
    "timeout": TimeoutError(),
    "truncated": aiohttp.ClientPayloadError("Response payload is not completed"),
    "not http": aiohttp.ClientResponseError(SimpleNamespace(real_url="x"), (), status=400, message="bad"),
    "502": Reply("<html>Bad Gateway</html>", 502, {"Content-Type": "text/html"}),
    "504": Reply("", 504),
    "500": Reply("oops", 500),
    "503 without words": Reply("<html><h1>503 Service Unavailable</h1></html>", 503),
    "503 unknown": refused(-1000, "Unknown error, please check your request or try again later.", 503),
    "-1000": refused(-1000, "An unknown error occured while processing the request."),
    "-1001": refused(-1001, "Internal error; unable to process your request. Please try again.", 500),
    "-1006": refused(-1006, "An unexpected response was received from the message bus. Execution status unknown."),
    "-1007": refused(-1007, "Timeout waiting for response from backend server. Send status unknown.", 408),
    "a twin is open": refused(-4116, "ClientOrderId is duplicated."),
    "a code nobody knows": refused(-9999, "something new"),
    "a known code with a server's status": refused(-2019, "Margin is insufficient.", 500),
    "404": Reply("not found", 404),
    "302 without a place": Reply("", 302),
    "200 html": Reply("<html>Welcome to the hotel</html>", headers={"Content-Type": "text/html"}),
    "200 text": Reply("ok", headers={"Content-Type": "text/plain"}),
    "200 empty": Reply(""),
    "200 null": Reply("null"),
    "200 octets": Reply("", headers={"Content-Type": "application/octet-stream"}),
    "200 half json": Reply('{"orderId":400000000'),
    "200 list": Reply([]),
    "200 empty object": Reply({}),
    "200 without an id": Reply({name: value for name, value in FILLED.items() if name != "orderId"}),
    "200 with a null id": Reply(FILLED | {"orderId": None}),
    "200 without a status": Reply({name: value for name, value in FILLED.items() if name != "status"}),
    "200 with NaN": Reply(FILLED | {"executedQty": "NaN"}),
    "200 of another order": Reply(FILLED | {"clientOrderId": "web_1"}),
    "200 of the other side": Reply(FILLED | {"side": "SELL"}),
    "200 of a side nobody knows": Reply(FILLED | {"side": "HOLD"}),
}


@pytest.mark.fault(31, 32, 35)
@pytest.mark.parametrize("name", UNKNOWN)
async def test_what_may_have_happened_is_unknown(name: str) -> None:
    assert type(await failure(UNKNOWN[name])) is OutcomeUnknown


async def test_a_twin_that_is_open_carries_its_code() -> None:
    error = await failure(refused(-4116, "ClientOrderId is duplicated."))
    assert (error.code, error.status) == (-4116, 400)


@pytest.mark.fault(45, 46, 47, 49)
@pytest.mark.parametrize(
    "code",
    [-2015, -2014, -2019, -2022, -2027, -4061, -4130, -4131, -4164, -1111, -1102, -4140, -4400, -4192, -4509, -4016],
)
async def test_a_code_on_the_list_is_a_definite_no(code: int) -> None:
    error = await failure(refused(code, "no", 401 if code in (-2014, -2015) else 400))
    assert type(error) is Rejected
    assert error.code == code


@pytest.mark.fault(34)
@pytest.mark.parametrize(
    "words", ["Service Unavailable.", "Internal error; unable to process your request. Please try again."]
)
async def test_a_503_that_says_it_was_not_carried_out_may_be_sent_again(words: str) -> None:
    assert type(await failure(refused(-1001, words, 503))) is NotSent
    assert type(await failure(Reply(words, 503, {"Content-Type": "text/plain"}))) is NotSent


@pytest.mark.fault(36)
async def test_an_overloaded_exchange_did_not_carry_it_out() -> None:
    error = await failure(refused(-1008, "Request throttled by system-level protection.", 503))
    assert type(error) is NotSent
    assert error.code == -1008


@pytest.mark.fault(37)
@pytest.mark.parametrize("status", [429, 418])
async def test_too_many_requests_tell_when_to_come_back_and_nothing_is_sent_before(status: int) -> None:
    clock = FakeClock()
    gateway, session, _ = scripted(
        refused(-1003, "Too many requests", status, Retry_After="17"), Reply(FILLED), clock=clock
    )
    for _ in range(2):
        with pytest.raises(RateLimited) as raised:
            await gateway.send(REQUEST)
        assert raised.value.retry_at == START + dt.timedelta(seconds=17)
    assert len(session.requests) == 1
    assert gateway.cooldown == START + dt.timedelta(seconds=17)
    await clock.sleep_until(gateway.cooldown)
    assert (await gateway.send(REQUEST)).done


@pytest.mark.fault(38)
async def test_a_ban_without_a_header_is_read_from_its_words() -> None:
    until = START + dt.timedelta(minutes=3)
    words = (
        f"Way too many requests; IP(1.2.3.4) banned until {round(until.timestamp() * 1000)}. Please use the websocket."
    )
    error = await failure(refused(-1003, words, 418))
    assert isinstance(error, RateLimited)
    assert error.retry_at == until


@pytest.mark.parametrize(("status", "seconds"), [(429, 60), (418, 120)])
async def test_a_ban_that_tells_nothing_has_a_default(status: int, seconds: int) -> None:
    error = await failure(Reply("slow down", status, reason=None))
    assert isinstance(error, RateLimited)
    assert error.retry_at == START + dt.timedelta(seconds=seconds)


async def test_a_cool_down_kept_over_a_restart_is_honoured() -> None:
    gateway, session, clock = scripted(Reply(FILLED))
    gateway.keep_cooldown(START + dt.timedelta(hours=1), lambda until: None)
    with pytest.raises(RateLimited):
        await gateway.send(REQUEST)
    assert session.requests == []
    clock.time = START + dt.timedelta(hours=1)
    await gateway.send(REQUEST)


@pytest.mark.parametrize("status", [403, 451])
async def test_a_barred_address_is_a_definite_no_without_a_code(status: int) -> None:
    error = await failure(Reply("<html>Forbidden</html>", status, {"Content-Type": "text/html"}))
    assert type(error) is Rejected
    assert (error.code, error.status) == (None, status)


@pytest.mark.fault(21)
async def test_a_wrong_timestamp_is_not_sent_and_the_clock_is_measured_again() -> None:
    clock = FakeClock()
    error = await failure(
        refused(-1021, "Timestamp for this request is outside of the recvWindow."), SERVER_TIME, clock=clock
    )
    assert type(error) is NotSent
    assert clock.offset == dt.timedelta(seconds=5)


async def test_a_wrong_timestamp_stays_not_sent_when_the_clock_cannot_be_measured() -> None:
    error = await failure(refused(-1021, "Timestamp"), *[Reply("", 502) for _ in range(5)])
    assert type(error) is NotSent


async def test_an_order_without_a_key_is_denied_here() -> None:
    gateway, session, _ = scripted(Reply(FILLED), key="")
    with pytest.raises(Denied):
        await gateway.send(REQUEST)
    assert session.requests == []


async def test_an_order_beyond_the_order_limit_is_put_off_before_it_is_sent() -> None:
    gateway, session, _ = scripted(*[Reply(FILLED) for _ in range(301)])
    for _ in range(300):
        await gateway.send(REQUEST)
    with pytest.raises(RateLimited, match="300 orders"):
        await gateway.send(REQUEST)
    assert len(session.requests) == 300


async def test_a_dry_run_order_goes_to_order_test_only() -> None:
    gateway, session, _ = scripted(Reply({}), refused(-2019))
    await gateway.order_test(REQUEST)
    with pytest.raises(Rejected):
        await gateway.order_test(REQUEST)
    assert session.paths() == ["POST /fapi/v1/order/test"] * 2


@pytest.mark.fault(61)
async def test_live_goes_to_production_and_everything_else_to_the_demo_hosts() -> None:
    for venue, host in (("live", "https://fapi.binance.com/"), ("testnet", "https://demo-fapi.binance.com/")):
        gateway, session, _ = scripted(Reply(FILLED), venue=venue)
        await gateway.send(REQUEST)
        assert session.requests[0][1].startswith(host)
