"""SIGKILL of a real daemon at a request of a fast run, before or after the exchange did what it was asked."""

import random
import signal
from pathlib import Path
from typing import Any

import pytest

from tests.scenarios.processes import Home, agrees, rows

FAST = ("run", "--speed", "max", "--from", "2024-01-03", "--to", "2024-01-14")
SEEDS = 20
TWICE = 4
"""How many of the seeds kill a second time, in what the first kill left."""


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, list[tuple[Any, ...]]], int]:
    home = Home(tmp_path_factory.mktemp("undisturbed") / "data")
    done = home.run(*FAST)
    assert done.returncode == 0, done.stderr
    agrees(home)
    ledger = home.ledger()
    assert len(ledger["orders"]) >= 5
    ((requests,),) = rows(home.exchange / "ledger.db", "select requests from state")
    return ledger, requests


@pytest.mark.fault(1, 11)
@pytest.mark.parametrize("seed", range(SEEDS))
def test_a_kill_at_any_request_leaves_the_ledger_of_an_undisturbed_run(
    seed: int, tmp_path: Path, undisturbed: tuple[dict[str, list[tuple[Any, ...]]], int]
) -> None:
    ledger, requests = undisturbed
    chance = random.Random(seed)
    home = Home(tmp_path / "data")
    kills = sorted(chance.sample(range(1, requests), 2 if seed < TWICE else 1))
    plan = home.plan(*({"on": {"nth": n}, "do": chance.choice(["kill_before", "kill_after"])} for n in kills))
    codes = []
    for _ in range(len(kills) + 1):
        done = home.run(*FAST, TRADER_SIM__FAULTS=plan)
        codes.append(done.returncode)
        if done.returncode == 0:
            break
        assert done.returncode == -signal.SIGKILL, done.stderr
    assert codes[-1] == 0
    assert -signal.SIGKILL in codes
    agrees(home)
    assert home.ledger() == ledger


@pytest.mark.fault(2)
@pytest.mark.parametrize("when", ["kill_before", "kill_after"])
@pytest.mark.parametrize("order", [1, 2, 3])
def test_a_kill_during_the_post_of_an_order_has_one_effect(
    when: str, order: int, tmp_path: Path, undisturbed: tuple[dict[str, list[tuple[Any, ...]]], int]
) -> None:
    home = Home(tmp_path / "data")
    plan = home.plan({"on": {"path": "POST /fapi/v1/order", "nth": order}, "do": when})
    assert home.run(*FAST, TRADER_SIM__FAULTS=plan).returncode == -signal.SIGKILL
    done = home.run(*FAST, TRADER_SIM__FAULTS=plan)
    assert done.returncode == 0, done.stderr
    agrees(home)
    assert home.ledger() == undisturbed[0]
