"""The smallest strategy for freqtrade: long at every candle, never out."""

from freqtrade.strategy import IStrategy


class AlwaysLong(IStrategy):
    INTERFACE_VERSION = 3
    timeframe = "1h"
    startup_candle_count = 2
    minimal_roi = {"0": 100}  # noqa: RUF012 -- the name and the kind freqtrade looks for
    stoploss = -0.99
    can_short = False

    def populate_indicators(self, dataframe, metadata):
        return dataframe

    def populate_entry_trend(self, dataframe, metadata):
        dataframe["enter_long"] = 1
        return dataframe

    def populate_exit_trend(self, dataframe, metadata):
        dataframe["exit_long"] = 0
        return dataframe
