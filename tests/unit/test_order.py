from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import product

import pytest

from trader.domain.order import CLIENT_ID, DONE, Order, client_id, client_prefix

CLOSE = datetime(2025, 5, 1, 8, tzinfo=UTC)


def test_the_same_intention_always_has_the_same_name() -> None:
    name = client_id("testnet/main/ada-ar-16h", CLOSE, "ADAUSDT", "o", 0)
    assert name == client_id("testnet/main/ada-ar-16h", CLOSE, "ADAUSDT", "o", 0)
    assert name.endswith(".ADAUSDT.o0")


def test_a_name_is_written_down_and_never_changes_between_versions() -> None:
    """A restarted, newer daemon must find the orders of an older one."""
    assert client_id("sim/main/ada-ar-16h", CLOSE, "ADAUSDT", "c", 1) == "t753583.hbqtc.ADAUSDT.c1"


def test_no_two_intentions_share_a_name() -> None:
    names = [
        client_id(instance, CLOSE + timedelta(minutes=minutes), symbol, leg, attempt)
        for instance, minutes, symbol, leg, attempt in product(
            ("a", "b"), (0, 1, 960), ("ADAUSDT", "BTCUSDT", "X" * 16, "币安人生USDT"), "cofri", (0, 1, 10)
        )
    ]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize("symbol", ["A", "1000000MOGUSDT", "BTCUSDT_240628", "X" * 40, "币安人生USDT", "ada/usdt", ""])
@pytest.mark.parametrize("when", [datetime(1970, 1, 1, tzinfo=UTC), CLOSE, datetime(2999, 12, 31, 23, 59, tzinfo=UTC)])
def test_every_name_fits_the_exchanges_alphabet_and_36_characters(symbol: str, when: datetime) -> None:
    assert CLIENT_ID.fullmatch(client_id("any instance, with spaces — and more " * 9, when, symbol, "o", 99))


def test_a_leg_outside_the_alphabet_is_refused() -> None:
    with pytest.raises(ValueError, match="does not fit the exchange's alphabet"):
        client_id("a", CLOSE, "ADAUSDT", "ö", 0)


def test_all_names_of_an_instance_begin_alike_and_those_of_another_do_not() -> None:
    ours, theirs = client_prefix("sim/main/a"), client_prefix("sim/main/b")
    assert ours != theirs
    assert client_id("sim/main/a", CLOSE, "ADAUSDT", "o", 0).startswith(ours + ".")


@pytest.mark.parametrize("status", sorted(DONE))
def test_an_order_at_its_end_is_done(status: str) -> None:
    assert order(status).done


@pytest.mark.parametrize("status", ["NEW", "PARTIALLY_FILLED", "", "filled"])
def test_an_order_on_its_way_is_not_done(status: str) -> None:
    assert not order(status).done


def order(status: str) -> Order:
    return Order("a", "1", "ADAUSDT", Decimal(1), Decimal(0), Decimal(0), status, False, CLOSE)
