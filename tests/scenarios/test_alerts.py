"""People are told, whatever their notifiers do, and trading does not notice."""

import json
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.scenarios.processes import Home
from tests.unit.notify.servers import hearing, misbehaving

SECRET = "open-sesame-0123456789"


def told(home: Home) -> list[str]:
    return [alert["title"] for alert in home.document("alerts")]


@pytest.mark.fault(78)
def test_notifiers_that_are_dead_lying_or_slow_change_no_decision_and_hold_up_no_stop(tmp_path: Path) -> None:
    plain = Home(tmp_path / "plain").document("run", "--cycles", "4", "--speed", "max")
    home = Home(tmp_path / "data")
    with ExitStack() as stack:
        places = [stack.enter_context(misbehaving(kind)) for kind in ("black hole", "liar", "slow")]
        wishes = {
            "TRADER_ALERTS__URLS": " ".join(f"json://user:{SECRET}@{place}/{SECRET}" for place in places),
            "TRADER_ALERTS__PING": f"http://{places[0]}/{SECRET}",
            "TRADER_ALERTS__LEVEL": "info",
            "TRADER_LOG__LEVEL": "INFO",
        }
        done = home.run("run", "--cycles", "4", "--speed", "max", "--json", **wishes)
        assert done.returncode == 0, done.stderr
        beside = home.document("run", "--cycles", "1", "--speed", "max", **wishes)
    assert len(plain["closes"]) == 4
    assert json.loads(done.stdout)["closes"] == plain["closes"]
    assert len(beside["closes"]) == 1
    assert SECRET not in done.stderr
    kept = [file.read_bytes() for file in home.exchange.iterdir() if file.is_file()]
    assert not any(SECRET.encode() in content for content in kept)


def test_a_halt_is_in_the_box_and_a_test_reaches_every_address(tmp_path: Path) -> None:
    home = Home(tmp_path / "data")
    with hearing() as server:
        wishes = {"TRADER_ALERTS__URLS": f"json://{server.url}/{SECRET}"}
        assert home.run("run", "--cycles", "1", "--speed", "max", **wishes).returncode == 0
        assert home.run("halt").returncode == 0
        assert home.run("run", "--cycles", "1", "--speed", "max", **wishes).returncode == 0
        assert "State HALTED" in told(home)
        (answer,) = home.document("alerts", "--test", **wishes)
        assert answer == {"address": 1, "kind": "json", "taken": True, "why": None}
        assert "trader: test" in server.titles()
        server.status = 503
        refused = home.run("alerts", "--test", "--json", **wishes)
    assert refused.returncode == 1
    assert SECRET not in refused.stdout + refused.stderr


def test_a_start_that_is_refused_says_so_before_it_ends(tmp_path: Path) -> None:
    home = Home(tmp_path / "data")
    with hearing() as server:
        wishes = {"TRADER_ALERTS__URLS": f"json://{server.url}/"}
        testnet = {"TRADER_VENUE": "testnet", "TRADER_API_KEY": "k" * 64, "TRADER_API_SECRET": SECRET}
        done = home.run("run", TRADER_EXCHANGE__LOOPBACK="9", **testnet, **wishes)
    assert done.returncode == 78
    (words,) = server.bodies
    assert words["title"] == "trader: The daemon has ended"
    assert "No embedded exchange has announced port 9" in words["message"]
    assert SECRET not in str(words)
