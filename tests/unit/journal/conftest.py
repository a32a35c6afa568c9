from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest

from trader.domain.order import Order
from trader.journal.journal import Journal
from trader.journal.rows import Binding, Intent

CLOSE = datetime(2024, 1, 1, 16, tzinfo=UTC)


@pytest.fixture
def close() -> datetime:
    return CLOSE


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state" / "journal.db"


@pytest.fixture
def binding() -> Binding:
    return Binding(venue="sim", account="demo", tape="generated", strategy="ada-ar-16h", dry_run=False)


@pytest.fixture
def journal(path: Path, binding: Binding) -> Iterator[Journal]:
    with Journal.open(path, binding, create=True, at=CLOSE) as opened:
        yield opened


@pytest.fixture
def reopen(journal: Journal, path: Path, binding: Binding) -> Callable[[], Journal]:
    def again() -> Journal:
        journal.close()
        return Journal.open(path, binding, create=False, at=CLOSE)

    return again


@pytest.fixture
def intent() -> Callable[..., Intent]:
    def make(client_id: str = "t1.o0", quantity: str = "12.5", close: datetime = CLOSE) -> Intent:
        return Intent(
            client_id=client_id,
            close=close,
            symbol="ADAUSDT",
            leg="o",
            attempt=0,
            quantity=Decimal(quantity),
            reduce_only=False,
            intended_at=close + timedelta(seconds=1),
            not_after=close + timedelta(minutes=5),
        )

    return make


@pytest.fixture
def confirmed() -> Callable[..., Order]:
    def make(client_id: str = "t1.o0", status: str = "FILLED", filled: str = "12.5") -> Order:
        return Order(
            client_id=client_id,
            exchange_id="8886774",
            symbol="ADAUSDT",
            quantity=Decimal("12.5"),
            filled=Decimal(filled),
            average_price=Decimal("0.61230"),
            status=status,
            reduce_only=False,
            time=CLOSE + timedelta(seconds=2),
        )

    return make
