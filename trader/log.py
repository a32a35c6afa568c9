"""Logs: one chain for structlog and the standard library, secrets taken out last, never in the way of a cycle.

Lines go to stderr, one JSON object each, or readable on a terminal. Whatever cannot be written is dropped and counted.
"""

import json
import logging
import os
import re
import select
import sys
import threading
from collections.abc import Mapping
from datetime import date
from decimal import Decimal
from pathlib import PurePath
from types import TracebackType
from typing import Any, Protocol, TextIO
from urllib.parse import quote

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

MASK = "[redacted]"
NOISY = ("ccxt", "aiohttp", "apscheduler", "asyncio", "alembic", "sqlalchemy", "urllib3")
"""Libraries heard from WARNING on; below it ccxt would print keys and signatures."""

_SHORTEST_SECRET = 4
_WORDS = (
    "x-mbx-apikey|api[-_]?key|api[-_]?secret|secret[-_]?key|secret|signature|password|passphrase|token|listen[-_]?key"
)
_NAMES = re.compile(_WORDS, re.IGNORECASE)
# name=value, name: value, 'name': 'value', ('name', 'value'), with or without quotes and b
_PAIRS = re.compile(
    rf"""(?P<name>(?<![a-z])(?:{_WORDS})["']?\s*(?:=|:|,(?=\s*b?["']))\s*b?)(?:"[^"]*"|'[^']*'|[^\s"'&,;)}}\]]+)""",
    re.IGNORECASE,
)
_SIGNED = re.compile(r"\?[^\s\"'<>]*signature=[^\s\"'<>]*", re.IGNORECASE)
# an API key or secret of Binance; a hash of as many hexadecimal digits is no secret
_KEY_SHAPED = re.compile(r"(?<![A-Za-z0-9])(?=[A-Za-z0-9]*[G-Zg-z])[A-Za-z0-9]{64}(?![A-Za-z0-9])")

_registered: list[str] = []


class Options(Protocol):
    """What is logged, and how."""

    @property
    def level(self) -> str:
        """DEBUG, INFO, WARNING or ERROR."""
        ...

    @property
    def format(self) -> str:
        """`json`, `console`, or `auto`: console on a terminal, json elsewhere."""
        ...


def register_secret(*values: str) -> None:
    """Take these values out of every line from now on, also as they are written in URLs, JSON and Python."""
    for value in values:
        if len(value) >= _SHORTEST_SECRET:
            _registered.extend({value, quote(value, safe=""), json.dumps(value)[1:-1], repr(value)[1:-1]})
    # the longest first, so that a secret within another leaves nothing of the longer one
    _registered.sort(key=len, reverse=True)


def redact(text: str) -> str:
    """Return a text without secrets: registered ones, signed queries, keys by their name or their shape."""
    for secret in _registered:
        text = text.replace(secret, MASK)
    text = _SIGNED.sub(f"?{MASK}", text)
    text = _PAIRS.sub(rf"\g<name>{MASK}", text)
    return _KEY_SHAPED.sub(MASK, text)


def configure(options: Options, stream: TextIO | None = None) -> None:
    """Send every log line of the process through one chain to a stream (default: stderr); the last call holds.

    Warnings and uncaught errors take the same way, because their texts hold secrets as easily.
    """
    target = sys.stderr if stream is None else stream
    level = logging.getLevelNamesMapping()[options.level]
    sink = Sink(target)
    sink.setFormatter(_formatter(options, terminal=target.isatty()))
    root = logging.getLogger()
    for old in list(root.handlers):
        root.removeHandler(old)
        if isinstance(old, Sink):
            old.close()
    root.addHandler(sink)
    root.setLevel(level)
    for name in NOISY:
        logging.getLogger(name).setLevel(max(level, logging.WARNING))
    logging.captureWarnings(capture=True)
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *_shared(),
            structlog.stdlib.PositionalArgumentsFormatter(),
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=False,
    )
    sys.excepthook = _log_uncaught
    threading.excepthook = _log_uncaught_in_thread


def _shared() -> list[Processor]:
    return [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_logger_name,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]


def _formatter(options: Options, *, terminal: bool) -> logging.Formatter:
    render: Processor = structlog.processors.JSONRenderer()
    if options.format == "console" or (options.format == "auto" and terminal):
        plain = structlog.dev.plain_traceback
        render = structlog.dev.ConsoleRenderer(colors=terminal, exception_formatter=plain)
    return structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=[*_shared(), structlog.stdlib.ExtraAdder()],
        processors=[
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            structlog.processors.StackInfoRenderer(),
            structlog.processors.format_exc_info,
            # nothing may add text after this
            _redact_event,
            render,
        ],
    )


class Writer:
    """A stream that takes what it can at once and counts the rest, without ever raising.

    A pipe that nobody empties would stop the process at its next line, so a line is written only while the stream says
    that it takes it: the first refusal is waited for a moment, the following ones not at all.
    """

    PATIENCE_MS = 200
    # what a pipe that reports room takes at once
    _CHUNK = select.PIPE_BUF

    def __init__(self, stream: TextIO) -> None:
        """Write to a stream; one with a descriptor through a copy of it, which nobody else can close or reuse."""
        self._stream = stream
        self._torn = False
        self.dropped = 0
        try:
            stream.flush()
            self._descriptor: int | None = os.dup(stream.fileno())
        except (OSError, AttributeError, ValueError):
            self._descriptor = None

    def write(self, line: str) -> None:
        """Write one whole line, telling first how many were lost before it."""
        if self.dropped:
            lost = json.dumps({"event": "log lines dropped", "count": self.dropped})
            if not self._put(f"{lost}\n"):
                self.dropped += 1
                return
            self.dropped = 0
        if not self._put(line):
            self.dropped += 1

    def flush(self) -> None:
        """Do nothing: every line has left already."""

    def close(self) -> None:
        """Release the descriptor."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def _put(self, line: str) -> bool:
        try:
            if self._descriptor is None:
                self._stream.write(line)
                self._stream.flush()
                return True
            return self._push(self._descriptor, line)
        except (OSError, ValueError):
            return False

    def _push(self, descriptor: int, line: str) -> bool:
        data = ("\n" * self._torn + line).encode(errors="backslashreplace")
        poll = select.poll()
        poll.register(descriptor, select.POLLOUT)
        while data:
            ready = poll.poll(0 if self.dropped else self.PATIENCE_MS)
            if not ready or not ready[0][1] & select.POLLOUT:
                return False
            data = data[os.write(descriptor, data[: self._CHUNK]) :]
            # until the line's end is out, the next one has to begin a new line
            self._torn = bool(data)
        return True


class Sink(logging.StreamHandler[Writer]):
    """A log handler that never raises into whoever logs."""

    def __init__(self, stream: TextIO) -> None:
        """Write to a stream."""
        super().__init__(Writer(stream))

    def emit(self, record: logging.LogRecord) -> None:
        """Write one record, or drop it."""
        try:
            super().emit(record)
        except RecursionError:
            self.handleError(record)

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802  # the standard library's name
        """Say that a record could not be put into words, without its text, for nothing has redacted that."""
        kind = sys.exc_info()[0] or Exception
        event = {"event": "unprintable log record", "logger": record.name, "error": kind.__name__}
        self.stream.write(json.dumps(event) + "\n")

    def close(self) -> None:
        """Release the stream."""
        self.stream.close()
        super().close()


def _log_uncaught(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    if not issubclass(kind, KeyboardInterrupt):
        structlog.get_logger("trader").critical("uncaught", exc_info=(kind, error, trace))


def _log_uncaught_in_thread(found: threading.ExceptHookArgs) -> None:
    if found.exc_value is not None and not issubclass(found.exc_type, SystemExit):
        _log_uncaught(found.exc_type, found.exc_value, found.exc_traceback)


def _redact_event(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    return {redact(str(name)): _redact_named(str(name), value) for name, value in event.items()}


def _redact_named(name: str, value: Any) -> Any:
    if value is not None and _NAMES.fullmatch(name):
        return MASK
    return _redact_value(value)


def _redact_value(value: Any) -> Any:
    """Return a value that holds no secret and nothing that a renderer would have to turn into text itself."""
    match value:
        case None | bool() | int() | float():
            return value
        case str():
            return redact(value)
        case Mapping():
            return {redact(str(key)): _redact_named(str(key), inner) for key, inner in value.items()}
        case list() | tuple() | set() | frozenset():
            return [_redact_value(inner) for inner in value]
        case Decimal() | PurePath() | BaseException():
            return redact(str(value))
        case date():
            return value.isoformat()
        case _:
            return redact(repr(value))
