"""`trader train gru` and `trader train shapes`: recurrent models, and what their size does."""

from datetime import datetime
from typing import TYPE_CHECKING, Annotated

import typer

from trader.cli.progress import progress_of_several
from trader.cli.values import (
    CandlesOption,
    FeeOption,
    FundingOption,
    IntervalOption,
    JsonFlag,
    ModelOutOption,
    SlippageOption,
    SymbolOption,
    TestSizeOption,
    ToOption,
    moment,
    show,
)

if TYPE_CHECKING:
    pass

WindowOption = Annotated[int, typer.Option(min=2, help="How many candles a forecast reads.")]
ObjectiveOption = Annotated[str, typer.Option(help="cross-entropy of the direction, or profit after costs.")]
EpochsOption = Annotated[int, typer.Option(min=1, help="At most so many passes over the training candles.")]
PatienceOption = Annotated[int, typer.Option(min=1, help="Stop after so many passes without a better validation.")]
SeedOption = Annotated[int, typer.Option(min=0, help="Where chance starts; the same seed gives the same model.")]
OverlappingFlag = Annotated[
    bool, typer.Option("--overlapping", help="Train on every window and its last step alone: slow.")
]
SplitOption = Annotated[
    datetime | None,
    typer.Option(parser=moment, metavar="T", help="Train on closes up to here, instead of --test-size."),
]


def register_recurrent(train: typer.Typer) -> None:
    """Add the commands of this page."""
    train.command("gru")(train_gru)


def train_gru(
    out: ModelOutOption,
    candles: CandlesOption = None,
    interval: IntervalOption = "30m",
    window: WindowOption = 512,
    layers: Annotated[int, typer.Option(min=1, max=8, help="How many layers.")] = 3,
    width: Annotated[int, typer.Option(min=1, max=256, help="How many numbers the state of a layer has.")] = 16,
    objective: ObjectiveOption = "cross-entropy",
    epochs: EpochsOption = 60,
    patience: PatienceOption = 12,
    seed: SeedOption = 0,
    overlapping: OverlappingFlag = False,
    split: SplitOption = None,
    test_size: TestSizeOption = 0.25,
    symbol: SymbolOption = None,
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
    from trader.app.training import Steps, TrainingChoice, recipe_for, train_recurrent_to_folder
    from trader.research.evidence.judge import STEPS
    from trader.research.evidence.refits import FOLDS

    settings = load_settings(sim=money(fee=fee, slippage=slippage))
    recipe = recipe_for(
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
    choice = TrainingChoice(candles, interval, test_size, symbol, until, funding)
    with progress_of_several({"learning": epochs, "walking": FOLDS * epochs, "weighing": STEPS}) as steps:
        document = train_recurrent_to_folder(settings, choice, recipe, split, out, Steps(*steps))
    show(document, as_json=as_json)
