"""A client of our own for the embedded exchange: plain standard library, so that it shares nothing with the daemon."""

import hashlib
import hmac
import json
import ssl
import subprocess
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from tests.scenarios.processes import Home


@dataclass(frozen=True)
class Hand:
    """What a person with the keys can do on a running embedded exchange."""

    ready: dict[str, Any]

    def public(self, path: str, **parameters: object) -> Any:
        """Ask without keys."""
        return self._open("GET", path, urllib.parse.urlencode(parameters), {})

    def signed(self, method: str, path: str, **parameters: object) -> Any:
        """Ask with keys."""
        now = self.public("/fapi/v1/time")["serverTime"]
        query = urllib.parse.urlencode(parameters | {"timestamp": now, "recvWindow": 5000})
        digest = hmac.new(self.ready["api_secret"].encode(), query.encode(), hashlib.sha256).hexdigest()
        return self._open(method, path, f"{query}&signature={digest}", {"X-MBX-APIKEY": self.ready["api_key"]})

    def ledger(self) -> dict[str, Any]:
        """Read the exchange's whole ledger through its control port."""
        found: dict[str, Any] = self._open("GET", "/sim/v1/ledger", "", {"X-Sim-Control": self.ready["control"]})
        return found

    def control(self, path: str, body: object) -> Any:
        """Call the exchange's control port."""
        headers = {"X-Sim-Control": self.ready["control"], "Content-Type": "application/json"}
        return self._open("POST", path, "", headers, json.dumps(body).encode())

    def _open(self, method: str, path: str, query: str, headers: dict[str, str], body: bytes | None = None) -> Any:
        address = f"https://localhost:{self.ready['port']}{path}" + (f"?{query}" if query else "")
        request = urllib.request.Request(address, method=method, headers=headers, data=body)
        trust = ssl.create_default_context(cafile=self.ready["ca"])
        # the exchange may live at another time than this process
        trust.verify_flags |= ssl.VerifyFlags(0x200000)  # X509_V_FLAG_NO_CHECK_TIME
        try:
            with urllib.request.urlopen(request, context=trust, timeout=10) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as error:
            return json.load(error)


@contextmanager
def serving(home: Home, *words: str, **settings: str) -> Iterator[Hand]:
    """Run `trader sim` as a user would, for as long as the body lasts."""
    process = home.start("sim", *words, **settings)
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line, process.communicate()[1]
        yield Hand(json.loads(line))
    finally:
        process.terminate()
        try:
            process.communicate(timeout=20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
