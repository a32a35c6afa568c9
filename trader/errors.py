"""Every error this project raises on purpose, in one tree.

    TraderError                    70  internal: nothing below fits
    ├── ConfigError                78  settings, strategy file or account set-up cannot be used
    ├── DataError                  78  candles or funding cannot be used; no decision is made on them
    ├── ModelError                 78  a model is refused (altered, foreign, expired, not finite)
    ├── NotPermitted               77  live money without consent, a verdict or a limit says no
    ├── Mismatch                   77  journal and exchange tell different stories
    ├── JournalError               74  the journal cannot be read or written
    │   ├── JournalBusy            74  another process is writing the journal; nothing of the entry is in it
    │   └── JournalLocked          75  another daemon holds the journal
    └── ExchangeError              69  the exchange could not be used
        ├── Unreached              69  no answer came, or none of the exchange's own: it is out
        │   └── NotSent            69  the request surely never reached the exchange
        ├── RateLimited            75  refused until `retry_at`
        ├── Rejected               69  a definite no, with the exchange's code
        ├── Denied                 69  refused on this side before anything was sent
        └── OutcomeUnknown         69  the request may or may not have had its effect

A class exists only where the daemon does something different for it. Every message is one sentence:
cause, where, remedy. The number is the exit code of the command line.
"""

from datetime import datetime


class TraderError(Exception):
    """Any error raised on purpose."""

    exit_code = 70


class ConfigError(TraderError):
    """Settings, a strategy file or the account's set-up cannot be used."""

    exit_code = 78


class DataError(TraderError):
    """Candles or funding cannot be used; no decision is made on them."""

    exit_code = 78


class ModelError(TraderError):
    """A model is refused: altered, foreign, expired or not finite."""

    exit_code = 78


class NotPermitted(TraderError):
    """Something that needs a person's consent has not got it."""

    exit_code = 77


class Mismatch(TraderError):
    """Journal and exchange tell different stories; opening halts until a person decides."""

    exit_code = 77


class JournalError(TraderError):
    """The journal cannot be read or written; nothing is sent without it."""

    exit_code = 74


class JournalBusy(JournalError):
    """Another process is writing the journal; nothing of the entry is in it, and it may be tried again."""


class JournalLocked(JournalError):
    """Another daemon holds the journal."""

    exit_code = 75


class ExchangeError(TraderError):
    """The exchange could not be used; reads may be tried again."""

    exit_code = 69

    def __init__(self, message: str, *, code: int | None = None, status: int | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.status = status


class Unreached(ExchangeError):
    """No answer came, or one that is not the exchange's (an outage, maintenance, a proxy); a start waits for it."""


class NotSent(Unreached):
    """The request surely had no effect (refused connection, DNS, TLS, a refusal that asks to come back)."""


class RateLimited(ExchangeError):
    """The exchange refuses every request until `retry_at` (venue time)."""

    exit_code = 75

    def __init__(self, message: str, *, retry_at: datetime, code: int | None = None, status: int | None = None) -> None:
        super().__init__(message, code=code, status=status)
        self.retry_at = retry_at


class Rejected(ExchangeError):
    """The exchange said no for good; `code` is its own number."""


class Denied(ExchangeError):
    """This side refused before anything was sent."""


class OutcomeUnknown(ExchangeError):
    """The request may or may not have had its effect; only the order protocol may settle it."""
