"""Write a live account's report: what it did beside what its decisions should have earned, from its journal alone."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl

from trader.app.accounting import since_baseline, trips_of
from trader.app.current import journal_path
from trader.app.expecting import Follower, costs_of, fill_costs
from trader.app.replaying import made_with
from trader.app.reporting import judged_of, made_by
from trader.app.results import Trade, document, round_trip_rows
from trader.app.strategies import Loaded
from trader.config import Settings
from trader.domain.decision import CloseReport
from trader.domain.interval import Interval
from trader.domain.wording import money, stamp
from trader.errors import ConfigError, JournalError
from trader.execution.fills import Costs
from trader.execution.profit import FUNDING, moved_by
from trader.execution.round_trips import Funding
from trader.journal.queries import Reader
from trader.journal.rows import STAGES, StageRecord, Status
from trader.live.cycle import candle_closes
from trader.live.record import decode_decision, decode_inputs
from trader.market.tables import TIME
from trader.research.drift import WINDOW, Point, cost_ratio, shortfall
from trader.research.report.story import Shortfall, Story, closes_of, stops_of

_LEGS = {"c": "close", "r": "reduce", "o": "open", "i": "increase", "f": "flatten"}
_VENUES = {"sim": "The embedded exchange", "testnet": "The testnet", "live": "Live"}
_SHORT = Decimal("1e-10")


def report_live(settings: Settings, out: Path | None) -> dict[str, Any]:
    """Write the page of an account, and return what it comes to.

    Raises:
        ConfigError: the page cannot be written.
        JournalError: there is no journal, or nothing was decided in it.
    """
    # Drawing is slow to import, and nobody else needs it.
    from trader.research.report.page import render

    money_set = settings.sim
    with Reader.read(journal_path(settings)) as journal:
        story = live_story(journal, Costs(money_set.fee, money_set.slippage, money_set.spread))
    page = Path(f"{story.name}-live.html") if out is None else out
    text = render(story, made_by()).encode()
    try:
        page.write_bytes(text)
    except OSError as error:
        raise ConfigError(f"{error.filename} cannot be written: {error.strerror}; choose another --out.") from error
    told = story.shortfall
    assert told is not None  # noqa: S101  # a live story has one
    return {
        "strategy": story.name,
        "out": str(page),
        "bytes": len(text),
        "closes": story.closes.height,
        "not_decided": len(told.misses),
        "should_have_earned": f"{told.should:.8f}",
        "earned": f"{told.did:.8f}",
        "shortfall": round(told.should - told.did, 8),
        "parts": {name: round(-amount, 8) + 0.0 for name, amount in told.parts.items()},
        "behind": told.behind,
        "costs": {"realised": f"{told.realised_cost:.8f}", "expected": f"{told.expected_cost:.8f}"},
        "cost_ratio": told.cost_ratio,
        "verdict": story.judged.verdict,
    }


def live_story(journal: Reader, costs: Costs) -> Story:
    """Tell what a journal knows.

    Raises:
        JournalError: nothing was decided in it yet.
    """
    known: dict[tuple[str, str], Loaded] = {}
    reports, loaded = _reports(journal, known)
    if loaded is None:
        raise JournalError(f"Nothing was decided in the journal {journal.path} yet; wait for the first close.")
    begun, strategy, binding = journal.baseline(), loaded.strategy, journal.binding()
    fills, incomes = since_baseline(journal, begun)
    orders = {one.exchange_id: one.intent.close for one in journal.orders()}
    trades = [
        Trade(orders[one.exchange_id], one.symbol, one.quantity, one.price, one.fee, one.realised)
        for one in fills
        if one.exchange_id in orders
    ]
    paid = [Funding(one.time, one.symbol, one.amount) for one in incomes if one.kind == FUNDING]
    told = document(
        strategy,
        reports,
        trades,
        start_equity=begun.equity,
        fees=sum((one.fee for one in fills), Decimal(0)),
        bookings=paid,
        forced=[one for one in fills if one.exchange_id not in orders],
        generated=False,
    )
    closes, spent = closes_of(reports, trades, paid, begun.equity)
    stage = StageRecord.read(journal.get(STAGES))[-1:]
    where = _VENUES.get(binding.venue if binding else "", "An account")
    return Story(
        name=strategy.name,
        symbols=strategy.symbols,
        interval=strategy.interval,
        market=f"{where}, {stage[0].stage}" if stage else where,
        start_equity=float(begun.equity),
        closes=closes,
        costs=spent,
        trips=round_trip_rows(trips_of(journal), strategy.interval, begun.equity),
        performance=told["performance"],
        judged=judged_of(loaded),
        stops=stops_of(reports),
        shortfall=_shortfall(journal, costs),
    )


def _reports(journal: Reader, known: dict[tuple[str, str], Loaded]) -> tuple[list[CloseReport], Loaded | None]:
    """Return a report of every close since the baseline, as its cycle told it, and what decided the last of them."""
    begun = journal.baseline()
    transcripts = journal.transcripts(since=begun.at - _reach(journal))
    reports: list[CloseReport] = []
    loaded = None
    for transcript in transcripts:
        record = journal.decision(transcript.close)
        if record is None or record.status is not Status.CLOSED or record.equity is None:
            continue
        inputs = decode_inputs(transcript.inputs, journal.texts(transcript))
        decision = decode_decision(transcript.output)
        loaded = made_with(journal, inputs, known)
        reports.append(
            CloseReport(
                close=record.close,
                forecasts=decision.forecasts,
                targets=decision.targets,
                positions=record.positions or {},
                equity=record.equity,
                prices=inputs.book.prices,
                candle_closes=candle_closes(inputs.candles),
                state=decision.state,
                why=decision.why,
                unknown=inputs.book.unknown,
            )
        )
    return reports, loaded


def _reach(journal: Reader) -> timedelta:
    """Return how long before a baseline the close may lie that was decided first on it."""
    return Interval.parse(journal.get("interval") or "1d").delta


def _shortfall(journal: Reader, costs: Costs) -> Shortfall:
    follower = Follower(journal, costs, journal.baseline().at - _reach(journal))
    points = follower.follow()
    lived = [point for point in points if point.live is not None]
    rows = fill_costs(journal, costs)
    last = lived[-1]
    fills, incomes = since_baseline(journal, journal.baseline())
    begun = journal.baseline().equity
    expectation = follower.expectation
    assert expectation is not None  # noqa: S101  # a point was made by it
    transfers = moved_by([], incomes).transfers - follower.unseen()
    did = (last.live or Decimal(0)) - begun - transfers
    # what was paid into the expected account is in proportion to what it was worth
    should = last.expected - begun - (transfers - follower.moved + expectation.moved)
    slipped = sum((row["delay"] + row["execution"] for row in rows), Decimal(0))
    fees = sum((fill.fee for fill in fills), Decimal(0))
    parts = {
        "slippage": expectation.slippage - slipped,
        "fees": expectation.fees - fees,
        "funding": follower.funding - expectation.funding,
    }
    parts["not as decided"] = did - should - sum(parts.values(), Decimal(0))
    recent = points[-WINDOW:]
    lately = fill_costs(journal, costs, recent[0].close)
    behind, ratio = shortfall(recent), cost_ratio(costs_of(lately))
    return Shortfall(
        closes=_frame(lived),
        should=float(should),
        did=float(did),
        parts={name: float(amount) for name, amount in parts.items()},
        fills=[_fill(row) for row in rows],
        misses=[
            (one.close, one.why or one.status.value)
            for one in journal.decisions()
            if one.status in (Status.MISSED, Status.FAILED)
        ],
        changes=_changes(journal),
        behind=None if behind is None else float(behind),
        cost_ratio=None if ratio is None else float(ratio),
        realised_cost=float(sum((row["realised"] for row in rows), Decimal(0))),
        expected_cost=float(sum((row["expected"] for row in rows), Decimal(0))),
    )


def _changes(journal: Reader) -> list[tuple[datetime, str, str]]:
    """List every change of state and of stage, oldest first."""
    states = [(one.at, f"{one.state.value} by {one.by}", one.why) for one in journal.states()]
    stages = [
        (one.at, f"stage {one.stage}", f"sizes cut to {money(one.notional)} USDT" if one.notional is not None else "")
        for one in StageRecord.read(journal.get(STAGES))
    ]
    return sorted([*states, *stages], key=lambda change: change[0])


def _frame(points: Sequence[Point]) -> pl.DataFrame:
    behind = [shortfall([points[0], point]) for point in points]
    return pl.DataFrame(
        {
            "close": pl.Series([point.close for point in points], dtype=TIME),
            "equity": [float(point.live or 0) for point in points],
            "expected": [float(point.expected) for point in points],
            "behind": [float(one or 0) for one in behind],
        }
    )


def _fill(row: Mapping[str, Any]) -> dict[str, Any]:
    notional = row["notional"]
    return {
        "filled": stamp(row["filled"]),
        "symbol": row["symbol"],
        "leg": _LEGS.get(row["leg"], row["leg"]),
        "quantity": money(row["quantity"]),
        "decided": money(row["decided"]),
        "arrival": None if row["arrival"] is None else money(row["arrival"]),
        "fill": money(row["fill"]),
        "delay": money(row["delay"]),
        "execution": money(row["execution"]),
        "fee": money(row["fee"]),
        "cost_bp": round(float(row["realised"] / notional * 10000), 3),
        "expected_bp": round(float(row["expected"] / notional * 10000), 3),
    }
