"""What systemd does when the daemon ends."""

from configparser import ConfigParser
from pathlib import Path

from trader.errors import ConfigError, ExchangeError, JournalLocked, Mismatch, NotPermitted

UNIT = Path(__file__).resolve().parents[3] / "deploy" / "trader.service"


def unit() -> ConfigParser:
    read = ConfigParser(interpolation=None, strict=False)
    read.optionxform = str  # type: ignore[assignment,method-assign]
    read.read_string(UNIT.read_text())
    return read


def test_an_outage_at_boot_ends_no_unit_for_good_and_a_refusal_does() -> None:
    found = unit()
    assert found["Unit"]["StartLimitIntervalSec"] == "0"
    assert found["Service"]["Restart"] == "on-failure"
    final = {int(code) for code in found["Service"]["RestartPreventExitStatus"].split()}
    assert {NotPermitted.exit_code, Mismatch.exit_code, ConfigError.exit_code} <= final
    assert not final & {ExchangeError.exit_code, JournalLocked.exit_code}


def test_an_exchange_that_is_out_is_asked_ever_less_often() -> None:
    service = unit()["Service"]
    assert int(service["RestartSec"]) < int(service["RestartMaxDelaySec"]) <= 300
    assert int(service["RestartSteps"]) > 1
