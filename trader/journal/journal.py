"""The journal: what we thought and did, durable before we do it."""

import json
import zlib
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

from sqlalchemy import Connection

from trader.domain.decision import State
from trader.domain.order import Order
from trader.errors import JournalError, Mismatch
from trader.journal import migrate, schema, statements
from trader.journal.bookings import texts
from trader.journal.database import Database, create_file, require_file
from trader.journal.lock import Lock
from trader.journal.protection import Protection
from trader.journal.queries import CONFIGURATION, COOLDOWN, PAPER
from trader.journal.rows import INTENDED, OPERATOR, OWN_STATUS, STAGES, Binding, Intent, Outcome, StageRecord, Status
from trader.journal.transcripts import fingerprint

GUARD = "guard"
"""Who changed the state where a decision did."""


class Journal(Protection):
    """A journal, to be written; every method that writes is one transaction, synced to disk when it returns.

    Times are handed in, because the journal has no clock. Every method raises JournalError where the file cannot be
    written, and then nothing of that call is in it.
    """

    @classmethod
    def open(cls, path: Path, binding: Binding, *, create: bool, at: datetime) -> "Journal":
        """Open the journal as its one daemon, which must hold the lock (see `journal.lock`).

        Args:
            path: the file.
            binding: what it has to belong to.
            create: whether a new one may be made where there is none.
            at: now; the birthday of a new one.

        Raises:
            JournalError: missing, damaged, of a newer schema, or not writable.
            Mismatch: it belongs to something else.
        """
        if create:
            create_file(path)
        require_file(path)
        database = Database(path, writable=True)
        try:
            found = migrate.revision(database)
            if found is None and not create:
                raise JournalError(
                    f"The journal {path} is empty; start once with --adopt to begin one from what the account holds."
                )
            database.check(schema.VITAL if found == schema.HEAD else ())
            if found != schema.HEAD:
                migrate.upgrade(database)
            journal = cls(database)
            journal._bind(binding, create=create, at=at)
        except (JournalError, Mismatch):
            database.close()
            raise
        return journal

    @classmethod
    def attach(cls, path: Path) -> "Journal":
        """Open an existing journal beside its daemon, to leave a request; it is neither created nor upgraded."""
        require_file(path)
        database = Database(path, writable=True)
        try:
            migrate.require_head(database)
        except JournalError:
            database.close()
            raise
        return cls(database)

    def under(self, lock: Lock) -> None:
        """Write nothing from now on, and so send nothing, once somebody has taken the daemon's lock file away."""
        self._database.permit = lock.require

    def require_lock(self) -> None:
        """Refuse as a write would, before something is taken back of which nothing is written down first."""
        self._database.permit()

    def _bind(self, binding: Binding, *, create: bool, at: datetime) -> None:
        known = self.binding()
        if known == binding:
            return
        if known is not None:
            names = ("venue", "account", "tape", "strategy", "dry_run")
            differences = [
                f"{name} {getattr(known, name)!r} and not {getattr(binding, name)!r}"
                for name in names
                if getattr(known, name) != getattr(binding, name)
            ]
            raise Mismatch(
                f"The journal {self.path} belongs to {', '.join(differences)}; start with the settings it was made "
                "for, or point TRADER_DATA_DIR to another directory."
            )
        if not create:
            raise JournalError(
                f"The journal {self.path} has no owner yet; start once with --adopt to begin it from what the account "
                "holds."
            )
        with self._database.write() as connection:
            values = {name: getattr(binding, name) for name in Binding.__dataclass_fields__}
            connection.execute(statements.INSERT_INSTANCE, values | {"id": 1, "created": at})

    def claim(self, close: datetime, at: datetime) -> bool:
        """Take a close; False where it was taken before, which ends a second wake-up."""
        with self._database.write() as connection:
            return self._claim(connection, close, at)

    def _claim(self, connection: Connection, close: datetime, at: datetime) -> bool:
        values = {"close": close, "status": Status.CLAIMED.value, "claimed_at": at}
        return connection.execute(statements.CLAIM, values).rowcount == 1

    def record_decision(
        self,
        close: datetime,
        inputs: str,
        output: str,
        *,
        model_hash: str,
        why: str,
        intents: Sequence[Intent],
        at: datetime,
        peak: Decimal | None = None,
        state: State | None = None,
        blocks: Sequence[str] = (),
    ) -> None:
        """Keep a claimed close's whole decision, every order it intends and the state it leads to, or nothing of it.

        Args:
            close: a claimed close, not decided yet.
            inputs: everything it was decided on, JSON text.
            output: the decision, JSON text.
            model_hash: the model that made the forecast.
            why: the reason in words.
            intents: orders in the sequence they are to be sent.
            at: now.
            peak: the highest equity so far, as `peak_at` tells it; None leaves it.
            state: what the daemon may do from now on; None leaves it.
            blocks: texts that belong to `inputs`, in order; one that is known already is not kept again.
        """
        decided = {"at_close": close, "decided_at": at, "model_hash": model_hash, "why": why}
        transcript: dict[str, Any] = {"close": close, "inputs": _pack(inputs), "output": _pack(output)}
        with self._database.write() as connection:
            transcript["blocks"] = self._keep_blocks(connection, blocks)
            if connection.execute(statements.DECIDE, decided).rowcount != 1:
                raise self._refusal(f"the close {close:%Y-%m-%dT%H:%MZ} is not claimed, or already decided")
            connection.execute(statements.TRANSCRIBE, transcript)
            for intent in intents:
                self._intend(connection, intent)
            if peak is not None:
                self._settle_peak(connection, peak)
            if state is not None:
                self._change(connection, state, why, GUARD, at)

    def _keep_blocks(self, connection: Connection, texts: Sequence[str]) -> str | None:
        """Keep what is not known yet of some texts, and return where all of them lie."""
        if not texts:
            return None
        hashes = [fingerprint(text) for text in texts]
        rows = connection.execute(statements.KNOWN_BLOCKS, {"hashes": list(set(hashes))})
        known: dict[bytes, int] = {row.hash: row.id for row in rows}
        runs: list[list[int]] = []
        for digest, text in zip(hashes, texts, strict=True):
            if digest not in known:
                key = connection.execute(statements.BLOCK, {"hash": digest, "data": _pack(text)}).inserted_primary_key
                known[digest] = int(key[0]) if key else 0
            number = known[digest]
            if runs and runs[-1][1] + 1 == number:
                runs[-1][1] = number
            else:
                runs.append([number, number])
        return json.dumps(runs, separators=(",", ":"))

    def finish(
        self,
        close: datetime,
        *,
        wallet: Decimal,
        equity: Decimal,
        peak: Decimal,
        positions: Mapping[str, Decimal],
        at: datetime,
    ) -> None:
        """End a close whose orders are at their end, with the money and the positions after them."""
        values = {"at_close": close, "finished_at": at, "equity": equity, "positions": texts(positions)}
        with self._database.write() as connection:
            if connection.execute(statements.CLOSE, values).rowcount != 1:
                raise self._refusal(f"the close {close:%Y-%m-%dT%H:%MZ} is not claimed, or already finished")
            connection.execute(statements.EQUITY, {"close": close, "wallet": wallet, "equity": equity, "peak": peak})

    def miss(self, close: datetime, why: str, at: datetime) -> None:
        """Keep that a close was not decided because nobody was there in time; a decided or ended one stays as it is."""
        self.miss_all([close], why, at)

    def miss_all(self, closes: Iterable[datetime], why: str, at: datetime, *, halt: str | None = None) -> None:
        """Keep that closes were missed, and with `halt` (why) the halt that follows from it, together."""
        with self._database.write() as connection:
            for close in closes:
                self._claim(connection, close, at)
                self._give_up(connection, close, Status.MISSED, why, at)
            if halt is not None:
                self._change(connection, State.HALTED, halt, "missed closes", at)

    def fail(self, close: datetime, why: str, at: datetime) -> None:
        """Keep that a claimed close could not be decided.

        Raises:
            JournalError: it is not claimed, or it is decided: then its orders have to come to their end.
        """
        with self._database.write() as connection:
            if self._give_up(connection, close, Status.FAILED, why, at) != 1:
                raise self._refusal(f"the close {close:%Y-%m-%dT%H:%MZ} is not claimed, or already decided")

    def _give_up(self, connection: Connection, close: datetime, status: Status, why: str, at: datetime) -> int:
        values = {"at_close": close, "new_status": status.value, "finished_at": at, "reason": why}
        return connection.execute(statements.GIVE_UP, values).rowcount

    def intend(self, intent: Intent) -> None:
        """Keep one more order of a close; the same order a second time changes nothing."""
        with self._database.write() as connection:
            self._intend(connection, intent)

    def _intend(self, connection: Connection, intent: Intent) -> None:
        known = connection.execute(statements.INTENDED, {"client_id": intent.client_id}).one_or_none()
        if known is not None:
            if (known.close, known.symbol, known.quantity, known.reduce_only) != (
                intent.close,
                intent.symbol,
                intent.quantity,
                intent.reduce_only,
            ):
                raise self._refusal(f"the order {intent.client_id} is already another one")
            return
        values = {name: getattr(intent, name) for name in Intent.__dataclass_fields__}
        values |= {"sends": 0, "status": INTENDED, "filled": Decimal(0), "final": False}
        connection.execute(statements.INTEND, values)

    def mark_sent(self, client_id: str, at: datetime, arrival: Decimal | None = None) -> None:
        """Keep that an order is about to be posted, and at which mark price; nothing is posted before this returns.

        Raises:
            JournalError: no such intent, or its end is already certain.
        """
        with self._database.write() as connection:
            if connection.execute(statements.SEND, {"id": client_id, "sent_at": at, "arrival": arrival}).rowcount != 1:
                raise self._refusal(f"the order {client_id} is not intended, or its end is already certain")

    def settle(
        self,
        client_id: str,
        order: Order | None,
        outcome: Outcome,
        *,
        final: bool,
        at: datetime,
        code: int | None = None,
        text: str | None = None,
        follow: Intent | None = None,
    ) -> None:
        """Keep what is known of an order, and in the same breath the order that follows on it.

        Args:
            client_id: an intended order.
            order: the exchange's word, None where it has none; its word also corrects an end believed certain.
            outcome: what is known of the attempt.
            final: whether the order can never change again.
            at: now.
            code: the exchange's error number.
            text: the error in words, free of secrets.
            follow: one more order of the same close; the same one a second time changes nothing.
        """
        with self._database.write() as connection:
            known = connection.execute(statements.INTENDED, {"client_id": client_id}).one_or_none()
            if known is None:
                raise self._refusal(f"the order {client_id} was never intended")
            if known.final and order is None:
                raise self._refusal(f"the end of the order {client_id} is already certain ({known.status})")
            values: dict[str, Any] = {
                "id": client_id,
                "status": OWN_STATUS.get(outcome, known.status),
                "exchange_id": known.exchange_id,
                "filled": known.filled,
                "average_price": known.average_price,
                "outcome": outcome.value,
                "error_code": code,
                "error_text": text,
                "settled_at": at,
                "final": final,
            }
            if order is not None:
                values |= {
                    "status": order.status,
                    "exchange_id": order.exchange_id,
                    "filled": order.filled,
                    "average_price": order.average_price,
                }
            connection.execute(statements.SETTLE, values)
            if follow is not None:
                self._intend(connection, follow)

    def set_state(self, state: State, why: str, by: str, at: datetime) -> None:
        """Change what the daemon may do from now on."""
        with self._database.write() as connection:
            self._change(connection, state, why, by, at)

    def _change(self, connection: Connection, state: State, why: str, by: str, at: datetime) -> None:
        connection.execute(statements.STATE, {"state": state.value, "why": why, "by": by, "at": at})

    def obey(self, request: int, state: State, why: str, result: str, at: datetime) -> None:
        """Do what a person asked for: change the state and mark the request as done, together.

        Resuming counts drawdown and daily loss anew from the next close.
        """
        with self._database.write() as connection:
            self._change(connection, state, why, OPERATOR, at)
            if state is State.ACTIVE:
                self._set_peak(connection, Decimal(0))
            connection.execute(statements.COMPLETE, {"request": request, "result": result, "done_at": at})

    def request(self, kind: str, at: datetime) -> int:
        """Ask the daemon for something and return the request's number."""
        with self._database.write() as connection:
            key = connection.execute(statements.REQUEST, {"kind": kind, "at": at}).inserted_primary_key
            return int(key[0]) if key else 0

    def complete_request(self, request: int, result: str, at: datetime) -> None:
        """Keep what came of a request; a second time changes nothing."""
        with self._database.write() as connection:
            connection.execute(statements.COMPLETE, {"request": request, "result": result, "done_at": at})

    def save_model(self, model_hash: str, card: str, weights: bytes) -> None:
        """Keep a model under its hash, once."""
        with self._database.write() as connection:
            connection.execute(statements.MODEL, {"hash": model_hash, "card": card, "weights": weights})

    def rejudge(self, model_hash: str, card: str) -> None:
        """Keep what is said now of a rule without weights, in the place of what was said before."""
        with self._database.write() as connection:
            connection.execute(statements.REJUDGE, {"of": model_hash, "now": card})

    def configure(self, configuration: str, diff: str | None, by: str, at: datetime) -> None:
        """Keep what holds from now on (JSON text), and what that changed where it changed anything."""
        with self._database.write() as connection:
            connection.execute(statements.PUT, {"key": CONFIGURATION, "value": configuration})
            if diff is not None:
                connection.execute(statements.CHANGE, {"at": at, "by": by, "diff": diff})

    def put(self, key: str, value: str) -> None:
        """Remember a value."""
        with self._database.write() as connection:
            connection.execute(statements.PUT, {"key": key, "value": value})

    def keep_cooldown(self, until: datetime) -> None:
        """Remember until when the exchange wants no request, for whoever starts next."""
        self.put(COOLDOWN, until.isoformat())

    def load_paper(self) -> str | None:
        """Return the imagined book of a dry run (JSON text), None before its first order."""
        return self.get(PAPER)

    def enter_stage(self, stage: str, notional: Decimal | None, at: datetime) -> bool:
        """Keep how much the strategy is trusted with from now on; False where that holds already."""
        known = StageRecord.read(self.get(STAGES))
        if known and (known[-1].stage, known[-1].notional) == (stage, notional):
            return False
        self.put(STAGES, StageRecord.write([*known, StageRecord(stage, notional, at)]))
        return True

    def save_paper(self, snapshot: str) -> None:
        """Keep the imagined book of a dry run (JSON text)."""
        self.put(PAPER, snapshot)


def _pack(text: str) -> bytes:
    return zlib.compress(text.encode(), 1)
