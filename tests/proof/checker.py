"""The independent checker: what must hold after any plan, judged from the ledger and the journal's file alone.

It imports nothing of the product: orders are named again here, candles are built again from the tape's rows.
"""

import json
import zlib
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Any

from tests.proof import resting
from tests.proof.accounts import book, equity, money, peak, signed, stepped
from tests.proof.case import PACKED, Case
from tests.proof.people import ERROR, LATE, accepted, advice, forgotten, named, obeyed, seen_by, traded_since
from tests.proof.wishes import passing, reduced, unstopped

FOREIGN = ("web_", "autoclose-", "adl_autoclose", "settlement_autoclose-")
_STEP = 3_600_000
"""By how much a stepped clock may deceive a daemon until it measures it again, before the next order."""


def violations(case: Case) -> list[str]:
    """Return every broken promise of a run, in words."""
    checks = (
        _names, _one_effect, _planned, _limit, _timely, _durable, _nothing_opens_while_halted, _nothing_opens_on_top,
        _others_are_carried, _fills, _positions, _foreign_is_noticed, named, book, money, equity, peak, _candles, _due,
        reduced, obeyed, advice, _restrictions, passing, unstopped, _stops, _secrets,
    )  # fmt: skip
    return [f"{check.__name__.strip('_')}: {said}" for check in checks for said in check(case)]


def _ours(case: Case) -> list[dict[str, Any]]:
    return [row for row in case.orders if not str(row["client_id"]).startswith(FOREIGN)]


def _placed(case: Case, row: Mapping[str, Any]) -> int:
    """Return when what we sent reached the exchange: of an order that a stop became, the stop."""
    return next((int(one["create_time"]) for one in case.algos if one["order_id"] == row["order_id"]), int(row["time"]))


def _names(case: Case) -> Iterator[str]:
    """Every order of ours on the exchange was intended under a name that follows from its purpose."""
    known = {row["client_id"]: row for row in case.journal["orders"]}
    for row in case.journal["orders"]:
        if row["client_id"] != resting.name_of(case.terms.instance, row):
            yield f"{row['client_id']} is not the name of {row['leg']}{row['attempt']} at {row['close']}"
    for row in _ours(case):
        intent = known.get(row["client_id"])
        if row["client_id"] in _unheard(case) or forgotten(case, row["client_id"], _placed(case, row)):
            continue
        if intent is None:
            yield f"the exchange has {row['client_id']}, which the journal never intended"
        elif (Decimal(intent["quantity"]) > 0) != (row["side"] == "BUY"):
            yield f"{row['client_id']} went the wrong way"


def _one_effect(case: Case) -> Iterator[str]:
    """An order has one effect, however often it was posted, never more than its quantity, and a name of its own."""
    effects: dict[str, list[Decimal]] = defaultdict(list)
    for row in _ours(case):
        if Decimal(row["executed_qty"]) and not forgotten(case, row["client_id"], _placed(case, row)):
            effects[row["client_id"]].append(Decimal(row["executed_qty"]))
    back = case.put_back_at or 0
    old = {one.client_id for one in case.posted if one.at <= back and forgotten(case, one.client_id, one.at)}
    found = Counter(row["client_id"] for row in (*_ours(case), *case.algos) if row["client_id"] in old)
    found.subtract(
        row["client_id"] for row in case.orders if row["order_id"] in {one["order_id"] for one in case.algos}
    )
    if again := sorted(name for name, count in found.items() if count > 1):
        yield f"{again} are the names of two, one of which an older journal has forgotten"
    intended = {row["client_id"]: abs(Decimal(row["quantity"])) for row in case.journal["orders"]}
    for name, filled in effects.items():
        if len(filled) > 1:
            yield f"{name} was carried out {len(filled)} times"
        unknown = sum(filled) if name in _unheard(case) else Decimal(0)
        if sum(filled) > intended.get(name, unknown):
            yield f"{name} filled {sum(filled)} of {intended.get(name)}"


def _planned(case: Case) -> Iterator[str]:
    """All orders of a close together do no more than its decision says."""
    legs: dict[tuple[int, str, str], Decimal] = defaultdict(Decimal)
    decided = set()
    for row in case.journal["transcripts"]:
        decided.add(row["close"])
        for symbol, quantity, kind in json.loads(zlib.decompress(row["output"]))["legs"]:
            legs[row["close"], symbol, kind] += abs(Decimal(quantity))
    done: dict[tuple[int, str, str], Decimal] = defaultdict(Decimal)
    leg_of = {row["client_id"]: (row["close"], row["symbol"], row["leg"]) for row in case.journal["orders"]}
    for row in _ours(case):
        if row["client_id"] in leg_of and not forgotten(case, row["client_id"], _placed(case, row)):
            done[leg_of[row["client_id"]]] += Decimal(row["executed_qty"])
    for (close, symbol, leg), quantity in done.items():
        if leg not in "fs" and quantity > legs[close, symbol, leg]:
            yield f"the decision at {close} did {quantity} of {symbol} {leg} and decided {legs[close, symbol, leg]}"


def _limit(case: Case) -> Iterator[str]:
    """No position is ever larger than its limit, not even between two legs; others are counted where they were seen."""
    names, held = {row["order_id"]: row["client_id"] for row in case.orders}, defaultdict[str, Decimal](Decimal)
    by_hand = {row["trade_id"] for row in case.foreign}
    for trade in case.trades:
        symbol = trade["symbol"]
        held[symbol] += signed(trade)
        if trade["trade_id"] in by_hand:
            continue
        name = names[trade["order_id"]]
        if forgotten(case, name, trade["time"]):
            # nobody knows any more what was seen when it was sent
            continue
        sent = max((one.at for one in case.posted if one.client_id == name), default=0)
        known = held[symbol] - traded_since(case, symbol, seen_by(case, name, sent), trade["trade_id"])
        notional = min(abs(known), abs(held[symbol])) * Decimal(trade["price"])
        if notional > case.terms.limit:
            yield f"trade {trade['trade_id']} left {held[symbol]} of {symbol}, {notional} USDT"


def _timely(case: Case) -> Iterator[str]:
    """Nothing is carried out before its candle is closed, nor signed or carried out when the decision is too old.

    By the venue's clock; what the exchange refuses because it is old counts as sent too late all the same.
    """
    intents = {row["client_id"]: row for row in case.journal["orders"]}
    slack = _STEP if stepped(case) else 0
    for one in case.posted:
        intent = intents.get(one.client_id)
        if intent is not None and one.signed > intent["not_after"] + ERROR + slack:
            yield f"{one.client_id} left {one.signed - intent['not_after']} ms too late"
    for row in _ours(case):
        intent = intents.get(row["client_id"])
        if intent is None:
            continue
        if row["time"] < intent["close"]:
            yield f"{row['client_id']} was carried out {intent['close'] - row['time']} ms before its candle closed"
        latest = intent["not_after"] if intent["leg"] in "fs" else intent["close"] + case.terms.max_delay
        if row["time"] > latest + LATE + slack:
            yield f"{row['client_id']} was carried out {row['time'] - latest} ms too late"


def _durable(case: Case) -> Iterator[str]:
    """An order leaves only after its intent and its sending are in the file."""
    for one in case.posted:
        if not one.durable:
            yield f"{one.client_id} left before the journal's file held it as sent"


def _nothing_opens_while_halted(case: Case) -> Iterator[str]:
    """Nothing opens while the state, or a request not yet obeyed, says otherwise."""
    for one in case.posted:
        if not one.reduce_only and (one.state != "ACTIVE" or one.asked):
            yield f"{one.client_id} opened while {one.state}, asked for {one.asked}"


def _nothing_opens_on_top(case: Case) -> Iterator[str]:
    """Nothing opens while the account holds the other side."""
    for one in case.posted:
        if one.reduce_only or forgotten(case, one.client_id, one.at):
            continue
        symbol = one.client_id.split(".")[2]
        known = one.held - traded_since(case, symbol, seen_by(case, one.client_id, one.at), one.trades, stops=True)
        if known * one.quantity < 0 and one.held * one.quantity < 0:
            yield f"{one.client_id} opened {one.quantity} on top of {one.held}"


def _others_are_carried(case: Case) -> Iterator[str]:
    """What goes wrong with orders of some symbols keeps no other symbol from what was decided."""
    if case.legs is None:
        return
    ended = {row["close"]: row["positions"] for row in case.journal["decisions"] if row["positions"]}
    for row in case.journal["transcripts"]:
        wanted = json.loads(zlib.decompress(row["output"]))["quantities"]
        held = json.loads(ended.get(row["close"], "{}"))
        short = [name for name, amount in wanted.items() if Decimal(amount) != Decimal(held.get(name, 0))]
        if len(short) > case.legs:
            yield f"{case.legs} orders went wrong by {row['close']}, and {short} are not where they were to be"


def _fills(case: Case) -> Iterator[str]:
    """Every trade of ours is in the journal as the exchange tells it, and nothing else is."""
    if _locked_out(case) or _put_back_and_halted(case):
        return
    ours = {row["order_id"] for row in _ours(case)}
    # of what an older journal has forgotten only the account tells, which is accepted as it is
    since = 0 if case.put_back_at is None else case.journal["baselines"][-1]["at"]
    told = {
        (str(row["trade_id"]), signed(row), Decimal(row["price"]), _fee(row), row["time"])
        for row in case.trades
        if row["order_id"] in ours and row["time"] > since
    }
    kept = {
        (row["trade_id"], Decimal(row["quantity"]), Decimal(row["price"]), Decimal(row["fee"]), row["time"])
        for row in case.journal["fills"]
        if row["time"] > since
    }
    if told - kept:
        yield f"the journal misses {sorted(told - kept)}"
    foreign = {str(row["trade_id"]) for row in case.trades if row["order_id"] not in ours}
    if invented := {row for row in kept - told if row[0] not in foreign}:
        yield f"the journal invented {sorted(invented)}"
    if unfinished := [row["client_id"] for row in case.journal["orders"] if not row["final"]]:
        yield f"no end is known of {unfinished}"


def _put_back_and_halted(case: Case) -> bool:
    """Whether an older journal met what it does not know, and a person is asked to look."""
    states = case.journal["states"]
    return case.put_back_at is not None and bool(states) and states[-1]["state"] == "HALTED"


def _fee(row: Mapping[str, Any]) -> Decimal:
    """Return what a trade cost in USDT; what it cost in another coin is kept apart."""
    return Decimal(row["commission"]) if row["commission_asset"] == "USDT" else Decimal(0)


def _locked_out(case: Case) -> bool:
    """Whether the key was taken away and the daemon has stopped, knowing no more than it could read."""
    return "key" in case.outside and not case.ended_well


def _unheard(case: Case) -> set[str]:
    """Return the stops of which nobody could hear any more that they were triggered."""
    return {row["client_id"] for row in case.journal["stops"] if not row["final"]} if _locked_out(case) else set()


def _positions(case: Case) -> Iterator[str]:
    """The journal holds what the account holds, unless somebody else traded and nobody accepted it."""
    if not accepted(case) or _locked_out(case):
        return
    kept = {row["symbol"]: Decimal(row["quantity"]) for row in case.journal["positions"] if Decimal(row["quantity"])}
    if kept != case.held:
        yield f"the journal holds {kept}, the account {case.held}"


def _foreign_is_noticed(case: Case) -> Iterator[str]:
    """What somebody else traded keeps the daemon from trading on until a person has looked."""
    kept = {row["symbol"]: Decimal(row["quantity"]) for row in case.journal["positions"] if Decimal(row["quantity"])}
    if case.foreign and kept != case.held and case.ended_well:
        yield f"the journal holds {kept}, the account {case.held}, and the daemon trades on"


def _candles(case: Case) -> Iterator[str]:
    """A decision is made on whole closed candles, the last of which closes exactly then, and in time."""
    decided = {row["close"]: row for row in case.journal["decisions"]}
    texts = {row["id"]: json.loads(zlib.decompress(row["data"])) for row in case.journal["blocks"]}
    for row in case.journal["transcripts"]:
        told = [texts[number] for first, last in json.loads(row["blocks"]) for number in range(first, last + 1)]
        if row["close"] % case.terms.interval or not told:
            yield f"the decision at {row['close']} was made on no candle that closes then"
        meant = {name for one in told for name in one["symbol"]}
        for symbol in sorted(meant.difference(json.loads(zlib.decompress(row["inputs"])).get("without", ()))):
            own = [
                (one["close_time"], close)
                for one in told
                for name, close in zip(one["symbol"], one["close"], strict=True)
                if name == symbol
            ]
            if own[-1][0] != row["close"]:
                yield f"the decision at {row['close']} was made on candles of {symbol} up to {own[-1][0]}"
            elif [(time, case.terms.closes[symbol].get(time)) for time, _ in own] != own:
                yield f"the candles of {symbol} at {row['close']} are not the tape's"
        late = decided[row["close"]]["decided_at"] - row["close"]
        if not stepped(case) and not 0 <= late <= case.terms.max_delay:
            yield f"the close {row['close']} was decided {late} ms after it"


def _due(case: Case) -> Iterator[str]:
    """Every close is decided where nothing stood in the way."""
    closed = {row["close"] for row in case.journal["decisions"] if row["status"] == "closed"}
    if missed := sorted(set(case.due) - closed):
        yield f"the closes {missed} were not decided"


def _restrictions(case: Case) -> Iterator[str]:
    """A refusal that only a person can mend restricts the daemon, nothing else does, and resuming is enough.

    Whoever died, or could not write, before the refusal was written down has not heard it: the order is looked for and
    sent again. Where a person has resumed, `sides` are what the next close wants.
    """
    # what only waits for a stop ends by itself, once that rests: see `passing`
    states = [row for row in case.journal["states"] if row["by"] != "missing stop"]
    if case.restricted and case.undying and not any(row["state"] != "ACTIVE" for row in states):
        yield f"an order was refused with {sorted(case.restricted)}, and nothing keeps the next one from opening"
    if case.outside:
        return
    for row in states:
        known = {state for kind, state in case.restricted.items() if kind.partition(":")[2] in row["why"]}
        if row["state"] != "ACTIVE" and row["state"] not in known:
            yield f"nobody outside did anything, and a person is needed: {row['why']}"
    if states and states[-1]["state"] != "ACTIVE":
        yield f"nobody outside did anything, and the daemon stays {states[-1]['state']}: {states[-1]['why']}"
    if wrong := {name: side for name, side in case.sides.items() if case.held.get(name, Decimal(0)) * side <= 0}:
        yield f"a person has resumed, and the next close left {case.held} where {wrong} was wanted"


def _stops(case: Case) -> Iterator[str]:
    """Exactly one stop rests for every position, none where nothing is held, and what triggered is explained."""
    algos = [
        row for row in case.algos if row["status"] == "NEW" or not forgotten(case, row["client_id"], row["create_time"])
    ]
    yield from resting.misplaced(algos, case.journal["stops"], case.terms.instance)
    if case.ended_well:
        yield from resting.unprotected(algos, case.journal, case.held if case.stops else {})


def _secrets(case: Case) -> Iterator[str]:
    """No secret, and no signed address, is in anything that was written, nor in what is packed in the journal."""
    rows = [row for name in PACKED for row in case.journal[name]]
    packed = b"".join(
        zlib.decompress(row[name]) for row in rows for name in ("inputs", "output", "data") if name in row
    )
    yield from resting.leaks(case.canaries, {**case.written, "the journal's transcripts": packed})
