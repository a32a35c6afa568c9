"""Bad input is refused in one sentence that names the remedy, with the right exit code, and nothing is lost."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest

from tests.scenarios.exchange import Hand, serving
from tests.scenarios.processes import Home, agrees, rows
from trader.sim.generated import generated_tape

STRATEGIES = Path(__file__).resolve().parents[2] / "deploy" / "strategies"
MODELS = STRATEGIES.parent / "models"


def refused(home: Home, code: int, said: str, *words: str, **settings: str) -> str:
    """Run a command that must be refused, and return what it said."""
    done = home.run(*words, **settings)
    assert done.returncode == code, (done.returncode, done.stderr)
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("trader: ")]
    assert said in line
    assert "Traceback" not in done.stderr
    return line


@pytest.mark.fault(74)
def test_an_unknown_setting_is_refused_with_the_nearest_known_name(tmp_path: Path) -> None:
    home = Home(tmp_path / "data")
    line = refused(home, 78, "TRADER_RISK__MAX_DRAWDOWN", "run", TRADER_RISK__MAX_DRAWDAWN="0.1")
    assert "TRADER_RISK__MAX_DRAWDAWN" in line
    assert not home.data.exists()


def test_live_is_refused_without_consent_and_without_a_go(tmp_path: Path) -> None:
    home = Home(tmp_path / "data")
    refused(home, 77, "TRADER_LIVE=I-understand", "run", TRADER_VENUE="live")
    keys = {"TRADER_API_KEY": "k" * 64, "TRADER_API_SECRET": "s" * 64}
    line = refused(home, 77, "TRADER_OVERRULE=", "run", TRADER_VENUE="live", TRADER_LIVE="I-understand", **keys)
    assert "k" * 64 not in line
    assert "s" * 64 not in line


def test_a_real_exchange_without_keys_is_refused_before_the_network_is_tried(tmp_path: Path) -> None:
    secrets = tmp_path / "secrets"
    secrets.mkdir()
    for name in ("trader_api_key", "trader_api_secret"):
        (secrets / name).touch()
    home = Home(tmp_path / "data")
    refused(home, 78, "needs TRADER_API_KEY", "run", TRADER_VENUE="testnet", TRADER_SECRETS_DIR=str(secrets))


def own_strategy(folder: Path, name: str = "ada-ar-16h") -> Path:
    """Copy a shipped strategy and its model, so that they can be spoilt."""
    shutil.copytree(MODELS / name, folder / name)
    return Path(shutil.copy(STRATEGIES / f"{name}.toml", folder / "own.toml"))


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[-3] ^= 1
    path.write_bytes(bytes(data))


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-5])


def other_symbol(folder: Path) -> None:
    file = folder / "own.toml"
    file.write_text(file.read_text().replace("ADAUSDT", "BTCUSDT"))


def other_interval(folder: Path) -> None:
    file = folder / "own.toml"
    file.write_text(file.read_text().replace('interval = "16h"', 'interval = "12h"'))


def altered_card(folder: Path) -> None:
    card = folder / "ada-ar-16h" / "card.json"
    document = json.loads(card.read_bytes())
    document["verdict"] = "GO"
    card.write_text(json.dumps(document))


SPOILS: dict[str, Callable[[Path], None]] = {
    "a flipped bit in the weights": lambda folder: flip(folder / "ada-ar-16h" / "weights.safetensors"),
    "truncated weights": lambda folder: cut(folder / "ada-ar-16h" / "weights.safetensors"),
    "missing weights": lambda folder: (folder / "ada-ar-16h" / "weights.safetensors").unlink(),
    "an altered verdict": altered_card,
    "another symbol": other_symbol,
    "another interval": other_interval,
}


@pytest.mark.fault(70)
@pytest.mark.parametrize("spoil", SPOILS.values(), ids=SPOILS.keys())
def test_a_model_that_is_not_what_it_was_is_refused(spoil: Callable[[Path], None], tmp_path: Path) -> None:
    home = Home(tmp_path / "data")
    file = own_strategy(tmp_path)
    spoil(tmp_path)
    refused(home, 78, "model", "run", "--strategy", str(file), "--cycles", "1", "--speed", "max")
    assert not home.data.exists()


def gap(frame: pl.DataFrame) -> pl.DataFrame:
    return pl.concat([frame[:50], frame[51:]])


def duplicate(frame: pl.DataFrame) -> pl.DataFrame:
    return pl.concat([frame[:50], frame[49:]])


def not_a_number(frame: pl.DataFrame) -> pl.DataFrame:
    row = pl.int_range(pl.len()) == 70
    return frame.with_columns(pl.when(row).then(float("nan")).otherwise(pl.col("close")).alias("close"))


def partial(frame: pl.DataFrame) -> pl.DataFrame:
    last = frame[-1:].with_columns(pl.col("open_time") - pl.duration(minutes=20))
    return pl.concat([frame[:-1], last])


@pytest.mark.parametrize("spoil", [gap, duplicate, not_a_number, partial], ids=lambda spoil: spoil.__name__)
@pytest.mark.parametrize("command", [("run", "--speed", "max", "--tape"), ("backtest", "--candles")])
def test_a_candle_file_that_cannot_be_trusted_is_refused(
    spoil: Callable[[pl.DataFrame], pl.DataFrame], command: tuple[str, ...], tmp_path: Path
) -> None:
    home = Home(tmp_path / "data")
    file = tmp_path / "ADAUSDT_1h.parquet"
    spoil(generated_tape()[0][:3000]).write_parquet(file)
    line = refused(home, 78, file.name, *command, str(file), "--cycles", "2")
    assert ";" in line, "a remedy follows the cause"
    assert not list(home.data.glob("sim/*/ledger.db"))


def test_an_equity_below_the_minimum_notional_is_refused(tmp_path: Path) -> None:
    home = Home(tmp_path / "data")
    refused(home, 78, "raise the exposure", "run", "--cycles", "1", "--speed", "max", "--equity", "7")
    assert home.ledger()["orders"] == []


@pytest.mark.fault(15)
def test_a_journal_that_is_held_is_refused_with_the_holder(tmp_path: Path) -> None:
    home = Home(tmp_path / "data")
    first = home.start("run", "--cycles", "100000", TRADER_LOG__LEVEL="INFO")
    try:
        assert first.stderr is not None
        assert any('"event": "ready"' in line for line in first.stderr)
        line = refused(home, 75, str(first.pid), "run", "--cycles", "1", "--speed", "max")
        assert "TRADER_DATA_DIR" in line
    finally:
        first.terminate()
        first.communicate(timeout=30)
    assert first.returncode == 0


@pytest.mark.fault(15)
def test_a_daemon_whose_lock_was_deleted_ends_before_it_sends_anything_more(tmp_path: Path) -> None:
    home = Home(tmp_path / "data")
    with home.start("run", "--cycles", "100000", "--speed", "max", TRADER_LOG__LEVEL="INFO") as first:
        try:
            assert first.stderr is not None
            assert any('"event": "close decided"' in line for line in first.stderr)
            (lock,) = home.data.glob("sim/*/journal.db.lock")
            lock.unlink()
            _, said = first.communicate(timeout=120)
        finally:
            first.kill()
    assert first.returncode == 74
    assert "leave that file alone" in said
    agrees(home)


def on_testnet(hand: Hand) -> dict[str, str]:
    return {"TRADER_VENUE": "testnet", "TRADER_EXCHANGE__LOOPBACK": str(hand.ready["port"])}


@pytest.mark.fault(53)
def test_hedge_mode_is_refused_and_nothing_is_sent(tmp_path: Path) -> None:
    home = Home(tmp_path / "data")
    with serving(home, "--speed", "max") as hand:
        assert hand.signed("POST", "/fapi/v1/positionSide/dual", dualSidePosition="true")["code"] == 200
        line = refused(home, 78, "hedge mode", "run", "--cycles", "1", "--speed", "max", **on_testnet(hand))
        assert "one-way" in line
        assert hand.ledger()["orders"] == []


@pytest.mark.fault(7)
def test_an_unknown_position_is_refused_until_it_is_adopted(tmp_path: Path) -> None:
    home = Home(tmp_path / "data")
    with serving(home, "--speed", "max", "--from", "2024-01-03") as hand:
        for path, what in (("leverage", {"leverage": 2}), ("marginType", {"marginType": "ISOLATED"})):
            hand.signed("POST", f"/fapi/v1/{path}", symbol="ADAUSDT", **what)
        order = {"symbol": "ADAUSDT", "side": "BUY", "type": "MARKET", "quantity": 100}
        assert hand.signed("POST", "/fapi/v1/order", **order)["orderId"]
        run = ("run", "--cycles", "1", "--speed", "max")
        line = refused(home, 77, "ADAUSDT +100", *run, **on_testnet(hand))
        assert "--adopt" in line
        assert len(hand.ledger()["orders"]) == 1
        adopted = home.run(*run, "--adopt", "--json", **on_testnet(hand))
        assert adopted.returncode == 0, adopted.stderr
        held = hand.signed("GET", "/fapi/v3/positionRisk", symbol="ADAUSDT")[0]["positionAmt"]
        assert json.loads(adopted.stdout)["closes"][-1]["position"] == held


@pytest.mark.fault(50)
def test_a_position_moved_by_hand_is_refused_at_the_next_start(tmp_path: Path) -> None:
    home = Home(tmp_path / "data")
    with serving(home, "--speed", "max", "--from", "2024-01-03") as hand:
        run = ("run", "--cycles", "2", "--speed", "max")
        assert home.run(*run, **on_testnet(hand)).returncode == 0
        order = {"symbol": "ADAUSDT", "side": "BUY", "type": "MARKET", "quantity": 333}
        assert hand.signed("POST", "/fapi/v1/order", **order)["orderId"]
        refused(home, 77, "--adopt", *run, **on_testnet(hand))
        assert home.run("reconcile", "--json", **on_testnet(hand)).returncode == 1


def test_fees_that_were_paid_in_bnb_lose_no_trade_and_a_start_that_would_pay_them_is_refused(tmp_path: Path) -> None:
    home = Home(tmp_path / "data")
    plan = home.plan({"on": {"path": "POST /fapi/v1/order", "nth": 2}, "do": "fee_burn", "feeBurn": "true"})
    span = ("run", "--speed", "max", "--from", "2024-01-03", "--to")
    done = home.run(*span, "2024-01-14", TRADER_SIM__FAULTS=plan)
    assert done.returncode == 0, done.stderr
    agrees(home)
    assert "fees paid in other coins" in done.stderr
    burnt = rows(home.exchange / "ledger.db", "select commission from trades where commission_asset = 'BNB'")
    assert burnt
    told = home.document("reconcile")
    assert told["differences"] == []
    assert float(told["fees_in_other_coins"]["BNB"]) == pytest.approx(sum(float(paid) for (paid,) in burnt))
    refused = home.run(*span, "2024-01-16")
    assert refused.returncode == 78
    assert "pays its fees in BNB" in refused.stderr
    assert "fee deduction in BNB" in refused.stderr
