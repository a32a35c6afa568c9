"""What can be asked of a journal."""

import json
from collections.abc import Iterable
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, Self

from sqlalchemy import ColumnElement, Row, Select, Table, bindparam, func, select

from trader.domain.account import Income
from trader.domain.decision import State
from trader.domain.order import Fill
from trader.errors import JournalError
from trader.journal import migrate, schema
from trader.journal.database import Database, require_file
from trader.journal.rows import (
    OPERATOR,
    Baseline,
    Binding,
    ChangeRecord,
    DecisionRecord,
    EquityPoint,
    Held,
    Intent,
    OrderRecord,
    Outcome,
    Request,
    StateRecord,
    Status,
    StoredModel,
)
from trader.journal.stops import StopReader
from trader.journal.transcripts import Transcripts

_BEGINNING = datetime(1970, 1, 1, tzinfo=UTC)
_END = datetime(9999, 12, 31, tzinfo=UTC)


def _between(table: Table, column: ColumnElement[Any]) -> Select[Any]:
    """Select rows of a span of time, newest first, so that a limit keeps the newest."""
    since, until = bindparam("since", type_=schema.Moment), bindparam("until", type_=schema.Moment)
    return select(table).where(column >= since, column <= until).order_by(column.desc()).limit(bindparam("last"))


_INSTANCE = select(schema.instance)
_LAST_CLOSE = select(func.max(schema.decisions.c.close, type_=schema.Moment))
_DECISION = select(schema.decisions).where(schema.decisions.c.close == bindparam("close"))
_DECISIONS = _between(schema.decisions, schema.decisions.c.close)
_UNFINISHED = select(schema.decisions).where(schema.UNFINISHED).order_by(schema.decisions.c.close)
_ORDER = select(schema.orders).where(schema.orders.c.client_id == bindparam("client_id"))
_ORDERS = _between(schema.orders, schema.orders.c.close).order_by(schema.orders.c.seq.desc())
_OPEN = select(schema.orders).where(schema.OPEN).order_by(schema.orders.c.seq)
_FILLS = _between(schema.fills, schema.fills.c.time).order_by(
    schema.fills.c.symbol.desc(), func.length(schema.fills.c.trade_id).desc(), schema.fills.c.trade_id.desc()
)
_FILL = select(schema.fills.c.trade_id).where(
    schema.fills.c.symbol == bindparam("symbol"), schema.fills.c.trade_id == bindparam("trade_id")
)
_POSITION = select(schema.positions).where(schema.positions.c.symbol == bindparam("symbol"))
_POSITIONS = select(schema.positions).order_by(schema.positions.c.symbol)
_BASELINE = select(schema.baselines).order_by(schema.baselines.c.id.desc()).limit(1)
_INCOMES = _between(schema.incomes, schema.incomes.c.time).order_by(
    schema.incomes.c.id.desc(), schema.incomes.c.kind.desc()
)
_LAST_INCOME = select(func.max(schema.incomes.c.time, type_=schema.Moment))
_STATE = select(schema.states).order_by(schema.states.c.id.desc()).limit(1)
_FOUND = (
    select(schema.states)
    .where(
        schema.states.c.id > bindparam("seen"),
        schema.states.c.state != State.ACTIVE.value,
        schema.states.c.by != OPERATOR,
    )
    .limit(1)
)
_STATES = _between(schema.states, schema.states.c.at).order_by(schema.states.c.id.desc())
_CHANGES = _between(schema.changes, schema.changes.c.at).order_by(schema.changes.c.id.desc())
_PENDING = select(schema.requests).where(schema.PENDING).order_by(schema.requests.c.id)
_REQUEST = select(schema.requests).where(schema.requests.c.id == bindparam("id"))
_EQUITY = _between(schema.equity, schema.equity.c.close)
_MODEL = select(schema.models).where(schema.models.c.hash == bindparam("hash"))
_META = select(schema.meta.c.value).where(schema.meta.c.key == bindparam("key"))


class Reader(Transcripts, StopReader):
    """A journal, to be read; works beside a daemon that writes it.

    Lists are oldest first. Where a list takes `since`, `until` and `last`, both ends are included and the newest `last`
    rows are kept (default: all). Every method raises JournalError where the file cannot be read.
    """

    @classmethod
    def read(cls, path: Path) -> "Reader":
        """Open a journal for reading only; it is neither created nor upgraded.

        Raises:
            JournalError: there is none, it is damaged, or it has another schema.
        """
        require_file(path)
        database = Database(path, writable=False)
        try:
            migrate.require_head(database)
        except JournalError:
            database.close()
            raise
        return Reader(database)

    @property
    def path(self) -> Path:
        """Where it lies."""
        return self._database.path

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file; a second time does nothing."""
        self._database.close()

    def _list(self, statement: Select[Any], since: datetime | None, until: datetime | None, last: int | None) -> Any:
        rows = self._database.read(
            statement, {"since": since or _BEGINNING, "until": until or _END, "last": -1 if last is None else last}
        )
        return reversed(rows)

    def _one(self, statement: Select[Any], **parameters: object) -> Any:
        rows = self._database.read(statement, parameters)
        return rows[0] if rows else None

    def binding(self) -> Binding | None:
        """Return what the journal belongs to, None in one that no daemon has used yet."""
        row = self._one(_INSTANCE)
        return row and Binding(row.venue, row.account, row.tape, row.strategy, row.dry_run)

    def last_close(self) -> datetime | None:
        """Return the newest close ever claimed, whatever became of it."""
        found: datetime | None = self._one(_LAST_CLOSE)[0]
        return found

    def decision(self, close: datetime) -> DecisionRecord | None:
        """Return one close."""
        row = self._one(_DECISION, close=close)
        return row and _decision(row)

    def decisions(
        self, *, since: datetime | None = None, until: datetime | None = None, last: int | None = None
    ) -> list[DecisionRecord]:
        """Return closes."""
        return [_decision(row) for row in self._list(_DECISIONS, since, until, last)]

    def unfinished(self) -> list[DecisionRecord]:
        """Return closes that were claimed or decided and never finished: what a crash left behind."""
        return [_decision(row) for row in self._database.read(_UNFINISHED)]

    def order(self, client_id: str) -> OrderRecord | None:
        """Return one intended order."""
        row = self._one(_ORDER, client_id=client_id)
        return row and _order(row)

    def orders(
        self, *, since: datetime | None = None, until: datetime | None = None, last: int | None = None
    ) -> list[OrderRecord]:
        """Return intended orders by the close they belong to, in the order they were intended."""
        return [_order(row) for row in self._list(_ORDERS, since, until, last)]

    def open_intents(self) -> list[OrderRecord]:
        """Return orders whose end is not certain, oldest first: recovery settles each before anything else."""
        return [_order(row) for row in self._database.read(_OPEN)]

    def fills(
        self, *, since: datetime | None = None, until: datetime | None = None, last: int | None = None
    ) -> list[Fill]:
        """Return trades of the account."""
        return [_fill(row) for row in self._list(_FILLS, since, until, last)]

    def last_trade_id(self, symbol: str) -> str | None:
        """Return the newest trade whose effect is in `position`; the next ones are asked for from there."""
        row = self._one(_POSITION, symbol=symbol)
        return None if row is None or row.last_trade is None else str(row.last_trade)

    def earlier_trade_ids(self, symbol: str, back: int) -> list[str | None]:
        """Return from where trades may be asked for again: `back` before the newest, and the baseline (None: all)."""
        begun = self.baseline().last_trades.get(symbol)
        known = [one.trade_id for one in self.fills() if one.symbol == symbol]
        later = sorted((one for one in known if number(one) > number(begun or "")), key=number)
        return [later[-back - 1], begun] if len(later) > back else [begun]

    def unheard(self, symbol: str, fills: Iterable[Fill]) -> list[Fill]:
        """Keep the unknown trades of a symbol that are not in the baseline, which asked for none of what was flat."""
        new = [fill for fill in fills if not self.knows_trade(symbol, fill.trade_id)]
        begun = self.baseline()
        return new if symbol in begun.last_trades else [fill for fill in new if fill.time >= begun.at]

    def position(self, symbol: str) -> Decimal:
        """Return the signed quantity that baseline and fills come to."""
        row = self._one(_POSITION, symbol=symbol)
        return row.quantity if row else Decimal(0)

    def positions(self) -> dict[str, Decimal]:
        """Return every position that is not flat, by symbol."""
        return {row.symbol: row.quantity for row in self._database.read(_POSITIONS) if row.quantity}

    def held(self) -> dict[str, Held]:
        """Return every symbol that was ever held or traded, the flat ones too."""
        return {row.symbol: Held(row.quantity, row.cost, row.last_trade) for row in self._database.read(_POSITIONS)}

    def knows_trade(self, symbol: str, trade_id: str) -> bool:
        """Whether a trade is known, as a fill or as one before the baseline."""
        if self._one(_FILL, symbol=symbol, trade_id=trade_id) is not None:
            return True
        begun = self.baseline().last_trades.get(symbol)
        return begun is not None and number(trade_id) <= number(begun)

    def has_baseline(self) -> bool:
        """Whether the account has ever been taken as the beginning of the story."""
        return self._one(_BASELINE) is not None

    def baseline(self) -> Baseline:
        """Return the newest baseline.

        Raises:
            JournalError: there is none yet.
        """
        row = self._one(_BASELINE)
        if row is None:
            raise JournalError(f"The journal {self.path} has no baseline yet; start the daemon once with `trader run`.")
        return Baseline(
            at=row.at,
            wallet=row.wallet,
            equity=row.equity,
            positions=amounts(row.positions),
            last_trades=json.loads(row.last_trades),
        )

    def incomes(
        self, *, since: datetime | None = None, until: datetime | None = None, last: int | None = None
    ) -> list[Income]:
        """Return bookings on the wallet."""
        return [Income(*row) for row in self._list(_INCOMES, since, until, last)]

    def last_income_time(self) -> datetime | None:
        """Return the time of the newest booking known; others may share that very moment."""
        found: datetime | None = self._one(_LAST_INCOME)[0]
        return found

    def state(self) -> StateRecord:
        """Return what the daemon may do; a new journal is ACTIVE since its creation."""
        row = self._one(_STATE)
        if row:
            return _state(row)
        row = self._one(_INSTANCE)
        return StateRecord(State.ACTIVE, "the journal is new", "journal", row.created if row else _BEGINNING)

    def states(
        self, *, since: datetime | None = None, until: datetime | None = None, last: int | None = None
    ) -> list[StateRecord]:
        """Return every change of state."""
        return [_state(row) for row in self._list(_STATES, since, until, last)]

    def changes(
        self, *, since: datetime | None = None, until: datetime | None = None, last: int | None = None
    ) -> list[ChangeRecord]:
        """Return what starts and closes changed in the configuration."""
        return [ChangeRecord(row.at, row.by, row.diff) for row in self._list(_CHANGES, since, until, last)]

    def pending_requests(self) -> list[Request]:
        """Return what people asked for and the daemon has not done yet, oldest first."""
        return [_request(row) for row in self._database.read(_PENDING)]

    def asked(self, request: int) -> Request | None:
        """Return one request, to see whether it is done."""
        row = self._one(_REQUEST, id=request)
        return row and _request(row)

    def overtaken(self, request: Request) -> bool:
        """Whether the state was restricted, by whomever but a person, after a request was asked for."""
        return self._one(_FOUND, seen=request.seen) is not None

    def equity_points(
        self, *, since: datetime | None = None, until: datetime | None = None, last: int | None = None
    ) -> list[EquityPoint]:
        """Return money by close."""
        return [EquityPoint(*row) for row in self._list(_EQUITY, since, until, last)]

    def peak_equity(self) -> Decimal:
        """Return the highest equity at a close since the baseline or the last resume, zero before the first."""
        return Decimal(self.get(PEAK) or 0)

    def losses_since(self) -> datetime:
        """Return the newest close at the baseline or the last resume: losses are counted after it."""
        return schema.from_milliseconds(int(self.get(PEAK_AFTER) or 0))

    def load_model(self, model_hash: str) -> StoredModel | None:
        """Return a model that once decided."""
        row = self._one(_MODEL, hash=model_hash)
        return row and StoredModel(*row)

    def get(self, key: str) -> str | None:
        """Return a remembered value."""
        row = self._one(_META, key=key)
        return row and str(row[0])

    def paid_elsewhere(self) -> dict[str, Decimal]:
        """Return what trades have cost in other coins than USDT, which no booking of ours shows, by coin."""
        return amounts(self.get(PAID_ELSEWHERE) or "{}")

    def cooldown(self) -> datetime | None:
        """Return until when the exchange said last that it wants no request; it may have passed."""
        return datetime.fromisoformat(kept) if (kept := self.get(COOLDOWN)) else None


COOLDOWN = "cooldown"
CONFIGURATION = "configuration"
PAPER = "paper"
PAID_ELSEWHERE = "paid_elsewhere"
PEAK = "peak"
PEAK_AFTER = "peak_after"


def number(trade_id: str) -> tuple[int, str]:
    """Order trade ids as numbers: a longer one is larger."""
    return len(trade_id), trade_id


def amounts(text: str) -> dict[str, Decimal]:
    """Read a JSON object of decimal texts."""
    return {name: Decimal(amount) for name, amount in json.loads(text).items()}


def _decision(row: Row[Any]) -> DecisionRecord:
    positions = None if row.positions is None else amounts(row.positions)
    return DecisionRecord(
        close=row.close,
        status=Status(row.status),
        claimed_at=row.claimed_at,
        decided_at=row.decided_at,
        finished_at=row.finished_at,
        model_hash=row.model_hash,
        why=row.why,
        equity=row.equity,
        positions=positions,
    )


def _order(row: Row[Any]) -> OrderRecord:
    return OrderRecord(
        intent=Intent(
            client_id=row.client_id,
            close=row.close,
            symbol=row.symbol,
            leg=row.leg,
            attempt=row.attempt,
            quantity=row.quantity,
            reduce_only=row.reduce_only,
            intended_at=row.intended_at,
            not_after=row.not_after,
            price=row.price,
            limit=row.limit,
        ),
        sent_at=row.sent_at,
        sends=row.sends,
        status=row.status,
        exchange_id=row.exchange_id,
        filled=row.filled,
        average_price=row.average_price,
        outcome=None if row.outcome is None else Outcome(row.outcome),
        error_code=row.error_code,
        error_text=row.error_text,
        settled_at=row.settled_at,
        final=row.final,
        arrival=row.arrival,
    )


def _fill(row: Row[Any]) -> Fill:
    return Fill(
        trade_id=row.trade_id,
        exchange_id=row.exchange_id,
        symbol=row.symbol,
        quantity=row.quantity,
        price=row.price,
        fee=row.fee,
        realised=row.realised,
        time=row.time,
    )


def _request(row: Row[Any]) -> Request:
    return Request(row.id, row.kind, row.at, row.done_at, row.result, row.seen or 0)


def _state(row: Row[Any]) -> StateRecord:
    return StateRecord(State(row.state), row.why, row.by, row.at)
