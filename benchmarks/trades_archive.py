"""A day's archive of three million trades into candles, against inflating it and nothing else."""

import tempfile
import zipfile
import zlib
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from benchmarks.frame import Check, Row, interleaved
from trader.domain.interval import Interval
from trader.research.history.archives import ArchiveName
from trader.research.history.trades import read_trades

TRADES = 3_000_000
HOUR = Interval.parse("1h")


def measure() -> Row:
    with tempfile.TemporaryDirectory() as folder:
        path = archive(Path(folder), TRADES)
        name = ArchiveName.read(path.name)
        assert name is not None
        packed, size = deflated(path)
        ours, inflate, whole = interleaved(
            lambda: read_trades(path, name, HOUR),
            lambda: zlib.decompress(packed, -zlib.MAX_WBITS, size),
            lambda: read_whole(path),
            times=3,
        )
    checks = {"inflate": Check.within(ours, inflate, 1.3), "table": Check.faster(ours, whole, 1)}
    note = f"{TRADES:,} trades, {size / 1e6:.0f} MB inflated; inflate is zlib in one piece, table reads it all at once"
    return Row("daily trades archive to candles", ours, checks, note)


def archive(folder: Path, count: int) -> Path:
    """Write a day of random trades as Binance publishes them."""
    random = np.random.default_rng(1)
    day = datetime(2024, 1, 1, tzinfo=UTC)
    price = np.round(0.6 * np.exp(np.cumsum(random.normal(0, 1e-5, count))), 4)
    quantity = np.ceil(random.exponential(500, count))
    table = pl.DataFrame(
        {
            "id": 1_300_000_000 + np.arange(count),
            "price": price,
            "qty": quantity,
            "quote_qty": np.round(price * quantity, 4),
            "time": round(day.timestamp() * 1000) + np.sort(random.integers(0, 86_400_000, count)),
            "is_buyer_maker": random.random(count) < 0.5,
        }
    )
    path = folder / f"ADAUSDT-trades-{day:%Y-%m-%d}.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as held:
        held.writestr(f"{path.stem}.csv", table.write_csv())
    return path


def deflated(path: Path) -> tuple[bytes, int]:
    """Return the packed bytes of the only file of a zip, and its size."""
    with zipfile.ZipFile(path) as held:
        (member,) = held.infolist()
    data = path.read_bytes()
    head = data[member.header_offset :][:30]
    begin = member.header_offset + 30 + int.from_bytes(head[26:28], "little") + int.from_bytes(head[28:30], "little")
    return data[begin : begin + member.compress_size], member.file_size


def read_whole(path: Path) -> Any:
    """Inflate, parse and group one after the other, with the whole table in memory."""
    with zipfile.ZipFile(path) as held:
        text = held.read(held.namelist()[0])
    return (
        pl.read_csv(text, columns=["price", "qty", "quote_qty", "time"])
        .group_by(pl.col("time") // HOUR.milliseconds, maintain_order=True)
        .agg(
            pl.col("price").first().alias("open"),
            pl.col("price").max().alias("high"),
            pl.col("price").min().alias("low"),
            pl.col("price").last().alias("close"),
            pl.col("qty", "quote_qty").sum(),
        )
    )
