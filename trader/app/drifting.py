"""After every close: does the account still do what its decisions should? Else only reducing is allowed."""

from datetime import datetime

from structlog.typing import FilteringBoundLogger

from trader.app.expecting import Follower, costs_of, fill_costs
from trader.domain.decision import State
from trader.errors import TraderError
from trader.execution.fills import Costs
from trader.journal.journal import Journal
from trader.live.control import Control
from trader.research.drift import WINDOW, DriftLimits, alarm

DRIFT = "drift"
"""By whose word the state is REDUCING then."""


class DriftWatch:
    """Compare the account with its expectation over the last closes; a resume counts anew.

    Args:
        journal: the daemon's own.
        costs: what trading is expected to cost.
        limits: how far reality may fall behind.
        control: changes the state.
        log: says what could not be measured.
    """

    def __init__(
        self, journal: Journal, costs: Costs, limits: DriftLimits, control: Control, log: FilteringBoundLogger
    ) -> None:
        self._journal = journal
        self._costs = costs
        self._limits = limits
        self._control = control
        self._log = log
        self._follower: Follower | None = None
        self._since: datetime | None = None

    def renew(self, limits: DriftLimits) -> None:
        """Measure by other limits from now on."""
        self._limits = limits

    def look(self) -> None:
        """Measure, and restrict the daemon to reducing where something has drifted; never in the way of trading."""
        if self._limits == DriftLimits():
            return
        try:
            why = self._measure()
        except TraderError as error:
            self._log.error("drift not measured", error=str(error))
            return
        if why is not None:
            self._control.restrict(State.REDUCING, f"{why}: see `trader report live`, then `trader resume`", DRIFT)

    def _measure(self) -> str | None:
        since = self._journal.losses_since()
        if self._follower is None or since != self._since:
            recent = self._journal.decisions(last=WINDOW + 1)
            begin = max(since, recent[0].close) if len(recent) > WINDOW else since
            self._follower, self._since = Follower(self._journal, self._costs, begin), since
        self._follower.follow()
        points = self._follower.points[-WINDOW:]
        if not points:
            return None
        fills = costs_of(fill_costs(self._journal, self._costs, points[0].close))
        return alarm(points, fills, self._limits)
