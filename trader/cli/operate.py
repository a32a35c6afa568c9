"""Commands that change what the daemon does."""

import asyncio
import sys
from collections.abc import Mapping, Sequence
from typing import Annotated

import typer

from trader.cli.progress import progress
from trader.cli.values import JsonFlag, StrategyOption, confirm, show

YesFlag = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]


def register(app: typer.Typer) -> None:
    """Add the commands of this page."""
    app.command()(halt)
    app.command()(resume)
    app.command()(flatten)
    app.command()(reconcile)
    app.command()(check)


def halt(as_json: JsonFlag = False) -> None:
    """Open nothing any more, from before the next order on, until `trader resume`; positions stay.

    Examples:
      trader halt
    """
    _ask("halt", as_json)


def resume(yes: YesFlag = False, as_json: JsonFlag = False) -> None:
    """Trade again after a halt; the drawdown is counted anew from the equity of the next close.

    Examples:
      trader resume
      trader resume --yes --json
    """
    _ask(
        "resume",
        as_json,
        None if yes else "Trading on {venue} starts again at the next close, and the drawdown is counted anew. Resume?",
    )


def flatten(yes: YesFlag = False, as_json: JsonFlag = False) -> None:
    """Close every position with reduce-only orders, then halt.

    Examples:
      trader flatten
      trader flatten --yes --json
    """
    from trader.app.current import require_meant
    from trader.app.operating import flatten as close_everything
    from trader.app.settings import load_settings
    from trader.log import configure

    settings = load_settings()
    configure(settings.log)
    require_meant(settings, "flatten")
    if not yes:
        confirm(f"Every position on {settings.venue} is closed at market, then the daemon halts. Flatten?")
    show(asyncio.run(close_everything(settings)), as_json=as_json)


def reconcile(strategy: StrategyOption = None, as_json: JsonFlag = False) -> None:
    """Compare journal and exchange and list every difference; nothing is traded. Exit 1 where there is one.

    Examples:
      trader reconcile
      trader reconcile --json
    """
    from trader.app.operating import reconcile as compare
    from trader.app.settings import load_settings
    from trader.log import configure

    settings = load_settings(strategy=strategy)
    configure(settings.log)
    document = asyncio.run(compare(settings))
    show(document, as_json=as_json)
    if document["differences"]:
        raise typer.Exit(1)


def check(strategy: StrategyOption = None, as_json: JsonFlag = False) -> None:
    """Check everything that has to hold before the first close, each item with its remedy; nothing is changed.

    `trader run` refuses to start on what fails here. Exit 1 where anything does; what is only warned of can be lived
    with.

    Examples:
      trader check
      TRADER_VENUE=testnet TRADER_STAGE=shadow trader check --json
    """
    from trader.app.checking import check as look
    from trader.app.settings import load_settings
    from trader.log import configure

    settings = load_settings(strategy=strategy)
    configure(settings.log)
    with progress("looking", None):
        document = asyncio.run(look(settings))
    if as_json:
        show(document, as_json=True)
    else:
        _show_checks(document["checks"])
    if not document["ok"]:
        raise typer.Exit(1)


_MARKS = {
    "passed": "[green]ok[/]",
    "warned": "[yellow]warn[/]",
    "failed": "[bold red]FAIL[/]",
    "skipped": "[dim]skip[/]",
}


def _show_checks(checks: Sequence[Mapping[str, str]]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(no_wrap=True)
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for one in checks:
        found = Text(one["found"])
        if one["remedy"]:
            found.append(f"\n→ {one['remedy']}", style="" if one["verdict"] == "failed" else "dim")
        table.add_row(_MARKS[one["verdict"]], one["check"], found)
    Console().print(table)


def _ask(kind: str, as_json: bool, question: str | None = None) -> None:
    """Leave a request; a question is asked before, and names the venue."""
    from trader.app.current import require_meant
    from trader.app.operating import request
    from trader.app.settings import load_settings

    settings = load_settings()
    require_meant(settings, kind)
    if question is not None:
        confirm(question.format(venue=settings.venue))
    told = request(settings, kind)
    show(told, as_json=as_json)
    if told["daemon"] is None:
        sys.stderr.write(f"No daemon runs on {settings.venue}; the next start obeys this before it sends an order.\n")
