"""What the journal is asked to remember, and how it tells it."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from enum import StrEnum

from trader.domain.decision import State
from trader.domain.order import OrderRequest
from trader.domain.stop import StopRequest


class Status(StrEnum):
    """How far a close has come."""

    CLAIMED = "claimed"
    """Taken, nothing decided yet: after a crash it may be decided again."""
    DECIDED = "decided"
    """The decision and its orders are durable: after a crash only its orders are settled."""
    CLOSED = "closed"
    MISSED = "missed"
    FAILED = "failed"


class Outcome(StrEnum):
    """What is known of one attempt to send an order."""

    CONFIRMED = "confirmed"
    """The exchange told the order's state."""
    REJECTED = "rejected"
    """The exchange refused it for good."""
    DENIED = "denied"
    """This side refused it before anything was sent."""
    NOT_SENT = "not_sent"
    """The request surely had no effect; it may be sent again."""
    UNKNOWN = "unknown"
    """It may or may not have had its effect."""
    ABSENT = "absent"
    """Proven not to exist on the exchange."""
    EXPIRED = "expired"
    """Never sent, and too old to be sent now."""


_moment = datetime.fromisoformat

STAGES = "stages"
"""Under which key a journal remembers its stages."""

INTENDED = "INTENDED"
"""An order's status until the exchange, or this side, says another word."""

OPERATOR = "operator"
"""Who changed a state that a person asked for."""

MISSING_STOP = "missing stop"
"""By whose word the daemon only reduces until every stop is in its place again."""

OWN_STATUS = {
    Outcome.REJECTED: "REJECTED",
    Outcome.DENIED: "DENIED",
    Outcome.ABSENT: "ABSENT",
    Outcome.EXPIRED: "EXPIRED_UNSENT",
}
"""The status of an order the exchange has no word for."""


@dataclass(frozen=True, slots=True)
class Binding:
    """What a journal belongs to; another venue, account, tape, strategy or mode needs another journal.

    `account` and `strategy` are names, never keys; `tape` is empty on a real venue.
    """

    venue: str
    account: str
    tape: str
    strategy: str
    dry_run: bool


@dataclass(frozen=True, slots=True)
class Intent:
    """One order we are about to send.

    `quantity` is signed (buy > 0), `not_after` is the last moment it may be sent, `price` the one it was sized at, None
    where that does not matter, `limit` the worst price it may pay, None for a market order.
    """

    client_id: str
    close: datetime
    symbol: str
    leg: str
    attempt: int
    quantity: Decimal
    reduce_only: bool
    intended_at: datetime
    not_after: datetime
    price: Decimal | None = None
    limit: Decimal | None = None

    @property
    def request(self) -> OrderRequest:
        """Return what is sent."""
        return OrderRequest(self.client_id, self.symbol, self.quantity, self.reduce_only, self.limit)


@dataclass(frozen=True, slots=True)
class OrderRecord:
    """One intended order and all that became of it; `quantity` and `filled` are signed.

    `arrival` is the mark price when it was posted last, None where nobody asked for it: what only reduces asks nobody.

    `sends` counts POSTs and `sent_at` is the moment before the last one; both are durable before it leaves.
    """

    intent: Intent
    sent_at: datetime | None
    sends: int
    status: str
    exchange_id: str | None
    filled: Decimal
    average_price: Decimal | None
    outcome: Outcome | None
    error_code: int | None
    error_text: str | None
    settled_at: datetime | None
    final: bool
    arrival: Decimal | None = None


@dataclass(frozen=True, slots=True)
class StopIntent:
    """One protective stop we are about to place for the position that a close left.

    `entry` is the average price of the position, `fraction` how far the price may move against it.
    """

    close: datetime
    attempt: int
    request: StopRequest
    entry: Decimal
    fraction: Decimal
    intended_at: datetime


@dataclass(frozen=True, slots=True)
class StopRecord:
    """One intended stop and all that became of it.

    `sends` counts POSTs and `sent_at` is the moment before the last one; `exchange_id` is None until the exchange has
    told of it, `order_id` names the order it became, `why` says what ended it.
    """

    intent: StopIntent
    sent_at: datetime | None
    sends: int
    status: str
    exchange_id: str | None
    order_id: str | None
    why: str | None
    ended_at: datetime | None
    final: bool

    @property
    def client_id(self) -> str:
        """Return its name."""
        return self.intent.request.client_id

    @property
    def symbol(self) -> str:
        """Return what it protects."""
        return self.intent.request.symbol


@dataclass(frozen=True, slots=True)
class DecisionRecord:
    """One close; `equity` in USDT and `positions` (signed, by symbol) are those after its orders."""

    close: datetime
    status: Status
    claimed_at: datetime
    decided_at: datetime | None
    finished_at: datetime | None
    model_hash: str | None
    why: str | None
    equity: Decimal | None
    positions: Mapping[str, Decimal] | None


@dataclass(frozen=True, slots=True)
class Transcript:
    """Everything a decision was made from, and the decision, both JSON text.

    `blocks` are where the texts lie that it shares with others: first and last number of each run, in order.
    """

    close: datetime
    inputs: str
    output: str
    blocks: tuple[tuple[int, int], ...] = ()


@dataclass(frozen=True, slots=True)
class Baseline:
    """The account as it was when the story began or was told anew.

    `positions` are signed, by symbol; `last_trades` are the newest trade ids then, whose effect is in them.
    """

    at: datetime
    wallet: Decimal
    equity: Decimal
    positions: Mapping[str, Decimal]
    last_trades: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class StateRecord:
    """What the daemon may do since `at`, by whose word and why."""

    state: State
    why: str
    by: str
    at: datetime

    @property
    def passing(self) -> bool:
        """Whether it ends by itself, once every stop is in its place."""
        return self.state is State.REDUCING and self.by == MISSING_STOP

    def yields_to(self, wanted: State) -> bool:
        """Whether a restriction has to be written: it allows less, or as little until a person resumes."""
        return self.state not in (wanted, State.HALTED) or (wanted is State.REDUCING and self.passing)


@dataclass(frozen=True, slots=True)
class StageRecord:
    """How much the strategy is trusted with since `at`; `notional` in USDT is the canary's cap."""

    stage: str
    notional: Decimal | None
    at: datetime

    @classmethod
    def read(cls, text: str | None) -> "list[StageRecord]":
        """Read what `write` wrote, oldest first; nothing where nothing was written."""
        rows = json.loads(text or "[]")
        return [cls(row["stage"], row["notional"] and Decimal(row["notional"]), _moment(row["at"])) for row in rows]

    @staticmethod
    def write(stages: "Sequence[StageRecord]") -> str:
        """Write stages as JSON text."""
        rows = [
            {"stage": one.stage, "notional": one.notional and format(one.notional, "f"), "at": one.at.isoformat()}
            for one in stages
        ]
        return json.dumps(rows)


@dataclass(frozen=True, slots=True)
class ChangeRecord:
    """What a start or a close changed in the configuration; `diff` is JSON text, by name what was and what is."""

    at: datetime
    by: str
    diff: str


@dataclass(frozen=True, slots=True)
class Held:
    """One position as baseline and fills make it; `cost` is signed like the quantity, None where it is not known."""

    quantity: Decimal
    cost: Decimal | None
    last_trade: str | None


@dataclass(frozen=True, slots=True)
class Request:
    """What a person asked of the daemon (halt, resume, flatten), and what came of it.

    `seen` numbers the newest state when it was asked for, 0 where there was none or it was not kept.
    """

    id: int
    kind: str
    at: datetime
    done_at: datetime | None
    result: str | None
    seen: int


@dataclass(frozen=True, slots=True)
class EquityPoint:
    """Money at one close in USDT: realised, marked, and the highest marked so far."""

    close: datetime
    wallet: Decimal
    equity: Decimal
    peak: Decimal


@dataclass(frozen=True, slots=True)
class StoredModel:
    """A model as it was when it decided: its hash, its card (JSON text) and its weights (safetensors)."""

    hash: str
    card: str
    weights: bytes
