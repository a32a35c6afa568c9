"""Two markets are generated, and whoever wants another is told to bring it."""

import pytest

from trader.app.tapes import TapeChoice, read_tape
from trader.domain.interval import Interval
from trader.errors import ConfigError


@pytest.mark.parametrize(("symbol", "interval"), [("ETHUSDT", "16h"), ("ADAUSDT", "30m"), ("BTCUSDT", "45m")])
def test_a_strategy_that_the_generated_market_has_no_candles_for_is_told_to_bring_its_own(
    symbol: str, interval: str
) -> None:
    with pytest.raises(ConfigError, match=f"the strategy trades {symbol} every {interval}; give candles of its own"):
        read_tape(TapeChoice(symbol=symbol), Interval.parse(interval))


@pytest.mark.parametrize(("symbol", "interval"), [("ADAUSDT", "1h"), ("ADAUSDT", "16h"), ("BTCUSDT", "30m")])
def test_what_its_bars_make_is_played(symbol: str, interval: str) -> None:
    assert read_tape(TapeChoice(symbol=symbol), Interval.parse(interval)) is None
