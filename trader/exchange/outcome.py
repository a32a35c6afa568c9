"""What a failed request means: four outcomes for an order, two for anything else.

An order that failed is UNKNOWN unless something on a positive list says otherwise, because what is wrongly called
rejected is sent twice. Nothing here copies an exception's own text: it carries signed addresses.
"""

import re
import socket
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import aiohttp

from trader.errors import Denied, ExchangeError, NotSent, OutcomeUnknown, RateLimited, Rejected, Unreached

CLOCK_SKEW = -1021
NO_SUCH_ORDER = -2013
TWIN_OPEN = -4116
SAME_MARGIN_MODE = -4046

_OVERLOADED = -1008
# how a venue says that it has no such endpoint; the demo venue leaves out some of the real one's
_ABSENT_CODES, _ABSENT_STATUSES = frozenset({-1, -5000}), frozenset({404, 405})
_RATE_CODES = frozenset({-1003, -1015})
_RATE_STATUSES = frozenset({418, 429})
_BARRED = frozenset({403, 451})

# Codes with which a 4xx answer to an order means that the matching engine never had it. A code that is missing here
# makes the order unknown, which costs a look-up; a code wrongly here would cost a doubled position.
_DEFINITE = frozenset(
    {
        *(-1002, -1004, -1013, -1014, -1020, -1022, -1023),
        *range(-1109, -1099),
        *range(-1130, -1110),
        *(-1136, -2010, -2014, -2015, -2018, -2019, -2020, -2021, -2022, -2023, -2024, -2025, -2026, -2027, -2028),
        *range(-4099, -3999),
        *(-4104, -4108, -4109, -4110, -4112, -4113, -4114, -4115, -4117, -4118, -4120, -4121, -4129, -4130, -4131),
        *(-4132, -4135, -4136, -4137, -4138, -4139, -4140, -4141, -4142, -4144, -4161, -4164, -4165, -4168, -4183),
        *(-4184, -4188, -4192, -4200, -4201, -4202, -4203, -4205, -4206, -4208, -4210, -4211, -4400, -4401, -4402),
        *(-4403, -4509),
        *(-5021, -5022, -5024, -5025, -5026, -5028, -5037, -5038, -5039, -5040, -5041),
    }
)
# Words of a 503 that say the request was not carried out; "Unknown error" is the one that says it may have been.
_REFUSED_WORDS = ("Service Unavailable.", "Internal error; unable to process your request")
_REMEDIES = {
    -1021: "the clock is measured again before the next try",
    -1022: "check that the secret belongs to the key",
    -2014: "check the API key",
    -2015: "check the API key, its IP list and its futures permission, and that key and venue belong together",
    -2019: "lower the exposure or add margin",
    -2022: "read the position back: there is nothing to reduce",
    -4061: "switch the account to one-way mode",
    -4164: "raise the equity or the exposure above the minimum notional",
    -4400: "only reducing is allowed until the exchange lifts it",
}
_QUERY = re.compile(r"\?[^\s\"'<>]+")
_PAIR = re.compile(r"(?i)\b(signature|apikey|x-mbx-apikey|secret|listenkey)\b(\"?\s*[=:]\s*\"?)[^\s&\"',}<]+")
_BANNED_UNTIL = re.compile(r"banned until (\d{13})")
_LONGEST = 200
_LONGEST_BAN = timedelta(days=7)


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back over HTTP: status, the exchange's code and words, and for how many seconds not to come back."""

    status: int
    code: int | None
    text: str
    retry_after: float | None


@dataclass(frozen=True, slots=True)
class Failure:
    """A failed request: what came back, if anything did, and whether it surely never left."""

    answer: Answer | None
    unsent: bool
    reason: str


def redact(text: str, secrets: tuple[str, ...] = ()) -> str:
    """Return one short line without query strings, signatures and the given secrets."""
    for secret in secrets:
        if secret:
            text = text.replace(secret, "***")
    line = " ".join(_PAIR.sub(r"\1\2***", _QUERY.sub("?***", text)).split())
    return line if len(line) <= _LONGEST else line[: _LONGEST - 1] + "…"


def failure_of(error: BaseException) -> Failure:
    """Read an exception of the wire: the answer attached to it, else what it was raised from."""
    answer = getattr(error, "answer", None)
    if isinstance(answer, Answer):
        return Failure(answer, unsent=False, reason="")
    cause = error.__cause__
    if cause is None:
        # ccxt itself refused, before there was a request.
        return Failure(None, unsent=False, reason=type(error).__name__)
    # A connector fails before the first byte of a request is written; everything later may have been carried out.
    unsent = isinstance(cause, aiohttp.ClientConnectorError | aiohttp.ConnectionTimeoutError | socket.gaierror)
    words = cause.strerror if isinstance(cause, OSError) else None
    return Failure(None, unsent, f"{type(cause).__name__}: {redact(words)}" if words else type(cause).__name__)


def order_failure(error: BaseException, where: str, now: datetime, secrets: tuple[str, ...] = ()) -> ExchangeError:
    """Say what a failed order means; the default is that nobody knows.

    Args:
        error: what ccxt raised.
        where: the call, as `POST /fapi/v1/order`.
        now: venue time, from which a ban is counted.
        secrets: what must not be in the message even if the exchange echoes it.
    """
    failure = failure_of(error)
    answer = failure.answer
    if answer is None:
        if failure.unsent:
            return NotSent(_unreached(where, failure.reason))
        if error.__cause__ is None and failure.reason == "AuthenticationError":
            return Denied(f"{where} needs an API key and its secret; set both.")
        return OutcomeUnknown(
            f"{where} was sent and no usable answer came back ({failure.reason}); the order is looked up by its id."
        )
    refused = _refused(answer, where, now, secrets)
    if refused is not None:
        return refused
    said = _said(answer, secrets)
    if answer.code in _DEFINITE and 400 <= answer.status < 500 and answer.status != 408:
        return Rejected(_refusal(where, answer, said), code=answer.code, status=answer.status)
    return OutcomeUnknown(
        f"{where} was answered with {said}, which does not say whether it was carried out; the order is looked up by "
        "its id.",
        code=answer.code,
        status=answer.status,
    )


def read_failure(error: BaseException, where: str, now: datetime, secrets: tuple[str, ...] = ()) -> ExchangeError:
    """Say what any other failed request means; `retryable` tells whether to ask again."""
    failure = failure_of(error)
    answer = failure.answer
    if answer is None:
        if failure.unsent:
            return NotSent(_unreached(where, failure.reason))
        if error.__cause__ is None:
            return Denied(f"{where} was refused before it was sent ({failure.reason}); check the API key and secret.")
        return Unreached(f"{where} brought no usable answer ({failure.reason}); it may be asked again.")
    refused = _refused(answer, where, now, secrets)
    if refused is not None:
        return refused
    said = _said(answer, secrets)
    if answer.code in _DEFINITE or (400 <= answer.status < 500 and answer.status != 408):
        return Rejected(_refusal(where, answer, said), code=answer.code, status=answer.status)
    return Unreached(
        f"{where} was answered with {said}; it may be asked again.", code=answer.code, status=answer.status
    )


def unsupported(error: Rejected) -> bool:
    """Whether a refusal says that the venue has no such endpoint."""
    return error.code in _ABSENT_CODES or (error.code is None and error.status in _ABSENT_STATUSES)


def retryable(error: BaseException) -> bool:
    """Whether a read may be asked again: everything that is not a definite no."""
    return isinstance(error, ExchangeError) and not isinstance(error, Rejected | Denied | OutcomeUnknown)


def _refused(answer: Answer, where: str, now: datetime, secrets: tuple[str, ...]) -> ExchangeError | None:
    """Recognise refusals that mean the same for every request."""
    said = _said(answer, secrets)
    code, status = answer.code, answer.status
    if status in _RATE_STATUSES or code in _RATE_CODES:
        retry_at = _retry_at(answer, now)
        return RateLimited(
            f"{where} was refused for too many requests ({said}); "
            f"nothing is sent before {retry_at:%Y-%m-%d %H:%M:%S}Z.",
            retry_at=retry_at,
            code=code,
            status=status,
        )
    if status in _BARRED:
        return Rejected(
            f"{where} was barred with {said}; this address or region may not use the exchange.",
            code=code,
            status=status,
        )
    if code in (CLOCK_SKEW, _OVERLOADED) or (status == 503 and answer.text.startswith(_REFUSED_WORDS)):
        remedy = _REMEDIES.get(code or 0, "it may be sent again later")
        return NotSent(f"{where} was turned away with {said}; {remedy}.", code=code, status=status)
    return None


def _retry_at(answer: Answer, now: datetime) -> datetime:
    banned = _BANNED_UNTIL.search(answer.text)
    if banned:
        told = datetime.fromtimestamp(int(banned[1]) / 1000, UTC)
    elif answer.retry_after is not None:
        told = now + timedelta(seconds=min(answer.retry_after, _LONGEST_BAN.total_seconds()))
    else:
        told = now + timedelta(seconds=120 if answer.status == 418 else 60)
    return min(max(told, now + timedelta(seconds=1)), now + _LONGEST_BAN)


def _said(answer: Answer, secrets: tuple[str, ...]) -> str:
    number = f"{answer.code}, " if answer.code is not None else ""
    words = redact(answer.text, secrets).rstrip(".")
    return f"{number}HTTP {answer.status}{': ' if words else ''}{words}"


def _refusal(where: str, answer: Answer, said: str) -> str:
    remedy = _REMEDIES.get(answer.code or 0)
    return f"{where} was refused with {said}{f'; {remedy}' if remedy else ''}."


def _unreached(where: str, reason: str) -> str:
    return f"{where} never reached the exchange ({reason}); check network, DNS and TLS."
