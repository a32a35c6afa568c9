"""Settings of the process, and the strategy file: read, checked, and refused in one sentence."""

from trader.config.portfolio import PortfolioFile, kind_of
from trader.config.sections import AlertsSettings, LogSettings, StatusSettings
from trader.config.settings import Settings, names
from trader.config.strategy import StrategyFile

__all__ = [
    "AlertsSettings",
    "LogSettings",
    "PortfolioFile",
    "Settings",
    "StatusSettings",
    "StrategyFile",
    "kind_of",
    "names",
]
