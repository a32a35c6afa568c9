"""Klines as Binance sends them, turned into the candle frame that is due."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import compress
from operator import itemgetter, sub
from typing import cast

import polars as pl

from trader.domain.interval import Interval
from trader.errors import DataError, ExchangeError
from trader.exchange.answers import Row
from trader.exchange.clock import milliseconds
from trader.exchange.endpoints import KLINES_PAGE
from trader.market.candles import with_close
from trader.market.panel import excluding
from trader.market.resample import resample

_NUMBERS = {"open": 1, "high": 2, "low": 3, "close": 4, "volume": 5, "quote_volume": 7}
_TIME = pl.Datetime("ms", "UTC")


class Unpublished(ExchangeError):
    """The candle that has just closed is not told yet; it may be asked for again."""


@dataclass(frozen=True, slots=True)
class Span:
    """Which native klines make the last `count` closed candles of an interval at a moment.

    `begin` and `end` are opens of native klines in milliseconds, `end` exclusive: the close that is due.
    """

    target: Interval
    native: Interval
    count: int
    begin: int
    end: int

    @classmethod
    def ending(cls, target: Interval, count: int, now: datetime) -> "Span":
        """Return the span whose end is the last close at or before `now`, the exchange's time."""
        end = milliseconds(target.floor(now))
        return cls(target, target.native, count, end - count * target.milliseconds, end)

    def before(self) -> "Span":
        """Return the span that ends one candle earlier."""
        length = self.target.milliseconds
        return replace(self, begin=self.begin - length, end=self.end - length)

    @property
    def pages(self) -> list[tuple[int, int]]:
        """First open and row count of each request: the span, and the kline after it."""
        rows = (self.end - self.begin) // self.native.milliseconds + 1
        return [
            (self.begin + first * self.native.milliseconds, min(KLINES_PAGE, rows - first))
            for first in range(0, rows, KLINES_PAGE)
        ]


def frame_of(
    rows: Mapping[str, list[Row]], span: Span, where: str, least: int | None = None
) -> tuple[pl.DataFrame, dict[str, Exception]]:
    """Build the candle frame of a span from the raw rows of each symbol.

    Klines outside the span are dropped: the one still open, and what a stale cache adds. The newest counts as whole
    only where the one after it is told as well: an answer from before the close has the same row, not yet at its end.

    Args:
        rows: raw klines by symbol.
        span: which of them are wanted.
        where: names the endpoint in errors.
        least: how few candles of a symbol will do; what is wrong with one symbol leaves it out, and is returned by
            name. None where every symbol is needed with all of them.

    Raises:
        ExchangeError: a row is not a kline.
        Unpublished: the newest is missing of every symbol, or not known to be whole.
        DataError: another is missing or impossible, so that fewer than `count` whole ones are left.
    """
    problems: dict[str, Exception] = {}
    natives = _Natives(where)
    for symbol in sorted(rows):
        try:
            natives.add(symbol, _closed(symbol, rows[symbol], span, where))
        except ExchangeError as error:
            if least is None or len(problems) == len(rows) - 1:
                raise
            problems[symbol] = error
    native, unfit = natives.frame(span.native)
    if unfit and (least is None or len(problems) + len(unfit) == len(rows)):
        raise next(iter(unfit.values()))
    candles, unusable = _whole_candles(native, span, strict=least is None)
    problems |= unfit | unusable
    counts = dict(candles.group_by("symbol").len().iter_rows())
    for symbol in rows.keys() - problems.keys():
        if counts.get(symbol, 0) < (least or span.count):
            problems[symbol] = DataError(
                f"{where} has {counts.get(symbol, 0)} of {span.count} whole {span.target} candles of {symbol}; wait "
                "until all are published, or give a symbol with a longer history."
            )
            if least is None:
                raise problems[symbol]
    return candles.filter(~pl.col("symbol").is_in(list(problems))) if problems else candles, problems


def _whole_candles(native: pl.DataFrame, span: Span, *, strict: bool) -> tuple[pl.DataFrame, dict[str, Exception]]:
    """Build the candles of native ones; those of a symbol with a hole or an impossible one are left out."""
    try:
        return resample(native, span.native, span.target), {}
    except DataError:
        usable, reasons = excluding(native, span.native)
        if strict or usable.is_empty():
            raise
    return resample(usable, span.native, span.target), {name: DataError(why) for name, why in reasons.items()}


def page_of(
    symbol: str, rows: list[Row], native: Interval, begin: datetime, end: datetime, where: str, settled: datetime
) -> pl.DataFrame:
    """Return the native candles among raw rows that lie in [begin, end), with whatever gaps there are.

    The newest counts as whole only where the one after it is told as well, or where it closed before `settled`: an
    answer from before the close has the same row, not yet at its end.

    Raises:
        ExchangeError: a row is not a kline.
    """
    span = Span(native, native, len(rows), milliseconds(begin), milliseconds(end))
    kept = _within(symbol, rows, span, where)
    if kept and kept[-1] is rows[-1] and _times(kept[-1:], 6)[0] >= milliseconds(settled):
        kept = kept[:-1]
    found = _Natives(where)
    found.add(symbol, kept)
    frame, unfit = found.frame(native)
    for problem in unfit.values():
        raise problem
    return frame


def _closed(symbol: str, rows: list[Row], span: Span, where: str) -> list[Row]:
    """Keep the klines of a span; the last must be the one that closes at its end."""
    kept = _within(symbol, rows, span, where)
    _require_end(symbol, _times(kept[-1:], 0), span, where)
    if max(_times(rows, 0)) < span.end:
        raise Unpublished(
            f"{where} tells no {span.native} candle of {symbol} after the one closed at {_clock_time(span.end)}, so "
            "that one may not be whole yet; ask again."
        )
    return kept


def _within(symbol: str, rows: list[Row], span: Span, where: str) -> list[Row]:
    length, first, stop = span.native.milliseconds, span.begin, span.end
    try:
        opens, ends = _times(rows, 0), _times(rows, 6)
    except (IndexError, TypeError):
        kept, strange = [], True
    else:
        # A kline is closed when its own close time, the last millisecond in it, lies before the end.
        found = [begin >= first and end < stop for begin, end in zip(opens, ends, strict=True)]
        kept = list(compress(rows, found))
        strange = bool(set(compress(map(sub, ends, opens), found)) - {length - 1})
    if strange:
        raise ExchangeError(f"{where} of {symbol} has a row that is not a {span.native} kline; the answer is not used.")
    return kept


class _Natives:
    """The native klines of many symbols by column: a frame of all costs what one of a single symbol does."""

    def __init__(self, where: str) -> None:
        self._where = where
        self._symbols: list[str] = []
        self._opens: list[int] = []
        self._texts: dict[str, list[str]] = {name: [] for name in _NUMBERS}

    def add(self, symbol: str, rows: list[Row]) -> None:
        """Add a symbol's rows, all of them or none.

        Raises:
            ExchangeError: one has no numbers.
        """
        try:
            texts = {name: _texts(rows, place) for name, place in _NUMBERS.items()}
        except (IndexError, TypeError):
            raise self._unfit() from None
        self._symbols += [symbol] * len(rows)
        self._opens += _times(rows, 0)
        for name, values in texts.items():
            self._texts[name] += values

    def frame(self, native: Interval) -> tuple[pl.DataFrame, dict[str, Exception]]:
        """Return them as a candle frame, in which nothing is checked, without the symbols whose numbers are none."""
        opens = pl.Series("open_time", self._opens, dtype=pl.Int64).cast(_TIME)
        names = pl.Series("symbol", self._symbols, dtype=pl.String)
        texts = [pl.Series(name, values, dtype=pl.String) for name, values in self._texts.items()]
        numbers = [column.cast(pl.Float64, strict=False) for column in texts]
        frame = with_close(pl.DataFrame([names, opens, *numbers]), native)
        if not any(column.null_count() for column in numbers):
            return frame, {}
        strange = frame.select(pl.any_horizontal(pl.col(_NUMBERS.keys()).is_null())).to_series()
        bad: dict[str, Exception] = dict.fromkeys(frame.filter(strange)["symbol"].unique().to_list(), self._unfit())
        return frame.filter(~pl.col("symbol").is_in(list(bad))), bad

    def _unfit(self) -> ExchangeError:
        return ExchangeError(f"{self._where} has a kline without its numbers; the answer is not used.")


def _require_end(symbol: str, opens: list[int], span: Span, where: str) -> None:
    if not opens or opens[-1] != span.end - span.native.milliseconds:
        last = "none" if not opens else f"{_clock_time(opens[-1] + span.native.milliseconds)} last"
        raise Unpublished(
            f"{where} has no {span.native} candle of {symbol} that closed at {_clock_time(span.end)} yet ({last}); ask "
            "again."
        )


def _clock_time(moment: int) -> str:
    return f"{datetime.fromtimestamp(moment / 1000, tz=UTC):%Y-%m-%dT%H:%M:%SZ}"


def _times(rows: list[Row], place: int) -> list[int]:
    """Return a column of whole milliseconds."""
    column = list(map(itemgetter(place), rows))
    if set(map(type, column)) <= {int}:
        return cast(list[int], column)
    raise TypeError


def _texts(rows: list[Row], place: int) -> list[str]:
    """Return a column of numbers as text, which is how they are told."""
    column = list(map(itemgetter(place), rows))
    if set(map(type, column)) <= {str}:
        return cast(list[str], column)
    return [_text(value) for value in column]


def _text(value: object) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, int | float):
        return repr(float(value))
    raise TypeError
