"""Watch the journal, keep what is news on disk, and have it told, all beside the daemon and never in its way.

One thread reads the journal and writes the box; it rests while a close is decided. What talks to the outside is a
process of its own (`notify.courier`), so no address, dead or lying, is ever waited for by anything that trades.
"""

import json
import math
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from time import monotonic, time
from typing import Any

from structlog.typing import FilteringBoundLogger

from trader.errors import JournalError
from trader.journal.queries import Reader
from trader.notify import watch
from trader.notify.alert import Alert, Severity
from trader.notify.outbox import FILE, Entry, Outbox

LOOK_EVERY = 5.0
REST = 1.0
LONGEST_REST = 30.0
DELIVERY = 30.0
_MARGIN = 10.0
_SLICE = 0.5
_TITLE, _TEXT = 200, 1500
_MARK = "journal"
_HIDDEN = ("TRADER_", "NOTIFY_SOCKET", "CREDENTIALS_DIRECTORY")


@dataclass(frozen=True, slots=True)
class Wishes:
    """Who is told what: `urls` and `ping` are secrets, `digest` is a time of day in UTC or None.

    Times are in seconds; `delivery` is how long one delivery to all may take.
    """

    urls: tuple[str, ...]
    ping: str | None
    ping_every: float
    level: Severity
    repeat: float
    digest: str | None
    delivery: float = DELIVERY


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What the post needs to know of the daemon it stands beside; each is asked from another thread.

    `busy` says that a close is decided, or soon, `well` that the loop runs, `venue_now` the venue's time, `real` that
    the venue is not the embedded one.
    """

    busy: Callable[[], bool]
    well: Callable[[], bool]
    venue_now: Callable[[], datetime]
    real: bool


class Post:
    """Alerts of one instance, from a thread of its own."""

    def __init__(self, journal: Path, wishes: Wishes, around: Surroundings, log: FilteringBoundLogger) -> None:
        self._journal = journal
        self._wishes = wishes
        self._around = around
        self._log = log
        self._handed: list[Alert] = []
        self._wake = threading.Event()
        self._ending = threading.Event()
        self._last = False
        self._box: Outbox | None = None
        self._thread = threading.Thread(target=self._work, name="post", daemon=True)
        self._pinged = -math.inf
        self._begun = False
        self._said: dict[int, str | None] = {}
        self._trouble: str | None = None

    def start(self) -> None:
        """Begin to watch."""
        self._thread.start()

    def hand(self, alert: Alert) -> None:
        """Take news that is in no journal; nothing is written or sent by the caller's thread."""
        self._handed.append(alert)

    def look(self) -> None:
        """Look soon, because something happened."""
        self._wake.set()

    def stop(self, last: Alert | None = None) -> None:
        """End; with last words, they and all that waits are told first, which takes half a minute at most."""
        if last is not None:
            self._handed.append(last)
            self._last = True
        self._ending.set()
        self._wake.set()
        self._thread.join(self._wishes.delivery + _MARGIN if last is not None else _MARGIN)

    def _work(self) -> None:
        with ExitStack() as open_until_the_end:
            self._try(lambda: self._begin(self._opened(open_until_the_end)))
            while not self._ending.is_set():
                self._rest()
                if not self._ending.is_set():
                    self._attend(open_until_the_end)
            if self._handed or self._last:
                self._attend(open_until_the_end, final=True)
            else:
                # what is news by now is told by the next start
                self._try(lambda: self._gather(self._opened(open_until_the_end)))

    def _opened(self, stack: ExitStack) -> Outbox:
        """Return the box, opened when it can be: what keeps it closed now may be over at the next look."""
        if self._box is None:
            self._box = stack.enter_context(Outbox.open(self._journal.with_name(FILE)))
        return self._box

    def _try(self, work: Callable[[], object]) -> bool:
        """Do what needs box and journal; whether it went well. A trouble with either is said once."""
        try:
            work()
        except JournalError as error:
            if self._trouble != str(error):
                self._log.error("alerts cannot be kept", error=str(error))
            self._trouble = str(error)
            return False
        return True

    def _begin(self, box: Outbox) -> str:
        """Return how far the journal is known; what was in it before anybody watched is no news."""
        mark = box.mark(_MARK)
        if mark is None:
            with Reader.read(self._journal) as journal:
                mark = watch.begin(journal)
            box.set_mark(_MARK, mark)
        return mark

    def _rest(self) -> None:
        """Wait until it is time to look and no close is under way, but not for ever."""
        self._wake.wait(LOOK_EVERY)
        self._wake.clear()
        begun = monotonic()
        while self._around.busy() and monotonic() - begun < LONGEST_REST and not self._ending.wait(REST):
            pass

    def _attend(self, stack: ExitStack, *, final: bool = False) -> None:
        """Look once, and have told what waits; what no disk takes is told all the same."""
        gathered = self._try(lambda: self._gather(self._opened(stack)))
        if self._handed:
            self._carry(self._unkept(), ping=None, final=final)
        # also where the journal cannot be read: what waits may be just that
        if self._try(lambda: self._deliver(self._opened(stack), final=final)) and gathered:
            self._trouble = None

    def _unkept(self) -> list[dict[str, Any]]:
        """Take what no disk has taken, to be told without having been kept."""
        handed, self._handed = self._handed[:20], self._handed[20:]
        numbers = list(range(1, len(self._wishes.urls) + 1))
        return [letter(-1, one.severity, one.title, one.text, numbers) for one in handed if self._wanted(one)]

    def _gather(self, box: Outbox) -> None:
        """Put everything into the box that is news."""
        now = time()
        while self._handed:
            self._put(box, self._handed[0], now)
            del self._handed[0]
        mark = self._begin(box)
        with Reader.read(self._journal) as journal:
            alerts, after = watch.news(journal, mark)
            for alert in alerts:
                self._put(box, alert, now)
            if after != mark:
                box.set_mark(_MARK, after)
            for look in (watch.overdue, watch.barred):
                if (found := look(journal, self._around.venue_now())) is not None:
                    self._put(box, found, now)
            if self._around.real and (ageing := watch.expiry(journal, datetime.now(UTC))) is not None:
                self._put(box, ageing, now)
            self._digest(box, journal, now)

    def _digest(self, box: Outbox, journal: Reader, now: float) -> None:
        """Say once a day that it is alive; a daemon that is started after the hour says it the next day."""
        wall = datetime.fromtimestamp(now, UTC)
        if self._wishes.digest is None:
            return
        today = f"{wall:%Y-%m-%d}"
        due = f"{wall:%H:%M}" >= self._wishes.digest
        last = box.mark("digest")
        if last is None or (due and last < today):
            box.set_mark("digest", today if due else "")
        if last is not None and due and last < today:
            self._put(box, watch.digest(journal, today, self._around.venue_now(), box.undelivered()), now)

    def _put(self, box: Outbox, alert: Alert, now: float) -> None:
        if self._wanted(alert):
            box.put(alert, now, repeat=self._wishes.repeat)

    def _wanted(self, alert: Alert) -> bool:
        return bool(self._wishes.urls) and (alert.always or alert.severity.reaches(self._wishes.level))

    def _deliver(self, box: Outbox, *, final: bool) -> None:
        """Have told what waits, and ping where that is due and all is well."""
        now = time()
        numbers = list(range(1, len(self._wishes.urls) + 1))
        # what an earlier process was to try again later is tried at once by this one, and before the end
        entries = box.waiting(now if self._begun and not final else math.inf) if numbers else []
        self._begun = True
        ping = None
        # by a clock that nobody sets: one that was set back would keep silent for as long, and call a live daemon dead
        since = monotonic() - self._pinged
        if self._wishes.ping and since >= self._wishes.ping_every and self._around.well():
            ping, self._pinged = self._wishes.ping, monotonic()
        letters = [_of(entry, [n for n in numbers if n not in entry.told]) for entry in entries]
        taken = self._carry(letters, ping=ping, final=final)
        for entry in entries:
            box.tell(entry, taken.get(entry.id, ()), numbers, time())

    def _carry(self, letters: list[dict[str, Any]], *, ping: str | None, final: bool) -> dict[int, list[int]]:
        """Run the courier once; return which addresses took which alert."""
        if not letters and ping is None:
            return {}
        addresses = [{"number": number, "url": url} for number, url in enumerate(self._wishes.urls, 1)]
        message = {"addresses": addresses, "alerts": letters, "ping": ping, "seconds": self._wishes.delivery}
        asked = {number for letter in letters for number in letter["to"]} | ({0} if ping else set())
        answers: dict[int, str | None] = {}
        taken: dict[int, list[int]] = {}
        try:
            said = carry(message, stop=None if final else self._ending)
        except OSError as error:
            said, silence = [], f"no process can be started for them: {error.strerror}"
        else:
            silence = f"it did not answer within {self._wishes.delivery:g} s"
        for one in said:
            number = 0 if "ping" in one else int(one["address"])
            # one that took anything takes alerts
            if one["why"] is None or number not in answers:
                answers[number] = one["why"]
            if one.get("told"):
                taken.setdefault(one["alert"], []).append(number)
        if final or not self._ending.is_set():
            answers = {number: answers.get(number, silence) for number in sorted(asked | answers.keys())}
        for number, why in answers.items():
            self._report(number, kind(self._wishes.urls[number - 1]) if number else "ping", why)
        return taken

    def _report(self, number: int, scheme: str, why: str | None) -> None:
        """Log what an address answers when that changes; the address itself is a secret."""
        if self._said.get(number) != why:
            say = self._log.info if why is None else self._log.warning
            say("alerts are taken" if why is None else "alerts are not taken", address=number, scheme=scheme, why=why)
        self._said[number] = why


def kind(url: str) -> str:
    """Return the kind of an address, which is all of it that may be shown."""
    found, mark, _ = url.partition("://")
    # without the mark its beginning may be a key
    return found if mark else "without a kind"


def carry(message: dict[str, Any], *, stop: threading.Event | None = None) -> list[dict[str, Any]]:
    """Run the courier with one message, and return what it said until it ended or was ended.

    Args:
        message: `addresses`, `alerts`, `ping` and how many `seconds` it may take; with `look` each address is looked
            at first, and nobody is told of that.
        stop: once this is set it is ended; what it has not told by then is told by the next start.
    """
    environment = {name: value for name, value in os.environ.items() if not name.startswith(_HIDDEN)}
    # -P: a module of the working directory is not ours
    with subprocess.Popen(
        [sys.executable, "-P", "-m", "trader.notify.courier"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=environment,
    ) as process:
        out, begun = None, monotonic()
        unsent: bytes | None = json.dumps(message).encode()
        while out is None:
            try:
                out, _ = process.communicate(unsent, _SLICE)
            except subprocess.TimeoutExpired:
                unsent = None
                if monotonic() - begun > message["seconds"] + _MARGIN or (stop is not None and stop.is_set()):
                    process.kill()
    return [said for line in out.splitlines() if isinstance(said := _said(line), dict)]


def _said(line: bytes) -> Any:
    """Read a line of the courier, None where a library wrote it or its end is missing."""
    with suppress(ValueError):
        return json.loads(line)
    return None


def _of(entry: Entry, to: Sequence[int]) -> dict[str, Any]:
    again = f"\n({entry.repeats} more times since)" if entry.repeats else ""
    stamp = f"\n{datetime.fromtimestamp(entry.at, UTC):%Y-%m-%d %H:%MZ}"
    return letter(entry.id, entry.severity, entry.title, f"{_cut(entry.text, _TEXT - 100)}{again}{stamp}", to)


def letter(number: int, severity: Severity, title: str, text: str, to: Sequence[int]) -> dict[str, Any]:
    """Write an alert for the courier, no longer than what every place takes."""
    # an empty text is refused without being sent
    title, text = _cut(f"trader: {title}", _TITLE), _cut(text or title, _TEXT)
    return {"id": number, "severity": severity.value, "title": title, "text": text, "to": list(to)}


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[: most - 1]}…"
