"""Files of the world into candles of one interval: archives of trades, archives of klines, plain candle files."""

import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import polars as pl
from polars.exceptions import PolarsError

from trader.domain.interval import Interval
from trader.errors import DataError
from trader.market.candles import PRICES, Fault, faults, parse_bars, spacing, with_close
from trader.market.tables import TIME
from trader.research.history.archives import ArchiveName, pieces
from trader.research.history.trades import filled, read_trades

_DAY = 24 * 60
_KLINE = (
    "open_time",
    *PRICES,
    "volume",
    "close_time",
    "quote_volume",
    "count",
    "taker_buy_volume",
    "taker_buy_quote_volume",
    "ignore",
)
_PARQUET = b"PAR1"
_FEWEST_FIELDS = 6


@dataclass(frozen=True, slots=True)
class Imported:
    """What a file held: candles of one interval, whole and closed, with whatever gaps the file has."""

    source: str
    interval: Interval
    candles: pl.DataFrame


def in_order(paths: Iterable[Path]) -> list[Path]:
    """Return files so that the days of each symbol's trades follow each other."""

    def key(path: Path) -> tuple[str, str]:
        name = ArchiveName.read(path.name)
        return ("", path.name) if name is None else (name.symbol, f"{name.begin:%Y%m%d}")

    return sorted(paths, key=key)


def read_file(path: Path, symbol: str | None, base: Interval, previous: float | None = None) -> Imported:
    """Read any file of candles or trades.

    Args:
        path: its name tells archives apart; an archive of trades must be called as Binance calls it.
        symbol: what is expected, or None for what the file says.
        base: the interval that trades are made into; it must divide a day.
        previous: the close before an archive of trades begins, for the bars before its first trade.

    Raises:
        DataError: it cannot be used; the message names file and line.
    """
    name = ArchiveName.read(path.name)
    if name is not None and symbol is not None and name.symbol != symbol:
        raise DataError(f"{path.name} holds {name.symbol} by its name and not {symbol}; give an archive of {symbol}.")
    if name is not None and name.interval is None:
        require_base(base)
        return Imported(path.name, base, filled(read_trades(path, name, base), name, base, previous))
    data = b"".join(pieces(path))
    if name is not None and name.interval is not None and not data.startswith(_PARQUET):
        return Imported(path.name, name.interval, _klines(data, path.name, name, name.interval))
    if _headless_trades(data):
        raise DataError(
            f"{path.name} holds trades, but its name does not say of which symbol and day; call it like "
            "ADAUSDT-trades-2024-01-31.zip."
        )
    frame = _plain(data, path.name, symbol)
    return Imported(path.name, spacing(frame), frame)


def require_base(base: Interval) -> None:
    """Refuse an interval that days cannot be cut into; candles that span days are built from those that do not.

    Raises:
        DataError: it does not divide a day.
    """
    if _DAY % base.minutes:
        raise DataError(
            f"Trades of a day cannot be made into {base} candles, which do not divide a day; import them at 1h or 8h, "
            f"and every command builds {base} candles from those."
        )


def refuse_unusable(source: str, frame: pl.DataFrame, interval: Interval, first_line: int) -> None:
    """Refuse a table whose rows cannot be candles; gaps pass.

    Raises:
        DataError: the message names `source` and the line.
    """
    wrong = [fault for fault in faults(frame, interval) if fault.kind != "gap"]
    if wrong:
        raise DataError(_sentence(source, wrong, frame, first_line))


def _sentence(source: str, wrong: Sequence[Fault], frame: pl.DataFrame, first_line: int) -> str:
    fault = wrong[0]
    opened: datetime | None = frame["open_time"][fault.row]
    moment = "without a time" if opened is None else f"that opens at {opened:%Y-%m-%dT%H:%M:%SZ}"
    more = f" (and {len(wrong) - 1} more)" if len(wrong) > 1 else ""
    return f"{source}: the candle {moment} in line {fault.row + first_line} {fault.reason}{more}; export it again."


def _klines(data: bytes, source: str, name: ArchiveName, interval: Interval) -> pl.DataFrame:
    header = data[:9] == b"open_time"
    try:
        table = pl.read_csv(
            io.BytesIO(data),
            has_header=False,
            skip_rows=int(header),
            new_columns=list(_KLINE),
            schema_overrides=dict.fromkeys(_KLINE, pl.String),
        )
    except (PolarsError, UnicodeDecodeError) as error:
        raise DataError(
            f"{source} holds no klines ({_strange_line(data, header)}); a line has {len(_KLINE)} fields, "
            "from open_time to ignore: download it again."
        ) from error
    first_line = 1 + int(header)
    numbers = table.with_columns(
        pl.col("open_time", "close_time").cast(pl.Int64, strict=False),
        pl.col(*PRICES, "volume", "quote_volume").cast(pl.Float64, strict=False),
    )
    _refuse_where(
        pl.any_horizontal(pl.col("open_time", "close_time", *PRICES, "volume", "quote_volume").is_null()),
        numbers, source, first_line, "is no kline",
    )  # fmt: skip
    length = interval.milliseconds
    opened, closed = pl.col("open_time"), pl.col("close_time")
    _refuse_where(closed - opened + 1 != length, numbers, source, first_line, f"is no whole {interval} kline")
    begin, end = (round(moment.timestamp() * 1000) for moment in (name.begin, name.end))
    outside = (opened < begin) | (opened >= end)
    _refuse_where(outside, numbers, source, first_line, "is of another day than the file's name says")
    bars = numbers.select(pl.lit(name.symbol).alias("symbol"), opened.cast(TIME), *PRICES, "volume", "quote_volume")
    frame = with_close(bars, interval)
    refuse_unusable(source, frame, interval, first_line)
    return frame


def _refuse_where(wrong: pl.Expr, table: pl.DataFrame, source: str, first_line: int, reason: str) -> None:
    mark = table.select(wrong.alias("wrong"))["wrong"]
    if mark.any():
        raise DataError(f"{source}: line {(mark.arg_max() or 0) + first_line} {reason}; download it again.")


def _strange_line(data: bytes, header: bool) -> str:
    for number, line in enumerate(data.splitlines(), start=1):
        if line.count(b",") != len(_KLINE) - 1 and not (header and number == 1):
            return f"line {number} has {line.count(b',') + 1} fields"
    return "it is no CSV"


def _headless_trades(data: bytes) -> bool:
    """Whether a table is one of trades, by its header or by six fields of which the last is true or false."""
    head = data[: data.find(b"\n")].strip() if b"\n" in data else data.strip()
    fields = head.lower().split(b",")
    return len(fields) >= _FEWEST_FIELDS and (
        fields[5] in (b"true", b"false") or fields[:3] == [b"id", b"price", b"qty"]
    )


def _plain(data: bytes, source: str, symbol: str | None) -> pl.DataFrame:
    frame = parse_bars(data, source, symbol)
    refuse_unusable(source, frame, spacing(frame), 1 if data.startswith(_PARQUET) else 2)
    return frame
