"""One HTML page that carries everything it needs: figures, their drawing code, numbers, and not one address to load."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

import jinja2
import vl_convert
from markupsafe import Markup

from trader.research.report.drawing import Figure
from trader.research.report.figures import IN_PAGE, ON_PAPER, dressed, figures
from trader.research.report.story import Shortfall, Story, months
from trader.research.report.training import shape_figures

_VEGA_LITE = "6.4"
_EXPORTS = "window.vegaEmbed = vegaEmbed;"
_MOST_TRIPS = 500
_PNG_WIDTH = 900
_PNG_SCALE = 2.0
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_RIVALS = ("performance", "proportional", "always_long", "always_short", "no_bias")


@dataclass(frozen=True, slots=True)
class Fact:
    """One number of the page's head, with what it means."""

    name: str
    value: str
    tone: str = ""


def render(story: Story, made: str) -> str:
    """Return the page; `made` says by which version and when.

    The figures are drawn by the page's own script, which its policy forbids to load anything.
    """
    return _written(
        "page.html",
        figures(story, IN_PAGE),
        story=story,
        made=made,
        facts=facts(story),
        shortfall_facts=shortfall_facts(story.shortfall),
        fills=[] if story.shortfall is None else list(reversed(story.shortfall.fills))[:_MOST_TRIPS],
        months=months(story.closes, story.start_equity),
        month_names=_MONTHS,
        depth=_depth(story),
        trips=list(reversed(story.trips))[:_MOST_TRIPS],
        rivals=_rivals(story.judged.evidence),
        notes=notes(story.judged.evidence),
        first=story.closes["close"][0],
        last=story.closes["close"][-1],
    )


def render_shapes(told: Mapping[str, Any], made: str) -> str:
    """Return the page of networks that were trained side by side; `told` is the document of `trader train shapes`."""
    digits = 5 if told["objective"] == "cross-entropy" else 8
    drawn = dressed(shape_figures(told, IN_PAGE), IN_PAGE, "container")
    return _written("shapes.html", drawn, told=told, made=made, loss_digits=digits)


def _written(template: str, drawn: Sequence[Figure], **words: Any) -> str:
    """Fill a template with words, figures, and what draws them."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("trader.research.report", "."),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(percent=percent, number=number, money=money, day=day, tone=tone)
    page = environment.get_template(template).render(
        style=_inline(files("trader.research.report").joinpath("page.css").read_text("utf-8"), "style"),
        script=_inline(vl_convert.javascript_bundle(_EXPORTS, vl_version=_VEGA_LITE), "script"),
        figures={one.name: one for one in drawn},
        specs={one.name: _data(one) for one in drawn},
        **words,
    )
    return str(page)


def pictures(story: Story) -> dict[str, bytes]:
    """Return every figure as the bytes of a PNG file, by name."""
    return {
        one.name: vl_convert.vegalite_to_png(json.dumps(one.spec), vl_version=_VEGA_LITE, scale=_PNG_SCALE)
        for one in figures(story, ON_PAPER, width=_PNG_WIDTH)
    }


def facts(story: Story) -> list[Fact]:
    """Return what a reader asks first: money after costs, and how rough the way was."""
    told = story.performance
    return [
        Fact("Net return", percent(told.get("total_return")), tone(told.get("total_return"))),
        Fact("A year", percent(told.get("annual_return")), tone(told.get("annual_return"))),
        Fact("Sharpe, after costs", number(told.get("sharpe"))),
        Fact("Largest drawdown", percent(_negative(told.get("max_drawdown")))),
        Fact("Volatility a year", percent(told.get("annual_volatility"), signed=False)),
        Fact("Round trips", number(told.get("round_trips"))),
        Fact("Of them won", percent(told.get("hit_rate"), signed=False)),
        Fact("Time in the market", percent(told.get("exposure_time"), signed=False)),
    ]


def shortfall_facts(told: Shortfall | None) -> list[Fact]:
    """Return how far reality is from what it should have been."""
    if told is None:
        return []
    behind = told.should - told.did
    ratio = "–" if told.cost_ratio is None else f"{told.cost_ratio:.2f}×"
    return [
        Fact("Should have earned", money(told.should), tone(told.should)),
        Fact("Earned", money(told.did), tone(told.did)),
        Fact("Shortfall", money(behind), tone(round(-behind, 2))),
        Fact("Of the equity, lately", percent(_negative(told.behind))),
        Fact("Paid to trade", money(told.realised_cost)),
        Fact("Expected to pay", money(told.expected_cost)),
        Fact("Paid over expected, lately", ratio),
        Fact("Closes not decided", number(len(told.misses))),
    ]


def notes(evidence: Mapping[str, Any] | None) -> list[str]:
    """Say what the evidence's numbers mean, in sentences."""
    if evidence is None:
        return []
    horizon, found = evidence["horizon"], []
    found.append(
        f"Judged on {horizon['closes']} closes that no fit has seen, {str(horizon['first_close'])[:10]} to "
        f"{str(horizon['last_close'])[:10]}."
    )
    interval = evidence.get("interval")
    if interval is not None:
        low, high = interval["sharpe"]
        found.append(
            f"The Sharpe ratio after costs lies between {low:.2f} and {high:.2f} with {interval['level']:.0%} "
            "confidence."
        )
        found.append(
            f"It is above zero with a probability of {evidence['probabilistic_sharpe']:.3f} were this the only fit "
            f"ever made, and of {evidence['deflated_sharpe']:.3f} as the best of those counted."
        )
    stress = ", ".join(f"{row['net_log_return']:+.2f} at {row['times']}×" for row in evidence["cost_stress"])
    found.append(f"Log return by cost: {stress}.")
    return found


def percent(value: float | None, *, signed: bool = True) -> str:
    """Write a fraction in per cent, with a true minus sign; a dash where it is not known."""
    if value is None:
        return "–"
    text = f"{value * 100:+,.1f}" if signed and value else f"{value * 100:,.1f}"
    return text.replace("-", "−") + " %"


def number(value: float | None, digits: int = 2) -> str:
    """Write a number with a true minus sign; a dash where it is not known."""
    if value is None:
        return "–"
    return (f"{value:,.0f}" if value == int(value) else f"{value:,.{digits}f}").replace("-", "−")


def money(value: str | float | None) -> str:
    """Write an amount of USDT with two decimals."""
    return "–" if value is None else f"{float(value):,.2f}".replace("-", "−")


def day(text: object) -> str:
    """Write a time to the minute, without its letters."""
    return "–" if text is None else str(text)[:16].replace("T", " ")


def tone(value: float | str | None) -> str:
    """Return the class of a number: a gain, a loss, or neither."""
    if value is None or float(value) == 0:
        return ""
    return "gain" if float(value) > 0 else "loss"


def _negative(value: float | None) -> float | None:
    return None if value is None else -value


def _depth(story: Story) -> dict[float, int]:
    """Return how strongly each month is tinted, from 0 to 90, against the largest of them."""
    cells = [value for _, row, _ in months(story.closes, story.start_equity) for value in row if value is not None]
    largest = max((abs(value) for value in cells), default=0.0) or 1.0
    return {value: round(abs(value) / largest * 90) for value in cells}


def _rivals(evidence: Mapping[str, Any] | None) -> list[tuple[str, Mapping[str, Any], float | None]]:
    """Return each rule the model is compared with: its name, its numbers, and how likely luck alone is."""
    if evidence is None:
        return []
    luck = evidence.get("spa") or {}
    names = {"performance": "this model"}
    return [
        (names.get(name, name.replace("_", " ")), evidence[name], (luck.get(name) or {}).get("p_value"))
        for name in _RIVALS
        if evidence.get(name)
    ]


def _data(figure: Figure) -> Markup:
    return _inline(json.dumps(figure.spec, separators=(",", ":")), "script")


def _inline(text: str, element: str) -> Markup:
    """Return text of ours that cannot end the element it stands in."""
    return Markup(text.replace(f"</{element}", f"<\\/{element}"))  # noqa: S704  # our own style, script and figures
