"""Whatever an exchange answers, and wherever the process dies: at most one effect of an order, and one story."""

import asyncio
from collections.abc import Iterator
from itertools import product
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.live.exchange import REPLIES
from tests.unit.live.steps import SteppedJournal, Steps, begin_again, open_journal
from tests.unit.live.world import CLOSE, World, hook

KINDS = tuple(REPLIES)
CASES = {
    "flip": ("10", (("c", "-10"), ("o", "-6"))),
    "parts": ("0", (("o", "4"), ("o", "4"))),
    "increase": ("10", (("i", "5"),)),
}
# after these an order has been refused, or filled in part: what follows may rightly not be reached
SHORT = {"rejected", "denied", "partial", "partial_unknown", "rests_expires", "empty"}
FUTILE = {"not_sent", "limited", "never", "lost"}
REACHED = {"flip": -6, "parts": 8, "increase": 15}


class Bench:
    """One open journal, made new for every plan."""

    def __init__(self, folder: Path) -> None:
        self.template = folder / "template.db"
        open_journal(self.template, Steps(), CLOSE).close()
        self.journal: SteppedJournal = open_journal(folder / "journal.db", Steps(), CLOSE)

    def run(self, case: str, plan: tuple[str, ...], *lives: Steps, ask: str = "") -> World:
        """Carry a decision under a plan, in so many lives; each but the last dies where its steps say."""
        begin_again(self.journal, self.template)
        world = World(self.template, journal=self.journal)
        held, legs = CASES[case]
        world.boot().begin(held)
        world.decide(*legs)
        world.exchange.plan = [REPLIES[kind] for kind in plan]
        world.lives = list(lives)
        if ask:
            lives[0].hooks = {number: hook(world, ask) for number in lives[0].hooks}
        world.boot()
        assert asyncio.run(world.carry_all()) is None
        world.agree()
        world.obeyed()
        if not ask and not SHORT & set(plan) and sum(kind in FUTILE for kind in plan) < world.router.timing.sends:
            assert world.exchange.position() == REACHED[case]
        return world


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    made = Bench(tmp_path_factory.mktemp("bench"))
    yield made
    made.journal.close()


@pytest.mark.fault(1, 2)
@pytest.mark.parametrize("case", CASES)
def test_every_answer_and_every_death_leaves_one_effect_and_one_story(case: str, bench: Bench) -> None:
    for kind in KINDS:
        steps = bench.run(case, (kind,)).steps.names
        for death in range(len(steps)):
            bench.run(case, (kind,), Steps(death))


def test_every_pair_of_answers_leaves_one_effect_and_one_story(bench: Bench) -> None:
    for plan in product(KINDS, repeat=2):
        bench.run("flip", plan)


@pytest.mark.parametrize("kind", ["confirmed", "never", "executed", "not_sent", "late"])
@pytest.mark.parametrize("ask", ["halt", "flatten"])
def test_a_halt_at_any_step_is_obeyed_before_the_next_post(ask: str, kind: str, bench: Bench) -> None:
    steps = bench.run("flip", (kind,)).steps.names
    for number, name in enumerate(steps):
        if name not in {"mark_sent", "send"}:
            bench.run("flip", (kind,), Steps(hooks={number: int}), ask=ask)


@given(
    case=st.sampled_from(tuple(CASES)),
    plan=st.lists(st.sampled_from(KINDS), min_size=1, max_size=5).map(tuple),
    deaths=st.lists(st.integers(0, 25), max_size=3),
)
def test_several_answers_and_several_deaths_leave_one_effect_and_one_story(
    case: str, plan: tuple[str, ...], deaths: list[int], bench: Bench
) -> None:
    bench.run(case, plan, *(Steps(death) for death in deaths))
