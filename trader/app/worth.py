"""What a strategy is worth: as its model's card says, or as its rule was last judged where nothing was fitted."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

from trader.config import PortfolioFile
from trader.errors import ConfigError
from trader.forecast.artifact import Model
from trader.forecast.carry import CarryForecaster

_UNWEIGHED = (
    "its card says what its direction is worth and nothing of a position in proportion to the forecast; train it again"
)
UNJUDGED = "nothing has judged this rule at these costs in this data directory yet; `trader evidence` does"
_SAME = 1e-9  # of a cost, which is written in ten digits


@dataclass(frozen=True, slots=True)
class Worth:
    """A verdict and whose it is.

    `hash` is the identity that an overrule names: of card and weights, or of the strategy file where nothing was
    fitted. `expires` is None for what does not age. `gates` say what was measured and needed, by name. `card` is what
    a journal keeps of it, as JSON text. `per_side` is what trading one unit of notional cost where it was judged.
    """

    name: str
    hash: str
    verdict: str
    reason: str
    expires: datetime | None
    gates: Mapping[str, Any] = field(repr=False)
    card: str = field(repr=False)
    per_side: float = 0.0

    def expecting(self, cost: float) -> "Worth":
        """Return what is left of it where trading one unit of notional costs so much: a GO at lower costs is none."""
        if self.verdict != "GO" or self.per_side >= cost * (1 - _SAME):
            return self
        reason = (
            f"it was judged at costs of {self.per_side:.4%} a side, and {cost:.4%} are expected; train it again at "
            "these costs, or set those that you pay"
        )
        return replace(self, verdict="UNJUDGED", reason=reason)

    def expired(self, at: datetime) -> bool:
        """Whether it is too old at that instant."""
        return self.expires is not None and at >= self.expires


def of_model(model: Model, policy: Literal["sign", "proportional"]) -> Worth:
    """Return what a model's card says of a policy: the card's own verdict is of the direction alone."""
    told = json.loads(model.card.to_bytes())
    found: Mapping[str, Any] = told
    if policy == "proportional":
        beside = (told["evidence"] or {}).get("proportional", {})
        found = beside if "verdict" in beside else {"verdict": "UNJUDGED", "reason": _UNWEIGHED, "gates": {}}
    verdict, reason, gates = (found[name] for name in ("verdict", "reason", "gates"))
    costs = (told["evidence"] or {}).get("costs", {})
    card = model.card.to_bytes().decode()
    return Worth(
        model.name, model.hash, verdict, reason, model.card.expires, gates, card, float(costs.get("per_side", 0.0))
    )


def of_rule(name: str, identity: str, judged: Mapping[str, Any] | None = None) -> Worth:
    """Return what was judged of a rule to which nothing was fitted, by its strategy file's hash."""
    found = judged or {"verdict": "UNJUDGED", "reason": UNJUDGED, "gates": {}}
    card = json.dumps({"name": name, **found}, sort_keys=True)
    return Worth(name, identity, str(found["verdict"]), str(found["reason"]), None, found["gates"], card)


def rule_hash(file: PortfolioFile) -> str:
    """Return the identity of what a verdict depends on: every setting but name, guards and the way of sending."""
    settled = file.model_dump_json(exclude={"name", "risk", "execution"})
    return hashlib.sha256(settled.encode()).hexdigest()


class Verdicts:
    """The last verdict on every rule, a file each, in a folder that need not exist yet.

    A verdict holds for the settings and for the code that was judged, at costs no lower than those that are expected:
    the forecaster's own answer to a panel that never changes tells one code from another.
    """

    def __init__(self, store: Path) -> None:
        """Use the folder `store` of the data directory."""
        self._folder = store / "verdicts"

    def keep(self, file: PortfolioFile, forecaster: CarryForecaster, evidence: Mapping[str, Any], at: datetime) -> None:
        """Write a verdict down, in the place of an earlier one.

        Raises:
            ConfigError: the folder cannot be written.
        """
        kept = {
            "verdict": evidence["verdict"],
            "reason": evidence["reason"],
            "gates": evidence["gates"],
            "horizon": evidence["horizon"],
            "at": at.isoformat(),
            "per_side": evidence["costs"]["per_side"],
            "code": forecaster.signature(),
        }
        path = self._folder / f"{rule_hash(file)}.json"
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            fresh = path.with_suffix(".new")
            fresh.write_text(json.dumps(kept))
            fresh.replace(path)
        except OSError as error:
            raise ConfigError(
                f"The verdict cannot be written to {path}: {error.strerror}; point TRADER_DATA_DIR to a directory that "
                "this user may write."
            ) from error

    def of(self, file: PortfolioFile, forecaster: CarryForecaster, cost: float) -> Mapping[str, Any] | None:
        """Return the last verdict on a rule, None where it was never judged as it is computed now, or at a lower cost.

        `cost` is what one unit of notional is expected to cost to trade.

        Raises:
            ConfigError: what was written cannot be read.
        """
        path = self._folder / f"{rule_hash(file)}.json"
        try:
            kept: dict[str, Any] = json.loads(path.read_text())
            current = kept["code"] == forecaster.signature() and kept.get("per_side", 0.0) >= cost * (1 - _SAME)
            return {name: kept[name] for name in ("verdict", "reason", "gates", "horizon", "at")} if current else None
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ConfigError(
                f"The verdict in {path} cannot be read ({error}); run `trader evidence` again, or remove the file."
            ) from error
