"""Two ways to say no: to a client of the exchange (a code), and to whoever starts it (a sentence)."""


class Refusal(Exception):
    """Answer a request with an HTTP status and Binance's ``{"code", "msg"}``; nothing was changed."""

    def __init__(self, code: int, message: str, status: int = 400, retry_after: int | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.status = status
        self.retry_after = retry_after


class StartError(Exception):
    """Refuse to start, in one sentence: cause, where, remedy. ``exit_code`` as in sysexits."""

    def __init__(self, sentence: str, exit_code: int = 78) -> None:
        super().__init__(sentence)
        self.exit_code = exit_code


def missing(name: str) -> Refusal:
    """Name the mandatory parameter that was not sent or cannot be read."""
    return Refusal(-1102, f"Mandatory parameter '{name}' was not sent, was empty/null, or malformed.")


def unknown_symbol() -> Refusal:
    """Refuse a symbol that is not listed."""
    return Refusal(-1121, "Invalid symbol.")
