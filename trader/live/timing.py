"""How long what an order came to may stay uncertain."""

from dataclasses import dataclass
from datetime import timedelta


@dataclass(frozen=True, slots=True)
class Timing:
    """How long an order may stay uncertain.

    `settle` is the time after a post is over at which an order the exchange does not know can no longer appear: HTTP
    timeout, receive window, clock error and a margin. `pause` is the first wait between two looks; each following one
    doubles.
    """

    settle: timedelta
    pause: timedelta = timedelta(milliseconds=500)
    looks: int = 8
    sends: int = 4
