"""`trader run` and `trader decide`."""

import asyncio
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TYPE_CHECKING, Annotated, Any, TextIO, cast

import typer

from trader.cli.values import (
    CyclesOption,
    EquityOption,
    FeeOption,
    FromOption,
    FundingOption,
    InstrumentsOption,
    JsonFlag,
    SlippageOption,
    StrategyOption,
    TapeOption,
    ToOption,
    moment,
    pace,
    show,
)

if TYPE_CHECKING:
    from trader.app.watching import Watch
    from trader.config import LogSettings


def register(app: typer.Typer) -> None:
    """Add the commands of this page."""
    app.command()(run)
    app.command()(decide)


def run(
    strategy: StrategyOption = None,
    cycles: CyclesOption = None,
    speed: Annotated[
        float | None,
        typer.Option(parser=pace, metavar="X|max", help="Divide every wait by X; `max` waits for nothing."),
    ] = None,
    tape: TapeOption = None,
    funding: FundingOption = None,
    start: FromOption = None,
    end: ToOption = None,
    equity: EquityOption = None,
    fee: FeeOption = None,
    slippage: SlippageOption = None,
    instruments: InstrumentsOption = None,
    adopt: Annotated[bool, typer.Option(help="Accept what is on the account as the baseline.")] = False,
    as_json: JsonFlag = False,
) -> None:
    """Run the daemon: decide every candle close and carry the orders to a certain end.

    Without settings it plays a generated market on an embedded exchange, with imagined money.

    Examples:
      trader run
      trader run --tape ADAUSDT_1h.parquet --funding ADAUSDT_funding.parquet --speed max --cycles 100
      TRADER_VENUE=testnet TRADER_DRY_RUN=true trader run
    """
    from trader.app.daemon import RunOptions, run_daemon
    from trader.app.settings import load_settings, money
    from trader.app.tapes import TapeChoice

    settings = load_settings(strategy=strategy, sim=money(equity=equity, fee=fee, slippage=slippage))
    choice = TapeChoice(tape, funding, instruments, start, end)
    collect = as_json or cycles is not None
    with _terminal(settings.log) as table:
        options = RunOptions(choice, cycles, speed, adopt, collect, show=table)
        document = asyncio.run(run_daemon(settings, options))
    if document is not None:
        show(document, as_json=as_json, text=summary(document))


@contextmanager
def _terminal(options: "LogSettings") -> "Iterator[Callable[[Watch], AbstractContextManager[None]]]":
    """Send log lines to stderr; on a terminal that is not to have JSON, yield what shows the table below them."""
    from trader.log import configure

    if not sys.stderr.isatty() or options.format == "json":
        configure(options)
        yield lambda watch: nullcontext()
        return
    from trader.cli.table import Screen

    try:
        with Screen(sys.stderr) as screen:
            configure(options, cast(TextIO, screen.lines))
            yield screen.show
    finally:
        configure(options)


def decide(
    strategy: StrategyOption = None,
    candles: TapeOption = None,
    close: Annotated[
        Any, typer.Option("--close", parser=moment, metavar="T", help="The close to decide (UTC).", show_default=False)
    ] = None,
    equity: EquityOption = None,
    as_json: JsonFlag = False,
) -> None:
    """Make one decision and show its orders; nothing is sent and nothing is journalled.

    Examples:
      trader decide --candles ADAUSDT_1h.parquet --json
      trader decide --strategy ada-ar-12h --candles ADAUSDT_1h.parquet --close 2025-05-01T12:00Z
    """
    from trader.app.deciding import decide_once
    from trader.app.settings import load_settings, money

    settings = load_settings(strategy=strategy, sim=money(equity=equity))
    show(decide_once(settings, candles, close), as_json=as_json)


def summary(document: dict[str, Any]) -> str:
    """Say in a few lines what a run or a backtest came to."""
    metrics = document["metrics"]
    names = ("n", "win_rate", "sharpe", "max_drawdown_log", "fees", "funding", "net_return")
    lines = [f"{len(document['closes'])} closes, {len(document['trades'])} trades"]
    lines += [f"  {name:18} {metrics[name]}" for name in names]
    return "\n".join(lines)
