"""The wire: ccxt to Binance, what its answers mean, and imagined fills for the dry run."""

from trader.exchange import slim

slim.install()
