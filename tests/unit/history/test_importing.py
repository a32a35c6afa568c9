import zipfile
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from tests.unit.history.trading_days import (
    DAY,
    HEADER,
    OLD_HEADER,
    archive,
    kline_text,
    klines,
    lines,
    name,
    of_day,
    trades,
    write,
)
from trader.domain.interval import Interval
from trader.errors import DataError
from trader.market.resample import resample
from trader.research.history import trades as reading
from trader.research.history.archives import ArchiveName
from trader.research.history.importing import in_order, read_file
from trader.research.history.store import Store

HOUR, EVERY_16H = Interval.parse("1h"), Interval.parse("16h")
TOLD = trades()


def imported(paths: list[Path], base: Interval = HOUR) -> pl.DataFrame:
    """Candles of consecutive archives, each told the last price of the one before."""
    frames: list[pl.DataFrame] = []
    for path in in_order(paths):
        frames.append(read_file(path, "ADAUSDT", base, frames[-1]["close"][-1] if frames else None).candles)
    return pl.concat(frames)


def refused(path: Path, symbol: str | None = "ADAUSDT") -> str:
    with pytest.raises(DataError) as raised:
        read_file(path, symbol, HOUR)
    return str(raised.value)


@pytest.mark.parametrize("base", ["5m", "1h", "8h"])
def test_days_of_trades_give_the_same_16h_bars_as_their_klines(tmp_path: Path, base: str) -> None:
    source = Interval.parse(base)
    ours = imported([archive(tmp_path, TOLD, day) for day in (2, 0, 1)], source)
    assert ours.drop("close_time").equals(klines(TOLD, source))
    theirs = write(
        tmp_path / "ADAUSDT-8h-2024-01.csv", kline_text(klines(TOLD, Interval(480)), Interval(480), header=True)
    )
    bars = resample(ours, source, EVERY_16H)
    expected = resample(read_file(theirs, None, HOUR).candles, Interval(480), EVERY_16H)
    # Sums of sums round differently in the sixteenth digit; prices are the same numbers.
    assert_frame_equal(bars, expected, rel_tol=1e-14, abs_tol=0)
    assert bars.drop("volume", "quote_volume").equals(expected.drop("volume", "quote_volume"))
    # One begins on the second day and ends on the third.
    assert datetime(2024, 1, 2, 16, tzinfo=UTC) in bars["open_time"].to_list()


@pytest.mark.parametrize("header", [HEADER, OLD_HEADER, ""])
@pytest.mark.parametrize("suffix", ["zip", "csv"])
def test_every_spelling_of_an_archive_gives_the_same_candles(tmp_path: Path, header: str, suffix: str) -> None:
    assert (
        imported([archive(tmp_path, TOLD, 0, header, suffix)]).drop("close_time").equals(klines(of_day(TOLD, 0), HOUR))
    )


def test_where_a_file_is_cut_into_blocks_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = archive(tmp_path, TOLD, 0)
    whole = imported([path])
    for size in (1, 100, 1000, 7777):
        monkeypatch.setattr(reading, "_BLOCK", size)
        monkeypatch.setattr("trader.research.history.archives._PIECE", max(1, size // 3))
        assert imported([path]).equals(whole)


def test_sums_are_exact_to_the_eighth_decimal(tmp_path: Path) -> None:
    rows = [f"{number},0.1,0.10000001,0.01000001,{round(DAY.timestamp() * 1000)},true" for number in range(70_000)]
    frame = imported([write(tmp_path / name(0), "\n".join(rows))], Interval.parse("1d"))
    assert frame["volume"][0] == 7000.0007
    assert frame["quote_volume"][0] == 700.0007


def test_a_quiet_hour_stands_at_the_last_price_and_one_before_any_trade_is_left_out(tmp_path: Path) -> None:
    noon = round(DAY.timestamp() * 1000) + 12 * HOUR.milliseconds
    path = write(tmp_path / name(0), f"1,0.5,10,5,{noon},true\n2,0.6,10,6,{noon + 1},false\n")
    alone = read_file(path, None, HOUR).candles
    assert alone["open_time"][0] == DAY + timedelta(hours=12)
    assert alone.height == 12
    after = read_file(path, None, HOUR, 0.4).candles
    assert after.height == 24
    assert after["open"].to_list() == [0.4] * 12 + [0.5] + [0.6] * 11
    assert after["volume"].to_list() == [0.0] * 12 + [20.0] + [0.0] * 11


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda rows: [*rows[:7], rows[6], *rows[7:]], "tells a trade twice in line 9"),
        (lambda rows: [*rows[:5], rows[6], rows[5], *rows[7:]], "is not sorted in line 8"),
        (lambda rows: [*rows[:9], "1,2", *rows[9:]], "has no trade .* in line 11"),
        (lambda rows: [*rows[:9], "", *rows[9:]], "has no trade .* in line 11"),
        (lambda rows: [*rows[:9], rows[9].replace(",0.", ",-0.", 1), *rows[10:]], "not positive in line 11"),
        (lambda rows: [*rows[:9], rows[9].replace(",0.", ",x", 1), *rows[10:]], "has no trade .* in line 11"),
        (lambda rows: [*rows[:-1], rows[-1].replace("true", "maybe").replace("false", "maybe")], "in line 403"),
        (lambda rows: [*rows, lines(of_day(TOLD, 1))[0]], "has a trade of another day in line 404"),
    ],
)
@pytest.mark.parametrize("block", [1, 700, 8 << 20])
def test_a_strange_line_is_refused_by_file_and_number(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: object, reason: str, block: int
) -> None:
    monkeypatch.setattr(reading, "_BLOCK", block)
    monkeypatch.setattr("trader.research.history.archives._PIECE", max(1, block // 2))
    rows = [HEADER, *change(lines(of_day(TOLD, 0)))]  # type: ignore[operator]
    path = write(tmp_path / name(0), "\n".join(rows) + "\n")
    with pytest.raises(DataError, match=rf"{name(0)} .*{reason}"):
        read_file(path, None, HOUR)


def test_a_damaged_zip_is_refused_by_name(tmp_path: Path) -> None:
    path = archive(tmp_path, TOLD, 0)
    whole = path.read_bytes()
    middle = len(whole) // 2
    for broken in (
        whole[:middle],
        whole[:middle] + bytes([whole[middle] ^ 0x55]) + whole[middle + 1 :],
        whole[: middle - 40] + whole[middle:],
        b"PK\x03\x04 and nothing",
    ):
        path.write_bytes(broken)
        assert path.name in refused(path)


def test_a_zip_with_another_table_inside_is_refused(tmp_path: Path) -> None:
    path = tmp_path / name(0)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as held:
        held.writestr(name(0, "csv", "BTCUSDT"), HEADER)
    assert "BTCUSDT" in refused(path)


def test_another_symbol_is_refused_by_name(tmp_path: Path) -> None:
    path = archive(tmp_path, TOLD, 0)
    assert refused(path, "BTCUSDT").startswith(f"{path.name} holds ADAUSDT by its name and not BTCUSDT")


def test_trades_whose_name_does_not_say_their_day_are_refused(tmp_path: Path) -> None:
    for header in (HEADER, ""):
        path = archive(tmp_path, TOLD, 0, header, "csv")
        assert "does not say of which symbol and day" in refused(path.rename(tmp_path / "mine.csv"))


def test_an_empty_day_of_trades_is_refused(tmp_path: Path) -> None:
    for text in ("", HEADER + "\n"):
        assert "holds no trades" in refused(write(tmp_path / name(0), text))


def test_trades_are_not_made_into_bars_that_days_cannot_be_cut_into(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="import them at 1h or 8h"):
        read_file(archive(tmp_path, TOLD, 0), None, EVERY_16H)


@pytest.mark.parametrize("header", [True, False])
@pytest.mark.parametrize("suffix", ["zip", "csv"])
def test_kline_archives_with_and_without_a_header_load(tmp_path: Path, header: bool, suffix: str) -> None:
    bars = klines(TOLD, HOUR)
    path = write(tmp_path / f"ADAUSDT-1h-2024-01.{suffix}", kline_text(bars, HOUR, header=header))
    found = read_file(path, "ADAUSDT", Interval.parse("5m"))
    assert found.interval == HOUR
    assert found.candles.drop("close_time").equals(bars)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda rows: [*rows[:5], rows[4], *rows[5:]], "in line 7 repeats the candle"),
        (lambda rows: [*rows[:5], rows[6], rows[5], *rows[7:]], "in line 8 is older than"),
        (lambda rows: [*rows[:5], "1,2,3", *rows[6:]], "line 7 "),
        (lambda rows: [*rows[:5], rows[5].replace("3599999", "3599998"), *rows[6:]], ""),
        (lambda rows: [row.replace(rows[3].split(",")[6], "99") for row in rows], "line 5 is no whole 1h kline"),
    ],
)
def test_a_strange_kline_is_refused_by_file_and_line(tmp_path: Path, change: object, reason: str) -> None:
    rows = kline_text(klines(TOLD, HOUR), HOUR, header=True).splitlines()
    text = "\n".join([rows[0], *change(rows[1:])])  # type: ignore[operator]
    path = write(tmp_path / "ADAUSDT-1h-2024-01.zip", text)
    if not reason:
        assert read_file(path, None, HOUR).candles.height == 72
        return
    with pytest.raises(DataError, match=rf"{path.name}.*{reason}"):
        read_file(path, None, HOUR)


def test_a_plain_candle_file_loads_and_its_faults_have_lines(tmp_path: Path) -> None:
    bars = klines(TOLD, HOUR).drop("symbol")
    path = tmp_path / "ADAUSDT_1h.csv"
    path.write_text(bars.write_csv())
    assert read_file(path, None, EVERY_16H).interval == HOUR
    path.write_text(pl.concat([bars[:9], bars[8:]]).write_csv())
    assert f"{path.name}: the candle that opens at 2024-01-01T08:00:00Z in line 11 repeats" in refused(path)
    path.write_text(pl.concat([bars[:9], bars[12:]]).write_csv())
    assert read_file(path, None, HOUR).candles.height == 69


@pytest.mark.parametrize(
    ("file", "said"),
    [
        ("ADAUSDT-trades-2024-02-29.zip", ("ADAUSDT", None, datetime(2024, 2, 29), datetime(2024, 3, 1))),
        ("BTCUSDT-trades-2023-12.csv", ("BTCUSDT", None, datetime(2023, 12, 1), datetime(2024, 1, 1))),
        ("1000PEPEUSDT-8h-2024-01.zip", ("1000PEPEUSDT", "8h", datetime(2024, 1, 1), datetime(2024, 2, 1))),
    ],
)
def test_an_archives_name_says_symbol_interval_and_days(file: str, said: tuple) -> None:
    found = ArchiveName.read(file)
    symbol, interval, begin, end = said
    assert found is not None
    assert (found.symbol, found.interval and str(found.interval)) == (symbol, interval)
    assert (found.begin, found.end) == (begin.replace(tzinfo=UTC), end.replace(tzinfo=UTC))


@pytest.mark.parametrize(
    "file", ["ADAUSDT_1h.parquet", "ADAUSDT-trades-2024-02-30.zip", "ADAUSDT-aggTrades-2024-01-01.zip"]
)
def test_other_names_are_no_archives(file: str) -> None:
    assert ArchiveName.read(file) is None


def test_candles_of_the_store_are_those_of_the_files(tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    store.add(HOUR, imported([archive(tmp_path, TOLD, day) for day in range(3)]))
    found = store.candles("ADAUSDT", EVERY_16H)
    expected = klines(TOLD, EVERY_16H)[1:]  # the first began a day earlier
    assert found.drop("close_time", "volume", "quote_volume").equals(expected.drop("volume", "quote_volume"))
