"""Texts that decisions share: each kept once, told in order, and never told where they were damaged."""

from datetime import datetime, timedelta

import pytest
from sqlalchemy import text

from tests.unit.journal.steps import decide
from trader.errors import JournalError
from trader.journal.journal import Journal
from trader.journal.rows import Transcript

INTERVAL = timedelta(hours=16)


def told(journal: Journal, close: datetime) -> tuple[Transcript, list[str]]:
    transcript = journal.transcript(close)
    assert transcript is not None
    return transcript, journal.texts(transcript)


def test_a_text_that_two_decisions_share_is_kept_once(journal: Journal, close: datetime) -> None:
    decide(journal, close, [], blocks=["a", "b", "ü"])
    decide(journal, close + INTERVAL, [], blocks=["b", "ü", "d"])
    assert told(journal, close)[1] == ["a", "b", "ü"]
    transcript, texts = told(journal, close + INTERVAL)
    assert texts == ["b", "ü", "d"]
    assert transcript.blocks == ((2, 4),)
    assert len(journal._database.read(text("SELECT id FROM blocks"))) == 4


def test_texts_keep_their_order_however_they_lie(journal: Journal, close: datetime) -> None:
    decide(journal, close, [], blocks=["a", "b", "c"])
    decide(journal, close + INTERVAL, [], blocks=["c", "new", "a", "b", "b"])
    transcript, texts = told(journal, close + INTERVAL)
    assert texts == ["c", "new", "a", "b", "b"]
    assert transcript.blocks == ((3, 4), (1, 2), (2, 2))


def test_a_decision_without_texts_has_none(journal: Journal, close: datetime) -> None:
    decide(journal, close, [])
    assert told(journal, close)[1] == []


@pytest.mark.parametrize(
    "damage",
    [
        "DELETE FROM blocks WHERE id = 2",
        "UPDATE blocks SET data = (SELECT data FROM blocks WHERE id = 1) WHERE id = 2",
        "UPDATE blocks SET data = x'00' WHERE id = 2",
    ],
)
def test_a_text_that_is_missing_or_altered_is_not_told(journal: Journal, close: datetime, damage: str) -> None:
    decide(journal, close, [], blocks=["a", "b"])
    with journal._database.write() as connection:
        connection.execute(text(damage))
    transcript = journal.transcript(close)
    assert transcript is not None
    with pytest.raises(JournalError, match="blocks 1 to 2"):
        journal.texts(transcript)
