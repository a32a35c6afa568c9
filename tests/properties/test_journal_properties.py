"""Whatever is written in whatever order, with restarts in between, is what is read."""

import tempfile
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from trader.domain.decision import State
from trader.domain.order import Fill, Order
from trader.errors import JournalError
from trader.journal import schema
from trader.journal.journal import Journal
from trader.journal.rows import Binding, Intent, Outcome, Status

START = datetime(2024, 1, 1, tzinfo=UTC)
BINDING = Binding("sim", "demo", "generated", "ada-ar-16h", False)
AMOUNTS = st.decimals(allow_nan=False, allow_infinity=False, min_value=-(10**12), max_value=10**12, places=8)
NUMBERS = st.integers(0, 5)


def close_of(number: int) -> datetime:
    return START + timedelta(hours=16 * number)


@given(AMOUNTS | st.decimals(allow_nan=False, allow_infinity=False))
def test_an_amount_comes_back_as_it_went(amount: Decimal) -> None:
    column = schema.Amount()
    assert column.process_result_value(column.process_bind_param(amount, None), None) == amount


@given(st.integers(-(10**12), 10**14))
def test_a_moment_comes_back_to_the_millisecond(number: int) -> None:
    assert schema.to_milliseconds(schema.from_milliseconds(number)) == number


class JournalMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.directory = tempfile.TemporaryDirectory()
        self.path = Path(self.directory.name) / "journal.db"
        self.journal = Journal.open(self.path, BINDING, create=True, at=START)
        self.closes: dict[int, Status] = {}
        self.orders: dict[str, tuple[int, bool]] = {}
        self.quantities: dict[str, Decimal] = {}
        self.fills: dict[str, Decimal] = {}
        self.state = State.ACTIVE
        self.begin, self.held = 0, Decimal(0)
        self.newest: str | None = None

    def teardown(self) -> None:
        self.journal.close()
        self.directory.cleanup()

    @rule()
    def restart(self) -> None:
        self.journal.close()
        self.journal = Journal.open(self.path, BINDING, create=False, at=START)

    @rule(number=NUMBERS)
    def claim(self, number: int) -> None:
        close = close_of(number)
        assert self.journal.claim(close, close) == (number not in self.closes)
        self.closes.setdefault(number, Status.CLAIMED)

    @rule(number=NUMBERS, quantities=st.lists(AMOUNTS, max_size=2))
    def decide(self, number: int, quantities: list[Decimal]) -> None:
        close = close_of(number)
        intents = [
            Intent(f"t.{number}.{n}", close, "ADAUSDT", "o", n, quantity, False, close, close)
            for n, quantity in enumerate(quantities)
        ]
        try:
            self.journal.record_decision(close, "{}", "{}", model_hash="", why="", intents=intents, at=close)
        except JournalError:
            assert self.closes.get(number) is not Status.CLAIMED
        else:
            assert self.closes[number] is Status.CLAIMED
            self.closes[number] = Status.DECIDED
            for intent in intents:
                self.orders[intent.client_id] = (0, False)
                self.quantities[intent.client_id] = intent.quantity

    @rule(number=NUMBERS)
    def finish(self, number: int) -> None:
        one = Decimal(1)
        try:
            self.journal.finish(close_of(number), wallet=one, equity=one, peak=one, positions={}, at=START)
        except JournalError:
            assert self.closes.get(number) not in (Status.CLAIMED, Status.DECIDED)
        else:
            assert self.closes[number] in (Status.CLAIMED, Status.DECIDED)
            self.closes[number] = Status.CLOSED

    @rule(number=NUMBERS)
    def fail(self, number: int) -> None:
        try:
            self.journal.fail(close_of(number), "", START)
        except JournalError:
            assert self.closes.get(number) is not Status.CLAIMED
        else:
            assert self.closes[number] is Status.CLAIMED
            self.closes[number] = Status.FAILED

    @rule(number=NUMBERS)
    def miss(self, number: int) -> None:
        self.journal.miss(close_of(number), "", START)
        if self.closes.get(number, Status.CLAIMED) is Status.CLAIMED:
            self.closes[number] = Status.MISSED

    @precondition(lambda self: self.orders)
    @rule(data=st.data())
    def send(self, data: st.DataObject) -> None:
        name = data.draw(st.sampled_from(sorted(self.orders)))
        sends, final = self.orders[name]
        try:
            self.journal.mark_sent(name, START)
        except JournalError:
            assert final
        else:
            assert not final
            self.orders[name] = (sends + 1, False)

    @precondition(lambda self: self.orders)
    @rule(data=st.data(), final=st.booleans(), told=st.booleans())
    def settle(self, data: st.DataObject, final: bool, told: bool) -> None:
        name = data.draw(st.sampled_from(sorted(self.orders)))
        sends, was_final = self.orders[name]
        order = (
            Order(name, "1", "ADAUSDT", Decimal(1), Decimal(1), Decimal(1), "FILLED", False, START) if told else None
        )
        try:
            self.journal.settle(name, order, Outcome.UNKNOWN, final=final, at=START)
        except JournalError:
            assert was_final
            assert not told
        else:
            self.orders[name] = (sends, final)

    @rule(trades=st.lists(st.tuples(st.integers(1, 200), AMOUNTS), max_size=4))
    def fill(self, trades: list[tuple[int, Decimal]]) -> None:
        known = len(self.fills)
        for number, quantity in trades:
            if str(number) not in self.fills:
                self.fills[str(number)] = quantity
                if number > max(self.begin, int(self.newest or 0)):
                    self.newest = str(number)
        new = self.journal.record_fills(
            Fill(str(number), "1", "ADAUSDT", quantity, Decimal(1), Decimal(0), Decimal(0), START)
            for number, quantity in trades
        )
        assert new == len(self.fills) - known

    @rule(held=AMOUNTS)
    def adopt(self, held: Decimal) -> None:
        """The account is taken as it is, with all its trades: the newest known here, or a newer one."""
        self.begin, self.held = max([*map(int, self.fills), self.begin]), held
        self.newest = str(self.begin)
        self.journal.set_baseline(
            wallet=held,
            equity=held,
            positions={"ADAUSDT": held},
            last_trades={"ADAUSDT": self.newest},
            at=START,
        )

    @rule(state=st.sampled_from(list(State)))
    def change(self, state: State) -> None:
        self.journal.set_state(state, "", "test", START)
        self.state = state

    @invariant()
    def tells_what_was_written(self) -> None:
        with Journal.read(self.path) as reader:
            assert {row.close: row.status for row in reader.decisions()} == {
                close_of(number): status for number, status in self.closes.items()
            }
            orders = reader.orders()
            assert {row.intent.client_id: (row.sends, row.final) for row in orders} == self.orders
            assert {row.intent.client_id: row.intent.quantity for row in orders} == self.quantities
            assert {row.intent.client_id for row in reader.open_intents()} == {
                name for name, (_, final) in self.orders.items() if not final
            }
            assert {row.trade_id: row.quantity for row in reader.fills()} == self.fills
            moved = [quantity for name, quantity in self.fills.items() if int(name) > self.begin]
            assert reader.position("ADAUSDT") == sum(moved, self.held)
            assert reader.last_trade_id("ADAUSDT") == self.newest
            assert reader.state().state is self.state


TestJournal = JournalMachine.TestCase
TestJournal.settings = settings(max_examples=30, stateful_step_count=25, deadline=None)
