"""A start that waits for an exchange which is out: who is patient, and who is told."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import datetime

from trader.app.alerting import Alerting
from trader.app.assembly import Assembly
from trader.app.pulse import Pulse
from trader.app.watching import Watch
from trader.config import Settings
from trader.journal.journal import Journal
from trader.live.patience import Begin, Outage, Patience, at_once
from trader.live.preflight import words
from trader.notify.alert import Alert, Severity

_MINUTE = "%Y-%m-%d %H:%MZ"


class Notice:
    """Say everywhere that the start waits, and to people once an outage."""

    def __init__(self, one: Assembly, pulse: Pulse, watch: Watch, alerts: Alerting) -> None:
        self._one = one
        self._pulse = pulse
        self._watch = watch
        self._alerts = alerts
        self._since: datetime | None = None

    def __call__(self, outage: Outage | None) -> None:
        """Hear of a try that met an outage, or that it is over."""
        if outage is None:
            self._watch.waits(None)
            self._alert(Severity.INFO, "The exchange answers again", "The start goes on; see `trader status`.")
            return
        # a service manager is told that it runs: it would end a start that takes for hours
        self._pulse.ready(
            f"{self._one.journal.state().state}: starting, the exchange is out since {outage.since:{_MINUTE}}; asked "
            f"again at {outage.again:%H:%M:%S}Z"
        )
        if self._since is None:
            self._since = outage.since
            self._one.lock.waits(outage.since)
            self._watch.waits(outage.since)
            held = words(self._one.journal.positions()) or "nothing"
            text = (
                f"{outage.why} It is asked again by itself, about once a minute, and nothing is decided or sent before "
                f"it answers. As the journal has it, {held} is held. Look at the network and at the exchange's own "
                "status page."
            )
            self._alert(Severity.WARNING, "The exchange is out, and the start waits for it", text)

    def _alert(self, severity: Severity, title: str, text: str) -> None:
        since = "" if self._since is None else self._since.isoformat()
        self._alerts.hand(Alert(f"out:{since}:{severity.value}", severity, title, text))
        self._alerts.look()


def patience(
    settings: Settings, one: Assembly, notice: Callable[[Outage | None], None], *, adopt: bool
) -> Callable[[Begin, asyncio.Event], Awaitable[bool]]:
    """Return how patiently an instance starts.

    An embedded exchange is a process of its own, and its end is a failure. Whoever adopts an account has looked at it
    now, so that a start which waits for hours would adopt another.
    """
    if settings.venue == "sim" or adopt:
        return at_once
    return Patience(notice, lambda: _idle(one.journal), one.log)


def _idle(journal: Journal) -> bool:
    """Whether neither an order nor a stop is on its way."""
    return not journal.open_intents() and all(stop.exchange_id is not None for stop in journal.standing_stops())
