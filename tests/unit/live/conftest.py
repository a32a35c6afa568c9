import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.unit.live.steps import Steps, open_journal
from tests.unit.live.world import CLOSE, World


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty journal; a copy is made faster than a new one."""
    path = tmp_path_factory.mktemp("template") / "journal.db"
    open_journal(path, Steps(), CLOSE).close()
    return path


@pytest.fixture
def new_world(template: Path, tmp_path: Path) -> Any:
    """Make worlds, each in a directory of its own, whose journals are closed in the end."""
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
