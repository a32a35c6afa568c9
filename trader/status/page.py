"""The page: the document in words and tables, ready to read before any script has run."""

from collections.abc import Mapping
from functools import cache
from typing import Any

import jinja2

from trader.status import assets
from trader.status.readable import (
    amount,
    forecast,
    left_out,
    measured,
    minute,
    only,
    percent,
    points,
    position,
    quantity,
    target,
    tone,
)

_NAMED = 6


def render(document: Mapping[str, Any]) -> str:
    """Return the page of a document."""
    return _environment().get_template("page.html").render(d=document, holds=_holds(document))


@cache
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("trader.status", "."),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        amount=amount,
        quantity=quantity,
        percent=percent,
        points=points,
        minute=minute,
        tone=tone,
        only=only,
        measured=measured,
        forecast=forecast,
        left_out=left_out,
        target=target,
        position=position,
    )
    environment.globals["asset"] = assets.address
    return environment


def _holds(document: Mapping[str, Any]) -> str:
    """Say in a few words what is held."""
    held = document["holdings"]
    if not held:
        return "Holds nothing"
    if len(held) > _NAMED:
        long = sum(float(one["quantity"]) > 0 for one in held)
        return f"Holds {len(held)} symbols, {long} long and {len(held) - long} short"
    parts = [f"{quantity(one['quantity'])} {one['symbol']}{_stop(one)}" for one in held]
    return f"Holds {', '.join(parts)}"


def _stop(one: Mapping[str, Any]) -> str:
    return f" with a stop at {quantity(one['stop'])}" if one["stop"] else ""
