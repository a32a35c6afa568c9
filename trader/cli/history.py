"""`trader history`: candles and funding of the past, kept in a store on this machine."""

import asyncio
from pathlib import Path
from typing import Annotated

import typer

from trader.cli.progress import progress_by_share
from trader.cli.values import FromOption, JsonFlag, ToOption, show

ADDRESS = "https://data.binance.vision"

history = typer.Typer(help="Fetch, import, list and verify candles and funding.", no_args_is_help=True)


def register(app: typer.Typer) -> None:
    """Add the commands of this page."""
    app.add_typer(history, name="history")


@history.command()
def pull(
    symbol: Annotated[str, typer.Option(help="The symbol, such as ADAUSDT.")],
    interval: Annotated[
        str, typer.Option(help="The candle length; 16h is fetched as the 8h klines it is made of.")
    ] = "1h",
    start: FromOption = None,
    end: ToOption = None,
    funding: Annotated[bool, typer.Option(help="Fetch funding too.")] = True,
    trades: Annotated[bool, typer.Option("--trades", help="Make the candles from daily archives of trades.")] = False,
    archives: Annotated[str, typer.Option(help="Where archives lie: what comes before data/futures/...")] = ADDRESS,
    keep: Annotated[bool, typer.Option("--keep", help="Keep the archives after reading them.")] = False,
    as_json: JsonFlag = False,
) -> None:
    """Fetch what the store lacks, in pages, within half of the exchange's limits; a killed fetch loses nothing.

    Needs no key. With --trades each day's archive is fetched whole, checked against its published sum, and read.

    Examples:
      trader history pull --symbol ADAUSDT --interval 16h --from 2022-01-01
      trader history pull --symbol ADAUSDT --trades --from 2024-01-01 --to 2024-02-01 --json
    """
    from trader.app import history as book
    from trader.app.settings import load_settings
    from trader.domain.interval import Interval

    settings = load_settings()
    window = book.Window(symbol, Interval.parse(interval), start, end)
    with progress_by_share(f"Fetching {symbol}") as tell:
        work = (
            book.pull_trades(settings, window, archives, keep=keep, tell=tell)
            if trades
            else book.pull(settings, window, funding=funding, tell=tell)
        )
        document = asyncio.run(work)
    show(document, as_json=as_json)


@history.command("import")
def import_files(
    files: Annotated[list[Path], typer.Argument(help="Archives of trades or klines (zip or CSV), or candle files.")],
    symbol: Annotated[
        str | None, typer.Option(help="What they must hold, where they say; else what they hold.")
    ] = None,
    interval: Annotated[str, typer.Option(help="The candle length that trades are made into.")] = "1h",
    replace: Annotated[bool, typer.Option("--replace", help="Believe the files where the store differs.")] = False,
    as_json: JsonFlag = False,
) -> None:
    """Read files into the store: all of them, or none where one cannot be used.

    An archive must be called as Binance calls it, because its name says which days it covers.

    Examples:
      trader history import ADAUSDT-trades-2024-01-01.zip ADAUSDT-trades-2024-01-02.zip
      trader history import ADAUSDT_1h.parquet --symbol ADAUSDT --json
    """
    from trader.app import history as book
    from trader.app.settings import load_settings
    from trader.domain.interval import Interval

    with progress_by_share("Importing") as tell:
        found = book.import_files(load_settings(), files, symbol, Interval.parse(interval), replace=replace, tell=tell)
    show(found, as_json=as_json)


@history.command("list")
def list_holdings(as_json: JsonFlag = False) -> None:
    """List what the store has, by symbol and interval.

    Examples:
      trader history list
      trader history list --json
    """
    from trader.app import history as book
    from trader.app.settings import load_settings

    show(book.holdings(load_settings()), as_json=as_json)


@history.command()
def verify(
    file: Annotated[
        Path | None, typer.Argument(help="A candle file; without one the store.", show_default=False)
    ] = None,
    symbol: Annotated[str | None, typer.Option(help="Only this symbol.")] = None,
    interval: Annotated[str | None, typer.Option(help="Only this candle length of the store.")] = None,
    against: Annotated[Path | None, typer.Option(help="A second candle file to compare with, close by close.")] = None,
    as_json: JsonFlag = False,
) -> None:
    """List gaps, duplicates, impossible bars, a partial last bar, and differences; exit 1 where there is one.

    Examples:
      trader history verify ADAUSDT_1h.parquet
      trader history verify --symbol ADAUSDT --interval 1h --against ADAUSDT_1h.parquet --json
    """
    from trader.app import history as book
    from trader.app.settings import load_settings
    from trader.domain.interval import Interval

    length = None if interval is None else Interval.parse(interval)
    document = book.verify(load_settings(), file, symbol, length, against)
    found = document["findings"]
    show(
        document if as_json else found,
        as_json=as_json,
        text="" if found else f"{document['candles']} candles, no fault",
    )
    if found:
        raise typer.Exit(1)
