"""What a collector of metrics reads: counts and money from the journal, and what the daemon's loop tells.

Totals come from the journal and go on over restarts. Latencies are observed of closes that ended since the daemon
started, on the venue's clock, from the times the journal keeps of every step.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime, timedelta
from typing import Protocol

from prometheus_client import CollectorRegistry, Histogram, PlatformCollector, ProcessCollector, disable_created_metrics
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily, Metric
from prometheus_client.exposition import generate_latest

from trader.domain.decision import State
from trader.journal.rows import DecisionRecord, OrderRecord, Outcome, Status
from trader.journal.totals import OPEN, Costs, Totals

_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300)


class Vitals(Protocol):
    """What the daemon's loop tells beside its journal."""

    @property
    def now(self) -> datetime:
        """Venue time."""
        ...

    @property
    def ready(self) -> bool:
        """Whether it has recovered."""
        ...

    @property
    def out_since(self) -> datetime | None:
        """Since when a start waits for an exchange that is out; None where it does not."""
        ...

    @property
    def clock_offset(self) -> timedelta:
        """Venue time minus this machine's."""
        ...

    @property
    def clock_error(self) -> timedelta:
        """How far the offset may be wrong."""
        ...

    @property
    def weights(self) -> Mapping[str, tuple[int, int]]:
        """What is used of the exchange's limits, and what is ours, by window."""
        ...


class Metrics:
    """Metrics of one daemon; used by one thread.

    Args:
        info: tells what runs now: version, venue, strategy, model, verdict.
        since: closes after this one are observed.
    """

    def __init__(self, info: Callable[[], Mapping[str, str]], since: datetime) -> None:
        # when a count began says nothing here, and doubles the text
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self._info = info
        self._registry = CollectorRegistry(auto_describe=False)
        self._steps = Histogram(
            "trader_close_step_seconds",
            "How long each step of a close took: wake (from the close), decide, orders, whole (from the close).",
            ["step"],
            buckets=_BUCKETS,
            registry=self._registry,
        )
        self._orders = Histogram(
            "trader_order_step_seconds",
            "How long each step of an order took: send (since it was intended), settle (since it was sent).",
            ["step"],
            buckets=_BUCKETS,
            registry=self._registry,
        )
        ProcessCollector(registry=self._registry)
        PlatformCollector(registry=self._registry)
        self._costs: Costs | None = None
        self._observed = since

    def exposition(self, journal: Totals, vitals: Vitals, *, lag: timedelta, silent: float) -> bytes:
        """Return everything in the text format.

        Args:
            journal: read anew.
            vitals: what the loop told last.
            lag: for how long the oldest close that is due has no end in the journal.
            silent: seconds since the loop told anything.

        Raises:
            JournalError: the journal cannot be read.
        """
        self._observe(journal)
        found = CollectorRegistry(auto_describe=False)
        found.register(_Collected([*self._journalled(journal), *_told(vitals, lag, silent)]))
        return generate_latest(found) + generate_latest(self._registry)

    def _observe(self, journal: Totals) -> None:
        """Take the latencies of closes that ended since the last look."""
        for record in journal.decisions(since=self._observed):
            if record.close <= self._observed:
                continue
            if record.finished_at is None:
                break
            if record.status is Status.CLOSED:
                _observe_close(self._steps, record)
                for order in journal.orders(since=record.close, until=record.close):
                    _observe_order(self._orders, order)
            self._observed = record.close

    def _journalled(self, journal: Totals) -> Iterator[Metric]:
        yield InfoMetricFamily("trader", "What runs.", value=dict(self._info()))
        counts = journal.closes_by_status()
        closes = CounterMetricFamily("trader_closes", "Closes by what became of them.", labels=["status"])
        for status in (Status.CLOSED, Status.MISSED, Status.FAILED):
            closes.add_metric([status.value], counts.get(status, 0))
        yield closes
        outcomes = journal.orders_by_outcome()
        orders = CounterMetricFamily("trader_orders", "Orders by how they ended.", labels=["outcome"])
        for outcome in Outcome:
            orders.add_metric([outcome.value], outcomes.get(outcome, 0))
        yield orders
        # it falls again, which no counter may
        yield GaugeMetricFamily("trader_orders_open", "Orders that have no end yet.", value=outcomes.get(OPEN, 0))
        yield CounterMetricFamily("trader_order_posts", "Orders posted, repetitions included.", value=journal.posts())
        yield from self._money(journal)
        state = GaugeMetricFamily("trader_state", "1 for the state that holds.", labels=["state"])
        for one in State:
            state.add_metric([one.value], journal.state().state is one)
        yield state
        last = journal.last_closed()
        if last is not None:
            name, text = "trader_last_close_timestamp_seconds", "The newest close that was decided to its end."
            yield GaugeMetricFamily(name, text, value=last.close.timestamp())

    def _money(self, journal: Totals) -> Iterator[Metric]:
        self._costs = costs = journal.costs(self._costs)
        sums = {
            "fees": ("Fees paid since the journal began.", costs.fees),
            "slippage": ("What fills cost against the price their order was sized at.", costs.slippage),
            "funding": ("Funding booked since the journal began; negative was paid.", costs.funding),
            "realised": ("Profit realised since the journal began, before fees and funding.", costs.realised),
            "traded": ("Notional traded since the journal began.", costs.traded),
        }
        for point in journal.equity_points(last=1):
            sums |= {
                "equity": ("Equity after the newest close.", point.equity),
                "wallet": ("Wallet after the newest close.", point.wallet),
                "equity_peak": ("Highest equity since the baseline or the last resume.", point.peak),
            }
        for name, (text, value) in sums.items():
            yield GaugeMetricFamily(f"trader_{name}_usdt", text, value=float(value))
        yield CounterMetricFamily("trader_fills", "Fills.", value=costs.fills)
        position = GaugeMetricFamily("trader_position", "Signed quantity held, as journalled.", labels=["symbol"])
        for symbol, held in journal.held().items():
            position.add_metric([symbol], float(held.quantity))
        yield position
        stops = GaugeMetricFamily("trader_protective_stop", "The price at which a stop triggers.", labels=["symbol"])
        for one in journal.standing_stops():
            if one.exchange_id is not None:
                stops.add_metric([one.symbol], float(one.intent.request.trigger))
        yield stops


class _Collected:
    """Metrics that are made already."""

    def __init__(self, metrics: Iterable[Metric]) -> None:
        self._metrics = list(metrics)

    def collect(self) -> Iterable[Metric]:
        """Return them."""
        return self._metrics


def _told(vitals: Vitals, lag: timedelta, silent: float) -> Iterator[Metric]:
    out = 0.0 if vitals.out_since is None else vitals.out_since.timestamp()
    gauges = {
        "trader_ready": ("Whether the daemon has recovered and waits for closes.", float(vitals.ready)),
        "trader_exchange_out_since_timestamp_seconds": ("Since when a start waits for the exchange, 0 if not.", out),
        "trader_loop_silent_seconds": ("Seconds since the daemon's loop last said anything.", silent),
        "trader_journal_lag_seconds": ("How long the oldest due close has had no end.", lag.total_seconds()),
        "trader_clock_offset_seconds": ("Venue time minus this machine's.", vitals.clock_offset.total_seconds()),
        "trader_clock_error_seconds": ("How far the offset may be wrong.", vitals.clock_error.total_seconds()),
        "trader_venue_timestamp_seconds": ("Venue time.", vitals.now.timestamp()),
    }
    for name, (text, value) in gauges.items():
        yield GaugeMetricFamily(name, text, value=value)
    used = GaugeMetricFamily("trader_weight_used", "What is used of the exchange's limits.", labels=["window"])
    limit = GaugeMetricFamily("trader_weight_limit", "What of the exchange's limits is ours.", labels=["window"])
    for window, (amount, most) in vitals.weights.items():
        used.add_metric([window], amount)
        limit.add_metric([window], most)
    yield used
    yield limit


def _observe_close(steps: Histogram, record: DecisionRecord) -> None:
    if record.decided_at is None or record.finished_at is None:
        return
    moments = {
        "wake": (record.close, record.claimed_at),
        "decide": (record.claimed_at, record.decided_at),
        "orders": (record.decided_at, record.finished_at),
        "whole": (record.close, record.finished_at),
    }
    for step, (begin, end) in moments.items():
        steps.labels(step).observe((end - begin).total_seconds())


def _observe_order(steps: Histogram, order: OrderRecord) -> None:
    if order.sent_at is None or order.settled_at is None:
        return
    steps.labels("send").observe((order.sent_at - order.intent.intended_at).total_seconds())
    steps.labels("settle").observe((order.settled_at - order.sent_at).total_seconds())
