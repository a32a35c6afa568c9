"""What is done about an order the exchange refused for good: one action a code."""

from enum import Enum, auto

from trader.errors import Rejected


class Action(Enum):
    """What follows on a refusal; whatever it is, the order itself is at its end (unless its twin is open)."""

    LOOK = auto()
    """An order of that name is open: look it up."""
    RECONCILE = auto()
    """There is nothing to reduce: the position is gone already, and reconciliation says how."""
    RECOMPUTE = auto()
    """The rules have changed: read them again and send once what they allow."""
    SHRINK = auto()
    """The margin does not suffice: send one smaller order if that is wanted, else stand aside."""
    STAND_ASIDE = auto()
    """Nothing more now; the next close plans again from what is held."""
    REDUCE = auto()
    """The account may only reduce: nothing is opened until a person resumes."""
    HALT = auto()
    """Nothing sent later could end better before a person has looked: halt."""


_ACTIONS = {
    -4116: Action.LOOK,
    # the second: a closing order where there is nothing to close
    **dict.fromkeys((-2022, -4509), Action.RECONCILE),
    # sizes, ticks, price bounds and least notional that are others than those the order was made by
    **dict.fromkeys((-1111, -4002, -4003, -4004, -4005, -4013, -4014, -4016, -4023, -4024, -4164), Action.RECOMPUTE),
    -2019: Action.SHRINK,
    **dict.fromkeys((-2027, -2028, -4130, -4131, -4140), Action.STAND_ASIDE),
    **dict.fromkeys((-4192, -4400, -4401, -4402, -4403), Action.REDUCE),
    **dict.fromkeys((-1002, -1022, -2014, -2015, -4060, -4061), Action.HALT),
}
_BARRED = frozenset({403, 451})


def action_of(error: Rejected) -> Action:
    """Return what follows on a refusal; a code that is not in the table means standing aside."""
    if error.status in _BARRED:
        return Action.HALT
    return _ACTIONS.get(error.code or 0, Action.STAND_ASIDE)


def bars(error: Exception) -> bool:
    """Whether a key or an address is refused, or an account's mode, which concerns every order."""
    return isinstance(error, Rejected) and action_of(error) is Action.HALT
