"""Commands that only read the journal."""

from typing import Annotated

import typer

from trader.cli.values import JsonFlag, StrategyOption, moment, show

LastOption = Annotated[int, typer.Option("--last", min=1, max=10**9, help="How many of the newest.")]


def register(app: typer.Typer) -> None:
    """Add the commands of this page."""
    app.command()(status)
    app.command()(health)
    app.command("next")(upcoming)
    app.command()(orders)
    app.command()(fills)
    app.command()(equity)
    app.command()(replay)


def status(as_json: JsonFlag = False) -> None:
    """Say what it holds, what it did last and why, and what it will do next and when.

    Examples:
      trader status
      trader status --json
    """
    from trader.app import reading
    from trader.app.settings import load_settings

    show(reading.status(load_settings()), as_json=as_json)


def health(as_json: JsonFlag = False) -> None:
    """Say whether the daemon runs, has recovered, and its loop moves; exit 1 where it does not.

    Examples:
      trader health
      trader health --json
    """
    from trader.app.current import journal_path
    from trader.app.pulse import ailment
    from trader.app.settings import load_settings

    ill = ailment(journal_path(load_settings()))
    show({"well": ill is None, "why": ill}, as_json=as_json, text=ill or "well")
    if ill:
        raise typer.Exit(1)


def upcoming(
    count: Annotated[int, typer.Option(min=1, max=10_000, help="How many closes.")] = 3,
    strategy: StrategyOption = None,
    as_json: JsonFlag = False,
) -> None:
    """List the next closes.

    Examples:
      trader next
      trader next --count 5 --json
    """
    from trader.app import reading
    from trader.app.settings import load_settings

    show(reading.upcoming(load_settings(strategy=strategy), count), as_json=as_json)


def orders(last: LastOption = 50, as_json: JsonFlag = False) -> None:
    """List orders, oldest first, with the exchange's own word on each.

    Examples:
      trader orders --last 10
      trader orders --json
    """
    from trader.app import reading
    from trader.app.settings import load_settings

    show(reading.orders(load_settings(), last), as_json=as_json)


def fills(last: LastOption = 50, as_json: JsonFlag = False) -> None:
    """List trades, oldest first.

    Examples:
      trader fills --last 10
      trader fills --json
    """
    from trader.app import reading
    from trader.app.settings import load_settings

    show(reading.fills(load_settings(), last), as_json=as_json)


def equity(last: LastOption = 50, as_json: JsonFlag = False) -> None:
    """List wallet, equity and peak at each close.

    Examples:
      trader equity --last 10
      trader equity --json
    """
    from trader.app import reading
    from trader.app.settings import load_settings

    show(reading.equity(load_settings(), last), as_json=as_json)


def replay(
    close: Annotated[
        str | None, typer.Option("--close", metavar="T", help="One close (UTC).", show_default=False)
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="Every decision of the journal.")] = False,
    as_json: JsonFlag = False,
) -> None:
    """Decide again from the journalled inputs; exit 1 where anything differs.

    Examples:
      trader replay --all
      trader replay --close 2024-01-01T16:00Z --json
    """
    from trader.app.replaying import replay as recompute
    from trader.app.settings import load_settings

    if (close is None) == (not everything):
        raise typer.BadParameter("give either --close T or --all")
    document = recompute(load_settings(), None if close is None else moment(close))
    show(document, as_json=as_json)
    if document["differences"]:
        raise typer.Exit(1)
