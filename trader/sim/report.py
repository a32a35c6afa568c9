"""Write the whole ledger down for whoever checks it."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from decimal import Decimal
from typing import Any

from trader.sim.desk import Desk
from trader.sim.ledger import Ledger
from trader.sim.wire import dump


def write_report(desk: Desk, ledger: Ledger, late: Sequence[tuple[int, int, Mapping[str, str]]], tape_end: int) -> str:
    """Write everything the exchange knows as one JSON object; money and quantities are texts."""
    account, state, books = desk.venue.account, desk.state, desk.books
    return dump(
        {
            "time": desk.venue.now,
            "tape": desk.tape.name,
            "tape_end": tape_end,
            "equity_start": str(desk.terms.equity),
            "wallet": str(account.wallet),
            "dual": account.dual,
            "multi_assets": account.multi_assets,
            "requests": state.requests,
            "counts": state.counts,
            "orders": [_row(each) for each in books.orders],
            "algos": [_row(each) for each in books.algos.values()],
            "trades": [_row(each) for each in books.trades],
            "incomes": [_row(each) for each in books.incomes],
            "positions": [_row(each) for each in account.positions.values()],
            "settings": [_row(each) for each in account.settings.values()],
            "switches": desk.switches.document(),
            "banned_until": state.windows.get("ban", [0])[0],
            "faults": [{"plan": plan, "fired": fired} for _, plan, fired in ledger.faults()],
            "fault_log": ledger.fault_log(),
            "late": [{"due": due, "params": params} for due, _, params in late],
        }
    )


def _row(record: Any) -> dict[str, Any]:
    return {name: str(value) if isinstance(value, Decimal) else value for name, value in asdict(record).items()}
