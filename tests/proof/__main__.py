"""`python -m tests.proof`: the long form of the fault proof; its last line is JSON."""

import argparse
import json
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from multiprocessing import get_context
from pathlib import Path

# one thread a worker: frames here have two rows, and handing them to other threads costs more than they do
os.environ.setdefault("POLARS_MAX_THREADS", "1")

from tests.proof.bugs import EVERY
from tests.proof.market import BASKET, SYMBOL
from tests.proof.plan import Plan
from tests.proof.processes import process_tasks, run_process_task
from tests.proof.search import Search
from tests.proof.stage import new_stage
from tests.proof.state import ROOT, State
from tests.proof.tasks import PHASES, SHORT, SINGLES, Outcome, Task, tasks, work


def arguments(words: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.proof", description=__doc__)
    parser.add_argument("--plan", help='replay one plan: {"step": "kind", ...} or seed:N')
    parser.add_argument("--closes", type=int, default=1, help="closes of a replayed plan")
    parser.add_argument("--basket", action="store_true", help="replay on the market of a basket")
    parser.add_argument("--stops", action="store_true", help="replay where every position has a protective stop")
    parser.add_argument("--bug", choices=sorted(EVERY), help="replay with a planted bug")
    parser.add_argument(
        "--only", action="append", choices=[*PHASES, *SHORT, "processes"], help="a phase, may be repeated"
    )
    parser.add_argument("--part", default="1/1", help="k/n: every n-th task of the phases, from the k-th")
    parser.add_argument("--seeds", type=int, default=100_000)
    parser.add_argument("--minutes", type=float, default=0, help="stop after so long; run again to go on (0: never)")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--state", type=Path, default=ROOT / "build" / "proof.json")
    parser.add_argument("--fresh", action="store_true", help="forget what was done before")
    return parser.parse_args(words)


def replay(given: argparse.Namespace) -> int:
    """Run one plan and say every step, its fault, and what was broken."""
    search, plan = Search(new_stage(BASKET if given.basket else (SYMBOL,), stops=given.stops)), Plan.read(given.plan)
    if given.bug:
        found = search.hunt(given.bug, [plan])
        print(json.dumps({"bug": given.bug, "plan": found.plan, "said": found.said}))
        return 0 if found.plan is not None else 1
    told = search.run(plan, given.closes)
    for step, name in enumerate(told.trace):
        print(f"{step:4d}  {name}" + (f"  <- {told.dealt[step]}" if step in told.dealt else ""))
    print("lives:", *told.ends, sep="\n  ")
    print("violations:", *(told.violations or ["none"]), sep="\n  ")
    return 1 if told.violations else 0


def chosen(given: argparse.Namespace) -> list[Task]:
    """List the tasks that are asked for, the telling ones first."""
    phases = given.only or [*PHASES, "processes"]
    firsts = len(Search().firsts()) if "pairs" in phases else 0
    found = [task for phase in (*PHASES, *SHORT) if phase in phases for task in tasks(phase, firsts, given.seeds)]
    if "processes" in phases:
        found += process_tasks()
    part, of = map(int, given.part.split("/"))
    return found[part - 1 :: of]


def job_of(task: Task) -> Callable[[Task, int], Outcome]:
    """Return what does a task."""
    return run_process_task if task.phase == "processes" else work


def outcomes(todo: list[Task], given: argparse.Namespace, until: float) -> Iterator[Outcome]:
    """Do tasks side by side, or here where one worker is enough; stop giving out new ones when the time is over."""
    waiting, running = iter(todo), set[Future[Outcome]]()
    if given.workers == 1:
        for task in waiting:
            if time.monotonic() >= until:
                return
            yield job_of(task)(task, given.seeds)
        return
    with ProcessPoolExecutor(given.workers, mp_context=get_context("spawn")) as pool:
        while True:
            while len(running) < given.workers + 1 and time.monotonic() < until:
                task = next(waiting, None)
                if task is None:
                    break
                running.add(pool.submit(job_of(task), task, given.seeds))
            if not running:
                return
            finished, running = wait(running, return_when=FIRST_COMPLETED)
            for one in finished:
                yield one.result()


def main(words: Sequence[str] | None = None) -> int:
    """Prove, and say what was proven; 1 where a promise was broken or a planted bug was not found."""
    given = arguments(words)
    if given.plan:
        return replay(given)
    if given.fresh:
        given.state.unlink(missing_ok=True)
    state, begun = State(given.state), time.monotonic()
    everything = chosen(given)
    todo = [task for task in everything if str(task) not in state.done]
    before, total = state.seconds, len(everything)
    if len(todo) < total:
        print(f"going on: {total - len(todo)} of {total} tasks were done before")
    until = begun + given.minutes * 60 if given.minutes else float("inf")
    for outcome in outcomes(todo, given, until):
        state.keep(outcome, before + time.monotonic() - begun)
        for said in outcome.violations:
            print(f"VIOLATION {said}", flush=True)
        if outcome.found is not None:
            one = outcome.found
            words_ = f"found by {one['plan']}: {one['said']}" if one["plan"] is not None else "NOT FOUND"
            print(f"planted {one['bug']}: {words_} ({one['plans']} plans, {one['seconds']:.1f} s)", flush=True)
        done = sum(str(task) in state.done for task in everything)
        print(f"{done}/{total} {outcome.task}: {outcome.plans} plans", file=sys.stderr, flush=True)
    return summary(state, everything)


def summary(state: State, everything: list[Task]) -> int:
    """Print the last line, and what is left where the time was over."""
    done = [state.done[str(task)] for task in everything if str(task) in state.done]
    hunted = [one.found for one in done if one.found is not None]
    planted = sum(task.phase in ("planted", "known") for task in everything)
    left = len(everything) - len(done)
    if left:
        print(f"time is over with {left} of {len(everything)} tasks left; run again to go on")
    document = {
        "plans": sum(one.plans for one in done),
        "violations": sum(len(one.violations) for one in done),
        "planted": planted,
        "found": sum(one["plan"] is not None for one in hunted),
        "seconds": round(state.seconds, 1),
    }
    print(json.dumps(document))
    return 1 if document["violations"] or document["found"] < planted else 0


__all__ = ["SINGLES", "main"]

if __name__ == "__main__":
    sys.exit(main())
