"""Where gateways are opened: one function for every venue."""

from collections.abc import Mapping
from typing import Literal

from trader.errors import ConfigError
from trader.exchange.binance import BinanceGateway
from trader.exchange.calls import Calls
from trader.exchange.clock import VenueClock
from trader.exchange.limits import Limiter
from trader.exchange.loopback import Loopback
from trader.exchange.wire import Wire

Venue = Literal["sim", "testnet", "live"]

_PARALLEL = 8
_LONGEST_WINDOW = 5000


def open_gateway(
    venue: Venue,
    *,
    key: str,
    secret: str,
    clock: VenueClock,
    loopback: Loopback | None = None,
    timeout: float = 10.0,
    recv_window: int = _LONGEST_WINDOW,
    share: float = 1.0,
) -> BinanceGateway:
    """Open a gateway; no request is made and no socket opened yet.

    Args:
        venue: `live` uses the production hosts, the others the demo hosts.
        key: API key, empty for public data only.
        secret: its secret.
        clock: the venue's clock; one for gateway, scheduler and limiters.
        loopback: where every host is to be found instead; required for `sim`, refused for `live`.
        timeout: seconds for a whole request.
        recv_window: milliseconds for which a request counts as fresh, less than the timeout and at most 5000.
        share: how much of the weight limits to use; a long fetch leaves the rest to the daemon at this address.

    Raises:
        ConfigError: these do not go together.
    """
    _require_fit(venue, key, secret, loopback, timeout, recv_window)
    limiter = Limiter(clock, share)

    def heard(headers: Mapping[str, str]) -> None:
        clock.heard(headers)
        limiter.heard(headers)

    wire = Wire(
        demo=venue != "live",
        key=key,
        secret=secret,
        clock=clock,
        heard=heard,
        loopback=loopback,
        timeout=timeout,
        recv_window=recv_window,
    )
    # One by one over a loopback, so that the n-th request of a run is always the same.
    parallel = 1 if loopback is not None else _PARALLEL
    calls = Calls(wire, clock, limiter, secrets=(key, secret) if key else (), parallel=parallel)
    return BinanceGateway(calls, algo_orders=loopback is None, tells_rights=venue == "live" or loopback is not None)


def _require_fit(
    venue: Venue, key: str, secret: str, loopback: Loopback | None, timeout: float, recv_window: int
) -> None:
    if venue == "live" and loopback is not None:
        raise ConfigError("A loopback cannot be given to the live venue; leave out TRADER_EXCHANGE__LOOPBACK.")
    if venue == "sim" and loopback is None:
        raise ConfigError("The embedded exchange is reached over a loopback; give its port and authority.")
    if bool(key) != bool(secret):
        raise ConfigError("An API key and its secret belong together; set both or neither.")
    if not 0 < recv_window <= _LONGEST_WINDOW or recv_window >= timeout * 1000:
        raise ConfigError(
            f"A receive window of {recv_window} ms does not fit a timeout of {timeout:g} s; it must be at most "
            f"{_LONGEST_WINDOW} ms and shorter than the timeout."
        )
