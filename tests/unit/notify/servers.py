"""Servers on loopback that a notifier may meet: one that hears, and three that behave badly."""

import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class Hearing:
    """What a server heard: each body as JSON, and each path."""

    def __init__(self) -> None:
        self.bodies: list[dict[str, Any]] = []
        self.paths: list[str] = []
        self.status = 200
        self.refuses = ""
        self.came = threading.Event()
        self.url = ""

    def titles(self) -> list[str]:
        return [str(body["title"]) for body in self.bodies]


@contextmanager
def hearing() -> Iterator[Hearing]:
    """A server that hears what it is told, answers with the status it is given, and refuses a title that has a word."""
    heard = Hearing()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            heard.bodies.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.answer(400 if heard.refuses and heard.refuses in heard.titles()[-1] else heard.status)

        def do_GET(self) -> None:
            self.answer(heard.status)

        def answer(self, status: int) -> None:
            heard.paths.append(self.path)
            self.send_response(status)
            self.send_header("Content-Length", "0")
            self.end_headers()
            heard.came.set()

        def log_message(self, *_: Any) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    heard.url = f"127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield heard
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@contextmanager
def misbehaving(kind: str) -> Iterator[str]:
    """The address of a `black hole` (takes all, says nothing), a `liar` (no HTTP, for ever) or a `slow` one."""
    listener = socket.create_server(("127.0.0.1", 0))
    listener.settimeout(0.1)
    ending = threading.Event()

    def behave(client: socket.socket) -> None:
        with client:
            client.settimeout(0.1)
            drip = {"black hole": b"", "liar": b"HTTP/1.1 200 OK\r\n" + b"x" * 4096, "slow": b"H"}[kind]
            while not ending.wait(0 if kind == "liar" else 0.2):
                try:
                    client.sendall(drip)
                except TimeoutError:
                    continue
                except OSError:
                    return

    def accept() -> None:
        clients = []
        while not ending.is_set():
            try:
                client, _ = listener.accept()
            except TimeoutError:
                continue
            clients.append(threading.Thread(target=behave, args=(client,)))
            clients[-1].start()
        for one in clients:
            one.join()

    thread = threading.Thread(target=accept)
    thread.start()
    try:
        yield f"127.0.0.1:{listener.getsockname()[1]}"
    finally:
        ending.set()
        thread.join()
        listener.close()
