"""How values are written on the command line, and how results are printed."""

import json
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Annotated, Any

import typer


def moment(text: str) -> datetime:
    """Read a UTC date or time in ISO 8601; one without an offset is UTC."""
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise typer.BadParameter(f"{text!r} is not an ISO 8601 time such as 2023-02-11 or 2023-02-11T16:00Z") from None
    return found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)


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


JsonFlag = Annotated[bool, typer.Option("--json", help="One JSON document on stdout; logs stay on stderr.")]
StrategyOption = Annotated[
    str | None, typer.Option("--strategy", help="A strategy file, or the name of a shipped one.", show_default=False)
]
TapeOption = Annotated[Path | None, typer.Option(help="A candle file to play; without one a market is generated.")]
FundingOption = Annotated[Path | None, typer.Option(help="Funding rates (funding_time, funding_rate; longs pay).")]
InstrumentsOption = Annotated[Path | None, typer.Option(help="Trading rules, shaped like Binance's exchangeInfo.")]
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
CyclesOption = Annotated[int | None, typer.Option(min=1, help="Stop after so many closes.", show_default=False)]


def show(document: Mapping[str, Any] | list[Any], *, as_json: bool, table: str = "") -> None:
    """Print one JSON document, or the readable form of it."""
    if as_json:
        sys.stdout.write(json.dumps(document, indent=None, allow_nan=False) + "\n")
    elif table:
        sys.stdout.write(table.rstrip() + "\n")
    else:
        from rich.console import Console
        from rich.pretty import Pretty

        Console().print(Pretty(document, expand_all=True))


def say(text: str) -> None:
    """Print a line for people."""
    sys.stdout.write(text + "\n")
