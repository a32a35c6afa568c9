"""Protective stops on Binance: conditional (algo) orders, which it keeps apart from the others."""

from contextlib import suppress
from typing import Final

from trader.domain.stop import Stop, StopRequest
from trader.errors import ExchangeError, OutcomeUnknown, Rejected
from trader.exchange import answers, endpoints, mapping, outcome
from trader.exchange.calls import Calls

NOT_WAITING: Final = -2011


class StopOrders:
    """The part of a gateway that places, finds and cancels stops."""

    _calls: Calls

    async def place_stop(self, stop: StopRequest) -> Stop:
        """Post one stop, once; see `live.ports.Stops.place_stop`.

        A timestamp the exchange did not accept raises NotSent after the clock was measured again.
        """
        self._calls.limiter.admit_order()
        where = endpoints.PLACE_STOP
        try:
            raw = await self._calls.post_order(where, mapping.stop_parameters(stop))
        except ExchangeError as error:
            if error.code == outcome.CLOCK_SKEW:
                with suppress(ExchangeError):
                    await self._calls.sync_clock()
            raise
        try:
            placed, problem = mapping.stop_of(answers.read(answers.STOP, raw, where.where)), "speaks of another stop"
        except ExchangeError as error:
            placed, problem = None, str(error).rstrip(".")
        named = None if placed is None else (placed.client_id, placed.symbol, placed.trigger)
        if placed is not None and named == (stop.client_id, stop.symbol, stop.trigger):
            return placed
        raise OutcomeUnknown(f"{where} {stop.client_id}: the answer does not say what became of it ({problem}).")

    async def find_stop(self, symbol: str, client_id: str) -> Stop | None:
        """Return the stop of that name, whatever became of it, or None where the exchange says it knows none."""
        try:
            answer = await self._calls.ask(endpoints.FIND_STOP, {"clientAlgoId": client_id}, answers.STOP)
        except Rejected as error:
            if error.code == outcome.NO_SUCH_ORDER:
                return None
            raise
        found = mapping.stop_of(answer)
        if (found.symbol, found.client_id) != (symbol, client_id):
            raise ExchangeError(f"{endpoints.FIND_STOP} answered with another stop than {client_id}; ask again.")
        return found

    async def cancel_stop(self, symbol: str, client_id: str) -> None:
        """Cancel the stop of that name; one that does not wait any more is fine. Asked twice it does the same."""
        try:
            await self._calls.ask(endpoints.CANCEL_STOP, {"symbol": symbol, "clientAlgoId": client_id}, answers.EMPTY)
        except Rejected as error:
            if error.code != NOT_WAITING:
                raise
