"""Days of trades and the klines that the exchange would make of them, computed trade by trade in Decimal."""

import io
import zipfile
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import numpy as np
import polars as pl

from trader.domain.interval import Interval

DAY = datetime(2024, 1, 1, tzinfo=UTC)
HEADER = "id,price,qty,quote_qty,time,is_buyer_maker"
OLD_HEADER = "id,price,qty,quoteQty,time,isBuyerMaker"

Trade = tuple[int, Decimal, Decimal, int]


def trades(days: int = 3, a_day: int = 400, seed: int = 5) -> list[Trade]:
    """Trades at random times, some on the very last and first millisecond of a day."""
    random = np.random.default_rng(seed)
    begin = round(DAY.timestamp() * 1000)
    times: list[int] = []
    for day in range(days):
        edge = begin + day * 86_400_000
        inside = edge + random.integers(0, 86_400_000, a_day)
        times += [edge, *sorted(inside.tolist()), edge + 86_399_999]
    price = Decimal("0.6000")
    told = []
    for number, time in enumerate(times):
        price += Decimal(int(random.integers(-3, 4))) / 10_000
        told.append((9_000_000_000 + number * 2, price, Decimal(int(random.integers(1, 10**7))) / 1000, time))
    return told


def lines(told: Sequence[Trade]) -> list[str]:
    return [
        f"{number},{price},{quantity},{price * quantity},{time},{'true' if number % 3 else 'false'}"
        for number, price, quantity, time in told
    ]


def of_day(told: Sequence[Trade], day: int) -> list[Trade]:
    begin = round(DAY.timestamp() * 1000) + day * 86_400_000
    return [one for one in told if begin <= one[3] < begin + 86_400_000]


def name(day: int, suffix: str = "zip", symbol: str = "ADAUSDT") -> str:
    return f"{symbol}-trades-{DAY + timedelta(days=day):%Y-%m-%d}.{suffix}"


def write(path: Path, text: str) -> Path:
    """Write a table as a file of its own, or into a zip by the name of its file."""
    if path.suffix == ".zip":
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr(f"{path.stem}.csv", text)
        path.write_bytes(buffer.getvalue())
    else:
        path.write_text(text)
    return path


def archive(folder: Path, told: Sequence[Trade], day: int, header: str = HEADER, suffix: str = "zip") -> Path:
    rows = [*([header] if header else []), *lines(of_day(told, day))]
    return write(folder / name(day, suffix), "\n".join(rows) + "\n")


def klines(told: Sequence[Trade], interval: Interval) -> pl.DataFrame:
    """What the exchange publishes: whole bars, quiet ones at the last price."""
    length = interval.milliseconds
    first, last = told[0][3] // length, (told[-1][3] + 1) // length
    rows = []
    before = told[0][1]
    for bucket in range(first, last):
        inside = [one for one in told if one[3] // length == bucket]
        prices = [price for _, price, _, _ in inside] or [before]
        before = prices[-1]
        rows.append(
            {
                "symbol": "ADAUSDT",
                "open_time": datetime.fromtimestamp(bucket * length / 1000, tz=UTC),
                "open": float(prices[0]),
                "high": float(max(prices)),
                "low": float(min(prices)),
                "close": float(prices[-1]),
                "volume": float(sum((quantity for _, _, quantity, _ in inside), Decimal(0))),
                "quote_volume": float(sum((price * quantity for _, price, quantity, _ in inside), Decimal(0))),
            }
        )
    return pl.DataFrame(rows).with_columns(pl.col("open_time").cast(pl.Datetime("ms", "UTC")))


def kline_text(frame: pl.DataFrame, interval: Interval, *, header: bool) -> str:
    """A kline archive's table: twelve fields a line."""
    names = "open_time,open,high,low,close,volume,close_time,quote_volume,count"
    rows = [f"{names},taker_buy_volume,taker_buy_quote_volume,ignore"] if header else []
    for row in frame.iter_rows(named=True):
        opened = round(row["open_time"].timestamp() * 1000)
        prices = ",".join(str(row[one]) for one in ("open", "high", "low", "close", "volume"))
        rows.append(f"{opened},{prices},{opened + interval.milliseconds - 1},{row['quote_volume']},7,1.5,0.9,0")
    return "\n".join(rows) + "\n"
