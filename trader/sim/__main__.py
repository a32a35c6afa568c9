"""Run the embedded exchange from the command line: ``python -m trader.sim --dir DIR``."""

import argparse
import sys
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from pathlib import Path

from trader.sim.server import Options, serve


def read_options(arguments: list[str]) -> Options:
    """Read command line arguments; argparse exits with 2 on wrong usage."""
    parser = argparse.ArgumentParser(prog="python -m trader.sim", description="Serve a Binance USDT-M exchange.")
    parser.add_argument("--dir", type=Path, required=True, help="folder of the ledger")
    parser.add_argument("--ca-dir", type=Path, help="folder of the certificates (default: the folder above DIR)")
    parser.add_argument("--tape", type=Path, help="candle file (default: the generated market)")
    parser.add_argument("--funding", type=Path, help="funding file")
    parser.add_argument("--instruments", type=Path, help="exchangeInfo-shaped file")
    parser.add_argument("--symbol", help="symbol of a candle file that does not name one, or of the generated market")
    parser.add_argument("--from", dest="begin", type=_instant, help="first instant, UTC ISO 8601 or milliseconds")
    parser.add_argument("--to", dest="end", type=_instant, help="last instant")
    for name in ("equity", "fee", "slippage", "spread"):
        parser.add_argument(f"--{name}", type=_decimal)
    parser.add_argument("--port", type=int, default=0, help="0 for any free one")
    parser.add_argument("--clock", default="wall", help="stepped, wall, real or a factor of the wall rate")
    parser.add_argument("--faults", type=Path, help="fault plan (JSON)")
    parser.add_argument("--client-pid", type=int, help="the process that kill faults end")
    parser.add_argument("--pipe", action="store_true", help="end when standard input ends")
    given = vars(parser.parse_args(arguments))
    folder, ca_folder = given.pop("dir"), given.pop("ca_dir")
    return Options(folder=folder, ca_folder=ca_folder, **given)


def _decimal(text: str) -> Decimal:
    try:
        return Decimal(text)
    except InvalidOperation as error:
        raise argparse.ArgumentTypeError(f"{text!r} is no number") from error


def _instant(text: str) -> int:
    """Read epoch milliseconds or ISO 8601; without a zone it is UTC."""
    if text.isdigit() and len(text) > 8:
        return int(text)
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is no ISO 8601 time") from error
    moment = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment
    return round(moment.timestamp() * 1000)


if __name__ == "__main__":
    sys.exit(serve(read_options(sys.argv[1:])))
