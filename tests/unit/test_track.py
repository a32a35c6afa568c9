from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import polars as pl
import pytest

from tests.unit.execution_world import OTHER, SYMBOL
from trader.domain.interval import Interval
from trader.errors import DataError
from trader.market.candles import with_close
from trader.research.track import PlayedBar, Tape

START = datetime(2025, 1, 1, tzinfo=UTC)
HOUR = Interval.parse("1h")


def hour(number: float) -> datetime:
    return START + timedelta(hours=number)


def bars(opens: Sequence[float], last: float = 9.5, symbol: str = SYMBOL) -> pl.DataFrame:
    """Hourly bars at given opens; each closes at the next one's, highs 1 above and lows 1 below."""
    closes = [*opens[1:], last]
    frame = pl.DataFrame(
        {
            "symbol": [symbol] * len(opens),
            "open_time": [hour(row) for row in range(len(opens))],
            "open": opens,
            "high": [max(pair) + 1 for pair in zip(opens, closes, strict=True)],
            "low": [min(pair) - 1 for pair in zip(opens, closes, strict=True)],
            "close": closes,
            "volume": [1.0] * len(opens),
        },
        schema_overrides={"open_time": pl.Datetime("ms", "UTC")},
    )
    return with_close(frame, HOUR)


def rates(*given: tuple[float, float], symbol: str = SYMBOL) -> pl.DataFrame:
    return pl.DataFrame(
        {
            "symbol": [symbol] * len(given),
            "funding_time": [hour(stamp) for stamp, _ in given],
            "funding_rate": [rate for _, rate in given],
        },
        schema_overrides={"funding_time": pl.Datetime("ms", "UTC")},
    )


def tape(funding: pl.DataFrame | None = None) -> Tape:
    return Tape.of(bars([5.0, 6.0, 7.5, 8.0]), funding, SYMBOL, HOUR)


def test_the_price_inside_a_bar_is_its_open_until_it_ends() -> None:
    track = tape()
    assert [track.price(hour(at)) for at in (0, 0.99, 1, 2.5, 3, 3.99)] == [
        Decimal(text) for text in ("5.0", "5.0", "6.0", "7.5", "8.0", "8.0")
    ]


@pytest.mark.parametrize("after", [4, 4.5, 1000])
def test_after_the_last_bar_the_price_is_its_close(after: float) -> None:
    assert tape().price(hour(after)) == Decimal("9.5")


def test_before_the_first_bar_there_is_no_price() -> None:
    with pytest.raises(DataError, match=r"begins at 2025-01-01T00:00:00\+00:00"):
        tape().price(hour(-0.5))


def test_a_float_becomes_the_decimal_it_is_written_as() -> None:
    track = Tape.of(bars([0.1, 0.30000000000000004]), None, SYMBOL, HOUR)
    assert track.price(hour(0)) == Decimal("0.1")
    assert track.price(hour(1)) == Decimal("0.30000000000000004")


def test_a_bar_ends_with_its_extremes_and_the_first_price_after_it() -> None:
    assert list(tape().ended(hour(1), hour(2))) == [
        PlayedBar(
            hour(2), open=Decimal("6.0"), high=Decimal("8.5"), low=Decimal("5.0"), rates=(), next_price=Decimal("7.5")
        )
    ]


def test_the_price_after_the_last_bar_is_its_close() -> None:
    assert next(tape().ended(hour(3), hour(4))).next_price == Decimal("9.5")


@pytest.mark.parametrize(
    ("since", "until", "ends"),
    [(0, 4, [1, 2, 3, 4]), (0, 1, [1]), (1, 1, []), (0.5, 1.5, [1]), (3, 99, [4]), (-9, 1, [1]), (2, 1, [])],
)
def test_bars_that_end_after_since_and_up_to_until_are_played_once(
    since: float, until: float, ends: list[float]
) -> None:
    assert [bar.end for bar in tape().ended(hour(since), hour(until))] == [hour(end) for end in ends]


def test_funding_belongs_to_the_bar_in_which_it_is_stamped_its_end_included() -> None:
    funding = rates((0, 0.1), (0.001, 0.2), (1, 0.3), (1.001, 0.4), (3, 0.5), (3.5, 0.6), (3.75, 0.7), (9, 0.8))
    played = [bar.rates for bar in tape(funding).ended(hour(0), hour(4))]
    assert played == [
        (Decimal("0.2"), Decimal("0.3")),
        (Decimal("0.4"),),
        (Decimal("0.5"),),
        (Decimal("0.6"), Decimal("0.7")),
    ]


def test_funding_of_another_symbol_is_not_ours() -> None:
    assert all(not bar.rates for bar in tape(rates((1, 0.1), symbol=OTHER)).ended(hour(0), hour(4)))


def test_funding_in_the_candle_file_is_paid_when_its_bar_ends_and_a_hole_is_none() -> None:
    frame = bars([5.0, 6.0, 7.5]).with_columns(funding_rate=pl.Series([0.1, None, -0.2]))
    played = Tape.of(frame, None, SYMBOL, HOUR).ended(hour(0), hour(3))
    assert [bar.rates for bar in played] == [(Decimal("0.1"),), (), (Decimal("-0.2"),)]


def test_a_funding_file_is_read_instead_of_the_candles_own_column() -> None:
    frame = bars([5.0, 6.0]).with_columns(funding_rate=pl.Series([0.1, 0.1]))
    played = Tape.of(frame, rates((2, 0.3)), SYMBOL, HOUR).ended(hour(0), hour(2))
    assert [bar.rates for bar in played] == [(), (Decimal("0.3"),)]


def test_one_symbol_is_cut_out_of_several() -> None:
    both = pl.concat([bars([5.0, 6.0]), bars([50.0, 60.0, 70.0], symbol=OTHER)])
    track = Tape.of(both, None, OTHER, HOUR)
    assert (track.start, track.end) == (hour(0), hour(3))
    assert track.price(hour(1)) == 60


def test_a_symbol_the_candles_do_not_hold_is_refused() -> None:
    with pytest.raises(DataError, match="hold ADAUSDT but not XRPUSDT; give a tape of that symbol"):
        Tape.of(bars([5.0, 6.0]), None, "XRPUSDT", HOUR)
