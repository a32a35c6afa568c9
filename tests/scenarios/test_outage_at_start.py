"""A real daemon that is started while the exchange is out waits for it, says so, and can be stopped."""

import re
import signal
import socket
from pathlib import Path

import pytest

from tests.scenarios.exchange import serving
from tests.scenarios.processes import Home
from tests.scenarios.test_alerts import hearing

FOR_EVER = 10**15
ANSWERS_LATER = [{"on": {"nth": nth}, "do": "maintenance"} for nth in range(1, 6)]
NEVER_ANSWERS = {"during": {"from": 0, "to": FOR_EVER}, "do": "maintenance"}


def settings(port: object) -> dict[str, str]:
    return {"TRADER_VENUE": "testnet", "TRADER_EXCHANGE__LOOPBACK": str(port)}


@pytest.mark.fault(30, 58)
def test_a_start_during_maintenance_goes_on_when_the_exchange_answers(tmp_path: Path) -> None:
    home = Home(tmp_path / "data")
    with serving(home, "--speed", "max", "--from", "2024-01-03", "--faults", home.plan(*ANSWERS_LATER)) as hand:
        done = home.run("run", "--cycles", "1", "--speed", "max", **settings(hand.ready["port"]))
        assert done.returncode == 0, done.stderr
        assert len(re.findall("the exchange is out, the start waits", done.stderr)) == 1
        assert "the exchange answers again" in done.stderr
        status = home.document("status", **settings(hand.ready["port"]))
    assert status["last_decision"]["status"] == "closed"
    assert "exchange_out_since" not in status


def until_told(service: socket.socket, word: str) -> str:
    while word not in (said := service.recv(2000).decode()):
        pass
    return said


@pytest.mark.fault(3, 30)
def test_a_start_that_waits_is_seen_everywhere_told_once_and_stopped_at_once(tmp_path: Path) -> None:
    home, address = Home(tmp_path / "data"), str(tmp_path / "notify")
    with (
        hearing() as server,
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as service,
        serving(home, "--speed", "max", "--from", "2024-01-03", "--faults", home.plan(NEVER_ANSWERS)) as hand,
    ):
        service.bind(address)
        service.settimeout(60)
        wishes = {"TRADER_ALERTS__URLS": f"json://{server.url}/", "NOTIFY_SOCKET": address}
        with home.start("run", "--speed", "max", **settings(hand.ready["port"]), **wishes) as daemon:
            said = until_told(service, "the exchange is out since")
            until_told(service, "the exchange is out since")
            beats = 0
            while not server.bodies and beats < 12:
                until_told(service, "WATCHDOG=1")
                beats += 1
            health = home.run("health", **settings(hand.ready["port"]))
            status = home.document("status", **settings(hand.ready["port"]))
            daemon.send_signal(signal.SIGTERM)
            assert daemon.wait(timeout=30) == 0
            daemon.communicate()
    assert "READY=1" in said
    assert health.returncode == 1
    assert "as the exchange is out since" in health.stdout + health.stderr
    assert status["exchange_out_since"]
    assert status["running"] is True
    assert status["ready"] is False
    assert server.titles() == ["trader: The exchange is out, and the start waits for it"]


def test_a_key_that_is_refused_and_an_account_that_is_adopted_are_waited_for_by_nobody(tmp_path: Path) -> None:
    home = Home(tmp_path / "data")
    with serving(home, "--speed", "max", "--from", "2024-01-03") as hand:
        strange = {"TRADER_API_KEY": "k" * 64, "TRADER_API_SECRET": "s" * 64}
        done = home.run("run", "--cycles", "1", "--speed", "max", **settings(hand.ready["port"]), **strange)
        assert done.returncode == 69
        assert "-2015" in done.stderr
        port = hand.ready["port"]
        announced = home.data / "sim" / "ports" / f"{port}.json"
        text = announced.read_text()
    announced.write_text(text)
    done = home.run("run", "--adopt", "--speed", "max", **settings(port))
    assert done.returncode == 69
    assert "the start waits" not in done.stderr


def test_an_embedded_exchange_that_does_not_start_is_a_failure(tmp_path: Path) -> None:
    home = Home(tmp_path / "data")
    done = home.run("run", "--cycles", "1", "--speed", "max", TRADER_SIM__FAULTS=home.plan(NEVER_ANSWERS))
    assert done.returncode == 69
    assert "the start waits" not in done.stderr
