"""A progress bar on a terminal, and silence elsewhere."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def progress(what: str, total: int | None) -> Iterator[Callable[[], object]]:
    """Show how much of `total` steps is done (None: nobody knows how many there are); call what is yielded once a step.

    The bar is on stderr and goes away at the end, so that results stand alone on stdout.
    """
    if not sys.stderr.isatty():
        yield _nothing
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(what, total=total)
        yield lambda: bar.advance(task)


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
