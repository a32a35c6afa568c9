"""Plans of odd things that come in twos: what the phases `odd` and `outages` have beside one thing at every step."""

from collections.abc import Iterator, Sequence
from itertools import product

from tests.proof.odd import OUTAGES
from tests.proof.plan import ORDER, PLACE, STOP, Plan, kinds_of

MEANWHILE = ("hand:37", "hand:-9947", "hand_rest:37", "adl", "liquidate", "deposit:1900", "halt", "flatten",
             "leverage:5", "clock:5", "suspend:7000", "rolled:1", "rolled:2")  # fmt: skip
"""What happens while an account is accepted, beside what can go wrong with each step of it."""


def before_restores(steps: Sequence[int]) -> Iterator[Plan]:
    """Give every plan in which somebody asks for something, or trades, a little before an older journal is put back."""
    for step in steps:
        for event, later, way in product(("halt", "flatten", "hand:-9947"), (1, 4, 13), ("restored", "rolled")):
            yield Plan({step: event, step + later: f"{way}:9"})


def forgotten_posts(trace: Sequence[str]) -> Iterator[Plan]:
    """Give every plan in which an older journal is put back while an order or a stop may be under way, or undone."""
    for step, name in enumerate(trace):
        if name not in (ORDER, PLACE):
            continue
        kinds = {"late:4900", "hidden:8000", "hidden_lost:8000", "lose_answer", "drop_request"}.intersection(
            kinds_of(name)
        )
        for kind, back in product(sorted(kinds), (1, 2, 4, 9)):
            yield Plan({step: kind, step + 1: f"rolled:{back}"})
        for event, later in product(("adl", "hand:37"), (4, 7, 12)):
            yield Plan({step + 1: "rolled:1", step + 1 + later: event})


def after_deaths(steps: Sequence[int]) -> Iterator[Plan]:
    """Give every plan in which somebody trades just after the process died."""
    for step in steps:
        for kind, event in product(("die_before", "die_after"), ("hand:9947", "hand:-9947")):
            yield Plan({step: kind, step + 1: event})


def while_accepted(event: Plan, starts: Sequence[int], trace: Sequence[str], *, stops: bool) -> Iterator[Plan]:
    """Give every plan of one thing more in the start that a person asks for to accept what somebody traded.

    Args:
        event: what there is to accept.
        starts: the steps at which the lives begin that follow on it; the last is the one that accepts.
        trace: all steps.
        stops: whether a position has a stop, which may trigger.
    """
    for step in range(starts[-1], len(trace)):
        for kind in (*kinds_of(trace[step]), *MEANWHILE, *((STOP, *OUTAGES[::3]) if stops else ())):
            yield Plan({**event.faults, step: kind})


def during_outages(steps: Sequence[int]) -> Iterator[Plan]:
    """Give every plan of an outage of the stop service in which something else happens at a later step."""
    for step in steps:
        for mode, (kind, later) in product(OUTAGES[1::9], (("die_before", 5), ("flatten", 17), ("halt", 3), (STOP, 2))):
            yield Plan({step: mode, step + later: kind})


def beside_stops(steps: Sequence[int]) -> Iterator[Plan]:
    """Give every plan of a stop that triggers a little before or after somebody trades, or takes the key away."""
    for step in steps:
        for event, later in product(("hand:37", "hand:9947", "key"), (1, 19)):
            yield Plan({step: event, step + later: STOP})
            yield Plan({step: STOP, step + later: event})
