"""What an instance of the live venue asks of the exchange before its start; no socket is opened here."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest

from trader.app import venues
from trader.app.assembly import assembled
from trader.app.strategies import load_strategy
from trader.app.tapes import TapeChoice
from trader.config import Settings
from trader.config.sections import RiskSettings
from trader.domain.decision import State
from trader.errors import ConfigError, NotPermitted, RateLimited
from trader.journal.journal import Journal
from trader.journal.rows import Binding, Intent

NO_TAPE = TapeChoice(None)


def banned(folder: Path, *, overruled: bool) -> Settings:
    """Leave a journal of the live venue in which a ban of ten minutes is kept."""
    settings = Settings(data_dir=folder, venue="live", live="I-understand", api_key="k" * 32, api_secret="s" * 32)
    loaded = load_strategy(settings)
    home = venues.folder(settings, NO_TAPE, loaded.strategy.name)
    home.mkdir(parents=True)
    now = datetime.now(UTC)
    binding = Binding("live", "main", "", loaded.strategy.name, False)
    journal = Journal.open(home / "journal.db", binding, create=True, at=now)
    journal.keep_cooldown(now + timedelta(minutes=10))
    journal.close()
    return settings.model_copy(update={"overrule": loaded.worth.hash}) if overruled else settings


async def test_a_live_start_during_a_ban_is_wired_so_that_the_daemon_can_wait(tmp_path: Path) -> None:
    async with assembled(banned(tmp_path, overruled=True), NO_TAPE, None) as one:
        assert one.venue.gateway.cooldown is not None
        with pytest.raises(RateLimited):
            await one.startup.run(adopt=False)


async def test_a_model_without_a_go_may_close_what_is_held_and_nothing_else(tmp_path: Path) -> None:
    settings = banned(tmp_path, overruled=False)
    with pytest.raises(NotPermitted, match="live money needs a GO"):
        async with assembled(settings, NO_TAPE, None):
            pass
    async with assembled(settings, NO_TAPE, None, closing=True) as one:
        assert one.journal.cooldown() is not None


@pytest.mark.parametrize("holds", ["a position", "an order"])
async def test_a_model_that_may_not_trade_any_more_looks_after_what_is_held_and_only_reduces(
    holds: str, tmp_path: Path
) -> None:
    """Refused, it would leave a position without its limits, and systemd starts nothing again after 77."""
    settings = banned(tmp_path, overruled=False)
    (path,) = tmp_path.glob("live/journal.db")
    name = load_strategy(settings).strategy.name
    journal = Journal.open(path, Binding("live", "main", "", name, False), create=False, at=datetime.now(UTC))
    money, held = Decimal(1000), {"ADAUSDT": Decimal(500)} if holds == "a position" else {}
    journal.set_baseline(wallet=money, equity=money, positions=held, last_trades={}, at=datetime.now(UTC))
    if holds == "an order":
        # it may be filled, whatever the journal knows
        close = datetime.now(UTC)
        opening = Intent("a.o0", close, "ADAUSDT", "o", 0, Decimal(5), False, close, close)
        assert journal.claim(close, close)
        journal.record_decision(close, "{}", "{}", model_hash="", why="", intents=[opening], at=close)
    journal.close()
    async with assembled(settings, NO_TAPE, None) as one:
        state = one.journal.state()
        # whenever it is asked for, also while a close is tried again
        one.journal.request("resume", datetime.now(UTC))
        assert one.control.state() is State.REDUCING
        assert one.journal.pending_requests() == []
    assert (state.state, state.by) == (State.REDUCING, "worth")
    assert "live money needs a GO" in state.why
    assert "`trader resume`" in state.why


async def test_limits_that_do_not_go_with_the_interval_refuse_a_start_and_no_flatten(tmp_path: Path) -> None:
    settings = banned(tmp_path, overruled=True).model_copy(update={"risk": RiskSettings(max_delay=16 * 3600.0)})
    with pytest.raises(ConfigError, match="is not shorter than the interval"):
        async with assembled(settings, NO_TAPE, None):
            pass
    async with assembled(settings, NO_TAPE, None, closing=True) as one:
        assert one.journal.cooldown() is not None
