"""Read parquet and CSV columns strictly: aware times, finite numbers, the missing named."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from trader.sim.errors import StartError

PRICES = ("open", "high", "low", "close")
_ZONE = re.compile(r"(?:[+-]\d\d:?\d\d|Z)$")


def read_frame(path: Path, what: str) -> pl.DataFrame:
    """Read a parquet or CSV file; ``what`` names it in a refusal."""
    if not path.is_file():
        raise StartError(f"The {what} {path} does not exist; give the path of a parquet or CSV file.")
    try:
        if path.suffix.lower() == ".csv":
            return pl.read_csv(path, infer_schema_length=None)
        return pl.read_parquet(path)
    except (pl.exceptions.PolarsError, OSError) as error:
        reason = str(error).splitlines()[0]
        raise StartError(f"The {what} {path} cannot be read ({reason}); give a parquet or CSV file.") from error


def require(frame: pl.DataFrame, columns: tuple[str, ...], name: str) -> None:
    """Refuse a file that lacks a column."""
    absent = [column for column in columns if column not in frame.columns]
    if absent:
        raise StartError(f"{name} has no column {', '.join(absent)}; it needs {', '.join(columns)}.")


def to_millis(column: pl.Series, name: str, title: str) -> Any:
    """Turn times (datetimes, ISO 8601 text, epoch milliseconds; UTC where no zone is said) into an int64 array."""
    if column.null_count():
        raise StartError(f"{name} row {int(column.is_null().arg_max() or 0) + 1} has no {title}; fill or remove it.")
    kind = column.dtype
    if isinstance(kind, pl.Datetime):
        return column.dt.epoch("ms").to_numpy().astype(np.int64)
    if kind == pl.String:
        column = _parsed(column, name, title)
        return column.dt.epoch("ms").to_numpy().astype(np.int64)
    if kind.is_integer():
        values = column.cast(pl.Int64).to_numpy()
        if values.size and int(values.min()) < 10**11:
            raise StartError(f"{name} has {title} values that are no epoch milliseconds; write UTC times with a zone.")
        return values
    raise StartError(f"{name} has {title} that are no times; store them as UTC (2024-01-01T00:00:00Z).")


def _parsed(column: pl.Series, name: str, title: str) -> pl.Series:
    texts = [str(value).strip().replace(" UTC", "Z") for value in column]
    # a candle file's times are UTC by its contract, whether it says so or not
    texts = [text if _ZONE.search(text) else f"{text}Z" for text in texts]
    normal = [_ZONE.sub(lambda m: "+0000" if m[0] == "Z" else m[0].replace(":", ""), t) for t in texts]
    normal = [text.replace("T", " ", 1) for text in normal]
    parsed = pl.Series(normal).str.to_datetime("%Y-%m-%d %H:%M:%S%.f%z", time_unit="ms", strict=False)
    if parsed.null_count():
        row = int(parsed.is_null().arg_max() or 0)
        raise StartError(f"{name} row {row + 1} has an unreadable {title} ({texts[row]!r}); write ISO 8601 in UTC.")
    return parsed


def with_numbers(frame: pl.DataFrame, columns: tuple[str, ...], times: Any, name: str) -> pl.DataFrame:
    """Cast columns to floats and refuse the first value that is absent or not finite."""
    frame = frame.with_columns(pl.col(column).cast(pl.Float64, strict=False) for column in columns)
    for column in columns:
        finite = frame[column].is_finite().fill_null(False).to_numpy()
        if not finite.all():
            row = int(np.argmin(finite))
            when = np.datetime_as_string(np.datetime64(int(times[row]), "ms"), unit="s")
            raise StartError(
                f"{name} row {row + 1} at {when}Z has no finite {column} (NaN or empty); "
                "fetch that candle again or cut the file there."
            )
    return frame
