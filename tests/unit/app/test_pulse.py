"""The heartbeat says the truth to a health check and to a service manager."""

import os
import socket
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
import structlog

from trader.app.pulse import STALE, Nobody, Pulse, ServiceManager, ailment, manager, pulse_path
from trader.journal.lock import Lock

NOW = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture
def journal(tmp_path: Path) -> Path:
    return tmp_path / "journal.db"


@pytest.fixture
def lock(journal: Path) -> Iterator[Lock]:
    with Lock.acquire(journal, started=NOW) as held:
        yield held


def pulse(journal: Path) -> Pulse:
    return Pulse(journal, Nobody(), structlog.get_logger("trader"))


def test_without_a_daemon_nothing_is_well(journal: Path) -> None:
    pulse(journal).beat()
    assert "No daemon runs" in str(ailment(journal))


def test_a_daemon_that_still_recovers_is_not_well_yet(journal: Path, lock: Lock) -> None:
    pulse(journal).beat()
    assert "has not recovered yet" in str(ailment(journal))


def test_a_start_that_waits_for_an_exchange_that_is_out_is_not_well_and_says_why(journal: Path, lock: Lock) -> None:
    pulse(journal).beat()
    lock.waits(NOW)
    assert "as the exchange is out since 2026-01-01 00:00Z; it asks again by itself" in str(ailment(journal))
    lock.ready()
    assert ailment(journal) is None


def test_a_ready_daemon_without_a_heartbeat_is_not_well(journal: Path, lock: Lock) -> None:
    lock.ready()
    assert "shows no heartbeat" in str(ailment(journal))


def test_a_ready_daemon_that_beats_is_well(journal: Path, lock: Lock) -> None:
    lock.ready()
    pulse(journal).beat()
    assert ailment(journal) is None


@pytest.mark.parametrize("age", [STALE + 1, -STALE])
def test_an_old_heartbeat_and_one_from_before_a_restart_of_the_machine_are_none(
    journal: Path, lock: Lock, age: float
) -> None:
    lock.ready()
    pulse_path(journal).write_text(f"{time.monotonic() - age:.3f}\n")
    assert "has not run for" in str(ailment(journal))


def test_a_heartbeat_that_cannot_be_written_is_said_once_and_stops_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    structlog.configure(processors=[structlog.processors.JSONRenderer()], logger_factory=structlog.PrintLoggerFactory())
    beating = pulse(tmp_path / "nowhere" / "journal.db")
    beating.beat()
    beating.beat()
    structlog.reset_defaults()
    assert capsys.readouterr().out.count("the heartbeat cannot be written") == 1


async def test_it_beats_as_long_as_the_block_runs_and_then_says_that_it_stops(journal: Path) -> None:
    address = str(journal.with_name("notify"))
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as service:
        service.bind(address)
        service.settimeout(5)
        beating = Pulse(journal, ServiceManager(address), structlog.get_logger("trader"))
        beating.ready("ACTIVE: waits\nfor the next close")
        async with beating.beating():
            pass
        assert service.recv(200) == b"WATCHDOG=1"
        assert service.recv(200) == b"READY=1\nSTATUS=ACTIVE: waits for the next close"
        assert service.recv(200) == b"STOPPING=1"
    beating.status("nobody listens any more")


def test_an_abstract_address_is_understood(monkeypatch: pytest.MonkeyPatch) -> None:
    name = f"trader-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as service:
        service.bind("\0" + name)
        service.settimeout(5)
        monkeypatch.setenv("NOTIFY_SOCKET", "@" + name)
        manager().tell(STATUS="here")
        assert service.recv(200) == b"STATUS=here"


def test_without_a_service_manager_nobody_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    assert isinstance(manager(), Nobody)
