"""Equity, drawdown and position by close, kept up close by close and thinned for a figure."""

from datetime import datetime
from decimal import Decimal

from trader.journal.queries import Reader
from trader.journal.rows import EquityPoint
from trader.journal.schema import to_milliseconds

MOST = 1500
_RATIO = Decimal("0.000001")
Row = tuple[int, float, float, float]


def drawdown(point: EquityPoint) -> float:
    """Return the loss since the highest equity as a fraction of it."""
    return float((1 - point.equity / point.peak).quantize(_RATIO)) if point.peak > 0 else 0.0


class Series:
    """Rows of time (milliseconds since the epoch), equity, drawdown, and position.

    With `many` symbols the position is how many of them are held.
    """

    def __init__(self, *, many: bool = False) -> None:
        self._many = many
        self._rows: list[Row] = []
        self._last: datetime | None = None

    def columns(self, journal: Reader) -> dict[str, list[float]]:
        """Return what the journal tells by now; of many rows those that shape the lines."""
        self._read(journal)
        rows = thinned(self._rows, MOST)
        return {
            "close": [row[0] for row in rows],
            "equity": [row[1] for row in rows],
            "drawdown": [row[2] for row in rows],
            "position": [row[3] for row in rows],
        }

    def _read(self, journal: Reader) -> None:
        points = [point for point in journal.equity_points(since=self._last) if point.close != self._last]
        if not points:
            return
        held = {record.close: record.positions or {} for record in journal.decisions(since=points[0].close)}
        for point in points:
            quantities = list(held.get(point.close, {}).values())
            count = sum(quantity != 0 for quantity in quantities)
            position = float(count if self._many else sum(quantities[:1]))
            self._rows.append((to_milliseconds(point.close), round(float(point.equity), 2), drawdown(point), position))
        self._last = points[-1].close


def thinned(rows: list[Row], most: int) -> list[Row]:
    """Return at most so many rows, and of every stretch left out its lowest and its highest equity."""
    if len(rows) <= most:
        return rows
    kept = {0, len(rows) - 1}
    stretches = most // 2 - 1
    for stretch in range(stretches):
        begin, end = len(rows) * stretch // stretches, len(rows) * (stretch + 1) // stretches
        places = range(begin, end)
        kept |= {min(places, key=lambda place: rows[place][1]), max(places, key=lambda place: rows[place][1])}
    return [rows[place] for place in sorted(kept)]
