"""The figures of a live account: itself beside its expectation, and what came between the two."""

from collections.abc import Mapping, Sequence
from typing import Any

import altair as alt
import polars as pl

from trader.research.report.drawing import Figure, Palette, Spec, plot, reader, rows_of, spec, time, waterfall, when
from trader.research.report.story import Shortfall, thinned

_MOST_POINTS = 3000
_MOST_FILLS = 1000

_EXPECTED = (
    "In USDT. The broken line is the backtest of these very closes: every decision carried out at its own price, at "
    "the costs that were expected, the missed ones too."
)
_BEHIND = "How far the account is from its expectation, as a share of what it should be worth; below zero it is behind."
_SHORTFALL = (
    "What leads from the one to the other. The last part is what was not traded as decided: missed closes, refused or "
    "late orders, halts, and what prices did to the difference since."
)
_FILLS = "Slippage against the price of the decision, and the fee; the broken line is what was expected."


def shortfall_figures(told: Shortfall, palette: Palette) -> list[Figure]:
    """Draw a live account beside what it should have earned, and what came between the two."""
    drawn = []
    if told.closes.height > 1:
        closes = thinned(told.closes, _MOST_POINTS)
        drawn.append(Figure("expected", "What it should have earned", _EXPECTED, _expected(closes, palette)))
        drawn.append(Figure("behind", "Behind or ahead", _BEHIND, _behind(closes, palette)))
    ends = ("should have earned", told.should), ("earned", told.did)
    drawn.append(
        Figure("shortfall", "Implementation shortfall", _SHORTFALL, waterfall(*ends, told.parts, "USDT", palette))
    )
    if told.fills:
        drawn.append(Figure("fills", "Cost of every fill", _FILLS, _fill_costs(told.fills, palette)))
    return drawn


def _expected(closes: pl.DataFrame, palette: Palette) -> Spec:
    base = plot(rows_of(closes, "close", "equity", "expected", behind=("behind", 100.0)), 280)
    scale = alt.Scale(zero=False, nice=True)
    tips = [
        when(),
        alt.Tooltip("equity:Q", title="as it was", format=",.2f"),
        alt.Tooltip("expected:Q", title="should have been", format=",.2f"),
        alt.Tooltip("behind:Q", title="behind, %", format=".3f"),
    ]
    return spec(
        alt.layer(
            base.mark_area(color=palette.loss, opacity=0.18).encode(
                x=time(), y=alt.Y("equity:Q", scale=scale, title="USDT"), y2="expected:Q"
            ),
            base.mark_line(color=palette.muted, strokeWidth=1.4, strokeDash=[5, 3]).encode(
                x=time(), y=alt.Y("expected:Q", scale=scale, title="USDT")
            ),
            base.mark_line(color=palette.gain, strokeWidth=1.8).encode(x=time(), y=alt.Y("equity:Q", scale=scale)),
            reader(base, tips),
        )
    )


def _behind(closes: pl.DataFrame, palette: Palette) -> Spec:
    base = plot(rows_of(closes, "close", behind=("behind", -100.0)), 120)
    line = base.mark_area(color=palette.loss, opacity=0.28, line={"color": palette.loss, "strokeWidth": 1.2})
    tips = [when(), alt.Tooltip("behind:Q", title="against the expectation, %", format="+.3f")]
    return spec(alt.layer(line.encode(x=time(), y=alt.Y("behind:Q", title="%")), reader(base, tips)))


def _fill_costs(fills: Sequence[Mapping[str, Any]], palette: Palette) -> Spec:
    """Draw each fill's cost beside the expected one; the newest are kept where there are many."""
    kept = fills[-_MOST_FILLS:]
    rows = [
        {"close": fill["filled"], "cost": fill["cost_bp"], "expected": fill["expected_bp"], "leg": fill["leg"]}
        for fill in kept
    ]
    base = plot(rows, 200)
    y = alt.Y("cost:Q", title="basis points of the notional")
    tips = [
        when(),
        alt.Tooltip("leg:N"),
        alt.Tooltip("cost:Q", title="cost, bp", format="+.2f"),
        alt.Tooltip("expected:Q", title="expected, bp", format="+.2f"),
    ]
    dear = alt.condition("datum.cost > datum.expected", alt.value(palette.loss), alt.value(palette.gain))
    return spec(
        alt.layer(
            base.mark_point(filled=True, size=42, opacity=0.85).encode(x=time(), y=y, color=dear, tooltip=tips),
            base.mark_line(color=palette.muted, strokeDash=[5, 3], strokeWidth=1.2).encode(x=time(), y="expected:Q"),
        )
    )
