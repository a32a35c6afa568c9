"""The journal: what we thought and did, durable before we do it."""

import json
import zlib
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

from sqlalchemy import Connection

from trader.domain.account import Income
from trader.domain.decision import State
from trader.domain.order import Fill, Order
from trader.errors import JournalError, Mismatch
from trader.journal import migrate, schema, statements
from trader.journal.database import Database, create_file
from trader.journal.queries import PAPER, PEAK, Reader, require_file
from trader.journal.rows import INTENDED, OWN_STATUS, Binding, Intent, Outcome, Status

_BEFORE = "trades_before_baseline"
_PEAK_AFTER = "peak_after"


class Journal(Reader):
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
    ) -> None:
        """Keep a claimed close's whole decision and every order it intends, together or not at all.

        Args:
            close: a claimed close, not decided yet.
            inputs: everything it was decided on, JSON text.
            output: the decision, JSON text.
            model_hash: the model that made the forecast.
            why: the reason in words.
            intents: orders in the sequence they are to be sent.
            at: now.
        """
        decided = {"at_close": close, "decided_at": at, "model_hash": model_hash, "why": why}
        transcript = {"close": close, "inputs": _pack(inputs), "output": _pack(output)}
        with self._database.write() as connection:
            if connection.execute(statements.DECIDE, decided).rowcount != 1:
                raise self._refusal(f"the close {close:%Y-%m-%dT%H:%MZ} is not claimed, or already decided")
            connection.execute(statements.TRANSCRIBE, transcript)
            for intent in intents:
                self._intend(connection, intent)

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
        """End a close whose orders are at their end, with the money and the positions after them.

        `peak` becomes the peak equity, unless the peak was reset after this close had been claimed.
        """
        values = {"at_close": close, "finished_at": at, "equity": equity, "positions": _texts(positions)}
        with self._database.write() as connection:
            if connection.execute(statements.CLOSE, values).rowcount != 1:
                raise self._refusal(f"the close {close:%Y-%m-%dT%H:%MZ} is not claimed, or already finished")
            connection.execute(statements.EQUITY, {"close": close, "wallet": wallet, "equity": equity, "peak": peak})
            if schema.to_milliseconds(close) > int(self.get(_PEAK_AFTER) or 0):
                connection.execute(statements.PUT, {"key": PEAK, "value": format(peak, "f")})

    def miss(self, close: datetime, why: str, at: datetime) -> None:
        """Keep that a close was not decided because nobody was there in time; a decided or ended one stays as it is."""
        with self._database.write() as connection:
            self._claim(connection, close, at)
            self._give_up(connection, close, Status.MISSED, why, at)

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

    def mark_sent(self, client_id: str, at: datetime) -> None:
        """Keep that an order is about to be posted; nothing is posted before this returns.

        Raises:
            JournalError: no such intent, or its end is already certain.
        """
        with self._database.write() as connection:
            if connection.execute(statements.SEND, {"id": client_id, "sent_at": at}).rowcount != 1:
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
    ) -> None:
        """Keep what is known of an order.

        Args:
            client_id: an intended order.
            order: the exchange's word, None where it has none; its word also corrects an end believed certain.
            outcome: what is known of the attempt.
            final: whether the order can never change again.
            at: now.
            code: the exchange's error number.
            text: the error in words, free of secrets.
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

    def record_fills(self, fills: Iterable[Fill]) -> int:
        """Keep trades, move positions by them, and return how many were new; one told twice counts once."""
        new = 0
        with self._database.write() as connection:
            for fill in fills:
                values = {name: getattr(fill, name) for name in Fill.__slots__}
                if connection.execute(statements.FILL, values).rowcount == 1:
                    new += 1
                    self._move(connection, fill)
        return new

    def _move(self, connection: Connection, fill: Fill) -> None:
        """Add a new fill to its position; one older than the baseline is in it already."""
        row = connection.execute(statements.POSITION, {"symbol": fill.symbol}).one_or_none()
        held, last = (row.quantity, row.last_trade) if row else (Decimal(0), None)
        begin = json.loads(self.get(_BEFORE) or "{}").get(fill.symbol)
        if begin is not None and _number(fill.trade_id) <= _number(begin):
            return
        newest = fill.trade_id if last is None else max(last, fill.trade_id, key=_number)
        connection.execute(
            statements.HOLD, {"symbol": fill.symbol, "quantity": held + fill.quantity, "last_trade": newest}
        )

    def record_incomes(self, incomes: Iterable[Income]) -> int:
        """Keep bookings and return how many were new; the same id and kind counts once."""
        rows = [{name: getattr(income, name) for name in Income.__slots__} for income in incomes]
        if not rows:
            return 0
        with self._database.write() as connection:
            return sum(connection.execute(statements.INCOME, row).rowcount for row in rows)

    def set_baseline(
        self,
        *,
        wallet: Decimal,
        equity: Decimal,
        positions: Mapping[str, Decimal],
        last_trades: Mapping[str, str],
        at: datetime,
    ) -> None:
        """Take the account as it is for the beginning of the story; what came before no longer moves positions.

        Args:
            wallet: realised money in USDT.
            equity: marked money in USDT; the peak begins here.
            positions: signed quantities held, by symbol.
            last_trades: the newest trade id of each symbol that has one; its effect is in `positions`.
            at: venue time of all this.
        """
        begun = json.dumps(dict(last_trades), sort_keys=True)
        baseline = {"at": at, "wallet": wallet, "equity": equity}
        with self._database.write() as connection:
            connection.execute(statements.BASELINE, baseline | {"positions": _texts(positions), "last_trades": begun})
            connection.execute(statements.FORGET)
            for symbol in sorted({*positions, *last_trades}):
                held = positions.get(symbol, Decimal(0))
                connection.execute(
                    statements.HOLD, {"symbol": symbol, "quantity": held, "last_trade": last_trades.get(symbol)}
                )
            connection.execute(statements.PUT, {"key": _BEFORE, "value": begun})
            self._set_peak(connection, equity)

    def reset_peak(self) -> None:
        """Forget the peak equity, so that the next close begins a new one."""
        with self._database.write() as connection:
            self._set_peak(connection, Decimal(0))

    def _set_peak(self, connection: Connection, peak: Decimal) -> None:
        newest = self.last_close()
        after = "0" if newest is None else str(schema.to_milliseconds(newest))
        connection.execute(statements.PUT, {"key": PEAK, "value": format(peak, "f")})
        connection.execute(statements.PUT, {"key": _PEAK_AFTER, "value": after})

    def set_state(self, state: State, why: str, by: str, at: datetime) -> None:
        """Change what the daemon may do from now on."""
        with self._database.write() as connection:
            connection.execute(statements.STATE, {"state": state.value, "why": why, "by": by, "at": at})

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

    def put(self, key: str, value: str) -> None:
        """Remember a value."""
        with self._database.write() as connection:
            connection.execute(statements.PUT, {"key": key, "value": value})

    def save_paper(self, snapshot: str) -> None:
        """Keep the imagined book of a dry run (JSON text)."""
        self.put(PAPER, snapshot)

    def _refusal(self, why: str) -> JournalError:
        return JournalError(f"The journal {self.path} refuses the entry: {why}; stop the daemon and report this.")


def _pack(text: str) -> bytes:
    return zlib.compress(text.encode(), 1)


def _texts(amounts: Mapping[str, Decimal]) -> str:
    return json.dumps({name: format(amounts[name], "f") for name in sorted(amounts)})


def _number(trade_id: str) -> tuple[int, str]:
    """Order trade ids as numbers: a longer one is larger."""
    return len(trade_id), trade_id
