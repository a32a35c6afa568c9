import io
import json
import logging
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, TextIO

import pytest
import structlog

from trader import log

SECRET = "zq7Xcanary/W1+secret=NotToBeSeen42"
KEY = "vmPUZE6mv9SD5VNHk4HlWFsOr6aKE2zvsw0MuIgwCIPy6utIco14y7Ju91duEh8A"
HASH = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"


@dataclass(frozen=True)
class Options:
    level: str = "INFO"
    format: str = "json"


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def as_it_was(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    levels = {name: logging.getLogger(name).level for name in log.NOISY}
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)
    monkeypatch.setattr(threading, "excepthook", threading.excepthook)
    monkeypatch.setattr(log, "_registered", [])
    yield
    for sink in [handler for handler in root.handlers if handler not in handlers]:
        root.removeHandler(sink)
        sink.close()
    for handler in handlers:
        if handler not in root.handlers:
            root.addHandler(handler)
    root.setLevel(level)
    for name, before in levels.items():
        logging.getLogger(name).setLevel(before)
    logging.captureWarnings(capture=False)
    structlog.reset_defaults()


@pytest.fixture
def start() -> Callable[..., TextIO]:
    def configure(stream: TextIO | None = None, **options: str) -> TextIO:
        target = stream or io.StringIO()
        log.configure(Options(**options), target)
        return target

    return configure


def lines(stream: TextIO) -> list[dict[str, Any]]:
    assert isinstance(stream, io.StringIO)
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_structlog_and_the_standard_library_write_the_same_lines(start: Callable[..., TextIO]) -> None:
    stream = start()
    structlog.get_logger("trader").info("close decided", close="2024-01-01T16:00Z", equity=Decimal("1.10"), n=3)
    logging.getLogger("elsewhere").info("heard %s", "that", extra={"n": 4})
    ours, theirs = lines(stream)
    assert ours["event"] == "close decided"
    assert (ours["equity"], ours["n"], ours["level"], ours["logger"]) == ("1.10", 3, "info", "trader")
    assert (theirs["event"], theirs["n"], theirs["level"], theirs["logger"]) == ("heard that", 4, "info", "elsewhere")
    assert ours.keys() - {"close", "equity"} == theirs.keys()
    assert datetime.fromisoformat(ours["timestamp"]).tzinfo == UTC


def test_a_terminal_gets_words_and_anything_else_json(start: Callable[..., TextIO]) -> None:
    terminal, elsewhere = start(Terminal(), format="auto"), io.StringIO()
    structlog.get_logger("trader").info("ready", next="16:00")
    start(elsewhere, format="auto")
    structlog.get_logger("trader").info("ready", next="16:00")
    assert isinstance(terminal, Terminal)
    assert "ready" in terminal.getvalue()
    assert not terminal.getvalue().startswith("{")
    assert lines(elsewhere)[0]["next"] == "16:00"
    asked = start(format="console")
    structlog.get_logger("trader").info("ready")
    assert isinstance(asked, io.StringIO)
    assert not asked.getvalue().startswith("{")


def test_the_level_holds_for_both(start: Callable[..., TextIO]) -> None:
    stream = start(level="WARNING")
    structlog.get_logger("trader").info("quiet")
    logging.getLogger("trader").info("quiet")
    structlog.get_logger("trader").warning("loud")
    assert [line["event"] for line in lines(stream)] == ["loud"]


@pytest.mark.parametrize("name", ["ccxt.base.exchange", "aiohttp.access", "apscheduler.scheduler", "asyncio"])
def test_libraries_are_heard_from_warning_on_even_while_debugging(start: Callable[..., TextIO], name: str) -> None:
    stream = start(level="DEBUG")
    logging.getLogger(name).info("chatter")
    logging.getLogger(name).warning("serious")
    assert [line["event"] for line in lines(stream)] == ["serious"]


LEAKS: list[object] = [
    SECRET,
    f"key {SECRET} and again {SECRET}",
    {"deep": [{"er": (SECRET,)}]},
    {SECRET: 1},
    {"apiKey": "short"},
    {"signature": "short", "token": 12345},
    b"X-MBX-APIKEY: " + KEY.encode(),
    KEY,
    f"GET /fapi/v1/order?symbol=A&timestamp=1&signature={HASH}",
    f"symbol=ADAUSDT&timestamp=1&signature={HASH}",
    f"{{'X-MBX-APIKEY': '{HASH}'}}",
    f"<CIMultiDictProxy('X-MBX-APIKEY': '{HASH}', 'Host': 'fapi.binance.com')>",
    f"('x-mbx-apikey', '{HASH}')",
    f"apiKey={HASH}",
    f"TRADER_API_SECRET={HASH}",
    '{"secret": "two words short"}',
    ValueError(SECRET),
    Path("/data") / KEY,
    "https://fapi.binance.com/x?secret_in_url=" + "zq7Xcanary%2FW1%2Bsecret%3DNotToBeSeen42",
]


@pytest.mark.fault(80)
@pytest.mark.parametrize("format_", ["json", "console"])
@pytest.mark.parametrize("leak", LEAKS, ids=str)
def test_no_secret_reaches_the_stream(start: Callable[..., TextIO], leak: object, format_: str) -> None:
    """Fault 80."""
    log.register_secret(SECRET)
    stream = start(format=format_)
    ours = structlog.get_logger("trader").bind(bound=leak)
    ours.info("event", value=leak)
    ours.info(str(leak))
    ours.info("positional %s", leak)
    logging.getLogger("ccxt").warning("foreign %s", leak, extra={"more": leak})
    logging.getLogger("ccxt").warning(leak)
    try:
        raise RuntimeError(leak) from ValueError(str(leak))
    except RuntimeError as error:
        ours.exception("failed", error=error)
        ours.error("failed", exc_info=error, stack_info=True)
        logging.getLogger("aiohttp").exception("failed")
    sys.excepthook(RuntimeError, RuntimeError(leak), None)
    structlog.contextvars.bind_contextvars(context=leak)
    ours.info("context")
    structlog.contextvars.clear_contextvars()
    assert isinstance(stream, io.StringIO)
    text = stream.getvalue()
    assert log.MASK in text
    for secret in (SECRET, KEY, HASH, "canary", "two words", "words short", "NotToBeSeen", "'short'", "12345"):
        assert secret not in text


def test_what_is_no_secret_stays(start: Callable[..., TextIO]) -> None:
    stream = start()
    said = {
        "model": HASH,
        "client_id": "tab12cd.3f9k2.ADAUSDT.o0",
        "url": "https://fapi.binance.com/fapi/v1/klines?symbol=ADAUSDT&interval=8h",
        "why": "TRADER_API_KEY is set and TRADER_API_SECRET is not",
        "nothing": None,
        "ok": True,
        "share": 0.25,
        "at": datetime(2024, 1, 1, 16, tzinfo=UTC),
        "positions": {"ADAUSDT": Decimal("-12.5")},
    }
    structlog.get_logger("trader").info("close", **said)
    (line,) = lines(stream)
    expected = said | {"at": "2024-01-01T16:00:00+00:00", "positions": {"ADAUSDT": "-12.5"}}
    assert {name: line[name] for name in said} == expected


def test_a_signed_query_is_taken_out_whole() -> None:
    url = f"GET https://fapi.binance.com/fapi/v2/account?recvWindow=5000&signature={HASH}&timestamp=17 failed"
    assert log.redact(url) == f"GET https://fapi.binance.com/fapi/v2/account?{log.MASK} failed"


def test_a_secret_inside_a_longer_one_leaves_nothing_of_it() -> None:
    log.register_secret("abcd", "abcd-efgh", "no")
    assert log.redact("x abcd-efgh abcd no") == f"x {log.MASK} {log.MASK} no"


def test_a_secret_is_found_in_json_and_python_spelling() -> None:
    secret = 'q"uo\\te\n'
    log.register_secret(secret)
    for text in (json.dumps({"x": secret}), repr([secret])):
        assert "uo" not in log.redact(text)


class Unprintable:
    def __repr__(self) -> str:
        raise LookupError(SECRET)


def test_a_record_that_cannot_be_put_into_words_is_said_so_without_its_text(
    start: Callable[..., TextIO], capfd: pytest.CaptureFixture[str]
) -> None:
    stream = start()
    structlog.get_logger("trader").info("event", value=Unprintable())
    text = f"%d {SECRET}"
    logging.getLogger("elsewhere").warning(text, SECRET)
    endless: list[object] = []
    endless.append(endless)
    structlog.get_logger("trader").info("event", value=endless)
    assert [(line["event"], line["error"]) for line in lines(stream)] == [
        ("unprintable log record", "LookupError"),
        ("unprintable log record", "TypeError"),
        ("unprintable log record", "RecursionError"),
    ]
    assert capfd.readouterr() == ("", "")


class Broken(io.StringIO):
    def write(self, text: str) -> int:
        raise OSError(28, "No space left on device")


@pytest.mark.fault(79)
def test_a_stream_that_fails_does_not_reach_whoever_logs(
    start: Callable[..., TextIO], capfd: pytest.CaptureFixture[str]
) -> None:
    """Fault 79."""
    start(Broken())
    structlog.get_logger("trader").info("lost")
    closed = io.StringIO()
    start(closed)
    closed.close()
    structlog.get_logger("trader").info("lost")
    assert sink().stream.dropped == 1
    assert capfd.readouterr() == ("", "")


def sink() -> log.Sink:
    (found,) = [handler for handler in logging.getLogger().handlers if isinstance(handler, log.Sink)]
    return found


@pytest.mark.fault(79)
def test_a_pipe_that_nobody_reads_stops_nothing_and_the_loss_is_told(
    start: Callable[..., TextIO], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Fault 79."""
    monkeypatch.setattr(log.Writer, "PATIENCE_MS", 0)
    reading, writing = os.pipe()
    with os.fdopen(writing, "w") as stream, os.fdopen(reading, "rb", buffering=0) as reader:
        start(stream)
        for n in range(200):
            structlog.get_logger("trader").info("line", n=n, text="x" * 3000)
        assert sink().stream.dropped > 100
        told = b""
        while not told.endswith(b"}\n") or b"after" not in told:
            told += reader.read(1 << 20)
            if b"after" not in told:
                structlog.get_logger("trader").info("after")
        assert sink().stream.dropped == 0
    found = []
    for line in told.decode().splitlines():
        try:
            found.append(json.loads(line))
        except ValueError:
            assert line.startswith('{"n"')
    assert [line["n"] for line in found if line["event"] == "line"] == list(range(len(found) - 2))
    assert [line["event"] for line in found[-2:]] == ["log lines dropped", "after"]


def test_a_reader_that_went_away_stops_nothing(start: Callable[..., TextIO]) -> None:
    reading, writing = os.pipe()
    with os.fdopen(writing, "w") as stream:
        start(stream)
        os.close(reading)
        structlog.get_logger("trader").info("lost")
        assert sink().stream.dropped == 1


def test_a_line_on_a_file_is_there_at_once(start: Callable[..., TextIO], tmp_path: Path) -> None:
    with (tmp_path / "log").open("w") as stream:
        start(stream)
        structlog.get_logger("trader").info("kept", text="\udcff" + "é" * 9000)
        (line,) = (tmp_path / "log").read_text(encoding="utf-8").splitlines()
        assert json.loads(line)["event"] == "kept"


def test_a_second_configuration_replaces_the_first(start: Callable[..., TextIO], tmp_path: Path) -> None:
    with (tmp_path / "log").open("w") as first:
        start(first)
        stream = start()
        structlog.get_logger("trader").info("once")
    assert (tmp_path / "log").read_text() == ""
    assert len(lines(stream)) == 1


def test_uncaught_errors_take_the_same_way(start: Callable[..., TextIO]) -> None:
    stream = start()

    def fail() -> None:
        raise LookupError("in a thread")

    for target in (fail, sys.exit):
        thread = threading.Thread(target=target)
        thread.start()
        thread.join()
    sys.excepthook(KeyboardInterrupt, KeyboardInterrupt(), None)
    (line,) = lines(stream)
    assert line["exception"].endswith("LookupError: in a thread")


CRASH = f"""
import sys, threading, warnings
from types import SimpleNamespace
from trader import log
log.configure(SimpleNamespace(level="INFO", format="auto"))
log.register_secret({SECRET!r})
class Oops(Exception): pass
warnings.warn("mind " + sys.argv[1])
def fail(): raise Oops("in a thread " + sys.argv[1])
thread = threading.Thread(target=fail); thread.start(); thread.join()
leave = threading.Thread(target=sys.exit); leave.start(); leave.join()
if sys.argv[2] == "interrupt": raise KeyboardInterrupt(sys.argv[1])
raise Oops("at the top " + sys.argv[1])
"""


def test_warnings_and_uncaught_errors_are_logged_without_their_secrets(root: Path) -> None:
    for way, events in (("error", ["uncaught", "uncaught"]), ("interrupt", ["uncaught"])):
        done = subprocess.run(
            [sys.executable, "-c", CRASH, SECRET, way],
            capture_output=True,
            text=True,
            check=False,
            cwd=root,
            timeout=60,
        )
        assert done.returncode != 0
        assert SECRET not in done.stderr + done.stdout
        written = [json.loads(line) for line in done.stderr.splitlines()]
        assert [line["event"] for line in written[1:]] == events
        assert "mind [redacted]" in written[0]["event"]
        assert "in a thread [redacted]" in written[1]["exception"]
