"""Show that the loop is alive: a stamp beside the journal for `trader health`, and the protocol of a service manager.

The stamp is beaten by the event loop itself, so that a process which is there but does nothing looks dead.
"""

import asyncio
import os
import socket
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Protocol

from structlog.typing import FilteringBoundLogger

from trader.journal.lock import holder

PERIOD = 5.0
STALE = 60.0
_SUFFIX = ".pulse"


class Manager(Protocol):
    """Whoever started the daemon and wants to know how it is."""

    def tell(self, **said: str) -> None:
        """Say one or more things, such as `STATUS`."""
        ...


class Nobody:
    """No service manager."""

    def tell(self, **said: str) -> None:
        """Say it to nobody."""


class ServiceManager:
    """systemd's notification socket (sd_notify(3)): datagrams of `NAME=value` lines, never repeated."""

    def __init__(self, address: str) -> None:
        """Speak to an address; one that begins with @ is abstract."""
        self._address = "\0" + address[1:] if address.startswith("@") else address

    def tell(self, **said: str) -> None:
        """Send one datagram; a manager that is not there any more is no reason to stop trading."""
        text = "\n".join(f"{name}={' '.join(value.split())}" for name, value in said.items())
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as channel, suppress(OSError):
            channel.connect(self._address)
            channel.send(text.encode())


class Pulse:
    """The daemon's heartbeat."""

    def __init__(self, journal: Path, manager: Manager, log: FilteringBoundLogger) -> None:
        self._path = pulse_path(journal)
        self._manager = manager
        self._log = log
        self._written = True

    def ready(self, text: str) -> None:
        """Say that the daemon has recovered and waits for closes."""
        self.beat()
        self._manager.tell(READY="1", STATUS=text)

    def status(self, text: str) -> None:
        """Say what the daemon does, in a line."""
        self._manager.tell(STATUS=text)

    def stopping(self) -> None:
        """Say that the daemon finishes what is under way."""
        self._manager.tell(STOPPING="1")

    def beat(self) -> None:
        """Say that the loop runs."""
        self._manager.tell(WATCHDOG="1")
        try:
            # in place and of one size, so that a full disk takes it too
            descriptor = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                os.pwrite(descriptor, f"{time.monotonic():020.3f}\n".encode(), 0)
            finally:
                os.close(descriptor)
        except OSError as error:
            if self._written:
                self._log.error("the heartbeat cannot be written", path=str(self._path), error=error.strerror)
            self._written = False
        else:
            self._written = True

    @asynccontextmanager
    async def beating(self) -> AsyncIterator[None]:
        """Beat as long as the block runs."""
        task = asyncio.create_task(self._beat_on())
        try:
            yield
        finally:
            task.cancel()
            self.stopping()

    async def _beat_on(self) -> None:
        while True:
            self.beat()
            await asyncio.sleep(PERIOD)


def manager() -> Manager:
    """Return the service manager that started this process, if one did."""
    address = os.environ.get("NOTIFY_SOCKET")
    return ServiceManager(address) if address else Nobody()


def ailment(journal: Path) -> str | None:
    """Say why the daemon of a journal is not well, None where it is.

    It is well where one runs, has recovered, and its loop has beaten within the last minute. A daemon that a guard has
    halted is well: it does what it should.
    """
    found = holder(journal)
    if found is None:
        return f"No daemon runs on {journal}; start it with `trader run`."
    if found.out is not None:
        return (
            f"The daemon (pid {found.pid}) waits with its start, as the exchange is out since "
            f"{found.out:%Y-%m-%d %H:%M}Z; it asks again by itself, and its log says what it meets."
        )
    if not found.ready:
        return f"The daemon (pid {found.pid}) has not recovered yet; look at its log if that lasts."
    try:
        age = time.monotonic() - float(pulse_path(journal).read_text())
    except (OSError, ValueError):
        return f"The daemon (pid {found.pid}) shows no heartbeat; look at its log and at the disk."
    # an age below zero is from before a restart of the machine, but for the rounding of the stamp
    if not -1 <= age <= STALE:
        return f"The loop of the daemon (pid {found.pid}) has not run for {age:.0f} s; restart it, nothing is lost."
    return None


def pulse_path(journal: Path) -> Path:
    """Return where the heartbeat of a journal's daemon lies."""
    return journal.with_name(journal.name + _SUFFIX)
