"""Let a fault happen to one request: what is executed, and what the client gets to see of it."""

import asyncio
from collections.abc import Callable

from trader.sim.distort import SPOILERS, spoil
from trader.sim.exchange import Exchange
from trader.sim.faults import EVENTS, Shot
from trader.sim.wire import Answer, Request, dump

UNKNOWN = "Unknown error, please check your request or try again later."
UNAVAILABLE = "Service Unavailable."
TIMEOUT = "Timeout waiting for response from backend server. Send status unknown; execution status unknown."
MAINTENANCE = (
    b"<html><head><title>503 Service Temporarily Unavailable</title></head><body>System maintenance.</body></html>"
)
HTML = b"<!DOCTYPE html><html><head><title>Welcome</title></head><body>Please sign in to the network.</body></html>"


async def deliver(exchange: Exchange, request: Request, kill: Callable[[], None]) -> Answer | None:
    """Answer a request; None means that the connection is closed without an answer."""
    shot = exchange.begin(request)
    if shot is None:
        return exchange.answer(request)
    if shot.action in EVENTS:
        exchange.perform(shot)
        return exchange.answer(request)
    if shot.action == "delay":
        return await _delayed(exchange, request, shot)
    refused = _without_effect(exchange, request, shot, kill)
    if refused is not None or shot.action in ("drop_request", "late", "kill_before"):
        return refused
    if not shot.args.get("effect", True):
        return _shown(shot, Answer(200, b""))
    answer = exchange.answer(request, shot)
    if shot.action == "kill_after":
        kill()
        return None
    if shot.action == "lose_answer" or shot.args.get("lose"):
        return None
    return _shown(shot, answer)


async def _delayed(exchange: Exchange, request: Request, shot: Shot) -> Answer:
    """Hold a request on its way in, or its answer on the way out (``"side": "after"``)."""
    seconds = float(shot.args["seconds"])
    answer = exchange.answer(request) if shot.args.get("side") == "after" else None
    await asyncio.sleep(seconds)
    exchange.pass_time(round(seconds * 1000))
    return answer or exchange.answer(request)


def _without_effect(exchange: Exchange, request: Request, shot: Shot, kill: Callable[[], None]) -> Answer | None:
    args = shot.args
    match shot.action:
        case "kill_before":
            kill()
        case "late":
            exchange.postpone(request, int(args["ms"]))
        case "maintenance":
            status = int(args.get("status", 503))
            return Answer(status, MAINTENANCE, content_type="text/html")
        case "unknown_503_not_executed":
            return _error(503, args.get("code", -1000), UNKNOWN)
        case "service_unavailable_503":
            return _error(503, args.get("code", -1000), args.get("msg", UNAVAILABLE))
        case "timeout_1007_not_executed":
            return _error(408, -1007, TIMEOUT)
        case "status":
            answer = _error(int(args["status"]), args["code"], args["msg"])
            if "retry_after" in args:
                answer.headers["Retry-After"] = str(args["retry_after"])
            return answer
    return None


def _shown(shot: Shot, answer: Answer) -> Answer:
    """Replace the true answer by what arrives."""
    match shot.action:
        case "unknown_503_executed":
            return _error(503, shot.args.get("code", -1000), UNKNOWN)
        case "timeout_1007_executed":
            return _error(408, -1007, TIMEOUT)
        case "html_200":
            return Answer(200, HTML, content_type="text/html")
        case "empty_200":
            return Answer(200, b"")
        case "truncated":
            answer.cut = True
        case "hang":
            answer.never = True
        case "drip":
            answer.seconds = float(shot.args["seconds"])
        case "close_idle":
            answer.closes_after = float(shot.args["seconds"])
        case kind if kind in SPOILERS and answer.status == 200:
            answer.body = spoil(kind, shot.args, answer.body)
    return answer


def _error(status: int, code: int, message: str) -> Answer:
    return Answer(status, dump({"code": code, "msg": message}).encode())
