"""`trader train` and `trader backtest`: research with the daemon's own parts."""

from typing import Annotated

import typer

from trader.cli.progress import progress, progress_by_share
from trader.cli.recurrent import register_recurrent
from trader.cli.values import (
    CandlesOption,
    CyclesOption,
    EquityOption,
    FeeOption,
    FromOption,
    FundingOption,
    InstrumentsOption,
    IntervalOption,
    JsonFlag,
    LossOption,
    ModelOutOption,
    PlayedOption,
    SlippageOption,
    StoredIntervalOption,
    StoredSymbolOption,
    StrategyOption,
    SymbolOption,
    TestSizeOption,
    ToOption,
    show,
    stored,
)

train = typer.Typer(help="Fit a model to candles and write it with its card.", no_args_is_help=True)


def register(app: typer.Typer) -> None:
    """Add the commands of this page."""
    register_recurrent(train)
    app.add_typer(train, name="train")
    app.command()(backtest)


@train.command("ar")
def train_ar(
    out: ModelOutOption,
    candles: CandlesOption = None,
    interval: IntervalOption = "16h",
    lags: Annotated[str, typer.Option(help="Lags of the log return, such as 1,3 or 1-4.")] = "1",
    loss: LossOption = "l1",
    test_size: TestSizeOption = 0.25,
    symbol: SymbolOption = None,
    until: ToOption = None,
    funding: FundingOption = None,
    fee: FeeOption = None,
    slippage: SlippageOption = None,
    as_json: JsonFlag = False,
) -> None:
    """Fit an autoregressive forecaster, record the fit, and judge it on the candles it has not seen.

    Examples:
      trader train ar --candles ADAUSDT_1h.parquet --interval 16h --lags 1 --out models/mine
      trader train ar --candles ADAUSDT_1h.parquet --interval 12h --lags 1,2 --loss mse --out models/mine --json
      trader train ar --symbol ADAUSDT --interval 16h --lags 1 --out models/mine
    """
    from trader.app.settings import load_settings, money
    from trader.app.training import TrainingChoice, train_to_folder
    from trader.research.evidence.judge import STEPS

    settings = load_settings(sim=money(fee=fee, slippage=slippage))
    choice = TrainingChoice(candles, interval, test_size, symbol, until, funding)
    with progress("weighing", STEPS) as step:
        document = train_to_folder(settings, choice, lags, loss, out, step)
    show(document, as_json=as_json)


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
    as_json: JsonFlag = False,
) -> None:
    """Make the daemon's decisions over a tape, with arithmetic for an exchange.

    Examples:
      trader backtest --strategy ada-ar-16h --candles ADAUSDT_1h.parquet --funding ADAUSDT_funding.parquet
      trader backtest --strategy ada-ar-12h --candles ADAUSDT_1h.parquet --from 2025-05-01 --json
      trader backtest --symbol ADAUSDT --from 2025-05-01
      trader backtest --strategy perp-carry-1d --candles perpetuals_1d.parquet
    """
    from trader.app.backtesting import backtest as run_it
    from trader.app.settings import load_settings, money
    from trader.app.tapes import TapeChoice
    from trader.cli.run import summary

    settings = load_settings(strategy=strategy, sim=money(equity=equity, fee=fee, slippage=slippage))
    choice = TapeChoice(candles, funding, instruments, start, end)
    with progress_by_share("deciding") as tell:
        document = run_it(settings, choice, cycles, stored=stored(symbol, interval), tell=tell)
    show(document, as_json=as_json, text=summary(document))
