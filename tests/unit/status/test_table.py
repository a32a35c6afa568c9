"""The table below the log lines of a run on a terminal."""

import io
import os
import pty
import subprocess
import threading
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from rich.console import Console

from tests.scenarios.processes import COMMAND, Home
from tests.unit.status.conftest import FIRST
from trader.cli.table import Lines, Screen, table
from trader.domain.decision import State
from trader.journal.journal import Journal
from trader.status.sight import Sight


def drawn(document: dict[str, Any]) -> str:
    console = Console(file=io.StringIO(), width=100)
    console.print(table(document, datetime.now(UTC)))
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_it_shows_next_close_forecast_position_equity_and_last_order(
    sight: Sight, close_one: Callable[..., None], later: Callable[..., None]
) -> None:
    close_one(0, equity="10050", quantity="8000")
    later(wakes=datetime.now(UTC) + timedelta(hours=2, minutes=30, seconds=5))
    text = drawn(sight.document())
    for words in (
        "mine on sim, generated market ACTIVE", "2024-01-02 00:00 UTC, in 2 h 30 min", "+10.0 bp  target 50.0 %",
        "8,000 ADAUSDT at 0.63, 49.4 %", "10,050.00 USDT", "buy 8,000 ADAUSDT at 0.63  FILLED",
    ):  # fmt: skip
        assert words in text, text


def test_what_is_not_known_yet_is_said(sight: Sight) -> None:
    text = drawn(sight.document())
    assert text.count("none yet") == 2
    assert "nothing" in text


def test_why_it_does_not_trade_stands_in_the_table(sight: Sight, journal: Journal, later: Callable[..., None]) -> None:
    journal.set_state(State.HALTED, "drawdown of 21 %", "guard", FIRST)
    later(clock_offset=timedelta(seconds=3))
    text = drawn(sight.document())
    assert "HALTED" in text
    assert "drawdown of 21 %" in text
    assert "+3000 ms to the exchange" in text


class StoppedTerminal(io.StringIO):
    """A terminal that takes nothing until it is let go, like one stopped with Ctrl-S."""

    def __init__(self) -> None:
        super().__init__()
        self.go = threading.Event()

    def write(self, text: str) -> int:
        self.go.wait(60)
        return super().write(text)


def test_a_stopped_terminal_holds_up_neither_a_line_nor_the_end() -> None:
    terminal = StoppedTerminal()
    taken = 0
    with Screen(terminal) as screen, suppress(OSError):
        for taken in range(3000):
            screen.lines.write(f"line {taken}\n")
    # the rest was refused at once, for whoever logs to count
    assert 0 < taken < 2000
    assert terminal.getvalue() == ""
    terminal.go.set()


def test_lines_that_wait_are_printed_at_the_end() -> None:
    terminal = io.StringIO()
    with Screen(terminal) as screen:
        for number in range(50):
            screen.lines.write(f"line {number}\n")
    assert [line for line in terminal.getvalue().splitlines() if line] == [f"line {number}" for number in range(50)]
    assert Lines().isatty()


def on_a_terminal(home: Home, *words: str, stop_at: bytes = b"", **settings: str) -> tuple[int, str]:
    """Run a command on a terminal of its own to its end, pressing Ctrl-C once it has said something."""
    ours, theirs = pty.openpty()
    environment = home.environment(**settings) | {"TERM": "xterm-256color", "COLUMNS": "110", "LINES": "40"}
    process = subprocess.Popen(
        [*COMMAND, *words], env=environment, stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True,
        preexec_fn=lambda: os.close(os.open(os.ttyname(0), os.O_RDWR)),
    )  # fmt: skip
    os.close(theirs)
    said = b""
    while True:
        try:
            said += os.read(ours, 65536)
        except OSError:
            break
        if stop_at and stop_at in said:
            os.write(ours, b"\x03")
            stop_at = b""
    os.close(ours)
    return process.wait(60), said.decode()


@pytest.fixture
def home(tmp_path: Any) -> Home:
    home = Home(tmp_path / "home" / "data")
    home.data.mkdir(parents=True)
    return home


def test_ctrl_c_ends_a_run_in_order_and_gives_the_terminal_back(home: Home) -> None:
    code, said = on_a_terminal(home, "run", stop_at=b"close decided", TRADER_LOG__LEVEL="INFO")
    assert code == 0
    for words in ("Next close", "Last order", "stopping", "stopped"):
        assert words in said, said
    assert "Traceback" not in said
    # the cursor is hidden while the table is there, and is back at the end
    assert said.rindex("\x1b[?25h") > said.rindex("\x1b[?25l")
    assert home.journal("select count(*) from decisions where status not in ('closed')") == [(0,)]


def test_json_lines_on_a_terminal_stay_plain(home: Home) -> None:
    code, said = on_a_terminal(
        home, "run", "--cycles", "1", "--speed", "max", TRADER_LOG__LEVEL="INFO", TRADER_LOG__FORMAT="json"
    )
    assert code == 0
    assert "\x1b" not in said
    assert "Next close" not in said
