"""What people are told of a configuration that was changed under a running daemon."""

from pathlib import Path

import pytest

from trader.app.renewal import not_taken, taken
from trader.notify.alert import Alert
from trader.notify.outbox import Outbox


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (taken({"risk.max_drawdown": ["0.2", "0.3"]}), taken({"risk.max_drawdown": ["0.3", "0.9"]})),
        (not_taken("The strategy file names no model."), not_taken("interval cannot change.")),
    ],
)
def test_a_second_change_is_told_however_soon_it_comes_and_the_same_is_not(
    first: Alert, second: Alert, tmp_path: Path
) -> None:
    with Outbox.open(tmp_path / "alerts.db") as box:
        assert [box.put(one, 1.0, repeat=21600.0) for one in (first, first, second)] == [True, False, True]
