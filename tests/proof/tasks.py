"""The whole proof in pieces that can be done in any order, in any process, today or tomorrow."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from typing import Any

from tests.proof import market
from tests.proof.bugs import EVERY, IN_A_BASKET, WITH_STOPS
from tests.proof.plan import Plan
from tests.proof.search import Found, Search
from tests.proof.stage import new_stage

SEEDS_A_TASK = 200
SINGLES, LEGS, BASKET, BASKET_PAIRS = 16, 4, 80, 40
"""Into how many pieces the plans of one fault are cut: of one symbol, of a basket in its short and its long form; and
those of two in a basket."""
ODD = {"odd": 32, "outages": 32, "some_odd": 2, "some_outages": 2}
"""Into how many those of an odd thing are cut."""
PHASES = ("planted", "kept", "singles", "odd", "stops", "outages", "basket", "basket_pairs", "pairs", "seeds",
          "stop_seeds", "basket_seeds", "basket_stop_seeds")  # fmt: skip
SHORT = ("known", "near_stops", "legs", "some_odd", "some_outages")
"""Beside these there are `known`, each planted bug with the one plan that is known to find it, `near_stops`, the part
of `stops` that is about them, `legs`, every kind of fault in one leg of a basket, and some of `odd` and `outages`."""
SCARCER = {"seeds": 1, "stop_seeds": 10, "basket_seeds": 20, "basket_stop_seeds": 40}
"""For how many random plans there is one more on a stage with protective stops, of a basket, and of both."""


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
            yield from (Task(phase, name) for name in EVERY)
        case "kept":
            yield Task(phase, "0")
        case "singles" | "stops" | "near_stops":
            yield from (Task(phase, str(part)) for part in range(SINGLES))
        case "odd" | "outages" | "some_odd" | "some_outages":
            yield from (Task(phase, str(part)) for part in range(ODD[phase]))
        case "basket" | "legs":
            yield from (Task(phase, str(part)) for part in range(BASKET if phase == "basket" else LEGS))
        case "basket_pairs":
            yield from (Task(phase, str(part)) for part in range(BASKET_PAIRS))
        case "pairs":
            yield from (Task(phase, str(first)) for first in range(firsts))
        case "seeds" | "stop_seeds" | "basket_seeds" | "basket_stop_seeds":
            yield from (Task(phase, str(start)) for start in range(0, seeds // SCARCER[phase], SEEDS_A_TASK))


_search: Search | None = None


def work(task: Task, seeds: int) -> Outcome:
    """Do a task in this process."""
    of_many = task.phase == "legs" or task.phase.startswith("basket") or task.which in IN_A_BASKET
    stops = task.phase.endswith(("stops", "stop_seeds", "outages")) or task.which in WITH_STOPS
    search = _on_stage(market.BASKET if of_many else (market.SYMBOL,), stops=stops)
    if task.phase in ("planted", "known"):
        plans = [search.known(task.which)] if task.phase == "known" else None
        found: Found = search.hunt(task.which, plans)
        return Outcome(str(task), found.plans, found=asdict(found))
    done = Outcome(str(task), 0)
    for plan, closes in _plans(search, task, seeds):
        done.plans += 1
        _, violation = search.judge(plan, closes, audit=not task.phase.endswith("seeds") or done.plans % 8 == 0)
        if violation is not None:
            done.violations.append(str(violation))
    return done


def _on_stage(symbols: tuple[str, ...], *, stops: bool) -> Search:
    """Return the search of this process on the market asked for; of two stages only one can stand."""
    global _search
    if _search is None or (_search.stage.symbols, _search.stage.stops) != (symbols, stops):
        if _search is not None:
            _search.stage.close()
        _search = Search(new_stage(symbols, stops=stops))
    return _search


def _plans(search: Search, task: Task, seeds: int) -> Iterator[tuple[Plan, int]]:
    number = int(task.which)
    match task.phase:
        case "kept":
            yield from search.kept()
        case "near_stops":
            yield from ((plan, 1) for plan in list(search.near_stops())[number::SINGLES])
        case "singles" | "stops":
            yield from ((plan, 1) for plan in list(search.singles())[number::SINGLES])
        case "odd" | "outages" | "some_odd" | "some_outages":
            yield from search.odd(short=task.phase.startswith("some"))[number :: ODD[task.phase]]
        case "legs":
            yield from ((plan, 1) for plan in list(search.basket(short=True))[number::LEGS])
        case "basket":
            yield from ((plan, 1) for plan in list(search.basket(short=False))[number::BASKET])
        case "basket_pairs":
            yield from ((plan, 1) for plan in search.basket_pairs(number, BASKET_PAIRS))
        case "pairs":
            yield from ((plan, 1) for plan in search.pairs(search.firsts()[number]))
        case "seeds" | "stop_seeds" | "basket_seeds" | "basket_stop_seeds":
            last = min(number + SEEDS_A_TASK, seeds // SCARCER[task.phase])
            spread = len(search.trace()) if task.phase.startswith("basket") else 1
            yield from ((Plan(seed=seed, spread=spread), 1 + seed % 2) for seed in range(number, last))
