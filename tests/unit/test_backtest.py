from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import polars as pl
import pytest

from tests.unit.execution_world import OTHER, SYMBOL, free_of_charge, instrument, limits
from tests.unit.strategies_at_hand import Follower
from trader.domain.decision import State
from trader.domain.interval import Interval
from trader.errors import DataError
from trader.execution.fills import Costs, Execution
from trader.market.candles import with_close
from trader.research.backtest import Backtest, Terms, run_backtest

START = datetime(2025, 1, 1, tzinfo=UTC)
HOUR = Interval.parse("1h")
TERMS = Terms(Decimal(1000), free_of_charge(), limits())
FLAT = [1.0] * 12


def hour(number: float) -> datetime:
    return START + timedelta(hours=number)


def bars(opens: Sequence[float], *, symbol: str = SYMBOL, lows: dict[int, float] | None = None) -> pl.DataFrame:
    """Hourly bars that hold their open; `lows` reach deeper by row."""
    lowest = [(lows or {}).get(row, price) for row, price in enumerate(opens)]
    frame = pl.DataFrame(
        {
            "symbol": [symbol] * len(opens),
            "open_time": [hour(row) for row in range(len(opens))],
            **dict.fromkeys(("open", "high", "close"), opens),
            "low": lowest,
            "volume": [1.0] * len(opens),
        },
        schema_overrides={"open_time": pl.Datetime("ms", "UTC")},
    )
    return with_close(frame, HOUR)


def said(*values: float, symbol: str = SYMBOL) -> pl.DataFrame:
    """Forecasts at the closes of hour 2, 4, 6, ..."""
    return pl.DataFrame(
        {
            "symbol": [symbol] * len(values),
            "close_time": [hour(2 * (row + 1)) for row in range(len(values))],
            "forecast": list(values),
            "confidence": [0.0] * len(values),
        },
        schema_overrides={"close_time": pl.Datetime("ms", "UTC")},
    )


def walk(
    tape: pl.DataFrame,
    forecasts: pl.DataFrame,
    terms: Terms = TERMS,
    funding: dict[float, float] | None = None,
    **strategy: Any,
) -> Backtest:
    """Backtest two-hour candles whose forecasts are given, from the first forecast to the last."""
    symbols = tuple(forecasts["symbol"].unique().sort())
    follower = Follower(symbols, interval=Interval.parse("2h"), forecaster=lambda _: forecasts, **strategy)
    rates = pl.DataFrame(
        {
            "symbol": [SYMBOL] * len(funding or {}),
            "funding_time": [hour(at) for at in funding or {}],
            "funding_rate": list((funding or {}).values()),
        },
        schema={"symbol": pl.String, "funding_time": pl.Datetime("ms", "UTC"), "funding_rate": pl.Float64},
    )
    begun = replace(terms, start=terms.start or hour(2), end=terms.end or forecasts["close_time"].to_list()[-1])
    rules = {symbol: instrument(symbol) for symbol in symbols}
    return run_backtest(follower, tape, HOUR, rates, rules, begun)


def positions(result: Backtest) -> list[int]:
    return [int(report.positions[SYMBOL]) for report in result.closes]


def equities(result: Backtest) -> list[str]:
    return [f"{report.equity.normalize():f}" for report in result.closes]


def test_each_close_is_filled_and_marked_at_the_first_price_after_it() -> None:
    tape = bars([1.0, 1.0, 2.0, 3.0, 4.0, 5.0, 4.0])
    result = walk(tape, said(0.1, 0.1, -0.1))
    assert [report.close for report in result.closes] == [hour(2), hour(4), hour(6)]
    assert [(close, int(fill.quantity), int(fill.price)) for close, fill in result.fills] == [
        (hour(2), 250, 2),
        (hour(4), -63, 4),  # 1,500 of equity, 750 of it at 4 are 187
        (hour(6), -187, 4),
        (hour(6), -187, 4),
    ]
    assert equities(result) == ["1000", "1500", "1500"]
    assert [report.candle_closes[SYMBOL] for report in result.closes] == [1.0, 3.0, 5.0]


def test_after_the_last_bar_its_close_is_the_price() -> None:
    result = walk(bars([1.0, 1.0, 2.0, 3.0]), said(0.1, 0.1))
    assert [report.close for report in result.closes] == [hour(2), hour(4)]
    assert equities(result) == ["1000", "1250"]


def test_what_a_close_reports_is_after_its_fills_and_their_costs() -> None:
    costs = Costs(Decimal("0.001"), Decimal("0.01"), Decimal("0.02"))
    result = walk(bars(FLAT), said(0.1), replace(TERMS, costs=costs, cycles=1))
    assert positions(result) == [500]
    assert equities(result) == ["989.49"]  # 500 bought at 1.02: 10 lost on the price, 0.51 paid as fee
    assert result.fees == Decimal("0.51")


def test_funding_stamped_at_a_close_is_paid_on_what_was_held_until_then() -> None:
    result = walk(bars([1.0, 1.0, 1.0, 1.0, 2.0, 2.0]), said(0.1, -0.1), funding={2: 0.5, 4: 0.01, 6: 0.5})
    assert equities(result) == ["1000", "1490"]  # 500 held over a rise of 1, and 0.01 of 1,000 paid
    assert result.funding == -10


def test_a_liquidation_halts_and_nothing_is_traded_again() -> None:
    tape = bars(FLAT, lows={3: 0.5})
    result = walk(tape, said(0.1, 0.1, -0.1, 0.1), exposure=5.0, leverage=10)
    assert positions(result) == [5000, 0, 0, 0]
    assert equities(result) == ["1000", "500", "500", "500"]
    taken = Execution(SYMBOL, Decimal(-5000), Decimal("0.9"), Decimal(0), Decimal(-500))
    assert result.forced == [(hour(4), taken)]
    assert [report.state for report in result.closes] == [State.ACTIVE, *[State.HALTED] * 3]
    assert result.closes[1].why.startswith(f"liquidated: {SYMBOL}; ")
    assert len(result.fills) == 1


def test_funding_is_not_paid_on_what_was_liquidated_in_the_same_bar() -> None:
    result = walk(bars(FLAT, lows={3: 0.5}), said(0.1, 0.1), funding={4: 0.01}, exposure=5.0, leverage=10)
    assert result.funding == 0
    assert equities(result) == ["1000", "500"]


def test_a_breached_drawdown_closes_at_once_and_stays_halted() -> None:
    tape = bars([1.0, 1.0, 1.0, 1.0, 0.4, 0.4, 2.0, 2.0, 2.0])
    result = walk(tape, said(0.1, 0.1, 0.1, 0.1), replace(TERMS, limits=limits(max_drawdown="0.3")), leverage=1)
    assert positions(result) == [500, 0, 0, 0]
    assert equities(result) == ["1000", "700", "700", "700"]
    assert result.closes[1].state is State.HALTED


def test_the_peak_is_the_highest_equity_of_any_close_and_not_the_start() -> None:
    tape = bars([1.0, 1.0, 1.0, 1.0, 2.0, 2.0, 1.2, 1.2, 1.2])
    # 1,000; then 1,500 with 375 at 2; then 1,200: a fifth below the peak
    tripped = walk(tape, said(0.1, 0.1, 0.1), replace(TERMS, limits=limits(max_drawdown="0.2")))
    assert [report.state for report in tripped.closes] == [State.ACTIVE, State.ACTIVE, State.HALTED]
    kept = walk(tape, said(0.1, 0.1, 0.1), replace(TERMS, limits=limits(max_drawdown="0.201")))
    assert kept.closes[-1].state is State.ACTIVE


def test_an_order_beyond_the_margin_is_left_out_and_the_next_close_tries_again() -> None:
    costs = Costs(Decimal("0.01"), Decimal(0), Decimal(0))
    result = walk(bars(FLAT), said(0.1, -0.1, 0.0), replace(TERMS, costs=costs), exposure=1.0, leverage=1)
    assert positions(result) == [0, 0, 0]
    assert result.fills == []
    assert "open ADAUSDT +1000" in result.closes[0].why


def test_two_symbols_share_one_account() -> None:
    tape = pl.concat([bars([1.0] * 4 + [2.0] * 4), bars([10.0] * 8, symbol=OTHER)])
    forecasts = pl.concat([said(0.1, 0.1), said(-0.1, -0.1, symbol=OTHER)])
    result = walk(tape, forecasts)
    assert result.closes[0].positions == {SYMBOL: Decimal(250), OTHER: Decimal(-25)}
    assert equities(result) == ["1000", "1250"]


def test_the_window_begins_and_ends_with_the_closes_inside_it() -> None:
    forecasts = said(*[0.1] * 6)
    whole = walk(bars(FLAT), forecasts, replace(TERMS, start=hour(2)))
    assert [report.close for report in whole.closes] == [hour(at) for at in (2, 4, 6, 8, 10, 12)]
    inner = walk(bars(FLAT), forecasts, replace(TERMS, start=hour(3), end=hour(8.5)))
    assert [report.close for report in inner.closes] == [hour(4), hour(6), hour(8)]
    assert len(walk(bars(FLAT), forecasts, replace(TERMS, start=hour(2), cycles=3)).closes) == 3


def test_a_start_between_two_closes_waits_for_the_next_one_unless_the_last_is_young_enough() -> None:
    forecasts = said(*[0.1] * 6)
    late = replace(TERMS, start=hour(3), max_delay=timedelta(minutes=59), cycles=1)
    assert walk(bars(FLAT), forecasts, late).closes[0].close == hour(4)
    young = replace(late, max_delay=timedelta(hours=1))
    assert walk(bars(FLAT), forecasts, young).closes[0].close == hour(2)


def test_a_close_decided_late_is_filled_at_the_price_of_that_time_and_plays_from_there() -> None:
    """The daemon that starts at 3:00 sees the price of 3:00, and nothing that happened before it."""
    tape = bars([1.0, 1.0, 1.0, 2.0, 4.0, 4.0], lows={2: 0.1})
    late = replace(TERMS, start=hour(3), max_delay=timedelta(hours=1))
    result = walk(tape, said(0.1, 0.1), late, funding={3: 0.5}, leverage=10)
    assert result.fills[0][1].price == 2
    assert equities(result) == ["1000", "1500"]
    assert result.funding == 0
    assert not result.forced


def test_a_window_without_a_close_is_refused() -> None:
    with pytest.raises(DataError, match="No close of 2h lies between"):
        walk(bars(FLAT), said(0.1), replace(TERMS, start=hour(2.5), end=hour(3.5)))


def test_a_window_that_begins_before_the_first_forecast_is_refused() -> None:
    with pytest.raises(DataError, match="start the window later or give more history"):
        walk(bars(FLAT), said(0.1), replace(TERMS, start=hour(0)))


def test_a_tape_of_another_symbol_is_refused() -> None:
    with pytest.raises(DataError, match="hold BTCUSDT but not ADAUSDT"):
        walk(bars(FLAT, symbol=OTHER), said(0.1))


def test_a_shorter_run_is_the_beginning_of_a_longer_one() -> None:
    tape = bars([1.0, 1.1, 1.3, 1.2, 1.0, 0.9, 1.1, 1.4, 1.3, 1.2, 1.1, 1.0])
    forecasts = said(0.1, -0.1, -0.1, 0.1, 0.0, -0.1)
    whole = walk(tape, forecasts)
    for cycles in range(1, 6):
        assert walk(tape, forecasts, replace(TERMS, cycles=cycles)).closes == whole.closes[:cycles]


def test_what_happens_after_the_window_changes_nothing_in_it() -> None:
    known, other = bars([1.0, 1.1, 1.3, 1.2, 1.0, 0.9]), bars([1.0, 1.1, 1.3, 1.2, 1.0, 77.0])
    window = replace(TERMS, cycles=2)
    assert walk(known, said(0.1, -0.1), window).closes == walk(other, said(0.1, -0.1), window).closes
