"""Everything that is ever written to a journal, as statements compiled once."""

from sqlalchemy import bindparam, delete, func, insert, select, update
from sqlalchemy.dialects.sqlite import insert as insert_sqlite

from trader.journal import schema
from trader.journal.rows import Status

INSERT_INSTANCE = insert(schema.instance)
CLAIM = insert(schema.decisions).prefix_with("OR IGNORE")
DECIDE = (
    update(schema.decisions)
    .where(schema.decisions.c.close == bindparam("at_close"), schema.decisions.c.status == Status.CLAIMED.value)
    .values(
        status=Status.DECIDED.value,
        decided_at=bindparam("decided_at"),
        model_hash=bindparam("model_hash"),
        why=bindparam("why"),
    )
)
TRANSCRIBE = insert(schema.transcripts)
BLOCK = insert(schema.blocks)
KNOWN_BLOCKS = select(schema.blocks.c.hash, schema.blocks.c.id).where(
    schema.blocks.c.hash.in_(bindparam("hashes", expanding=True))
)
CLOSE = (
    update(schema.decisions)
    .where(schema.decisions.c.close == bindparam("at_close"), schema.UNFINISHED)
    .values(
        status=Status.CLOSED.value,
        finished_at=bindparam("finished_at"),
        equity=bindparam("equity"),
        positions=bindparam("positions"),
    )
)
GIVE_UP = (
    update(schema.decisions)
    .where(schema.decisions.c.close == bindparam("at_close"), schema.decisions.c.status == Status.CLAIMED.value)
    .values(status=bindparam("new_status"), finished_at=bindparam("finished_at"), why=bindparam("reason"))
)
INTEND = insert(schema.orders)
INTENDED = select(schema.orders).where(schema.orders.c.client_id == bindparam("client_id"))
SEND = (
    update(schema.orders)
    .where(schema.orders.c.client_id == bindparam("id"), schema.OPEN)
    .values(sent_at=bindparam("sent_at"), arrival=bindparam("arrival"), sends=schema.orders.c.sends + 1)
)
SETTLE = (
    update(schema.orders)
    .where(schema.orders.c.client_id == bindparam("id"))
    .values(
        status=bindparam("status"),
        exchange_id=bindparam("exchange_id"),
        filled=bindparam("filled"),
        average_price=bindparam("average_price"),
        outcome=bindparam("outcome"),
        error_code=bindparam("error_code"),
        error_text=bindparam("error_text"),
        settled_at=bindparam("settled_at"),
        final=bindparam("final"),
    )
)
INTEND_STOP = insert(schema.stops).prefix_with("OR IGNORE")
SEND_STOP = (
    update(schema.stops)
    .where(schema.stops.c.client_id == bindparam("id"), schema.OPEN)
    .values(sent_at=bindparam("sent_at"), sends=schema.stops.c.sends + 1)
)
SETTLE_STOP = (
    update(schema.stops)
    .where(schema.stops.c.client_id == bindparam("id"), schema.OPEN)
    .values(
        status=bindparam("status"),
        exchange_id=func.coalesce(bindparam("exchange_id"), schema.stops.c.exchange_id),
        order_id=func.coalesce(bindparam("order_id"), schema.stops.c.order_id),
        why=bindparam("why"),
        ended_at=bindparam("ended_at"),
        final=bindparam("final"),
    )
)
STOPPED = insert(schema.orders).prefix_with("OR IGNORE")
FILL = insert(schema.fills).prefix_with("OR IGNORE")
INCOME = insert(schema.incomes).prefix_with("OR IGNORE")
STATE = insert(schema.states)
REQUEST = insert(schema.requests).values(
    kind=bindparam("kind"), at=bindparam("at"), seen=select(func.max(schema.states.c.id)).scalar_subquery()
)
COMPLETE = (
    update(schema.requests)
    .where(schema.requests.c.id == bindparam("request"), schema.PENDING)
    .values(done_at=bindparam("done_at"), result=bindparam("result"))
)
EQUITY = insert_sqlite(schema.equity)
EQUITY = EQUITY.on_conflict_do_update(
    index_elements=["close"],
    set_={"wallet": EQUITY.excluded.wallet, "equity": EQUITY.excluded.equity, "peak": EQUITY.excluded.peak},
)
POSITION = select(schema.positions).where(schema.positions.c.symbol == bindparam("symbol"))
HOLD = insert_sqlite(schema.positions)
HOLD = HOLD.on_conflict_do_update(
    index_elements=["symbol"],
    set_={
        "quantity": HOLD.excluded.quantity,
        "last_trade": HOLD.excluded.last_trade,
        "cost": HOLD.excluded.cost,
    },
)
FORGET = delete(schema.positions)
BASELINE = insert(schema.baselines)
CHANGE = insert(schema.changes)
MODEL = insert(schema.models).prefix_with("OR IGNORE")
REJUDGE = update(schema.models).where(schema.models.c.hash == bindparam("of")).values(card=bindparam("now"))
PUT = insert_sqlite(schema.meta)
PUT = PUT.on_conflict_do_update(index_elements=["key"], set_={"value": PUT.excluded.value})
