"""Run plans one after the other: judge, replay, shrink, and find planted bugs."""

import contextlib
import gc
import random
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from tests.proof.bugs import EVERY, ODD_BUGS, closes_of
from tests.proof.odd import ASKED, ODD, OUTAGES, RESTORES
from tests.proof.odd_plans import (
    after_deaths,
    before_restores,
    beside_stops,
    during_outages,
    forgotten_posts,
    while_accepted,
)
from tests.proof.plan import (
    KEPT,
    KNOWN,
    Plan,
    apart,
    basket,
    beside,
    firsts,
    legs,
    near_stops,
    seconds,
    singles,
)
from tests.proof.planted import OPENED_WITH
from tests.proof.stage import Stage, new_stage
from tests.proof.world import Told, World, beginning

_EVERY = {False: 53, True: 67}
"""Of how many odd plans the short form has one, without and with stops; neither divides the kinds, so all are met."""

_TRADED = 9
"""The step of a close at which somebody trades what is accepted later."""

STARTING = "GET /fapi/v1/feeBurn"
"""What only a start asks, as its fourth step."""

REPLAY = "python -m tests.proof --plan"


@dataclass(frozen=True)
class Violation:
    """A broken promise: what was broken, the smallest plan that still breaks it, and how to see it again."""

    said: str
    plan: Plan
    closes: int
    stage: str = ""

    def __str__(self) -> str:
        more = f" --{self.stage}" if self.stage else ""
        return f"{self.said}\n  replay: {REPLAY} '{self.plan}' --closes {self.closes}{more}"


@dataclass(frozen=True)
class Found:
    """Which plan found a planted bug, after how many plans and seconds; no plan where none did."""

    bug: str
    plan: str | None
    said: str
    plans: int
    seconds: float


class Search:
    """The plans of one process, on one stage at a time."""

    def __init__(self, stage: Stage | None = None) -> None:
        self.stage = stage or new_stage()
        self.plans = 0
        # everything loaded by now stays; looking through it for garbage again and again is a sixth of a plan's time
        gc.collect()
        gc.freeze()

    def run(self, plan: Plan, closes: int = 1, *, audit: bool = True) -> Told:
        """Run one plan from the beginning."""
        self.plans += 1
        return World(self.stage, beginning(self.stage), plan).run(closes, audit=audit).end()

    def trace(self, closes: int = 1) -> list[str]:
        """Return the steps of an undisturbed run."""
        told = self.run(Plan(), closes)
        if told.violations:
            raise AssertionError(f"an undisturbed run breaks a promise: {told.violations}")
        return told.trace

    def judge(self, plan: Plan, closes: int, *, audit: bool = True) -> tuple[Told, Violation | None]:
        """Run a plan, and where it breaks a promise shrink it as far as it still does."""
        told = self.run(plan, closes, audit=audit)
        if not told.violations:
            return told, None
        drawn = Plan(told.dealt)
        if plan.seed is not None and not self.run(drawn, closes).violations:
            return told, Violation(told.violations[0], plan, closes, self._stage_name)
        small, said = self.shrink(drawn, closes, told.violations[0])
        return told, Violation(said, small, closes, self._stage_name)

    @property
    def _stage_name(self) -> str:
        return " --".join(["basket"] * self._many + ["stops"] * self.stage.stops)

    @property
    def _many(self) -> bool:
        return len(self.stage.symbols) > 1

    def shrink(self, plan: Plan, closes: int, said: str) -> tuple[Plan, str]:
        """Leave out faults one by one while a promise stays broken."""
        for step in sorted(plan.faults):
            smaller = plan.without(step)
            told = self.run(smaller, closes)
            if told.violations:
                return self.shrink(smaller, closes, told.violations[0])
        return plan, said

    def singles(self) -> Iterator[Plan]:
        """Give all plans of one fault over one close and the start after it."""
        return singles(self.trace(), self.stage.events)

    def near_stops(self) -> Iterator[Plan]:
        """Give those of them that are about stops."""
        return near_stops(self.trace(), self.stage.events)

    def basket(self, *, short: bool) -> Iterator[Plan]:
        """Give the plans of one fault in the close of a basket: one of each kind, or all of them."""
        return legs(self.trace()) if short else basket(self.trace())

    def basket_pairs(self, part: int, parts: int) -> Iterator[Plan]:
        """Give a part of the plans of two faults in the close of a basket, along the steps the first one leads to."""
        for first in list(apart(self.trace()))[part::parts]:
            yield from beside(first, self.run(first).trace)

    def odd(self, *, short: bool = False) -> list[tuple[Plan, int]]:
        """Give every odd thing at every step of two closes, with their closes; of the short form a sample of all."""
        trace = self.trace(2)
        steps = range(len(trace))
        if self.stage.stops:
            # what follows on the two closes is the start after them, which a longer story has elsewhere
            steps = range(trace.index(STARTING) - 3)
            kinds, closes, more = (
                (*OUTAGES, *RESTORES),
                5,
                [*during_outages(steps), *beside_stops(steps), *forgotten_posts(trace)],
            )
        else:
            kinds, closes, more = (
                (*ASKED, *ODD, *RESTORES),
                2,
                [*before_restores(steps), *after_deaths(steps), *forgotten_posts(trace)],
            )
        plans = [(plan, closes) for plan in [*(Plan({step: kind}) for step in steps for kind in kinds), *more]]
        return [*plans, *self._accepting()][:: _EVERY[self.stage.stops] if short else 1]

    def _accepting(self) -> Iterator[tuple[Plan, int]]:
        """Give the plans in which a start is disturbed that accepts what somebody traded."""
        for event in (Plan({_TRADED: "hand:9947"}), Plan({_TRADED: "hand:-9947"})):
            told = self.run(event, 2)
            yield from ((plan, 2) for plan in while_accepted(event, told.starts, told.trace, stops=self.stage.stops))

    def kept(self) -> list[tuple[Plan, int]]:
        """Give the plans that once broke a promise, with their closes."""
        trace = self.trace()
        return [(Plan.at(strikes, trace), closes) for closes, strikes in KEPT]

    def pairs(self, first: Plan) -> Iterator[Plan]:
        """Give all plans of two faults that begin with this one, along the steps it really takes."""
        return seconds(first, self.run(first).trace)

    def firsts(self) -> list[Plan]:
        """Give the first faults of all pairs."""
        return list(firsts(self.trace()))

    def hunt(self, name: str, plans: Iterable[Plan] | None = None) -> Found:
        """Look for a planted bug with the plans everybody gets, in an order drawn once."""
        begun, before = time.monotonic(), self.plans
        given = plans if plans is not None else self._hunting_plans(odd=name in ODD_BUGS)
        closes = closes_of(name)
        with EVERY[name](), self._own_stage(name):
            for number, plan in enumerate(given, 1):
                _, violation = self.judge(plan, closes)
                if violation is not None:
                    took = time.monotonic() - begun
                    return Found(name, str(violation.plan), violation.said, number, took)
        return Found(name, None, "", self.plans - before, time.monotonic() - begun)

    def known(self, name: str) -> Plan:
        """Return the plan that is known to find a bug, which must find nothing without it."""
        plan = Plan.at(dict(KNOWN[name]), self.trace())
        if clean := self.run(plan, closes_of(name)).violations:
            raise AssertionError(f"{plan} breaks a promise without {name}: {clean}")
        return plan

    def _hunting_plans(self, *, odd: bool) -> list[Plan]:
        if odd:
            plans = [plan for plan, _ in self.odd()]
        else:
            plans = list(self.basket(short=False) if self._many else self.singles())
        random.Random(2026).shuffle(plans)
        if self._many or odd:
            return [Plan(), *plans]
        kept = [] if self.stage.stops else [plan for plan, closes in self.kept() if closes == 1]
        return [Plan(), *plans, *kept, *(Plan(seed=seed) for seed in range(2000))]

    @contextlib.contextmanager
    def _own_stage(self, name: str) -> Iterator[None]:
        """Open journal and client anew for a bug in the way they are opened."""
        if name not in OPENED_WITH:
            yield
            return
        kept, self.stage = self.stage, new_stage(self.stage.symbols, stops=self.stage.stops)
        try:
            yield
        finally:
            self.stage.close()
            self.stage = kept
