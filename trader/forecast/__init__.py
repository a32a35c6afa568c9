"""Forecasters: what comes next, from closed candles alone."""
