import json
from typing import Any

from tests.unit.notify.servers import hearing, misbehaving
from trader.notify.post import carry


def told(urls: list[str], seconds: float, ping: str | None = None) -> list[dict[str, Any]]:
    """Send one alert to every address."""
    numbers = list(range(1, len(urls) + 1))
    addresses = [{"number": number, "url": url} for number, url in zip(numbers, urls, strict=True)]
    letter = {"id": 7, "severity": "critical", "title": "trader: T", "text": "body", "to": numbers}
    return carry({"addresses": addresses, "alerts": [letter], "ping": ping, "seconds": seconds})


def test_one_address_hears_while_others_are_dead_lying_or_nonsense() -> None:
    with hearing() as good, misbehaving("black hole") as hole, misbehaving("liar") as liar:
        urls = [f"json://{place}/sesame/?rto=1&cto=1" for place in (good.url, hole, liar)]
        said = told([*urls, "sesame://nowhere"], 200.0, f"http://{good.url}/pong")
    taken = {one["address"]: one["told"] for one in said if "address" in one}
    assert taken == {1: True, 2: False, 3: False, 4: False}
    assert {"ping": True, "why": None} in said
    assert good.titles() == ["trader: T"]
    assert "/pong" in good.paths
    assert "sesame" not in json.dumps(said)


def test_a_server_that_drips_for_ever_is_left_at_the_deadline() -> None:
    with misbehaving("slow") as slow:
        said = told([f"json://{slow}/?rto=60&cto=60"], 3.0)
    assert said == []


def test_a_ping_that_is_refused_or_is_no_web_address_says_so_without_repeating_it() -> None:
    with hearing() as good:
        good.status = 500
        said = [
            carry({"addresses": [], "alerts": [], "ping": ping, "seconds": 10.0})
            for ping in (f"http://{good.url}/sesame", "file:///etc/passwd")
        ]
    assert said == [[{"ping": False, "why": "HTTPError"}], [{"ping": False, "why": "it is neither https nor http"}]]


def test_a_ping_that_is_answered_with_no_http_says_so_at_once() -> None:
    with misbehaving("liar") as liar:
        said = carry({"addresses": [], "alerts": [], "ping": f"http://{liar}/", "seconds": 60.0})
    assert said == [{"ping": False, "why": "HTTPException"}]


def test_a_text_is_no_markup_where_markup_is_read() -> None:
    letter = {"id": 7, "severity": "info", "title": "trader: a<b", "text": "<urlopen error> & more", "to": [1]}
    with hearing() as server:
        address = {"number": 1, "url": f"json://{server.url}/?format=html"}
        carry({"addresses": [address], "alerts": [letter], "ping": None, "seconds": 200.0})
    (heard,) = server.bodies
    assert "&lt;urlopen" in heard["message"]
    assert "<urlopen" not in heard["message"]


def test_an_alert_that_an_address_refuses_does_not_keep_the_next_from_it() -> None:
    letters = [
        {"id": number, "severity": "info", "title": title, "text": "why", "to": [1]}
        for number, title in enumerate(("poison", "well"))
    ]
    with hearing() as server:
        server.refuses = "poison"
        address = {"number": 1, "url": f"json://{server.url}/"}
        said = carry({"addresses": [address], "alerts": letters, "ping": None, "seconds": 200.0})
    assert [(one["alert"], one["told"]) for one in said] == [(0, False), (1, True)]


def test_an_address_that_refuses_everything_is_left_after_three() -> None:
    letters = [{"id": number, "severity": "info", "title": "T", "text": "why", "to": [1]} for number in range(9)]
    with hearing() as server:
        server.status = 500
        address = {"number": 1, "url": f"json://{server.url}/"}
        carry({"addresses": [address], "alerts": letters, "ping": None, "seconds": 200.0})
    assert len(server.bodies) == 3
