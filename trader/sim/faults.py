"""Hold the fault plan: which request meets which misfortune, and what happens when. Plain data; no sockets here."""

import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

_NEEDS: Mapping[str, tuple[str, ...]] = {
    # the connection
    "lose_answer": (),
    "drop_request": (),
    "delay": ("seconds",),
    "hang": (),
    "truncated": (),
    "drip": ("seconds",),
    "close_idle": ("seconds",),
    "kill_before": (),
    "kill_after": (),
    # the answer's status
    "unknown_503_executed": (),
    "unknown_503_not_executed": (),
    "service_unavailable_503": (),
    "timeout_1007_executed": (),
    "timeout_1007_not_executed": (),
    "status": ("status", "code", "msg"),
    "maintenance": (),
    # what is done, and when it is seen
    "late": ("ms",),
    "late_visibility": ("ms",),
    "rest": ("ms",),
    "partial": ("share",),
    # the answer's content
    "html_200": (),
    "empty_200": (),
    "text_200": ("text",),
    "empty_list": (),
    "no_usdt": (),
    "missing_fields": ("fields",),
    "duplicate_rows": (),
    "stale_klines": ("ms",),
    "late_candle": (),
    "missing_candle": (),
    "duplicate_candle": (),
    "swapped_candles": (),
    "revised_candle": ("factor",),
    "bad_candle": ("value",),
}
KINDS = frozenset(_NEEDS)
# What happens on exchange and account without a request of the client; carried out by trader.sim.events.
_EVENTS: Mapping[str, tuple[str, ...]] = {
    "order": ("symbol", "side", "type", "quantity"),
    "cancel": ("symbol",),
    "cancel_all": ("symbol",),
    "algo_order": ("symbol", "side", "type", "triggerPrice"),
    "cancel_algo": (),
    "cancel_all_algos": ("symbol",),
    "leverage": ("symbol", "leverage"),
    "margin_type": ("symbol", "marginType"),
    "position_mode": ("dualSidePosition",),
    "multi_assets": ("multiAssetsMargin",),
    "fee_burn": ("feeBurn",),
    "trigger": ("symbol",),
    "transfer": ("amount",),
    "adl": ("symbol",),
    "liquidate": ("symbol",),
    "symbol": ("symbol",),
    "delist": ("symbol", "deliveryDate"),
    "settle": ("symbol",),
    "fees": ("maker", "taker"),
    "rule": ("code", "msg"),
    "lift_rule": (),
    "key": (),
    "skew": ("ms",),
}
EVENTS = frozenset(_EVENTS)


@dataclass(frozen=True, slots=True)
class Shot:
    """Hold one fault at the moment it is fired; ``fault`` is None for one that stays loaded or a remark of the log."""

    fault: int | None
    request: int
    path: str
    action: str
    time: int
    args: Mapping[str, Any] = field(default_factory=dict)


def check_entry(entry: object) -> dict[str, Any]:
    """Give a plan entry as it is kept, or raise ValueError saying what is wrong with it."""
    if not isinstance(entry, dict):
        raise ValueError(f"a fault is an object, not {entry!r}")
    if "random" in entry:
        return _check_random(entry)
    if "at" in entry:
        if not isinstance(entry["at"], int):
            raise ValueError('"at" is an instant in epoch milliseconds')
        check_event(entry)
        return entry
    if "during" in entry:
        span = entry["during"]
        if not (isinstance(span, dict) and isinstance(span.get("from"), int) and isinstance(span.get("to"), int)):
            raise ValueError('"during" needs {"from": ms, "to": ms} and may name a path')
        _check_action(entry)
        return entry
    on = entry.get("on")
    if not isinstance(on, dict) or not isinstance(on.get("nth"), int) or on["nth"] < 1:
        raise ValueError(
            'a fault needs "on": {"nth": n} or {"path": "POST /fapi/v1/order", "nth": n}, or "at", "during"'
        )
    if entry.get("do") in EVENTS:
        check_event(entry)
    else:
        _check_action(entry)
    return entry


def _check_random(entry: dict[str, Any]) -> dict[str, Any]:
    options = entry["random"]
    kinds = options.get("kinds") if isinstance(options, dict) else None
    if not isinstance(kinds, list) or not kinds or not {"seed", "rate"} <= set(options):
        raise ValueError('"random" needs seed, rate and a list of kinds')
    for kind in kinds:
        _check_action(kind if isinstance(kind, dict) else {"do": kind})
    return entry


def check_event(entry: object) -> Mapping[str, Any]:
    """Give an event that can be carried out, or raise ValueError saying what is wrong with it."""
    if not isinstance(entry, dict) or entry.get("do") not in EVENTS:
        named = entry.get("do") if isinstance(entry, dict) else entry
        raise ValueError(f"the event {named!r} is unknown; there are {', '.join(sorted(EVENTS))}")
    _check_needs(entry, _EVENTS)
    return entry


def _check_action(entry: Mapping[str, Any]) -> None:
    if entry.get("do") not in KINDS:
        raise ValueError(f"the fault {entry.get('do')!r} is unknown; there are {', '.join(sorted(KINDS))}")
    _check_needs(entry, _NEEDS)


def _check_needs(entry: Mapping[str, Any], needs: Mapping[str, tuple[str, ...]]) -> None:
    absent = [name for name in needs[entry["do"]] if name not in entry]
    if absent:
        raise ValueError(f"{entry['do']} needs {', '.join(absent)}")


class Plan:
    """Match requests with faults: one of the list fires once, one of a span always, a random one by its dice."""

    def __init__(self, entries: list[tuple[int, dict[str, Any], bool]]) -> None:
        ready = [(number, plan) for number, plan, fired in entries if not fired]
        self._waiting = {number: plan for number, plan in ready if "on" in plan}
        self._spans = [plan for _, plan in ready if "during" in plan]
        self._timed = sorted((plan["at"], number, plan) for number, plan in ready if "at" in plan)
        self._dice = [plan["random"] for _, plan, _ in entries if "random" in plan]
        self._remarks: list[Shot] = []

    def draw(self, request: int, path: str, nth_of_path: int, now: int) -> Shot | None:
        """Give the fault for this request, if any: listed ones first, in the order they were added, then spans."""
        for number, plan in self._waiting.items():
            on = plan["on"]
            count = nth_of_path if "path" in on else request
            if on["nth"] == count and on.get("path", path) == path:
                del self._waiting[number]
                return Shot(number, request, path, plan["do"], now, plan)
        for plan in self._spans:
            span = plan["during"]
            if span["from"] <= now < span["to"] and span.get("path", path) == path:
                return Shot(None, request, path, plan["do"], now, plan)
        for options in self._dice:
            if options.get("path", path) != path:
                continue
            dice = random.Random(f"{options['seed']}:{request}")
            if dice.random() < options["rate"]:
                kind = dice.choice(options["kinds"])
                args = kind if isinstance(kind, dict) else {"do": kind}
                return Shot(None, request, path, args["do"], now, args)
        return None

    def next_event(self) -> int | None:
        """Give the instant of the next event, if any."""
        return self._timed[0][0] if self._timed else None

    def take_event(self, request: int, now: int) -> Shot:
        """Hand over the next event."""
        _, number, plan = self._timed.pop(0)
        return Shot(number, request, "", plan["do"], now, plan)

    def remark(self, shot: Shot) -> None:
        """Keep a line for the fault log until the next commit."""
        self._remarks.append(shot)

    def take_remarks(self) -> list[Shot]:
        """Hand over the lines kept so far."""
        remarks, self._remarks = self._remarks, []
        return remarks
