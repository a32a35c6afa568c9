"""Fakes below the real client: a clock moved by hand, a session that answers from a script, a TLS server."""

import asyncio
import datetime as dt
import json
import ssl
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractContextManager, asynccontextmanager, nullcontext
from decimal import Decimal
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from trader.domain.order import OrderRequest
from trader.exchange.binance import BinanceGateway
from trader.exchange.factory import open_gateway
from trader.exchange.loopback import Loopback

KEY = "canaryKEYcanaryKEYcanaryKEY0001"
SECRET = "canarySECRETcanarySECRETcanary02"
START = dt.datetime(2024, 3, 5, 16, 0, 0, 7000, tzinfo=dt.UTC)
REQUEST = OrderRequest("t123456.abc.ADAUSDT.o0", "ADAUSDT", Decimal("25"), False)
FILLED: dict[str, object] = {
    "orderId": 4000000001,
    "clientOrderId": REQUEST.client_id,
    "symbol": "ADAUSDT",
    "status": "FILLED",
    "side": "BUY",
    "positionSide": "BOTH",
    "origQty": "25",
    "executedQty": "25",
    "avgPrice": "0.60010",
    "cumQuote": "15.0025",
    "reduceOnly": False,
    "updateTime": 1709654400010,
}


class FakeClock:
    """A clock that moves when it is slept on, or set."""

    def __init__(self, now: dt.datetime = START) -> None:
        self.time = now
        self.slept: list[dt.datetime] = []
        self.error = dt.timedelta(0)
        self.offset = dt.timedelta(0)
        self.headers: list[Mapping[str, str]] = []

    def now(self) -> dt.datetime:
        return self.time + self.offset

    def local(self) -> dt.datetime:
        return self.time

    async def sleep_until(self, moment: dt.datetime) -> None:
        self.slept.append(moment)
        await asyncio.sleep(0)
        self.time = max(self.time, moment - self.offset)

    def working(self) -> AbstractContextManager[None]:
        return nullcontext()

    def correct(self, offset: dt.timedelta, error: dt.timedelta) -> None:
        self.offset, self.error = offset, error

    def heard(self, headers: Mapping[str, str]) -> None:
        self.headers.append(headers)

    async def close(self) -> None:
        pass


class Reply:
    """One scripted HTTP answer."""

    def __init__(
        self, body: object, status: int = 200, headers: Mapping[str, str] | None = None, reason: str | None = "OK"
    ) -> None:
        self.text_body = body if isinstance(body, str) else json.dumps(body)
        self.status = status
        self.reason = reason
        self.headers = {"Content-Type": "application/json", **(headers or {})}

    async def text(self, errors: str = "strict") -> str:
        return self.text_body


class FakeSession:
    """Stands where ccxt keeps its aiohttp session; every step of a script is an answer or an exception to raise."""

    def __init__(self, script: list[object]) -> None:
        self.headers: dict[str, str] = {}
        self.script = script
        self.requests: list[tuple[str, str, str]] = []

    def _request(self, method: str, url: object, data: bytes | None) -> object:
        self.requests.append((method, str(url), (data or b"").decode()))

        @asynccontextmanager
        async def answer():
            step = self.script.pop(0)
            if isinstance(step, BaseException):
                raise step
            yield step

        return answer()

    def get(self, url: object, *, data: bytes | None = None, **_: object) -> object:
        return self._request("GET", url, data)

    def post(self, url: object, *, data: bytes | None = None, **_: object) -> object:
        return self._request("POST", url, data)

    def delete(self, url: object, *, data: bytes | None = None, **_: object) -> object:
        return self._request("DELETE", url, data)

    async def close(self) -> None:
        pass

    def paths(self) -> list[str]:
        return [f"{method} {url.split('?')[0].split('.com')[1]}" for method, url, _ in self.requests]


def scripted(*script: object, clock: FakeClock | None = None, venue: str = "testnet", key: str = KEY):
    """Return a gateway of the real client over a scripted session, that session and the clock."""
    clock = clock or FakeClock()
    gateway: BinanceGateway = open_gateway(venue, key=key, secret=SECRET if key else "", clock=clock)
    session = FakeSession(list(script))
    gateway._calls.wire.session = session
    return gateway, session, clock


class Authority:
    """A private certificate authority with one server certificate for Binance's names."""

    def __init__(self, folder: Path, name: str, host: str = "demo-fapi.binance.com") -> None:
        key, self.ca = _certificate(name, None, None, [])
        server_key, server = _certificate(host, self.ca, key, [host, "localhost"])
        self.ca_file = folder / f"{name}.pem"
        self.ca_file.write_bytes(self.ca.public_bytes(serialization.Encoding.PEM))
        chain = folder / f"{name}-server.pem"
        chain.write_bytes(
            server.public_bytes(serialization.Encoding.PEM)
            + server_key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(chain)


def _certificate(name, issuer, issuer_key, hosts):
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    now = dt.datetime.now(dt.UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer.subject if issuer else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=2))
        .add_extension(x509.BasicConstraints(ca=issuer is None, path_length=None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )
    if hosts:
        builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(host) for host in hosts]), False)
        builder = builder.add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()), critical=False
        )
    else:
        builder = builder.add_extension(
            x509.KeyUsage(False, False, False, False, False, True, True, False, False), critical=True
        )
    return key, builder.sign(issuer_key or key, hashes.SHA256())


Behaviour = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class RawServer:
    """A TLS server that reads one request after another and lets a script of behaviours answer them byte by byte."""

    def __init__(self, authority: Authority, *script: Behaviour) -> None:
        self.authority = authority
        self.script = list(script)
        self.requests: list[str] = []
        self.connections = 0

    async def __aenter__(self) -> "RawServer":
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=self.authority.context)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        self._server.close_clients() if hasattr(self._server, "close_clients") else None

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode()
                length = next(
                    (
                        int(line.split(":")[1])
                        for line in head.split("\r\n")
                        if line.lower().startswith("content-length")
                    ),
                    0,
                )
                body = (await reader.readexactly(length)).decode()
                self.requests.append(head.split("\r\n")[0] + " " + body)
                await self.script.pop(0)(reader, writer)
                if writer.is_closing():
                    return
        except (asyncio.IncompleteReadError, asyncio.CancelledError, ConnectionError, ssl.SSLError):
            pass
        finally:
            writer.close()

    def gateway(self, *, timeout: float = 5.0, ca_file: Path | None = None) -> BinanceGateway:
        loopback = Loopback(self.port, ca_file or self.authority.ca_file)
        window = min(5000, round(timeout * 500))
        return open_gateway(
            "testnet", key=KEY, secret=SECRET, clock=FakeClock(), loopback=loopback, timeout=timeout, recv_window=window
        )


def http(
    body: str, status: str = "200 OK", *, cut: int = 0, kind: str = "application/json", extra: str = ""
) -> Behaviour:
    """Answer properly, or with the last `cut` bytes missing and the connection closed."""

    async def behave(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        raw = body.encode()
        head = f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {len(raw)}\r\n{extra}\r\n"
        writer.write(head.encode() + raw[: len(raw) - cut])
        await writer.drain()
        if cut:
            writer.close()

    return behave


def reset() -> Behaviour:
    """Reset the connection without an answer."""

    async def behave(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.transport.abort()

    return behave


def hang(released: asyncio.Event) -> Behaviour:
    """Answer nothing until released."""

    async def behave(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await released.wait()
        writer.close()

    return behave


class Shelf:
    """Keeps an imagined account in memory, and how often it was written."""

    def __init__(self) -> None:
        self.text: str | None = None
        self.writes = 0

    def load_paper(self) -> str | None:
        return self.text

    def save_paper(self, snapshot: str) -> None:
        self.text = snapshot
        self.writes += 1
