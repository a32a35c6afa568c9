"""Which account, which daemon and which tape is meant is never guessed."""

import json
from pathlib import Path

import pytest

from tests.scenarios.exchange import serving
from tests.scenarios.processes import Home
from tests.scenarios.test_refusals import on_testnet, refused
from trader.sim.generated import generated_tape

RUN = ("run", "--speed", "max", "--cycles", "2")


def test_another_account_under_the_same_journal_is_refused_before_anything_is_sent(tmp_path: Path) -> None:
    home = Home(tmp_path / "data")
    with serving(home, "--speed", "max", "--from", "2024-01-03") as hand:
        assert home.run(*RUN, **on_testnet(hand)).returncode == 0
        assert home.run("flatten", "--yes", **on_testnet(hand)).returncode == 0
        assert home.run("resume", "--yes", **on_testnet(hand)).returncode == 0
    with serving(home, "--speed", "max", "--from", "2024-03-03", "--equity", "3000") as other:
        refused(home, 77, "belongs to", *RUN, **on_testnet(other))
        assert other.ledger()["orders"] == []


def test_a_command_beside_two_daemons_names_both_and_asks_for_one(tmp_path: Path) -> None:
    home = Home(tmp_path / "data")
    daemons = [home.start("run"), home.start("run", "--from", "2024-02-01")]
    try:
        while len(list(home.data.glob("sim/*/started.json"))) < 2:
            assert [daemon.poll() for daemon in daemons] == [None, None]
        line = refused(home, 78, "Several daemons", "halt")
        assert "TRADER_DATA_DIR" in line
    finally:
        for daemon in daemons:
            daemon.terminate()
        for daemon in daemons:
            daemon.communicate(timeout=30)


def test_a_tape_that_does_not_name_its_symbol_can_be_reconciled_and_decided(tmp_path: Path) -> None:
    home = Home(tmp_path / "data")
    tape = tmp_path / "small.parquet"
    generated_tape()[0][: 24 * 200].drop("symbol", strict=False).write_parquet(tape)
    assert home.run(*RUN, "--tape", str(tape)).returncode == 0
    assert home.document("reconcile")["differences"] == []
    assert home.document("decide")["strategy"] == "ada-ar-16h"
    assert home.document("decide", "--strategy", "ada-ar-12h")["strategy"] == "ada-ar-12h"


@pytest.mark.parametrize("command", [("run", "--speed", "max"), ("backtest",)])
@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (("--funding", "ADAUSDT_funding.parquet"), "candle file"),
        (("--from", "2024-02-01", "--to", "2024-01-15"), "before it begins"),
        (("--slippage", "0.11"), "SLIPPAGE"),
        (("--equity", "1e30"), "EQUITY"),
        (("--tape", "BTCUSDT_1h.parquet"), "BTCUSDT"),
        (("--tape", "ADAUSDT_1h.parquet", "--funding", "BTCUSDT_funding.parquet"), "BTCUSDT"),
        (("--tape", "ADAUSDT_1d.parquet"), "finer"),
        (("--tape", "ADAUSDT_1h.parquet", "--funding", "early.parquet"), "reach over the closes"),
    ],
)
def test_run_and_backtest_refuse_the_same_flags(
    flags: tuple[str, ...], said: str, command: tuple[str, ...], tmp_path: Path
) -> None:
    home = Home(tmp_path / "data")
    candles, funding = (frame.drop("symbol", strict=False) for frame in generated_tape())
    for name in ("ADAUSDT", "BTCUSDT"):
        candles[:4000].write_parquet(tmp_path / f"{name}_1h.parquet")
        funding[:400].write_parquet(tmp_path / f"{name}_funding.parquet")
    funding[:100].write_parquet(tmp_path / "early.parquet")
    candles[:4800:24].write_parquet(tmp_path / "ADAUSDT_1d.parquet")
    refused(home, 78, said, *command, "--cycles", "2", *flags)
    assert not list(home.data.glob("sim/*/ledger.db"))


def test_nothing_is_asked_of_an_empty_data_directory(tmp_path: Path) -> None:
    home = Home(tmp_path / "data")
    refused(home, 78, "Nothing has run yet", "decide")
    refused(home, 74, "Nothing has run yet", "halt")
    refused(home, 74, "Nothing has run yet", "flatten", "--yes")
    assert not home.data.exists()


def test_a_flatten_without_a_daemon_closes_what_was_changed_by_hand(tmp_path: Path) -> None:
    home = Home(tmp_path / "data")
    with serving(home, "--speed", "max", "--from", "2024-01-03") as hand:
        assert home.run(*RUN, **on_testnet(hand)).returncode == 0
        order = {"symbol": "ADAUSDT", "side": "BUY", "type": "MARKET", "quantity": 333}
        hand.signed("POST", "/fapi/v1/order", **order)
        assert home.run("reconcile", **on_testnet(hand)).returncode == 1
        done = home.run("flatten", "--yes", **on_testnet(hand))
        assert done.returncode == 0, done.stderr
        held = hand.signed("GET", "/fapi/v3/positionRisk", symbol="ADAUSDT")
    assert all(float(one["positionAmt"]) == 0 for one in held)


def test_a_refused_flatten_leaves_nothing_behind(tmp_path: Path) -> None:
    home = Home(tmp_path / "data")
    with serving(home, "--speed", "max", "--from", "2024-01-03") as hand:
        ran = json.loads(home.run(*RUN, "--json", **on_testnet(hand)).stdout)
        refused(home, 77, "belongs to", "flatten", "--yes", TRADER_STRATEGY="ada-ar-12h", **on_testnet(hand))
        after = json.loads(home.run(*RUN, "--json", **on_testnet(hand)).stdout)
    assert ran["closes"][-1]["position"] != "0"
    assert {close["state"] for close in after["closes"]} == {"ACTIVE"}
