"""Commands that change what the daemon does."""

import asyncio
from typing import Annotated

import typer

from trader.cli.values import JsonFlag, StrategyOption, show

YesFlag = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]


def register(app: typer.Typer) -> None:
    """Add the commands of this page."""
    app.command()(halt)
    app.command()(resume)
    app.command()(flatten)
    app.command()(reconcile)


def halt(as_json: JsonFlag = False) -> None:
    """Open nothing any more, from before the next order on, until `trader resume`; positions stay."""
    _ask("halt", as_json)


def resume(yes: YesFlag = False, as_json: JsonFlag = False) -> None:
    """Trade again after a halt; the drawdown is counted anew from the equity of the next close."""
    if not yes:
        typer.confirm("Trading starts again at the next close, and the drawdown is counted anew. Resume?", abort=True)
    _ask("resume", as_json)


def flatten(yes: YesFlag = False, as_json: JsonFlag = False) -> None:
    """Close every position with reduce-only orders, then halt."""
    from trader.app.operating import flatten as close_everything
    from trader.app.settings import load_settings
    from trader.log import configure

    settings = load_settings()
    configure(settings.log)
    if not yes:
        typer.confirm("Every position is closed at market, then the daemon halts. Flatten?", abort=True)
    show(asyncio.run(close_everything(settings)), as_json=as_json)


def reconcile(strategy: StrategyOption = None, as_json: JsonFlag = False) -> None:
    """Compare journal and exchange and list every difference; nothing is traded. Exit 1 where there is one."""
    from trader.app.operating import reconcile as compare
    from trader.app.settings import load_settings
    from trader.log import configure

    settings = load_settings(strategy=strategy)
    configure(settings.log)
    document = asyncio.run(compare(settings))
    show(document, as_json=as_json)
    if document["differences"]:
        raise typer.Exit(1)


def _ask(kind: str, as_json: bool) -> None:
    from trader.app.operating import request
    from trader.app.settings import load_settings

    show(request(load_settings(), kind), as_json=as_json)
