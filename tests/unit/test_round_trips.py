from datetime import UTC, datetime, timedelta
from decimal import Decimal

from tests.unit.execution_world import OTHER, SYMBOL
from trader.domain.order import Fill
from trader.execution.round_trips import Funding, RoundTrip, round_trips

START = datetime(2025, 1, 1, tzinfo=UTC)


def hour(number: float) -> datetime:
    return START + timedelta(hours=number)


def fill(at: float, quantity: str, price: str, realised: str = "0", fee: str = "0", symbol: str = SYMBOL) -> Fill:
    amounts = (Decimal(quantity), Decimal(price), Decimal(fee), Decimal(realised))
    return Fill("1", "1", symbol, *amounts, hour(at))


def paid(at: float, amount: str, symbol: str = SYMBOL) -> Funding:
    return Funding(hour(at), symbol, Decimal(amount))


def test_a_round_trip_goes_from_flat_to_flat() -> None:
    (trip,) = round_trips([fill(0, "10", "2", fee="0.1"), fill(5, "-10", "3", "10", "0.2")], [paid(2, "-0.5")])
    assert trip == RoundTrip(
        SYMBOL, Decimal(10), hour(0), hour(5), Decimal(2), Decimal(3), Decimal(10), Decimal("0.3"), Decimal("-0.5")
    )
    assert trip.net == Decimal("9.2")
    assert trip.net_return == Decimal("0.46")


def test_a_short_earns_what_the_price_loses() -> None:
    (trip,) = round_trips([fill(0, "-10", "3"), fill(5, "10", "2", "10")])
    assert (trip.quantity, trip.entry_price, trip.exit_price, trip.net) == (-10, 3, 2, 10)


def test_parts_are_averaged_into_one_entry_and_one_exit() -> None:
    fills = [fill(0, "10", "2"), fill(1, "30", "4"), fill(2, "-20", "5", "30"), fill(3, "-20", "1", "-50")]
    (trip,) = round_trips(fills)
    assert (trip.quantity, trip.entry_price, trip.exit_price) == (40, Decimal("3.5"), 3)
    assert (trip.gross, trip.entry_time, trip.exit_time) == (-20, hour(0), hour(3))


def test_a_flip_ends_one_and_begins_the_next_at_the_same_time() -> None:
    fills = [fill(0, "10", "2"), fill(4, "-10", "3", "10"), fill(4, "-5", "3"), fill(6, "5", "4", "-5")]
    first, second = round_trips(fills)
    assert (first.exit_time, second.entry_time) == (hour(4), hour(4))
    assert (first.quantity, second.quantity) == (10, -5)
    assert (first.gross, second.gross) == (10, -5)


def test_one_fill_through_zero_is_cut_there() -> None:
    first, second = round_trips([fill(0, "10", "2"), fill(4, "-15", "3", "10", "0.3"), fill(6, "5", "4", "-5")])
    assert (first.quantity, first.gross, first.fees) == (10, 10, Decimal("0.2"))
    assert (second.quantity, second.gross, second.fees) == (-5, -5, Decimal("0.1"))


def test_funding_at_the_time_of_a_fill_was_paid_on_what_was_held_before_it() -> None:
    fills = [fill(0, "10", "2"), fill(8, "-10", "2"), fill(8, "-10", "2"), fill(16, "10", "2")]
    booked = [paid(0, "-1"), paid(8, "-2"), paid(16, "-4"), paid(24, "-8")]
    assert [trip.funding for trip in round_trips(fills, booked)] == [-2, -4]


def test_symbols_do_not_mix_and_the_first_to_end_comes_first() -> None:
    fills = [fill(0, "1", "2"), fill(1, "7", "9", symbol=OTHER), fill(2, "-7", "9", symbol=OTHER), fill(3, "-1", "2")]
    trips = round_trips(fills, [paid(1.5, "-1", OTHER)])
    assert [(trip.symbol, trip.quantity, trip.funding) for trip in trips] == [(OTHER, 7, -1), (SYMBOL, 1, 0)]


def test_what_is_open_is_told_last_and_marked_where_a_price_is_given() -> None:
    fills = [fill(0, "10", "2"), fill(1, "-4", "3", "4", "0.5")]
    (plain,) = round_trips(fills)
    assert (plain.exit_time, plain.exit_price, plain.net) == (None, 3, Decimal("3.5"))
    (marked,) = round_trips(fills, marks={SYMBOL: Decimal("2.5")})
    assert marked.net == Decimal("6.5")  # 4 realised, 3 unrealised, 0.5 paid


def test_what_was_held_before_the_first_fill_has_no_entry() -> None:
    first, second = round_trips(
        [fill(3, "-10", "3", "10"), fill(4, "-2", "3")], held={SYMBOL: Decimal(10)}, marks={SYMBOL: Decimal(2)}
    )
    assert (first.entry_time, first.entry_price, first.net_return) == (None, None, None)
    assert (first.quantity, first.exit_price, first.gross) == (10, 3, 10)
    assert (second.quantity, second.entry_price, second.gross) == (-2, 3, 2)


def test_without_fills_there_is_no_round_trip() -> None:
    assert round_trips([], [paid(0, "-1")]) == []
