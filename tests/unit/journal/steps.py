"""Steps that many tests of the journal begin with."""

from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from trader.domain.order import Fill
from trader.journal.journal import Journal
from trader.journal.rows import Intent

SECOND = timedelta(seconds=1)


def decide(journal: Journal, close: datetime, intents: list[Intent], **given: Any) -> None:
    assert journal.claim(close, close)
    words = {"model_hash": "abc", "why": "forecast up", "at": close + SECOND}
    journal.record_decision(close, '{"in": 1}', '{"out": "ü"}', intents=intents, **(words | given))


def finish(
    journal: Journal,
    close: datetime,
    *,
    equity: str = "1",
    peak: str = "1",
    positions: dict[str, Decimal] | None = None,
) -> None:
    journal.finish(
        close,
        wallet=Decimal(1),
        equity=Decimal(equity),
        peak=Decimal(peak),
        positions=positions or {},
        at=close + SECOND,
    )


def begin(journal: Journal, close: datetime, positions: dict[str, Decimal], last_trades: dict[str, str]) -> None:
    journal.set_baseline(wallet=Decimal(9), equity=Decimal(10), positions=positions, last_trades=last_trades, at=close)


def fill(trade_id: str, close: datetime, quantity: str = "1") -> Fill:
    return Fill(trade_id, "77", "ADAUSDT", Decimal(quantity), Decimal("0.6"), Decimal("0.0003"), Decimal(0), close)
