"""The trading rules a backtest is given: the same an embedded exchange on that tape would state."""

from collections.abc import Mapping, Sequence
from datetime import datetime

import polars as pl

from trader.app.tapes import TapeChoice
from trader.domain.instrument import Bracket, Instrument
from trader.errors import DataError
from trader.exchange import answers
from trader.exchange.clock import from_milliseconds
from trader.exchange.mapping import instrument_of
from trader.sim.errors import StartError
from trader.sim.folder import default_begin
from trader.sim.frames import read_frame
from trader.sim.generated import load_generated
from trader.sim.instruments import Listing, default_listing, read_listing
from trader.sim.tape import load_tape, tape_from_frames


def instruments_of(choice: TapeChoice, symbol: str) -> tuple[Mapping[str, Instrument], datetime]:
    """Return rules by symbol, from the instruments file or the tape as the exchange derives them, and when it begins.

    Args:
        choice: the files.
        symbol: what a candle file without a symbol holds.

    Returns:
        The rules, and the moment at which an exchange on this tape begins that was told no other.

    Raises:
        DataError: the tape or the instruments file is refused, in the exchange's words.
    """
    try:
        tape = load_generated(symbol) if choice.candles is None else load_tape(choice.candles, choice.funding, symbol)
        listing = default_listing(tape) if choice.instruments is None else read_listing(choice.instruments, tape)
    except StartError as error:
        raise DataError(str(error)) from error
    return _stated(listing), from_milliseconds(default_begin(tape, tape.end))


def rules_of(choice: TapeChoice, symbols: Sequence[str]) -> Mapping[str, Instrument]:
    """Return the rules of some of a candle file's symbols; nothing is asked of the others.

    Raises:
        DataError: the candles or the instruments file are refused, in the exchange's words.
    """
    if choice.candles is None:
        raise DataError("The generated market has one symbol only; give candles of many.")
    try:
        wanted = read_frame(choice.candles, "candle file").filter(pl.col("symbol").is_in(list(symbols)))
        tape = tape_from_frames(wanted, None, name=choice.candles.name)
        listing = default_listing(tape) if choice.instruments is None else read_listing(choice.instruments, tape)
    except StartError as error:
        raise DataError(str(error)) from error
    return _stated(listing)


def _stated(listing: Listing) -> Mapping[str, Instrument]:
    found = {}
    for name, rules in listing.instruments.items():
        brackets = tuple(Bracket(tier.floor, tier.cap, tier.leverage, tier.rate, tier.cum) for tier in rules.brackets)
        row = answers.read(answers.SYMBOL, dict(rules.entry), "instruments")
        found[name] = instrument_of(row, brackets, "instruments")
    return found
