"""A canary trades what it is allowed and no more, its stage is written down once, and the shadow sends nothing."""

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from pathlib import Path

import pytest

from tests.unit.live.steps import BINDING
from tests.unit.live.world import CLOSE, FakeStrategy
from trader.config import Settings
from trader.decide import decide
from trader.domain.decision import Book, Forecast, Limits, State
from trader.domain.instrument import Instrument
from trader.errors import ConfigError
from trader.execution import guards
from trader.journal.journal import Journal
from trader.journal.rows import STAGES, StageRecord
from trader.live.record import Inputs, decode_inputs, encode_inputs

ADA = FakeStrategy().symbols[0]
RULES = Instrument(ADA, "TRADING", Decimal("0.0001"), Decimal(1), Decimal(1), Decimal(10**7), Decimal(5))
CANARY = Limits(Decimal(1), Decimal(2), canary_notional=Decimal(100))


def book(held: str = "0", equity: str = "10000") -> Book:
    money = Decimal(equity)
    return Book(money, money, {ADA: Decimal(held)}, {ADA: Decimal("0.5")}, {ADA: RULES}, State.ACTIVE)


def decided(limits: Limits, held: str = "0", equity: str = "10000", capital: Decimal | None = None) -> Decimal:
    strategy = FakeStrategy(capital=capital)
    return decide(strategy, CLOSE, {ADA: Forecast(1.0, 1.0)}, book(held, equity), limits).quantities[ADA]


def test_its_size_is_cut_to_the_cap_and_nothing_else_changes() -> None:
    assert decided(replace(CANARY, canary_notional=None)) == 10000
    assert decided(CANARY) == 200
    assert decided(CANARY, capital=Decimal(3000)) == 200
    assert decided(CANARY, equity="100") == decided(replace(CANARY, canary_notional=None), equity="100") == 100
    why = decide(FakeStrategy(), CLOSE, {ADA: Forecast(1.0, 1.0)}, book(), CANARY).why
    assert why == f"open {ADA} +200; canary: 100 USDT instead of 5000.00"


def test_what_was_held_at_full_size_is_reduced_to_the_cap() -> None:
    assert decided(CANARY, held="10000") == 200
    assert decided(CANARY, held="-10000") == 200


def test_the_guard_refuses_what_would_pass_the_cap_whoever_planned_it() -> None:
    planned = decide(FakeStrategy(), CLOSE, {ADA: Forecast(1.0, 1.0)}, book(), replace(CANARY, canary_notional=None))
    margin = guards.Margin(2, True)
    approved, refused = guards.judge(planned.legs, book(), CANARY, margin)
    assert approved == ()
    assert [one.guard for one in refused] == ["canary_notional"]


def test_a_cap_is_replayed_and_an_older_journal_has_none() -> None:
    import polars as pl

    frame = pl.DataFrame(
        {"symbol": [ADA], "open_time": [CLOSE], "close_time": [CLOSE], "close": [1.0]},
        schema_overrides={"open_time": pl.Datetime("ms", "UTC"), "close_time": pl.Datetime("ms", "UTC")},
    )
    text = encode_inputs(Inputs(CLOSE, frame, book(), CANARY, "s", "m"))
    assert decode_inputs(text).limits == CANARY
    older = text.replace('"canary_notional":"100",', "")
    assert older != text
    assert decode_inputs(older).limits.canary_notional is None


def test_a_stage_is_written_down_when_it_changes(tmp_path: Path) -> None:
    journal = Journal.open(tmp_path / "journal.db", BINDING, create=True, at=CLOSE)
    later = CLOSE + timedelta(hours=1)
    assert journal.enter_stage("canary", Decimal("100.5"), CLOSE)
    assert not journal.enter_stage("canary", Decimal("100.50"), later)
    assert journal.enter_stage("full", None, later)
    told = StageRecord.read(journal.get(STAGES))
    journal.close()
    assert told == [StageRecord("canary", Decimal("100.5"), CLOSE), StageRecord("full", None, later)]


def test_the_shadow_is_a_dry_run_and_contradictions_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    assert Settings.load().staged == "full"
    monkeypatch.setenv("TRADER_DRY_RUN", "true")
    assert Settings.load().staged == "shadow"
    monkeypatch.setenv("TRADER_STAGE", "canary")
    with pytest.raises(ConfigError, match="TRADER_STAGE=canary trades"):
        Settings.load()
    monkeypatch.setenv("TRADER_DRY_RUN", "false")
    assert not Settings.load().dry_run
    monkeypatch.setenv("TRADER_STAGE", "shadow")
    assert Settings.load().dry_run
