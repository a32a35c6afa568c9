"""Remember what control calls have changed about exchange and key, so that it survives a restart."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from decimal import Decimal
from typing import Any

from trader.sim.floor import Floor
from trader.sim.instruments import Instrument, make_instrument, read_brackets


@dataclass(slots=True)
class Switches:
    """Hold plain JSON values. A symbol of "" means all.

    ``entries`` changes rows of exchangeInfo (its filters by name), ``brackets`` leverage tables, ``fees`` (maker,
    taker), ``rules`` (code, message) refuses what would open, ``rights`` changes apiRestrictions, ``revoked`` the key,
    ``skew`` shows another time than the venue's, in milliseconds, ``fee_burn`` pays fees in BNB.
    """

    entries: dict[str, dict[str, Any]] = field(default_factory=dict)
    brackets: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    fees: dict[str, list[str]] = field(default_factory=dict)
    rules: dict[str, list[Any]] = field(default_factory=dict)
    rights: dict[str, Any] = field(default_factory=dict)
    revoked: bool = False
    skew: int = 0
    fee_burn: bool = False

    def document(self) -> dict[str, Any]:
        """Give what is kept on disk."""
        return asdict(self)

    def change_symbol(self, symbol: str, changes: Mapping[str, Any], filters: Mapping[str, Any]) -> None:
        """Add changes of a row of exchangeInfo to those made before."""
        kept = self.entries.setdefault(symbol, {"filters": {}})
        kept.update(changes)
        for name, values in filters.items():
            kept["filters"][name] = {**kept["filters"].get(name, {}), **values}

    def apply(self, floor: Floor, given: Mapping[str, Instrument], instruments: dict[str, Instrument]) -> None:
        """Let everything take effect: on the floor, and on ``instruments`` made anew from the ``given`` ones."""
        for symbol in self.entries.keys() | self.brackets.keys():
            instruments[symbol] = self._changed(given[symbol])
        floor.fees = {symbol: (Decimal(maker), Decimal(taker)) for symbol, (maker, taker) in self.fees.items()}
        floor.burn = self.fee_burn
        floor.rules = {symbol: (int(code), str(message)) for symbol, (code, message) in self.rules.items()}

    def _changed(self, instrument: Instrument) -> Instrument:
        changes = dict(self.entries.get(instrument.symbol, {}))
        filters = changes.pop("filters", {})
        entry = {**instrument.entry, **changes}
        entry["filters"] = [{**row, **filters.get(row["filterType"], {})} for row in entry["filters"]]
        table = self.brackets.get(instrument.symbol)
        return make_instrument(entry, instrument.brackets if table is None else read_brackets(table))
