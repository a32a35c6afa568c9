"""Everything that decides closes under one configuration; another configuration is another desk."""

from dataclasses import dataclass

from trader.decide import Strategy
from trader.live.control import Control, Flattener
from trader.live.cycle import Cycle, Terms


@dataclass(frozen=True, slots=True)
class Desk:
    """What the daemon takes over as a whole, between two closes."""

    strategy: Strategy
    terms: Terms
    cycle: Cycle
    control: Control
    flattener: Flattener
