"""Candles and funding kept on this machine, as parquet files that anything can read."""

import fcntl
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import polars as pl
from polars.exceptions import PolarsError

from trader.domain.interval import Interval
from trader.errors import ConfigError, DataError
from trader.market.candles import OPTIONAL, PRICES, with_close
from trader.market.resample import resample
from trader.market.tables import TIME

# Sums of the same trades may be added in another order elsewhere; prices are told, never computed.
_SAME = 1e-9
_SYMBOL = re.compile(r"[A-Z0-9_]{1,40}")
_NUMBERS = (*PRICES, "volume", "quote_volume")
_SCHEMA = pl.Schema([("symbol", pl.String()), ("open_time", TIME), *((name, pl.Float64()) for name in _NUMBERS)])
_FUNDING = pl.Schema([("symbol", pl.String()), ("funding_time", TIME), ("funding_rate", pl.Float64())])


@dataclass(frozen=True, slots=True)
class Holding:
    """What the store has of one symbol at one interval; `interval` is None for funding.

    `first` and `last` are the first open and the last close of candles, the first and last stamp of funding; `missing`
    counts the candles that are absent between them.
    """

    symbol: str
    interval: Interval | None
    first: datetime
    last: datetime
    rows: int
    missing: int
    size: int


class Store:
    """A folder of candles by symbol, interval and year, and of funding by symbol.

    `candles/SYMBOL/INTERVAL/YEAR.parquet` holds symbol, open_time, open, high, low, close, volume, quote_volume;
    `funding/SYMBOL.parquet` holds symbol, funding_time, funding_rate. A file is replaced as a whole, so that a process
    that dies leaves the old one or the new one; one process writes at a time.
    """

    def __init__(self, root: Path) -> None:
        self._root = root

    def candles(
        self, symbol: str, interval: Interval, start: datetime | None = None, end: datetime | None = None
    ) -> pl.DataFrame:
        """Return the whole candles that open at or after `start` and close at or before `end` as a candle frame.

        They are built from the interval of the store that covers most of the window, of equals the longest.

        Raises:
            DataError: the store has none, or what it has is not usable as `market.candles.validate` says.
        """
        source = self._source(symbol, interval, start, end)
        bars = self.bars(symbol, source, start, end)
        try:
            found = resample(bars, source, interval)
        except DataError as error:
            raise DataError(f"In the store: {error}") from error
        if found.is_empty():
            raise DataError(f"The store has no whole {interval} candle of {symbol} in that window; pull a longer one.")
        return found

    def bars(
        self, symbol: str, interval: Interval, start: datetime | None = None, end: datetime | None = None
    ) -> pl.DataFrame:
        """Return what is stored at one interval in a window, sorted, with whatever gaps it has."""
        years = [
            file
            for file in self._years(symbol, interval)
            if (start is None or int(file.stem) >= start.year) and (end is None or int(file.stem) <= end.year)
        ]
        bars = with_close(_read(years, _SCHEMA) if years else _SCHEMA.to_frame(), interval)
        if start is not None:
            bars = bars.filter(pl.col("open_time") >= pl.lit(start, TIME))
        if end is not None:
            bars = bars.filter(pl.col("close_time") <= pl.lit(end, TIME))
        # A column in which nothing is known is none.
        return bars.select(column for column in bars.columns if column not in OPTIONAL or not _unknown(bars[column]))

    def finest(self, symbol: str, interval: Interval) -> Interval:
        """Return the interval of the store that covers most of a symbol's history, of equals the shortest.

        Raises:
            DataError: the store has none that divides `interval`.
        """
        stored = {one: self.bars(symbol, one).height * one.minutes for one in self._usable(symbol, interval)}
        return max(stored, key=lambda one: (stored[one], -one.minutes))

    def last_before(self, symbol: str, interval: Interval, moment: datetime) -> float | None:
        """Return the close of the bar that ends exactly at `moment`, None where it is not stored."""
        begin = moment - interval.delta
        bars = self.bars(symbol, interval, begin, moment)
        return float(bars["close"][-1]) if not bars.is_empty() else None

    def missing(
        self, symbol: str, interval: Interval, start: datetime, end: datetime
    ) -> list[tuple[datetime, datetime]]:
        """Return the stretches [from, to) of a window on the grid that no stored candle covers."""
        first, last = interval.ceil(start), interval.floor(end)
        bars = self.bars(symbol, interval, first, last)
        begins = bars.filter((pl.col("open_time") != pl.col("close_time").shift(1)).fill_null(True))["open_time"]
        ends = bars.filter((pl.col("close_time") != pl.col("open_time").shift(-1)).fill_null(True))["close_time"]
        edges = zip([first, *ends], [*begins, last], strict=True)
        return [(begin, stop) for begin, stop in edges if begin < stop]

    def add(self, interval: Interval, frame: pl.DataFrame, *, replace: bool = False) -> int:
        """Keep candles of one interval, closed and on its grid; return how many were not stored before.

        Where the store already says something else about a candle it is refused, or with `replace` believed.

        Raises:
            DataError: two tellings of one candle differ; nothing is changed.
            ConfigError: the folder cannot be written.
        """
        rows = _complete(frame)
        changes: list[tuple[Path, pl.DataFrame]] = []
        added = 0
        with self._writing():
            for (symbol, year), part in rows.group_by(
                "symbol", pl.col("open_time").dt.year().alias("year"), maintain_order=True
            ):
                path = self._folder(str(symbol), interval) / f"{year}.parquet"
                fresh = part.select(_SCHEMA.names())
                if path.is_file():
                    stored = _read(path, _SCHEMA)
                    if not replace:
                        _refuse_contradiction(stored, fresh, interval)
                    # the newer telling of a candle stands where both are the same within rounding or it was asked for
                    known = stored.join(fresh, on="open_time", how="anti")
                    added += known.height + fresh.height - stored.height
                    fresh = pl.concat([known, fresh if replace else _first_told(stored, fresh)])
                else:
                    added += fresh.height
                changes.append((path, fresh.sort("open_time")))
            for path, table in changes:
                _write(path, table)
        return added

    def funding(self, symbol: str) -> pl.DataFrame:
        """Return a symbol's funding as [symbol, funding_time, funding_rate], sorted; empty where none is stored."""
        path = self._funding(symbol)
        return _read(path, _FUNDING) if path.is_file() else _FUNDING.to_frame()

    def add_funding(self, symbol: str, rates: pl.DataFrame) -> int:
        """Keep funding stamps; one that is stored stays as it is. Return how many are new."""
        with self._writing():
            stored = self.funding(symbol)
            fresh = rates.select(_FUNDING.names()).join(stored, on="funding_time", how="anti")
            if not fresh.is_empty():
                _write(self._funding(symbol), pl.concat([stored, fresh.cast(_FUNDING)]).sort("funding_time"))
        return fresh.height

    def holdings(self) -> list[Holding]:
        """Return everything the store has, candles first, by symbol and interval."""
        found = []
        for symbol in self.symbols():
            for interval in self.intervals(symbol):
                bars = self.bars(symbol, interval)
                first, last = bars["open_time"][0], bars["close_time"][-1]
                absent = round((last - first) / interval.delta) - bars.height
                size = sum(file.stat().st_size for file in self._years(symbol, interval))
                found.append(Holding(symbol, interval, first, last, bars.height, absent, size))
        for path in sorted((self._root / "funding").glob("*.parquet")):
            times = _read(path, _FUNDING)["funding_time"]
            found.append(Holding(path.stem, None, times[0], times[-1], len(times), 0, path.stat().st_size))
        return found

    def symbols(self) -> list[str]:
        """Return the symbols of which there are candles."""
        return sorted(folder.name for folder in (self._root / "candles").glob("*") if self.intervals(folder.name))

    def intervals(self, symbol: str) -> list[Interval]:
        """Return the intervals at which a symbol's candles are stored, shortest first."""
        folders = (self._root / "candles" / _checked(symbol)).glob("*")
        return sorted(Interval.parse(folder.name) for folder in folders if any(folder.glob("[0-9]*.parquet")))

    def _source(self, symbol: str, interval: Interval, start: datetime | None, end: datetime | None) -> Interval:
        usable = self._usable(symbol, interval)
        if len(usable) == 1:
            return usable[0]
        return max(usable, key=lambda one: (self.bars(symbol, one, start, end).height * one.minutes, one.minutes))

    def _usable(self, symbol: str, interval: Interval) -> list[Interval]:
        stored = self.intervals(symbol)
        usable = [one for one in stored if interval.minutes % one.minutes == 0]
        if not usable:
            held = f"only {', '.join(map(str, stored))} candles" if stored else "no candles"
            raise DataError(
                f"The store has {held} of {symbol}, of which no {interval} ones can be made; fetch some with "
                f"`trader history pull --symbol {symbol} --interval {interval}`, or give a candle file."
            )
        return usable

    def _folder(self, symbol: str, interval: Interval) -> Path:
        return self._root / "candles" / _checked(symbol) / str(interval)

    def _years(self, symbol: str, interval: Interval) -> list[Path]:
        return sorted(self._folder(symbol, interval).glob("[0-9]*.parquet"))

    def _funding(self, symbol: str) -> Path:
        return self._root / "funding" / f"{_checked(symbol)}.parquet"

    @contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            self._root.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(self._root / "lock", os.O_WRONLY | os.O_CREAT, 0o600)
        except OSError as error:
            raise _unwritable(self._root, error) from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)


def _checked(symbol: str) -> str:
    if not _SYMBOL.fullmatch(symbol):
        raise DataError(f"{symbol!r} is no symbol of the exchange; write it like ADAUSDT.")
    return symbol


def _unknown(column: pl.Series) -> bool:
    return column.null_count() == column.len()


def _complete(frame: pl.DataFrame) -> pl.DataFrame:
    if "quote_volume" not in frame.columns:
        frame = frame.with_columns(pl.lit(None, pl.Float64).alias("quote_volume"))
    return frame.select(_SCHEMA.names()).cast(_SCHEMA)


def _refuse_contradiction(stored: pl.DataFrame, fresh: pl.DataFrame, interval: Interval) -> None:
    both = fresh.join(stored, on="open_time", suffix="_stored")
    numbers = [*PRICES, "volume"]
    differs = pl.any_horizontal(
        (pl.col(name) - pl.col(f"{name}_stored")).abs() > _SAME * pl.col(f"{name}_stored").abs() for name in numbers
    )
    wrong = both.filter(differs)
    if not wrong.is_empty():
        row = wrong.row(0, named=True)
        name = next(one for one in numbers if row[one] != row[f"{one}_stored"])
        raise DataError(
            f"The {row['symbol']} {interval} candle that opens at {row['open_time']:%Y-%m-%dT%H:%M:%SZ} has {name} "
            f"{row[name]:.10g}, but the store has {row[f'{name}_stored']:.10g} ({wrong.height} such candles); find out "
            "which is right with `trader history verify --against`, and import it with --replace."
        )


def _first_told(stored: pl.DataFrame, fresh: pl.DataFrame) -> pl.DataFrame:
    """Return the fresh rows as stored where they are stored, with a quote volume that was not known before."""
    both = fresh.join(stored, on="open_time", how="left", suffix="_stored", maintain_order="left")
    kept = [pl.coalesce(f"{name}_stored", name).alias(name) for name in _NUMBERS]
    return both.select("symbol", "open_time", *kept)


def _read(path: Path | list[Path], schema: pl.Schema) -> pl.DataFrame:
    try:
        table = pl.read_parquet(path, columns=schema.names())
        return table if table.schema == schema else table.cast(schema)
    except (OSError, PolarsError) as error:
        if isinstance(path, list):
            # one by one, to name the one that is broken
            return pl.concat([_read(one, schema) for one in path])
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise DataError(
            f"The store's file {path} cannot be read ({reason}); move it away and pull or import that year again."
        ) from error


def _write(path: Path, table: pl.DataFrame) -> None:
    """Replace a file as a whole: what was there stays until every byte of the new one is on disk."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with temporary.open("wb") as file:
                table.write_parquet(file, compression="zstd", statistics=False)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
        _sync_folder(path.parent)
    except OSError as error:
        raise _unwritable(path, error) from error


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _unwritable(path: Path, error: OSError) -> ConfigError:
    return ConfigError(
        f"The store cannot write {path}: {error.strerror}; point TRADER_DATA_DIR to a directory that this user may "
        "write, with room on its disk."
    )
