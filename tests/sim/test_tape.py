"""Bad files are refused in one sentence that names file, row or time, and remedy."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from trader.sim.errors import StartError
from trader.sim.generated import FIRST, HOUR, HOURS, START, generated_tape, load_generated
from trader.sim.instruments import default_listing
from trader.sim.tape import load_tape

GOOD = [(1.0, 1.1, 0.9, 1.05)] * 6


MINUTE_20 = datetime(2024, 1, 1, 5, 20, tzinfo=UTC)


def market_hour(hour: int) -> datetime:
    return datetime(2024, 1, 1, tzinfo=UTC) + timedelta(hours=hour)


def with_value(frame: pl.DataFrame, column: str, row: int, value: Any) -> pl.DataFrame:
    values = frame[column].to_list()
    values[row] = value
    return frame.with_columns(pl.Series(column, values, dtype=frame.schema[column]))


def refusal(frame: pl.DataFrame, tmp_path: Path, name: str = "ADAUSDT_1h.parquet") -> str:
    frame.write_parquet(tmp_path / name)
    with pytest.raises(StartError) as caught:
        load_tape(tmp_path / name)
    message = str(caught.value)
    assert caught.value.exit_code == 78
    assert "\n" not in message
    assert message.endswith(".")
    assert name in message
    return message


BAD = {
    "gap": (lambda f: f.filter(pl.int_range(pl.len()) != 3), "row 4 (ADAUSDT 2024-01-01T04:00:00Z) follows a gap"),
    "duplicate": (lambda f: pl.concat([f[:3], f[2:]]), "row 4 (ADAUSDT 2024-01-01T02:00:00Z) repeats"),
    "unsorted": (lambda f: pl.concat([f[:2], f[3:4], f[2:3], f[4:]]), "sort the file"),
    "NaN": (lambda f: with_value(f, "close", 2, float("nan")), "row 3 at 2024-01-01T02:00:00Z has no finite close"),
    "null": (lambda f: with_value(f, "volume", 2, None), "row 3 at 2024-01-01T02:00:00Z has no finite volume"),
    "infinite": (lambda f: with_value(f, "high", 2, float("inf")), "no finite high"),
    "high below low": (lambda f: with_value(f, "high", 2, 0.5), "high below its low"),
    "open outside": (lambda f: with_value(f, "open", 2, 2.0), "outside low..high"),
    "zero price": (lambda f: with_value(f, "low", 2, 0.0), "not positive"),
    "negative volume": (lambda f: with_value(f, "volume", 2, -1.0), "negative volume"),
    "no column": (lambda f: f.drop("close"), "has no column close"),
    "no candle": (lambda f: f[:0], "holds no candle"),
    "one candle": (lambda f: f[:1], "at least two"),
    "seconds": (lambda f: f.with_columns(pl.col("open_time").dt.epoch("s")), "no epoch milliseconds"),
    "partial last bar": (
        lambda f: with_value(f, "open_time", 5, datetime(2024, 1, 1, 4, 30, tzinfo=UTC)),
        "row 6 (ADAUSDT 2024-01-01T04:30:00Z) is a partial last bar",
    ),
    "partial by its close time": (
        lambda f: f.with_columns(close_time=pl.Series([*f["open_time"].to_list()[1:], MINUTE_20])),
        "is a partial last bar (it ends at 2024-01-01T05:20:00Z)",
    ),
    "off the grid": (lambda f: f.with_columns(pl.col("open_time") + timedelta(minutes=7)), "off the UTC grid"),
    "odd spacing": (
        lambda f: f.with_columns(pl.Series("open_time", [market_hour(7 * index) for index in range(6)])),
        "420 minutes apart",
    ),
}  # fmt: skip


@pytest.mark.parametrize("fault", BAD)
def test_a_bad_candle_file_is_refused_with_its_place_and_remedy(market: Any, tmp_path: Path, fault: str) -> None:
    spoil, said = BAD[fault]
    assert said in refusal(spoil(market.candles(GOOD)), tmp_path)


def test_a_file_that_does_not_say_its_symbol_needs_to_be_told(market: Any, tmp_path: Path) -> None:
    frame = market.candles(GOOD)
    assert "which symbol" in refusal(frame, tmp_path, "candles.parquet")
    assert list(load_tape(tmp_path / "candles.parquet", symbol="ADAUSDT").series) == ["ADAUSDT"]
    frame.write_parquet(tmp_path / "1000PEPEUSDT.parquet")
    assert list(load_tape(tmp_path / "1000PEPEUSDT.parquet").series) == ["1000PEPEUSDT"]


def test_a_missing_or_unreadable_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StartError, match="does not exist"):
        load_tape(tmp_path / "none.parquet")
    (tmp_path / "bad.parquet").write_text("not parquet")
    with pytest.raises(StartError, match="cannot be read"):
        load_tape(tmp_path / "bad.parquet")


@pytest.mark.parametrize("form", ["%Y-%m-%dT%H:%M:%SZ", "%Y-%m-%d %H:%M:%S+00:00", "%Y-%m-%d %H:%M:%S UTC", "ms"])
def test_csv_and_parquet_of_the_same_candles_are_the_same_tape(market: Any, tmp_path: Path, form: str) -> None:
    frame = market.candles(GOOD)
    frame.write_parquet(tmp_path / "ADAUSDT.parquet")
    time = pl.col("open_time").dt.epoch("ms") if form == "ms" else pl.col("open_time").dt.strftime(form)
    frame.with_columns(time).write_csv(tmp_path / "ADAUSDT.csv")
    assert load_tape(tmp_path / "ADAUSDT.csv").digest == load_tape(tmp_path / "ADAUSDT.parquet").digest


def test_times_without_a_zone_are_utc(market: Any, tmp_path: Path) -> None:
    frame = market.candles(GOOD)
    frame.write_parquet(tmp_path / "ADAUSDT.parquet")
    frame.with_columns(pl.col("open_time").dt.strftime("%Y-%m-%d %H:%M:%S")).write_csv(tmp_path / "ADAUSDT.csv")
    naive = frame.with_columns(pl.col("open_time").dt.replace_time_zone(None))
    naive.write_parquet(tmp_path / "ADAUSDT_naive.parquet")
    digest = load_tape(tmp_path / "ADAUSDT.parquet").digest
    assert load_tape(tmp_path / "ADAUSDT.csv").digest == digest
    assert load_tape(tmp_path / "ADAUSDT_naive.parquet").digest == digest


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda f: f.drop("funding_rate"), "has no column funding_rate"),
        (lambda f: with_value(f, "funding_rate", 1, float("nan")), "funding.parquet row 2"),
        (lambda f: pl.concat([f, f[1:]]), "repeats the stamp"),
        (lambda f: f.reverse(), "earlier than the row"),
    ],
)
def test_a_bad_funding_file_is_refused(market: Any, tmp_path: Path, spoil: Any, said: str) -> None:
    market.candles(GOOD).write_parquet(tmp_path / "ADAUSDT.parquet")
    start = market.START
    spoil(market.funding({start: 0.1, start + timedelta(hours=1): 0.2})).write_parquet(tmp_path / "funding.parquet")
    with pytest.raises(StartError, match=said):
        load_tape(tmp_path / "ADAUSDT.parquet", tmp_path / "funding.parquet")


def test_funding_that_is_stamped_some_milliseconds_late_is_paid_at_its_minute(market: Any, tmp_path: Path) -> None:
    market.candles(GOOD).write_parquet(tmp_path / "ADAUSDT.parquet")
    late = timedelta(hours=2, milliseconds=7)
    market.funding({market.START: 0.1, market.START + late: 0.2}).write_parquet(tmp_path / "funding.parquet")
    series = load_tape(tmp_path / "ADAUSDT.parquet", tmp_path / "funding.parquet").series["ADAUSDT"]
    assert series.due(market.T0, market.T0 + 2 * market.HOUR) == [(market.T0 + 2 * market.HOUR, Decimal("0.2"))]


def test_the_real_tapes_load(shared: Path) -> None:
    tape = load_tape(shared / "data" / "ADAUSDT_1h.parquet", shared / "data" / "ADAUSDT_funding.parquet")
    assert (tape.spacing, len(tape.series["ADAUSDT"].open)) == (HOUR, 52816)
    many = load_tape(shared / "data" / "perps_1d_2023-09_2023-11.parquet")
    assert len(many.series) == 245


def test_the_generated_market_has_the_statistics_it_documents() -> None:
    candles, rates = generated_tape()
    times = candles["open_time"].dt.epoch("ms").to_numpy()
    assert (times[0], times[-1] + HOUR, len(times)) == (FIRST, FIRST + HOUR * HOURS, HOURS)
    assert START in times
    closes = np.log(candles["close"].to_numpy())
    hourly = np.diff(closes)
    kurtosis = np.mean(hourly**4) / np.var(hourly) ** 2
    clustering = np.corrcoef(np.abs(hourly[24:]), np.abs(hourly[:-24]))[0, 1]
    phases = [np.diff(closes[phase::16]) for phase in range(16)]
    reversion = np.mean([np.corrcoef(each[1:], each[:-1])[0, 1] for each in phases])
    assert kurtosis > 5
    assert clustering > 0.05
    assert -0.1 < reversion < -0.03
    trend = closes[7::8][90:] - closes[7::8][:-90]
    assert np.corrcoef(rates["funding_rate"].to_numpy()[90:], trend)[0, 1] > 0.1


def test_the_generated_market_is_the_same_as_its_frames_in_files(tmp_path: Path) -> None:
    candles, rates = generated_tape()
    candles.write_parquet(tmp_path / "frame.parquet")
    rates.write_parquet(tmp_path / "rates.parquet")
    tape, made = load_tape(tmp_path / "frame.parquet", tmp_path / "rates.parquet"), load_generated()
    assert (tape.digest, tape.funding_digest) == (made.digest, made.funding_digest)
    assert made.generated
    assert not tape.generated


def test_prices_and_rates_are_read_in_eight_decimals_so_that_noise_makes_no_tick(market: Any, tmp_path: Path) -> None:
    frame = market.candles([(0.0008017999999999999, 0.0009, 0.0007, 0.0008017999999999999)] * 3)
    frame.with_columns(funding_rate=pl.lit(0.00030000000000000003)).write_parquet(tmp_path / "ADAUSDT_1h.parquet")
    tape = load_tape(tmp_path / "ADAUSDT_1h.parquet")
    series = tape.series["ADAUSDT"]
    assert str(series.price(series.first)) == "0.0008018"
    assert [str(rate) for rate in series.rates] == ["0.0003"] * 3
    assert default_listing(tape).instruments["ADAUSDT"].tick == Decimal("1e-7")


def test_the_generated_half_hours_of_bitcoin_are_what_they_document() -> None:
    candles, rates = generated_tape("BTCUSDT")
    assert (candles.height, candles["symbol"].unique().to_list()) == (2 * HOURS, ["BTCUSDT"])
    assert candles["open_time"].diff().drop_nulls().unique().to_list() == [timedelta(minutes=30)]
    assert candles["open"][1:].equals(candles["close"][:-1], check_names=False)
    assert (candles["close"] * 10 - (candles["close"] * 10).round()).abs().max() < 1e-6
    assert 0.0025 < candles["close"].log().diff().std() < 0.0035
    assert 20_000 < candles["low"].min() < candles["high"].max() < 100_000
    assert rates["funding_time"].diff().drop_nulls().unique().to_list() == [timedelta(hours=8)]
    assert load_generated("BTCUSDT").spacing == HOUR // 2


def test_a_market_that_nobody_generates_is_refused() -> None:
    with pytest.raises(StartError, match="choose ADAUSDT or BTCUSDT"):
        load_generated("ETHUSDT")
