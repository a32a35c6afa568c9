"""SIGTERM to a real daemon: the first lets its order come to an end, the second ends it at once and loses nothing."""

import signal
import sqlite3
import subprocess
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from tests.scenarios.processes import Home, agrees, rows

BEGIN, NEXT = "2024-01-12T00:00:00Z", "2024-01-12T16:00:00Z"


def under_way(home: Home) -> bool:
    """Whether an order has been marked as sent and is not at its end."""
    found = list(home.data.glob("sim/*/journal.db"))
    with suppress(sqlite3.OperationalError):  # before it has its tables
        return bool(found) and rows(found[0], "select count(*) from orders where sends > 0 and final = 0") == [(1,)]
    return False


def until(happened: Callable[[], bool], daemon: subprocess.Popen[str]) -> None:
    never = threading.Event()
    for _ in range(3000):
        if happened():
            return
        assert daemon.poll() is None, daemon.communicate()
        never.wait(0.1)
    raise AssertionError("it did not happen")


@pytest.mark.fault(3, 4)
@pytest.mark.parametrize("times", [1, 2])
def test_a_daemon_told_to_stop_while_an_order_is_uncertain_ends_well_and_told_twice_at_once(
    times: int, tmp_path: Path
) -> None:
    home = Home(tmp_path / "data")
    # the answer is lost and the order is not to be seen for a while, so that the daemon has to wait for it
    hidden = home.plan(
        {"on": {"path": "POST /fapi/v1/order", "nth": 1}, "do": "late_visibility", "ms": 9000, "lose": True}
    )
    words = ("run", "--from", BEGIN, "--to", NEXT, "--speed", "1")
    with home.start(*words, TRADER_SIM__FAULTS=hidden) as daemon:
        try:
            until(lambda: under_way(home), daemon)
            daemon.send_signal(signal.SIGTERM)
            if times == 2:
                threading.Event().wait(0.3)
                assert daemon.poll() is None, "the order was still uncertain"
                daemon.send_signal(signal.SIGTERM)
            _, said = daemon.communicate(timeout=300)
        finally:
            daemon.kill()
    assert daemon.returncode == (0 if times == 1 else 128 + signal.SIGTERM), said
    assert under_way(home) is (times == 2)
    done = home.run("run", "--speed", "max", "--from", BEGIN, "--to", NEXT, TRADER_SIM__FAULTS=hidden)
    assert done.returncode == 0, done.stderr
    agrees(home)
    assert len(home.ledger()["orders"]) == 3
