"""The table of a running daemon on a terminal, below its log lines.

A thread draws it. The daemon only leaves its lines in a queue, so that a terminal which takes nothing any more, because
somebody stopped it with Ctrl-S or a connection hangs, stops nothing but the table.
"""

import queue
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, TextIO

from rich.console import Console
from rich.live import Live
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from trader.errors import JournalError
from trader.status.readable import amount, forecast, minute, only, percent, quantity, target

if TYPE_CHECKING:
    from trader.app.watching import Watch
    from trader.status.sight import Sight

_PERIOD = 0.5
_MOST_LINES = 1000
_GOODBYE = 2.0


class Lines:
    """A stream for log lines that never waits; it has no descriptor."""

    def __init__(self) -> None:
        self.waiting: queue.Queue[str] = queue.Queue(_MOST_LINES)

    def write(self, line: str) -> int:
        """Leave a line for the thread that prints.

        Raises:
            OSError: too many are waiting; whoever writes counts what is lost.
        """
        try:
            self.waiting.put_nowait(line)
        except queue.Full:
            raise OSError("the terminal takes no more lines") from None
        return len(line)

    def flush(self) -> None:
        """Do nothing: the thread prints as soon as it can."""

    def isatty(self) -> bool:
        """Return that lines may have colours."""
        return True


class Screen:
    """The terminal of a run: log lines, and below them the table once there is something to see."""

    def __init__(self, terminal: TextIO) -> None:
        self.lines = Lines()
        self._terminal = terminal
        self._watch: Watch | None = None
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._draw, name="table", daemon=True)

    def __enter__(self) -> "Screen":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Print what is waiting; a terminal that takes nothing is left alone after a moment."""
        self._ended.set()
        self._thread.join(_GOODBYE)

    @contextmanager
    def show(self, watch: "Watch") -> Iterator[None]:
        """Show the table as long as the block runs."""
        self._watch = watch
        try:
            yield
        finally:
            self._watch = None

    def _draw(self) -> None:
        console = Console(file=self._terminal, force_terminal=True)
        while not self._ended.is_set():
            if self._watch is None:
                self._print(console, _PERIOD / 5)
            else:
                self._keep(console, self._watch)
        self._print(console, 0)

    def _keep(self, console: Console, watch: "Watch") -> None:
        """Keep the table in front until the daemon ends."""
        sight: Sight | None = None
        with Live(console=console, auto_refresh=False) as live:
            while self._watch is watch and not self._ended.is_set():
                try:
                    sight = sight or watch.sight()
                    live.update(table(sight.document(), datetime.now(UTC)), refresh=True)
                except JournalError as error:
                    live.update(Text(str(error)), refresh=True)
                self._print(console, _PERIOD)
        if sight is not None:
            sight.close()

    def _print(self, console: Console, wait: float) -> None:
        """Print every line that is there, and wait a moment for the first."""
        try:
            line = self.lines.waiting.get(timeout=wait) if wait else self.lines.waiting.get_nowait()
            while True:
                console.print(Text.from_ansi(line.rstrip("\n")), soft_wrap=True)
                line = self.lines.waiting.get_nowait()
        except queue.Empty:
            return


def table(document: Mapping[str, Any], now: datetime) -> Panel:
    """Draw next close, forecast, position, equity and last order of a document (see `status.sight`)."""
    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="dim", no_wrap=True)
    grid.add_column(overflow="fold")
    for name, row in _ROWS.items():
        grid.add_row(name, row(document, now))
    if document["state"] != "ACTIVE":
        grid.add_row("Why", Text(document["why"], style="bold red"))
    for line in document["health"]["lines"]:
        if not line["well"]:
            grid.add_row(line["name"].capitalize(), Text(line["text"], style="bold red"))
    venue = document["venue"] + (", dry run" if document["dry_run"] else "")
    venue += ", generated market" if document["generated"] else ""
    style = "green" if document["state"] == "ACTIVE" else "red"
    title = Text.assemble((document["strategy"], "bold"), f" on {venue} ", (document["state"], f"bold {style}"))
    return Panel(grid, title=title, title_align="left", border_style="dim", expand=False)


def _next(document: Mapping[str, Any], now: datetime) -> Text:
    wakes = document["next"]["wakes"]
    text = f"{minute(document['next']['close'])} UTC"
    return Text(text if wakes is None else f"{text}, {_left((datetime.fromisoformat(wakes) - now).total_seconds())}")


def _forecast(document: Mapping[str, Any], now: datetime) -> Text:
    last = next((one for one in document["decisions"] if one["forecast"]), None)
    if last is None:
        return Text("none yet", style="dim")
    told = Text(forecast(last["forecast"]), style=_style(only(last["forecast"]) or 0.0))
    return told + Text(f"  target {target(last['target'])}  at {minute(last['close'])}")


def _position(document: Mapping[str, Any], now: datetime) -> Text:
    held = [
        f"{quantity(one['quantity'])} {one['symbol']} at {quantity(one['entry_price'])}, {percent(one['exposure'], 1)}"
        + (f", stop at {quantity(one['stop'])}" if one["stop"] else "")
        for one in document["holdings"]
    ]
    return Text("; ".join(held) or "nothing")


def _equity(document: Mapping[str, Any], now: datetime) -> Text:
    money = document["money"]
    if money["equity"] is None:
        return Text("not known yet", style="dim")
    profit = Text(amount(money["profit"]), style=_style(float(money["profit"])))
    told = Text(f"{amount(money['equity'])} USDT  profit ")
    return told + profit + Text(f"  {percent(money['drawdown'])} below the peak")


def _order(document: Mapping[str, Any], now: datetime) -> Text:
    if not document["orders"]:
        return Text("none yet", style="dim")
    last = document["orders"][0]
    price = f" at {quantity(last['average_price'])}" if last["average_price"] else ""
    return Text(f"{last['side'].lower()} {quantity(last['quantity'])} {last['symbol']}{price}  {last['status']}")


_ROWS: Mapping[str, Callable[[Mapping[str, Any], datetime], Text]] = {
    "Next close": _next,
    "Forecast": _forecast,
    "Position": _position,
    "Equity": _equity,
    "Last order": _order,
}


def _style(number: float) -> str:
    return "blue" if number > 0 else "yellow"


def _left(seconds: float) -> str:
    """Say how long it is until then, in its two largest units."""
    whole = round(seconds)
    if whole <= 0:
        return "now"
    days, hours, minutes = whole // 86400, whole // 3600 % 24, whole // 60 % 60
    if days:
        return f"in {days} d {hours} h"
    if hours:
        return f"in {hours} h {minutes} min"
    return f"in {minutes} min {whole % 60} s" if minutes else f"in {whole} s"
