"""Build the klines of every native interval from the one tape, rows written once and kept."""

from bisect import bisect_left, bisect_right
from dataclasses import dataclass, field

import numpy as np

from trader.sim.money import finest_decimals
from trader.sim.tape import DAY, MINUTE, Series

HOUR = 60 * MINUTE
INTERVALS = {
    "1m": MINUTE,
    "3m": 3 * MINUTE,
    "5m": 5 * MINUTE,
    "15m": 15 * MINUTE,
    "30m": 30 * MINUTE,
    "1h": HOUR,
    "2h": 2 * HOUR,
    "4h": 4 * HOUR,
    "6h": 6 * HOUR,
    "8h": 8 * HOUR,
    "12h": 12 * HOUR,
    "1d": DAY,
}


@dataclass(slots=True)
class Klines:
    """Hold one symbol at one interval; a bar is shown closed only when the clock has reached its end."""

    series: Series
    interval: int
    price_decimals: int
    volume_decimals: int
    times: list[int]
    columns: list[list[float]]
    written: list[str | None] = field(default_factory=list)

    def rows(self, now: int, start: int | None, end: int | None, limit: int) -> str:
        """Write the JSON list of klines with openTime in [start, end], known at ``now``, the open one last."""
        closed = bisect_right(self.times, now - self.interval)
        known = bisect_right(self.times, now) if now < self.series.end else closed
        flat = now >= self.series.end and closed == len(self.times)
        if now >= self.series.end and closed < len(self.times):
            known = closed + 1
        opens = now // self.interval * self.interval
        begin = 0 if start is None else bisect_left(self.times, start)
        stop = known if end is None else min(known, bisect_right(self.times, end))
        with_flat = flat and opens == self.series.end and (end is None or opens <= end)
        with_flat = with_flat and (start is None or opens >= start)
        size = stop + with_flat
        if start is None:
            begin = max(begin, size - limit)
        else:
            size = min(size, begin + limit)
        texts = [self._row(index, now) for index in range(begin, min(size, stop))]
        if with_flat and size > stop:
            texts.append(self._flat(opens))
        return "[" + ",".join(texts) + "]"

    def _row(self, index: int, now: int) -> str:
        opened = self.times[index]
        if opened + self.interval > now:
            return self._forming(opened, now)
        kept = self.written[index]
        if kept is None:
            values = [column[index] for column in self.columns]
            kept = self.written[index] = self._write(opened, *values)
        return kept

    def _forming(self, opened: int, now: int) -> str:
        """Write the candle still open: whole tape bars that have ended, and the open of the current one."""
        series = self.series
        first = max(0, (opened - series.first) // series.spacing)
        current = min((now - series.first) // series.spacing, len(series.open))
        last = series.open[current] if current < len(series.open) else series.close[-1]
        high = max([last, *series.high[first:current]])
        low = min([last, *series.low[first:current]])
        start = series.open[first] if first < len(series.open) else last
        volume, quote = sum(series.volume[first:current]), sum(series.quote[first:current])
        return self._write(opened, start, high, low, last, volume, quote)

    def _flat(self, opened: int) -> str:
        last = self.series.close[-1]
        return self._write(opened, last, last, last, last, 0.0, 0.0)

    def _write(self, t: int, o: float, h: float, lo: float, c: float, v: float, q: float) -> str:
        p = self.price_decimals
        return (
            f'[{t},"{o:.{p}f}","{h:.{p}f}","{lo:.{p}f}","{c:.{p}f}","{v:.{self.volume_decimals}f}",'
            f'{t + self.interval - 1},"{q:.8f}",0,"0","0","0"]'
        )


def build(series: Series, interval: int, price_decimals: int) -> Klines:
    """Aggregate a series; the interval is a multiple of the tape's spacing.

    A candle that began before the tape is not told: nobody knows how it began.
    """
    times = series.first + series.spacing * np.arange(len(series.open), dtype=np.int64)
    buckets = times // interval
    starts = np.concatenate([[0], np.flatnonzero(np.diff(buckets)) + 1])
    last = np.append(starts[1:], len(times)) - 1
    if series.first % interval:
        starts, last = starts[1:], last[1:]
    columns = [
        np.asarray(series.open)[starts].tolist(),
        np.maximum.reduceat(np.asarray(series.high), starts).tolist(),
        np.minimum.reduceat(np.asarray(series.low), starts).tolist(),
        np.asarray(series.close)[last].tolist(),
        np.add.reduceat(np.asarray(series.volume), starts).tolist(),
        np.add.reduceat(np.asarray(series.quote), starts).tolist(),
    ]
    bars = (buckets[starts] * interval).tolist()
    digits = min(8, finest_decimals([series.volume]))
    return Klines(series, interval, price_decimals, digits, bars, columns, [None] * len(bars))
