"""What a measurement says, and how two ways of doing the same thing are timed against each other."""

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any


class Skipped(Exception):
    """A row that cannot be measured here; the text is the reason."""


@dataclass(frozen=True)
class Check:
    """One demand of a row: a ratio between what is compared and ours, and whether it is good enough."""

    baseline: float
    ratio: float
    budget: str
    held: bool

    @classmethod
    def faster(cls, ours: float, baseline: float, least: float) -> "Check":
        """Demand that ours takes at most one part in `least` of the baseline."""
        return cls(baseline, baseline / ours, f">= {least:,g}x", baseline >= least * ours)

    @classmethod
    def within(cls, ours: float, baseline: float, most: float) -> "Check":
        """Demand that ours takes at most `most` times the baseline, such as a floor or a raw call."""
        return cls(baseline, ours / baseline, f"<= {most:,g}x", ours <= most * baseline)

    @classmethod
    def below(cls, ours: float, most: float, unit: str) -> "Check":
        """Demand an amount below a limit; the ratio is the share of the limit that is used."""
        return cls(most, ours / most, f"<= {most:,g} {unit}", ours <= most)

    @classmethod
    def true(cls, held: bool, budget: str, difference: float = 0.0) -> "Check":
        """Demand equality of results; the ratio says how far they are apart."""
        return cls(0.0, difference, budget, held)


@dataclass(frozen=True)
class Row:
    """One row of the budgets: `ours` in `unit`, against one baseline or several by name.

    Where there are several, `baseline`, `ratio` and `budget` are objects by name; the row holds if all of them do.
    """

    row: str
    ours: float
    checks: Mapping[str, Check]
    note: str
    unit: str = "s"

    def document(self) -> dict[str, Any]:
        """Return what is printed."""
        columns: dict[str, dict[str, Any]] = {
            "baseline": {name: _digits(check.baseline) for name, check in self.checks.items() if check.baseline},
            "ratio": {name: _digits(check.ratio) for name, check in self.checks.items()},
            "budget": {name: check.budget for name, check in self.checks.items()},
        }
        held = all(check.held for check in self.checks.values())
        flat = {
            name: next(iter(found.values()), None) if len(self.checks) == 1 else found
            for name, found in columns.items()
        }
        return {"row": self.row, "ours": _digits(self.ours), "unit": self.unit, **flat, "held": held, "note": self.note}


def interleaved(*ways: Callable[[], Any], times: int = 5) -> list[float]:
    """Return the median seconds of each way, all run once first and then in turn, so that noise meets all alike."""
    spent: list[list[float]] = [[] for _ in ways]
    for way in ways:
        way()
    for _ in range(times):
        for way, seconds in zip(ways, spent, strict=True):
            begin = time.perf_counter()
            way()
            seconds.append(time.perf_counter() - begin)
    return [statistics.median(seconds) for seconds in spent]


def _digits(number: float) -> float:
    return float(f"{number:.4g}")
