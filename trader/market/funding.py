"""Funding payments as files carry them."""

import polars as pl

from trader.errors import DataError
from trader.market.tables import as_floats, parse_table, utc_times, with_symbol


def parse_funding(data: bytes, name: str, symbol: str | None = None) -> pl.DataFrame:
    """Read the bytes of a funding file into [symbol, funding_time, funding_rate], sorted by symbol and time.

    A rate is what longs pay to shorts at that instant, as a fraction of notional. `name` is the file's name.

    Raises:
        DataError: unreadable, of another symbol, NaN or infinite, or two rates for one time.
    """
    table = with_symbol(parse_table(data, name, ["funding_time", "funding_rate"]), name, symbol)
    table = as_floats(utc_times(table, "funding_time", name), ["funding_rate"], name)
    if table.is_empty():
        raise DataError(f"{name} holds no funding; leave it out, or give a file with funding in the period.")
    rates = table.select("symbol", "funding_time", "funding_rate").sort("symbol", "funding_time")
    for bad, reason in (
        (~rates["funding_rate"].is_finite().fill_null(False), "a missing, NaN or infinite rate"),
        (rates.select("symbol", "funding_time").is_duplicated(), "more than one rate"),
    ):
        if bad.any():
            row = bad.arg_max() or 0
            where = f"{rates['symbol'][row]} at {rates['funding_time'][row]:%Y-%m-%dT%H:%M:%SZ}"
            raise DataError(f"{name} has {reason} for {where}; fetch or export it again.")
    return rates
