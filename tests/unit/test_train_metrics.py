import math

import pytest

from trader.domain.interval import Interval
from trader.research.metrics import seed_metrics, signal_metrics

INTERVAL = Interval.parse("12h")


def test_every_figure_follows_from_signal_times_return() -> None:
    found = signal_metrics([0.3, -2.0, 1.0, -1.0], [0.02, 0.01, -0.03, -0.04], INTERVAL)
    trades = [0.02, -0.01, -0.03, 0.04]
    deviation = math.sqrt(sum((trade - 0.005) ** 2 for trade in trades) / 3)
    assert found["n"] == 4
    assert found == pytest.approx(
        {
            "n": 4,
            "win_rate": 0.5,
            "average_win": 0.03,
            "average_loss": -0.02,
            "ev": 0.005,
            "total_log_return": 0.02,
            "compound_return": math.exp(0.02),
            "max_drawdown_log": -0.04,
            "equity_peak": 0.02,
            "equity_trough": -0.02,
            "std": deviation,
            "sharpe": 0.005 / deviation * math.sqrt(730),
        }
    )


def test_a_signal_of_zero_is_no_position_and_no_win() -> None:
    found = signal_metrics([0.0, 1.0], [0.5, 0.1], INTERVAL)
    assert found["n"] == 2
    assert found["win_rate"] == 0.5
    assert found["total_log_return"] == pytest.approx(0.1)
    assert found["average_loss"] is None


def test_what_cannot_be_said_is_not_said() -> None:
    nothing = signal_metrics([], [], INTERVAL)
    assert (nothing["n"], nothing["total_log_return"], nothing["compound_return"]) == (0, 0.0, 1.0)
    assert nothing["win_rate"] is nothing["sharpe"] is nothing["max_drawdown_log"] is None
    assert signal_metrics([1], [0.1], INTERVAL)["sharpe"] is None
    assert signal_metrics([0, 0], [0.1, 0.2], INTERVAL)["sharpe"] is None


def test_the_last_signal_has_no_return_yet() -> None:
    assert seed_metrics([1, -1, 1], [100.0, 110.0, 99.0], INTERVAL) == signal_metrics(
        [1, -1], [math.log(1.1), math.log(0.9)], INTERVAL
    ) | {"n": 2}
    assert seed_metrics([], [], INTERVAL)["n"] == 0
