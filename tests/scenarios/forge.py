"""Processes of the command line that need not import it: each is forked from one that has.

`python -m tests.scenarios.forge` imports what commands import, reads commands from the socket that is its standard
input (a JSON message with two open files each), and answers each with a process and then that process's exit code. The
process has memory, files, directory and environment of its own; what it did not do itself is start Python.
"""

import atexit
import importlib
import json
import os
import pkgutil
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import IO, NoReturn

ROOT = Path(__file__).resolve().parents[2]
_LONGEST = 1 << 16


class Forge:
    """The side of the tests."""

    def __init__(self) -> None:
        self._ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self._process = subprocess.Popen([sys.executable, "-m", "tests.scenarios.forge"], stdin=theirs, cwd=ROOT)

    def run(
        self,
        words: Sequence[str],
        environment: Mapping[str, str],
        directory: Path,
        files: tuple[IO[str], IO[str]],
        timeout: float,
    ) -> int:
        """Run a command with these files for output and errors, and return its exit code as `subprocess` does.

        Raises:
            TimeoutExpired: it ran longer and was killed.
        """
        order = json.dumps({"words": list(words), "environment": dict(environment), "directory": str(directory)})
        socket.send_fds(self._ours, [order.encode()], [one.fileno() for one in files])
        pid = int(self._heard(timeout) or 0)
        code = self._heard(timeout)
        if code is None:
            os.kill(pid, signal.SIGKILL)
            self._heard(timeout)
            raise subprocess.TimeoutExpired(list(words), timeout)
        return int(code)

    def close(self) -> None:
        """End the forge: nobody can send it an order any more."""
        self._ours.close()
        self._process.wait()

    def _heard(self, timeout: float) -> str | None:
        ready, _, _ = select.select([self._ours], [], [], timeout)
        if not ready:
            return None
        told = self._ours.recv(_LONGEST).decode()
        assert told, "the forge has ended"
        return told


@cache
def forge() -> Forge:
    """Return the forge of this process of tests, which ends with it."""
    made = Forge()
    atexit.register(made.close)
    return made


def _serve(orders: socket.socket) -> None:
    """Fork a process for each order, one after the other, until nobody can send one."""
    while True:
        text, files, _, _ = socket.recv_fds(orders, _LONGEST, 2)
        if not text:
            return
        pid = os.fork()
        if pid == 0:
            orders.close()
            _become(json.loads(text), files)
        for file in files:
            os.close(file)
        orders.send(str(pid).encode())
        _, status = os.waitpid(pid, 0)
        orders.send(str(os.waitstatus_to_exitcode(status)).encode())


def _become(order: dict[str, object], files: Sequence[int]) -> NoReturn:
    """Be the process of a command: its files, directory, environment and words; never come back."""
    from trader.cli import main

    code = 70
    try:
        nothing = os.open(os.devnull, os.O_RDONLY)
        for number, file in enumerate((nothing, *files)):
            os.dup2(file, number)
            if file != number:
                os.close(file)
        os.chdir(str(order["directory"]))
        os.environ.clear()
        os.environ.update(order["environment"])  # type: ignore[call-overload]
        time.tzset()
        words = [str(word) for word in order["words"]]  # type: ignore[attr-defined]
        sys.argv = ["trader", *words]
        main()
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 0
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


if __name__ == "__main__":
    import trader.app

    for module in pkgutil.iter_modules(trader.app.__path__):
        importlib.import_module(f"trader.app.{module.name}")
    importlib.import_module("trader.cli")
    with socket.socket(fileno=0) as given:
        _serve(given)
