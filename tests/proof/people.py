"""More of the independent checker: what people did beside the daemon, by hand, by request, or to the journal's file."""

import json
import zlib
from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from typing import Any

from tests.proof.accounts import held_at, signed, stepped
from tests.proof.case import BY_HAND, Case

ERROR = 1000
"""Milliseconds our clock may be off the venue's."""
_PERSON, _WAITING = "a person or another program", "missing stop"
_RESTS = ("NEW", "PARTIALLY_FILLED")
LATE = 5000 + ERROR
"""Milliseconds an order may travel: the window in which the exchange takes it, and the clock's error."""


def traded_since(case: Case, symbol: str, first: int, before: int, *, stops: bool = False) -> Decimal:
    """Return what others traded of a symbol, in trades from one number to below another; on request our stops, too."""
    theirs = [*case.foreign, *(case.stopped if stops else ())]
    rows = (row for row in theirs if row["symbol"] == symbol and first <= row["trade_id"] < before)
    return sum((signed(row) for row in rows), Decimal(0))


def forgotten(case: Case, client_id: str, at: int) -> bool:
    """Whether the journal that was put back tells nothing of an order, and at most of a later one of the same name.

    What is sent after that, and carried out soon, is not: every post is seen.
    """
    back = case.put_back_at
    if (
        back is None
        or at > back + LATE
        or any(one.client_id == client_id and back < one.at <= at for one in case.posted)
    ):
        return False
    rows = (row for table in ("orders", "stops") for row in case.journal[table] if row["client_id"] == client_id)
    return min((row["intended_at"] for row in rows), default=1 << 62) > back


def seen_by(case: Case, client_id: str, at: int = 0) -> int:
    """Return which trade would have come next at the last look before an order was decided; all where nobody knows.

    Of an order sent at a moment, by a process that began after it was decided, it is the last look before that.
    """
    intent = next((row for row in case.journal["orders"] if row["client_id"] == client_id), None)
    if intent is None or intent["leg"] in ("f", "s"):
        return 1 << 62 if intent is None else seen_until(case, intent["intended_at"])
    found = (row["decided_at"] for row in case.journal["decisions"] if row["close"] == intent["close"])
    decided = next(found, None)
    if decided is not None and any(decided < begun <= at for begun in case.lives):
        return seen_until(case, at)
    return 1 << 62 if decided is None else seen_until(case, decided)


def seen_until(case: Case, moment: int) -> int:
    """Return which trade would have come next when the account was looked at last before a moment."""
    return max((trade for at, trade in case.looks if at <= moment), default=0)


def accepted(case: Case) -> bool:
    """Whether a person took the account for the beginning of the story after the last thing somebody traded."""
    return all(row["time"] <= _begun(case) for row in case.foreign)


def _begun(case: Case) -> int:
    return int(case.journal["baselines"][-1]["at"])


def named(case: Case) -> Iterator[str]:
    """What somebody else traded is told when a later close is decided, and nothing is sent before it is accepted."""
    told = [*case.ends, *(row["why"] for row in case.journal["states"])]
    decided = {row["close"]: row for row in case.journal["decisions"]}
    for row in case.foreign:
        if row["time"] <= _begun(case):
            continue
        later = [one["close"] for one in decided.values() if one["claimed_at"] > row["time"] and one["decided_at"]]
        if later and case.ended_well and not stepped(case) and not any(_PERSON in text for text in told):
            yield f"somebody traded {signed(row)} at {row['time']}, {later} were decided, and nobody was told"
    for row in case.journal["transcripts"]:
        one = decided[row["close"]]
        begun = max(line["at"] for line in case.journal["baselines"] if line["at"] <= one["decided_at"])
        unseen = [line["trade_id"] for line in case.foreign if begun < line["time"] < one["claimed_at"]]
        unseen += [line["client_id"] for line in _resting_by_hand(case, one["claimed_at"], one["decided_at"])]
        if unseen and json.loads(zlib.decompress(row["output"]))["legs"] and not stepped(case):
            yield f"the close {row['close']} was decided although {unseen} of somebody else was there before"


def _resting_by_hand(case: Case, since: int, until: int) -> list[Mapping[str, Any]]:
    """Return the orders of somebody else that rested all the time."""
    return [
        row
        for row in case.orders
        if row["client_id"].startswith(BY_HAND)
        and row["type"] == "LIMIT"
        and row["time"] < since
        and (row["status"] in _RESTS or row["update_time"] > until)
    ]


def obeyed(case: Case) -> Iterator[str]:
    """What was asked for is done, the last word holds, and nobody lifts what he did not know of."""
    requests = {row["id"]: row for row in case.journal["requests"]}
    states: Sequence[Mapping[str, Any]] = case.journal["states"]
    if case.ended_well and (left := [row["kind"] for row in requests.values() if row["done_at"] is None]):
        yield f"{left} was asked for, and nobody has done it"
    for one in case.asked:
        row = requests.get(one.number)
        if row is None or row["done_at"] is None:
            continue
        if one.kind == "flatten" and not stepped(case) and (held := _held_without_others(case, one.at, row["done_at"])):
            yield f"the flatten asked for at {one.at} was called done while {held} was held"
        if one.kind == "resume" and row["result"] == "resumed":
            (lifted,) = [
                state["id"] for state in states if state["at"] == row["done_at"] and "resumed" in state["why"]
            ][-1:]
            found = [
                state["why"]
                for state in states
                if one.seen < state["id"] < lifted
                and state["state"] != "ACTIVE"
                and state["by"] not in ("operator", _WAITING)
            ]
            if found:
                yield f"a resume asked for at {one.at} lifted what was found after it: {found}"
    last = case.asked[-1] if case.asked else None
    if last is not None and last.kind in ("halt", "flatten") and case.ended_well and _state(states) != "HALTED":
        yield f"the last word was {last.kind}, and the daemon is {_state(states)}"


def _held_without_others(case: Case, since: int, moment: int) -> dict[str, Decimal]:
    """Return what was held at a moment, but for what somebody else traded meanwhile."""
    before = 1 + max((row["trade_id"] for row in case.trades if row["time"] <= moment), default=0)
    first = seen_until(case, since)
    held = {
        symbol: quantity - traded_since(case, symbol, first, before)
        for symbol, quantity in held_at(case, moment).items()
    }
    return {symbol: quantity for symbol, quantity in held.items() if quantity}


def advice(case: Case) -> Iterator[str]:
    """Where an end names what a person has to do, doing it is enough."""
    if case.ended_well or "key" in case.outside:
        return
    if any(word in case.ends[-1] for word in ("--adopt", "fees in BNB", "cancel")):
        yield f"what a person was told to do was done, and did not help: {case.ends[-1]}"


def _state(states: Sequence[Mapping[str, Any]]) -> str:
    return str(states[-1]["state"]) if states else "ACTIVE"
