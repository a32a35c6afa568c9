"""`trader alerts`."""

from typing import Annotated

import typer

from trader.cli.values import JsonFlag, show


def register(app: typer.Typer) -> None:
    """Add the command of this page."""
    app.command()(alerts)


def alerts(
    test: Annotated[bool, typer.Option("--test", help="Send a test to every address; say what each answers.")] = False,
    last: Annotated[int, typer.Option("--last", min=1, max=10**9, help="How many of the newest.")] = 20,
    as_json: JsonFlag = False,
) -> None:
    """List what people were told, oldest first; exit 1 where a test was not taken by every address.

    Examples:
      trader alerts --last 5
      trader alerts --test
    """
    from trader.app import alerting
    from trader.app.settings import load_settings

    settings = load_settings()
    if not test:
        show(alerting.listing(settings, last), as_json=as_json)
        return
    answers = alerting.try_out(settings)
    show(answers, as_json=as_json)
    if not all(answer["taken"] for answer in answers):
        raise typer.Exit(1)
