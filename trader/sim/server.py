"""Serve the embedded exchange: listen on loopback with TLS, say when it is ready, end cleanly."""

import asyncio
import errno
import hashlib
import json
import os
import signal
import sqlite3
import sys
import threading
from typing import Any

from aiohttp import web

from trader.sim.clock import REAL, real_now
from trader.sim.errors import StartError
from trader.sim.exchange import Exchange
from trader.sim.folder import Opened, Options, open_exchange
from trader.sim.gate import Gate
from trader.sim.tls import ADDRESS, server_context

__all__ = ["Options", "Server", "serve"]


def serve(options: Options) -> int:
    """Serve until SIGTERM, SIGINT or (with ``pipe``) the end of standard input; gives the exit code."""
    try:
        return asyncio.run(_serve(options))
    except StartError as error:
        sys.stderr.write(f"{error}\n")
        return error.exit_code


async def _serve(options: Options) -> int:
    server = Server(options)
    stop = server.ended
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, stop.set)
    if options.pipe:
        # Ctrl-C reaches the whole foreground group; the client still needs us to drain, and ends us by the pipe.
        loop.add_signal_handler(signal.SIGINT, lambda: None)
        threading.Thread(target=_watch_stdin, args=(loop, stop), daemon=True).start()
    else:
        loop.add_signal_handler(signal.SIGINT, stop.set)
    try:
        line = await server.start()
        sys.stdout.write(json.dumps(line) + "\n")
        sys.stdout.flush()
        await stop.wait()
    finally:
        await server.stop()
    if server.failure is not None:
        raise server.failure
    return 0


def _watch_stdin(loop: asyncio.AbstractEventLoop, stop: asyncio.Event) -> None:
    """Wait for the end of standard input with bare reads, which hold no lock at interpreter exit."""
    try:
        while os.read(0, 4096):
            pass
    except OSError:
        pass
    if not loop.is_closed():
        loop.call_soon_threadsafe(stop.set)


class Server:
    """Hold the listening exchange: ``start`` gives the ready line as a dict, ``stop`` closes everything."""

    def __init__(self, options: Options) -> None:
        self.ended = asyncio.Event()
        self.failure: StartError | None = None
        self._options = options
        self._opened: Opened | None = None
        self._runner: web.ServerRunner | None = None

    async def start(self) -> dict[str, Any]:
        """Open the folder and listen; gives the ready line."""
        options = self._options
        context, anchor = server_context(options.ca_folder or options.folder.parent)
        opened = self._opened = open_exchange(options)
        exchange = opened.exchange
        gate = Gate(exchange, opened.control_token, options.client_pid, self._fail)
        self._runner = web.ServerRunner(
            web.Server(gate.handle, access_log=None, keepalive_timeout=3600), shutdown_timeout=1
        )
        await self._runner.setup()
        site = web.TCPSite(self._runner, ADDRESS, options.port, ssl_context=context)
        try:
            await site.start()
        except OSError as error:
            await self.stop()
            taken = "is in use" if error.errno == errno.EADDRINUSE else f"cannot be used ({error.strerror})"
            raise StartError(f"The port {options.port} {taken}; give another --port or 0.", 69) from error
        if options.clock == REAL:
            exchange.advance(real_now())
        return {
            "port": self._runner.addresses[0][1],
            "ca": str(anchor.resolve()),
            "api_key": exchange.keys.api_key,
            "api_secret": exchange.keys.api_secret,
            "control": opened.control_token,
            "venue_time": exchange.venue.now,
            "resumed": opened.resumed,
            "generated": exchange.tape.generated,
            "symbols": list(exchange.tape.series),
            "tape": exchange.tape.name,
            "tape_end": exchange.tape_end,
            "fingerprint": _fingerprint(exchange),
        }

    def _fail(self, error: sqlite3.Error) -> None:
        path = self._options.folder / "ledger.db"
        self.failure = StartError(f"The exchange's ledger {path} cannot be written ({error}); free its disk.", 74)
        self.ended.set()

    async def stop(self) -> None:
        """Stop listening and close the ledger."""
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None
        if self._opened is not None:
            self._opened.exchange.ledger.close()
            self._opened.lock.close()
            self._opened = None


def _fingerprint(exchange: Exchange) -> str:
    identity = exchange.ledger.identity()
    return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:16]
