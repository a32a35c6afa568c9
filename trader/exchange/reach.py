"""Look whether the exchange's host can be reached at all: its address, its certificate, and how long that took."""

import asyncio
import socket
import ssl
from dataclasses import dataclass
from datetime import UTC, datetime
from time import monotonic

from trader.errors import NotSent
from trader.exchange.loopback import Loopback, trust

_PORT = 443
_HOSTS = {"live": "fapi.binance.com"}
_DEMO_HOST = "demo-fapi.binance.com"


@dataclass(frozen=True, slots=True)
class Certificate:
    """What the host showed: who vouches for it, until when, and the seconds that connecting took."""

    issuer: str
    expires: datetime
    seconds: float


def host_of(venue: str) -> str:
    """Return the host on which a venue's futures are traded."""
    return _HOSTS.get(venue, _DEMO_HOST)


async def addresses_of(host: str) -> list[str]:
    """Return the addresses of a host.

    Raises:
        NotSent: its name cannot be resolved.
    """
    try:
        found = await asyncio.get_running_loop().getaddrinfo(host, _PORT, type=socket.SOCK_STREAM)
    except OSError as error:
        raise NotSent(
            f"The name {host} cannot be resolved ({error.strerror or error}); check /etc/resolv.conf and the network."
        ) from error
    return sorted({str(address[0]) for *_, address in found})


async def certificate_of(host: str, loopback: Loopback | None, seconds: float) -> Certificate:
    """Connect over TLS as every request does, and return the certificate that was shown.

    Raises:
        ConfigError: the loopback's authority cannot be read.
        NotSent: nobody listens, or the certificate is not trusted.
    """
    at = (host, _PORT) if loopback is None else ("127.0.0.1", loopback.port)
    context, began = trust(loopback), monotonic()
    try:
        async with asyncio.timeout(seconds):
            _, writer = await asyncio.open_connection(*at, ssl=context, server_hostname=host)
    except ssl.SSLCertVerificationError as error:
        raise NotSent(
            f"The certificate of {host} is not trusted ({error.verify_message}); check this machine's clock, and that "
            "no proxy opens its traffic."
        ) from error
    except (OSError, TimeoutError) as error:
        reason = getattr(error, "strerror", None) or type(error).__name__
        raise NotSent(
            f"{host} does not answer on port {at[1]} ({reason}); check firewall and network, and the exchange's own "
            "status page."
        ) from error
    shown = writer.get_extra_info("peercert")
    took = monotonic() - began
    writer.transport.abort()
    issuer = {name: value for part in shown["issuer"] for name, value in part}
    expires = datetime.fromtimestamp(ssl.cert_time_to_seconds(shown["notAfter"]), UTC)
    return Certificate(issuer.get("organizationName") or issuer.get("commonName", "unknown"), expires, took)
