"""What every figure of a report is drawn with: colours by role, the axis of time, specifications without addresses."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import altair as alt
import polars as pl

Spec = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Palette:
    """Colours by role; gains and losses differ for every kind of colour vision, in lightness too."""

    ink: str
    muted: str
    line: str
    gain: str
    loss: str
    paper: str


@dataclass(frozen=True, slots=True)
class Figure:
    """One figure: its name in addresses and files, a title, what it shows in a sentence, and its Vega-Lite."""

    name: str
    title: str
    caption: str
    spec: Spec


# The year at its beginning, else the month at its beginning, else the day, else the time; in UTC.
_DATES = (
    "utchours(datum.value) || utcminutes(datum.value) ? utcFormat(datum.value, '%H:%M')"
    " : utcdate(datum.value) > 1 ? utcFormat(datum.value, '%-d %b')"
    " : utcmonth(datum.value) ? utcFormat(datum.value, '%b') : utcFormat(datum.value, '%Y')"
)


def time() -> alt.X:
    """Return the axis of time: the year at its beginning, else the month, else the day, else the time; in UTC."""
    axis = alt.Axis(labelOverlap="greedy", labelSeparation=10, tickCount=6, grid=False, labelExpr=_DATES)
    return alt.X("close:T", title=None, scale=alt.Scale(type="utc"), axis=axis)


def plot(rows: Sequence[Mapping[str, Any]], height: int) -> alt.Chart:
    """Return a chart of rows that it carries inside itself."""
    return alt.Chart(alt.InlineData(values=list(rows))).properties(height=height)


def spec(chart: Any) -> Spec:
    """Return the Vega-Lite of a chart, without an address."""
    spec = cast(Spec, chart.to_dict(validate=False))
    # An address of a schema is nobody's to load.
    spec.pop("$schema", None)
    spec.pop("config", None)
    return spec


def when() -> alt.Tooltip:
    """Return the tooltip of a close."""
    return alt.Tooltip("close:T", title="close", timeUnit="utcyearmonthdatehoursminutes", format="%Y-%m-%d %H:%M")


def reader(base: alt.Chart, tips: Sequence[alt.Tooltip]) -> alt.Chart:
    """Return an invisible rule a close, that tells its numbers to a pointer."""
    return cast(alt.Chart, base.mark_rule(opacity=0, strokeWidth=4).encode(x=time(), tooltip=list(tips)))


def by_sign(column: str, palette: Palette) -> Any:
    """Return the colour of a gain or a loss."""
    return alt.condition(f"datum['{column}'] > 0", alt.value(palette.gain), alt.value(palette.loss))


def rows_of(frame: pl.DataFrame, *columns: str, **scaled: tuple[str, float]) -> list[dict[str, Any]]:
    """Return rows as data for a figure: times as ISO text, numbers with six digits."""
    wanted = frame.select(
        *(pl.col(column).dt.strftime("%Y-%m-%dT%H:%M:%SZ") if column == "close" else pl.col(column).round_sig_figs(6)
          for column in columns),
        *((pl.col(column) * factor).round_sig_figs(6).alias(name) for name, (column, factor) in scaled.items()),
    )  # fmt: skip
    return wanted.to_dicts()


def waterfall(
    first: tuple[str, float], last: tuple[str, float], parts: Mapping[str, float], unit: str, palette: Palette
) -> Spec:
    """Draw what leads from one amount to another."""
    at = first[1]
    rows: list[dict[str, Any]] = [{"step": first[0], "from": 0.0, "to": at, "amount": at}]
    for name, amount in parts.items():
        rows.append({"step": name, "from": at, "to": at + amount, "amount": amount})
        at += amount
    rows.append({"step": last[0], "from": 0.0, "to": last[1], "amount": last[1]})
    base = plot([{k: v if isinstance(v, str) else round(v, 4) for k, v in row.items()} for row in rows], 180)
    y = alt.Y("step:N", sort=None, title=None, axis=alt.Axis(domain=False, ticks=False))
    tips = [alt.Tooltip("step:N"), alt.Tooltip("amount:Q", title=unit, format="+,.2f")]
    bars = base.mark_bar(height={"band": 0.62}).encode(
        y=y,
        x=alt.X("from:Q", title=unit, axis=alt.Axis(tickCount=6)),
        x2="to:Q",
        color=by_sign("amount", palette),
        tooltip=tips,
    )
    end = base.transform_calculate(end="max(datum.from, datum.to)")
    text = end.mark_text(align="left", dx=5, color=palette.ink, fontSize=11).encode(
        y=y, x="end:Q", text=alt.Text("amount:Q", format="+,.2f")
    )
    return spec(alt.layer(bars, text))
