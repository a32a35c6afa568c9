"""Protective stops of a real daemon: killed around them, triggered while nobody runs, checked and shown."""

import asyncio
import signal
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tests.scenarios.exchange import Hand, serving
from tests.scenarios.processes import Home, agrees, rows
from tests.scenarios.test_renewal import own, running
from trader.app.checking import check
from trader.app.daemon import RunOptions, run_daemon
from trader.app.operating import flatten, reconcile, request
from trader.app.reading import orders, status
from trader.app.settings import load_settings
from trader.app.tapes import TapeChoice
from trader.errors import ConfigError

SETTINGS = {"TRADER_RISK__PROTECTIVE_STOP": "0.2"}
FAST = ("run", "--speed", "max", "--from", "2024-01-03", "--to", "2024-01-07")
ADA = "ADAUSDT"


def algos(home: Home) -> list[tuple[str, str, str]]:
    return rows(home.exchange / "ledger.db", "select client_id, side, status from algos")


def one_stop_at_most(home: Home) -> None:
    """What rests protects the position the ledger holds; the journal knows it, and no name was placed twice."""
    resting = [(name, side) for name, side, state in algos(home) if state == "NEW"]
    held = [float(row[1]) for row in home.ledger()["positions"] if float(row[1])]
    assert [side for _, side in resting] == ["SELL" if quantity > 0 else "BUY" for quantity in held]
    known = home.journal("select client_id, final from stops where final = 0")
    assert [name for name, _ in known] == [name for name, _ in resting]
    assert max(Counter(name for name, _, _ in algos(home)).values()) == 1


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[tuple[Any, ...]]]:
    home = Home(tmp_path_factory.mktemp("undisturbed") / "data")
    done = home.run(*FAST, **SETTINGS)
    assert done.returncode == 0, done.stderr
    one_stop_at_most(home)
    assert {state for _, _, state in algos(home)} == {"NEW", "EXPIRED"}
    return home.ledger()


@pytest.mark.fault(1, 2)
@pytest.mark.parametrize("when", ["kill_before", "kill_after"])
@pytest.mark.parametrize(("path", "turn"), [("POST /fapi/v1/algoOrder", 2), ("GET /fapi/v1/algoOrder", 1)])
def test_a_kill_around_a_stop_leaves_one_and_the_money_of_an_undisturbed_run(
    path: str, turn: int, when: str, tmp_path: Path, undisturbed: dict[str, list[tuple[Any, ...]]]
) -> None:
    home = Home(tmp_path / "data")
    plan = home.plan({"on": {"path": path, "nth": turn}, "do": when})
    assert home.run(*FAST, TRADER_SIM__FAULTS=plan, **SETTINGS).returncode == -signal.SIGKILL
    done = home.run(*FAST, TRADER_SIM__FAULTS=plan, **SETTINGS)
    assert done.returncode == 0, done.stderr
    agrees(home)
    one_stop_at_most(home)
    assert home.ledger() == undisturbed


def daemon(cycles: int) -> dict[str, Any]:
    """Run the daemon in this process, which costs no start of another one."""
    options = RunOptions(TapeChoice(), cycles, float("inf"), collect=True)
    ran = asyncio.run(run_daemon(load_settings(), options))
    assert ran is not None
    return ran


def resting(hand: Hand) -> list[dict[str, Any]]:
    return [one for one in hand.ledger()["algos"] if one["status"] == "NEW"]


def choose(monkeypatch: pytest.MonkeyPatch, **settings: str) -> None:
    for name, value in settings.items():
        monkeypatch.setenv(f"TRADER_{name}", value)


def found(name: str) -> dict[str, str]:
    document = asyncio.run(check(load_settings()))
    return {one["check"]: one for one in document["checks"]}[name]


@pytest.mark.fault(54, 83)
def test_a_stop_that_triggers_while_nobody_runs_is_explained_by_the_next_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = Home(tmp_path / "data")
    with serving(home, "--speed", "max", "--from", "2024-01-03") as hand:
        keys = {"API_KEY": hand.ready["api_key"], "API_SECRET": hand.ready["api_secret"]}
        choose(monkeypatch, VENUE="testnet", EXCHANGE__LOOPBACK=str(hand.ready["port"]), **keys)
        choose(monkeypatch, RISK__PROTECTIVE_STOP="0.6")
        assert "liquidated" in found("stop")["found"]
        with pytest.raises(ConfigError, match=r"liquidated .* before a protective stop 0\.6 away; lower the leverage"):
            daemon(1)
        assert hand.ledger()["orders"] == []

        choose(monkeypatch, RISK__PROTECTIVE_STOP="0.2")
        assert found("stop")["verdict"] == "passed"
        daemon(2)
        (stop,) = resting(hand)
        assert (stop["type"], stop["working_type"], stop["close_position"]) == ("STOP_MARKET", "MARK_PRICE", True)
        assert status(load_settings())["stops"] == {ADA: stop["trigger"]}
        assert asyncio.run(reconcile(load_settings()))["differences"] == []
        assert found("holdings")["verdict"] == "passed"

        assert hand.control("/sim/v1/events", {"do": "trigger", "symbol": ADA}) == [{"done": "trigger"}]
        gone, ended, *_ = asyncio.run(reconcile(load_settings()))["differences"]
        assert f"{ADA}: the journal says" in gone
        assert "FINISHED there; the next close puts that right" in ended
        ran = daemon(1)
        assert [close["state"] for close in ran["closes"]] == ["HALTED"]
        told = status(load_settings())
        assert (told["state"], told["position"], told["stops"]) == ("HALTED", {}, {})
        assert "our protective stop" in told["why"]
        last = orders(load_settings(), 1)[0]
        assert (last["client_id"], last["status"], last["outcome"]) == (stop["client_id"], "FILLED", "confirmed")
        assert asyncio.run(reconcile(load_settings()))["differences"] == []

        request(load_settings(), "resume")
        assert daemon(1)["closes"][0]["position"] != "0"
        assert len(resting(hand)) == 1
        asyncio.run(flatten(load_settings()))
        assert resting(hand) == []
        assert hand.ledger()["positions"] == []


def test_a_dry_run_says_that_it_imagines_no_stop(tmp_path: Path) -> None:
    home = Home(tmp_path / "data")
    with serving(home, "--speed", "max", "--from", "2024-01-03") as hand:
        settings = {"TRADER_VENUE": "testnet", "TRADER_EXCHANGE__LOOPBACK": str(hand.ready["port"])}
        done = home.run("run", "--cycles", "1", "--speed", "max", TRADER_STAGE="shadow", **settings, **SETTINGS)
        assert done.returncode == 0, done.stderr
        assert "a dry run imagines no protective stop" in done.stderr
        assert hand.ledger()["algos"] == []


def test_a_stop_that_is_switched_on_and_off_under_a_running_daemon_rests_from_a_close_on_until_another(
    tmp_path: Path,
) -> None:
    home, file = Home(tmp_path / "data"), own(tmp_path / "strategies")
    plain = file.read_text()

    def write(text: str) -> None:
        fresh = file.with_suffix(".new")
        fresh.write_text(text)
        fresh.replace(file)

    with running(home, "--strategy", str(file), "--speed", "60000") as daemon:
        daemon.until("close decided")
        write(plain.replace("[risk]\n", "[risk]\nprotective_stop = 0.2\n"))
        changed = daemon.until("configuration changed")["changes"]
        placed = daemon.until("stop placed")
        daemon.until("close decided")
        write(plain)
        daemon.until("configuration changed")
        # taken back, or gone with a position that the same close turned; either way none follows
        daemon.until("stop ended")
        daemon.until("close decided")
    assert changed["strategy.risk.protective_stop"] == [None, "0.2"]
    assert placed["symbol"] == ADA
    assert [state for _, _, state in algos(home)].count("NEW") == 0
    assert home.journal("select count(*) from stops where final = 0") == [(0,)]
    agrees(home)
