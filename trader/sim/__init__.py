"""Serve a Binance USDT-M futures exchange on loopback; it plays a tape and imports nothing else of this project."""
