"""Plans of misfortune, as data: which step meets what. A step is a request, or a commit of the journal."""

import json
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tests.proof.odd import RESTORES, is_odd, puts_back

ORDER = "POST /fapi/v1/order"
PLACE = "POST /fapi/v1/algoOrder"
KLINES = "GET /fapi/v1/klines"
LOOK = "GET /fapi/v3/account"
COMMIT = "commit"

RESTRICTING = {
    "code:-4061": "HALTED",
    "code:-2015": "HALTED",
    "status:403": "HALTED",
    "status:451": "HALTED",
    "code:-4400": "REDUCING",
    "stop:-2021": "HALTED",
    "stop:-2015": "HALTED",
    "stop:-4045": "REDUCING",
    "stop:-4130": "REDUCING",
}
"""Refusals of an order or a stop that only a person can mend, and the state that has to follow until one resumes."""

ORDER_KINDS = (
    "lose_answer",
    "drop_request",
    "refused",
    "hang_executed",
    "hang_not_executed",
    "late:3000",
    "late:4900",
    "unknown_503_executed",
    "unknown_503_not_executed",
    "service_unavailable_503",
    "timeout_1007_executed",
    "timeout_1007_not_executed",
    "html_executed",
    "html_not_executed",
    "empty_executed",
    "truncated",
    "hidden:8000",
    "hidden_lost:8000",
    "hidden_lost:17200",
    "rest:3000",
    "rest_lost:3000",
    "partial:0.5",
    "partial:0",
    "partial_lost:0.5",
    "code:-2019",
    "code:-1021",
    "code:-1008",
    "code:-4131",
    "code:-1111",
    "code:-2022",
    "code:-4116",
    *(kind for kind in RESTRICTING if not kind.startswith("stop:")),
    "status:429",
    "status:418",
    "die_before",
    "die_after",
    "die_late:4900",
    "die_hidden:8000",
    "die_after_long",
    "die_late_long:3000",
)
STOP_KINDS = (
    "lose_answer", "drop_request", "refused", "hang_executed", "hang_not_executed", "late:3000", "late:4900",
    "unknown_503_executed", "unknown_503_not_executed", "service_unavailable_503", "timeout_1007_executed",
    "timeout_1007_not_executed", "html_executed", "html_not_executed", "empty_executed", "truncated", "code:-1021",
    "code:-1008", "code:-4116", "code:-4509", *(kind for kind in RESTRICTING if kind.startswith("stop:")), "status:429",
    "status:418", "die_before", "die_after", "die_late:3000", "die_after_long", "die_late_long:3000",
)  # fmt: skip
READ_KINDS = ("drop_request", "refused", "hang", "truncated", "html_200", "empty_200", "service_unavailable_503",
              "code:-1021", "status:429", "status:418", "no_positions", "die_before",
              "die_before_long")  # fmt: skip
KLINES_KINDS = ("missing_candle", "duplicate_candle", "swapped_candles", "bad_candle", "late_candle",
                "stale_klines:57600000", "empty_list")  # fmt: skip
COMMIT_KINDS = ("die_before", "die_after", "die_after_long", "power", "full", "ioerr")
STALLS = ("stall:13", "stall:20", "stall:6000")
"""Seconds for which a commit holds the whole process up: beyond what a settle wait leaves beside the receive window,
beyond that wait, and beyond the time in which a close may be decided."""
EVENTS = ("hand:37", "hand:-37", "halt", "flatten", "halt_resume", "deposit:250", "leverage:5", "clock:5", "clock:3600",
          "clock:-3600", "suspend:30", "suspend:7000", "suspend:58000", "wake", "adl", "liquidate",
          "rule:-4400", "key")  # fmt: skip
STOP = "stop"
"""The event that a protective stop triggers; it is among the others where there are stops."""

SKEWS = ("clock:0.8", "clock:5", "clock:-5", "clock:3600", "clock:-3600")
PAIRED_ORDER_KINDS = tuple(kind for kind in ORDER_KINDS if kind not in RESTRICTING or kind == "code:-4061")
PAIRED_READ_KINDS = ("hang", "html_200", "status:429", "die_before")
PAIRED_KLINES_KINDS = (*PAIRED_READ_KINDS, "late_candle", "missing_candle")
PAIRED_COMMIT_KINDS = ("die_before", "die_after", "full")


@dataclass(frozen=True)
class Where:
    """The n-th step of a name, from 0, and how many steps after it."""

    name: str
    turn: int
    after: int = 0

    def number(self, trace: Sequence[str]) -> int:
        """Return the step's number in an undisturbed run."""
        if self.name == "boot":
            return -1
        return [step for step, name in enumerate(trace) if name == self.name][self.turn] + self.after


LEADING = ({Where(ORDER, 0, 3): "leverage:5"},)
"""What is no fault and leads along steps an undisturbed close does not take: here the symbol's leverage is set anew."""

KEPT = (
    (1, {Where(ORDER, 1): "late:3000", Where(ORDER, 1, 1): "clock:3600"}),
    (1, {Where(ORDER, 0): "late:4900", Where(ORDER, 0, 1): "suspend:30"}),
    (1, {Where("GET /fapi/v1/time", 0): "suspend:30"}),
    (1, {Where("GET /fapi/v1/time", 1): "suspend:30"}),
    (1, {Where(KLINES, 0): "suspend:7000"}),
    (1, {Where("GET /fapi/v1/userTrades", 0): "key"}),
    (
        2,
        {
            Where(ORDER, 0): "hidden_lost:8000",
            Where(ORDER, 0, 5): "die_after",
            Where(ORDER, 0, 6): "wake",
            Where(ORDER, 0, 24): "hidden:8000",
        },
    ),
    (2, {Where(ORDER, 0, -4): "adl", Where(ORDER, 0): "hang_not_executed"}),
    (2, {Where(ORDER, 0): "hang_not_executed", Where(ORDER, 0, 5): "liquidate"}),
    (2, {Where(ORDER, 0, 2): "flatten", Where(ORDER, 0, 26): "hand:-37"}),
    (1, {Where(ORDER, 1, -1): "stall:13", Where(ORDER, 1, 2): "late:4900"}),
    (1, {Where(ORDER, 1, -1): "stall:13", Where(ORDER, 1, 2): "die_late:4900"}),
    (1, {Where(ORDER, 1, -1): "stall:6000"}),
    (1, {Where(LOOK, 1): "hand:37"}),
    (2, {Where(LOOK, 2, 1): "deposit:-1900"}),
    (2, {Where(KLINES, 0): "halt", Where(KLINES, 0, 1): "restored:9"}),
    (2, {Where(ORDER, 0, -4): "hand:-9947", Where(ORDER, 0): "die_hidden:8000"}),
    (2, {Where(ORDER, 1, 4): "rolled:4", Where(ORDER, 1, 14): "leverage:5"}),
    (2, {Where(ORDER, 0): "hand:-9947", Where(ORDER, 0, 4): "hand:37"}),
)
"""Closes and faults of plans that once broke a promise, or nearly, and must never do so again."""

KNOWN: dict[str, tuple[tuple[Where, str], ...]] = {
    "naive_retry": ((Where(ORDER, 0), "lose_answer"),),
    "retry_around_send": ((Where(ORDER, 1), "lose_answer"),),
    "new_id_on_retry": ((Where(ORDER, 1), "drop_request"),),
    "query_then_resend": ((Where(ORDER, 1), "late:3000"),),
    "one_look": ((Where(ORDER, 1), "hidden_lost:17200"),),
    "wall_clock_believed": ((Where(ORDER, 1), "late:3000"), (Where(ORDER, 1, 1), "clock:3600")),
    "written_before_the_stall": ((Where(ORDER, 1, -1), "stall:13"), (Where(ORDER, 1, 2), "late:4900")),
    "stall_slept_through": ((Where(ORDER, 1, -1), "stall:6000"),),
    "unsynced_journal": ((Where(ORDER, 1, 2), "power"),),
    "forming_candle": ((Where(KLINES, 0), "late_candle"),),
    "local_time": ((Where("boot", 0), "clock:5"),),
    "fills_not_awaited": ((Where(ORDER, 1), "hidden:8000"),),
    "guard_after_send": ((Where(ORDER, 1, -3), "halt"),),
    "reconcile_skipped": ((Where(COMMIT, 0), "hand:37"),),
    "empty_is_flat": ((Where(LOOK, 2), "no_positions"),),
    "unknown_is_rejected": ((Where(ORDER, 1), "lose_answer"),),
    "written_after_the_post": (),
    "full_disk_ignored": ((Where(ORDER, 1, -1), "full"),),
    "age_not_looked_at": ((Where(ORDER, 0), "die_before_long"),),
    "opens_on_a_failed_close": ((Where(ORDER, 0), "code:-4131"),),
    "open_orders_forgotten": ((Where(ORDER, 1), "die_after"),),
    "restart_sends_first": ((Where(ORDER, 1), "die_after"),),
    "secret_in_the_message": ((Where(ORDER, 0), "code:-4131"),),
    "refusal_not_heeded": ((Where(ORDER, 1), "code:-4061"),),
    "whole_order_again": ((Where(ORDER, 1), "partial:0.5"),),
    "resume_overheard": ((Where(ORDER, 1), "code:-4061"),),
    "client_heard_at_debug": (),
    "one_leg_stops_all": ((Where(ORDER, 3), "code:-4131"),),
    "unsent_settled_first": ((Where("GET /fapi/v1/premiumIndex", 14), "status:418"),),
    "stop_placed_blindly": ((Where(PLACE, 0), "lose_answer"),),
    "stop_taken_for_a_person_s": ((Where(ORDER, 0, -3), STOP),),
    "stop_shrugged_off": ((Where(ORDER, 0, -3), STOP),),
    "stop_not_written_down": (),
    "looked_at_twice": ((Where(LOOK, 1), "deposit:1900"),),
    "withdrawal_is_a_loss": ((Where(LOOK, 2, 1), "deposit:-1900"),),
    "fee_must_be_usdt": ((Where(ORDER, 0), "bnb"),),
    "fee_taken_for_usdt": ((Where(ORDER, 0), "bnb_once"),),
    "resume_lifts_all": ((Where(KLINES, 0), "resume_adl"),),
    "traces_not_looked_for": ((Where(COMMIT, 0), "hand_round:37"),),
    "resting_order_ignored": ((Where(COMMIT, 0), "hand_rest:37"),),
    "unsent_sent_unseen": ((Where(ORDER, 1, -1), "die_before"), (Where(ORDER, 1), "hand:9947")),
    "restore_forgets": ((Where(ORDER, 0, -3), "halt"), (Where(ORDER, 0, 1), "restored:9")),
    "stops_before_everything": ((Where(COMMIT, 0), "out_post:122400"),),
    "missing_stop_shrugged_off": ((Where(PLACE, 0), "out_down:64800"),),
    "forgotten_name_used_again": ((Where(PLACE, 0, 1), "restored:2"),),
}
"""The faults that find each planted bug, and where they have to strike; none where every run does."""

OF_ALL = ("code:-1008", "code:-1021", "status:", "die", *RESTRICTING)
"""How the faults of an order begin that concern all orders: the rest is the matter of its own symbol."""
_STRIDE = 7  # has no divisor in common with the legs of a basket, so that faults walk through all of them


@dataclass(frozen=True)
class Plan:
    """Faults by the number of the step they meet, and, for a plan that is drawn as it goes, its seed.

    What is drawn begins at a step that is drawn as well, below `spread`: a long close is not only met at its beginning.
    """

    faults: dict[int, str] = field(default_factory=dict)
    seed: int | None = None
    spread: int = 1

    def __str__(self) -> str:
        if self.seed is not None:
            return f"seed:{self.seed}" + (f":{self.spread}" if self.spread > 1 else "")
        return json.dumps({str(step): kind for step, kind in sorted(self.faults.items())})

    @classmethod
    def read(cls, text: str) -> "Plan":
        """Read one line of `str(plan)`: its faults, `seed:N` or `seed:N:SPREAD`."""
        if text.startswith("seed:"):
            seed, _, spread = text.removeprefix("seed:").partition(":")
            return cls(seed=int(seed), spread=int(spread or 1))
        return cls({int(step): kind for step, kind in json.loads(text).items()})

    @classmethod
    def at(cls, strikes: Mapping[Where, str], trace: Sequence[str]) -> "Plan":
        """Place faults along the steps of an undisturbed run."""
        return cls({where.number(trace): kind for where, kind in strikes.items()})

    def without(self, step: int) -> "Plan":
        """Leave one fault out."""
        return Plan({at: kind for at, kind in self.faults.items() if at != step})

    def dealer(self, events: Sequence[str] = EVENTS) -> "Dealer":
        """Return what deals the faults of one run."""
        return Dealer(self, events)


class Dealer:
    """Deals the fault of every step, and remembers what it dealt so that a seed becomes a plan."""

    def __init__(self, plan: Plan, events: Sequence[str]) -> None:
        self._faults = plan.faults
        self._events = events
        self._dice = None if plan.seed is None else random.Random(plan.seed)
        self.dealt: dict[int, str] = {}
        self.over = False
        self.puts_back = any(puts_back(kind) for kind in plan.faults.values())
        if self._dice is not None:
            self._rate = self._dice.choice((0.02, 0.05, 0.1, 0.25))
            self._order_rate = self._dice.choice((0.2, 0.5, 0.8))
            self._left = self._dice.choice((1, 2, 3, 3, 4, 6))
            self._outside = self._dice.random() < 0.3
            self.puts_back = self._dice.random() < 0.1
            # drawn last, and not at all without a spread: a seed draws what it always drew
            self._first = self._dice.randrange(plan.spread) if plan.spread > 1 else 0

    def deal(self, step: int, name: str) -> str | None:
        """Return what happens to a step."""
        if self.over:
            return None
        kind = self._faults.get(step) if self._dice is None else self._drawn(step, name)
        if kind is not None:
            self.dealt[step] = kind
        return kind

    def waits(self, step: int) -> bool:
        """Whether a fault is planned for that step or a later one; nothing is planned where it is drawn."""
        return self._dice is None and any(at >= step for at in self._faults)

    def _drawn(self, step: int, name: str) -> str | None:
        if step < 0:
            return self._set_up()
        return self._draw(name) if step >= self._first else None

    def _set_up(self) -> str | None:
        assert self._dice is not None
        return self._dice.choice(SKEWS) if self._dice.random() < 0.05 else None

    def _draw(self, name: str) -> str | None:
        assert self._dice is not None
        rate = self._order_rate if name in (ORDER, PLACE) else self._rate
        if self._left == 0 or self._dice.random() >= rate:
            return None
        self._left -= 1
        if self.puts_back and self._dice.random() < 0.3:
            return self._dice.choice(RESTORES)
        if self._outside and self._dice.random() < 0.4:
            return self._dice.choice(self._events)
        return self._dice.choice(kinds_of(name))


def kinds_of(name: str) -> tuple[str, ...]:
    """Return everything that can go wrong at a step of that name, events aside."""
    if name.startswith(COMMIT):
        return COMMIT_KINDS + STALLS
    if name == KLINES:
        return READ_KINDS + KLINES_KINDS
    return ORDER_KINDS if name == ORDER else STOP_KINDS if name == PLACE else READ_KINDS


def paired_kinds(name: str, after: str = "") -> tuple[str, ...]:
    """Return the kinds that are tried in pairs: of answers that mean the same to a reader, one.

    A commit that stands still is among them where an order is the step `after` it.
    """
    if name.startswith(COMMIT):
        return PAIRED_COMMIT_KINDS + (STALLS if after == ORDER else ())
    if name == KLINES:
        return PAIRED_KLINES_KINDS
    return PAIRED_ORDER_KINDS if name == ORDER else PAIRED_READ_KINDS


def singles(trace: Sequence[str], events: Sequence[str] = EVENTS) -> Iterator[Plan]:
    """Give every plan of one fault or event along the steps of an undisturbed run, and every clock set wrongly."""
    for kind in SKEWS:
        yield Plan({-1: kind})
    for step, name in enumerate(trace):
        for kind in (*kinds_of(name), *events):
            yield Plan({step: kind})


def basket(trace: Sequence[str]) -> Iterator[Plan]:
    """Give every plan of one fault anywhere in the close of a basket, and of one event before any of its orders."""
    for step, name in enumerate(trace):
        for kind in (*kinds_of(name), *(EVENTS if name == ORDER else ())):
            yield Plan({step: kind})


def legs(trace: Sequence[str]) -> Iterator[Plan]:
    """Give every kind of fault that an order, klines or a commit can meet once, each in another leg of a basket."""
    for name, kinds in ((ORDER, ORDER_KINDS), (KLINES, KLINES_KINDS), (COMMIT, COMMIT_KINDS)):
        steps = [step for step, one in enumerate(trace) if one == name]
        for number, kind in enumerate(kinds):
            yield Plan({steps[number * _STRIDE % len(steps)]: kind})


def apart(trace: Sequence[str]) -> Iterator[Plan]:
    """Give what can go wrong first in a basket: every kind once for each name of a step, walking through the legs."""
    for name in dict.fromkeys(trace):
        steps = [step for step, one in enumerate(trace) if one == name]
        for number, kind in enumerate(paired_kinds(name, ORDER)):
            yield Plan({steps[number * _STRIDE % len(steps)]: kind})


def beside(first: Plan, trace: Sequence[str]) -> Iterator[Plan]:
    """Give every plan that adds a fault of another symbol's order: of the next one, and of one some legs later."""
    (at,) = first.faults
    later = [step for step, name in enumerate(trace) if name == ORDER and step > at]
    for step in (*later[:1], *later[_STRIDE : _STRIDE + 1]):
        for kind in PAIRED_ORDER_KINDS:
            yield Plan({**first.faults, step: kind})


def near_stops(trace: Sequence[str], events: Sequence[str]) -> Iterator[Plan]:
    """Give those plans of one fault that strike from the first look at a stop until one is placed, or trigger one."""
    first = next(step for step, name in enumerate(trace) if name.endswith("/algoOrder"))
    for plan in singles(trace, events):
        ((step, kind),) = plan.faults.items()
        if first <= step <= trace.index(PLACE) + 2 or kind == STOP:
            yield plan


def seconds(first: Plan, trace: Sequence[str]) -> Iterator[Plan]:
    """Give every plan that adds a later fault to a plan of one, along the steps that plan really took."""
    (at,) = first.faults
    for step in range(at + 1, len(trace)):
        for kind in paired_kinds(*trace[step : step + 2]):
            yield Plan({**first.faults, step: kind})


def firsts(trace: Sequence[str]) -> Iterator[Plan]:
    """Give the first faults of all pairs, and what leads where no single fault does."""
    for step in range(len(trace)):
        for kind in paired_kinds(*trace[step : step + 2]):
            yield Plan({step: kind})
    yield from (Plan.at(strikes, trace) for strikes in LEADING)


def is_event(kind: str) -> bool:
    """Whether somebody outside did it: after such a thing a halt is the right answer."""
    return kind in EVENTS or kind in SKEWS or kind == STOP or (is_odd(kind) and not puts_back(kind))


def ends_a_life(kind: str) -> bool:
    """Whether a process dies of it, or its journal cannot be written."""
    return kind in COMMIT_KINDS or kind.startswith("die") or puts_back(kind)


def argument(kind: str) -> tuple[str, Any]:
    """Split `late:3000` into its name and its number."""
    name, _, number = kind.partition(":")
    return name, float(number) if number else None
