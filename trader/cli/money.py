"""Commands that account for money."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

import typer

from trader.cli.values import JsonFlag, show

_WIDE = 160
_SPARABLE = ("funding", "fees", "gross", "bars", "exit_price", "entry_price", "symbol")
_PERIOD = ("realised", "unrealised", "fees", "funding", "other", "net", "net_return", "transfers", "equity")


def register(app: typer.Typer) -> None:
    """Add the commands of this page."""
    app.command()(pnl)
    app.command()(trades)


def pnl(
    by: Annotated[Literal["close", "day", "month", "year"], typer.Option(help="How the rows are parted.")] = "month",
    as_json: JsonFlag = False,
) -> None:
    """Account for every cent since the baseline: realised, unrealised, fees, funding, transfers; in all and by period.

    The rows add up: net and transfers make the change of equity. What is not explained is shown, and must be nothing.

    Examples:
      trader pnl
      trader pnl --by day --json
    """
    from trader.app import accounting
    from trader.app.settings import load_settings

    document = accounting.pnl(load_settings(), by)
    if as_json:
        show(document, as_json=True)
        return
    from rich.console import Console

    whole = document | {"period": "in all"}
    console = Console()
    console.print(f"{document['since']} to {document['until']}, in USDT", style="bold")
    _print([*document["periods"], whole], ("period", *_PERIOD), ("unrealised", "transfers", "other"))
    if document["unexplained"] != "0":
        console.print(f"{document['unexplained']} USDT are not explained; see `trader reconcile`.", style="bold red")


def trades(
    last: Annotated[int, typer.Option("--last", min=1, max=10**9, help="How many of the newest.")] = 50,
    as_json: JsonFlag = False,
) -> None:
    """List round trips, from flat to flat, oldest first: what each earned after fees and funding.

    Examples:
      trader trades --last 20
      trader trades --json
    """
    from trader.app import accounting
    from trader.app.settings import load_settings

    rows = accounting.trades(load_settings(), last)
    if as_json or not rows:
        show(rows, as_json=as_json)
        return
    columns = ("symbol", "quantity", "entry_time", "exit_time", "entry_price", "exit_price", "bars")
    _print(rows, (*columns, "gross", "fees", "funding", "net", "net_return"), _SPARABLE)
    won = sum(float(row["net"]) > 0 for row in rows if row["exit_time"])
    ended = sum(row["exit_time"] is not None for row in rows)
    total = sum(float(row["net"]) for row in rows)
    typer.echo(f"{ended} ended, {won} of them won; {total:+,.2f} USDT in all")


def _print(rows: Sequence[Mapping[str, Any]], columns: Sequence[str], sparable: Sequence[str]) -> None:
    """Print a table of money: numbers at the right with two decimals, gains and losses told apart by their sign.

    On a narrow terminal columns that can be spared are left out, the last of them first; a pipe gets all of them.
    """
    from rich.console import Console
    from rich.table import Table

    console, kept = Console(), list(columns)
    cells = {name: [_cell(name, row[name]) for row in rows] for name in columns}
    room = console.width if console.is_terminal else _WIDE
    spare = list(sparable)
    while spare and sum(_width(name, cells[name]) + 2 for name in kept) > room:
        kept.remove(spare.pop())
    table = Table(box=None, pad_edge=False, header_style="dim")
    for name in kept:
        words = name in ("symbol", "period") or name.endswith("_time")
        table.add_column(name.replace("_", " "), justify="left" if words else "right", no_wrap=True)
    for number, row in enumerate(rows):
        style = "bold" if row.get("period") == "in all" else ""
        table.add_row(*(cells[name][number] for name in kept), style=style)
    if not console.is_terminal:
        console = Console(width=_WIDE)
    console.print(table)


def _width(name: str, cells: Sequence[str]) -> int:
    from rich.text import Text

    return max([len(name), *(Text.from_markup(cell).cell_len for cell in cells)])


_MONEY = frozenset({*_PERIOD, "gross", "net"} - {"net_return"})
_SIGNED = frozenset({"net", "net_return"})


def _cell(name: str, value: Any) -> str:
    if value is None:
        return "-"
    if name.endswith("_time"):
        return str(value)[:16].replace("T", " ")
    if name not in _MONEY and name != "net_return":
        return str(value)
    amount = float(value)
    text = f"{amount:+.2%}" if name == "net_return" else f"{amount:,.2f}"
    tone = "green" if amount > 0 else "red" if amount < 0 else ""
    return f"[{tone}]{text}[/]" if tone and name in _SIGNED else text
