"""What the exchange says about staying away holds over restarts: a start that asks again is banned for longer."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.scenarios.processes import Home, agrees, rows

BEGIN = datetime(2024, 1, 3, tzinfo=UTC)
FAST = ("run", "--speed", "max", "--from", BEGIN.isoformat())


@pytest.mark.fault(37, 38)
def test_a_ban_is_kept_shown_and_waited_out_by_the_next_start(tmp_path: Path) -> None:
    home = Home(tmp_path / "data")
    ban = {"do": "status", "status": 418, "code": -1003, "msg": "Way too many requests.", "retry_after": 3 * 86400}
    plan = home.plan({"on": {"nth": 4}, **ban})
    first = home.run(*FAST, "--cycles", "1", TRADER_SIM__FAULTS=plan)
    assert first.returncode == 75, first.stderr
    assert "nothing is sent before" in first.stderr
    end = datetime.fromisoformat(home.document("status")["cooldown"])
    assert timedelta(days=3) <= end - BEGIN < timedelta(days=3, minutes=1)
    ((asked,),) = rows(home.exchange / "ledger.db", "select requests from state")
    assert asked == 4
    second = home.run(*FAST, "--cycles", "2", TRADER_SIM__FAULTS=plan)
    assert second.returncode == 0, second.stderr
    assert "the exchange wants no request" in second.stderr
    ((begun,),) = home.journal("select at from baselines")
    assert begun >= end.timestamp() * 1000
    assert home.document("status")["cooldown"] is None
    agrees(home)
