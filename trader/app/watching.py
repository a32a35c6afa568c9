"""Show a running daemon: what its loop tells of itself, and the page that is served beside it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from time import monotonic
from typing import TYPE_CHECKING

import trader
from trader.app.assembly import Assembly
from trader.app.strategies import wire_limits
from trader.config import Settings
from trader.log import register_secret
from trader.status.board import Board, Facts, Instance
from trader.status.health import overdue
from trader.status.sight import Sight

if TYPE_CHECKING:
    from trader.metrics import Metrics
    from trader.status.server import Exposition, Server

PERIOD = 1.0
_CLOCK_OFFSET = timedelta(seconds=1)
_MILLISECOND = timedelta(milliseconds=1)


class Watch:
    """What there is to see of a running daemon, for whoever shows it."""

    def __init__(self, one: Assembly, settings: Settings) -> None:
        self._one = one
        self._settings = settings
        self._ready = False
        self._out_since: datetime | None = None
        self._next: datetime | None = None
        self._wakes: datetime | None = None
        strategy = one.loaded.strategy
        self.instance = Instance(
            version=trader.__version__,
            venue=settings.venue,
            dry_run=settings.dry_run,
            generated=one.venue.generated,
            strategy=strategy.name,
            symbols=tuple(strategy.symbols),
            interval=strategy.interval,
            started=datetime.now(UTC),
            worth=lambda: self._one.loaded.worth,
            max_clock_offset=lambda: wire_limits(self._settings, self._one.loaded).max_clock_offset or _CLOCK_OFFSET,
        )
        self.board = Board(self._facts())

    def ready(self) -> None:
        """Tell that the daemon has recovered and waits for closes."""
        self._ready = True
        self.tell()

    def waits(self, since: datetime | None) -> None:
        """Tell that the start waits for an exchange that is out; None where it does not any more."""
        self._out_since = since
        self.tell()

    def follow(self, one: Assembly, settings: Settings) -> None:
        """Show another configuration of the same instance from now on."""
        self._one, self._settings = one, settings
        self.tell()

    def tell(self) -> None:
        """Tell how things are now; called by the daemon's own loop alone."""
        self.board.put(self._facts())

    def sight(self) -> Sight:
        """Open a view of the journal, for the calling thread."""
        return Sight(self._one.journal.path, self.instance, self.board)

    @asynccontextmanager
    async def shown(self, settings: Settings) -> AsyncIterator[None]:
        """Tell once a second, and serve the page where the settings want one, as long as the block runs."""
        telling = asyncio.create_task(self._tell_on())
        server = self._server(settings) if settings.status.enabled else None
        try:
            if server is not None:
                server.start()
            yield
        finally:
            telling.cancel()
            if server is not None:
                server.stop()

    def _server(self, settings: Settings) -> "Server":
        from trader.status.guard import Guard
        from trader.status.server import Server

        token = "" if settings.status_token is None else settings.status_token.get_secret_value()
        if token:
            register_secret(token)
        return Server(
            settings.status.host,
            settings.status.port,
            Guard(token),
            self.board,
            self.sight,
            self._exposition(),
            self._one.log,
        )

    async def _tell_on(self) -> None:
        while True:
            self.tell()
            await asyncio.sleep(PERIOD)

    def _facts(self) -> Facts:
        venue = self._one.venue
        now = venue.clock.now()
        # two looks at a clock are not the same moment
        offset = _MILLISECOND * round((now - venue.clock.local()) / _MILLISECOND)
        self._expect(now, offset)
        return Facts(
            told=monotonic(),
            now=now,
            ready=self._ready,
            wakes=self._wakes,
            clock_offset=offset,
            clock_error=venue.clock.error,
            weights=venue.gateway.usage(),
            cooldown=venue.gateway.cooldown,
            out_since=self._out_since,
        )

    def _expect(self, now: datetime, offset: timedelta) -> None:
        """Work out when the next close will be reached, once for each: on an embedded exchange time jumps to it."""
        upcoming, pace = self.instance.interval.following(now), self._one.venue.pace
        if not self._one.venue.tape:
            # a real venue's time is this machine's, but for the offset
            self._wakes = upcoming - offset
        elif upcoming != self._next:
            self._wakes = None if pace == float("inf") else datetime.now(UTC) + (upcoming - now) / pace
        self._next = upcoming

    def _exposition(self) -> "Exposition":
        """Return how metrics are made; what makes them is loaded when somebody first asks."""
        from trader.status.server import Exposition

        kept, since = list["Metrics"](), self._one.venue.clock.now()

        def info() -> dict[str, str]:
            # another model may have taken the place of the one it began with
            worth = self._one.loaded.worth
            return {
                "version": self.instance.version,
                "venue": self.instance.venue,
                "strategy": self.instance.strategy,
                "model": worth.name,
                "verdict": worth.verdict,
            }

        def make(sight: Sight) -> bytes:
            from trader.metrics import Metrics

            if not kept:
                kept.append(Metrics(info, since))
            facts = self.board.facts
            lag = overdue(sight.journal, self.instance.interval, facts.now)
            return kept[0].exposition(sight.journal, facts, lag=lag, silent=self.board.silent_for())

        return Exposition("text/plain; version=0.0.4; charset=utf-8", make)
