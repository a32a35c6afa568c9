"""Read requests and write answers: parameters, signatures, JSON."""

import hashlib
import hmac
import json
import re
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from typing import Any
from urllib.parse import parse_qsl

from trader.sim.errors import Refusal, missing

RECV_WINDOW = 5000
MAX_RECV_WINDOW = 60_000
_KEY = re.compile(r"^[A-Za-z0-9]{64}$")


@dataclass(frozen=True, slots=True)
class Request:
    """Hold one request exactly as it was sent: ``query`` and ``body`` are the raw text."""

    method: str
    path: str
    query: str
    body: str
    api_key: str | None

    @property
    def name(self) -> str:
        """Give method and path, the key of the routes."""
        return f"{self.method} {self.path}"


@dataclass(slots=True)
class Answer:
    """Hold what goes back, and how a fault lets it go: ``cut`` in half, ``never``, slowly in ``seconds``.

    ``closes_after`` closes the idle connection so many seconds after the answer.
    """

    status: int
    body: bytes
    headers: dict[str, str] = field(default_factory=dict)
    content_type: str = "application/json"
    cut: bool = False
    never: bool = False
    seconds: float = 0.0
    closes_after: float | None = None


@dataclass(frozen=True, slots=True)
class Keys:
    """Hold the one key pair of the account; the secret is shown by no representation."""

    api_key: str
    api_secret: str = field(repr=False)


class Params(dict[str, str]):
    """Hold the parameters of query and body together; the query wins."""

    def text(self, name: str) -> str:
        """Read a mandatory text."""
        value = self.get(name)
        if not value:
            raise missing(name)
        return value

    def integer(self, name: str) -> int | None:
        """Read an optional whole number."""
        value = self.get(name)
        if value is None:
            return None
        try:
            return int(value)
        except ValueError as error:
            raise missing(name) from error

    def decimal(self, name: str) -> Decimal:
        """Read a mandatory number exactly."""
        try:
            value = Decimal(self.text(name))
        except InvalidOperation as error:
            raise missing(name) from error
        if not value.is_finite() or len(value.as_tuple().digits) > 24:
            raise missing(name)
        return value

    def flag(self, name: str) -> bool | None:
        """Read an optional true or false."""
        value = self.get(name)
        if value is None:
            return None
        if value.lower() not in ("true", "false"):
            raise missing(name)
        return value.lower() == "true"

    def limit(self, default: int, most: int) -> int:
        """Read how many rows are wanted."""
        value = self.integer("limit")
        if value is None:
            return default
        if not 1 <= value <= most:
            raise Refusal(-1130, "Data sent for parameter 'limit' is not valid.")
        return value


def read_params(request: Request) -> Params:
    """Read the parameters of a request, wherever they were put."""
    params = Params(parse_qsl(request.body, keep_blank_values=True)) if request.body else Params()
    if request.query:
        params.update(parse_qsl(request.query, keep_blank_values=True))
    return params


def authorise(request: Request, params: Params, keys: Keys, now: int) -> None:
    """Check key, timestamp and signature as the exchange does, in that order."""
    check_key(request, keys)
    signature = params.get("signature")
    timestamp = params.integer("timestamp")
    if timestamp is None:
        raise missing("timestamp")
    if not signature:
        raise missing("signature")
    check_time(timestamp, params.integer("recvWindow"), now)
    signed = _unsigned(request.query) + _unsigned(request.body)
    wanted = hmac.new(keys.api_secret.encode(), signed.encode(), hashlib.sha256).hexdigest()
    if not hmac.compare_digest(wanted.encode(), signature.lower().encode()):
        raise Refusal(-1022, "Signature for this request is not valid.")


def check_key(request: Request, keys: Keys) -> None:
    """Refuse an absent, malformed or unknown key."""
    if request.api_key is None or not _KEY.match(request.api_key):
        raise Refusal(-2014, "API-key format invalid.", status=401)
    if not hmac.compare_digest(request.api_key, keys.api_key):
        raise Refusal(-2015, "Invalid API-key, IP, or permissions for action.", status=401)


def check_time(timestamp: int, window: int | None, now: int) -> None:
    """Refuse a request from more than a second ahead or older than its window."""
    window = RECV_WINDOW if window is None else window
    if not 0 <= window <= MAX_RECV_WINDOW:
        raise Refusal(-1131, "recvWindow must be less than 60000.")
    if timestamp > now + 1000:
        raise Refusal(-1021, "Timestamp for this request was 1000ms ahead of the server's time.")
    if now - timestamp > window:
        raise Refusal(-1021, "Timestamp for this request is outside of the recvWindow.")


def _unsigned(raw: str) -> str:
    if "signature=" not in raw:
        return raw
    return "&".join(part for part in raw.split("&") if not part.startswith("signature="))


def dump(document: Any) -> str:
    """Write JSON without spaces."""
    return json.dumps(document, separators=(",", ":"))


def refusal(error: Refusal) -> Answer:
    """Write an error as the exchange does."""
    body = dump({"code": error.code, "msg": error.message}).encode()
    headers = {} if error.retry_after is None else {"Retry-After": str(error.retry_after)}
    return Answer(error.status, body, headers)
