"""No key, secret or signature in any message, traceback or log, whatever goes wrong."""

import logging
import re
import socket
import traceback
from types import SimpleNamespace

import aiohttp
import pytest
from yarl import URL

from tests.wire.fakes import KEY, REQUEST, SECRET, Authority, RawServer, Reply, http, reset, scripted
from trader.errors import TraderError
from trader.exchange.outcome import redact

SIGNATURE = re.compile(r"[0-9a-f]{64}")
SIGNED = URL(f"https://demo-fapi.binance.com/fapi/v3/account?timestamp=1&signature={'ab' * 32}")
KEYED = SimpleNamespace(host="demo-fapi.binance.com", port=443, is_ssl=True, ssl=True)

FAULTS = [
    Reply(f"<html>You sent {KEY} and signature={'cd' * 32}</html>", 502),
    Reply({"code": -2015, "msg": f"Invalid API-key {KEY}, IP, or permissions for action, request ip: 1.2.3.4"}, 401),
    Reply({"code": -1022, "msg": f"Signature for {SIGNED} is not valid."}, 400),
    Reply({"code": -1021, "msg": f"timestamp of {SECRET}"}, 400),
    Reply({"code": -1003, "msg": f"{SIGNED}"}, 429),
    Reply(f"{SIGNED} {KEY}", 403),
    Reply(f"{KEY}", 200),
    Reply({KEY: SECRET, "orderId": SECRET, "assets": KEY}),
    Reply([SECRET]),
    aiohttp.ConnectionTimeoutError(f"Connection timeout to host {SIGNED}"),
    aiohttp.ClientResponseError(SimpleNamespace(real_url=SIGNED), (), status=400, message=str(SIGNED)),
    aiohttp.InvalidURL(SIGNED),
    aiohttp.ServerDisconnectedError(f"{SIGNED}"),
    aiohttp.ClientConnectorError(KEYED, OSError(111, "Connection refused")),
    socket.gaierror(-2, f"{SIGNED}"),
    TimeoutError(f"{SIGNED}"),
]


def assert_clean(text: str) -> None:
    assert KEY not in text
    assert SECRET not in text
    assert not SIGNATURE.search(text)
    assert "signature=a" not in text


@pytest.mark.fault(80)
@pytest.mark.parametrize("fault", FAULTS, ids=range(len(FAULTS)))
@pytest.mark.parametrize("call", ["send", "test", "account", "find", "leverage"])
async def test_nothing_secret_is_told_when_something_goes_wrong(
    fault: object, call: str, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.DEBUG)
    gateway, session, _ = scripted(*[fault] * 12)
    calls = {
        "send": lambda: gateway.send(REQUEST),
        "test": lambda: gateway.order_test(REQUEST),
        "account": gateway.account,
        "find": lambda: gateway.find("ADAUSDT", REQUEST.client_id),
        "leverage": lambda: gateway.set_leverage("ADAUSDT", 2),
    }
    if call == "test" and isinstance(fault, Reply) and fault.text_body.startswith("{") and fault.status == 200:
        await calls[call]()
        return
    with pytest.raises(TraderError) as raised:
        await calls[call]()
    assert session.requests
    error = raised.value
    said = [str(error), repr(error), "".join(traceback.format_exception(error)), caplog.text, *capfd.readouterr()]
    chained: BaseException | None = error
    while chained is not None:
        said.append(f"{chained!r} {chained}")
        chained = chained.__cause__ or chained.__context__
    for text in [*said, repr(gateway), repr(gateway._calls.wire), str(gateway._calls.wire)]:
        assert_clean(text)


@pytest.mark.fault(80)
async def test_nothing_secret_is_logged_at_debug_over_real_sockets(
    authority: Authority, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.DEBUG)
    async with RawServer(authority, http('{"serverTime":1}'), http("<html/>", "500 Oops"), reset()) as server:
        gateway = server.gateway()
        gateway._calls.wire.verbose = True
        await gateway.sync_clock()
        for _ in range(2):
            with pytest.raises(TraderError):
                await gateway.send(REQUEST)
        await gateway.close()
        assert "signature=" in server.requests[1]
    for text in [caplog.text, *capfd.readouterr()]:
        assert_clean(text)


def test_redaction_keeps_the_words_and_drops_what_signs() -> None:
    text = f'GET {SIGNED} failed: {{"apiKey": "{KEY}", "signature":"{"ef" * 32}"}} {SECRET} listenKey=abc\nnext'
    clean = redact(text, (KEY, SECRET))
    assert_clean(clean)
    assert "GET https://demo-fapi.binance.com/fapi/v3/account?*** failed" in clean
    assert "\n" not in clean
    assert "abc" not in clean
    assert len(redact("x" * 5000)) == 200
