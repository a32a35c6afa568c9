"""The figures of a portfolio: what it held and whose profit it was."""

from collections.abc import Mapping, Sequence
from typing import Any

import altair as alt

from trader.research.report.drawing import Figure, Palette, Spec, by_sign, plot, reader, spec, time, when

_MOST_SYMBOLS = 15
_EXPOSURES = "All symbols over equity after every close: dark without their signs, coloured with them."
_NAMES = "How many symbols were held (dark), of how many that could be (coloured)."
_TURNOVER = "What every close traded, over equity."
_SYMBOLS = "Net profit by symbol, in USDT: those that earned and those that lost most."


def portfolio_figures(told: Mapping[str, Any], palette: Palette) -> list[Figure]:
    """Draw the exposures, the names and the profit of a portfolio."""
    rows = told["closes"]
    drawn = [
        Figure("exposures", "Gross and net", _EXPOSURES, _lines(rows, ("gross", "net"), "times equity", palette)),
        Figure("names", "Names held", _NAMES, _lines(rows, ("names", "universe"), "symbols", palette)),
        Figure("turnover", "Turnover", _TURNOVER, _lines(rows, ("turnover",), "times equity", palette)),
    ]
    parts = sorted(told["attribution"]["symbols"].items(), key=lambda one: float(one[1]["net"]))
    if parts:
        chosen = parts if len(parts) <= 2 * _MOST_SYMBOLS else parts[:_MOST_SYMBOLS] + parts[-_MOST_SYMBOLS:]
        drawn.append(Figure("symbols", "Profit by symbol", _SYMBOLS, _bars(chosen, palette)))
    return drawn


def _lines(rows: Sequence[Mapping[str, Any]], names: Sequence[str], title: str, palette: Palette) -> Spec:
    points = [{"close": row["close"]} | {name: round(float(row[name]), 5) for name in names} for row in rows]
    chart = plot(points, 150)
    tips = [when(), *(alt.Tooltip(f"{name}:Q", format=".3~f") for name in names)]
    lines = [
        chart.mark_line(color=colour, strokeWidth=1.5, interpolate="step-after").encode(
            x=time(), y=alt.Y(f"{name}:Q", title=title)
        )
        for name, colour in zip(names, (palette.ink, palette.gain), strict=False)
    ]
    return spec(alt.layer(*lines, reader(chart, tips)))


def _bars(parts: Sequence[tuple[str, Mapping[str, Any]]], palette: Palette) -> Spec:
    causes = ("prices", "slippage", "fees", "funding", "other", "net")
    rows = [{"symbol": symbol} | {cause: round(float(part[cause]), 2) for cause in causes} for symbol, part in parts]
    tips = [alt.Tooltip("symbol:N"), *(alt.Tooltip(f"{cause}:Q", format="+,.2f") for cause in causes)]
    bars = plot(rows, 16 * len(rows)).mark_bar(height={"band": 0.7}).encode(
        y=alt.Y("symbol:N", sort=None, title=None, axis=alt.Axis(domain=False, ticks=False)),
        x=alt.X("net:Q", title="USDT"),
        color=by_sign("net", palette),
        tooltip=tips,
    )  # fmt: skip
    return spec(bars)
