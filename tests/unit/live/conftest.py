import shutil
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from tests.unit.live.guarded import guard
from tests.unit.live.steps import SteppedJournal, Steps, begin_again, open_journal
from tests.unit.live.test_many_symbols import Basket
from tests.unit.live.world import CLOSE, World


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty journal; a copy is made faster than a new one."""
    path = tmp_path_factory.mktemp("template") / "journal.db"
    open_journal(path, Steps(), CLOSE).close()
    return path


@pytest.fixture(scope="session")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SteppedJournal]:
    """One open journal for worlds that live one after the other."""
    journal = open_journal(tmp_path_factory.mktemp("kept") / "journal.db", Steps(), CLOSE)
    yield journal
    journal.close()


@pytest.fixture
def next_world(template: Path, kept: SteppedJournal) -> Callable[..., World]:
    """Make a world on the journal of the one before, which ends with that: many are made quickly."""

    def make(**given: Any) -> World:
        begin_again(kept, template)
        return World(template, journal=kept, **given)

    return make


@pytest.fixture
def new_world(template: Path, tmp_path: Path) -> Any:
    """Make worlds, each with a journal of its own, which are closed in the end."""
    made: list[World] = []

    def make(**given: Any) -> World:
        path = tmp_path / f"journal-{len(made)}.db"
        shutil.copy(template, path)
        made.append(World(path, **given))
        return made[-1]

    yield make
    for world in made:
        if world.journal is not None:
            world.journal.close()


@pytest.fixture
def world(new_world: Callable[..., World]) -> World:
    return new_world()


@pytest.fixture
def guarded(world: World) -> World:
    """A world in which every position has to have a stop."""
    return guard(world)


@pytest.fixture
def basket(new_world: Callable[..., World]) -> World:
    """Three symbols whose orders leave side by side."""
    world = new_world(symbols=("AUSDT", "BUSDT", "CUSDT"))
    world.strategy = Basket(wishes={CLOSE: 1.0})
    world.parallel = 8
    world.boot().begin()
    return world


@pytest.fixture
def covered(basket: World) -> World:
    """The same with a stop for every position."""
    basket.fraction = Decimal("0.1")
    basket.boot()
    return basket
