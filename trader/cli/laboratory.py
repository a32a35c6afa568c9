"""`trader train` and `trader backtest`: research with the daemon's own parts."""

from datetime import datetime
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
    SlippageOption,
    StoredIntervalOption,
    StoredSymbolOption,
    StrategyOption,
    ToOption,
    moment,
    show,
    stored,
)

LossOption = Annotated[
    str,
    typer.Option(
        help="l1 (least absolute deviations) or mse (least squares), both exact; by gradient huber, log-cosh,"
        " student-t, expectile-40, quantile-40, and l1-adam (5,000 epochs, wherever they end)."
    ),
]

train = typer.Typer(help="Fit a model to candles and write it with its card.", no_args_is_help=True)


def register(app: typer.Typer) -> None:
    """Add the commands of this page."""
    app.add_typer(train, name="train")
    app.command()(backtest)


@train.command("ar")
def train_ar(
    out: Annotated[Path, typer.Option(help="The folder to write card.json and weights.safetensors to.")],
    candles: Annotated[
        Path | None, typer.Option(help="A candle file whose bars divide the interval; without one the store.")
    ] = None,
    interval: Annotated[str, typer.Option(help="The candle length, such as 16h.")] = "16h",
    lags: Annotated[str, typer.Option(help="Lags of the log return, such as 1,3 or 1-4.")] = "1",
    loss: LossOption = "l1",
    test_size: Annotated[float, typer.Option(help="The share of rows, at the end, that no fit sees.")] = 0.25,
    symbol: Annotated[
        str | None, typer.Option(help="The symbol, where the file does not say, or of the store.")
    ] = None,
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
    choice = TrainingChoice(candles, interval, lags, loss, test_size, symbol, until, funding)
    with progress("weighing", STEPS) as step:
        document = train_to_folder(settings, choice, out, step)
    show(document, as_json=as_json)


@train.command("gru")
def train_gru(
    out: Annotated[Path, typer.Option(help="The folder to write card.json and weights.safetensors to.")],
    candles: Annotated[
        Path | None, typer.Option(help="A candle file whose bars divide the interval; without one the store.")
    ] = None,
    interval: Annotated[str, typer.Option(help="The candle length, such as 30m.")] = "30m",
    window: Annotated[int, typer.Option(min=2, help="How many candles a forecast reads.")] = 512,
    layers: Annotated[int, typer.Option(min=1, max=8, help="How many layers.")] = 3,
    width: Annotated[int, typer.Option(min=1, max=256, help="How many numbers the state of a layer has.")] = 16,
    objective: Annotated[
        str, typer.Option(help="cross-entropy of the direction, or profit after costs, end to end.")
    ] = "cross-entropy",
    epochs: Annotated[int, typer.Option(min=1, help="At most so many passes over the training candles.")] = 60,
    patience: Annotated[int, typer.Option(min=1, help="Stop after so many passes without a better validation.")] = 12,
    seed: Annotated[int, typer.Option(min=0, help="Where chance starts; the same seed gives the same model.")] = 0,
    overlapping: Annotated[
        bool, typer.Option("--overlapping", help="Train on every window and its last step alone: slow.")
    ] = False,
    split: Annotated[
        datetime | None,
        typer.Option(parser=moment, metavar="T", help="Train on closes up to here, instead of --test-size."),
    ] = None,
    test_size: Annotated[float, typer.Option(help="The share of candles, at the end, that no fit sees.")] = 0.25,
    symbol: Annotated[
        str | None, typer.Option(help="The symbol, where the file does not say, or of the store.")
    ] = None,
    until: ToOption = None,
    funding: FundingOption = None,
    fee: FeeOption = None,
    slippage: SlippageOption = None,
    as_json: JsonFlag = False,
) -> None:
    """Train a recurrent network to say which way the next candle closes, record the fit, and judge it.

    Examples:
      trader train gru --candles BTCUSDT_5m.parquet --interval 30m --split 2024-01-01 --out models/mine
      trader train gru --candles BTCUSDT_5m.parquet --layers 1 --width 8 --objective profit --out models/mine --json
    """
    from trader.app.judging import costs_of
    from trader.app.settings import load_settings, money
    from trader.app.training import TrainingChoice, recipe_of, train_recurrent_to_folder
    from trader.research.evidence.judge import STEPS

    settings = load_settings(sim=money(fee=fee, slippage=slippage))
    recipe = recipe_of(
        costs_of(settings),
        window=window,
        layers=layers,
        width=width,
        epochs=epochs,
        patience=patience,
        objective=objective,
        overlapping=overlapping,
        seed=seed,
    )
    choice = TrainingChoice(candles, interval, "", recipe.loss, test_size, symbol, until, funding)
    with progress("learning", epochs) as learning, progress("weighing", STEPS) as weighing:
        document = train_recurrent_to_folder(settings, choice, recipe, split, out, learning, weighing)
    show(document, as_json=as_json)


def backtest(
    candles: Annotated[
        Path | None,
        typer.Option("--candles", "--tape", help="The tape; without it and --symbol the generated market."),
    ] = None,
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
