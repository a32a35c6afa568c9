"""Start the embedded exchange as its own process, and end with it."""

import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trader.app import places
from trader.errors import ConfigError, ExchangeError


@dataclass(slots=True)
class EmbeddedExchange:
    """A running embedded exchange; it ends when `close` is called or when this process dies."""

    process: subprocess.Popen[str]
    ready: dict[str, Any]

    @property
    def port(self) -> int:
        """Where it listens on 127.0.0.1."""
        return int(self.ready["port"])

    def close(self) -> None:
        """Close its control pipe and wait for its end."""
        if self.process.stdin is not None and not self.process.stdin.closed:
            self.process.stdin.close()
        try:
            self.process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        if self.process.stdout is not None:
            self.process.stdout.close()


def start(folder: Path, arguments: Sequence[str]) -> EmbeddedExchange:
    """Start the exchange of a folder and wait until it listens.

    It runs in a session of its own, so that Ctrl-C reaches only the daemon, which ends it after draining.

    Raises:
        ConfigError: it refused its tape or its settings; the message is its own.
    """
    places.make_folder(folder)
    log = folder / "exchange.log"
    command = [sys.executable, "-m", "trader.sim", "--dir", str(folder), "--ca-dir", str(folder.parent), "--pipe"]
    with log.open("a") as stderr:
        begins = stderr.tell()
        process = subprocess.Popen(
            [*command, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
            start_new_session=True,
        )
    assert process.stdout is not None  # noqa: S101  # it was asked for as a pipe
    line = process.stdout.readline()
    if not line:
        code = process.wait()
        said = log.read_bytes()[begins:].decode(errors="replace").strip().splitlines()
        message = said[-1] if said else f"it ended with code {code}"
        if code in (2, ConfigError.exit_code):
            raise ConfigError(message)
        raise ExchangeError(f"The embedded exchange did not start: {message.rstrip('.')}; see {log}.")
    return EmbeddedExchange(process, json.loads(line))
