"""More of the independent checker: money, as journal and decisions tell it and as the ledger had it at that moment."""

import json
import zlib
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from decimal import Decimal
from typing import Any

from tests.proof.case import Case

_PEAK, _PAID = "peak", "paid_elsewhere"
_ROUNDING = Decimal("0.01")
_EXACT = Decimal("1e-12")
"""How far a product may be from another, as a fraction."""


def signed(row: Mapping[str, Any]) -> Decimal:
    """Return the quantity of a trade, negative where it sold."""
    return Decimal(row["qty"]) * (1 if row["side"] == "BUY" else -1)


def stepped(case: Case) -> bool:
    """Whether the machine's clock was moved, so that the journal's times are not the venue's."""
    return any(kind.startswith("clock") for kind in case.outside)


def moments(rows: Iterable[Mapping[str, Any]], lowest: int, until: int) -> list[int]:
    """Return the earliest moment of a span and every one at which a row of it changed something."""
    return sorted({lowest, *(row["time"] for row in rows if lowest < row["time"] <= until)})


def held_at(case: Case, moment: int) -> dict[str, Decimal]:
    """Return what the account held."""
    held: dict[str, Decimal] = defaultdict(Decimal)
    for row in case.trades:
        if row["time"] <= moment:
            held[row["symbol"]] += signed(row)
    return {symbol: quantity for symbol, quantity in held.items() if quantity}


def money(case: Case) -> Iterator[str]:
    """Every booking is in the journal, and they make the wallet, to the last digit; fees in other coins are told."""
    begun = case.journal["baselines"][-1]
    bookings = [row for row in _in_usdt(case) if row["time"] >= begun["at"]]
    told = {(str(row["tran_id"]), Decimal(row["income"])) for row in bookings}
    kept = {(row["id"], Decimal(row["amount"])) for row in case.journal["incomes"] if row["time"] >= begun["at"]}
    if kept - told:
        yield f"the journal invented bookings {sorted(kept - told)}"
    last = max((row["time"] for row in case.journal["incomes"]), default=begun["at"])
    times = {str(row["tran_id"]): row["time"] for row in bookings}
    if missed := {one for one in told - kept if times[one[0]] < last - 60_000}:
        yield f"the journal misses bookings {sorted(missed)}"
    if told == kept and Decimal(begun["wallet"]) + sum((amount for _, amount in kept), Decimal(0)) != case.wallet:
        yield f"the bookings do not make the wallet of {case.wallet}"
    fills = {row["trade_id"] for row in case.journal["fills"]}
    abroad: dict[str, Decimal] = defaultdict(Decimal)
    for row in case.trades:
        if row["commission_asset"] != "USDT" and str(row["trade_id"]) in fills:
            abroad[row["commission_asset"]] += Decimal(row["commission"])
    said = next((row["value"] for row in case.journal["meta"] if row["key"] == _PAID), "{}")
    if {coin: Decimal(amount) for coin, amount in json.loads(said).items()} != abroad:
        yield f"fees in other coins were {dict(abroad)}, and the journal says {said}"


def equity(case: Case) -> Iterator[str]:
    """What a close says of wallet, position and equity is what the ledger had at one moment after its orders.

    A close that sends none is finished on the look it was decided on. On a machine whose clock was stepped meanwhile
    the times of the journal say nothing, so any moment will do.
    """
    settled: dict[int, int] = defaultdict(int)
    for row in case.journal["orders"]:
        if row["leg"] not in "fs":
            settled[row["close"]] = max(settled[row["close"]], row["settled_at"] or 0)
    decisions = {row["close"]: row for row in case.journal["decisions"]}
    for row in case.journal["equity"]:
        one = decisions[row["close"]]
        looked_from = one["claimed_at"]
        if row["close"] in settled:
            # one that fell short may have been settled again since, as a later start found it
            looked_from = max(one["decided_at"], min(settled[row["close"]], one["finished_at"]))
        said = {symbol: Decimal(held) for symbol, held in json.loads(one["positions"]).items() if Decimal(held)}
        what = f"the close {row['close']} says"
        yield from _explained(
            case, what, (looked_from, one["finished_at"]), said, Decimal(row["equity"]), Decimal(row["wallet"])
        )


def book(case: Case) -> Iterator[str]:
    """A decision is made on what the account was worth and held at one moment: unknown is never taken for nothing.

    What an order did that the exchange hides for a while, and an older journal has forgotten, nobody can know.
    """
    if case.put_back_at is not None and any("hidden" in kind for _, kind in case.dealt):
        return
    decided = {row["close"]: row for row in case.journal["decisions"]}
    for row in case.journal["transcripts"]:
        given = json.loads(zlib.decompress(row["inputs"]))["book"]
        said = {symbol: Decimal(held) for symbol, held in given["positions"].items() if Decimal(held)}
        one = decided[row["close"]]
        what = f"the close {row['close']} was decided on"
        yield from _explained(case, what, (one["claimed_at"], one["decided_at"]), said, Decimal(given["equity"]))


def _explained(
    case: Case,
    what: str,
    span: tuple[int, int],
    held: Mapping[str, Decimal],
    worth: Decimal,
    wallet: Decimal | None = None,
) -> Iterator[str]:
    """Say where no moment of a span had this position, this wallet where it is said, and an equity like this.

    What somebody opens on a flat account is in no answer that leaves the positions out, and nothing tells of it then.
    """
    if not held and case.foreign and any(kind == "no_positions" for _, kind in case.dealt):
        return
    lowest, until = (0, 1 << 62) if stepped(case) else span
    times = moments([*case.trades, *case.incomes], lowest, until)
    seen = [(at, _wallet_at(case, at), held_at(case, at)) for at in times]
    like = [one for one in seen if one[2] == held]
    if not like:
        yield f"{what} {dict(held)}, the account held {[one[2] for one in seen]}"
        return
    alike = [one for one in like if wallet is None or one[1] == wallet]
    if not alike:
        yield f"{what} a wallet of {wallet}, the ledger had {sorted({one[1] for one in like})}"
        return
    if stepped(case):
        return
    after = dict(zip(times, [*times[1:], until], strict=True))
    spans = [_worth(case, at, after[at], had) for at, had, _ in alike]
    if not any(low - _ROUNDING <= worth <= high + _ROUNDING for low, high in spans):
        yield f"{what} an equity of {worth}, which lay within {spans}"


def _worth(case: Case, since: int, until: int, wallet: Decimal) -> tuple[Decimal, Decimal]:
    """Return the least and the most the account was worth with what it held at first, by the prices of a span."""
    low = high = wallet
    for symbol, (quantity, cost) in _costs(case, since).items():
        prices = [Decimal(repr(price)) for price in case.terms.span(symbol, since, until)]
        ends = sorted(quantity * price - cost for price in prices)
        low, high = low + ends[0], high + ends[1]
    return low, high


def _costs(case: Case, moment: int) -> dict[str, tuple[Decimal, Decimal]]:
    """Return quantity and cost of every position: what is taken off takes its share of the cost with it."""
    held: dict[str, tuple[Decimal, Decimal]] = {}
    for row in case.trades:
        if row["time"] > moment:
            continue
        quantity, cost = held.get(row["symbol"], (Decimal(0), Decimal(0)))
        change, price = signed(row), Decimal(row["price"])
        after = quantity + change
        if quantity * change >= 0:
            cost += change * price
        elif quantity * after >= 0:
            cost = cost * after / quantity
        else:
            cost = after * price
        held[row["symbol"]] = after, cost
    return {symbol: one for symbol, one in held.items() if one[0]}


def peak(case: Case) -> Iterator[str]:
    """The peak that losses are counted from is the highest equity decided on, and money that is moved multiplies it.

    By what it did to the equity: what was 12 % below the peak before half of it was withdrawn is 12 % below it then.
    """
    if stepped(case) or case.put_back_at is not None:
        return
    decided = {row["close"]: row for row in case.journal["decisions"]}
    events: list[tuple[int, str, Any]] = [(row["at"], "baseline", row) for row in case.journal["baselines"]]
    events += [(row["at"], "resumed", row) for row in case.journal["states"] if _lifted_by_hand(row)]
    events += [(decided[row["close"]]["decided_at"], "decided", row) for row in case.journal["transcripts"]]
    transfers = [one for one in case.incomes if one["income_type"] == "TRANSFER"]
    # the highest equity and what had been moved in by then: one more than one where money came while it was looked at
    highest = {(Decimal(0), Decimal(0))}
    for at, what, row in sorted(events, key=lambda one: (one[0], one[1])):
        if what == "baseline":
            highest = {(Decimal(row["equity"]), _moved_in(case, at))}
        elif what == "resumed":
            highest = {(Decimal(0), come) for _, come in highest}
        else:
            given = json.loads(zlib.decompress(row["inputs"]))["book"]
            equity, told = Decimal(given["equity"]), Decimal(given["peak_equity"])
            looked = [_moved_in(case, one) for one in moments(transfers, decided[row["close"]]["claimed_at"], at)]
            found = {(_after(before, equity, come - had), come) for come in looked for before, had in highest}
            highest = {(one, come) for one, come in found if abs(one - told) <= _EXACT * told}
            if not highest:
                wanted = sorted(one for one, _ in found)
                yield f"the close {row['close']} counts losses from {told} and not from {wanted}"
                highest = found


def _after(before: Decimal, equity: Decimal, moved: Decimal) -> Decimal:
    """Return the highest equity once a look has found this much, of which so much was moved in since the one before."""
    unmoved = equity - moved
    if not moved or not before:
        return max(before, equity)
    return max(before / unmoved * equity, equity) if unmoved > 0 else before


def _lifted_by_hand(row: Mapping[str, Any]) -> bool:
    return row["state"] == "ACTIVE" and "resumed" in row["why"]


def _in_usdt(case: Case) -> list[dict[str, Any]]:
    return [row for row in case.incomes if row["asset"] == "USDT"]


def _moved_in(case: Case, moment: int) -> Decimal:
    rows = (row for row in case.incomes if row["income_type"] == "TRANSFER" and row["time"] <= moment)
    return sum((Decimal(row["income"]) for row in rows), Decimal(0))


def _wallet_at(case: Case, moment: int) -> Decimal:
    return sum((Decimal(row["income"]) for row in _in_usdt(case) if row["time"] <= moment), case.equity_start)
