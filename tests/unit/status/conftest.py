"""A journal with a story in it, and a daemon's word beside it."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from time import monotonic

import pytest

from trader.app.worth import Worth
from trader.domain.interval import Interval
from trader.domain.order import Fill, Order
from trader.journal.journal import Journal
from trader.journal.rows import Binding, Intent, Outcome
from trader.status.board import Board, Facts, Instance
from trader.status.sight import Sight

FIRST = datetime(2024, 1, 1, 8, tzinfo=UTC)
INTERVAL = Interval.parse("16h")
GATES = {"closes": {"value": 426.0, "needed": "at least 250", "passed": True}}
WORTH = Worth("mine", "abc", "NO-GO", "Luck <would> do.", datetime(2124, 1, 1, tzinfo=UTC), GATES, "{}")
INPUTS = '{"book": {"prices": {"ADAUSDT": "0.62"}}, "candles": {}}'


def output(forecast: float) -> str:
    target = 0.5 if forecast > 0 else -0.5
    return (
        f'{{"forecasts": {{"ADAUSDT": [{forecast}, 0.51]}}, "targets": {{"ADAUSDT": {target}}}, "refusals": [],'
        f' "why": "it said {forecast}"}}'
    )


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    binding = Binding("sim", "main", "tape", "mine", dry_run=False)
    with Journal.open(tmp_path / "journal.db", binding, create=True, at=FIRST) as opened:
        opened.put("interval", "16h")
        opened.save_model("abc", WORTH.card, b"weights")
        opened.set_baseline(
            wallet=Decimal(10000), equity=Decimal(10000), positions={}, last_trades={}, at=FIRST - timedelta(hours=1)
        )
        yield opened


@pytest.fixture
def close_one(journal: Journal) -> Callable[..., None]:
    def make(turn: int, equity: str = "10000", forecast: float = 0.001, quantity: str = "10") -> None:
        close = FIRST + turn * INTERVAL.delta
        name, bought = f"t{turn}.o0", Decimal(quantity)
        intent = Intent(
            name, close, "ADAUSDT", "o", 0, bought, False, close, close + timedelta(minutes=5), Decimal("0.62")
        )  # fmt: skip
        assert journal.claim(close, close + timedelta(seconds=2))
        journal.record_decision(
            close, INPUTS, output(forecast), model_hash="abc", why=f"it said {forecast}", intents=[intent],
            at=close + timedelta(seconds=3), peak=Decimal(equity),
        )  # fmt: skip
        journal.mark_sent(name, close + timedelta(seconds=3))
        told = Fill(str(turn), f"9{turn}", "ADAUSDT", bought, Decimal("0.63"), Decimal("0.5"), Decimal(0), close)
        journal.record_fills([told])
        order = Order(name, f"9{turn}", "ADAUSDT", bought, bought, Decimal("0.63"), "FILLED", False, close)
        journal.settle(name, order, Outcome.CONFIRMED, final=True, at=close + timedelta(seconds=4))
        journal.finish(
            close, wallet=Decimal(10000), equity=Decimal(equity), peak=max(Decimal(equity), Decimal(10000)),
            positions={"ADAUSDT": journal.position("ADAUSDT")}, at=close + timedelta(seconds=5),
        )  # fmt: skip

    return make


@pytest.fixture
def facts() -> Facts:
    return Facts(
        told=monotonic(),
        now=FIRST + timedelta(minutes=1),
        ready=True,
        wakes=datetime.now(UTC) + timedelta(hours=2),
        clock_offset=timedelta(milliseconds=-12),
        clock_error=timedelta(milliseconds=3),
        weights={"weight-1m": (40, 2400)},
        cooldown=None,
    )


@pytest.fixture
def board(facts: Facts) -> Board:
    return Board(facts)


@pytest.fixture
def instance() -> Instance:
    return Instance(
        version="0.1.0",
        venue="sim",
        dry_run=False,
        generated=True,
        strategy="mine",
        symbols=("ADAUSDT",),
        interval=INTERVAL,
        started=datetime.now(UTC),
        worth=lambda: WORTH,
        max_clock_offset=lambda: timedelta(seconds=1),
    )


@pytest.fixture
def sight(journal: Journal, instance: Instance, board: Board) -> Iterator[Sight]:
    opened = Sight(journal.path, instance, board)
    yield opened
    opened.close()


@pytest.fixture
def later(board: Board) -> Callable[..., None]:
    def put(**changed: object) -> None:
        board.put(replace(board.facts, **changed))  # type: ignore[arg-type]

    return put
