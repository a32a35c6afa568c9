"""The figures of a report, each drawn once: in the page with the page's own colours, in a file with fixed ones."""

from collections.abc import Mapping, Sequence
from typing import Any

import altair as alt
import polars as pl

from trader.research.report.drawing import (
    Figure,
    Palette,
    Spec,
    by_sign,
    plot,
    reader,
    rows_of,
    spec,
    time,
    waterfall,
    when,
)
from trader.research.report.portfolio import portfolio_figures
from trader.research.report.shortfall import shortfall_figures
from trader.research.report.story import Story, held_returns, histogram, thinned
from trader.research.report.training import training_figures

_MOST_POINTS = 3000
_FONT = "system-ui, -apple-system, 'Segoe UI', 'Noto Sans', 'DejaVu Sans', sans-serif"


# The page gives these to light and dark paper, without drawing anything anew.
IN_PAGE = Palette("var(--ink)", "var(--muted)", "var(--line)", "var(--gain)", "var(--loss)", "transparent")
ON_PAPER = Palette("#1b1f24", "#6a7380", "#dfe3e8", "#0b62a4", "#c2500a", "#ffffff")


def figures(story: Story, palette: Palette, *, width: int | str = "container") -> list[Figure]:
    """Draw everything there is data for, in the order of the page."""
    closes = thinned(story.closes, _MOST_POINTS)
    drawn: list[Figure] = [] if story.shortfall is None else shortfall_figures(story.shortfall, palette)
    drawn += [
        Figure("equity", "Equity", _EQUITY, _equity(closes, story, palette)),
        Figure("drawdown", "Drawdown", "Loss since the highest equity so far.", _drawdown(closes, palette)),
    ]
    if closes["price"].null_count() == 0:
        drawn.append(Figure("price", "Price", _PRICE, _price(closes, story, palette)))
        changes = histogram(story.closes["price"].pct_change().drop_nulls().to_list())
        if not changes.is_empty():
            drawn.append(Figure("changes", "Changes of the price", _CHANGES, _histogram(changes, "closes", palette)))
    if closes["forecast"].null_count() < closes.height:
        likelier = story.judged.learning is not None
        caption = _LIKELIER if likelier else _FORECAST
        drawn.append(Figure("forecast", "Forecast", caption, _forecast(closes, palette, likelier=likelier)))
    drawn.append(Figure("position", "Position", _POSITION, _position(closes, palette)))
    if story.portfolio is not None:
        drawn += portfolio_figures(story.portfolio, palette)
    if story.judged.learning is not None:
        drawn += training_figures(story.judged.learning, story.judged.metrics, palette)
    returns = histogram(held_returns(story.closes))
    if not returns.is_empty():
        drawn.append(Figure("returns", "Returns per candle", _RETURNS, _histogram(returns, "candles", palette)))
    trips = histogram([trip["net_return"] for trip in story.trips if trip["net_return"] is not None])
    if not trips.is_empty():
        drawn.append(Figure("trades", "Returns per round trip", _TRIPS, _histogram(trips, "round trips", palette)))
    drawn.append(Figure("costs", "From gross to net", _COSTS, _costs(story, palette)))
    walk = (story.judged.evidence or {}).get("walk_forward")
    if walk and walk["folds"]:
        drawn.append(Figure("folds", "Walk-forward folds", _FOLDS, _folds(walk["folds"], palette)))
    if story.judged.calibration and story.judged.calibration["bins"]:
        bins = story.judged.calibration["bins"]
        drawn.append(Figure("calibration", "Calibration", _CALIBRATION, _calibration(bins, palette)))
    return dressed(drawn, palette, width)


def dressed(drawn: Sequence[Figure], palette: Palette, width: int | str) -> list[Figure]:
    """Give figures their width, and axes and text in the colours of what they are drawn on."""
    return [
        Figure(one.name, one.title, one.caption, one.spec | {"width": width, "config": _config(palette)})
        for one in drawn
    ]


_EQUITY = (
    "In USDT after every close. The dotted line is gross: what it would be had fees, slippage and funding not been "
    "paid, at the sizes that were traded."
)
_PRICE = "The first price after every close."
_CHANGES = "How far that price moved from close to close; the outermost bins hold the rest."
_FORECAST = "The log return of the next candle as forecast at its beginning, in basis points."
_LIKELIER = "How much likelier the next candle was said to close higher than lower, in per cent."
_POSITION = "Notional over equity after every close: above zero long, below short."
_RETURNS = (
    "What the equity earned, after costs, over candles begun with something held; the outermost bins hold the rest."
)
_TRIPS = "Net profit over the notional at entry, from flat to flat."
_COSTS = (
    "Profit before costs, what each cost took (or funding gave), and what is left, in per cent of the starting equity."
)
_FOLDS = (
    "What a candle earned on average after costs, in basis points; each fold's rule was fitted to candles before it."
)
_CALIBRATION = (
    "How often the sign was right against the probability that was said, on candles no fit has seen, with two standard "
    "errors. On the diagonal the probability is true."
)


def _equity(closes: pl.DataFrame, story: Story, palette: Palette) -> Spec:
    base = plot(rows_of(closes, "close", "equity", "gross"), 280)
    scale = alt.Scale(zero=False, nice=True)
    tips = [when(), alt.Tooltip("equity:Q", title="net", format=",.2f"), alt.Tooltip("gross:Q", format=",.2f")]
    start = alt.Chart(alt.InlineData(values=[{"start": story.start_equity}])).mark_rule(color=palette.line)
    return spec(
        alt.layer(
            start.encode(y=alt.Y("start:Q", scale=scale, title="USDT")),
            base.mark_line(color=palette.muted, strokeWidth=1, strokeDash=[3, 2]).encode(
                x=time(), y=alt.Y("gross:Q", scale=scale, title="USDT")
            ),
            base.mark_line(color=palette.gain, strokeWidth=1.8).encode(x=time(), y=alt.Y("equity:Q", scale=scale)),
            reader(base, tips),
        )
    )


def _drawdown(closes: pl.DataFrame, palette: Palette) -> Spec:
    base = plot(rows_of(closes, "close", drawdown=("drawdown", 100.0)), 140)
    area = base.mark_area(color=palette.loss, opacity=0.28, line={"color": palette.loss, "strokeWidth": 1.2})
    tips = [when(), alt.Tooltip("drawdown:Q", title="drawdown, %", format=".2f")]
    return spec(alt.layer(area.encode(x=time(), y=alt.Y("drawdown:Q", title="%")), reader(base, tips)))


def _price(closes: pl.DataFrame, story: Story, palette: Palette) -> Spec:
    base = plot(rows_of(closes, "close", "price"), 220)
    pan = alt.selection_interval(bind="scales", encodings=["x"], zoom="wheel![event.shiftKey]", name="pan")
    line = base.mark_line(color=palette.ink, strokeWidth=1.2).encode(
        x=time(), y=alt.Y("price:Q", scale=alt.Scale(zero=False), title=story.symbols[0])
    )
    tips = [when(), alt.Tooltip("price:Q", format=",.6~g")]
    return spec(alt.layer(line.add_params(pan), reader(base, tips)))


def _forecast(closes: pl.DataFrame, palette: Palette, *, likelier: bool) -> Spec:
    factor, unit, short = (100.0, "per cent", "%") if likelier else (1e4, "basis points", "bp")
    base = plot(rows_of(closes, "close", forecast=("forecast", factor)), 130)
    bars = base.mark_bar(width=1).encode(x=time(), y=alt.Y("forecast:Q", title=unit))
    tips = [when(), alt.Tooltip("forecast:Q", title=f"forecast, {short}", format=".2f")]
    return spec(alt.layer(bars.encode(color=by_sign("forecast", palette)), reader(base, tips)))


def _position(closes: pl.DataFrame, palette: Palette) -> Spec:
    base = plot(rows_of(closes, "close", "exposure"), 130)
    tips = [when(), alt.Tooltip("exposure:Q", format=".3f")]
    sides = [
        base.transform_calculate(side=f"{limit}(datum.exposure, 0)")
        .mark_area(interpolate="step-after", color=colour, opacity=0.75)
        .encode(x=time(), y=alt.Y("side:Q", title="times equity"))
        for limit, colour in (("max", palette.gain), ("min", palette.loss))
    ]
    return spec(alt.layer(*sides, reader(base, tips)))


def _histogram(bins: pl.DataFrame, what: str, palette: Palette) -> Spec:
    rows = rows_of(bins, "count", low=("low", 100.0), high=("high", 100.0))
    tips = [*(alt.Tooltip(f"{end}:Q", format=".3f") for end in ("low", "high")), alt.Tooltip("count:Q", title=what)]
    bars = plot(rows, 200).mark_bar(binSpacing=1).encode(
        x=alt.X("low:Q", bin="binned", title="%", axis=alt.Axis(grid=False, tickCount=8)),
        x2="high:Q",
        y=alt.Y("count:Q", title=what),
        color=by_sign("high", palette),
        tooltip=tips,
    )  # fmt: skip
    return spec(bars)


def _costs(story: Story, palette: Palette) -> Spec:
    start = story.start_equity or 1.0
    net = (float(story.closes["equity"][-1]) - story.start_equity) / start * 100
    parts = {name: amount / start * 100 for name, amount in story.costs.items()}
    ends = ("gross", net - sum(parts.values())), ("net", net)
    return waterfall(*ends, parts, "% of the starting equity", palette)


def _folds(folds: Sequence[Mapping[str, Any]], palette: Palette) -> Spec:
    rows = [
        {"fold": number, "from": fold["first_close"], "to": fold["last_close"], "net": round(fold["net_ev"] * 1e4, 4)}
        for number, fold in enumerate(folds, start=1)
    ]
    tips = [alt.Tooltip("from:T"), alt.Tooltip("to:T"), alt.Tooltip("net:Q", title="net a candle, bp", format="+.2f")]
    bars = plot(rows, 180).mark_bar().encode(
        x=alt.X("fold:O", title="fold, oldest first", axis=alt.Axis(labelAngle=0, labelOverlap=True)),
        y=alt.Y("net:Q", title="basis points"),
        color=by_sign("net", palette),
        tooltip=tips,
    )  # fmt: skip
    return spec(bars)


def _calibration(bins: Sequence[Mapping[str, Any]], palette: Palette) -> Spec:
    """Draw probabilities and what came true with the same scale on both axes, and two standard errors."""
    rows = []
    for one in bins:
        error = 2 * (one["observed"] * (1 - one["observed"]) / one["count"]) ** 0.5
        rows.append(
            {
                "said": round(one["predicted"] * 100, 3),
                "true": round(one["observed"] * 100, 3),
                "low": round((one["observed"] - error) * 100, 3),
                "high": round((one["observed"] + error) * 100, 3),
                "count": one["count"],
            }
        )
    numbers = [row[key] for row in rows for key in ("said", "low", "high")]
    reach = [min(45.0, *numbers), max(65.0, *numbers)]
    scale = alt.Scale(domain=reach, zero=False, nice=False)
    x = alt.X("said:Q", scale=scale, title="probability said, %", axis=alt.Axis(tickCount=5))
    y = alt.Y("true:Q", scale=scale, title="sign was right, %", axis=alt.Axis(tickCount=5))
    base = plot(rows, 240)
    diagonal = alt.Chart(
        alt.InlineData(values=[{"said": reach[0], "true": reach[0]}, {"said": reach[1], "true": reach[1]}])
    )
    tips = [alt.Tooltip("said:Q"), alt.Tooltip("true:Q", title="was right"), alt.Tooltip("count:Q", title="candles")]
    return spec(
        alt.layer(
            diagonal.mark_line(color=palette.muted, strokeDash=[3, 3], strokeWidth=1).encode(x=x, y=y),
            base.mark_rule(color=palette.gain, opacity=0.5).encode(x=x, y=alt.Y("low:Q", scale=scale), y2="high:Q"),
            base.mark_point(color=palette.gain, filled=True, size=60, opacity=1).encode(x=x, y=y, tooltip=tips),
        )
    )


def _config(palette: Palette) -> Spec:
    text = {"labelColor": palette.muted, "titleColor": palette.muted, "labelFontSize": 11, "titleFontSize": 11}
    return {
        "font": _FONT,
        "background": palette.paper,
        "view": {"stroke": None},
        "axis": {
            **text,
            "titleFontWeight": "normal",
            "gridColor": palette.line,
            "domainColor": palette.line,
            "tickColor": palette.line,
            "labelPadding": 6,
            "tickSize": 4,
        },
        "axisY": {"domain": False, "ticks": False, "titlePadding": 10, "tickCount": 5, "minExtent": 44},
    }
