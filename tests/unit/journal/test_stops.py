"""What the journal remembers of protective stops."""

from dataclasses import replace
from datetime import datetime
from decimal import Decimal

import pytest

from tests.unit.journal.steps import SECOND, begin, fill
from trader.domain.order import Order
from trader.domain.stop import Stop, StopRequest
from trader.errors import JournalError
from trader.journal.journal import Journal
from trader.journal.rows import Outcome, StopIntent

REQUEST = StopRequest("t1.a.ADAUSDT.s0", "ADAUSDT", Decimal(-1), Decimal("0.5"))

ENTRY, FRACTION = Decimal("0.625"), Decimal("0.2")


def intent(close: datetime, turn: int = 0) -> StopIntent:
    return StopIntent(close, turn, replace(REQUEST, client_id=f"t1.a.ADAUSDT.s{turn}"), ENTRY, FRACTION, close + SECOND)


def told(close: datetime, status: str = "NEW", order: str | None = None) -> Stop:
    return Stop(REQUEST.client_id, "9", REQUEST.symbol, REQUEST.trigger, status, order, close)


def test_a_stop_is_durable_before_it_is_posted_and_stands_until_its_end_is_certain(
    journal: Journal, close: datetime
) -> None:
    journal.intend_stop(intent(close))
    journal.intend_stop(intent(close))
    (record,) = journal.standing_stops()
    assert record.intent == intent(close)
    assert (record.client_id, record.symbol) == (REQUEST.client_id, "ADAUSDT")
    assert (record.sent_at, record.sends, record.status, record.final) == (None, 0, "INTENDED", False)
    journal.mark_stop_sent(REQUEST.client_id, close + SECOND)
    journal.mark_stop_sent(REQUEST.client_id, close + 2 * SECOND)
    journal.stands(told(close))
    (record,) = journal.standing_stops()
    assert (record.sent_at, record.sends) == (close + 2 * SECOND, 2)
    assert (record.status, record.exchange_id, record.final) == ("NEW", "9", False)
    journal.end_stop(REQUEST.client_id, "CANCELED", "the position is closed", close + 3 * SECOND)
    assert journal.standing_stops() == []
    ended = journal.stop(REQUEST.client_id)
    assert ended is not None
    assert (ended.status, ended.why, ended.exchange_id) == ("CANCELED", "the position is closed", "9")
    assert ended.ended_at == close + 3 * SECOND


def test_a_certain_end_is_never_told_otherwise(journal: Journal, close: datetime) -> None:
    journal.intend_stop(intent(close))
    journal.end_stop(REQUEST.client_id, "ABSENT", "never sent", close)
    journal.end_stop(REQUEST.client_id, "CANCELED", "later", close)
    journal.stands(told(close))
    ended = journal.stop(REQUEST.client_id)
    assert ended is not None
    assert (ended.status, ended.why, ended.final) == ("ABSENT", "never sent", True)
    with pytest.raises(JournalError, match="already certain"):
        journal.mark_stop_sent(REQUEST.client_id, close)
    with pytest.raises(JournalError, match="not intended"):
        journal.mark_stop_sent("nobody's", close)


def test_stops_are_counted_by_close_and_symbol_and_listed_newest_last(journal: Journal, close: datetime) -> None:
    assert journal.stop("nobody's") is None
    for turn in range(3):
        journal.intend_stop(intent(close, turn))
    assert journal.stops_of(close, "ADAUSDT") == 3
    assert journal.stops_of(close, "BTCUSDT") == journal.stops_of(close + SECOND, "ADAUSDT") == 0
    assert [one.intent.attempt for one in journal.stops()] == [0, 1, 2]
    assert [one.intent.attempt for one in journal.stops(last=2)] == [1, 2]


def test_what_a_stop_closed_is_kept_with_its_order_and_ends_it_in_one_step(journal: Journal, close: datetime) -> None:
    begin(journal, close, {"ADAUSDT": Decimal(1)}, {"ADAUSDT": "3"})
    journal.intend_stop(intent(close))
    journal.stands(told(close))
    (record,) = journal.standing_stops()
    sold = replace(fill("4", close, "-1"), exchange_id="77")
    order = Order(REQUEST.client_id, "77", "ADAUSDT", Decimal(-1), Decimal(-1), Decimal("0.49"), "FILLED", True, close)
    for _ in range(2):
        journal.record_stopped([sold], [(record, order)], close + SECOND)
    assert journal.position("ADAUSDT") == 0
    assert journal.standing_stops() == journal.open_intents() == []
    ended, kept = journal.stop(REQUEST.client_id), journal.order(REQUEST.client_id)
    assert ended is not None
    assert (ended.status, ended.order_id, ended.why) == ("FINISHED", "77", "triggered")
    assert kept is not None
    assert (kept.intent.leg, kept.intent.reduce_only, kept.sends, kept.outcome) == ("s", True, 0, Outcome.CONFIRMED)
    assert (kept.filled, kept.average_price, kept.exchange_id) == (Decimal(-1), Decimal("0.49"), "77")
    assert kept.error_text == "the protective stop at 0.5 was triggered"
    assert [one.trade_id for one in journal.fills()] == ["4"]
