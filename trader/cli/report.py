"""`trader report`: a run as one page."""

from pathlib import Path
from typing import Annotated

import typer

from trader.cli.progress import progress, progress_by_share
from trader.cli.values import (
    CyclesOption,
    EquityOption,
    FeeOption,
    FromOption,
    FundingOption,
    InstrumentsOption,
    JsonFlag,
    PlayedOption,
    SlippageOption,
    StoredIntervalOption,
    StoredSymbolOption,
    StrategyOption,
    ToOption,
    show,
    stored,
)

report = typer.Typer(help="Write a run as one page that carries everything inside itself.", no_args_is_help=True)


def register(app: typer.Typer) -> None:
    """Add the commands of this page."""
    app.add_typer(report, name="report")


@report.callback()
def _report() -> None:
    """Write a run as one page that carries everything inside itself."""


@report.command()
def backtest(
    candles: PlayedOption = None,
    strategy: StrategyOption = None,
    funding: FundingOption = None,
    start: FromOption = None,
    end: ToOption = None,
    cycles: CyclesOption = None,
    equity: EquityOption = None,
    fee: FeeOption = None,
    slippage: SlippageOption = None,
    instruments: InstrumentsOption = None,
    symbol: StoredSymbolOption = None,
    interval: StoredIntervalOption = None,
    out: Annotated[Path | None, typer.Option(help="The page; without it <strategy>-backtest.html here.")] = None,
    png: Annotated[Path | None, typer.Option(help="A folder to write every figure to as a picture.")] = None,
    as_json: JsonFlag = False,
) -> None:
    """Backtest as `trader backtest` does, and write what came of it as one HTML page that loads nothing.

    Examples:
      trader report backtest --candles ADAUSDT_1h.parquet --funding ADAUSDT_funding.parquet --out report.html
      trader report backtest --strategy ada-ar-12h --png figures
      trader report backtest --strategy perp-carry-1d --candles perpetuals_1d.parquet
    """
    from trader.app.reporting import report_backtest
    from trader.app.settings import load_settings, money
    from trader.app.tapes import TapeChoice

    settings = load_settings(strategy=strategy, sim=money(equity=equity, fee=fee, slippage=slippage))
    choice = TapeChoice(candles, funding, instruments, start, end)
    asked = stored(symbol, interval)
    with progress_by_share("deciding") as tell:
        document = report_backtest(settings, choice, cycles, out, png, stored=asked, tell=tell)
    show(document, as_json=as_json)


@report.command()
def live(
    out: Annotated[Path | None, typer.Option(help="The page; without it <strategy>-live.html here.")] = None,
    as_json: JsonFlag = False,
) -> None:
    """Write what an account did beside what its decisions should have earned, from its journal alone.

    Every fill from the price of its decision to its own, fees and funding; the account against the backtest of the very
    closes it lived through; what was missed, and every change of state and stage. Nothing is asked of the exchange.

    Examples:
      trader report live --out live.html
      trader report live --json
    """
    from trader.app.reporting_live import report_live
    from trader.app.settings import load_settings

    with progress("writing", None):
        document = report_live(load_settings(), out)
    show(document, as_json=as_json)
