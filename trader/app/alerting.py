"""Alerts of a running daemon: who is told, what the post may ask of it, and its last words."""

import re
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from time import time
from types import TracebackType
from typing import Any, Self
from urllib.parse import unquote

from trader.app.assembly import Assembly
from trader.app.current import home
from trader.app.pulse import ailment
from trader.config import Settings
from trader.domain.wording import stamp
from trader.errors import ConfigError, JournalError, JournalLocked
from trader.log import redact, register_secret
from trader.notify.alert import Alert, Severity
from trader.notify.outbox import FILE, Outbox
from trader.notify.post import DELIVERY, Post, Surroundings, Wishes, carry, kind, letter

SOON = timedelta(seconds=3)
_SHORTEST_PART = 8
_SEPARATORS = re.compile(r"[/?#&=]")
_TEST = "This is a test: whoever reads it is told when something is wrong."


def wishes(settings: Settings) -> Wishes:
    """Return who is to be told what, and keep every address out of the log from now on."""
    asked = settings.alerts
    urls = asked.urls.get_secret_value().split() if asked.urls else []
    ping = asked.ping.get_secret_value().strip() if asked.ping else ""
    for url in filter(None, [*urls, ping]):
        secrets = _secret_parts(url)
        register_secret(url, *secrets, *map(unquote, secrets))
    return Wishes(
        urls=tuple(urls),
        ping=ping or None,
        ping_every=asked.ping_every,
        level=Severity(asked.level),
        repeat=asked.repeat,
        digest=None if asked.digest == "off" else asked.digest,
    )


class Alerting:
    """The post of one daemon, if anybody is to be told; an error that ends the block is its last words."""

    def __init__(self, settings: Settings) -> None:
        self._wishes = wishes(settings)
        self._settings = settings
        self._venue = settings.venue
        self._wanted = bool(self._wishes.urls or self._wishes.ping)
        self._post: Post | None = None
        self._early: list[Alert] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        told = isinstance(error, Exception) and not isinstance(error, JournalLocked)
        last = _last_words(error) if told and error is not None else None
        if self._post is not None:
            self._post.stop(last)
        elif last is not None and self._wishes.urls:
            self._tell_without_post(last)

    def _tell_without_post(self, last: Alert) -> None:
        """Tell why a start was refused; what an address does not take now is told it by a later start."""
        said: list[dict[str, Any]] = []
        # whatever is in the way of it, the error still is the one that ends the daemon
        with suppress(OSError):
            said = carry(_message(self._wishes, last))
        taken = {int(one["address"]) for one in said if one.get("told")}
        numbers = range(1, len(self._wishes.urls) + 1)
        # which embedded exchange was meant nobody knows yet
        if taken.issuperset(numbers) or self._venue == "sim":
            return
        folder = home(self._settings)
        if folder.is_dir():
            with suppress(JournalError), Outbox.open(folder / FILE) as box:
                now = time()
                if box.put(last, now, repeat=self._wishes.repeat):
                    box.tell(box.newest(1)[0], taken, numbers, now)

    def begin(self, one: Assembly, deciding: Callable[[], bool]) -> None:
        """Begin to watch a daemon; `deciding` says from any thread whether a close is under way."""
        if not self._wanted:
            return
        clock, interval, path = one.venue.clock, one.loaded.strategy.interval, one.lock.journal

        def busy() -> bool:
            now = clock.now()
            return deciding() or interval.following(now) - now < SOON

        around = Surroundings(busy, lambda: ailment(path) is None, clock.now, self._venue != "sim")
        self._post = Post(path, self._wishes, around, one.log)
        for alert in self._early:
            self._post.hand(alert)
        self._post.start()

    def look(self) -> None:
        """Say that something was written down."""
        if self._post is not None:
            self._post.look()

    def hand(self, alert: Alert) -> None:
        """Take news that is in no journal."""
        if self._post is not None:
            self._post.hand(alert)
        else:
            self._early.append(alert)

    def crashed(self, times: int) -> None:
        """Say that earlier starts did not end in order."""
        text = f"{times} starts within ten minutes did not end in order. Every order was settled first; see the log."
        self.hand(Alert("crashed", Severity.WARNING, "Started again after a crash", text))


def listing(settings: Settings, last: int) -> list[dict[str, Any]]:
    """List the newest alerts of the instance, oldest first, with what became of each."""
    path = home(settings) / FILE
    if not path.exists():
        return []
    with Outbox.open(path) as box:
        return [
            {
                "at": stamp(datetime.fromtimestamp(entry.at, UTC)),
                "severity": entry.severity.value,
                "title": entry.title,
                "text": entry.text,
                "repeats": entry.repeats,
                "attempts": entry.attempts,
                "status": entry.done or "waiting",
            }
            for entry in box.newest(last)
        ]


def look_at_addresses(settings: Settings) -> str:
    """Say how many are to be told; nobody is told anything.

    Raises:
        ConfigError: an address is none.
    """
    wished = wishes(settings)
    message = {**_addresses(wished), "alerts": [], "ping": None, "seconds": DELIVERY, "look": True}
    for answer in carry(message) if wished.urls else ():
        if answer["why"] is not None:
            place = kind(wished.urls[answer["address"] - 1])
            raise ConfigError(
                f"Address {answer['address']} ({place}) of TRADER_ALERTS__URLS cannot be used: {answer['why']}; write "
                "it as https://github.com/caronc/apprise says and try it with `trader alerts --test`."
            )
    if wished.ping and kind(wished.ping).lower() not in ("http", "https"):
        raise ConfigError("TRADER_ALERTS__PING is no web address; begin it with https://.")
    ping = ", and one address hears that the daemon lives" if wished.ping else ""
    return f"{len(wished.urls)} to be told{ping}"


def try_out(settings: Settings) -> list[dict[str, Any]]:
    """Send a test to every address and to the ping, and return what each said.

    Raises:
        ConfigError: there is no address.
    """
    wished = wishes(settings)
    if not wished.urls and not wished.ping:
        raise ConfigError("Nobody is to be told: set TRADER_ALERTS__URLS, TRADER_ALERTS__PING or both.")
    alert = Alert("test", Severity.INFO, "test", _TEST)
    said = carry(_message(wished, alert) | {"ping": wished.ping})
    heard = {0 if "ping" in one else int(one["address"]): one["why"] for one in said}
    names = {number: kind(url) for number, url in enumerate(wished.urls, 1)}
    if wished.ping:
        names[0] = "ping"
    silent = f"it did not answer within {DELIVERY:g} s"
    return [
        {"address": number, "kind": name, "taken": heard.get(number, silent) is None, "why": heard.get(number, silent)}
        for number, name in sorted(names.items())
    ]


def _secret_parts(url: str) -> list[str]:
    """List the parts of an address that may be keys, as they are written; nothing that it may be wrong with raises."""
    place, _, rest = url.partition("://")[2].partition("/")
    place, _, query = place.partition("?")
    user, _, host = place.rpartition("@")
    name, _, port = host.partition(":")
    # a host that is a name is public, a token in its place is not
    words = [*user.split(":", 1), *([] if "." in name else [name]), port, query, *_SEPARATORS.split(rest)]
    return [word for word in {*words, *_SEPARATORS.split(query)} if len(word) >= _SHORTEST_PART]


def _last_words(error: BaseException) -> Alert:
    text = redact(f"{type(error).__name__}: {error}")
    return Alert.by_text("ended", Severity.CRITICAL, "The daemon has ended", f"{text} What was held is still held.")


def _message(wished: Wishes, alert: Alert) -> dict[str, Any]:
    addresses = _addresses(wished)
    to = [address["number"] for address in addresses["addresses"]]
    return {
        **addresses,
        "alerts": [letter(0, alert.severity, alert.title, alert.text, to)],
        "ping": None,
        "seconds": DELIVERY,
    }


def _addresses(wished: Wishes) -> dict[str, Any]:
    return {"addresses": [{"number": number, "url": url} for number, url in enumerate(wished.urls, 1)]}
