"""Sockets: which hosts may be reached, whom TLS trusts, and that nothing is ever sent twice behind our back."""

import socket
import ssl
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import aiohttp
import certifi
from aiohttp.abc import AbstractResolver, ResolveResult

from trader.errors import ConfigError

_ADDRESS = "127.0.0.1"


@dataclass(frozen=True, slots=True)
class Loopback:
    """A server on this machine that stands in for every host: its port, and the one authority TLS then trusts."""

    port: int
    ca_file: Path


class RedirectRefused(aiohttp.ClientError):
    """An answer pointed elsewhere; following it would carry a signed request to another host."""


class _Pinned(AbstractResolver):
    """Answers the same address and port for every host name, so that no other host can be reached at all."""

    def __init__(self, port: int) -> None:
        self._port = port

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        return [
            ResolveResult(
                hostname=host,
                host=_ADDRESS,
                port=self._port,
                family=socket.AF_INET,
                proto=0,
                flags=socket.AI_NUMERICHOST,
            )
        ]

    async def close(self) -> None:
        """Do nothing: there is nothing to release."""


def open_session(loopback: Loopback | None) -> aiohttp.ClientSession:
    """Open an HTTP session of the running event loop: no proxy, no redirects, TLS always verified.

    Raises:
        ConfigError: the loopback's authority cannot be read.
    """
    connector = aiohttp.TCPConnector(
        ssl=trust(loopback), resolver=_Pinned(loopback.port) if loopback else None, enable_cleanup_closed=False
    )
    trace = aiohttp.TraceConfig()
    trace.on_request_redirect.append(_refuse_redirect)
    return aiohttp.ClientSession(connector=connector, trust_env=False, trace_configs=[trace])


def trust(loopback: Loopback | None) -> ssl.SSLContext:
    """Return whom TLS trusts: the loopback's authority alone, else the public roots.

    Raises:
        ConfigError: the loopback's authority cannot be read.
    """
    if loopback is None:
        return ssl.create_default_context(cafile=certifi.where())
    try:
        return ssl.create_default_context(cafile=loopback.ca_file)
    except (OSError, ssl.SSLError) as error:
        raise ConfigError(
            f"The certificate authority {loopback.ca_file} of the loopback cannot be read ({error.strerror or error}); "
            "give the ca.pem that the embedded exchange names when it is ready."
        ) from error


async def _refuse_redirect(
    _session: aiohttp.ClientSession, _context: SimpleNamespace, _redirect: aiohttp.TraceRequestRedirectParams
) -> None:
    raise RedirectRefused
