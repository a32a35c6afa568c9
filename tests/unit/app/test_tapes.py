"""The generated market is one symbol in bars of an hour, and says so to whoever wants another."""

import pytest

from trader.app.tapes import TapeChoice, read_tape
from trader.domain.interval import Interval
from trader.errors import ConfigError


@pytest.mark.parametrize(("symbol", "interval"), [("BTCUSDT", "16h"), ("ADAUSDT", "30m"), ("ADAUSDT", "90m")])
def test_a_strategy_that_the_generated_market_has_no_candles_for_is_told_to_bring_its_own(
    symbol: str, interval: str
) -> None:
    with pytest.raises(ConfigError, match=f"the strategy trades {symbol} every {interval}; give candles of its own"):
        read_tape(TapeChoice(symbol=symbol), Interval.parse(interval))


@pytest.mark.parametrize("interval", ["1h", "16h", "1d"])
def test_whole_hours_of_its_own_symbol_are_played(interval: str) -> None:
    assert read_tape(TapeChoice(symbol="ADAUSDT"), Interval.parse(interval)) is None
