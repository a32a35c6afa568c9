import io
from datetime import UTC, datetime, timedelta
from typing import Any

import polars as pl
import pytest

from trader.domain.interval import Interval
from trader.errors import DataError
from trader.market.candles import canonical, closed, parse_bars, parse_candles, spacing, validate
from trader.market.funding import parse_funding
from trader.market.resample import resample

HOUR = Interval.parse("1h")
START = datetime(2025, 1, 1, tzinfo=UTC)


def bars(count: int, *, start: datetime = START, step: timedelta = timedelta(hours=1)) -> pl.DataFrame:
    return pl.DataFrame(
        {
            "open_time": [start + step * row for row in range(count)],
            "open": [100.0 + row for row in range(count)],
            "high": [103.0 + row for row in range(count)],
            "low": [99.0 + row for row in range(count)],
            "close": [101.0 + row for row in range(count)],
            "volume": [10.0 + row for row in range(count)],
        },
        schema_overrides={"open_time": pl.Datetime("ms", "UTC")},
    )


def parquet(frame: pl.DataFrame) -> bytes:
    buffer = io.BytesIO()
    frame.write_parquet(buffer)
    return buffer.getvalue()


def candles(count: int, **options: Any) -> pl.DataFrame:
    return parse_candles(parquet(bars(count, **options)), "ADAUSDT_1h.parquet")


def changed(frame: pl.DataFrame, row: int, column: str, value: object) -> pl.DataFrame:
    values = frame[column].to_list()
    values[row] = value
    return frame.with_columns(pl.Series(column, values, dtype=frame.schema[column]))


def test_a_candle_file_becomes_a_frame_known_by_its_close() -> None:
    frame = candles(3)
    assert frame.columns == ["symbol", "open_time", "close_time", "open", "high", "low", "close", "volume"]
    assert frame["symbol"].to_list() == ["ADAUSDT"] * 3
    assert frame["close_time"][0] == START + timedelta(hours=1)
    assert spacing(frame) == HOUR
    validate(frame, HOUR)


@pytest.mark.parametrize(
    "spelling", ["%Y-%m-%dT%H:%M:%SZ", "%Y-%m-%d %H:%M:%S", "%Y-%m-%dT%H:%M:%S%.3f+00:00", "%F %R"]
)
def test_csv_and_parquet_give_the_same_frame(spelling: str) -> None:
    text = bars(30).with_columns(pl.col("open_time").dt.strftime(spelling)).write_csv().encode()
    assert parse_candles(text, "ADAUSDT_1h.csv").equals(candles(30))


def test_times_without_zone_dates_and_epoch_milliseconds_are_utc() -> None:
    naive = bars(30).with_columns(pl.col("open_time").dt.replace_time_zone(None).cast(pl.Datetime("us")))
    assert parse_candles(parquet(naive), "ADAUSDT.parquet").equals(candles(30))
    epoch = bars(30).with_columns(pl.col("open_time").dt.timestamp("ms"))
    assert parse_candles(parquet(epoch), "ADAUSDT.parquet").equals(candles(30))
    abroad = bars(30).with_columns(pl.col("open_time").dt.convert_time_zone("Asia/Kolkata"))
    assert parse_candles(parquet(abroad), "ADAUSDT.parquet").equals(candles(30))
    days = bars(3, step=timedelta(days=1)).with_columns(pl.col("open_time").dt.date())
    assert spacing(parse_candles(parquet(days), "ADAUSDT.parquet")) == Interval.parse("1d")


def test_microseconds_are_not_taken_for_milliseconds() -> None:
    epoch = bars(3).with_columns(pl.col("open_time").dt.timestamp("us"))
    with pytest.raises(DataError, match="no milliseconds since 1970; convert them"):
        parse_candles(parquet(epoch), "ADAUSDT.parquet")


def test_a_column_names_the_symbols_and_its_rows_may_be_interleaved() -> None:
    ada, btc = (bars(3).with_columns(pl.lit(symbol).alias("symbol")) for symbol in ("ADAUSDT", "BTCUSDT"))
    mixed = pl.concat([btc, ada]).sort("open_time", maintain_order=True)
    frame = parse_candles(parquet(mixed), "both.parquet")
    assert frame["symbol"].to_list() == ["ADAUSDT"] * 3 + ["BTCUSDT"] * 3
    assert parse_candles(parquet(mixed), "both.parquet", "BTCUSDT")["symbol"].unique().to_list() == ["BTCUSDT"]
    with pytest.raises(DataError, match=r"both\.parquet holds ADAUSDT, BTCUSDT and not ETHUSDT"):
        parse_candles(parquet(mixed), "both.parquet", "ETHUSDT")


def test_the_symbol_is_the_files_leading_name_else_it_must_be_given() -> None:
    data = parquet(bars(2))
    assert parse_candles(data, "1000PEPEUSDT_1h.parquet")["symbol"][0] == "1000PEPEUSDT"
    assert parse_candles(data, "hourly.parquet", "ADAUSDT")["symbol"][0] == "ADAUSDT"
    with pytest.raises(DataError, match="give the symbol"):
        parse_candles(data, "hourly.parquet")
    with pytest.raises(DataError, match="holds BTCUSDT by its name and not ADAUSDT"):
        parse_candles(data, "BTCUSDT_1h.parquet", "ADAUSDT")


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "is empty"),
        (b"PAR1 and then nothing of use", "neither parquet nor CSV"),
        (b"\xff\xfe\x00\x81", "neither parquet nor CSV|has no column"),
        (b"open_time,open\n1,2\n", "has no column high, low, close, volume"),
        (parquet(bars(0)), "holds no candles"),
        (parquet(bars(1)), "give at least two bars"),
        (parquet(bars(3, step=timedelta(seconds=90))), "whole minutes"),
        (parquet(bars(3).with_columns(pl.lit("x").alias("close"))), "no number"),
        (parquet(bars(3).with_columns(pl.lit("soon").alias("open_time"))), "no readable open_time in row 1"),
        (parquet(bars(3).with_columns(pl.lit(True).alias("open_time"))), "which is no time"),
        (
            parquet(
                bars(3).with_columns(pl.col("open_time").cast(pl.Datetime("us", "UTC")) + timedelta(microseconds=1))
            ),
            "finer than a millisecond",
        ),
    ],
)
def test_a_file_that_is_no_candle_file_is_refused(data: bytes, reason: str) -> None:
    with pytest.raises(DataError, match=reason):
        parse_candles(data, "ADAUSDT_1h.parquet")


@pytest.mark.fault(68)
@pytest.mark.parametrize(
    ("column", "value", "reason"),
    [
        ("close", float("nan"), "missing, NaN or infinite"),
        ("close", None, "missing, NaN or infinite"),
        ("volume", float("inf"), "missing, NaN or infinite"),
        ("low", 0.0, "not positive"),
        ("open", -1.0, "not positive"),
        ("volume", -1.0, "negative volume"),
        ("high", 98.0, "high below its low"),
        ("open", 120.0, "opens or closes outside"),
        ("close", 90.0, "opens or closes outside"),
    ],
)
def test_an_impossible_value_is_refused_with_symbol_time_and_row(column: str, value: float, reason: str) -> None:
    with pytest.raises(
        DataError, match=f"The ADAUSDT 1h candle that opens at 2025-01-01T02:00:00Z .row 3. .*{reason}.*;"
    ):
        parse_candles(parquet(changed(bars(5), 2, column, value)), "ADAUSDT_1h.parquet")


@pytest.mark.parametrize("value", [float("nan"), float("-inf")])
def test_an_optional_column_may_be_unknown_but_not_nonsense(value: float) -> None:
    frame = bars(3).with_columns(pl.Series("funding_rate", [None, 0.0001, -0.0001]))
    assert parse_candles(parquet(frame), "ADAUSDT.parquet")["funding_rate"].null_count() == 1
    with pytest.raises(DataError, match="NaN or infinite"):
        parse_candles(parquet(changed(frame, 2, "funding_rate", value)), "ADAUSDT.parquet")


def test_a_candle_without_trades_is_real() -> None:
    quiet = parse_candles(parquet(changed(bars(3), 1, "volume", 0.0)), "ADAUSDT_1h.parquet")
    assert quiet["volume"].to_list() == [10.0, 0.0, 12.0]


@pytest.mark.parametrize(
    ("spoil", "row", "reason"),
    [
        (lambda frame: frame.filter(pl.col("open") != 102.0), 3, "follows a gap"),
        (lambda frame: pl.concat([frame[:3], frame[2:]]), 4, "repeats the candle before it"),
        (
            lambda frame: pl.concat([frame[:3], changed(frame, 2, "close", 102.5)[2:]]),
            4,
            "contradicts the candle before",
        ),
        (lambda frame: pl.concat([frame[:2], frame[3:4], frame[2:3], frame[4:]]), 4, "not sorted"),
        (lambda frame: frame.reverse(), 2, "not sorted"),
        (lambda frame: frame.with_columns(pl.col("open_time") + timedelta(minutes=1)), 1, "off the epoch grid"),
        (lambda frame: changed(frame, 4, "open_time", START + timedelta(hours=3, minutes=20)), 5, "is partial"),
        (lambda frame: changed(frame, 2, "open_time", START + timedelta(hours=1, minutes=20)), 3, "off the epoch grid"),
    ],
)
def test_a_wrong_order_of_candles_is_refused_with_its_row(spoil: Any, row: int, reason: str) -> None:
    with pytest.raises(DataError, match=rf"\(row {row}\) .*{reason}"):
        parse_candles(parquet(spoil(bars(5))), "ADAUSDT_1h.parquet")


def test_a_frame_whose_symbols_are_mixed_or_whose_closes_are_not_one_interval_away_is_refused() -> None:
    frame = candles(4)
    with pytest.raises(DataError, match="order of its symbols"):
        validate(frame.with_columns(pl.Series("symbol", ["B", "B", "A", "A"])), HOUR)
    with pytest.raises(DataError, match="off the epoch grid"):
        validate(frame.with_columns(pl.col("close_time") - timedelta(milliseconds=1)), HOUR)
    with pytest.raises(DataError, match="There are no candles"):
        validate(frame.clear(), HOUR)
    with pytest.raises(DataError, match="no column volume"):
        validate(frame.drop("volume"), HOUR)


def test_candles_that_arrive_in_any_order_are_made_canonical_unless_they_conflict() -> None:
    frame = candles(6)
    shuffled = pl.concat([frame[3:], frame[1:5], frame[:2]])
    assert canonical(shuffled).equals(frame)
    with pytest.raises(DataError, match="contradicts"):
        validate(canonical(pl.concat([frame, changed(frame, 2, "close", 102.5)])), HOUR)


@pytest.mark.fault(62)
def test_only_the_exchanges_clock_closes_a_candle() -> None:
    frame = candles(5)
    close = frame["close_time"][3]
    assert closed(frame, close).height == 4
    assert closed(frame, close - timedelta(milliseconds=1)).height == 3


@pytest.mark.fault(69)
def test_sixteen_hours_are_built_from_whole_bars_in_all_three_daily_phases() -> None:
    frame = candles(16 * 3 + 10, start=START + timedelta(hours=3))
    target = Interval.parse("16h")
    built = resample(frame, HOUR, target)
    assert [close.strftime("%d %H") for close in built["close_time"]] == ["02 00", "02 16", "03 08"]
    validate(built, target)
    for bar in built.iter_rows(named=True):
        inside = frame.filter((pl.col("open_time") >= bar["open_time"]) & (pl.col("close_time") <= bar["close_time"]))
        assert inside.height == 16
        assert bar["open"] == inside["open"][0]
        assert bar["close"] == inside["close"][-1]
        assert bar["high"] == inside["high"].max()
        assert bar["low"] == inside["low"].min()
        assert bar["volume"] == sum(inside["volume"].to_list())


def test_a_hole_inside_is_refused_and_so_is_an_interval_that_does_not_divide() -> None:
    frame = candles(40)
    with pytest.raises(DataError, match="follows a gap"):
        resample(pl.concat([frame[:20], frame[21:]]), HOUR, Interval.parse("16h"))
    with pytest.raises(DataError, match="90m candles cannot be built from 1h ones"):
        resample(frame, HOUR, Interval.parse("90m"))


def test_too_few_candles_for_a_whole_bar_build_none_and_the_same_interval_stays_as_it_is() -> None:
    frame = candles(15)
    assert resample(frame, HOUR, Interval.parse("16h")).is_empty()
    assert resample(frame, HOUR, HOUR).equals(frame)


def test_funding_of_a_bar_is_the_sum_of_its_source_and_unknown_where_one_is_unknown() -> None:
    rates = [0.1, 0.2, None, 0.4]
    frame = parse_candles(parquet(bars(4).with_columns(pl.Series("funding_rate", rates))), "ADAUSDT.parquet")
    built = resample(frame, HOUR, Interval.parse("2h"))
    assert built["funding_rate"].to_list() == [0.1 + 0.2, None]


def test_a_funding_file_is_read_by_symbol_and_time() -> None:
    table = pl.DataFrame(
        {"funding_time": ["2025-01-01T08:00:00Z", "2025-01-01T00:00:00Z"], "funding_rate": [0.0002, 0.0001]}
    )
    rates = parse_funding(table.write_csv().encode(), "ADAUSDT_funding.csv")
    assert rates.columns == ["symbol", "funding_time", "funding_rate"]
    assert rates["funding_rate"].to_list() == [0.0001, 0.0002]
    assert rates["funding_time"][0] == START


@pytest.mark.parametrize(
    ("rows", "reason"),
    [
        ("2025-01-01T00:00:00Z,nan\n", "NaN"),
        (
            "2025-01-01T00:00:00Z,0.1\n2025-01-01T00:00:00Z,0.2\n",
            "more than one rate for ADAUSDT at 2025-01-01T00:00:00Z",
        ),
        ("", "holds no funding|neither"),
    ],
)
def test_funding_that_cannot_be_used_is_refused(rows: str, reason: str) -> None:
    with pytest.raises(DataError, match=reason):
        parse_funding(f"funding_time,funding_rate\n{rows}".encode(), "ADAUSDT_funding.csv")


def test_funding_that_is_stamped_some_milliseconds_late_belongs_to_its_minute() -> None:
    rows = "funding_time,funding_rate\n2024-01-01T08:00:00.003Z,0.0001\n2024-01-01T16:00:00Z,0.0002"
    read = parse_funding(rows.encode(), "ADAUSDT_funding.csv")
    assert read["funding_time"].to_list() == [datetime(2024, 1, 1, hour, tzinfo=UTC) for hour in (8, 16)]
    with pytest.raises(DataError, match="more than one rate"):
        parse_funding(f"{rows}\n2024-01-01T16:00:00.011Z,0.0002".encode(), "ADAUSDT_funding.csv")


def test_prices_and_rates_of_a_file_are_read_in_the_decimals_an_exchange_states() -> None:
    noisy = b"symbol,open_time,open,high,low,close,volume,funding_rate\n" + b"".join(
        f"AUSDT,2025-01-0{day}T00:00:00Z,0.0008017999999999999,0.0009,0.0008,0.00762099999999999e-1,1.0,"
        f"0.00030000000000000003\n".encode()
        for day in (1, 2)
    )
    frame = parse_bars(noisy, "a.csv")
    assert frame["open"].to_list() == [0.0008018] * 2
    assert frame["close"].to_list() == [0.0007621] * 2
    assert frame["funding_rate"].to_list() == [0.0003] * 2
