"""A short run worked by hand, and a page of it."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import polars as pl

from trader.app.results import Trade, round_trip_rows
from trader.domain.decision import CloseReport, Forecast, State
from trader.domain.interval import Interval
from trader.execution.round_trips import Funding, RoundTrip
from trader.research.report.story import Judged, Shortfall, Story, closes_of, stops_of

EVERY_8H = Interval.parse("8h")
START = datetime(2024, 1, 31, tzinfo=UTC)
HALT = "halted: nothing is sent until <b>resumed</b>"


def report(number: int, equity: str, position: str, price: str, **more: Any) -> CloseReport:
    return CloseReport(
        close=START + number * EVERY_8H.delta,
        forecasts={"ADAUSDT": Forecast(0.001 * (-1) ** number, 0.1)},
        targets={"ADAUSDT": 0.5},
        positions={"ADAUSDT": Decimal(position)},
        equity=Decimal(equity),
        prices={"ADAUSDT": Decimal(price)},
        candle_closes={"ADAUSDT": float(price)},
        **{"state": State.ACTIVE, "why": "as forecast", **more},
    )


REPORTS = [
    report(0, "999.4", "1000", "0.5"),
    report(1, "1098.9", "1000", "0.6"),
    report(2, "1047.8", "0", "0.55"),
    report(3, "1047.8", "0", "0.5", state=State.HALTED, why=HALT),
]
TRADES = [
    Trade(START, "ADAUSDT", Decimal(1000), Decimal("0.5001"), Decimal("0.5"), Decimal(0)),
    Trade(START + 2 * EVERY_8H.delta, "ADAUSDT", Decimal(-1000), Decimal("0.5495"), Decimal("0.6"), Decimal("49.4")),
]
BOOKINGS = [Funding(START + EVERY_8H.delta, "ADAUSDT", Decimal("-0.5"))]
TRIPS = [
    RoundTrip(
        "ADAUSDT", Decimal(1000), START, START + 2 * EVERY_8H.delta, Decimal("0.5001"), Decimal("0.5495"),
        Decimal("49.4"), Decimal("1.1"), Decimal("-0.5"),
    )
]  # fmt: skip
EVIDENCE: dict[str, Any] = {
    "horizon": {"closes": 426, "first_close": "2025-05-01T08:00:00Z", "last_close": "2026-02-08T16:00:00Z"},
    "interval": {"sharpe": [0.05, 4.33], "level": 0.95},
    "probabilistic_sharpe": 0.977,
    "deflated_sharpe": 0.43,
    "cost_stress": [{"times": 1, "net_log_return": 1.4}],
    "performance": {"sharpe": 2.7, "net_sharpe": 2.2, "net_log_return": 1.4, "changes_of_side": 230},
    "always_long": {"sharpe": -1.4, "net_sharpe": -1.5, "net_log_return": -0.9, "changes_of_side": 1},
    "spa": {"always_long": {"p_value": 0.07}},
    "walk_forward": {
        "folds": [
            {"first_close": "2021-02-02T00:00:00Z", "last_close": "2021-05-03T16:00:00Z", "net_ev": net}
            for net in (0.0005, -0.002)
        ]
    },
}
CALIBRATION = {
    "rows": 10,
    "bins": [{"predicted": said, "observed": true, "count": 5} for said, true in ((0.51, 0.6), (0.53, 0.4))],
}
LEARNING: dict[str, Any] = {
    "objective": "cross-entropy",
    "best": 2,
    "passes": [
        {"train_loss": 0.70, "validation_loss": 0.695},
        {"train_loss": 0.69, "validation_loss": 0.6925},
        {"train_loss": 0.68, "validation_loss": 0.6931},
    ],
    "said": "A recurrent network of <b>some</b> size.",
}
METRICS: dict[str, dict[str, Any]] = {
    period: {"n": rows, "up": up, "down": rows - up, "cross_entropy": entropy, "base_rate_cross_entropy": 0.6931}
    for period, rows, up, entropy in (
        ("train", 900, 460, 0.68),
        ("validation", 150, 70, 0.692),
        ("test", 400, 210, 0.69),
    )
}
GATES = {
    "closes": {"value": 426.0, "needed": "at least 250", "passed": True},
    "spa": {"value": None, "needed": "<p> below 0.05", "passed": False},
}


def story(*, judged: bool = True) -> Story:
    closes, costs = closes_of(REPORTS, TRADES, BOOKINGS, Decimal(1000))
    return Story(
        name="by-hand",
        symbols=["ADAUSDT"],
        interval=EVERY_8H,
        market="Backtest on <script>alert(1)</script>",
        start_equity=1000.0,
        closes=closes,
        costs=costs,
        trips=round_trip_rows(TRIPS, EVERY_8H, Decimal(1000)),
        performance={"total_return": 0.0478, "annual_return": None, "sharpe": 1.234, "round_trips": 1, "hit_rate": 1.0},
        judged=Judged(
            "hand",
            "NO-GO",
            "It is <refused>.",
            GATES,
            EVIDENCE,
            CALIBRATION,
            START + timedelta(days=1),
            METRICS,
            LEARNING,
        )
        if judged
        else Judged("hand", "UNJUDGED", "Nobody judged it."),
        stops=stops_of(REPORTS),
    )


def shortfall() -> Shortfall:
    rows = [(START + number * EVERY_8H.delta, 1000.0 - number, 1000.0 + number, number / 500) for number in range(3)]
    fill = {
        "filled": "2024-01-31T00:00:01Z", "symbol": "ADAUSDT", "leg": "open", "quantity": "1000", "decided": "0.5",
        "arrival": None, "fill": "0.5001", "delay": "0", "execution": "0.1", "fee": "0.5", "cost_bp": 12.0,
        "expected_bp": 7.0,
    }  # fmt: skip
    return Shortfall(
        closes=pl.DataFrame(rows, schema=["close", "equity", "expected", "behind"], orient="row"),
        should=2.0,
        did=-2.0,
        parts={"slippage": -1.0, "fees": 0.0, "funding": 0.5, "not as decided": -3.5},
        fills=[fill],
        misses=[(START, "the daemon was not awake")],
        changes=[(START, "REDUCING by drift", "it <b>drifted</b>")],
        behind=0.3,
        cost_ratio=2.5,
        realised_cost=0.6,
        expected_cost=0.35,
    )


def shapes() -> dict[str, Any]:
    """Two networks as `trader train shapes` tells of them."""
    epochs = [{"epoch": number, **one} for number, one in enumerate(LEARNING["passes"], start=1)]
    test = {
        "cross_entropy": 0.69, "base_rate_cross_entropy": 0.6931, "win_rate": 0.534, "discrete_net_sharpe": -13.3,
        "proportional_net_sharpe": None,
    }  # fmt: skip
    kept = {"best": 2, "train_loss": 0.69, "validation_loss": 0.6925, "test": test, "epochs": epochs}
    return {
        "symbol": "BTCUSDT", "interval": "30m", "objective": "cross-entropy", "window": 512, "trials": 7,
        "shapes": [
            {"layers": layers, "width": width, "numbers": numbers, **kept}
            for layers, width, numbers in ((3, 16, 4228), (1, 8, 300))
        ],
    }  # fmt: skip
