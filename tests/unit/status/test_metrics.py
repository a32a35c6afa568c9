"""What a collector reads."""

import re
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.unit.status.conftest import FIRST, INTERVAL
from trader.config import names
from trader.domain.stop import Stop, StopRequest
from trader.journal.journal import Journal
from trader.journal.rows import Intent, Outcome, StopIntent
from trader.metrics import Metrics
from trader.status.board import Facts
from trader.status.sight import Sight

STOP = StopRequest("t1.s0", "ADAUSDT", Decimal(-100), Decimal("0.504"))
Labels = dict[str, str]


@pytest.fixture
def metrics() -> Metrics:
    return Metrics(lambda: {"version": "0.1.0", "verdict": "NO-GO"}, FIRST - timedelta(seconds=1))


@pytest.fixture
def read(metrics: Metrics, sight: Sight, facts: Facts) -> Callable[..., float]:
    def value(name: str, **labels: str) -> float:
        text = metrics.exposition(sight.journal, facts, lag=timedelta(seconds=7), silent=0.5).decode()
        (found,) = [
            sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
            if sample.name == name and labels.items() <= sample.labels.items()
        ]
        return float(found)

    return value


def test_an_empty_journal_has_metrics_too(read: Callable[..., float]) -> None:
    assert read("trader_closes_total", status="closed") == 0
    assert read("trader_info", verdict="NO-GO") == 1
    assert read("trader_state", state="ACTIVE") == 1
    assert read("process_resident_memory_bytes") > 0


def test_money_position_and_counts_are_those_of_the_journal(
    read: Callable[..., float], close_one: Callable[..., None], journal: Journal
) -> None:
    close_one(0, equity="10100", quantity="100")
    journal.miss_all([FIRST + INTERVAL.delta], "asleep", FIRST)
    assert read("trader_closes_total", status="closed") == 1
    assert read("trader_closes_total", status="missed") == 1
    assert read("trader_orders_total", outcome="confirmed") == 1
    assert read("trader_order_posts_total") == 1
    assert read("trader_equity_usdt") == 10100
    assert read("trader_slippage_usdt") == pytest.approx(1.0)
    assert read("trader_fees_usdt") == 0.5
    assert read("trader_position", symbol="ADAUSDT") == 100
    assert read("trader_last_close_timestamp_seconds") == FIRST.timestamp()


def rests(journal: Journal) -> None:
    journal.intend_stop(StopIntent(FIRST, 0, STOP, Decimal("0.63"), Decimal("0.2"), FIRST))
    journal.stands(Stop("t1.s0", "7", "ADAUSDT", Decimal("0.504"), "NEW", None, FIRST))


def test_a_stop_is_told_from_when_it_rests_until_it_is_gone(read: Callable[..., float], journal: Journal) -> None:
    journal.intend_stop(StopIntent(FIRST, 0, STOP, Decimal("0.63"), Decimal("0.2"), FIRST))
    with pytest.raises(ValueError, match="not enough values"):
        read("trader_protective_stop", symbol="ADAUSDT")
    rests(journal)
    assert read("trader_protective_stop", symbol="ADAUSDT") == 0.504
    journal.end_stop("t1.s0", "EXPIRED", "the position is gone", FIRST)
    with pytest.raises(ValueError, match="not enough values"):
        read("trader_protective_stop", symbol="ADAUSDT")


def test_what_the_loop_tells_is_told(read: Callable[..., float]) -> None:
    assert read("trader_ready") == 1
    assert read("trader_exchange_out_since_timestamp_seconds") == 0
    assert read("trader_clock_offset_seconds") == -0.012
    assert read("trader_clock_error_seconds") == 0.003
    assert read("trader_weight_used", window="weight-1m") == 40
    assert read("trader_weight_limit", window="weight-1m") == 2400
    assert read("trader_journal_lag_seconds") == 7
    assert read("trader_loop_silent_seconds") == 0.5


def test_since_when_a_start_waits_for_the_exchange_is_told(metrics: Metrics, sight: Sight, facts: Facts) -> None:
    waits = replace(facts, ready=False, out_since=FIRST)
    text = metrics.exposition(sight.journal, waits, lag=timedelta(0), silent=0.5).decode()
    told = [line for line in text.splitlines() if line.startswith("trader_exchange_out_since_timestamp_seconds ")]
    assert [float(line.split()[1]) for line in told] == [FIRST.timestamp()]


def test_every_step_of_a_close_is_observed_once_and_only_when_it_has_ended(
    read: Callable[..., float], close_one: Callable[..., None], journal: Journal
) -> None:
    close_one(0)
    assert journal.claim(FIRST + INTERVAL.delta, FIRST + INTERVAL.delta)
    for _ in range(2):
        assert read("trader_close_step_seconds_count", step="whole") == 1
        assert read("trader_close_step_seconds_sum", step="wake") == 2
        assert read("trader_close_step_seconds_sum", step="decide") == 1
        assert read("trader_close_step_seconds_sum", step="orders") == 2
        assert read("trader_order_step_seconds_sum", step="send") == 3
        assert read("trader_order_step_seconds_sum", step="settle") == 1


def test_closes_before_this_start_are_not_observed_again(
    sight: Sight, facts: Facts, close_one: Callable[..., None]
) -> None:
    close_one(0)
    late = Metrics(dict, FIRST)
    text = late.exposition(sight.journal, facts, lag=timedelta(0), silent=0).decode()
    assert 'trader_close_step_seconds_count{step="whole"}' not in text


def test_every_metric_that_the_operators_page_names_is_there(
    root: Path, metrics: Metrics, sight: Sight, facts: Facts, journal: Journal, close_one: Callable[..., None]
) -> None:
    close_one(0)
    rests(journal)
    text = metrics.exposition(sight.journal, facts, lag=timedelta(0), silent=0).decode()
    words = set(re.findall(r"`(trader_[a-z_]+)(?=[`{])", (root / "docs/operations.md").read_text()))
    # the same page names files of secrets, which are called like settings
    named = {word for word in words if word.upper() not in names()}
    assert len(named) > 12
    assert {name for name in named if not re.search(rf"^{name}(_count)?[{{ ]", text, re.MULTILINE)} == set()


def test_an_order_under_way_is_a_gauge_because_no_counter_may_fall(
    read: Callable[..., float], journal: Journal, metrics: Metrics, sight: Sight, facts: Facts
) -> None:
    late = FIRST + timedelta(minutes=5)
    intent = Intent("t0", FIRST, "ADAUSDT", "o", 0, Decimal(7), reduce_only=False, intended_at=FIRST, not_after=late)
    assert journal.claim(FIRST, FIRST)
    journal.record_decision(FIRST, "{}", "{}", model_hash="abc", why="up", intents=[intent], at=FIRST)
    assert read("trader_orders_open") == 1
    text = metrics.exposition(sight.journal, facts, lag=timedelta(0), silent=0).decode()
    counted = {
        sample.labels["outcome"]: sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name == "trader_orders_total"
    }
    assert set(counted) == {one.value for one in Outcome}
    assert set(counted.values()) == {0}
    journal.settle("t0", None, Outcome.REJECTED, final=True, at=FIRST, code=-2019, text="no margin")
    assert (read("trader_orders_open"), read("trader_orders_total", outcome="rejected")) == (0, 1)


def test_what_runs_is_told_as_it_is_now(sight: Sight, facts: Facts) -> None:
    verdict = ["GO"]
    metrics = Metrics(lambda: {"verdict": verdict[0]}, FIRST)
    verdict[0] = "NO-GO"
    text = metrics.exposition(sight.journal, facts, lag=timedelta(0), silent=0).decode()
    assert 'trader_info{verdict="NO-GO"} 1.0' in text
