"""Everything with an effect is a step; a crash plan ends the process before one of them."""

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

from trader.journal.journal import Journal
from trader.journal.rows import Binding

BINDING = Binding("sim", "main", "generated", "fake", False)

WRITES = (
    "claim",
    "record_decision",
    "finish",
    "miss_all",
    "fail",
    "intend",
    "mark_sent",
    "settle",
    "record_fills",
    "record_incomes",
    "set_baseline",
    "obey",
    "set_state",
    "complete_request",
    "intend_stop",
    "mark_stop_sent",
    "stands",
    "end_stop",
    "record_stopped",
)


class Crash(BaseException):
    """The process is gone: nobody may catch this and go on."""


class Steps:
    """Counts steps, calls what a test hangs on one, and kills at one.

    Args:
        crash_at: the number of the step before which the process dies, None for never.
        hooks: by number, or by name and turn (the n-th step of that name, from 0), what to do before it.
    """

    def __init__(
        self, crash_at: int | None = None, hooks: dict[int | tuple[str, int], Callable[[], object]] | None = None
    ) -> None:
        self.crash_at = crash_at
        self.hooks = hooks or {}
        self.names: list[str] = []
        self.dead = False
        self.died: Callable[[], object] = lambda: None

    def take(self, name: str) -> None:
        if self.dead or len(self.names) == self.crash_at:
            self.dead = True
            self.died()
            raise Crash(name)
        keys = (len(self.names), (name, self.names.count(name))) if self.hooks else ()
        self.names.append(name)
        for key in keys:
            self.hooks.pop(key, int)()


class SteppedJournal(Journal):
    """The real journal on a real file; every write is a step."""

    steps: Steps


def _stepped(name: str) -> Callable[..., Any]:
    def write(self: SteppedJournal, *args: Any, **kwargs: Any) -> Any:
        self.steps.take(name)
        return getattr(Journal, name)(self, *args, **kwargs)

    return write


for _name in WRITES:
    setattr(SteppedJournal, _name, _stepped(_name))


def open_journal(path: Path, steps: Steps, at: Any) -> SteppedJournal:
    journal = SteppedJournal.open(path, BINDING, create=True, at=at)
    assert isinstance(journal, SteppedJournal)
    journal.steps = steps
    # a crash here is an exception and loses no page; waiting for the disk would only make the tests slow
    journal._database._raw.execute("PRAGMA synchronous = OFF")
    return journal


def begin_again(journal: SteppedJournal, template: Path) -> None:
    """Make an open journal what the template is: much faster than opening another file."""
    with closing(sqlite3.connect(template)) as source:
        source.backup(journal._database._raw)
