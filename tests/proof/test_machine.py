"""The proof in its short form: every single fault over a whole cycle, two thousand random plans, every planted bug.

Each runs as `make proof` runs it, in processes of its own: the machine replaces clock, network and disk of its process.
"""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.proof.plan import ORDER, Plan

SINGLES_IN, SEEDS_IN = 4, 5
"""Into how many tests a phase is cut, so that none comes near the time a test is given on a busy machine."""
SEEDS = 2000


def proof(folder: Path, root: Path, *words: str) -> dict[str, Any]:
    """Run the machine and return its last line; whatever it found is in the failure."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.proof", "--workers", "1", "--state", str(folder / "state.json"), *words],
        cwd=root, env=os.environ | {"PYTHONPATH": str(root)}, stdin=subprocess.DEVNULL, capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    last: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return last


@pytest.mark.fault(
    1, 2, 8, 13, 17, 18, 19, 20, 21, 23, 25, 26, 27, 28, 30, 31, 32, 33, 34, 35, 36, 37, 38, 41, 42, 43, 45
)
@pytest.mark.fault(50, 51, 54, 56, 59, 62, 63, 64, 65, 66, 68, 81)
@pytest.mark.parametrize("part", range(1, SINGLES_IN + 1))
def test_no_single_fault_anywhere_in_a_cycle_breaks_a_promise(part: int, tmp_path: Path, root: Path) -> None:
    said = proof(tmp_path, root, "--only", "singles", "--part", f"{part}/{SINGLES_IN}")
    assert said["violations"] == 0
    assert said["plans"] > 300


@pytest.mark.fault(1, 2, 8, 21, 25, 26, 27, 32, 33, 34, 35, 36, 37, 38, 40, 41, 42, 45, 46, 48, 49, 59, 64, 65)
def test_no_kind_of_fault_in_any_one_of_twenty_legs_breaks_a_promise(tmp_path: Path, root: Path) -> None:
    said = proof(tmp_path, root, "--only", "legs")
    assert said["violations"] == 0
    assert said["plans"] > 50


@pytest.mark.fault(1, 2, 8, 21, 26, 27, 30, 37, 41, 43, 50, 81)
@pytest.mark.parametrize("part", range(1, SEEDS_IN + 1))
def test_no_random_plan_breaks_a_promise(part: int, tmp_path: Path, root: Path) -> None:
    said = proof(tmp_path, root, "--only", "seeds", "--seeds", str(SEEDS), "--part", f"{part}/{SEEDS_IN}")
    assert said["violations"] == 0
    assert said["plans"] == SEEDS // SEEDS_IN


@pytest.mark.fault(1, 2, 8, 13, 26, 27, 32, 33, 35, 37, 38, 54)
@pytest.mark.parametrize("part", [1, 2])
def test_no_fault_around_a_protective_stop_breaks_a_promise(part: int, tmp_path: Path, root: Path) -> None:
    said = proof(tmp_path, root, "--only", "near_stops", "--part", f"{part}/2")
    assert said["violations"] == 0
    assert said["plans"] > 100


def test_nothing_odd_and_no_outage_of_the_stops_breaks_a_promise(tmp_path: Path, root: Path) -> None:
    said = proof(tmp_path, root, "--only", "some_odd", "--only", "some_outages")
    assert said["violations"] == 0
    assert said["plans"] > 80


@pytest.mark.fault(17, 18, 20, 27, 54, 59)
def test_no_plan_that_once_broke_a_promise_breaks_it_again(tmp_path: Path, root: Path) -> None:
    said = proof(tmp_path, root, "--only", "kept")
    assert said["violations"] == 0
    assert said["plans"] >= 8


def test_every_planted_bug_is_found_by_the_plan_that_is_known_for_it(tmp_path: Path, root: Path) -> None:
    said = proof(tmp_path, root, "--only", "known")
    assert said["planted"] >= 10
    assert said["found"] == said["planted"]


def test_what_breaks_a_promise_is_shrunk_to_the_fault_that_does(root: Path) -> None:
    def told(*words: str) -> list[str]:
        command = [sys.executable, "-m", "tests.proof", *words]
        environment = os.environ | {"PYTHONPATH": str(root)}
        done = subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout.splitlines()

    steps = told("--plan", "{}")
    opening = [line.split()[0] for line in steps if "POST /fapi/v1/order" in line][1]
    plan = json.dumps({opening: "lose_answer", str(int(opening) + 4): "hang"})
    found = json.loads(told("--bug", "retry_around_send", "--plan", plan)[-1])
    assert list(json.loads(found["plan"]).values()) == ["lose_answer"]
    assert "2 times" in found["said"]


@pytest.mark.parametrize(
    "plan", [Plan(), Plan({3: "die_after", -1: "clock:5"}), Plan(seed=7), Plan(seed=7, spread=372)]
)
def test_the_line_that_replays_a_plan_is_that_plan(plan: Plan) -> None:
    assert Plan.read(str(plan)) == plan


def test_what_is_drawn_over_a_long_close_begins_anywhere_in_it() -> None:
    def first(seed: int, spread: int) -> int:
        dealer = Plan(seed=seed, spread=spread).dealer()
        return next((step for step in range(2000) if dealer.deal(step, ORDER) is not None), 2000)

    assert max(first(seed, 1) for seed in range(40)) < 50
    begun = [first(seed, 400) for seed in range(40)]
    assert min(begun) < 100 < 300 < max(begun)
