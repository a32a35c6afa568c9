"""Hold the fault plan: which request meets which misfortune. Plain data in, one `Shot` out; no sockets here."""

import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

KINDS = frozenset(
    {
        "lose_answer",
        "drop_request",
        "delay",
        "late",
        "unknown_503_executed",
        "unknown_503_not_executed",
        "service_unavailable_503",
        "timeout_1007_executed",
        "timeout_1007_not_executed",
        "html_200",
        "empty_200",
        "truncated",
        "late_visibility",
        "rest",
        "status",
        "kill_before",
        "kill_after",
    }
)
_NEEDS = {
    "delay": ("seconds",),
    "late": ("ms",),
    "late_visibility": ("ms",),
    "rest": ("ms",),
    "status": ("status", "code", "msg"),
}


@dataclass(frozen=True, slots=True)
class Shot:
    """Hold one fault at the moment it is fired; ``fault`` is None for a random one or a remark of the log."""

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
        options = entry["random"]
        kinds = options.get("kinds") if isinstance(options, dict) else None
        if not isinstance(kinds, list) or not kinds or not {"seed", "rate"} <= set(options):
            raise ValueError('"random" needs seed, rate and a list of kinds')
        for kind in kinds:
            _check_action(kind if isinstance(kind, dict) else {"do": kind})
        return entry
    on = entry.get("on")
    if not isinstance(on, dict) or not isinstance(on.get("nth"), int) or on["nth"] < 1:
        raise ValueError('a fault needs "on": {"nth": n} or {"path": "POST /fapi/v1/order", "nth": n}')
    _check_action(entry)
    return entry


def _check_action(entry: Mapping[str, Any]) -> None:
    if entry.get("do") not in KINDS:
        raise ValueError(f"the fault {entry.get('do')!r} is unknown; there are {', '.join(sorted(KINDS))}")
    absent = [name for name in _NEEDS.get(entry["do"], ()) if name not in entry]
    if absent:
        raise ValueError(f"the fault {entry['do']} needs {', '.join(absent)}")


class Plan:
    """Match requests with faults that have not been fired; a listed fault fires once, a random one by its dice."""

    def __init__(self, entries: list[tuple[int, dict[str, Any], bool]]) -> None:
        self._waiting = {number: plan for number, plan, fired in entries if not fired and "random" not in plan}
        self._dice = [plan["random"] for _, plan, _ in entries if "random" in plan]
        self._remarks: list[Shot] = []

    def draw(self, request: int, path: str, nth_of_path: int, now: int) -> Shot | None:
        """Give the fault for this request, if any: listed ones first, in the order they were added."""
        for number, plan in self._waiting.items():
            on = plan["on"]
            count = nth_of_path if "path" in on else request
            if on["nth"] == count and on.get("path", path) == path:
                del self._waiting[number]
                return Shot(number, request, path, plan["do"], now, plan)
        for options in self._dice:
            if options.get("path", path) != path:
                continue
            dice = random.Random(f"{options['seed']}:{request}")
            if dice.random() < options["rate"]:
                kind = dice.choice(options["kinds"])
                args = kind if isinstance(kind, dict) else {"do": kind}
                return Shot(None, request, path, args["do"], now, args)
        return None

    def remark(self, shot: Shot) -> None:
        """Keep a line for the fault log until the next commit."""
        self._remarks.append(shot)

    def take_remarks(self) -> list[Shot]:
        """Hand over the lines kept so far."""
        remarks, self._remarks = self._remarks, []
        return remarks
