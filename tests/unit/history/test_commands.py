import json
import subprocess
from pathlib import Path

import pytest

from tests.scenarios.processes import COMMAND
from tests.unit.history.candles_at_hand import HOUR, bars
from tests.unit.history.trading_days import archive, name, trades
from trader.app.history import import_files, verify
from trader.app.settings import load_settings
from trader.app.stored import candles_of
from trader.domain.interval import Interval
from trader.errors import ConfigError, DataError

EVERY_16H = Interval.parse("16h")


def keep(files: list[Path], *, replace: bool = False, base: Interval = HOUR) -> list[dict]:
    return import_files(load_settings(), files, None, base, replace=replace, tell=lambda share, words: None)


def test_files_are_kept_in_the_store_and_read_from_it(tmp_path: Path) -> None:
    told = trades()
    (document,) = keep([archive(tmp_path, told, day) for day in (1, 0, 2)])
    assert (document["files"], document["new_candles"], document["last"]) == (3, 72, "2024-01-04T00:00:00Z")
    assert candles_of(load_settings(), None, "ADAUSDT", EVERY_16H).height == 4
    (document,) = keep([tmp_path / name(1)])
    assert document["new_candles"] == 0
    with pytest.raises(ConfigError, match="--symbol of the store"):
        candles_of(load_settings(), None, None, EVERY_16H)


def test_nothing_is_kept_where_one_file_cannot_be_used(tmp_path: Path) -> None:
    good = archive(tmp_path, trades(), 0)
    bad = tmp_path / name(1)
    bad.write_bytes(good.read_bytes())
    with pytest.raises(DataError, match=f"{bad.name} holds {name(0, 'csv')}"):
        keep([good, bad])
    with pytest.raises(DataError, match="no such candles"):
        verify(load_settings(), None, None, None, None)


def test_a_trade_archive_continues_at_the_price_before_it_whether_read_now_or_earlier(tmp_path: Path) -> None:
    told = [one for one in trades() if one[3] % 86_400_000 >= 5 * HOUR.milliseconds]
    keep([archive(tmp_path, told, 0)])
    (document,) = keep([archive(tmp_path, told, 1)])
    assert document["candles"] == 24
    assert verify(load_settings(), None, "ADAUSDT", None, None)["findings"] == []


def test_files_that_contradict_each_other_are_refused(tmp_path: Path) -> None:
    bars(30).drop("close_time").write_parquet(tmp_path / "ADAUSDT_a.parquet")
    bars(30).drop("close_time").with_columns(bars(30)["volume"] + 1).write_parquet(tmp_path / "ADAUSDT_b.parquet")
    with pytest.raises(DataError, match="Two of the files tell the ADAUSDT 1h candle"):
        keep(sorted(tmp_path.glob("*.parquet")))


def test_verify_exits_with_1_and_lists_what_it_found_as_json(tmp_path: Path) -> None:
    file = tmp_path / "ADAUSDT_1h.csv"
    bars(30).drop("close_time").filter(bars(30)["open_time"].dt.hour() != 7).write_csv(file)
    done = subprocess.run(
        [*COMMAND, "history", "verify", str(file), "--json"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 1, done.stderr
    (found,) = json.loads(done.stdout)["findings"]
    assert (found["kind"], found["close"], found["candles"]) == ("gap", "2023-12-30T09:00:00Z", 1)
    bars(30).drop("close_time").write_csv(file)
    done = subprocess.run([*COMMAND, "history", "verify", str(file)], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "30 candles, no fault\n")


def test_a_store_is_compared_with_a_second_source(tmp_path: Path) -> None:
    bars(64).drop("close_time").write_parquet(tmp_path / "ADAUSDT.parquet")
    keep([tmp_path / "ADAUSDT.parquet"])
    other = tmp_path / "ADAUSDT_other.csv"
    bars(64).drop("close_time").with_columns(bars(64)["close"] * (1 + 1e-4)).write_csv(other)
    document = verify(load_settings(), None, "ADAUSDT", HOUR, other)
    assert {one["kind"] for one in document["findings"]} == {"different"}
    assert len(document["findings"]) == 64
