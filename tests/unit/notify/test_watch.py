import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest

from trader.domain.decision import State
from trader.journal.journal import Journal
from trader.journal.rows import MISSING_STOP, Binding, Intent, Outcome
from trader.notify import watch
from trader.notify.alert import Severity

CLOSE = datetime(2024, 1, 2, 0, tzinfo=UTC)
STEP = timedelta(hours=16)


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    binding = Binding("sim", "main", "tape", "ada-ar-16h", dry_run=False)
    with Journal.open(tmp_path / "journal.db", binding, create=True, at=CLOSE) as opened:
        opened.put("interval", "16h")
        yield opened


def decided(journal: Journal, close: datetime, *intents: Intent) -> None:
    assert journal.claim(close, close)
    journal.record_decision(close, "{}", "{}", model_hash="m", why="up", intents=intents, at=close)


def finished(journal: Journal, close: datetime, equity: str = "100") -> None:
    money = Decimal(equity)
    journal.finish(close, wallet=money, equity=money, peak=money, positions={}, at=close)


def test_what_was_before_anybody_watched_is_no_news(journal: Journal) -> None:
    journal.set_state(State.HALTED, "old", "test", CLOSE)
    alerts, _ = watch.news(journal, watch.begin(journal))
    # the newest state has the key it would have had; the box knows whether it was told
    assert {alert.title for alert in alerts} <= {"State HALTED"}


def test_a_halt_is_told_with_its_reason_and_what_to_do(journal: Journal) -> None:
    mark = watch.begin(journal)
    journal.set_state(State.HALTED, "drawdown at its limit", "guard", CLOSE)
    (alert,), mark = watch.news(journal, mark)
    assert alert.severity is Severity.CRITICAL
    assert "drawdown at its limit (by guard" in alert.text
    assert "trader resume" in alert.text
    again, _ = watch.news(journal, mark)
    assert [one.key for one in again] == [alert.key]
    assert alert.once


def test_what_waits_for_a_stop_is_told_to_end_by_itself(journal: Journal) -> None:
    mark = watch.begin(journal)
    journal.set_state(State.REDUCING, "no stop is known to rest", MISSING_STOP, CLOSE)
    (alert,), _ = watch.news(journal, mark)
    assert "ends by itself" in alert.text
    assert "resume" not in alert.text


def test_closes_missed_for_one_reason_are_one_alert(journal: Journal) -> None:
    mark = watch.begin(journal)
    decided(journal, CLOSE)
    finished(journal, CLOSE)
    journal.miss_all([CLOSE + n * STEP for n in (1, 2, 3)], "the daemon was not awake", CLOSE + 3 * STEP)
    (alert,), mark = watch.news(journal, mark)
    assert alert.title == "3 closes were not decided (missed)"
    assert "2024-01-02 16:00Z to 2024-01-04 00:00Z: the daemon was not awake" in alert.text
    assert json.loads(mark)["close"] == (CLOSE + 3 * STEP).isoformat()


def test_a_close_under_way_is_looked_at_again_until_it_has_ended(journal: Journal) -> None:
    mark = watch.begin(journal)
    journal.claim(CLOSE, CLOSE)
    alerts, mark = watch.news(journal, mark)
    assert alerts == []
    journal.fail(CLOSE, "no candles", CLOSE + STEP)
    (alert,), _ = watch.news(journal, mark)
    assert "no candles" in alert.text


def test_an_order_that_was_refused_is_told(journal: Journal) -> None:
    mark = watch.begin(journal)
    late = CLOSE + timedelta(minutes=5)
    intent = Intent("t1", CLOSE, "ADAUSDT", "o", 0, Decimal(7), reduce_only=False, intended_at=CLOSE, not_after=late)
    decided(journal, CLOSE, intent)
    journal.settle("t1", None, Outcome.REJECTED, final=True, at=CLOSE, code=-2019, text="margin is insufficient")
    (alert,), _ = watch.news(journal, mark)
    assert "ADAUSDT +7" in alert.title
    assert "margin is insufficient" in alert.text


def test_a_close_is_overdue_only_once_it_is_late_and_not_ended(journal: Journal) -> None:
    decided(journal, CLOSE)
    finished(journal, CLOSE)
    due = CLOSE + STEP
    assert watch.overdue(journal, CLOSE + timedelta(hours=1)) is None
    assert watch.overdue(journal, due + timedelta(minutes=4)) is None
    alert = watch.overdue(journal, due + timedelta(minutes=6))
    assert alert is not None
    assert alert.severity is Severity.CRITICAL
    decided(journal, due)
    assert watch.overdue(journal, due + timedelta(minutes=6)) is not None
    finished(journal, due)
    assert watch.overdue(journal, due + timedelta(minutes=6)) is None


@pytest.mark.fault(38)
@pytest.mark.parametrize(
    ("left", "severity"),
    [
        (timedelta(seconds=60), None),
        (timedelta(minutes=2), Severity.WARNING),
        (timedelta(hours=2), Severity.CRITICAL),
        (timedelta(seconds=-1), None),
    ],
)
def test_a_ban_that_lasts_is_told_with_its_end(left: timedelta, severity: Severity | None, journal: Journal) -> None:
    assert watch.barred(journal, CLOSE) is None
    journal.keep_cooldown(CLOSE + left)
    alert = watch.barred(journal, CLOSE)
    assert (alert and alert.severity) is severity
    if alert is not None:
        assert f"{CLOSE + left:%Y-%m-%d %H:%M}" in alert.title


@pytest.mark.parametrize(
    ("days", "severity"),
    [(40, None), (29, Severity.WARNING), (5, Severity.WARNING), (2, Severity.CRITICAL), (-1, Severity.CRITICAL)],
)
def test_the_end_of_a_model_is_told_in_time(journal: Journal, days: int, severity: Severity | None) -> None:
    journal.save_model("m", json.dumps({"name": "ada", "expires": "2027-02-08T00:00:00Z"}), b"")
    decided(journal, CLOSE)
    alert = watch.expiry(journal, datetime(2027, 2, 8, tzinfo=UTC) - timedelta(days=days))
    assert (alert and alert.severity) == severity
    if alert is not None:
        assert ("expired" if days < 0 else "expires") in alert.title


def test_the_daily_word_says_alive_holds_and_next(journal: Journal) -> None:
    for number, equity in enumerate(("100", "103.5")):
        decided(journal, CLOSE + number * STEP)
        finished(journal, CLOSE + number * STEP, equity)
    word = watch.digest(journal, "2024-01-02", CLOSE + STEP + timedelta(hours=1), 2)
    assert word.title == "trader is alive: ACTIVE, holds nothing"
    assert "Equity: 103.50 USDT at 2024-01-02 16:00Z (+3.50 since 2024-01-02 00:00Z)" in word.text
    assert "Next: 2024-01-03 08:00Z" in word.text
    assert "2 decided, 0 missed" in word.text
    assert "2 alerts could not be delivered" in word.text
    assert word.always


def test_the_daily_word_compares_with_the_close_before_where_a_day_has_only_one(journal: Journal) -> None:
    journal.put("interval", "1d")
    for number, equity in enumerate(("100", "90")):
        decided(journal, CLOSE + timedelta(days=number))
        finished(journal, CLOSE + timedelta(days=number), equity)
    word = watch.digest(journal, "2024-01-03", CLOSE + timedelta(days=1, hours=7), 0)
    assert "Equity: 90.00 USDT at 2024-01-03 00:00Z (-10.00 since 2024-01-02 00:00Z)" in word.text


def test_the_daily_word_says_of_an_old_equity_how_old_it_is_and_no_change(journal: Journal) -> None:
    decided(journal, CLOSE)
    finished(journal, CLOSE)
    word = watch.digest(journal, "2024-01-05", CLOSE + timedelta(days=3), 0)
    assert "Equity: 100.00 USDT at 2024-01-02 00:00Z\n" in word.text


def test_the_title_of_the_daily_word_counts_many_symbols_and_its_text_names_them(journal: Journal) -> None:
    held = {f"S{number}USDT": Decimal(number + 1) for number in range(40)}
    journal.set_baseline(wallet=Decimal(1), equity=Decimal(1), positions=held, last_trades={}, at=CLOSE)
    word = watch.digest(journal, "2024-01-02", CLOSE, 0)
    assert word.title == "trader is alive: ACTIVE, holds 40 symbols"
    assert "S39USDT +40" in word.text


def test_many_orders_of_one_close_that_come_to_nothing_are_one_alert(journal: Journal) -> None:
    mark = watch.begin(journal)
    late = CLOSE + timedelta(minutes=5)
    intents = [
        Intent(f"t{n}", CLOSE, f"S{n}USDT", "o", n, Decimal(7), reduce_only=False, intended_at=CLOSE, not_after=late)
        for n in range(9)
    ]
    decided(journal, CLOSE, *intents)
    for one in intents:
        journal.settle(one.client_id, None, Outcome.REJECTED, final=True, at=CLOSE, code=-2019, text="no margin")
    (alert,), _ = watch.news(journal, mark)
    assert alert.title == "9 orders were not filled at 2024-01-02 00:00Z"
    assert "S0USDT +7" in alert.text
    assert "and 3 more" in alert.text


def test_a_model_without_an_end_is_no_news(journal: Journal) -> None:
    journal.save_model("m", json.dumps({"name": "ada", "expires": None}), b"")
    decided(journal, CLOSE)
    assert watch.expiry(journal, datetime(2027, 2, 8, tzinfo=UTC)) is None


def test_a_first_close_that_never_began_is_overdue_too(journal: Journal) -> None:
    assert watch.overdue(journal, CLOSE + STEP) is None
    begun = CLOSE + timedelta(hours=1)
    journal.set_baseline(wallet=Decimal(1), equity=Decimal(1), positions={}, last_trades={}, at=begun)
    assert watch.overdue(journal, begun + timedelta(hours=1)) is None
    alert = watch.overdue(journal, CLOSE + STEP + timedelta(minutes=6))
    assert alert is not None
    assert alert.title == "The close 2024-01-02 16:00Z is not decided"
