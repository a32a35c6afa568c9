"""Answer the public market data requests, from nothing that has not happened yet."""

from bisect import bisect_left, bisect_right
from decimal import Decimal
from itertools import pairwise
from typing import Any

from trader.sim.desk import Desk
from trader.sim.errors import Refusal
from trader.sim.klines import HOUR, INTERVALS, Klines, build
from trader.sim.money import ZERO, exact, text, text8
from trader.sim.tape import DAY
from trader.sim.wire import Params, dump

EIGHT_HOURS = 8 * 3_600_000
DEPTH_WEIGHTS = {5: 2, 10: 2, 20: 2, 50: 2, 100: 5, 500: 10, 1000: 20}


def ping(desk: Desk, params: Params) -> str:
    """Answer that the exchange is there."""
    return "{}"


def server_time(desk: Desk, params: Params) -> str:
    """Tell the venue's time."""
    return f'{{"serverTime":{desk.venue.now + desk.switches.skew}}}'


def exchange_info(desk: Desk, params: Params) -> str:
    """Write the instruments listed by now; one whose bars have ended is SETTLING."""
    shown = [(symbol, desk.venue.status(symbol)) for symbol in desk.symbols()]
    shown = [(symbol, status) for symbol, status in shown if status != "CLOSE"]
    if desk.info_of != shown:
        rest: dict[str, Any] = {
            "futuresType": "U_MARGINED",
            "rateLimits": desk.listing.rate_limits,
            "exchangeFilters": [],
            "assets": desk.listing.assets,
            "symbols": [_entry(desk, symbol, status) for symbol, status in shown],
        }
        if desk.tape.generated:
            rest = {"generated": True, **rest}
        desk.info_of, desk.info_text = shown, dump(_plain(rest))[1:]
    return f'{{"timezone":"UTC","serverTime":{desk.venue.now + desk.switches.skew},' + desk.info_text


def _entry(desk: Desk, symbol: str, status: str) -> dict[str, Any]:
    """Write one instrument; the delivery date of one whose bars have ended is their end."""
    entry = {**desk.listing.instruments[symbol].entry, "status": status}
    end = desk.tape.series[symbol].end
    return {**entry, "deliveryDate": end} if end <= desk.venue.now and end < desk.tape.end else entry


def _plain(value: Any) -> Any:
    """Turn a file's numbers, read as Decimal, into numbers again."""
    if isinstance(value, Decimal):
        return float(value)
    if isinstance(value, dict):
        return {key: _plain(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_plain(each) for each in value]
    return value


def klines(desk: Desk, params: Params) -> str:
    """Write the klines of a native interval, the open one last."""
    symbol = desk.symbol(params)
    interval = params.text("interval")
    length = INTERVALS.get(interval)
    if length is None or length % desk.tape.spacing:
        raise Refusal(-1120, "Invalid interval.")
    bars = desk.klines.get((symbol, length))
    if bars is None:
        bars = desk.klines[(symbol, length)] = _build(desk, symbol, length)
    limit = params.limit(500, 1500)
    now = desk.venue.now - desk.behind
    if desk.unpublished:
        now = desk.venue.now // length * length - 1
    return bars.rows(now, params.integer("startTime"), params.integer("endTime"), limit)


def _build(desk: Desk, symbol: str, length: int) -> Klines:
    return build(desk.tape.series[symbol], length, desk.price_decimals(symbol))


def klines_weight(params: Params) -> int:
    """Weigh by limit; an unreadable one is refused by the handler."""
    raw = params.get("limit", "500")
    limit = int(raw) if raw.isdigit() else 500
    return 1 if limit < 100 else 2 if limit < 500 else 5 if limit <= 1000 else 10


def one_or_all(one: int, every: int) -> Any:
    """Weigh by whether a symbol was named."""
    return lambda params: one if params.get("symbol") else every


def _for_symbols(desk: Desk, params: Params, write: Any) -> str:
    if params.get("symbol"):
        return dump(write(desk, desk.symbol(params)))
    return dump([write(desk, symbol) for symbol in desk.symbols()])


def ticker_price(desk: Desk, params: Params) -> str:
    """Give the last price."""
    return _for_symbols(desk, params, _price)


def _price(desk: Desk, symbol: str) -> dict[str, Any]:
    return {"symbol": symbol, "price": desk.price_text(symbol), "time": desk.venue.now}


def book_ticker(desk: Desk, params: Params) -> str:
    """Give the best bid and ask: the last price moved by half the spread."""
    return _for_symbols(desk, params, _book)


def _book(desk: Desk, symbol: str) -> dict[str, Any]:
    half = desk.terms.spread / 2
    depth = text(desk.listing.instruments[symbol].market_lot.most)
    return {
        "symbol": symbol,
        "bidPrice": text(desk.venue.quote(symbol, -1, half)),
        "bidQty": depth,
        "askPrice": text(desk.venue.quote(symbol, 1, half)),
        "askQty": depth,
        "time": desk.venue.now,
        "lastUpdateId": desk.venue.now,
    }


def depth(desk: Desk, params: Params) -> str:
    """Give the order book: one level on each side, since no more is known."""
    symbol = desk.symbol(params)
    if params.limit(500, 1000) not in DEPTH_WEIGHTS:
        raise Refusal(-4021, f"Invalid depth limit; it is one of {', '.join(map(str, DEPTH_WEIGHTS))}.")
    best = _book(desk, symbol)
    return dump(
        {
            "lastUpdateId": desk.venue.now,
            "E": desk.venue.now,
            "T": desk.venue.now,
            "bids": [[best["bidPrice"], best["bidQty"]]],
            "asks": [[best["askPrice"], best["askQty"]]],
        }
    )


def depth_weight(params: Params) -> int:
    """Weigh by limit; an unreadable one is refused by the handler."""
    raw = params.get("limit", "500")
    return DEPTH_WEIGHTS.get(int(raw), 2) if raw.isdigit() else 2


def premium_index(desk: Desk, params: Params) -> str:
    """Give the mark price and the funding rate last settled."""
    return _for_symbols(desk, params, _premium)


def _premium(desk: Desk, symbol: str) -> dict[str, Any]:
    series, now = desk.tape.series[symbol], desk.venue.now
    paid = bisect_right(series.stamps, now)
    rate = series.rates[paid - 1] if paid else ZERO
    upcoming = series.stamps[paid] if paid < len(series.stamps) else (now // EIGHT_HOURS + 1) * EIGHT_HOURS
    mark = text8(desk.venue.price(symbol))
    return {
        "symbol": symbol,
        "markPrice": mark,
        "indexPrice": mark,
        "estimatedSettlePrice": mark,
        "lastFundingRate": text8(rate),
        "interestRate": "0.00010000",
        "nextFundingTime": upcoming,
        "time": now,
    }


def ticker_24h(desk: Desk, params: Params) -> str:
    """Sum up the last 24 hours of whole tape bars."""
    return _for_symbols(desk, params, _day)


def _day(desk: Desk, symbol: str) -> dict[str, Any]:
    series, now = desk.tape.series[symbol], desk.venue.now
    current = min((now - series.first) // series.spacing, len(series.open))
    first = max(0, current - DAY // series.spacing)
    last = desk.venue.price(symbol)
    start = exact(series.open[first]) if first < len(series.open) else last
    high = max([*map(exact, series.high[first:current]), last])
    low = min([*map(exact, series.low[first:current]), last])
    volume, quote = sum(series.volume[first:current]), sum(series.quote[first:current])
    return {
        "symbol": symbol,
        "priceChange": text(last - start),
        "priceChangePercent": f"{(last - start) / start * 100:.3f}",
        "weightedAvgPrice": f"{quote / volume:.8f}" if volume else text(last),
        "lastPrice": text(last),
        "lastQty": "0",
        "openPrice": text(start),
        "highPrice": text(high),
        "lowPrice": text(low),
        "volume": f"{volume:.8f}",
        "quoteVolume": f"{quote:.8f}",
        "openTime": max(series.first, now - DAY),
        "closeTime": now,
        "firstId": 0,
        "lastId": 0,
        "count": 0,
    }


def funding_rate(desk: Desk, params: Params) -> str:
    """List the funding rates already settled, oldest first."""
    symbols = [desk.symbol(params)] if params.get("symbol") else desk.symbols()
    start, end, limit = params.integer("startTime"), params.integer("endTime"), params.limit(100, 1000)
    rows: list[tuple[int, str, Decimal]] = []
    for symbol in symbols:
        series = desk.tape.series[symbol]
        low = bisect_left(series.stamps, max(series.first, start or 0))
        known = min(desk.venue.now, series.end) // series.spacing * series.spacing
        high = bisect_right(series.stamps, min(known, known if end is None else end))
        chosen = range(low, high) if start is None else range(low, min(high, low + limit))
        rows += [(series.stamps[index], symbol, series.rates[index]) for index in chosen]
    rows.sort(key=lambda row: (row[0], row[1]))
    rows = rows[-limit:] if start is None else rows[:limit]
    return dump(
        [
            {
                "symbol": symbol,
                "fundingTime": stamp,
                "fundingRate": text8(rate),
                "markPrice": text8(_mark_at(desk, symbol, stamp)),
            }
            for stamp, symbol, rate in rows
        ]
    )


def _mark_at(desk: Desk, symbol: str, stamp: int) -> Decimal:
    series = desk.tape.series[symbol]
    return series.price(series.boundary(stamp))


def funding_info(desk: Desk, params: Params) -> str:
    """Name the symbols that are not settled every eight hours now, by the shorter of their last two distances.

    The longer of the two may have a hole in it. Once the shorter one has passed without a stamp it holds no more.
    """
    rows = []
    for symbol in desk.symbols():
        stamps = desk.tape.series[symbol].stamps
        count = bisect_right(stamps, desk.venue.now)
        steps = [after - before for before, after in pairwise(stamps[max(0, count - 3) : count])]
        length = desk.tape.spacing if stamps else EIGHT_HOURS
        if steps:
            length = min(steps) if desk.venue.now - stamps[count - 1] <= min(steps) else max(steps)
        hours = length // HOUR
        if hours and length != EIGHT_HOURS:
            limit = {"adjustedFundingRateCap": "0.02000000", "adjustedFundingRateFloor": "-0.02000000"}
            rows.append({"symbol": symbol, **limit, "fundingIntervalHours": hours, "disclaimer": False})
    return dump(rows)
