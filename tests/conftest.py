"""What every test stands on: deterministic properties, an empty environment, the shared data where it is present."""

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

ROOT = Path(__file__).resolve().parents[1]
SHARED = (ROOT / ".." / "shared").resolve()

# A property that takes long on a busy machine is not wrong, so there are no deadlines; `ci` draws the same examples
# every time, `thorough` (HYPOTHESIS_PROFILE=thorough) looks for new ones.
settings.register_profile("ci", derandomize=True, deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("thorough", deadline=None, max_examples=2000, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci"))


@pytest.fixture(autouse=True)
def empty_surroundings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Hide the developer's settings, .env and state: each test has its own directory and data directory."""
    for name in [name for name in os.environ if name.upper().startswith("TRADER_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("TRADER_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope="session")
def root() -> Path:
    """The project's own directory."""
    return ROOT


@pytest.fixture(scope="session")
def shared() -> Path:
    """The directory of real candles and oracles beside the checkout; a test that needs it skips where it is absent."""
    if not SHARED.is_dir():
        pytest.skip("../shared is absent")
    return SHARED


class SkippedWithReasonAtHand:
    """Fail a continuous-integration run in which a test skipped for want of shared data that is there."""

    def __init__(self) -> None:
        self.skipped: list[str] = []

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self.note(report)

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        self.note(report)

    def note(self, report: pytest.TestReport | pytest.CollectReport) -> None:
        if report.skipped and isinstance(report.longrepr, tuple) and "shared" in report.longrepr[2].lower():
            self.skipped.append(report.nodeid)

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        if self.skipped:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        for nodeid in self.skipped:
            terminalreporter.write_line(f"FAILED {nodeid}: skipped for want of ../shared, which is there", red=True)


def pytest_configure(config: pytest.Config) -> None:
    if os.environ.get("CI") == "true" and SHARED.is_dir() and not hasattr(config, "workerinput"):
        config.pluginmanager.register(SkippedWithReasonAtHand())
