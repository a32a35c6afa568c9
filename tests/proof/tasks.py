"""The whole proof in pieces that can be done in any order, in any process, today or tomorrow."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from typing import Any

from tests.proof.plan import Plan
from tests.proof.planted import BUGS
from tests.proof.search import Found, Search

SEEDS_A_TASK = 200
SINGLES = 16
"""Into how many pieces the plans of one fault are cut."""
PHASES = ("planted", "kept", "singles", "pairs", "seeds")
"""Beside these there is `known`: each planted bug with the one plan that is known to find it."""


@dataclass(frozen=True, order=True)
class Task:
    """One piece: the name of its phase and its number or name in it."""

    phase: str
    which: str

    def __str__(self) -> str:
        return f"{self.phase}:{self.which}"


@dataclass
class Outcome:
    """What came of a piece."""

    task: str
    plans: int
    violations: list[str] = field(default_factory=list)
    found: dict[str, Any] | None = None


def tasks(phase: str, firsts: int, seeds: int) -> Iterator[Task]:
    """Cut a phase into tasks."""
    match phase:
        case "planted" | "known":
            yield from (Task(phase, name) for name in BUGS)
        case "kept":
            yield Task(phase, "0")
        case "singles":
            yield from (Task(phase, str(part)) for part in range(SINGLES))
        case "pairs":
            yield from (Task(phase, str(first)) for first in range(firsts))
        case "seeds":
            yield from (Task(phase, str(start)) for start in range(0, seeds, SEEDS_A_TASK))


_search: Search | None = None


def work(task: Task, seeds: int) -> Outcome:
    """Do a task in this process, whose stage is set once."""
    global _search
    _search = search = _search or Search()
    if task.phase in ("planted", "known"):
        plans = [search.known(task.which)] if task.phase == "known" else None
        found: Found = search.hunt(task.which, plans)
        return Outcome(str(task), found.plans, found=asdict(found))
    done = Outcome(str(task), 0)
    for plan, closes in _plans(search, task, seeds):
        done.plans += 1
        _, violation = search.judge(plan, closes, audit=task.phase != "seeds" or done.plans % 8 == 0)
        if violation is not None:
            done.violations.append(str(violation))
    return done


def _plans(search: Search, task: Task, seeds: int) -> Iterator[tuple[Plan, int]]:
    number = int(task.which)
    match task.phase:
        case "kept":
            yield from search.kept()
        case "singles":
            yield from ((plan, 1) for plan in list(search.singles())[number::SINGLES])
        case "pairs":
            yield from ((plan, 1) for plan in search.pairs(search.firsts()[number]))
        case "seeds":
            yield from ((Plan(seed=seed), 1 + seed % 2) for seed in range(number, min(number + SEEDS_A_TASK, seeds)))
