import json
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.frame import Check, Row, interleaved
from benchmarks.run import names


def test_a_row_with_one_check_is_flat_and_with_several_is_by_name() -> None:
    one = Row("a", 2.0, {"peer": Check.faster(2.0, 10.0, 4)}, "noted").document()
    assert one == {
        "row": "a",
        "ours": 2.0,
        "unit": "s",
        "baseline": 10.0,
        "ratio": 5.0,
        "budget": ">= 4x",
        "held": True,
        "note": "noted",
    }
    checks = {"peer": Check.faster(2.0, 10.0, 4), "floor": Check.within(2.0, 1.0, 1.5)}
    several = Row("b", 2.0, checks, "").document()
    assert several["baseline"] == {"peer": 10.0, "floor": 1.0}
    assert several["ratio"] == {"peer": 5.0, "floor": 2.0}
    assert several["held"] is False


@pytest.mark.parametrize(
    ("check", "held"),
    [
        (Check.faster(1.0, 5.0, 5), True),
        (Check.faster(1.0, 4.9, 5), False),
        (Check.within(2.0, 1.0, 2), True),
        (Check.within(2.1, 1.0, 2), False),
        (Check.below(180.0, 180.0, "MB"), True),
        (Check.below(181.0, 180.0, "MB"), False),
        (Check.true(False, "equal"), False),
    ],
)
def test_a_budget_is_held_up_to_its_edge(check: Check, held: bool) -> None:
    assert check.held is held


def test_ways_are_run_in_turn_after_one_round_that_does_not_count() -> None:
    order: list[str] = []
    seconds = interleaved(lambda: order.append("a"), lambda: order.append("b"), times=2)
    assert order == ["a", "b"] * 3
    assert len(seconds) == 2


def test_every_row_measures_and_an_unknown_one_is_refused(root: Path) -> None:
    assert {"l1_subsets", "l1_many", "walk_forward"} <= set(names())
    answer = subprocess.run(
        [sys.executable, "-m", "benchmarks.run", "nothing"], cwd=root, capture_output=True, text=True, check=False
    )
    assert answer.returncode == 2
    assert answer.stderr.startswith("There is no row nothing; choose of ")
    assert answer.stdout == ""


def test_a_row_that_fails_is_a_missed_budget(root: Path, tmp_path: Path) -> None:
    folder = tmp_path / "benchmarks"
    folder.mkdir()
    for name in ("__init__.py", "frame.py", "run.py"):
        (folder / name).write_bytes((root / "benchmarks" / name).read_bytes())
    (folder / "absent.py").write_text(
        'from benchmarks.frame import Skipped\n\n\ndef measure():\n    raise Skipped("a peer is absent")\n'
    )
    (folder / "broken.py").write_text('def measure():\n    raise ValueError("no rows")\n')
    answer = subprocess.run(
        [sys.executable, "-m", "benchmarks.run"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert answer.returncode == 1
    absent, broken = map(json.loads, answer.stdout.splitlines())
    assert absent == {"row": "absent", "held": None, "note": "skipped: a peer is absent"}
    assert broken == {"row": "broken", "held": False, "note": "failed: ValueError: no rows"}
