from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from tests.unit.journal.steps import SECOND, decide, finish
from trader.domain.decision import State
from trader.domain.order import Order, OrderRequest
from trader.errors import JournalError
from trader.journal.journal import Journal
from trader.journal.queries import Reader
from trader.journal.rows import (
    EquityPoint,
    Intent,
    Outcome,
    Status,
    StoredModel,
    Transcript,
)

Intents = Callable[..., Intent]
Orders = Callable[..., Order]


def test_a_second_claim_of_the_same_close_is_refused_and_the_first_stays(journal: Journal, close: datetime) -> None:
    assert journal.claim(close, close + SECOND)
    assert not journal.claim(close, close + 2 * SECOND)
    found = journal.decision(close)
    assert found is not None
    assert found.status is Status.CLAIMED
    assert found.claimed_at == close + SECOND
    assert journal.last_close() == close


def test_a_new_journal_knows_no_close_and_no_money(journal: Journal, close: datetime) -> None:
    assert journal.last_close() is None
    assert journal.decision(close) is None
    assert journal.transcript(close) is None
    assert journal.peak_equity() == 0
    assert journal.positions() == {}
    assert journal.position("ADAUSDT") == 0
    assert journal.last_trade_id("ADAUSDT") is None
    assert journal.last_income_time() is None
    assert journal.order("nobody") is None
    assert journal.load_model("none") is None
    assert journal.asked(1) is None
    assert journal.load_paper() is None
    assert journal.decisions() == journal.orders() == journal.fills() == journal.incomes() == []


def test_decision_transcript_and_intents_are_kept_whole(
    reopen: Callable[[], Journal], journal: Journal, close: datetime, intent: Intents
) -> None:
    intents = [intent("t1.c0", "-3"), intent("t1.o0", "12.50")]
    decide(journal, close, intents)
    with reopen() as journal:
        found = journal.decision(close)
        assert found is not None
        assert (found.status, found.model_hash, found.why) == (Status.DECIDED, "abc", "forecast up")
        assert found.decided_at == close + SECOND
        assert journal.transcript(close) == Transcript(close, '{"in": 1}', '{"out": "ü"}')
        assert [record.intent for record in journal.open_intents()] == intents
        assert [record.status for record in journal.orders()] == ["INTENDED", "INTENDED"]
        request = OrderRequest("t1.c0", "ADAUSDT", Decimal(-3), reduce_only=False)
        assert journal.orders()[0].intent.request == request
        assert str(journal.orders()[1].intent.quantity) == "12.50"


def test_a_decision_with_one_impossible_intent_leaves_nothing_behind(
    journal: Journal, close: datetime, intent: Intents
) -> None:
    journal.claim(close, close)
    twins = [intent("t1.o0", "1"), intent("t1.o0", "2")]
    with pytest.raises(JournalError, match=r"order t1\.o0 is already another one"):
        journal.record_decision(close, "{}", "{}", model_hash="", why="", intents=twins, at=close)
    found = journal.decision(close)
    assert found is not None
    assert found.status is Status.CLAIMED
    assert journal.orders() == []
    assert journal.transcript(close) is None


def test_a_close_is_decided_only_once_and_only_when_claimed(journal: Journal, close: datetime) -> None:
    with pytest.raises(JournalError, match="not claimed"):
        journal.record_decision(close, "{}", "{}", model_hash="", why="", intents=[], at=close)
    decide(journal, close, [])
    with pytest.raises(JournalError, match="already decided"):
        journal.record_decision(close, "{}", "{}", model_hash="", why="", intents=[], at=close)


def test_a_close_ends_once_with_what_is_held(journal: Journal, close: datetime) -> None:
    decide(journal, close, [])
    held = {"ADAUSDT": Decimal("-12.5"), "XRPUSDT": Decimal("1E+3")}
    finish(journal, close, equity="9999.12345678", peak="10000", positions=held)
    found = journal.decision(close)
    assert found is not None
    assert (found.status, found.equity, found.positions) == (Status.CLOSED, Decimal("9999.12345678"), held)
    assert found.why == "forecast up"
    assert journal.unfinished() == []
    assert journal.equity_points() == [EquityPoint(close, Decimal(1), Decimal("9999.12345678"), Decimal(10000))]
    with pytest.raises(JournalError, match="already finished"):
        finish(journal, close)


def test_a_close_nobody_took_is_not_ended(journal: Journal, close: datetime) -> None:
    with pytest.raises(JournalError, match="not claimed"):
        finish(journal, close)
    with pytest.raises(JournalError, match="not claimed"):
        journal.fail(close, "no candles", close)
    assert journal.equity_points() == []


def test_a_missed_close_keeps_its_reason(journal: Journal, close: datetime) -> None:
    journal.miss(close, "asleep for 3 h", close + SECOND)
    journal.miss(close, "said again", close + 2 * SECOND)
    found = journal.decision(close)
    assert found is not None
    assert (found.status, found.why, found.positions) == (Status.MISSED, "asleep for 3 h", None)
    assert found.finished_at == close + SECOND
    assert not journal.claim(close, close)


def test_a_failed_close_keeps_its_reason_and_a_decided_one_cannot_fail(journal: Journal, close: datetime) -> None:
    journal.claim(close, close)
    journal.fail(close, "the candle is missing", close + SECOND)
    found = journal.decision(close)
    assert found is not None
    assert (found.status, found.why) == (Status.FAILED, "the candle is missing")
    later = close + timedelta(hours=16)
    decide(journal, later, [])
    with pytest.raises(JournalError, match="already decided"):
        journal.fail(later, "no", later)
    journal.miss(later, "no", later)
    found = journal.decision(later)
    assert found is not None
    assert found.status is Status.DECIDED


def test_what_a_crash_left_behind_is_listed_oldest_first(journal: Journal, close: datetime) -> None:
    later = close + timedelta(hours=16)
    journal.claim(later, later)
    decide(journal, close, [])
    assert [found.close for found in journal.unfinished()] == [close, later]
    assert journal.last_close() == later


def test_lists_take_a_span_of_closes_and_keep_the_newest(journal: Journal, close: datetime) -> None:
    closes = [close + timedelta(hours=16 * n) for n in range(5)]
    for moment in reversed(closes):
        decide(journal, moment, [])
    assert [found.close for found in journal.decisions(last=2)] == closes[3:]
    assert [found.close for found in journal.decisions(since=closes[1], until=closes[3])] == closes[1:4]
    assert [found.close for found in journal.transcripts(since=closes[1], until=closes[3])] == closes[1:4]


def test_more_transcripts_than_a_page_come_in_order(journal: Journal, close: datetime) -> None:
    closes = [close + timedelta(hours=n) for n in range(130)]
    for moment in closes:
        decide(journal, moment, [])
    assert [found.close for found in journal.transcripts()] == closes


def test_an_order_is_marked_sent_before_it_leaves_and_each_send_is_counted(
    journal: Journal, close: datetime, intent: Intents
) -> None:
    journal.intend(intent())
    journal.mark_sent("t1.o0", close + SECOND)
    journal.mark_sent("t1.o0", close + 9 * SECOND)
    found = journal.order("t1.o0")
    assert found is not None
    assert (found.sends, found.sent_at) == (2, close + 9 * SECOND)


def test_an_order_whose_end_is_certain_is_never_sent_again(
    journal: Journal, close: datetime, intent: Intents, confirmed: Orders
) -> None:
    journal.intend(intent())
    journal.settle("t1.o0", confirmed(), Outcome.CONFIRMED, final=True, at=close)
    with pytest.raises(JournalError, match="already certain"):
        journal.mark_sent("t1.o0", close)
    with pytest.raises(JournalError, match="not intended"):
        journal.mark_sent("unheard", close)


def test_the_same_intent_twice_is_one_order(journal: Journal, intent: Intents) -> None:
    journal.intend(intent())
    journal.intend(intent())
    assert len(journal.orders()) == 1
    with pytest.raises(JournalError, match="already another one"):
        journal.intend(intent(quantity="13"))


def test_the_exchange_has_the_word_on_an_order(
    journal: Journal, close: datetime, intent: Intents, confirmed: Orders
) -> None:
    journal.intend(intent())
    journal.settle("t1.o0", None, Outcome.UNKNOWN, final=False, at=close, code=-1007, text="timeout")
    found = journal.order("t1.o0")
    assert found is not None
    assert (found.status, found.outcome, found.error_code, found.error_text, found.final) == (
        "INTENDED",
        Outcome.UNKNOWN,
        -1007,
        "timeout",
        False,
    )
    journal.settle("t1.o0", confirmed(), Outcome.CONFIRMED, final=True, at=close + SECOND)
    found = journal.order("t1.o0")
    assert found is not None
    assert (found.status, found.exchange_id, found.filled) == ("FILLED", "8886774", Decimal("12.5"))
    assert (found.average_price, found.outcome, found.error_code) == (Decimal("0.6123"), Outcome.CONFIRMED, None)
    assert found.settled_at == close + SECOND
    assert journal.open_intents() == []


@pytest.mark.parametrize(
    ("outcome", "status"),
    [
        (Outcome.REJECTED, "REJECTED"),
        (Outcome.DENIED, "DENIED"),
        (Outcome.ABSENT, "ABSENT"),
        (Outcome.EXPIRED, "EXPIRED_UNSENT"),
        (Outcome.NOT_SENT, "INTENDED"),
    ],
)
def test_without_the_exchange_an_order_has_our_own_word(
    journal: Journal, close: datetime, intent: Intents, outcome: Outcome, status: str
) -> None:
    journal.intend(intent())
    journal.settle("t1.o0", None, outcome, final=True, at=close)
    found = journal.order("t1.o0")
    assert found is not None
    assert found.status == status


def test_a_certain_end_is_corrected_by_the_exchange_only(
    journal: Journal, close: datetime, intent: Intents, confirmed: Orders
) -> None:
    journal.intend(intent())
    journal.settle("t1.o0", None, Outcome.ABSENT, final=True, at=close)
    with pytest.raises(JournalError, match=r"already certain \(ABSENT\)"):
        journal.settle("t1.o0", None, Outcome.UNKNOWN, final=False, at=close)
    journal.settle("t1.o0", confirmed(), Outcome.CONFIRMED, final=True, at=close)
    found = journal.order("t1.o0")
    assert found is not None
    assert found.filled == Decimal("12.5")
    with pytest.raises(JournalError, match="never intended"):
        journal.settle("unheard", None, Outcome.ABSENT, final=True, at=close)


def test_a_state_survives_a_restart_with_its_reason(
    reopen: Callable[[], Journal], journal: Journal, close: datetime
) -> None:
    assert (journal.state().state, journal.state().at) == (State.ACTIVE, close)
    journal.set_state(State.HALTED, "drawdown of 0.31", "guard", close)
    journal.set_state(State.REDUCING, "resumed carefully", "cli", close + SECOND)
    with reopen() as journal:
        found = journal.state()
        assert (found.state, found.why, found.by) == (State.REDUCING, "resumed carefully", "cli")
        assert found.at == close + SECOND
        assert [record.state for record in journal.states()] == [State.HALTED, State.REDUCING]


def test_a_request_left_by_another_process_is_seen_and_answered(journal: Journal, close: datetime) -> None:
    """Fault 81."""
    with Journal.attach(journal.path) as command:
        number = command.request("halt", close)
        assert [(found.id, found.kind) for found in journal.pending_requests()] == [(number, "halt")]
        journal.complete_request(number, "halted", close + SECOND)
        journal.complete_request(number, "again", close + 2 * SECOND)
        found = command.asked(number)
        assert found is not None
        assert (found.result, found.done_at) == ("halted", close + SECOND)
    assert journal.pending_requests() == []


def test_models_and_values_are_remembered(reopen: Callable[[], Journal], journal: Journal) -> None:
    journal.save_model("abc", "{}", b"\x00weights")
    journal.save_model("abc", "other", b"other")
    journal.save_model("rule", "unjudged", b"")
    journal.rejudge("rule", "judged")
    journal.put("adopted", "no")
    journal.put("adopted", "yes")
    journal.save_paper('{"wallet": "1"}')
    with reopen() as journal:
        assert journal.load_model("abc") == StoredModel("abc", "{}", b"\x00weights")
        assert journal.load_model("rule") == StoredModel("rule", "judged", b"")
        assert journal.get("adopted") == "yes"
        assert journal.load_paper() == '{"wallet": "1"}'


def test_a_reader_works_beside_the_daemon_and_cannot_write(journal: Journal, close: datetime) -> None:
    journal.claim(close, close)
    with Journal.read(journal.path) as reader:
        assert type(reader) is Reader
        assert reader.last_close() == close
        later = close + timedelta(hours=16)
        journal.claim(later, later)
        assert reader.last_close() == later
        assert reader.binding() == journal.binding()


def test_times_are_kept_to_the_millisecond(journal: Journal) -> None:
    moment = datetime(2024, 1, 1, 16, 0, 0, 123_000, tzinfo=UTC)
    journal.claim(moment, moment)
    assert journal.last_close() == moment


@pytest.mark.fault(1, 81)
def test_a_decision_its_orders_and_the_halt_it_leads_to_are_one(journal: Journal, close: datetime) -> None:
    one = Intent("t.1", close, "ADAUSDT", "c", 0, Decimal(-1), True, close, close, Decimal("0.6"))
    other = Intent("t.1", close, "ADAUSDT", "c", 0, Decimal(-2), True, close, close)
    with pytest.raises(JournalError, match="already another one"):
        decide(journal, close, [one, other], state=State.HALTED, peak=Decimal(9))
    assert (journal.state().state, journal.open_intents(), journal.peak_equity()) == (State.ACTIVE, [], 0)
    journal.record_decision(
        close, "{}", "{}", model_hash="", why="drawdown", intents=[one], at=close, state=State.HALTED, peak=Decimal(9)
    )
    state = journal.state()
    assert (state.state, state.why, state.by) == (State.HALTED, "drawdown", "guard")
    assert [order.intent for order in journal.open_intents()] == [one]
    assert journal.peak_equity() == 9


@pytest.mark.fault(82)
def test_missed_closes_and_the_halt_they_lead_to_are_one(journal: Journal, close: datetime) -> None:
    closes = [close + n * timedelta(hours=16) for n in range(3)]
    journal.claim(closes[1], close)
    journal.miss_all(closes, "asleep", close, halt="asleep for too long")
    assert [record.status for record in journal.decisions()] == [Status.MISSED] * 3
    assert (journal.state().state, journal.state().why) == (State.HALTED, "asleep for too long")
    journal.set_state(State.ACTIVE, "resumed", "operator", close)
    journal.miss_all(closes, "again", close)
    assert journal.state().state is State.ACTIVE
    assert {record.why for record in journal.decisions()} == {"asleep"}


def test_an_orders_end_and_the_order_that_follows_on_it_are_kept_together_and_once(
    journal: Journal, close: datetime, intent: Intents, confirmed: Orders
) -> None:
    decide(journal, close, [intent("t1.o0")])
    partly, rest = confirmed(status="EXPIRED", filled="4"), intent("t1.o1", "8.5")
    for _ in range(2):
        journal.settle("t1.o0", partly, Outcome.CONFIRMED, final=True, at=close + SECOND, follow=rest)
    assert [record.intent for record in journal.open_intents()] == [rest]
    another = intent("t1.o1", "9")
    with pytest.raises(JournalError, match=r"order t1\.o1 is already another one"):
        journal.settle("t1.o0", confirmed(), Outcome.CONFIRMED, final=True, at=close, follow=another)
    found = journal.order("t1.o0")
    assert found is not None
    assert (found.status, found.filled) == ("EXPIRED", Decimal(4))
