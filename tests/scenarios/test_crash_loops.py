"""A real daemon that dies again and again before it decides anything begins halted, and says so."""

import signal
from pathlib import Path

import pytest

from tests.scenarios.processes import Home, agrees

FAST = ("run", "--speed", "max", "--from", "2024-01-03", "--cycles", "2")
KLINES = "GET /fapi/v1/klines"


@pytest.mark.fault(14)
def test_a_crash_loop_of_a_real_process_ends_halted_until_a_person_resumes(tmp_path: Path) -> None:
    home = Home(tmp_path / "data")
    plan = home.plan(*({"on": {"path": KLINES, "nth": turn}, "do": "kill_before"} for turn in (1, 2, 3)))
    settings = {"TRADER_SIM__FAULTS": plan, "TRADER_WATCHDOG__CRASHES": "3"}
    for _ in range(3):
        assert home.run(*FAST, **settings).returncode == -signal.SIGKILL
    ran = home.document(*FAST, **settings)
    assert {close["state"] for close in ran["closes"]} == {"HALTED"}
    assert home.ledger()["orders"] == []
    told = home.document("status")
    assert told["state"] == "HALTED"
    assert "3 starts within 0:10:00 crashed before they decided a close" in told["why"]
    # a start that came to something ends the count, but not the halt
    assert {close["state"] for close in home.document(*FAST, **settings)["closes"]} == {"HALTED"}
    assert home.run("resume", "--yes").returncode == 0
    ran = home.document(*FAST, **settings)
    assert {close["state"] for close in ran["closes"]} == {"ACTIVE"}
    assert len(home.ledger()["orders"]) >= 1
    agrees(home)
