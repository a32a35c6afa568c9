"""`trader benchmark` and `trader walkforward`: many fits at once, and what they are worth together."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

import typer

from trader.cli.progress import progress_by_share
from trader.cli.values import (
    CandlesOption,
    FromOption,
    IntervalOption,
    JsonFlag,
    LossOption,
    SymbolOption,
    TestSizeOption,
    ToOption,
    show,
)

if TYPE_CHECKING:
    from rich.console import RenderableType


def register(app: typer.Typer) -> None:
    """Add the commands of this page."""
    app.command()(benchmark)
    app.command()(walkforward)


def benchmark(
    candles: CandlesOption = None,
    interval: IntervalOption = "16h",
    lags: Annotated[str, typer.Option(help="The pool of lags, such as 1-4.")] = "1-4",
    max_features: Annotated[
        int | None, typer.Option(min=1, help="The most lags of a subset; all, unless given.")
    ] = None,
    loss: LossOption = "l1",
    test_size: TestSizeOption = 0.25,
    symbol: SymbolOption = None,
    start: FromOption = None,
    end: ToOption = None,
    as_json: JsonFlag = False,
) -> None:
    """Fit every subset of a pool of lags, rank them out of sample, and say how much of the best is luck.

    Examples:
      trader benchmark --candles ADAUSDT_1h.parquet --interval 16h --lags 1-4
      trader benchmark --symbol ADAUSDT --interval 16h --lags 1-4
      trader benchmark --candles ADAUSDT_1h.parquet --lags 1-8 --max-features 3 --loss mse --json
    """
    from trader.app.fitting import Series, rank
    from trader.app.settings import load_settings

    series = Series(candles, interval, lags, loss, symbol, start, end)
    with progress_by_share("fitting") as tell:
        document = rank(load_settings(), series, largest=max_features, test_size=test_size, tell=tell)
    _print(document, as_json, _ranking)


def walkforward(
    candles: CandlesOption = None,
    interval: IntervalOption = "16h",
    lags: Annotated[str, typer.Option(help="The lags, or with --max-features their pool.")] = "1",
    scheme: Annotated[str, typer.Option(help="rolling (the window moves) or expanding (it grows).")] = "rolling",
    train: Annotated[int | None, typer.Option(min=1, help="Candles a fit sees first; a year, unless given.")] = None,
    test: Annotated[int | None, typer.Option(min=1, help="Candles a fit is tried on; a quarter of a year.")] = None,
    step: Annotated[int | None, typer.Option(min=1, help="Candles to the next fit; as many as are tested.")] = None,
    max_features: Annotated[
        int | None, typer.Option(min=1, help="Choose in each window among all subsets of so many lags.")
    ] = None,
    loss: LossOption = "l1",
    symbol: SymbolOption = None,
    start: FromOption = None,
    end: ToOption = None,
    as_json: JsonFlag = False,
) -> None:
    """Refit along the history and try each fit on what came next: folds with dates, and the stitched curve.

    Examples:
      trader walkforward --candles ADAUSDT_1h.parquet --interval 16h --lags 1
      trader walkforward --symbol ADAUSDT --interval 16h --lags 1
      trader walkforward --candles ADAUSDT_1h.parquet --scheme expanding --lags 1-4 --max-features 2 --json
    """
    from trader.app.fitting import Series, Walking, walk
    from trader.app.settings import load_settings

    series = Series(candles, interval, lags, loss, symbol, start, end)
    with progress_by_share("walking") as tell:
        document = walk(load_settings(), series, Walking(scheme, train, test, step, max_features), tell=tell)
    _print(document, as_json, _walk)


def _print(document: Mapping[str, Any], as_json: bool, page: Any) -> None:
    if as_json:
        show(document, as_json=True)
        return
    from rich.console import Console

    Console().print(page(document))


def _ranking(document: Mapping[str, Any]) -> "RenderableType":
    from rich.console import Group
    from rich.table import Table

    columns = ("lags", "numbers", "Sharpe", "trained", "wins", "log return", "long/short", "best", "worst")
    table = Table(*columns, box=None, pad_edge=False)
    for row in document["subsets"]:
        numbers = [_number(row[key]) for key in ("sharpe", "train_sharpe", "win_rate", "total_log_return")]
        lags = ",".join(map(str, row["lags"]))
        balance = f"{row['longs']}/{row['shorts']}"
        ends = (_number(row["best_trade"]), _number(row["worst_trade"]))
        table.add_row(lags, str(row["parameters"]), *numbers, balance, *ends)
    train, test = document["train"], document["test"]
    head = (
        f"{document['symbol']}, the next {document['interval']}: fitted to {train['rows']} candles, ranked on "
        f"{test['rows']} from {test['first_close']} to {test['last_close']} ({test['up']} up, {test['down']} down), "
        "before costs."
    )
    said = (
        f"{document['trials']} fits are recorded for {document['symbol']}. The best of so many worthless ones would "
        f"show a Sharpe ratio of {_number(document['expected_maximum_sharpe'])}. That the best here is truly above 0 "
        f"has a probability of {_number(document['probabilistic_sharpe'])} if it was the only fit, and of "
        f"{_number(document['deflated_sharpe'])} as the best of them all."
    )
    return Group(head, "", table, "", said)


def _walk(document: Mapping[str, Any]) -> "RenderableType":
    from rich.console import Group
    from rich.table import Table

    table = Table("from", "to", "candles", "trained on", "lags", "EV", "Sharpe", "win rate", box=None, pad_edge=False)
    for fold in document["folds"]:
        numbers = [_number(fold[key]) for key in ("ev", "sharpe", "win_rate")]
        test = fold["test"]
        days = (test["first_close"][:10], test["last_close"][:10])
        lags = ",".join(map(str, fold["lags"]))
        table.add_row(*days, str(test["rows"]), str(fold["train"]["rows"]), lags, *numbers)
    metrics = document["metrics"]
    said = (
        f"{document['positive']} of {len(document['folds'])} folds earned something; mean EV {document['mean_ev']:.8f} "
        f"a candle. Stitched together: log return {_number(metrics['total_log_return'])}, Sharpe ratio "
        f"{_number(metrics['sharpe'])}, before costs. {document['fits']} fits were made."
    )
    return Group(table, "", said)


def _number(value: Any) -> str:
    return "-" if value is None else f"{value:.3g}"
