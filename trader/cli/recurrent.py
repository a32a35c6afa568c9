"""`trader train gru` and `trader train shapes`: recurrent models, and what their size does."""

from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

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
    from rich.console import RenderableType

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
    train.command("shapes")(train_shapes)


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
    from trader.app.settings import load_settings, money
    from trader.app.strategies import costs_of
    from trader.app.training import Steps, TrainingChoice, recipe_for, train_recurrent_to_folder
    from trader.research.evidence.judge import RECURRENT_STEPS
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
    with progress_of_several({"learning": epochs, "walking": FOLDS * epochs, "weighing": RECURRENT_STEPS}) as steps:
        document = train_recurrent_to_folder(settings, choice, recipe, split, out, Steps(*steps))
    show(document, as_json=as_json)


def train_shapes(
    shapes: Annotated[
        str, typer.Option(help="Layers by width, each a network of its own.")
    ] = "1x8,1x16,1x32,3x8,3x16,3x32",
    candles: CandlesOption = None,
    interval: IntervalOption = "30m",
    window: WindowOption = 512,
    objective: ObjectiveOption = "cross-entropy",
    epochs: EpochsOption = 60,
    patience: PatienceOption = 12,
    seed: SeedOption = 0,
    overlapping: OverlappingFlag = False,
    split: SplitOption = None,
    test_size: TestSizeOption = 0.25,
    symbol: SymbolOption = None,
    until: ToOption = None,
    fee: FeeOption = None,
    slippage: SlippageOption = None,
    out: Annotated[Path | None, typer.Option(help="A page to draw the curves of every training on.")] = None,
    as_json: JsonFlag = False,
) -> None:
    """Train networks of several shapes on the same candles, and compare what they learned; every fit is recorded.

    Nothing is judged and no model is written: they are ranked by the loss that stopped their training, and what they
    came to after the split stands beside it.

    Examples:
      trader train shapes --candles BTCUSDT_5m.parquet --interval 30m --split 2024-01-01 --out shapes.html
      trader train shapes --candles BTCUSDT_5m.parquet --shapes 1x8,2x8 --json
    """
    from trader.app.settings import load_settings, money
    from trader.app.shapes import compare_shapes, draw_shapes, parse_shapes, require_page, said
    from trader.app.strategies import costs_of
    from trader.app.training import TrainingChoice, recipe_for

    settings = load_settings(sim=money(fee=fee, slippage=slippage))
    recipe = recipe_for(
        costs_of(settings),
        window=window,
        epochs=epochs,
        patience=patience,
        objective=objective,
        overlapping=overlapping,
        seed=seed,
    )
    choice, wanted = TrainingChoice(candles, interval, test_size, symbol, until, None), parse_shapes(shapes)
    require_page(out)
    with progress_of_several({said(shape): epochs for shape in wanted}) as steps:
        document = compare_shapes(settings, choice, recipe, wanted, split, steps)
    if out is not None:
        draw_shapes(document, out)
    if as_json:
        show(document, as_json=True)
    else:
        from rich.console import Console

        Console().print(_table(document))


def _table(document: Mapping[str, Any]) -> "RenderableType":
    """Lay the networks out for people, the one with the lowest validation loss first."""
    from rich.console import Group
    from rich.table import Table

    columns = ("shape", "numbers", "pass", "trained", "validated", "test", "wins", "sign", "proportional")
    table = Table(*columns, box=None, pad_edge=False)
    for row in document["shapes"]:
        test = row["test"]
        losses = (row["train_loss"], row["validation_loss"], test["cross_entropy"])
        rest = (test["win_rate"], test["discrete_net_sharpe"], test["proportional_net_sharpe"])
        numbers = [_number(loss, 5) for loss in losses] + [_number(one, 3) for one in rest]
        passes = f"{row['best']}/{len(row['epochs'])}"
        table.add_row(f"{row['layers']}x{row['width']}", f"{row['numbers']:,}", passes, *numbers)
    base = _number(document["shapes"][0]["test"]["base_rate_cross_entropy"], 5)
    said = (
        f"{document['symbol']}, the next {document['interval']}, by {document['objective']}: the loss of the pass that "
        "was kept, on candles it was trained on and on those that stopped it. What came after the split chose nothing: "
        f"test is its cross entropy, where the share of ups alone has {base}; wins the share of right directions; sign "
        "and proportional the Sharpe ratios a year of both policies after costs. "
        f"{document['trials']} fits are recorded for {document['symbol']}."
    )
    return Group(table, "", said)


def _number(value: float | None, digits: int) -> str:
    return "-" if value is None else f"{value:.{digits}g}"
