"""How values are written on the command line, and how results are printed."""

import json
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from rich.console import Console, Group
    from rich.table import Table

    from trader.app.stored import Stored

_WIDE = 200
_ANY = 10_000


def moment(text: str) -> datetime:
    """Read a UTC date or time in ISO 8601; one without an offset is UTC."""
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise typer.BadParameter(f"{text!r} is not an ISO 8601 time such as 2023-02-11 or 2023-02-11T16:00Z") from None
    try:
        return found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)
    except OverflowError:
        raise typer.BadParameter(f"{text!r} is no time that can be written in UTC") from None


def amount(text: str) -> Decimal:
    """Read a decimal number that is not negative."""
    try:
        found = Decimal(text)
    except InvalidOperation:
        raise typer.BadParameter(f"{text!r} is not a decimal number") from None
    if not found.is_finite() or found < 0:
        raise typer.BadParameter(f"{text!r} must be a finite number of at least 0")
    return found


def pace(text: str) -> float:
    """Read a speed: a factor of wall time, or `max` (infinite)."""
    if text == "max":
        return float("inf")
    try:
        found = float(text)
    except ValueError:
        found = 0.0
    if not found > 0:
        raise typer.BadParameter(f"{text!r} is neither a positive number nor `max`")
    return found


def confirm(question: str) -> None:
    """Go on only where a person says yes; asked on stderr, because stdout belongs to what a command answers."""
    sys.stderr.write(f"{question} [y/N]: ")
    sys.stderr.flush()
    # a process may have been started without an input
    answer = sys.stdin.readline() if sys.stdin is not None else ""
    if answer.strip().lower() not in ("y", "yes"):
        sys.stderr.write("\nNothing was done; answer y, or give --yes where nobody can answer.\n")
        raise typer.Exit(1)


JsonFlag = Annotated[bool, typer.Option("--json", help="One JSON document on stdout; logs stay on stderr.")]
StrategyOption = Annotated[
    str | None, typer.Option("--strategy", help="A strategy file, or the name of a shipped one.", show_default=False)
]
PlayedOption = Annotated[
    Path | None,
    typer.Option("--candles", "--tape", help="The tape; without it and --symbol the generated market."),
]
CandlesOption = Annotated[
    Path | None, typer.Option(help="A candle file whose bars divide the interval; without one the store.")
]
IntervalOption = Annotated[str, typer.Option(help="The candle length, such as 16h.")]
SymbolOption = Annotated[str | None, typer.Option(help="The symbol, where the file does not say, or of the store.")]
ModelOutOption = Annotated[Path, typer.Option("--out", help="The folder for card.json and weights.safetensors.")]
TestSizeOption = Annotated[float, typer.Option(help="The share of candles, at the end, that no fit sees.")]
LossOption = Annotated[
    str,
    typer.Option(
        help="l1 (least absolute deviations) or mse (least squares), both exact; by gradient huber, log-cosh,"
        " student-t, expectile-40, quantile-40, and l1-adam (5,000 epochs, wherever they end)."
    ),
]
TapeOption = Annotated[Path | None, typer.Option(help="A candle file to play; without one a market is generated.")]
FundingOption = Annotated[Path | None, typer.Option(help="Funding rates (funding_time, funding_rate; longs pay).")]
InstrumentsOption = Annotated[Path | None, typer.Option(help="Trading rules, shaped like Binance's exchangeInfo.")]
StoredSymbolOption = Annotated[
    str | None,
    typer.Option("--symbol", help="Play what the store has of the strategy's symbol.", show_default=False),
]
StoredIntervalOption = Annotated[
    str | None,
    typer.Option(
        "--interval",
        help="Which bars of the store; those that cover most, unless given.",
        show_default=False,
    ),
]
FromOption = Annotated[
    datetime | None, typer.Option("--from", parser=moment, metavar="T", help="Begin here (UTC).", show_default=False)
]
ToOption = Annotated[
    datetime | None,
    typer.Option("--to", parser=moment, metavar="T", help="Stop after the last close here.", show_default=False),
]
EquityOption = Annotated[
    Decimal | None, typer.Option(parser=amount, metavar="E", help="USDT to begin with.", show_default=False)
]
FeeOption = Annotated[
    Decimal | None, typer.Option(parser=amount, metavar="R", help="Taker fee as a fraction.", show_default=False)
]
SlippageOption = Annotated[
    Decimal | None, typer.Option(parser=amount, metavar="R", help="Slippage as a fraction.", show_default=False)
]
CyclesOption = Annotated[
    int | None, typer.Option(min=1, max=10**9, help="Stop after so many closes.", show_default=False)
]


def stored(symbol: str | None, interval: str | None) -> "Stored | None":
    """Read what is asked of the store; None where nothing is."""
    from trader.app.stored import Stored
    from trader.domain.interval import Interval

    if symbol is None:
        if interval is not None:
            raise typer.BadParameter("--interval says which bars of the store are played; name their --symbol too")
        return None
    return Stored(symbol, None if interval is None else Interval.parse(interval))


def show(
    document: Mapping[str, Any] | Sequence[Mapping[str, Any]], *, as_json: bool, text: str = "", err: bool = False
) -> None:
    """Print one JSON document, or for people a table of it, or the text given; `err` what precedes a question."""
    if as_json:
        sys.stdout.write(json.dumps(document, allow_nan=False) + "\n")
        return
    if text:
        sys.stdout.write(text.rstrip() + "\n")
        return
    from rich.console import Console

    console = Console(stderr=err)
    if not console.is_terminal:
        # a pipe has no edge that a row could break at
        console = Console(width=_WIDE, stderr=err)
    console.print(_pairs(document) if isinstance(document, Mapping) else _rows(document, console))


def _pairs(document: Mapping[str, Any]) -> "Table":
    from rich.table import Table

    table = Table(show_header=False, box=None, pad_edge=False)
    table.add_column(style="bold")
    table.add_column(overflow="fold")
    for name, value in document.items():
        table.add_row(name.replace("_", " "), _pairs(value) if isinstance(value, Mapping) and value else _cell(value))
    return table


def _rows(document: Sequence[Mapping[str, Any]], console: "Console") -> "Table | Group | str":
    """Return a table, or where a row would break at the edge of the terminal a paragraph for each."""
    from rich.console import Group
    from rich.table import Table

    if not document:
        return "nothing yet"
    table = Table(box=None, pad_edge=False)
    for name in document[0]:
        table.add_column(name.replace("_", " "), overflow="fold")
    for row in document:
        table.add_row(*(_cell(value) for value in row.values()))
    if console.measure(table, options=console.options.update(max_width=_ANY)).maximum <= console.width:
        return table
    return Group(*(part for row in document for part in (_pairs(row), "")))


def _cell(value: Any) -> str:
    if value is None or value == {}:
        return "-"
    if isinstance(value, list | tuple):
        return ", ".join(_cell(one) for one in value) or "-"
    return {True: "yes", False: "no"}[value] if isinstance(value, bool) else str(value)
