"""More of the independent checker: a wished reduction is done, and nothing is opened beside what has no stop."""

import json
import zlib
from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Any

from tests.proof.accounts import held_at, moments, stepped
from tests.proof.case import Case
from tests.proof.people import forgotten, seen_until, traded_since
from tests.proof.plan import STALLS, argument

_WAITING = "missing stop"
_NOTICED = 4 * 3_600_000 + 120_000
"""Milliseconds within which a daemon that lives finds that stops can be placed again: it looks every four hours."""
_AWAY = ("suspend:7000", "suspend:58000", "stall:6000", "key")
_NO_REASON = ("deposit", "bnb", "wake", "halt", "flatten", "resume", "adl", "liquidate")
"""How what keeps no stop from its place begins."""


def reduced(case: Case) -> Iterator[str]:
    """What a decision makes smaller is made smaller within its time, unless the order itself was turned away.

    A machine that slept, or whose clock was set, may have had no time for it; and where somebody else traded a start
    after a death sends nothing.
    """
    kinds = [kind for _, kind in case.dealt]
    at_an_order = any(name == "POST /fapi/v1/order" for name, kind in case.dealt if kind not in case.outside)
    if at_an_order or stepped(case) or case.put_back_at is not None or any(_no_time(kind) for kind in kinds):
        return
    if not case.undying and case.foreign:
        return
    decided = {row["close"]: row for row in case.journal["decisions"]}
    for row in case.journal["transcripts"]:
        given, output = json.loads(zlib.decompress(row["inputs"])), json.loads(zlib.decompress(row["output"]))
        until = row["close"] + case.terms.max_delay
        held, first = held_at(case, until), seen_until(case, decided[row["close"]]["decided_at"])
        before_then = 1 + max((line["trade_id"] for line in case.trades if line["time"] <= until), default=0)
        for symbol, quantity, kind, *_ in output["legs"]:
            before, less = Decimal(given["book"]["positions"].get(symbol, 0)), Decimal(quantity)
            if kind not in ("c", "r") or _struck_out(case, row["close"], symbol):
                continue
            now = held.get(symbol, Decimal(0))
            ours = now - traded_since(case, symbol, first, before_then)
            # what had become as small as that, and was made larger by somebody else since, was made smaller
            passed = moments(case.trades, decided[row["close"]]["decided_at"], until)
            reached = [held_at(case, moment).get(symbol, Decimal(0)) for moment in passed if case.foreign]
            if min((one - before - less) * (1 if before > 0 else -1) for one in (now, ours, *reached)) > 0:
                yield f"the close {row['close']} was to make {before} of {symbol} smaller by {less}, and {now} was held"


def _struck_out(case: Case, close: int, symbol: str) -> bool:
    """Whether an order that reduces was given up because each of its posts was struck."""
    given_up = (
        row
        for row in case.journal["orders"]
        if (row["close"], row["symbol"], row["outcome"]) == (close, symbol, "absent") and row["leg"] in ("c", "r")
    )
    return any(
        row["sends"] <= sum(row["intended_at"] <= time <= row["settled_at"] for time in case.struck)
        for row in given_up
        if row["sends"]
    )


def _no_time(kind: str) -> bool:
    return kind in _AWAY or "long" in kind


def unstopped(case: Case) -> Iterator[str]:
    """Nothing is opened beside a position that was there before and had no stop by then."""
    if not case.stops or stepped(case):
        return
    intents = {row["client_id"]: row for row in case.journal["orders"]}
    claimed = {row["close"]: row["claimed_at"] for row in case.journal["decisions"]}
    for one in case.posted:
        if one.reduce_only or one.client_id not in intents or forgotten(case, one.client_id, one.at):
            continue
        since = claimed[intents[one.client_id]["close"]]
        for symbol, quantity in held_at(case, since).items():
            if not any(_rested(row, symbol, quantity, since, one.at) for row in case.algos):
                yield f"{one.client_id} opened while {quantity} of {symbol} had no stop"


def _rested(row: Mapping[str, Any], symbol: str, quantity: Decimal, since: int, until: int) -> bool:
    """Whether a stop of that position rested at some time of a span."""
    right = row["symbol"] == symbol and row["side"] == ("SELL" if quantity > 0 else "BUY")
    return right and row["create_time"] <= until and (row["status"] == "NEW" or row["update_time"] >= since)


def passing(case: Case) -> Iterator[str]:
    """What waits for a stop has a reason, lifts nothing but itself, and ends by itself once stops can be placed."""
    states = case.journal["states"]
    before = None
    if all(kind.startswith(_NO_REASON) for _, kind in case.dealt):
        yield from (f"no stop was in the way, and yet {row['why']}" for row in states if row["by"] == _WAITING)
    for row in states:
        if row["by"] == _WAITING:
            if row["state"] == "ACTIVE" and (
                before is None or (before["state"], before["by"]) != ("REDUCING", _WAITING)
            ):
                yield f"a stop that rests again lifted {before and before['why']}"
            if row["state"] not in ("ACTIVE", "REDUCING"):
                yield f"a missing stop made the daemon {row['state']}"
        before = row
    if states and states[-1]["by"] == _WAITING and states[-1]["state"] != "ACTIVE" and case.ended_well:
        yield f"the daemon still waits for a stop: {states[-1]['why']}"
    if not case.outages or not case.undying or case.outside:
        return
    over = max(end for _, _, end in case.outages)
    last = [row for row in states if row["by"] == _WAITING and row["at"] <= over][-1:]
    if last and last[0]["state"] == "REDUCING":
        lifted = [row["at"] for row in states if row["at"] > over and row["state"] == "ACTIVE"]
        # a machine that stands still misses a look, and the next one comes as long after it
        stood = sum(1000 * round(argument(kind)[1] or 0) for _, kind in case.dealt if kind in STALLS)
        if not lifted or lifted[0] > over + _NOTICED + stood:
            yield f"stops could be placed again from {over} on, and the daemon was ACTIVE again at {lifted[:1]}"
