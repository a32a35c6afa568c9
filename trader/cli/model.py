"""`trader model`: look at a model, check it, and exchange weights with torch."""

from pathlib import Path
from typing import Annotated

import typer

from trader.cli.values import JsonFlag, show

model = typer.Typer(help="Show, verify, import and export models.", no_args_is_help=True)
FolderArgument = Annotated[Path, typer.Argument(help="A model folder, or the name of a shipped model.")]


def register(app: typer.Typer) -> None:
    """Add the commands of this page."""
    app.add_typer(model, name="model")


@model.command("show")
def show_model(folder: FolderArgument, as_json: JsonFlag = False) -> None:
    """Show a model's card.

    Examples:
      trader model show ada-ar-16h
    """
    from trader.app.training import describe

    show(describe(folder), as_json=as_json)


@model.command()
def verify(folder: FolderArgument, as_json: JsonFlag = False) -> None:
    """Load a model as the daemon would: hashes, shapes, and its golden rows recomputed.

    Examples:
      trader model verify ada-ar-16h --json
    """
    from trader.app.training import verify as check

    show(check(folder), as_json=as_json)


@model.command("import")
def import_model(
    weights: Annotated[Path, typer.Argument(help="A .pth state_dict with linear.weight and linear.bias.")],
    out: Annotated[Path, typer.Option(help="The folder to write card.json and weights.safetensors to.")],
    symbol: Annotated[str, typer.Option(help="The symbol it was trained on.")],
    interval: Annotated[str, typer.Option(help="The candle length it was trained on, such as 12h.")],
    lags: Annotated[str, typer.Option(help="Its lags in the order of its weights, such as 1,2.")],
    as_json: JsonFlag = False,
) -> None:
    """Read a foreign state_dict (weights only, nothing in it is executed) and give it a card.

    Examples:
      trader model import model_weights.pth --symbol ADAUSDT --interval 12h --lags 1,2 --out models/foreign
    """
    from trader.app.training import import_weights

    show(import_weights(weights, out, symbol=symbol, interval=interval, lags=lags), as_json=as_json)


@model.command("export")
def export_model(
    folder: FolderArgument,
    out: Annotated[Path, typer.Option(help="The .pth file to write.")],
    as_json: JsonFlag = False,
) -> None:
    """Write a model's weights as a torch state_dict.

    Examples:
      trader model export ada-ar-12h --out weights.pth
    """
    from trader.app.training import export_weights

    show(export_weights(folder, out), as_json=as_json)
