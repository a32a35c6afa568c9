"""The account beside what its decisions should have earned: the same where nothing goes wrong, named where it does."""

import asyncio
import sqlite3
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import structlog

from tests.scenarios.exchange import serving
from tests.scenarios.processes import Home
from trader.app.daemon import RunOptions, run_daemon
from trader.app.drifting import DriftWatch
from trader.app.expecting import Follower, costs_of, fill_costs
from trader.app.operating import request
from trader.app.reading import status
from trader.app.reporting_live import report_live
from trader.app.settings import load_settings
from trader.app.tapes import TapeChoice
from trader.domain.decision import State
from trader.execution.fills import Costs
from trader.journal.journal import Journal
from trader.journal.queries import Reader
from trader.journal.schema import to_milliseconds
from trader.research.drift import DriftLimits as Limits
from trader.research.drift import FillCost, Point, alarm, cost_ratio, shortfall

COSTS = Costs(Decimal("0.0005"), Decimal("0.0001"), Decimal("0.0002"))
CLOSE = datetime(2024, 1, 2, tzinfo=UTC)


def test_where_nothing_goes_wrong_the_account_is_its_expectation_to_the_last_digit(tmp_path: Path) -> None:
    home = Home(tmp_path / "data")
    home.document("run", "--cycles", "25", "--speed", "max")
    with Reader.read(home.exchange / "journal.db") as journal:
        follower = Follower(journal, COSTS)
        points = follower.follow()
        assert len(points) == 25
        assert [point.live for point in points] == [point.expected for point in points]
        assert follower.expectation is not None
        assert follower.expectation.fees == sum((fill.fee for fill in journal.fills()), Decimal(0))
        rows = fill_costs(journal, COSTS)
        assert len(rows) == len(journal.fills())
        assert all(row["arrival"] is not None for row in rows if row["leg"] == "o")
        # half a tick of rounding against us is what an order costs beyond its expectation here
        ratio = cost_ratio(costs_of(rows))
    assert ratio is not None
    assert 1 <= ratio < Decimal("1.2")


def test_stops_that_trigger_are_expected_of_the_account_as_well(tmp_path: Path) -> None:
    home = Home(tmp_path / "data")
    settings = {"TRADER_RISK__PROTECTIVE_STOP": "0.006", "TRADER_RECONCILE__STOP": "adopt"}
    home.document("run", "--cycles", "8", "--speed", "max", **settings)
    with Reader.read(home.exchange / "journal.db") as journal:
        follower = Follower(journal, COSTS)
        points = follower.follow()
        triggered = [one for one in journal.stops() if one.status == "FINISHED"]
        assert len(triggered) > 2
        assert [point.live for point in points] == [point.expected for point in points]
        assert follower.expectation is not None
        assert follower.expectation.fees == sum((fill.fee for fill in journal.fills()), Decimal(0))


def test_money_moved_at_whatever_moment_moves_the_account_and_its_expectation_alike(tmp_path: Path) -> None:
    home = Home(tmp_path / "data")
    # before, between and after the looks at the account with which a close is decided and ended
    moments = enumerate((3, 9, 13, 15, 17, 19, 21, 24, 27), 1)
    amounts = (90_000, -500, 4_000, -30_000, 3_000, -20_000, 1_000, 1_000, -500)
    begin, bar = 1704096000000, 16 * 3_600_000
    plan = home.plan(
        *(
            {"at": begin + number * bar + late, "do": "transfer", "amount": str(amount)}
            for (number, late), amount in zip(moments, amounts, strict=True)
        )
    )
    home.document("run", "--cycles", "12", "--speed", "max", TRADER_SIM__FAULTS=plan)
    with Reader.read(home.exchange / "journal.db") as journal:
        follower = Follower(journal, COSTS)
        points = follower.follow()
        assert len([one for one in journal.incomes() if one.kind == "TRANSFER"]) == len(amounts)
        assert [point.live for point in points] == [point.expected for point in points]
        assert follower.expectation is not None
        assert follower.moved == follower.expectation.moved == sum(amounts)
        assert follower.unseen() == 0
        # what is dearer to trade stays as far behind as it was, whatever is paid in or out
        dear = Follower(journal, replace(COSTS, slippage=Decimal("0.001"))).follow()
    behind = [shortfall([dear[0], one]) or Decimal(0) for one in dear]
    assert all(0 <= before - after < Decimal("0.004") for before, after in pairwise(behind))
    told = home.document("report", "live", "--out", "live.html")
    assert (told["shortfall"], told["behind"]) == (0, 0)
    assert set(told["parts"].values()) == {0}


def test_a_resume_on_the_day_of_a_loss_lets_the_expectation_trade_again_as_it_does_the_account(tmp_path: Path) -> None:
    home = Home(tmp_path / "data")
    limit = {"TRADER_RISK__MAX_DAILY_LOSS": "0.0045"}
    home.document("run", "--cycles", "2", "--speed", "max", **limit)
    assert home.run("resume", "--yes").returncode == 0
    home.document("run", "--cycles", "2", "--speed", "max", **limit)
    path = home.exchange / "journal.db"
    with Reader.read(path) as journal:
        halted, resumed = (one.state for one in journal.states())
        assert (halted, resumed) == (State.HALTED, State.ACTIVE)
        points, third = Follower(journal, COSTS).follow(), journal.decisions()[2]
    assert points[2].close.date() == points[1].close.date()
    assert [point.live for point in points] == [point.expected for point in points]
    assert points[3].expected != points[2].expected != points[1].expected
    # obeyed by a start that came late to the third close: before its decision, and so it holds for it
    assert third.decided_at is not None
    with sqlite3.connect(path) as connection:
        moment = to_milliseconds(third.decided_at - timedelta(milliseconds=5))
        assert connection.execute("update states set at = ? where state = 'ACTIVE'", (moment,)).rowcount == 1
    connection.close()
    with Reader.read(path) as journal:
        assert Follower(journal, COSTS).follow() == points


def test_a_loss_limit_that_only_the_expectation_met_does_not_keep_it_flat_for_ever(tmp_path: Path) -> None:
    home = Home(tmp_path / "data")
    home.document("run", "--cycles", "5", "--speed", "max", TRADER_RISK__MAX_DAILY_LOSS="0.0082")
    with Reader.read(home.exchange / "journal.db") as journal:
        assert journal.state().state is State.ACTIVE
        follower = Follower(journal, replace(COSTS, fee=Decimal("0.04")))
        expected = [point.expected for point in follower.follow()]
    # met at the third close, which closes at a cost; the real account trades on, and so does this one
    assert expected[2] < Decimal("0.98") * expected[1]
    assert expected[4] != expected[3]
    assert follower.expectation is not None
    assert follower.expectation.active


def daemon(cycles: int) -> Any:
    """Run the daemon in this process, which costs no start of another one."""
    return asyncio.run(run_daemon(load_settings(), RunOptions(TapeChoice(), cycles, float("inf"), collect=True)))


def test_costs_beyond_the_expected_let_the_daemon_only_reduce_until_a_person_resumes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = Home(tmp_path / "data")
    with serving(home, "--speed", "max", "--from", "2024-01-03", TRADER_SIM__SLIPPAGE="0.004") as hand:
        for name, value in {
            "VENUE": "testnet",
            "API_KEY": hand.ready["api_key"],
            "API_SECRET": hand.ready["api_secret"],
            "EXCHANGE__LOOPBACK": str(hand.ready["port"]),
            "RISK__MAX_SHORTFALL": "1",
        }.items():
            monkeypatch.setenv(f"TRADER_{name}", value)
        ran = daemon(26)
        told = status(load_settings())
        assert told["state"] == "REDUCING"
        assert "times what was expected" in told["why"]
        restricted = [close for close in ran["closes"] if close["state"] == "REDUCING"]
        assert 0 < len(restricted) < 20
        # once it only reduces, a side that is closed is not opened again
        assert ran["closes"][-1]["position"] == "0"
        with Reader.read(home.data / "testnet" / "journal.db") as journal:
            (change,) = [one for one in journal.states() if one.state is State.REDUCING]
        assert change.by == "drift"
        request(load_settings(), "resume")
        again = daemon(3)
        assert {close["state"] for close in again["closes"]} == {"ACTIVE"}

    report = report_live(load_settings(), tmp_path / "live.html")
    page = (tmp_path / "live.html").read_text()
    assert Decimal(report["costs"]["realised"]) > 4 * Decimal(report["costs"]["expected"])
    assert sum(report["parts"].values()) == pytest.approx(report["shortfall"])
    for words in ("What it should have earned", "Implementation shortfall", "times what was expected", "resumed"):
        assert words in page


class Heard:
    """A control that only writes down what it is told."""

    def __init__(self) -> None:
        self.told: list[tuple[State, str]] = []

    def restrict(self, state: State, why: str, by: str) -> None:
        self.told.append((state, by))


def test_a_drift_limit_that_is_taken_over_holds_from_then_on(tmp_path: Path) -> None:
    home = Home(tmp_path / "data")
    home.document("run", "--cycles", "3", "--speed", "max")
    control: Any = Heard()
    with Journal.attach(home.exchange / "journal.db") as journal:
        watch = DriftWatch(journal, COSTS, Limits(), control, structlog.get_logger())
        watch.look()
        assert control.told == []
        # an account that earned what it should have is not this far ahead
        watch.renew(Limits(max_shortfall=Decimal(-1)))
        watch.look()
    assert control.told == [(State.REDUCING, "drift")]


def test_the_command_writes_the_page_of_an_account_and_says_what_it_comes_to(tmp_path: Path) -> None:
    home = Home(tmp_path / "data")
    assert home.run("report", "live").returncode == 74
    home.document("run", "--cycles", "3", "--speed", "max")
    told = home.document("report", "live", "--out", "live.html")
    assert (told["closes"], told["not_decided"], told["shortfall"]) == (3, 0, 0)
    assert told["should_have_earned"] == told["earned"]
    assert "The embedded exchange, full" in (tmp_path / "live.html").read_text()


def test_a_missed_close_is_decided_in_the_expectation_and_named(tmp_path: Path) -> None:
    home = Home(tmp_path / "data")
    # an exchange that cannot be asked for longer than a close may wait, around the close at 2024-01-03T08:00Z
    missing = home.plan(
        {"during": {"from": 1704265200000, "to": 1704279600000, "path": "GET /fapi/v1/klines"}, "do": "maintenance"}
    )
    home.run("run", "--speed", "max", "--cycles", "8", TRADER_SIM__FAULTS=missing)
    with Reader.read(home.exchange / "journal.db") as journal:
        points = Follower(journal, COSTS).follow()
        failed = [one.close for one in journal.decisions() if one.status.value in ("failed", "missed")]
    assert failed == [datetime(2024, 1, 3, 8, tzinfo=UTC)]
    # the bar that was missed is in the windows of later decisions, and so it is decided after all
    assert [point.close for point in points if point.live is None] == failed
    assert [point.close for point in points] == sorted(point.close for point in points)
    assert shortfall(points) is not None


def point(number: int, live: str | None, expected: str) -> Point:
    return Point(CLOSE + timedelta(hours=number), None if live is None else Decimal(live), Decimal(expected))


def test_the_shortfall_is_what_the_expectation_earned_more_than_the_account() -> None:
    assert shortfall([point(0, "100", "100"), point(1, None, "105"), point(2, "101", "110")]) == 1 - Decimal(
        "1.01"
    ) / Decimal("1.1")
    assert shortfall([point(0, "100", "200"), point(1, "110", "220")]) == 0
    assert shortfall([point(0, "100", "100")]) is None
    assert shortfall([point(0, "0", "100"), point(1, "0", "100")]) is None


@pytest.mark.parametrize(("realised", "words"), [("3", None), ("5", "5.0 times what was expected")])
def test_an_alarm_says_which_limit_was_passed(realised: str, words: str | None) -> None:
    fills = [FillCost(CLOSE, Decimal(realised), Decimal(1))] * 20
    limits = Limits(max_shortfall=Decimal("0.05"), max_cost_ratio=Decimal(4))
    found = alarm([point(0, "100", "100"), point(1, "99", "100")], fills, limits)
    assert (found is None) if words is None else words in (found or "")
    assert cost_ratio(fills[:19]) is None
    behind = alarm([point(0, "100", "100"), point(1, "90", "100")], [], limits)
    assert behind is not None
    assert "10.00% of its equity behind" in behind
    assert alarm([point(0, "100", "100"), point(1, "90", "100")], fills, Limits()) is None
