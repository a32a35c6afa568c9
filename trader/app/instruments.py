"""The trading rules a backtest is given: the same an embedded exchange on that tape would state."""

from collections.abc import Mapping

from trader.app.tapes import TapeChoice
from trader.domain.instrument import Bracket, Instrument
from trader.errors import DataError
from trader.exchange import answers
from trader.exchange.mapping import instrument_of
from trader.sim.errors import StartError
from trader.sim.generated import load_generated
from trader.sim.instruments import default_listing, read_listing
from trader.sim.tape import load_tape


def instruments_of(choice: TapeChoice, symbol: str) -> Mapping[str, Instrument]:
    """Return rules by symbol, read from the instruments file or derived from the tape as the exchange derives them.

    Args:
        choice: the files.
        symbol: what a candle file without a symbol holds.

    Raises:
        DataError: the tape or the instruments file is refused, in the exchange's words.
    """
    try:
        tape = load_generated() if choice.candles is None else load_tape(choice.candles, choice.funding, symbol)
        listing = default_listing(tape) if choice.instruments is None else read_listing(choice.instruments, tape)
    except StartError as error:
        raise DataError(str(error)) from error
    found = {}
    for name, rules in listing.instruments.items():
        brackets = tuple(Bracket(tier.floor, tier.cap, tier.leverage, tier.rate, tier.cum) for tier in rules.brackets)
        row = answers.read(answers.SYMBOL, dict(rules.entry), "instruments")
        found[name] = instrument_of(row, brackets, "instruments")
    return found
