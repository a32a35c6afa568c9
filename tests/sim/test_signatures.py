"""Keys, timestamps and signatures, in the query, in the body and in both."""

import hashlib
import hmac
from typing import Any
from urllib.parse import urlencode

import pytest

ORDER = {"symbol": "ADAUSDT", "side": "BUY", "type": "MARKET", "quantity": "1000"}


def seal(client: Any, payload: str) -> str:
    return hmac.new(client.exchange.keys.api_secret.encode(), payload.encode(), hashlib.sha256).hexdigest()


@pytest.fixture
def client(open_market: Any, market: Any) -> Any:
    return open_market(market.steps(0.5, 0.5001))


def test_a_signature_over_the_body_is_accepted(client: Any) -> None:
    body = urlencode({**ORDER, "timestamp": client.exchange.venue.now})
    sent = f"{body}&signature={seal(client, body)}"
    status, answer = client.raw("POST", "/fapi/v1/order", body=sent, key=client.exchange.keys.api_key)
    assert (status, answer["status"]) == (200, "NEW")


def test_a_signature_over_query_and_body_joined_without_a_separator_is_accepted(client: Any) -> None:
    query = urlencode({"symbol": "ADAUSDT", "side": "BUY"})
    body = urlencode({"type": "MARKET", "quantity": "1000", "timestamp": client.exchange.venue.now})
    sent = f"{body}&signature={seal(client, query + body)}"
    key = client.exchange.keys.api_key
    assert client.raw("POST", "/fapi/v1/order", query, sent, key)[0] == 200
    both = f"{query}&signature={seal(client, query + '&' + body)}"
    assert client.raw("POST", "/fapi/v1/order", both, body, key)[1]["code"] == -1022


def test_the_raw_text_is_signed_not_what_it_means(client: Any) -> None:
    query = f"symbol=ADA%55SDT&timestamp={client.exchange.venue.now}"
    key = client.exchange.keys.api_key
    assert client.raw("GET", "/fapi/v1/openOrders", f"{query}&signature={seal(client, query)}", key=key) == (200, [])
    other = query.replace("%55", "U")
    sent = f"{query}&signature={seal(client, other)}"
    assert client.raw("GET", "/fapi/v1/openOrders", sent, key=key)[1]["code"] == -1022


@pytest.mark.parametrize("signature", ["", "00", "zz", "é"])
def test_a_wrong_or_absent_signature_is_refused(client: Any, signature: str) -> None:
    query = urlencode({"timestamp": client.exchange.venue.now})
    sent = query + (f"&signature={signature}" if signature else "")
    status, answer = client.raw("GET", "/fapi/v3/balance", sent, key=client.exchange.keys.api_key)
    assert (status, answer["code"]) == (400, -1022 if signature else -1102)


def test_absent_malformed_and_unknown_keys_are_refused(client: Any) -> None:
    query = client.sign({})
    assert client.raw("GET", "/fapi/v3/balance", query)[0:1] == (401,)
    assert client.raw("GET", "/fapi/v3/balance", query)[1]["code"] == -2014
    assert client.raw("GET", "/fapi/v3/balance", query, key="short")[1]["code"] == -2014
    assert client.raw("GET", "/fapi/v3/balance", query, key="a" * 64)[1]["code"] == -2015


def test_a_missing_timestamp_is_a_missing_parameter(client: Any) -> None:
    sent = f"recvWindow=5000&signature={seal(client, 'recvWindow=5000')}"
    status, answer = client.raw("GET", "/fapi/v3/balance", sent, key=client.exchange.keys.api_key)
    assert (status, answer["code"]) == (400, -1102)
    assert "timestamp" in answer["msg"]


@pytest.mark.parametrize(
    ("offset", "window", "accepted"),
    [
        (1001, None, True),  # the request itself takes a millisecond
        (1002, None, False),
        (-4999, None, True),
        (-5000, None, False),
        (-9, 10, True),
        (-10, 10, False),
        (-59_999, 60_000, True),
    ],
)
def test_the_timestamp_must_lie_in_its_window(client: Any, offset: int, window: int | None, accepted: bool) -> None:
    params = {"timestamp": client.exchange.venue.now + offset, **({} if window is None else {"recvWindow": window})}
    status, answer = client.signed("GET", "/fapi/v3/balance", **params)
    assert (status == 200) is accepted
    if not accepted:
        assert answer["code"] == -1021


def test_public_requests_need_no_key(client: Any) -> None:
    assert client.get("/fapi/v1/time") == {"serverTime": client.exchange.venue.now}
