"""Count request weight and orders in the venue's own minutes and ten seconds, and ban who does not back off."""

from typing import Any

from trader.sim.errors import Refusal

MINUTE = 60_000
TEN_SECONDS = 10_000
_DAY = 86_400_000
# After so many refusals in one minute the address is banned, each time within three days for longer.
_PATIENCE = 10
_BANS = (2 * MINUTE, 10 * MINUTE, 60 * MINUTE, 6 * 60 * MINUTE, _DAY, 3 * _DAY)
_SPANS = {("SECOND", 10): ("orders-10s", TEN_SECONDS), ("MINUTE", 1): ("orders-1m", MINUTE)}


class Limits:
    """Keep the counters in ``windows`` (name to [window number, used]), which the ledger persists."""

    def __init__(self, rate_limits: list[dict[str, Any]], windows: dict[str, list[int]]) -> None:
        self.windows = windows
        self.weight_limit = 2400
        self.order_limits: list[tuple[str, int, int]] = []
        for row in rate_limits:
            span = (row["interval"], int(row["intervalNum"]))
            if row["rateLimitType"] == "REQUEST_WEIGHT" and span == ("MINUTE", 1):
                self.weight_limit = int(row["limit"])
            elif row["rateLimitType"] == "ORDERS" and span in _SPANS:
                name, length = _SPANS[span]
                self.order_limits.append((name, length, int(row["limit"])))

    def spend(self, now: int, weight: int) -> int:
        """Add a request's weight; gives the weight used this minute or refuses with Retry-After."""
        self._check_ban(now)
        used = self._add("weight", now // MINUTE, weight)
        if used > self.weight_limit:
            if self._add("refused", now // MINUTE, 1) > _PATIENCE:
                self._ban(now)
                self._check_ban(now)
            raise Refusal(
                -1003,
                f"Too many requests; current limit of IP(127.0.0.1) is {self.weight_limit} requests per minute. "
                "Please use the websocket for live updates to avoid bans.",
                status=429,
                retry_after=_rest(now, MINUTE),
            )
        return used

    def _ban(self, now: int) -> None:
        until, level = self.windows.get("ban", [0, -1])
        level = min(level + 1, len(_BANS) - 1) if now - until < 3 * _DAY else 0
        self.windows["ban"] = [now + _BANS[level], level]

    def _check_ban(self, now: int) -> None:
        until = self.windows.get("ban", [0])[0]
        if now < until:
            raise Refusal(
                -1003,
                f"Way too many requests; IP(127.0.0.1) banned until {until}. "
                "Please use the websocket for live updates to avoid bans.",
                status=418,
                retry_after=-(-(until - now) // 1000),
            )

    def order(self, now: int) -> None:
        """Add one order to every window, or refuse with Retry-After."""
        for name, length, limit in self.order_limits:
            if self._add(name, now // length, 1) > limit:
                raise Refusal(
                    -1015,
                    f"Too many new orders; current limit is {limit} orders per {length // 1000} seconds.",
                    status=429,
                    retry_after=_rest(now, length),
                )

    def weight(self, now: int) -> int:
        """Give the weight used in the minute of ``now``."""
        return self._used("weight", now // MINUTE)

    def order_headers(self, now: int) -> dict[str, str]:
        """Give the order counters as the headers of an answer."""
        return {
            "X-MBX-ORDER-COUNT-10S": str(self._used("orders-10s", now // TEN_SECONDS)),
            "X-MBX-ORDER-COUNT-1M": str(self._used("orders-1m", now // MINUTE)),
        }

    def _used(self, name: str, window: int) -> int:
        kept = self.windows.get(name)
        return kept[1] if kept and kept[0] == window else 0

    def _add(self, name: str, window: int, amount: int) -> int:
        used = self._used(name, window) + amount
        self.windows[name] = [window, used]
        return used


def _rest(now: int, length: int) -> int:
    return max(1, -(-(length - now % length) // 1000))
