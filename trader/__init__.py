"""Trade Binance USDT-M futures from a forecast, once per candle close."""

__version__ = "0.1.0"
