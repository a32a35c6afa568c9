"""More of the independent checker: what rests on the exchange, and what leaks into anything that was written."""

import hashlib
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from decimal import Decimal
from typing import Any

_SIGNED = re.compile(rb"signature=[0-9a-f]{64}")
Row = Mapping[str, Any]


def name_of(instance: str, row: Mapping[str, Any]) -> str:
    """Name an order again, from the documented rule."""
    minutes, digits = int(row["close"]) // 60_000, ""
    while minutes:
        minutes, rest = divmod(minutes, 36)
        digits = "0123456789abcdefghijklmnopqrstuvwxyz"[rest] + digits
    prefix = "t" + hashlib.sha256(instance.encode()).hexdigest()[:6]
    return f"{prefix}.{digits}.{row['symbol']}.{row['leg']}{row['attempt']}"


def misplaced(algos: Iterable[Row], kept: Sequence[Row], instance: str) -> Iterator[str]:
    """Say which stops have names that do not follow from their purpose, were never intended, or were placed twice."""
    names = [name_of(instance, {**row, "leg": "s"}) for row in kept]
    placed = Counter(str(row["client_id"]) for row in algos)
    if wrong := [row["client_id"] for row, name in zip(kept, names, strict=True) if row["client_id"] != name]:
        yield f"{wrong} are not the names of stops"
    if unknown := sorted(placed.keys() - set(names)):
        yield f"the exchange has the stops {unknown}, which the journal never intended"
    if twice := [name for name, count in placed.items() if count > 1]:
        yield f"{twice} rested twice"


def unprotected(
    algos: Iterable[Row], journal: Mapping[str, Sequence[Row]], held: Mapping[str, Decimal]
) -> Iterator[str]:
    """Say where the stops at rest are not one for every position, or not those the journal tells of."""
    waiting = [row for row in algos if row["status"] == "NEW"]
    found = sorted((row["symbol"], row["side"]) for row in waiting)
    wanted = sorted((symbol, "SELL" if quantity > 0 else "BUY") for symbol, quantity in held.items())
    if found != wanted:
        yield f"the stops {found} rest where {wanted} should"
    standing = sorted(row["client_id"] for row in journal["stops"] if not row["final"])
    if standing != sorted(row["client_id"] for row in waiting):
        yield f"the journal says that {standing} rest, and not {[row['client_id'] for row in waiting]}"
    explained = {row["exchange_id"]: row for row in journal["orders"] if row["leg"] == "s"}
    for row in algos:
        became = explained.get(str(row["order_id"]))
        if row["order_id"] and (became is None or became["client_id"] != row["client_id"]):
            yield f"nothing explains the order {row['order_id']} that the stop {row['client_id']} became"
    if explained and not any("protective stop" in row["why"] for row in journal["states"]):
        yield f"a stop has triggered as {sorted(explained)}, and nobody is asked to look"


def leaks(canaries: Iterable[str], written: Mapping[str, bytes]) -> Iterator[str]:
    """Say where a secret or a signed address was written."""
    for place, text in written.items():
        if any(canary.encode() in text for canary in canaries):
            yield f"a secret is in {place}"
        if _SIGNED.search(text):
            yield f"a signed address is in {place}"
