"""Settings of the process, and the strategy file: read, checked, and refused in one sentence."""

from trader.config.sections import LogSettings, StatusSettings
from trader.config.settings import Settings, names
from trader.config.strategy import StrategyFile

__all__ = ["LogSettings", "Settings", "StatusSettings", "StrategyFile", "names"]
