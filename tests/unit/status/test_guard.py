"""Who may read the page."""

from base64 import b64encode

import pytest

from trader.status.guard import Guard

TOKEN = "a-token-of-enough-characters"


def basic(words: str) -> dict[str, str]:
    return {"Authorization": "Basic " + b64encode(words.encode()).decode()}


@pytest.mark.parametrize(
    "headers",
    [
        {"Authorization": f"Bearer {TOKEN}"},
        {"Authorization": f"bearer  {TOKEN} "},
        basic(f"anyone:{TOKEN}"),
        basic(f":{TOKEN}"),
    ],
)
def test_the_token_lets_in_however_it_is_shown(headers: dict[str, str]) -> None:
    assert Guard(TOKEN).admits(headers | {"Host": "trader.example"})


@pytest.mark.parametrize(
    "headers",
    [
        {}, {"Authorization": ""}, {"Authorization": "Bearer"}, {"Authorization": f"Bearer {TOKEN}x"},
        {"Authorization": TOKEN}, basic(f"{TOKEN}:"), {"Authorization": "Basic not base64"},
        {"Authorization": "Basic //79"}, {"Authorization": f"Bearer {TOKEN}\udcff"}, {"Cookie": f"token={TOKEN}"},
    ],
)  # fmt: skip
def test_anything_else_stays_out_also_on_loopback(headers: dict[str, str]) -> None:
    assert not Guard(TOKEN).admits(headers | {"Host": "127.0.0.1"})


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.1:8787", "localhost:8787", "LOCALHOST", "[::1]:8787", "[::1]"])
def test_without_a_token_whoever_names_loopback_may_read(host: str) -> None:
    assert Guard("").admits({"Host": host})


@pytest.mark.parametrize(
    "host", ["", "trader.example:8787", "localhost.example", "10.0.0.1", "127.0.0.1.example:80", "["]
)
def test_without_a_token_another_name_for_this_machine_is_a_strangers(host: str) -> None:
    assert not Guard("").admits({"Host": host})
