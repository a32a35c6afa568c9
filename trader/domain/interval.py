"""The time grid of candles: whole minutes, hours and days counted from the Unix epoch in UTC."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from trader.errors import ConfigError

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_TEXT = re.compile(r"([0-9]{1,6})([mhd])", re.ASCII)
_UNITS = {"m": 1, "h": 60, "d": 1440}
_MINUTES_PER_YEAR = 365 * 24 * 60

# Binance's klines that lie on the epoch grid; its 3d, 1w and 1M do not.
_NATIVE = (1440, 720, 480, 360, 240, 120, 60, 30, 15, 5, 3, 1)


@dataclass(frozen=True, slots=True, order=True)
class Interval:
    """The length of a candle and the grid its closes lie on.

    Closes are the instants whose distance from 1970-01-01T00:00Z is a whole multiple of `minutes`. Every method takes
    aware UTC datetimes and raises ValueError on any other.
    """

    minutes: int

    def __post_init__(self) -> None:
        if not 1 <= self.minutes <= 999_999 * 1440:
            raise ConfigError(f"An interval of {self.minutes} minutes is out of range; give at least one whole minute.")

    @classmethod
    def parse(cls, text: str) -> "Interval":
        """Read `16h`, `30m`, `1d` and the like.

        Raises:
            ConfigError: anything but a positive whole number followed by m, h or d.
        """
        match = _TEXT.fullmatch(text.strip())
        if match is None or int(match[1]) == 0:
            raise ConfigError(
                f"The interval {text!r} is not a positive whole number of minutes (m), hours (h) or days (d); "
                "write it like 16h, 30m or 1d."
            )
        return cls(int(match[1]) * _UNITS[match[2]])

    def __str__(self) -> str:
        for unit in ("d", "h"):
            if self.minutes % _UNITS[unit] == 0:
                return f"{self.minutes // _UNITS[unit]}{unit}"
        return f"{self.minutes}m"

    @property
    def delta(self) -> timedelta:
        """Return the length as a time difference."""
        return timedelta(minutes=self.minutes)

    @property
    def milliseconds(self) -> int:
        """Return the length in milliseconds."""
        return self.minutes * 60_000

    @property
    def native(self) -> "Interval":
        """Return the longest kline interval of Binance that divides this one (itself where it is one)."""
        return Interval(next(minutes for minutes in _NATIVE if self.minutes % minutes == 0))

    @property
    def per_year(self) -> float:
        """Return candles per year of 365 days."""
        return _MINUTES_PER_YEAR / self.minutes

    def floor(self, moment: datetime) -> datetime:
        """Return the last close at or before `moment`."""
        return _EPOCH + (_since_epoch(moment) // self.delta) * self.delta

    def ceil(self, moment: datetime) -> datetime:
        """Return the first close at or after `moment`."""
        return _EPOCH - (-_since_epoch(moment) // self.delta) * self.delta

    def following(self, moment: datetime) -> datetime:
        """Return the first close strictly after `moment`."""
        return self.floor(moment) + self.delta

    def is_close(self, moment: datetime) -> bool:
        """Whether `moment` lies on the grid."""
        return not _since_epoch(moment) % self.delta

    def closes(self, first: datetime, last: datetime) -> Iterator[datetime]:
        """Yield every close from `first` to `last`, both included."""
        start, end = self.ceil(first), self.floor(last)
        for step in range((end - start) // self.delta + 1):
            yield start + step * self.delta


def _since_epoch(moment: datetime) -> timedelta:
    if moment.utcoffset() != timedelta(0):
        raise ValueError(f"{moment!r} is not an aware UTC datetime")
    return moment - _EPOCH
