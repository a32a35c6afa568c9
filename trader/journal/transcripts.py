"""What decisions were made from, and the texts they share."""

import hashlib
import json
import zlib
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Row, bindparam, select

from trader.journal import schema
from trader.journal.database import Database, damaged
from trader.journal.rows import Transcript

_BEGINNING = datetime(1970, 1, 1, tzinfo=UTC)
_END = datetime(9999, 12, 31, tzinfo=UTC)
_PAGE = 64

_TRANSCRIPT = select(schema.transcripts).where(schema.transcripts.c.close == bindparam("close"))
_TRANSCRIPTS = (
    select(schema.transcripts)
    .where(
        schema.transcripts.c.close >= bindparam("since", type_=schema.Moment),
        schema.transcripts.c.close <= bindparam("until", type_=schema.Moment),
    )
    .order_by(schema.transcripts.c.close)
    .limit(_PAGE)
)
_BLOCKS = (
    select(schema.blocks)
    .where(schema.blocks.c.id >= bindparam("first"), schema.blocks.c.id <= bindparam("last"))
    .order_by(schema.blocks.c.id)
)


class Transcripts:
    """The part of a journal that tells what decisions were made from."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def transcript(self, close: datetime) -> Transcript | None:
        """Return what one decision was made from, None where the close was never decided."""
        rows = self._database.read(_TRANSCRIPT, {"close": close})
        return self._transcript(rows[0]) if rows else None

    def transcripts(self, *, since: datetime | None = None, until: datetime | None = None) -> Iterator[Transcript]:
        """Yield what every decision was made from, oldest first, without holding all of them."""
        since, until = since or _BEGINNING, until or _END
        while rows := self._database.read(_TRANSCRIPTS, {"since": since, "until": until}):
            for row in rows:
                yield self._transcript(row)
            since = schema.from_milliseconds(schema.to_milliseconds(rows[-1].close) + 1)

    def _transcript(self, row: Row[Any]) -> Transcript:
        try:
            return Transcript(
                row.close,
                zlib.decompress(row.inputs).decode(),
                zlib.decompress(row.output).decode(),
                tuple((first, last) for first, last in json.loads(row.blocks or "[]")),
            )
        except (zlib.error, UnicodeDecodeError) as error:
            raise damaged(self._database.path, f"transcript of {row.close:%Y-%m-%dT%H:%MZ}: {error}") from error

    def texts(self, transcript: Transcript) -> list[str]:
        """Return the texts that a transcript shares with others, in order.

        Raises:
            JournalError: one of them is missing or damaged.
        """
        found: list[str] = []
        for first, last in transcript.blocks:
            rows = self._database.read(_BLOCKS, {"first": first, "last": last})
            try:
                texts = [zlib.decompress(row.data).decode() for row in rows]
            except (zlib.error, UnicodeDecodeError) as error:
                raise damaged(self._database.path, f"blocks {first} to {last}: {error}") from error
            whole = [fingerprint(text) for text in texts] == [row.hash for row in rows]
            if not whole or len(rows) != last - first + 1:
                raise damaged(self._database.path, f"blocks {first} to {last} of {transcript.close:%Y-%m-%dT%H:%MZ}")
            found += texts
        return found


def fingerprint(text: str) -> bytes:
    """Return the identity of a text."""
    return hashlib.sha256(text.encode()).digest()
