"""One document of everything there is to see."""

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from tests.unit.status.conftest import FIRST, INPUTS, INTERVAL, WORTH, output
from trader.cli.table import _ROWS
from trader.domain.decision import State
from trader.domain.stop import Stop, StopRequest
from trader.journal.journal import Journal
from trader.journal.rows import StopIntent
from trader.status.board import Board, Instance
from trader.status.page import render
from trader.status.series import Row, thinned
from trader.status.sight import Sight

PROMISED = {
    "state", "ready", "venue", "strategy", "model", "position", "equity", "last_close", "next_close",
    "last_decision", "why", "requests",
}  # fmt: skip


def test_a_journal_without_a_close_is_shown_too(sight: Sight) -> None:
    told = sight.document()
    assert told.keys() >= PROMISED
    assert told["decisions"] == told["orders"] == told["holdings"] == []
    assert "No close has been decided yet" in render(told)
    assert sight.series() == {"close": [], "equity": [], "drawdown": [], "position": []}


def test_it_says_what_is_held_at_what_exposure_and_what_it_cost(sight: Sight, close_one: Callable[..., None]) -> None:
    close_one(0, quantity="10000")
    told = sight.document()
    (held,) = told["holdings"]
    assert (held["quantity"], held["price"], held["notional"]) == ("10000", "0.62", "6200")
    assert held["entry_price"] == "0.63"
    assert held["exposure"] == 0.62
    money = told["money"]
    assert (money["fees"], money["slippage"], money["costs"], money["fills"]) == ("0.5", "100", "100.5", 1)
    assert money["profit"] == "-0.5"


def test_it_says_where_the_stop_of_a_position_lies(
    sight: Sight, close_one: Callable[..., None], journal: Journal
) -> None:
    close_one(0, quantity="10000")
    assert sight.document()["holdings"][0]["stop"] is None
    asked = StopRequest("t1.s0", "ADAUSDT", Decimal(-10000), Decimal("0.504"))
    journal.intend_stop(StopIntent(FIRST, 0, asked, Decimal("0.63"), Decimal("0.2"), FIRST))
    assert sight.document()["stops"] == {}
    journal.stands(Stop("t1.s0", "7", "ADAUSDT", Decimal("0.504"), "NEW", None, FIRST))
    told = sight.document()
    assert (told["holdings"][0]["stop"], told["stops"]) == ("0.504", {"ADAUSDT": "0.504"})
    assert "Holds 10,000 ADAUSDT with a stop at 0.504" in render(told)
    assert "stop at 0.504" in str(_ROWS["Position"](told, FIRST))


def test_the_last_decisions_come_first_each_with_its_reason(sight: Sight, close_one: Callable[..., None]) -> None:
    for turn in range(15):
        close_one(turn, forecast=0.001 * (-1) ** turn)
    told = sight.document()
    assert [one["why"] for one in told["decisions"][:2]] == ["it said 0.001", "it said -0.001"]
    assert len(told["decisions"]) == 12
    assert told["decisions"][0]["forecast"] == {"ADAUSDT": 0.001}
    assert told["decisions"][0]["seconds"] == 3.0
    assert told["orders"][0]["slippage"] == float((Decimal("0.63") / Decimal("0.62") - 1).quantize(Decimal("1e-6")))


def test_what_comes_next_follows_state_and_requests(sight: Sight, journal: Journal) -> None:
    assert "trades to its target" in sight.document()["next"]["what"]
    journal.set_state(State.REDUCING, "a day's loss", "guard", FIRST)
    assert "only makes positions smaller" in sight.document()["next"]["what"]
    journal.set_state(State.HALTED, "drawdown of 21 %", "guard", FIRST)
    journal.request("flatten", FIRST)
    told = sight.document()
    assert told["next"]["what"].startswith("obeys first what was asked for (flatten)")
    assert told["next"]["close"] == "2024-01-02T00:00:00Z"
    assert "<b>HALTED:</b> drawdown of 21 %" in render(told)


def test_what_is_not_well_is_said_line_by_line(sight: Sight, later: Callable[..., None]) -> None:
    assert sight.document()["health"]["well"]
    later(
        clock_offset=timedelta(seconds=-2),
        weights={"weight-1m": (2300, 2400)},
        cooldown=datetime(2024, 1, 1, 0, 5, tzinfo=UTC),
        ready=False,
    )
    health = sight.document()["health"]
    ill = [line["name"] for line in health["lines"] if not line["well"]]
    assert ill == ["start", "clock", "weight in 1m", "exchange"]
    assert not health["well"]
    assert "−" not in json.dumps(health)
    assert "wants no request before 2024-01-01 00:05:00 UTC" in render(sight.document())


def test_a_start_that_waits_for_an_exchange_that_is_out_says_so(sight: Sight, later: Callable[..., None]) -> None:
    later(ready=False)
    assert "has not recovered yet" in render(sight.document())
    later(ready=False, out_since=datetime(2024, 1, 1, 3, 30, tzinfo=UTC))
    (line,) = [one for one in sight.document()["health"]["lines"] if not one["well"]]
    assert line["name"] == "start"
    assert "the exchange is out since 2024-01-01 03:30 UTC" in line["text"]


def test_a_close_that_is_due_and_has_no_end_is_a_lag(
    sight: Sight, journal: Journal, close_one: Callable[..., None], later: Callable[..., None]
) -> None:
    close_one(0)
    later(now=FIRST + INTERVAL.delta - timedelta(seconds=1))
    assert sight.document()["health"]["journal_lag_seconds"] == 0
    later(now=FIRST + INTERVAL.delta + timedelta(minutes=20))
    told = sight.document()["health"]
    assert told["journal_lag_seconds"] == 1200
    assert not told["well"]
    assert journal.claim(FIRST + INTERVAL.delta, FIRST + INTERVAL.delta)
    assert sight.document()["health"]["journal_lag_seconds"] == 1200


def test_a_fill_in_the_middle_of_a_close_does_not_move_the_profit_before_the_equity(
    sight: Sight, journal: Journal, close_one: Callable[..., None]
) -> None:
    close_one(0)
    before = sight.document()["money"]
    at = FIRST + INTERVAL.delta
    assert journal.claim(at, at)
    journal.record_fills([])
    assert sight.document()["money"] == before


def test_the_series_goes_on_where_it_was(sight: Sight, close_one: Callable[..., None]) -> None:
    close_one(0, equity="10100")
    assert sight.series()["equity"] == [10100.0]
    close_one(1, equity="9900")
    told = sight.series()
    assert told["equity"] == [10100.0, 9900.0]
    assert told["drawdown"] == [0.0, 0.01]
    assert told["position"] == [10.0, 20.0]


def test_every_text_of_the_page_is_escaped(sight: Sight, journal: Journal) -> None:
    journal.set_state(State.HALTED, "<script>alert(1)</script>", "<b>me</b>", FIRST)
    text = render(sight.document())
    assert "<script>alert" not in text
    assert "<b>me" not in text
    assert "Luck &lt;would&gt; do." in text


@given(st.lists(st.floats(1, 1e6), min_size=1, max_size=400), st.integers(8, 60))
def test_thinning_keeps_both_ends_the_lowest_and_the_highest(equity: list[float], most: int) -> None:
    rows: list[Row] = [(place, value, 0.0, 0.0) for place, value in enumerate(equity)]
    kept = thinned(rows, most)
    assert len(kept) <= max(most, 1)
    assert (kept[0], kept[-1]) == (rows[0], rows[-1])
    assert {min(equity), max(equity)} <= {row[1] for row in kept}
    assert kept == sorted(kept)


def finding(sight: Sight, name: str) -> dict[str, Any]:
    (found,) = [line for line in sight.document()["health"]["lines"] if line["name"] == name]
    return dict(found)


def test_closes_that_all_fail_are_not_well_and_said_above_everything_else(
    sight: Sight, close_one: Callable[..., None], journal: Journal
) -> None:
    assert finding(sight, "closes") == {"name": "closes", "well": True, "text": "none was due yet"}
    close_one(0)
    assert finding(sight, "closes")["text"] == "the newest was decided"
    for turn in (1, 2):
        assert journal.claim(FIRST + turn * INTERVAL.delta, FIRST)
        journal.fail(FIRST + turn * INTERVAL.delta, "no candles", FIRST)
    assert journal.claim(FIRST + 3 * INTERVAL.delta, FIRST)
    told = sight.document()
    assert not told["health"]["well"]
    assert finding(sight, "closes") == {
        "name": "closes", "well": False, "text": "the newest 2 were not decided: no candles",
    }  # fmt: skip
    page = render(told)
    assert "<b>Closes:</b> the newest 2 were not decided: no candles." in page
    assert "Equity at 2024-01-01 08:00, USDT" in page


def test_an_equity_of_the_newest_close_needs_no_time(sight: Sight, close_one: Callable[..., None]) -> None:
    close_one(0)
    assert "<dt>Equity, USDT</dt>" in render(sight.document())


def test_a_first_close_that_never_began_is_late_too(sight: Sight, later: Callable[..., None]) -> None:
    later(now=FIRST + timedelta(minutes=1))
    assert "is 60 s old" in finding(sight, "journal")["text"]
    later(now=FIRST + timedelta(hours=1))
    assert finding(sight, "journal")["well"] is False


def test_a_last_decided_close_of_long_ago_is_shown_too(
    sight: Sight, close_one: Callable[..., None], journal: Journal
) -> None:
    close_one(0)
    for turn in range(1, 40):
        close = FIRST + turn * INTERVAL.delta
        assert journal.claim(close, close)
        journal.record_decision(close, INPUTS, output(0.1), model_hash="abc", why="up", intents=[], at=close)
        assert sight.document()["decisions"][0]["close"].startswith(f"{close:%Y-%m-%dT%H}")


def test_a_folder_that_was_taken_away_is_said(sight: Sight, tmp_path: Path) -> None:
    away = tmp_path.rename(tmp_path.with_name("away"))
    try:
        assert finding(sight, "disk") == {"name": "disk", "well": False, "text": "it cannot be looked at"}
    finally:
        away.rename(tmp_path)


def test_a_clock_is_judged_by_the_limit_that_holds_now(journal: Journal, instance: Instance, board: Board) -> None:
    limits = [timedelta(seconds=1)]
    shown = Sight(journal.path, replace(instance, max_clock_offset=lambda: limits[0]), board)
    assert finding(shown, "clock")["well"]
    limits[0] = timedelta(milliseconds=5)
    assert not finding(shown, "clock")["well"]
    shown.close()


def test_the_verdict_is_of_the_way_it_is_held_and_not_the_first_of_its_card(
    journal: Journal, instance: Instance, board: Board
) -> None:
    card = '{"name": "mine", "verdict": "GO", "reason": "its direction", "evidence": {"proportional": {}}}'
    journal.save_model("both", card, b"weights")
    own = replace(WORTH, hash="both", verdict="UNJUDGED", reason="nothing of a position in proportion", card=card)
    shown = Sight(journal.path, replace(instance, worth=lambda: own), board)
    told = shown.document()["verdict"]
    assert (told["verdict"], told["reason"]) == ("UNJUDGED", "nothing of a position in proportion")
    shown.close()


def test_what_a_position_had_gained_before_it_was_accepted_is_no_profit(
    sight: Sight, close_one: Callable[..., None], journal: Journal
) -> None:
    begun = FIRST - timedelta(minutes=1)
    journal.set_baseline(
        wallet=Decimal(10000), equity=Decimal(10500), positions={"ADAUSDT": Decimal(7)}, last_trades={}, at=begun
    )
    close_one(0, equity="10510")
    assert sight.document()["money"]["profit"] == "9.5"
    assert "counts from 2024-01-01 07:59 UTC" in render(sight.document())


def test_after_an_account_was_accepted_anew_profit_begins_at_nothing(
    sight: Sight, close_one: Callable[..., None], journal: Journal
) -> None:
    close_one(0, equity="10300")
    assert sight.document()["money"]["profit"] == "299.5"
    held, begun = {"ADAUSDT": Decimal(10)}, FIRST + timedelta(hours=1)
    journal.set_baseline(
        wallet=Decimal(10000), equity=Decimal(9000), positions=held, last_trades={"ADAUSDT": "0"}, at=begun
    )
    assert sight.document()["money"]["profit"] == "0"
    close_one(1, equity="9010")
    assert sight.document()["money"]["profit"] == "9.5"
