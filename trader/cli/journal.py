"""`trader journal`: the journal's life."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any

import typer

from trader.cli.operate import YesFlag
from trader.cli.values import JsonFlag, confirm, moment, show

page = typer.Typer(no_args_is_help=True, help="Copy the journal, put a copy back, make it smaller, hand it out.")


def register(app: typer.Typer) -> None:
    """Add the commands of this page."""
    app.add_typer(page, name="journal")
    page.command()(backup)
    page.command()(restore)
    page.command()(prune)
    page.command()(export)
    page.command()(changes)


def backup(
    out: Annotated[Path | None, typer.Option(help="Where to; default: backups/ beside the journal.")] = None,
    as_json: JsonFlag = False,
) -> None:
    """Copy the journal, also while the daemon runs, and prove that the copy is whole.

    Examples:
      trader journal backup
      trader journal backup --out /mnt/elsewhere/journal.db --json
    """
    from trader.app import lifetime
    from trader.app.settings import load_settings

    show(lifetime.backup(load_settings(), out), as_json=as_json)


def restore(
    copy: Annotated[Path, typer.Argument(help="A copy that `trader journal backup` or an upgrade made.")],
    yes: YesFlag = False,
    as_json: JsonFlag = False,
) -> None:
    """Put a copy in the journal's place while no daemon runs; what was there is kept beside it.

    Examples:
      trader journal restore backups/journal-20240102T000000Z.db
    """
    from trader.app import lifetime
    from trader.app.settings import load_settings

    settings = load_settings()
    plan = lifetime.compared(settings, copy)
    if not yes:
        show(plan, as_json=False, err=True)
        confirm("The journal is replaced; orders made since are not in the copy. Restore?")
    show(lifetime.restore(settings, copy), as_json=as_json)


def prune(
    before: Annotated[
        Any, typer.Option("--before", parser=moment, metavar="T", help="Closes before this.", show_default=False)
    ] = None,
    keep: Annotated[int, typer.Option(min=1, metavar="DAYS", help="Without --before: keep so many days.")] = 400,
    yes: YesFlag = False,
    as_json: JsonFlag = False,
) -> None:
    """Drop what old decisions were made from, while no daemon runs; every decision, order and cent stays.

    A close whose transcript is gone can no longer be replayed.

    Examples:
      trader journal prune --keep 400
      trader journal prune --before 2024-01-01 --yes
    """
    from trader.app import lifetime
    from trader.app.settings import load_settings

    settings = load_settings()
    since = before or datetime.now(UTC) - timedelta(days=keep)
    if not yes:
        show(lifetime.prune(settings, since, pretend=True), as_json=False, err=True)
        confirm("These transcripts are dropped for good. Prune?")
    show(lifetime.prune(settings, since, pretend=False), as_json=as_json)


def export(
    out: Annotated[Path, typer.Option(help="The folder to write to.")],
    form: Annotated[str, typer.Option("--format", help="csv or jsonl.")] = "csv",
    as_json: JsonFlag = False,
) -> None:
    """Write decisions, orders, fills, bookings, equity and states as files.

    Examples:
      trader journal export --out year
      trader journal export --out year --format jsonl
    """
    from trader.app import lifetime
    from trader.app.settings import load_settings

    if form not in lifetime.FORMATS:
        raise typer.BadParameter(f"--format is one of {', '.join(lifetime.FORMATS)}, not {form!r}")
    written = lifetime.export(load_settings(), out, form)
    show([{"table": name} | told for name, told in written.items()], as_json=as_json)


def changes(
    last: Annotated[int, typer.Option("--last", min=1, max=10**9, help="How many of the newest.")] = 20,
    as_json: JsonFlag = False,
) -> None:
    """List what starts and closes changed in the configuration, oldest first: by name what was and what is.

    Examples:
      trader journal changes --last 5
      trader journal changes --json
    """
    from trader.app import lifetime
    from trader.app.settings import load_settings

    show(lifetime.changes(load_settings(), last), as_json=as_json)
