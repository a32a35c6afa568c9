"""`trader sim`: the embedded exchange alone, for other clients."""

from pathlib import Path
from typing import Annotated

import typer

from trader.cli.values import (
    EquityOption,
    FeeOption,
    FromOption,
    FundingOption,
    InstrumentsOption,
    SlippageOption,
    TapeOption,
    ToOption,
    pace,
)


def register(app: typer.Typer) -> None:
    """Add the commands of this page."""
    app.command("sim")(simulate)


def simulate(
    tape: TapeOption = None,
    funding: FundingOption = None,
    instruments: InstrumentsOption = None,
    start: FromOption = None,
    end: ToOption = None,
    equity: EquityOption = None,
    fee: FeeOption = None,
    slippage: SlippageOption = None,
    port: Annotated[int, typer.Option(min=0, max=65535, help="On 127.0.0.1; 0 takes a free one.")] = 0,
    speed: Annotated[
        float | None,
        typer.Option(parser=pace, metavar="X|max", help="Venue seconds a second; `max`: a millisecond a request."),
    ] = None,
    faults: Annotated[Path | None, typer.Option(help="A fault plan (JSON), see docs/embedded-exchange.md.")] = None,
) -> None:
    """Serve the embedded Binance USDT-M exchange on loopback until interrupted.

    The first line on stdout tells port, certificate authority and keys as JSON. A daemon trades on it with
    TRADER_VENUE=testnet TRADER_EXCHANGE__LOOPBACK=PORT and the same TRADER_DATA_DIR.

    Examples:
      trader sim --port 8443
      trader sim --port 8443 --tape ADAUSDT_1h.parquet --funding ADAUSDT_funding.parquet --from 2025-01-01 --speed max
    """
    from trader.app.settings import load_settings, money
    from trader.app.standalone import serve
    from trader.app.tapes import TapeChoice

    settings = load_settings(sim=money(equity=equity, fee=fee, slippage=slippage))
    choice = TapeChoice(tape, funding, instruments, start, end)
    code = serve(settings, choice, port=port, speed=speed, faults=faults)
    if code:
        raise typer.Exit(code)
