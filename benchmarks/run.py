"""Run every row, print one JSON line each, and leave with 1 where a budget is missed.

    python -m benchmarks.run             all rows, within eight minutes
    python -m benchmarks.run NAME...     some of them

A row is a file of this folder with a function `measure() -> Row`, named after what it measures; it raises `Skipped`
where a package or a file it needs is absent. Each runs in a process of its own, one after the other.
"""

import importlib
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from benchmarks.frame import Skipped

_HERE = Path(__file__).parent
_FRAME = {"__init__", "frame", "run"}
_SECONDS = 470.0


def names() -> list[str]:
    """Return the rows there are: the files that measure something."""
    return [
        path.stem
        for path in sorted(_HERE.glob("*.py"))
        if path.stem not in _FRAME and "def measure(" in path.read_text(encoding="utf-8")
    ]


def main(wanted: list[str]) -> int:
    if wanted[:1] == ["--here"]:
        print(json.dumps(_measured(wanted[1])))
        return 0
    unknown = sorted(set(wanted) - set(names()))
    if unknown:
        print(f"There is no row {', '.join(unknown)}; choose of {', '.join(names())}.", file=sys.stderr)
        return 2
    deadline = time.monotonic() + _SECONDS
    missed = 0
    for name in wanted or names():
        document = _apart(name, deadline - time.monotonic())
        print(json.dumps(document), flush=True)
        missed += document["held"] is False
    return 1 if missed else 0


def _measured(name: str) -> dict[str, Any]:
    try:
        document: dict[str, Any] = importlib.import_module(f"benchmarks.{name}").measure().document()
    except Skipped as reason:
        return {"row": name, "held": None, "note": f"skipped: {reason}"}
    return document


def _apart(name: str, seconds: float) -> dict[str, Any]:
    """Measure one row in its own process; what goes wrong there is a missed budget."""
    command = [sys.executable, "-m", "benchmarks.run", "--here", name]
    try:
        answer = subprocess.run(
            command, cwd=_HERE.parent, capture_output=True, text=True, timeout=max(seconds, 1.0), check=True
        )
        document: dict[str, Any] = json.loads(answer.stdout.splitlines()[-1])
    except subprocess.TimeoutExpired:
        return {"row": name, "held": False, "note": f"not measured: the {_SECONDS:g} s of a whole run are used up"}
    except subprocess.CalledProcessError as error:
        said = (error.stderr or "").strip().splitlines() or [f"exit code {error.returncode}"]
        return {"row": name, "held": False, "note": f"failed: {said[-1]}"}
    return document


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
