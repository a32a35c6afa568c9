"""A progress bar on a terminal, and silence elsewhere."""

import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial


@contextmanager
def progress(what: str, total: int | None) -> Iterator[Callable[[], object]]:
    """Show how much of `total` steps is done (None: nobody knows how many there are); call what is yielded once a step.

    The bar is on stderr and goes away at the end, so that results stand alone on stdout.
    """
    with progress_of_several({what: total}) as (step,):
        yield step


@contextmanager
def progress_of_several(totals: Mapping[str, int | None]) -> Iterator[tuple[Callable[[], object], ...]]:
    """Show several things one below the other, as `progress` shows one; a total of 0 shows nothing."""
    if not sys.stderr.isatty():
        yield (_nothing,) * len(totals)
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as bars:
        tasks = [bars.add_task(what, total=total, visible=total != 0) for what, total in totals.items()]
        yield tuple(partial(bars.advance, task) for task in tasks)


@contextmanager
def progress_by_share(what: str) -> Iterator[Callable[[float, str], None]]:
    """Show how far something has come whose steps differ in length.

    What is yielded is told the share that is done (from 0 to 1; negative where only the words change) and a few words.
    """
    if not sys.stderr.isatty():
        yield lambda share, words: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[words]}"), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(what, total=1.0, words="")
        yield lambda share, words: bar.update(task, completed=share if share >= 0 else None, words=words)


def _nothing() -> None:
    """Do nothing: nobody is watching."""
