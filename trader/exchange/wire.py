"""ccxt's Binance client, made strict: nothing but JSON is an answer, and every failure carries what came back."""

import json
import logging
from collections.abc import Callable, Mapping
from typing import Any

import aiohttp
from ccxt.async_support.binanceusdm import binanceusdm  # type: ignore[import-untyped]
from ccxt.base.errors import BadResponse, BaseError, ExchangeClosedByUser  # type: ignore[import-untyped]

from trader.exchange.clock import VenueClock, milliseconds
from trader.exchange.loopback import Loopback, open_session
from trader.exchange.outcome import Answer

# ccxt logs requests with key and signature at DEBUG; this logger belongs to no hierarchy and lets nothing pass.
_SILENT = logging.Logger("silent", logging.CRITICAL + 1)  # noqa: LOG001


class Wire(binanceusdm):  # type: ignore[misc]
    """One signed connection to one venue, for one event loop.

    Only ccxt's implicit endpoint methods are used, so that what is sent is what is written in `binance`.

    Args:
        demo: use the demo hosts (testnet and the embedded exchange), else production.
        clock: gives the timestamps that are signed.
        heard: is given every answer's headers, names in lower case.
        timeout: seconds for a whole request.
        recv_window: milliseconds for which the exchange may take a request to be fresh.
    """

    logger = _SILENT
    session: aiohttp.ClientSession | None

    def __init__(
        self,
        *,
        demo: bool,
        key: str,
        secret: str,
        clock: VenueClock,
        heard: Callable[[Mapping[str, str]], None],
        loopback: Loopback | None,
        timeout: float,
        recv_window: int,
    ) -> None:
        self._clock = clock
        self._heard = heard
        self._loopback = loopback
        super().__init__(
            {
                "apiKey": key,
                "secret": secret,
                "timeout": round(timeout * 1000),
                "enableRateLimit": False,
                "options": {"fetchCurrencies": False, "recvWindow": recv_window, "maxRetriesOnFailure": 0},
            }
        )
        self.enableLastHttpResponse = self.enableLastJsonResponse = self.enableLastResponseHeaders = False
        if demo:
            spot = self.urls["api"]["sapi"]
            self.enable_demo_trading(True)
            if loopback is not None:
                # the demo exchange tells nobody what a key may do; the embedded one does, under the real host's name
                self.urls["api"]["sapi"] = spot

    def milliseconds(self) -> int:
        """Return venue time, which ccxt signs."""
        return milliseconds(self._clock.now())

    def open(self, lazy: bool = False) -> None:
        """Open our own session in the running event loop."""
        if self.session is None:
            if self.closed_by_user:
                raise ExchangeClosedByUser
            self.session = open_session(self._loopback)

    async def close(self, clean_instance_data: bool = False) -> None:
        """Release sockets; a closed wire stays closed."""
        self.closed_by_user = True
        session, self.session = self.session, None
        if session is not None:
            await session.close()

    def set_last_request(self, request: object) -> None:
        """Keep nothing: a request holds key and signature."""

    def log(self, *args: object) -> None:
        """Print nothing: a request holds key and signature."""

    def handle_errors(
        self,
        code: int,
        reason: str | None,
        url: str,
        method: str,
        headers: Mapping[str, str],
        body: str,
        response: Any,
        request_headers: object,
        request_body: object,
    ) -> None:
        """Raise ccxt's exception for anything but a JSON answer of success, with what came back attached to it."""
        lower = {name.lower(): value for name, value in headers.items()}
        self._heard(lower)
        try:
            super().handle_errors(
                code, reason or "", url, method, headers, body, response, request_headers, request_body
            )
            self.handle_http_status_code(code, reason or "", url, method, body)
            if not 200 <= code < 300 or not isinstance(response, dict | list):
                raise BadResponse(self.id)
        except BaseError as error:
            error.answer = _answer(code, lower, body, response)
            raise


def _answer(status: int, headers: Mapping[str, str], body: str, response: object) -> Answer:
    code, text = None, body
    if isinstance(response, dict):
        number = response.get("code")
        code = int(number) if isinstance(number, int | str) and str(number).lstrip("-").isdecimal() else None
        text = str(response.get("msg", body))
    elif response is not None:
        text = json.dumps(response)
    elif not body:
        text = "an empty body"
    wait = headers.get("retry-after", "")
    return Answer(status, code, text, float(wait) if wait.isdecimal() else None)
