"""Candles from archives of trades: read once, block by block, while the next block is inflated."""

import io
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import numpy as np
import polars as pl
from numpy.typing import NDArray
from polars.exceptions import PolarsError

from trader.domain.interval import Interval
from trader.errors import DataError
from trader.market.candles import with_close
from trader.market.tables import TIME
from trader.research.history.archives import ArchiveName, pieces

HEADERS: Final = (b"id,price,qty,quote_qty,time,is_buyer_maker", b"id,price,qty,quoteQty,time,isBuyerMaker")

_BLOCK = 4 << 20
_AHEAD = 3
_COLUMNS = {
    "id": pl.Int64,
    "price": pl.Float64,
    "quantity": pl.Float64,
    "quote": pl.Float64,
    "time": pl.Int64,
    "maker": pl.Boolean,
}
_MAKERS = (b"true", b"false", b"True", b"False")
# Amounts have at most eight decimals; summed as whole numbers they come out as the exchange's own sums do.
_UNIT = 10**8

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


class _Unreadable(Exception):
    """A line of a block (from 0) is no trade, for that reason."""

    def __init__(self, line: int, reason: str) -> None:
        super().__init__(line, reason)
        self.line = line
        self.reason = reason


@dataclass(frozen=True, slots=True)
class _Bars:
    """The bars of one block; amounts as whole numbers and hundred-millionths."""

    bucket: Ints
    open: Floats
    high: Floats
    low: Floats
    close: Floats
    amounts: tuple[Ints, Ints, Ints, Ints]


@dataclass(frozen=True, slots=True)
class _Block:
    lines: int
    first: tuple[int, int]
    last: tuple[int, int]
    bars: _Bars


def read_trades(path: Path, name: ArchiveName, interval: Interval) -> pl.DataFrame:
    """Read an archive of trades into candles that trades fell in; `filled` adds the quiet ones.

    Sums are exact to the eighth decimal, as the exchange's are.

    Raises:
        DataError: a damaged file, a line that is no trade, trades unsorted, told twice or of another day; the message
            names file and line.
    """
    begin, end = _milliseconds(name.begin), _milliseconds(name.end)
    found: list[_Bars] = []
    lines = 0
    known: tuple[int, int] | None = None
    with ThreadPoolExecutor(2) as reader:
        for future, skipped in _read_ahead(reader, _blocks(path), begin, end, interval):
            try:
                block = future.result()
                _require_order(known, block.first)
            except _Unreadable as error:
                place = lines + skipped + error.line + 1
                raise DataError(f"{path.name} {error.reason} in line {place}; download it again.") from error
            lines += skipped + block.lines
            known = block.last
            found.append(block.bars)
    if not found:
        raise DataError(f"{path.name} holds no trades; download it again.")
    return _frame(name.symbol, interval, _joined(found))


def filled(candles: pl.DataFrame, name: ArchiveName, interval: Interval, previous: float | None) -> pl.DataFrame:
    """Add the bars of an archive's days in which nobody traded: at the last price, with no volume.

    `previous` is the close of the bar before the days begin; where it is unknown, bars before the first trade are left
    out, because their price is.
    """
    begin = name.begin if previous is not None else candles["open_time"][0]
    grid = pl.datetime_range(
        begin, name.end, interval.delta, closed="left", time_unit="ms", time_zone="UTC", eager=True
    )
    quiet = pl.DataFrame({"open_time": grid.cast(TIME)}).join(
        candles, on="open_time", how="left", maintain_order="left"
    )
    close = pl.coalesce(pl.col("close").forward_fill(), pl.lit(previous, pl.Float64))
    return with_close(
        quiet.with_columns(
            pl.lit(name.symbol).alias("symbol"),
            close,
            *(pl.col(column).fill_null(close) for column in ("open", "high", "low")),
            pl.col("volume", "quote_volume").fill_null(0.0),
        ),
        interval,
    )


def _blocks(path: Path) -> Iterator[bytes]:
    """Yield whole lines, several megabytes at a time."""
    kept: list[bytes] = []
    size = 0
    for piece in pieces(path):
        kept.append(piece)
        size += len(piece)
        if size >= _BLOCK:
            text = b"".join(kept)
            cut = text.rfind(b"\n") + 1
            if cut:
                yield text[:cut]
            kept = [text[cut:]]
            size = len(kept[0])
    rest = b"".join(kept)
    if rest.strip():
        yield rest


def _read_ahead(
    reader: ThreadPoolExecutor, blocks: Iterable[bytes], begin: int, end: int, interval: Interval
) -> Iterator[tuple[Future[_Block], int]]:
    """Yield what becomes of each block, in order, with the lines of a header before it."""
    waiting: deque[tuple[Future[_Block], int]] = deque()
    first, skipped = True, 0
    for block in blocks:
        body = block
        if first and block.partition(b"\n")[0].strip() in HEADERS:
            skipped, body = 1, block.partition(b"\n")[2]
        first = False
        if body.strip() or not skipped:
            waiting.append((reader.submit(_read, body, begin, end, interval.milliseconds), skipped))
            skipped = 0
        if len(waiting) > _AHEAD:
            yield waiting.popleft()
    yield from waiting


def _read(block: bytes, begin: int, end: int, length: int) -> _Block:
    try:
        table = pl.read_csv(io.BytesIO(block), has_header=False, new_columns=list(_COLUMNS), schema_overrides=_COLUMNS)
    except (PolarsError, UnicodeDecodeError):
        table = pl.DataFrame()
    if table.width != len(_COLUMNS) or table.null_count().sum_horizontal()[0]:
        raise _first_unreadable(block)
    ids, time = table["id"].to_numpy(), table["time"].to_numpy()
    price, quantity, quote = (table[name].to_numpy() for name in ("price", "quantity", "quote"))
    _refuse(~(np.isfinite(price) & (price > 0)), "has a price that is not positive")
    _refuse(~((quantity >= 0) & (quantity < np.inf) & (quote >= 0) & (quote < np.inf)), "has a negative amount")
    _refuse((time < begin) | (time >= end), "has a trade of another day")
    step = np.diff(ids, prepend=ids[0] - 1)
    _refuse(step == 0, "tells a trade twice")
    _refuse((step < 0) | (np.diff(time, prepend=time[0]) < 0), "is not sorted")
    return _Block(
        len(ids),
        (int(ids[0]), int(time[0])),
        (int(ids[-1]), int(time[-1])),
        _bars(time // length, price, quantity, quote),
    )


def _bars(bucket: Ints, price: Floats, quantity: Floats, quote: Floats) -> _Bars:
    starts = np.concatenate([[0], np.flatnonzero(np.diff(bucket)) + 1])
    ends = np.concatenate([starts[1:], [len(bucket)]]) - 1
    return _Bars(
        bucket[starts],
        price[starts],
        np.maximum.reduceat(price, starts),
        np.minimum.reduceat(price, starts),
        price[ends],
        (*_sums(quantity, starts), *_sums(quote, starts)),
    )


def _sums(amounts: Floats, starts: Ints) -> tuple[Ints, Ints]:
    whole = np.floor(amounts)
    parts = np.rint((amounts - whole) * _UNIT).astype(np.int64)
    return np.add.reduceat(whole.astype(np.int64), starts), np.add.reduceat(parts, starts)


def _joined(blocks: list[_Bars]) -> _Bars:
    """Join bars that a block's edge went through."""
    bucket = np.concatenate([block.bucket for block in blocks])
    starts = np.concatenate([[0], np.flatnonzero(np.diff(bucket)) + 1])
    ends = np.concatenate([starts[1:], [len(bucket)]]) - 1
    amounts = [np.concatenate(column) for column in zip(*(block.amounts for block in blocks), strict=True)]
    whole, parts, quote_whole, quote_parts = (np.add.reduceat(column, starts) for column in amounts)
    return _Bars(
        bucket[starts],
        np.concatenate([block.open for block in blocks])[starts],
        np.maximum.reduceat(np.concatenate([block.high for block in blocks]), starts),
        np.minimum.reduceat(np.concatenate([block.low for block in blocks]), starts),
        np.concatenate([block.close for block in blocks])[ends],
        (whole, parts, quote_whole, quote_parts),
    )


def _frame(symbol: str, interval: Interval, bars: _Bars) -> pl.DataFrame:
    whole, parts, quote_whole, quote_parts = bars.amounts
    opens = pl.Series("open_time", bars.bucket * interval.milliseconds).cast(TIME)
    table = pl.DataFrame(
        {
            "open_time": opens,
            "open": bars.open,
            "high": bars.high,
            "low": bars.low,
            "close": bars.close,
            "volume": _exact(whole, parts),
            "quote_volume": _exact(quote_whole, quote_parts),
        }
    )
    return with_close(table.select(pl.lit(symbol).alias("symbol"), pl.all()), interval)


def _exact(whole: Ints, parts: Ints) -> list[float]:
    # Division of Python's integers rounds once, to the number that reading the decimals gives.
    return [(one * _UNIT + part) / _UNIT for one, part in zip(whole.tolist(), parts.tolist(), strict=True)]


def _require_order(known: tuple[int, int] | None, first: tuple[int, int]) -> None:
    if known is not None and first[0] == known[0]:
        raise _Unreadable(0, "tells a trade twice")
    if known is not None and (first[0] < known[0] or first[1] < known[1]):
        raise _Unreadable(0, "is not sorted")


def _refuse(wrong: NDArray[np.bool_], reason: str) -> None:
    if wrong.any():
        raise _Unreadable(int(wrong.argmax()), reason)


def _first_unreadable(block: bytes) -> _Unreadable:
    for number, line in enumerate(block.splitlines()):
        fields = line.strip().split(b",")
        if len(fields) != len(_COLUMNS) or fields[5] not in _MAKERS or not _numbers(fields):
            return _Unreadable(number, "has no trade (id,price,qty,quote_qty,time,is_buyer_maker)")
    return _Unreadable(0, "cannot be read as trades from the block that begins")


def _numbers(fields: list[bytes]) -> bool:
    try:
        int(fields[0]), int(fields[4])
        return all(np.isfinite(float(field)) for field in fields[1:4])
    except ValueError:
        return False


def _milliseconds(moment: datetime) -> int:
    return round(moment.astimezone(UTC).timestamp() * 1000)
