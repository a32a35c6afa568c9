"""Tables as files carry them, brought to one shape before anything reads them."""

import io
import re
from collections.abc import Sequence

import polars as pl
from polars.exceptions import PolarsError

from trader.errors import DataError

TIME = pl.Datetime("ms", "UTC")
STATED = 8
"""Decimals in which an exchange states prices and rates; what a file has beyond them is noise of some arithmetic."""

_LEADING_SYMBOL = re.compile(r"[A-Z0-9]+USDT")
_PARQUET = b"PAR1"
_LAST_MILLISECOND = 4_102_444_800_000  # the year 2100; microseconds would lie far beyond


def parse_table(data: bytes, name: str, required: Sequence[str]) -> pl.DataFrame:
    """Read parquet (known by its first bytes) or CSV; `name` is the file's name, for messages.

    Raises:
        DataError: it is neither, or a required column is absent.
    """
    if not data:
        raise DataError(f"{name} is empty; give a parquet or CSV file with the columns {', '.join(required)}.")
    try:
        if data.startswith(_PARQUET):
            table = pl.read_parquet(io.BytesIO(data))
        else:
            table = pl.read_csv(io.BytesIO(data), infer_schema_length=None)
    except (PolarsError, UnicodeDecodeError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise DataError(
            f"{name} is neither parquet nor CSV that can be read ({reason}); fetch or export it again."
        ) from error
    missing = [column for column in required if column not in table.columns]
    if missing:
        raise DataError(f"{name} has no column {', '.join(missing)}; give a table with {', '.join(required)}.")
    return table


def utc_times(table: pl.DataFrame, column: str, name: str) -> pl.DataFrame:
    """Bring a column to aware UTC milliseconds.

    Times without a zone are UTC, integers are milliseconds since the epoch, text is ISO 8601.

    Raises:
        DataError: a time cannot be read, or is finer than a millisecond.
    """
    dtype = table.schema[column]
    times = pl.col(column)
    if isinstance(dtype, pl.Datetime):
        times = times.dt.convert_time_zone("UTC") if dtype.time_zone else times.dt.replace_time_zone("UTC")
    elif dtype == pl.Date:
        times = times.cast(TIME)
    elif dtype.is_integer():
        if not table.is_empty() and not table[column].is_between(0, _LAST_MILLISECOND).all():
            raise DataError(f"{name} has {column} as whole numbers that are no milliseconds since 1970; convert them.")
        times = pl.from_epoch(times.cast(pl.Int64), time_unit="ms").dt.replace_time_zone("UTC")
    elif dtype == pl.String:
        text = times.str.strip_chars().str.replace(r"(?:Z|\+00:?00)$", "").str.replace("T", " ", literal=True)
        times = pl.coalesce(
            text.str.to_datetime(layout, time_unit="us", strict=False) for layout in ("%F %T%.f", "%F %R", "%F")
        ).dt.replace_time_zone("UTC")
    else:
        raise DataError(f"{name} has {column} as {dtype}, which is no time; give UTC times like 2025-05-01T00:00:00Z.")
    result = table.with_columns(times.alias(column))
    unreadable = result[column].is_null()
    if unreadable.any():
        row = _first(unreadable)
        raise DataError(
            f"{name} has no readable {column} in row {row + 1} ({table[column][row]!r}); "
            "give UTC times like 2025-05-01T00:00:00Z."
        )
    fine = result[column] != result[column].dt.truncate("1ms")
    if fine.any():
        row = _first(fine)
        raise DataError(
            f"{name} has {column} {result[column][row]} in row {row + 1}, finer than a millisecond; round it."
        )
    return result.with_columns(pl.col(column).cast(TIME))


def with_symbol(table: pl.DataFrame, name: str, symbol: str | None) -> pl.DataFrame:
    """Give every row its symbol: from the column, else from the file's leading `...USDT`, else from `symbol`.

    Where `symbol` is given, only its rows remain.

    Raises:
        DataError: no symbol is known, or the file holds another one than was asked for.
    """
    if "symbol" in table.columns:
        if table.schema["symbol"] != pl.String or table["symbol"].has_nulls():
            raise DataError(f"{name} has rows without a symbol; fill its symbol column.")
        chosen = table if symbol is None else table.filter(pl.col("symbol") == symbol)
        if chosen.is_empty() and not table.is_empty():
            held = ", ".join(table["symbol"].unique().sort().head(5))
            raise DataError(f"{name} holds {held} and not {symbol}; give a file of {symbol}.")
        return chosen
    leading = _LEADING_SYMBOL.match(name)
    if leading is None and symbol is None:
        raise DataError(
            f"{name} does not say which symbol it holds; name it like ADAUSDT_1h.parquet or give the symbol."
        )
    if leading is not None and symbol is not None and leading[0] != symbol:
        raise DataError(f"{name} holds {leading[0]} by its name and not {symbol}; give a file of {symbol}.")
    return table.with_columns(pl.lit(leading[0] if leading else symbol).alias("symbol"))


def as_floats(table: pl.DataFrame, columns: Sequence[str], name: str) -> pl.DataFrame:
    """Bring numeric columns to float64.

    Raises:
        DataError: a column holds something that is no number.
    """
    for column in columns:
        dtype = table.schema[column]
        if not dtype.is_numeric() and dtype not in (pl.String, pl.Null):
            raise DataError(f"{name} has {column} as {dtype}, which is no number; give numbers.")
        unreadable = table[column].is_not_null() & table[column].cast(pl.Float64, strict=False).is_null()
        if unreadable.any():
            row = _first(unreadable)
            raise DataError(
                f"{name} has {column} {table[column][row]!r} in row {row + 1}, which is no number; correct it."
            )
    return table.with_columns(pl.col(list(columns)).cast(pl.Float64))


def _first(marks: pl.Series) -> int:
    row = marks.arg_max()
    return 0 if row is None else row
