"""Real sockets, real TLS, and servers that misbehave byte by byte."""

import asyncio
import json
import socket

import pytest

from tests.wire.fakes import FILLED, REQUEST, Authority, FakeClock, RawServer, hang, http, reset
from trader.errors import ConfigError, ExchangeError, NotSent, OutcomeUnknown
from trader.exchange.factory import open_gateway
from trader.exchange.loopback import Loopback

ORDER = json.dumps(FILLED)


async def sent(server: RawServer, *, timeout: float = 5.0) -> ExchangeError | None:
    gateway = server.gateway(timeout=timeout)
    try:
        await gateway.send(REQUEST)
    except ExchangeError as error:
        return error
    finally:
        await gateway.close()
    return None


async def test_an_order_reaches_the_pinned_server_under_the_real_name(authority: Authority) -> None:
    async with RawServer(authority, http(ORDER)) as server:
        assert await sent(server) is None
        assert server.requests[0].startswith("POST /fapi/v1/order HTTP/1.1")


@pytest.mark.fault(26, 28)
@pytest.mark.parametrize(
    "behaviour",
    [
        reset(),
        http(ORDER, cut=20),
        http(ORDER, cut=len(ORDER)),
        http("<html>Welcome</html>", kind="text/html"),
        http("", kind="application/json"),
        http("null"),
        http("", status="302 Found", extra="Location: https://demo-fapi.binance.com/elsewhere\r\n"),
        http("", status="307 Temporary Redirect", extra="Location: https://demo-fapi.binance.com/elsewhere\r\n"),
        http('{"code":-1007,"msg":"Timeout waiting for response"}', status="408 Request Timeout"),
    ],
    ids=["reset", "truncated", "headers only", "html", "empty", "null", "302", "307", "408"],
)
async def test_whatever_breaks_after_the_request_is_unknown_and_posted_once(authority: Authority, behaviour) -> None:
    async with RawServer(authority, behaviour, http(ORDER), http(ORDER)) as server:
        assert type(await sent(server)) is OutcomeUnknown
        assert len(server.requests) == 1


@pytest.mark.fault(29)
async def test_a_connection_that_died_idle_costs_an_order_its_answer_but_never_doubles_it(authority: Authority) -> None:
    async with RawServer(authority, http('{"serverTime":1709654400007}'), reset(), http(ORDER)) as server:
        gateway = server.gateway()
        await gateway.sync_clock()
        with pytest.raises(OutcomeUnknown):
            await gateway.send(REQUEST)
        assert server.connections == 1
        await gateway.close()
        assert [line.split(" HTTP")[0] for line in server.requests] == ["GET /fapi/v1/time", "POST /fapi/v1/order"]


@pytest.mark.fault(28)
async def test_an_answer_that_does_not_come_in_time_is_unknown(authority: Authority) -> None:
    released = asyncio.Event()
    async with RawServer(authority, hang(released)) as server:
        assert type(await sent(server, timeout=0.2)) is OutcomeUnknown
        released.set()


@pytest.mark.fault(25)
async def test_a_refused_connection_is_not_sent(authority: Authority) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        loopback = Loopback(taken.getsockname()[1], authority.ca_file)
        gateway = open_gateway("testnet", key="k", secret="s", clock=FakeClock(), loopback=loopback)
        with pytest.raises(NotSent, match=r"Connection refused|Connect call failed"):
            await gateway.send(REQUEST)
        await gateway.close()


@pytest.mark.fault(24)
async def test_a_foreign_certificate_is_not_sent(authority: Authority, foreign: Authority) -> None:
    async with RawServer(foreign, http(ORDER)) as server:
        gateway = server.gateway(ca_file=authority.ca_file)
        with pytest.raises(NotSent, match="TLS"):
            await gateway.send(REQUEST)
        await gateway.close()
        assert server.requests == []


@pytest.mark.fault(24)
async def test_a_certificate_for_another_host_is_not_sent(tmp_path) -> None:
    other = Authority(tmp_path, "other", host="example.org")
    async with RawServer(other, http(ORDER)) as server:
        assert type(await sent(server)) is NotSent
        assert server.requests == []


@pytest.mark.fault(23)
async def test_a_name_that_cannot_be_found_is_not_sent(authority: Authority, monkeypatch: pytest.MonkeyPatch) -> None:
    async def unknown(*_: object, **__: object) -> list[object]:
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", unknown)
    gateway = open_gateway("testnet", key="k", secret="s", clock=FakeClock())
    with pytest.raises(NotSent):
        await gateway.send(REQUEST)
    await gateway.close()


@pytest.mark.fault(28)
async def test_a_truncated_read_is_asked_again_on_a_new_connection(authority: Authority) -> None:
    time = '{"serverTime":1709654400007}'
    async with RawServer(authority, http(time, cut=5), reset(), http(time)) as server:
        gateway = server.gateway()
        await gateway.sync_clock()
        await gateway.close()
        assert len(server.requests) == 3


async def test_a_loopback_whose_authority_is_missing_is_refused(tmp_path) -> None:
    gateway = open_gateway("sim", key="k", secret="s", clock=FakeClock(), loopback=Loopback(1, tmp_path / "none.pem"))
    with pytest.raises(ConfigError, match=r"none\.pem"):
        await gateway.sync_clock()
    await gateway.close()


@pytest.mark.parametrize(
    ("venue", "changes", "words"),
    [
        ("live", {"loopback": Loopback(1, None)}, "live"),
        ("sim", {}, "loopback"),
        ("testnet", {"secret": ""}, "belong together"),
        ("testnet", {"recv_window": 5001}, "receive window"),
        ("testnet", {"recv_window": 5000, "timeout": 5.0}, "receive window"),
        ("testnet", {"recv_window": 0}, "receive window"),
    ],
)
def test_settings_that_do_not_go_together_are_refused(venue, changes, words) -> None:
    with pytest.raises(ConfigError, match=words):
        open_gateway(venue, **{"key": "k", "secret": "s", "clock": FakeClock()} | changes)
