"""What a daemon's own loop tells of itself, for whoever shows it elsewhere."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from time import monotonic
from typing import Any, Protocol

from trader.domain.interval import Interval

STALE = 60.0
"""Seconds without a word from the loop after which a daemon is not well."""


class Worth(Protocol):
    """What decides, and the verdict on the very way in which it does: a model's card may hold one for each."""

    @property
    def name(self) -> str:
        """Name of the model, or of the rule."""
        ...

    @property
    def hash(self) -> str:
        """The identity that an overrule names."""
        ...

    @property
    def verdict(self) -> str:
        """GO, NO-GO or UNJUDGED."""
        ...

    @property
    def reason(self) -> str:
        """Why."""
        ...

    @property
    def expires(self) -> datetime | None:
        """When it is too old; None where it does not age."""
        ...

    @property
    def gates(self) -> Mapping[str, Any]:
        """What was measured and needed, by name."""
        ...


@dataclass(frozen=True, slots=True)
class Instance:
    """What does not change while a daemon runs.

    `started` is this machine's time; `generated` says that the market is not a real one's. What a new configuration
    changes is asked each time: `worth` tells what decides now and its verdict, `max_clock_offset` how far this
    machine's clock may be off when an order opens.
    """

    version: str
    venue: str
    dry_run: bool
    generated: bool
    strategy: str
    symbols: tuple[str, ...]
    interval: Interval
    started: datetime
    worth: Callable[[], Worth]
    max_clock_offset: Callable[[], timedelta]


@dataclass(frozen=True, slots=True)
class Facts:
    """What the loop said last.

    `told` is monotonic time, `now` the venue's; `wakes` is when, by this machine's clock, the next close is expected,
    None where time is the exchange's to give. `clock_offset` is the venue's time minus this machine's, `clock_error`
    how far that may be wrong; `weights` are used and allowed request weights by window; until `cooldown` the exchange
    wants no request; `out_since` is since when, by this machine's clock, a start waits for an exchange that is out.
    """

    told: float
    now: datetime
    ready: bool
    wakes: datetime | None
    clock_offset: timedelta
    clock_error: timedelta
    weights: Mapping[str, tuple[int, int]]
    cooldown: datetime | None
    out_since: datetime | None = None


class Board:
    """The last word of the loop; written by it alone, read by any thread."""

    def __init__(self, first: Facts) -> None:
        self._facts = first

    def put(self, facts: Facts) -> None:
        """Take the place of what was said before."""
        self._facts = facts

    @property
    def facts(self) -> Facts:
        """Return what was said last."""
        return self._facts

    def silent_for(self) -> float:
        """Return for how many seconds the loop has said nothing."""
        return monotonic() - self._facts.told
