"""What a start refuses before the first close, and in which words."""

import errno
import os
from collections import namedtuple
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import pytest

from trader.app import disk
from trader.domain.account import KeyRights
from trader.domain.decision import Margin
from trader.domain.instrument import Bracket, Instrument
from trader.errors import ConfigError, JournalError, NotPermitted
from trader.execution.fills import Costs
from trader.live.preflight import (
    Size,
    require_bracket,
    require_least,
    require_margin,
    require_rights,
    require_stop,
)

GOOD = KeyRights(read=True, trade_futures=True, withdraw=False, transfer=False, bound_to_address=True)
TIERS = (
    Bracket(Decimal(0), Decimal(1000), 20, Decimal("0.01"), Decimal(0)),
    Bracket(Decimal(1000), Decimal(5000), 5, Decimal("0.02"), Decimal(10)),
)
RULES = Instrument("X", "TRADING", Decimal("0.1"), Decimal(1), Decimal(1), Decimal(10**6), Decimal(5), brackets=TIERS)
COSTS = Costs(Decimal("0.0005"), Decimal("0.0001"), Decimal("0.0002"))


def size(notional: str) -> Size:
    return Size("X", Decimal(1), Decimal(notional), Decimal(2))


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"withdraw": True}, "may withdraw, which a daemon never needs"),
        ({"transfer": True}, "may transfer, which"),
        ({"withdraw": True, "transfer": True}, "may withdraw and transfer, which"),
        ({"trade_futures": False}, "may not trade futures; give it that right"),
        ({"read": False}, "may not read; give it that right"),
    ],
)
def test_a_key_that_may_too_much_or_too_little_is_refused(changed: dict[str, bool], words: str) -> None:
    rights = {name: getattr(GOOD, name) for name in KeyRights.__slots__} | changed
    with pytest.raises(NotPermitted, match=words) as refused:
        require_rights(KeyRights(**rights))
    assert refused.value.exit_code == 77
    require_rights(GOOD)


def test_a_size_is_held_to_the_least_and_to_the_brackets() -> None:
    require_least(size("5"), RULES)
    with pytest.raises(ConfigError, match=r"orders of 4\.99 USDT, below the 5\.00 X needs at least; hold at least"):
        require_least(size("4.99"), RULES)
    require_bracket(size("1000"), RULES, 20)
    with pytest.raises(ConfigError, match=r"may have a leverage of 5 and the strategy wants 20.*-2027; lower"):
        require_bracket(size("1000.01"), RULES, 20)
    with pytest.raises(ConfigError, match="-2027"):
        require_bracket(size("5001"), RULES, 5)


def test_a_stop_that_liquidation_would_come_before_is_refused_with_how_far_it_may_be() -> None:
    margin = Margin(5, isolated=True)
    # a short of 500 at 5x: (1 + 0.2) / (1 + 0.01) - 1
    assert require_stop(size("500"), RULES, Decimal(500), margin, Decimal("0.1")) == pytest.approx(Decimal("0.188119"))
    with pytest.raises(
        ConfigError, match=r"liquidated 0\.1881 from its price, before a protective stop 0\.2 away; lower"
    ):
        require_stop(size("500"), RULES, Decimal(500), margin, Decimal("0.2"))
    require_stop(size("500"), RULES, Decimal(5000), Margin(5, isolated=False), Decimal("0.9"))
    untold = replace(RULES, brackets=())
    assert require_stop(size("500"), untold, Decimal(500), margin, Decimal("0.9")) is None
    assert require_stop(size("0"), RULES, Decimal(500), margin, Decimal("0.9")) is None


def test_an_exposure_without_room_for_fee_and_slippage_is_refused() -> None:
    assert require_margin(size("100"), Decimal(100), 2, COSTS) > Decimal("0.49")
    with pytest.raises(ConfigError, match=r"-2019; raise the leverage or lower the exposure"):
        require_margin(size("199.9"), Decimal(100), 2, COSTS)
    with pytest.raises(ConfigError, match="-2019"):
        require_margin(size("1"), Decimal(0), 2, COSTS)


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (errno.ENOSPC, r"No space left on device; free some space, or point TRADER_DATA_DIR"),
        (errno.EDQUOT, r"Disk quota exceeded; free some space, or point TRADER_DATA_DIR"),
        (errno.EROFS, r"Read-only file system; make it writable for this user, or point TRADER_DATA_DIR"),
        (errno.EACCES, r"Permission denied; make it writable for this user, or point TRADER_DATA_DIR"),
    ],
)
def test_a_disk_that_takes_nothing_is_refused_with_what_helps(
    number: int, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(handle: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(disk.os, "fsync", refuse)
    with pytest.raises(JournalError, match=words) as refused:
        disk.require_space(tmp_path)
    assert refused.value.exit_code == 74
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_is_refused_before_anything_is_begun(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    there = disk.require_space(tmp_path / "not" / "there" / "yet")
    assert there.folder == tmp_path
    assert there.free > 0
    usage = namedtuple("usage", "total used free")  # shaped like the standard library's own
    monkeypatch.setattr(disk.shutil, "disk_usage", lambda path: usage(10**9, 10**9, disk.LEAST - 1))
    with pytest.raises(JournalError, match=r"Only 17 MB are free at .*; free some space") as refused:
        disk.require_space(tmp_path)
    assert refused.value.exit_code == 74
    assert list(tmp_path.iterdir()) == []
