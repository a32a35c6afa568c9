"""`trader evidence`: what a model is worth, said unasked."""

from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from trader.cli.progress import progress_of_several
from trader.cli.values import FeeOption, FundingOption, JsonFlag, SlippageOption, moment, show

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Table

SinceOption = Annotated[
    datetime | None,
    typer.Option(
        "--from",
        parser=moment,
        metavar="T",
        help="Judge closes after this one only; needed where nobody knows what a model was trained on.",
        show_default=False,
    ),
]
_RULES = ("performance", "proportional", "always_long", "always_short", "no_bias")


def register(app: typer.Typer) -> None:
    """Add the commands of this page."""
    app.command()(evidence)


def evidence(
    model: Annotated[
        Path, typer.Argument(help="A model folder, the name of a shipped model, or a portfolio's strategy file.")
    ],
    candles: Annotated[
        Path | None,
        typer.Option(help="A candle file that reaches beyond the model's training; without one the store."),
    ] = None,
    funding: FundingOption = None,
    since: SinceOption = None,
    fee: FeeOption = None,
    slippage: SlippageOption = None,
    as_json: JsonFlag = False,
) -> None:
    """Judge a model on closes that no fit has seen: may it trade money? Exit code 0 for GO, 1 for NO-GO.

    Examples:
      trader evidence ada-ar-16h --candles ADAUSDT_1h.parquet --funding ADAUSDT_funding.parquet
      trader evidence models/mine --candles ADAUSDT_1h.parquet --json
      trader evidence models/mine --json
      trader evidence perp-carry-1d --candles perpetuals_1d.parquet
    """
    from trader.app.judging import evidence as judge_it
    from trader.app.judging import passes_of, portfolio_evidence
    from trader.app.portfolios import portfolio_named
    from trader.app.settings import load_settings, money
    from trader.app.tapes import TapeChoice
    from trader.research.evidence.judge import RECURRENT_STEPS, STEPS

    settings = load_settings(sim=money(fee=fee, slippage=slippage))
    portfolio = portfolio_named(str(model))
    passes = passes_of(model) if portfolio is None else 0
    with progress_of_several({"walking": passes, "weighing": RECURRENT_STEPS if passes else STEPS}) as (walking, step):
        if portfolio is not None:
            choice = TapeChoice(candles, funding, start=since)
            document = portfolio_evidence(settings, portfolio, choice, step=step)
        else:
            document = judge_it(settings, model, candles, funding=funding, since=since, step=step, walking=walking)
    if as_json:
        show(document, as_json=True)
    else:
        from rich.console import Console

        Console().print(page(document))
    if document["verdict"] != "GO":
        raise typer.Exit(1)


def page(document: Mapping[str, Any]) -> "RenderableType":
    """Lay the evidence out for people: the verdict, its reason, the gates, and what stands beside them."""
    from rich.console import Group
    from rich.panel import Panel
    from rich.text import Text

    colour = "green" if document["verdict"] == "GO" else "red"
    horizon = document["horizon"]
    title = f"{document['model']}: {document['symbol']} every {document['candle']}"
    head = Panel(
        Text(document["reason"]), title=f"[bold {colour}]{document['verdict']}[/] {title}", border_style=colour
    )
    period = (
        f"{horizon['closes']} closes, {horizon['days']:.0f} days, from {horizon['first_close']} to "
        f"{horizon['last_close']}; "
        + ("nothing was fitted." if document["no_bias"] is None else "none of them was seen by the fit.")
    )
    return Group(head, Text(period), "", _gates(document), "", _rules(document), "", *_notes(document))


def _gates(document: Mapping[str, Any]) -> "Table":
    from rich.table import Table

    table = Table("", "gate", "measured", "needed", box=None, pad_edge=False)
    for name, gate in document["gates"].items():
        mark = "[green]passed[/]" if gate["passed"] else "[red]failed[/]"
        table.add_row(mark, name.replace("_", " "), _number(gate["value"]), gate["needed"])
    return table


def _rules(document: Mapping[str, Any]) -> "Table":
    from rich.table import Table

    columns = ("rule", "Sharpe", "after costs", "log return after costs", "changes of side", "p of luck")
    table = Table(*columns, box=None, pad_edge=False)
    spa = document["spa"] or {}
    for name in _RULES:
        rule = document.get(name)
        if rule is None:
            continue
        words = "this model" if name == "performance" else name.replace("_", " ")
        numbers = [_number(rule.get(key)) for key in ("sharpe", "net_sharpe", "net_log_return", "changes_of_side")]
        table.add_row(words, *numbers, "" if name == "performance" else _number((spa.get(name) or {}).get("p_value")))
    table.add_row("cash", "0", "0", "0", "0", _number(spa.get("cash", {}).get("p_value")))
    return table


def _notes(document: Mapping[str, Any]) -> list[str]:
    """Say in sentences what the numbers are worth."""
    notes = []
    interval, least = document["interval"], document["horizon"]["least_track_record"]
    if interval is not None:
        low, high = interval["sharpe"]
        notes.append(
            f"The Sharpe ratio after costs lies between {low:.2f} and {high:.2f} with {interval['level']:.0%} "
            f"confidence (stationary bootstrap, {interval['replications']} resamples in blocks of "
            f"{interval['block_length']:.1f} candles on average)."
        )
        notes.append(
            f"It is above zero with a probability of {document['probabilistic_sharpe']:.3f} if this was the only fit, "
            f"and of {document['deflated_sharpe']:.3f} as the best of {document['trials']} (the spread of their Sharpe "
            f"ratios is {document['deflation']['deviation_is']})."
        )
    notes.append(
        "No track record of this quality is long enough to tell it from luck."
        if least is None
        else f"Were it the only fit, {least:.0f} closes like these would tell it from luck."
    )
    stress = ", ".join(f"{row['net_log_return']:+.2f} at {row['times']}x" for row in document["cost_stress"])
    funding = document["costs"]["funding"]
    paid = "no funding was given, so none is counted" if funding is None else f"funding paid: {funding:+.3f}"
    notes.append(f"Log return by cost: {stress} ({document['costs']['per_side']:.4%} a side; {paid}).")
    notes += _walked(document["walk_forward"], fitted=document["no_bias"] is not None)
    if (beside := document.get("proportional")) is not None:
        notes.append(f"In proportion to the forecast it is {beside['verdict']}: {beside['reason']}")
    causality = document["causality"]
    notes.append(
        f"At {causality['closes']} closes the forecast was made again from the candles up to it and from the warm-up "
        f"alone: {len(causality['look_ahead'])} knew the future, {len(causality['recursive'])} needed more of the past."
    )
    return notes


def _walked(walk: Mapping[str, Any] | None, *, fitted: bool) -> list[str]:
    if walk is None:
        why = "Nobody knows how it was fitted" if fitted else "Its history is shorter than a quarter"
        return [f"{why}, so that it was not walked forward."]
    marks = "".join("[green]+[/]" if fold["net_ev"] > 0 else "[red]-[/]" for fold in walk["folds"])
    sentence = (
        f"Refitted every {walk['test']} candles to the {walk['train']} before them"
        if walk["train"]
        else f"Cut into stretches of {walk['test']} candles (nothing is fitted)"
    ) + f": {walk['positive']} of {walk['count']} folds earned something after costs {marks}"
    return [sentence]


def _number(value: Any) -> str:
    if value is None:
        return "-"
    return str(value) if isinstance(value, int) else f"{value:.4g}"
