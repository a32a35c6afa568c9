"""All the bugs that are planted, and the stage and the closes each is sought on."""

from tests.proof.planted import BUGS
from tests.proof.planted_beside import BESIDE_BUGS, OUTAGE_BUGS
from tests.proof.planted_in_a_basket import BASKET_BUGS
from tests.proof.planted_stops import STOP_BUGS
from tests.proof.planting import Bug

EVERY: dict[str, Bug] = BUGS | BASKET_BUGS | STOP_BUGS | BESIDE_BUGS | OUTAGE_BUGS
IN_A_BASKET = frozenset(BASKET_BUGS)
WITH_STOPS = frozenset(STOP_BUGS | OUTAGE_BUGS)
ODD_BUGS = frozenset(BESIDE_BUGS | OUTAGE_BUGS)
"""Those that only the plans of odd things find."""


def closes_of(name: str) -> int:
    """Return over how many closes a bug is sought."""
    return 5 if name in OUTAGE_BUGS else 2 if name in BESIDE_BUGS else 1
