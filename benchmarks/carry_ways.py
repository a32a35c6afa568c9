"""The carry pipeline as the research builds it: expressions over groups, and a frame a day, joined."""

import math

import numpy as np
import polars as pl

from trader.domain.interval import Interval
from trader.market.candles import with_close

DAY = Interval.parse("1d")
COST = 0.0005
RAW = pl.col("target") / pl.col("volatility")


def market(symbols: int = 150, days: int = 1600) -> pl.DataFrame:
    """Return some 185,000 daily candles: a third of the symbols from the start, the others listed one after another."""
    chance = np.random.default_rng(7)
    frames = []
    for number in range(symbols):
        first = 0 if number < symbols // 3 else int(chance.integers(0, days * 3 // 4))
        length = days - first
        close = 10 * np.exp(np.cumsum(chance.standard_t(4, length) * 0.03))
        reach = 1 + np.abs(chance.normal(0, 0.02, (2, length)))
        opened = np.concatenate([[10.0], close[:-1]])
        frames.append(
            pl.DataFrame(
                {
                    "symbol": f"S{number:03}USDT",
                    "open_time": pl.Series(np.arange(first, days) * 86_400_000).cast(pl.Datetime("ms", "UTC")),
                    "open": opened,
                    "high": np.maximum(opened, close) * reach[0],
                    "low": np.minimum(opened, close) / reach[1],
                    "close": close,
                    "volume": 1.0,
                    "quote_volume": np.exp(chance.normal(15, 1, length) + chance.normal(0, 1)),
                    "funding_rate": np.round(chance.normal(0.0003, 0.0005, length), 6),
                }
            )
        )
    return with_close(pl.concat(frames), DAY)


def signals(candles: pl.DataFrame) -> pl.DataFrame:
    """Return the universe's rows with target, volatility, spread and the return that follows."""
    carry, day = pl.col("funding_rate"), pl.len().over("close_time")
    low, high = (carry.quantile(share, interpolation="nearest").over("close_time") for share in (0.05, 0.95))
    squares = (pl.col("close") / pl.col("close").shift(1)).log() ** 2
    blend = (0.5 * squares.ewm_mean(span=21) + 0.5 * squares.ewm_mean(span=90)).sqrt()
    frame = candles.with_columns(
        pl.col("quote_volume").rolling_mean(30, min_samples=1).over("symbol").alias("dollars"),
        carry.clip(low, high).alias("kept"),
    )
    frame = frame.with_columns(
        ((pl.col("kept") - pl.col("kept").mean().over("close_time")) / pl.col("kept").std().over("close_time")).alias(
            "z"
        )
    )
    frame = frame.with_columns(
        (pl.col("dollars").rank("ordinal").over("close_time") / day * 10).ceil().alias("liquid"),
        (((pl.col("z").rank("average", descending=True).over("close_time") - 1) / day * 10).floor() + 1).alias("tenth"),
    )
    alpha = (pl.col("tenth") - 1) / 9 * 2 - 1
    return (
        frame.filter(pl.col("liquid") >= 9)
        .with_columns(
            (1.8 / (1 + (-alpha).exp()) - 0.9).alias("target"),
            blend.shift(1).over("symbol").alias("volatility"),
            ((pl.col("high") - pl.col("low")) / (pl.col("high") + pl.col("low"))).alias("spread"),
            (pl.col("close").shift(-1) / pl.col("close") - 1).over("symbol").alias("next"),
        )
        .filter(pl.col("volatility") > 0)
    )


def day_loop(rows: pl.DataFrame) -> list[float]:
    """Return the value after every day: a frame a day, joined with the positions of yesterday.

    What is not in today's frame falls out of the join, which is why the research loses it without a trade.
    """
    nav, path = 1.0, []
    positions = pl.DataFrame(schema={"symbol": pl.String, "before": pl.Float64})
    for day in rows["close_time"].unique().sort():
        today = rows.filter(pl.col("close_time") == day)
        today = today.with_columns((RAW / RAW.abs().sum()).alias("share"))
        deviation = math.sqrt(float(((today["share"] * today["volatility"]) ** 2).sum()) * 365)
        today = today.with_columns((pl.col("share") * 0.4 / deviation).clip(-0.2, 0.2).alias("wish"))
        today = today.join(positions, on="symbol", how="left").with_columns(
            pl.col("before").is_null().alias("new"), pl.col("before").fill_null(0.0)
        )
        buffer = 0.3 * pl.col("spread") / (2 * pl.col("volatility") ** 2)
        apart = pl.col("wish") - pl.col("before")
        trade = pl.when("new").then(apart).otherwise(apart.sign() * (apart.abs() - buffer).clip(lower_bound=0.0))
        today = today.with_columns((pl.col("before") + trade).alias("held"))
        gross = float(today["held"].abs().sum())
        today = today.with_columns(pl.col("held") * min(1.0, 2.0 / gross))
        traded = min(0.3, float((today["held"] - today["before"]).abs().sum()))
        profit = float((today["held"] * today["next"]).sum())
        nav += nav * profit - nav * traded * COST
        positions = today.select("symbol", pl.col("held").alias("before"))
        path.append(nav)
    return path
