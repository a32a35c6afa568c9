"""The figures of a recurrent model's training: what every pass left, and how even the classes were."""

from collections.abc import Mapping, Sequence
from typing import Any

import altair as alt

from trader.research.report.drawing import Figure, Palette, Spec, plot, spec

_LEARNING = (
    "What every pass left: on the candles it was trained on (dotted) and on the later ones that stopped it. The rule "
    "is the pass that was kept."
)
_ENTROPY = (
    "Nats a candle, of the forecast (coloured) and of a coin as uneven as the candles were (grey): below the coin, "
    "something is known."
)
_BALANCE = "How many candles of each period closed higher and lower; the rest stood still."
_TRAINING = "Loss on the candles it was trained on. Dark has one layer; the thicker a line, the wider its network."
_VALIDATION = "Loss on the later candles that stopped the training; those are what it is ranked by."
_LOSSES = ("train_loss", "validation_loss")
_PERIODS = ("train", "validation", "test")
_UNITS = {"cross-entropy": "nats a candle", "profit": "loss of a candle, bp"}
_SCALES = {"cross-entropy": 1.0, "profit": 1e4}


def training_figures(
    learning: Mapping[str, Any], metrics: Mapping[str, Mapping[str, Any]], palette: Palette
) -> list[Figure]:
    """Draw what a card says of a training: its passes, and by period entropy and balance of the classes."""
    drawn = [Figure("learning", "Loss by pass", _LEARNING, _passes(learning, palette))]
    known = {name: metrics[name] for name in _PERIODS if metrics.get(name, {}).get("cross_entropy") is not None}
    if known:
        drawn.append(Figure("entropy", "Cross entropy", _ENTROPY, _entropy(known, palette)))
        drawn.append(Figure("balance", "Balance of the classes", _BALANCE, _balance(known, palette)))
    return drawn


def shape_figures(told: Mapping[str, Any], palette: Palette) -> list[Figure]:
    """Draw the losses of networks that were trained side by side, by pass."""
    return [
        Figure("training", "Training", _TRAINING, _shapes(told, "train_loss", palette)),
        Figure("validation", "Validation", _VALIDATION, _shapes(told, "validation_loss", palette)),
    ]


def _passes(learning: Mapping[str, Any], palette: Palette) -> Spec:
    objective = learning["objective"]
    factor = _SCALES[objective]
    rows = [
        {"pass": number, "trained": one["train_loss"] * factor, "validation": one["validation_loss"] * factor}
        for number, one in enumerate(learning["passes"], start=1)
    ]
    base = plot(rows, 220)
    x = alt.X("pass:Q", title="pass", axis=alt.Axis(grid=False, tickMinStep=1))
    scale = alt.Scale(domain=_reach([row[name] for row in rows for name in ("trained", "validation")]), clamp=True)
    tips = [alt.Tooltip("pass:Q"), *(alt.Tooltip(f"{name}:Q", format=".6~g") for name in ("trained", "validation"))]
    kept = alt.Chart(alt.InlineData(values=[{"pass": learning["best"]}])).mark_rule(color=palette.muted)
    return spec(
        alt.layer(
            kept.encode(x=x),
            base.mark_line(color=palette.ink, strokeWidth=1.2, strokeDash=[3, 2]).encode(
                x=x, y=alt.Y("trained:Q", scale=scale, title=_UNITS[objective])
            ),
            base.mark_line(color=palette.gain, strokeWidth=1.8).encode(x=x, y=alt.Y("validation:Q", scale=scale)),
            base.mark_rule(opacity=0, strokeWidth=8).encode(x=x, tooltip=tips),
        )
    )


def _entropy(known: Mapping[str, Mapping[str, Any]], palette: Palette) -> Spec:
    rows = [
        {"period": period, "forecast": told["cross_entropy"], "coin": told["base_rate_cross_entropy"], "n": told["n"]}
        for period, told in known.items()
    ]
    base = plot(rows, 150)
    y = alt.Y("period:N", sort=None, title=None, axis=alt.Axis(domain=False, ticks=False))
    scale = alt.Scale(zero=False, nice=True, padding=12)
    tips = [alt.Tooltip("period:N"), *(alt.Tooltip(f"{name}:Q", format=".6f") for name in ("forecast", "coin"))]
    tips.append(alt.Tooltip("n:Q", title="candles"))
    x = alt.X("forecast:Q", scale=scale, title="nats a candle", axis=alt.Axis(tickCount=4, format=".3f"))
    return spec(
        alt.layer(
            base.mark_rule(color=palette.line, strokeWidth=2).encode(y=y, x=x, x2="coin:Q"),
            base.mark_point(color=palette.muted, filled=True, size=70, opacity=1).encode(
                y=y, x=alt.X("coin:Q", scale=scale), tooltip=tips
            ),
            base.mark_point(color=palette.gain, filled=True, size=70, opacity=1).encode(y=y, x=x, tooltip=tips),
        )
    )


def _balance(known: Mapping[str, Mapping[str, Any]], palette: Palette) -> Spec:
    rows: list[dict[str, Any]] = []
    for period, told in known.items():
        flat = told["n"] - told["up"] - told["down"]
        parts = {"higher": told["up"], "neither": flat, "lower": told["down"]}
        rows += [
            {"period": period, "place": place, "class": name, "candles": count, "share": count / told["n"]}
            for place, (name, count) in enumerate(parts.items())
        ]
    colours = alt.Scale(domain=["higher", "neither", "lower"], range=[palette.gain, palette.muted, palette.loss])
    tips = [alt.Tooltip("period:N"), alt.Tooltip("class:N"), alt.Tooltip("candles:Q", format=",")]
    bars = plot(rows, 150).mark_bar(height={"band": 0.62}).encode(
        y=alt.Y("period:N", sort=None, title=None, axis=alt.Axis(domain=False, ticks=False)),
        x=alt.X("share:Q", title="share of the candles", axis=alt.Axis(format="%", tickCount=5)),
        color=alt.Color("class:N", scale=colours, legend=None),
        order=alt.Order("place:Q"),
        tooltip=[*tips, alt.Tooltip("share:Q", format=".2%")],
    )  # fmt: skip
    return spec(bars)


def _shapes(told: Mapping[str, Any], which: str, palette: Palette) -> Spec:
    """Draw one line a network, named at the pass that was kept; both figures have the same scale."""
    factor = _SCALES[told["objective"]]
    shown = [one[loss] * factor for row in told["shapes"] for one in row["epochs"] for loss in _LOSSES]
    scale = alt.Scale(domain=_reach(shown), zero=False, nice=False, clamp=True)
    x = alt.X("pass:Q", title="pass", axis=alt.Axis(grid=False, tickMinStep=1))
    y = alt.Y("loss:Q", scale=scale, title=_UNITS[told["objective"]])
    layers: list[Any] = []
    for row in told["shapes"]:
        name, colour = f"{row['layers']}x{row['width']}", palette.ink if row["layers"] == 1 else palette.gain
        rows = [{"shape": name, "pass": one["epoch"], "loss": round(one[which] * factor, 7)} for one in row["epochs"]]
        tips = [alt.Tooltip("shape:N"), alt.Tooltip("pass:Q"), alt.Tooltip("loss:Q", format=".6~g")]
        base, width = plot(rows, 260), 0.6 + min(row["width"], 64) / 16
        layers.append(base.mark_line(color=colour, strokeWidth=width, opacity=0.8).encode(x=x, y=y, tooltip=tips))
        kept = alt.Chart(alt.InlineData(values=[rows[row["best"] - 1]]))
        layers.append(kept.mark_point(color=colour, filled=True, size=36, opacity=1).encode(x=x, y=y, tooltip=tips))
        layers.append(kept.mark_text(color=colour, dy=-9, fontSize=10).encode(x=x, y=y, text="shape:N"))
    return spec(alt.layer(*layers))


def _reach(losses: Sequence[float]) -> list[float]:
    """Return what an axis shows: all but the few losses of the first passes that would press the rest together."""
    ordered = sorted(losses)
    low, high = ordered[0], ordered[int(0.95 * (len(ordered) - 1))]
    edge = (high - low) * 0.05 or abs(high) * 0.01 or 1.0
    return [low - edge, high + edge]
