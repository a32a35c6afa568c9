"""Our own count of what the exchange counts, so that it never has to refuse."""

from collections import deque
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime, timedelta

from trader.errors import Denied, RateLimited
from trader.exchange.answers import RateLimit
from trader.exchange.clock import VenueClock

_SECONDS = {"SECOND": 1, "MINUTE": 60, "HOUR": 3600, "DAY": 86400}
_LETTERS = {"SECOND": "s", "MINUTE": "m", "HOUR": "h", "DAY": "d"}
_DEFAULTS = (
    RateLimit(rate_limit_type="REQUEST_WEIGHT", interval="MINUTE", interval_num=1, limit=2400),
    RateLimit(rate_limit_type="ORDERS", interval="SECOND", interval_num=10, limit=300),
    RateLimit(rate_limit_type="ORDERS", interval="MINUTE", interval_num=1, limit=1200),
)


class Window:
    """What was used in the last `length`, at most `limit`.

    The exchange counts in fixed windows of its own clock. Any stretch of that length stays within the limit here, so
    the answer does not depend on where its windows begin.
    """

    def __init__(self, length: timedelta, limit: int, header: str) -> None:
        self.length = length
        self.limit = limit
        self.header = header
        self._uses: deque[tuple[datetime, int]] = deque()
        self._total = 0

    def used(self, now: datetime) -> int:
        """Return what was used up to now."""
        if self._uses and self._uses[-1][0] > now:
            # The clock was corrected backwards; an old use must not count for longer than a whole window.
            self._uses = deque((min(at, now), amount) for at, amount in self._uses)
        while self._uses and self._uses[0][0] <= now - self.length:
            self._total -= self._uses.popleft()[1]
        return self._total

    def use(self, now: datetime, amount: int) -> None:
        """Count a use."""
        if amount > 0:
            self._uses.append((now, amount))
            self._total += amount

    def observe(self, now: datetime, used: int) -> None:
        """Take the exchange's own count: what we do not know of was used by others at this address."""
        self.use(now, used - self.used(now))

    def free_at(self, now: datetime, amount: int) -> datetime:
        """Return when so much more may be used: `now`, or when enough of the old has passed.

        Raises:
            Denied: it can never be.
        """
        if amount > self.limit:
            raise Denied(
                f"A request of weight {amount} exceeds the exchange's whole limit of {self.limit}; ask for less."
            )
        excess = self.used(now) + amount - self.limit
        free = now
        for at, passed in self._uses:
            if excess <= 0:
                break
            excess -= passed
            free = at + self.length
        return free


class Limiter:
    """Weight and order counts of one address and account, on the venue's clock.

    Inside the limits nothing waits. Beyond them a read waits on the clock and an order is denied; while the exchange
    has told us to stay away, both are refused.

    Args:
        clock: the venue's clock.
        share: how much of the exchange's weight limits is ours; the rest is left to others at this address.
    """

    def __init__(self, clock: VenueClock, share: float = 1.0) -> None:
        self._clock = clock
        self._share = share
        self._weights: list[Window] = []
        self._orders: list[Window] = []
        self._cooldown: datetime | None = None
        self._keep: Callable[[datetime], None] = lambda until: None
        self.learn(_DEFAULTS)

    @property
    def cooldown(self) -> datetime | None:
        """Return until when the exchange wants no request at all, None where that has passed."""
        if self._cooldown is not None and self._cooldown <= self._clock.now():
            self._cooldown = None
        return self._cooldown

    def cool_down(self, until: datetime) -> None:
        """Refuse everything until then; an earlier time than already known changes nothing."""
        if self._cooldown is None or until > self._cooldown:
            self._cooldown = until
            self._keep(until)

    def keep(self, until: datetime | None, keep: Callable[[datetime], None]) -> None:
        """Go on with a cool-down that an earlier process kept, and keep every later one before it is obeyed."""
        if until is not None:
            self.cool_down(until)
        self._keep = keep

    def learn(self, limits: Iterable[RateLimit]) -> None:
        """Take today's limits; what was used stays counted."""
        for limit in limits:
            seconds = _SECONDS.get(limit.interval)
            windows = {"REQUEST_WEIGHT": self._weights, "ORDERS": self._orders}.get(limit.rate_limit_type)
            if seconds is None or windows is None:
                continue
            length = timedelta(seconds=seconds * limit.interval_num)
            ours = int(limit.limit * self._share) if windows is self._weights else limit.limit
            known = next((window for window in windows if window.length == length), None)
            if known is not None:
                known.limit = ours
                continue
            prefix = "x-mbx-used-weight" if windows is self._weights else "x-mbx-order-count"
            windows.append(Window(length, ours, f"{prefix}-{limit.interval_num}{_LETTERS[limit.interval]}"))

    def heard(self, headers: Mapping[str, str]) -> None:
        """Take the exchange's own counts from an answer's headers (lower-case names)."""
        now = self._clock.now()
        for window in (*self._weights, *self._orders):
            told = headers.get(window.header, "")
            if told.isdecimal():
                window.observe(now, int(told))

    def usage(self) -> dict[str, tuple[int, int]]:
        """Return what is used and what is ours to use by window, such as `weight-1m`."""
        now = self._clock.now()
        return {
            f"{kind}-{window.header.rpartition('-')[2]}": (window.used(now), window.limit)
            for kind, windows in (("weight", self._weights), ("orders", self._orders))
            for window in windows
        }

    async def admit(self, weight: int) -> None:
        """Count a request, waiting for its turn where the limit is reached.

        Raises:
            RateLimited: the exchange has told us to stay away.
        """
        while True:
            self._refuse_while_cooling()
            now = self._clock.now()
            free = max((window.free_at(now, weight) for window in self._weights), default=now)
            if free <= now:
                break
            await self._clock.sleep_until(free)
        for window in self._weights:
            window.use(now, weight)

    def admit_order(self) -> None:
        """Count an order; it never waits: whoever sends it may be asked again before it leaves.

        Raises:
            RateLimited: the exchange has told us to stay away, or an order limit is reached until then.
        """
        self._refuse_while_cooling()
        now = self._clock.now()
        for window in self._orders:
            if window.used(now) >= window.limit:
                raise RateLimited(
                    f"{window.limit} orders were sent within {window.length.total_seconds():.0f} seconds, the "
                    "exchange's limit; nothing was sent.",
                    retry_at=window.free_at(now, 1),
                )
        for window in self._orders:
            window.use(now, 1)

    def _refuse_while_cooling(self) -> None:
        until = self.cooldown
        if until is not None:
            raise RateLimited(
                f"The exchange wants no request before {until:%Y-%m-%d %H:%M:%S}Z; nothing was sent.", retry_at=until
            )
