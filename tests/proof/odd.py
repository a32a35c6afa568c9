"""Odd things as data: what a reading of the code found and no plan of faults could meet.

Money that comes or goes, fees in another coin, what operators ask for, what somebody trades by hand, an older journal
put back, and an outage of the service that stops rest in. Like every other kind each is one word at one step.
"""

DEPOSITS = ("deposit:1900", "deposit:-1900")
"""Beyond both loss limits where it is misread, and too little for the limit of a position."""

FEES = ("bnb", "bnb_once")
"""Fees are charged in BNB from now on, or for one trade."""

ASKED = ("halt", "flatten", "halt_resume")
REQUESTS = (
    "resume",
    "resume_halt",
    "resume_flatten",
    "flatten_resume",
    "halt_flatten",
    "resume_adl",
    "resume_liquidate",
)
"""Asked for in this order, in one breath; the last two are asked for just before something is found."""

HANDS = ("hand:9947", "hand:-9947", "hand:-20000", "hand_round:37", "hand_rest:37")
"""Somebody doubles what is held, closes it, turns it, trades without leaving a trace, or lets an order rest."""

RESTORES = tuple(f"{way}:{back}" for way in ("restored", "rolled") for back in (1, 2, 4, 9, 99))
"""The process dies, and the journal's file is what it was so many commits ago: put back by `trader journal restore`, or
copied by hand. Before the first commit there is only the beginning."""

ODD = (*DEPOSITS, *FEES, *REQUESTS, *HANDS)

_MODES = ("down", "hang", "lost", "post")
OUTAGES = tuple(f"out_{mode}:{seconds}" for mode in _MODES for seconds in (3_600, 64_800, 122_400))
"""The service that stops rest in is out for so many seconds: an hour, over the next close, over the next two.

It answers with 503, or never, or carries everything out and loses the answers; in the last mode only no stop is placed.
"""

_DOWN = {
    "out_down": ("service_unavailable_503", "service_unavailable_503"),
    "out_hang": ("hang_not_executed", "hang"),
    "out_lost": ("lose_answer", "lose_answer"),
    "out_post": ("service_unavailable_503", None),
}
"""What becomes of a stop that is placed meanwhile, and of every other request about stops."""

_INNOCENT = ("deposit", "bnb", "bnb_once", "wake", *_DOWN)
_ASKING = (*ASKED, *REQUESTS[:5])
_NAMES = frozenset(kind.partition(":")[0] for kind in (*ODD, *RESTORES, *OUTAGES))


def is_odd(kind: str) -> bool:
    """Whether a kind is one of these."""
    return kind.partition(":")[0] in _NAMES


def puts_back(kind: str) -> bool:
    """Whether an older journal is put in the place of the newest."""
    return kind.partition(":")[0] in ("restored", "rolled")


def is_outage(kind: str) -> bool:
    """Whether the service that stops rest in is out."""
    return kind.partition(":")[0] in _DOWN


def is_innocent(kind: str) -> bool:
    """Whether it is no reason to restrict the daemon, and none to ask for a person."""
    return kind.partition(":")[0] in _INNOCENT


def leaves_closes_due(kind: str) -> bool:
    """Whether every close has to be decided all the same; a close that is decided halted sends nothing."""
    return is_innocent(kind) or kind in _ASKING


def answer_in(outage: str, name: str) -> str | None:
    """Return what becomes of a request while the service is out."""
    if not name.rpartition("/")[2].lower().endswith(("algoorder", "algoorders")):
        return None
    placing, other = _DOWN[outage.partition(":")[0]]
    return placing if name.startswith("POST") else other
