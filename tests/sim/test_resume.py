"""The exchange is a process whose state survives anything, and which refuses what it was not begun with."""

import contextlib
import json
import os
import signal
import sqlite3
import ssl
import stat
import time
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from trader.sim.errors import StartError
from trader.sim.folder import Options
from trader.sim.generated import generated_tape
from trader.sim.server import serve
from trader.sim.tls import HOSTS

D = Decimal
PRICES = [0.5 + (index * 37 % 20) / 1000 for index in range(50)]


def strip(ledger: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in ledger.items() if name not in ("requests", "counts")}


def trade_a_little(client: Any) -> None:
    client.isolate(3)
    for hour, side in enumerate(("BUY", "SELL", "SELL", "BUY", "SELL")):
        client.advance(3 * hour + 1)
        client.order(side, 1000 + hour, newClientOrderId=f"n{hour}")


def test_a_reopened_exchange_stands_at_the_same_instant_with_the_same_books(open_market: Any, market: Any) -> None:
    rates = {market.START.replace(hour=hour): 0.0003 for hour in (0, 8, 16)}
    client = open_market(market.steps(*PRICES), rates)
    trade_a_little(client)
    before = client.ledger()
    client.opened.exchange.ledger.close()
    client.opened.lock.close()
    again = open_market(market.steps(*PRICES), rates)
    assert again.opened.resumed
    assert again.ledger() == before
    assert again.exchange.keys == client.exchange.keys
    assert again.order("BUY", 100)["orderId"] == len(before["orders"]) + 1


def test_the_same_requests_give_the_same_ledger_whether_interrupted_or_not(open_market: Any, market: Any) -> None:
    ledgers = []
    for folder, interrupted in (("straight", False), ("broken", True)):
        client = open_market(market.steps(*PRICES), folder=folder)
        client.isolate(3)
        for hour in range(10):
            client.advance(3 * hour + 1)
            client.order("BUY" if hour % 3 else "SELL", 700 + hour)
            if interrupted:
                client.opened.exchange.ledger.close()
                client.opened.lock.close()
                client = open_market(market.steps(*PRICES), folder=folder)
        ledgers.append(client.ledger())
    assert ledgers[0] == ledgers[1]


def test_frame_and_generated_market_give_the_same_ledger(open_market: Any, tmp_path: Path) -> None:
    made, rates = generated_tape()
    rates.write_parquet(tmp_path / "rates.parquet")
    start = 1_704_067_200_000
    ledgers = []
    for options in ({"tape": None}, {"funding": tmp_path / "rates.parquet"}):
        client = open_market(made, begin=start, folder=f"f{len(ledgers)}", **options)
        client.isolate(2)
        for close in range(1, 8):
            client.exchange.advance(start + close * 16 * 3_600_000)
            client.order("BUY" if close % 2 else "SELL", 5000 + close)
        ledgers.append({**client.ledger(), "tape": ""})
    assert ledgers[0] == ledgers[1]
    assert len([row for row in ledgers[0]["incomes"] if row["income_type"] == "FUNDING_FEE"]) == 12


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"equity": D(9)}, "equity"),
        ({"fee": D("0.001")}, "fee"),
        ({"rates": {}}, "funding"),
        ({"bars": 49}, "tape"),
    ],
)
def test_a_ledger_begun_otherwise_is_refused_and_left_alone(
    open_market: Any, market: Any, tmp_path: Path, change: dict[str, Any], named: str
) -> None:
    client = open_market(market.steps(*PRICES), {market.START: 0.1})
    client.order("BUY", 1000)
    before = client.ledger()
    client.opened.exchange.ledger.close()
    client.opened.lock.close()
    bars = market.steps(*PRICES[: change.pop("bars", 50)])
    with pytest.raises(StartError, match=f"another {named} .*give another --dir") as caught:
        open_market(bars, change.pop("rates", {market.START: 0.1}) or None, **change)
    assert caught.value.exit_code == 78
    assert open_market(market.steps(*PRICES), {market.START: 0.1}).ledger() == before


def test_money_settings_left_out_are_those_the_ledger_was_begun_with(open_market: Any, market: Any) -> None:
    client = open_market(market.steps(*PRICES), equity=D(77), fee=D(0))
    client.opened.exchange.ledger.close()
    client.opened.lock.close()
    again = open_market(market.steps(*PRICES))
    assert (again.exchange.terms.equity, again.exchange.terms.fee) == (77, 0)


def test_a_killed_process_resumes_where_it_stood(run_process: Any, tmp_path: Path) -> None:
    process = run_process("--clock", "stepped", "--pipe")
    first = json.loads(process.stdout.readline())
    assert (first["resumed"], first["generated"], first["tape"]) == (False, True, "generated")
    to = first["venue_time"] + 5_000_000
    assert post(first, "advance", {"to": to}) == {"time": to, "ended": False}
    process.send_signal(signal.SIGKILL)
    process.wait()
    again = json.loads(run_process("--clock", "stepped", "--pipe").stdout.readline())
    assert again["resumed"]
    assert again["venue_time"] == to
    assert {name: again[name] for name in ("ca", "api_key", "api_secret", "control")} == {
        name: first[name] for name in ("ca", "api_key", "api_secret", "control")
    }


def post(ready: dict[str, Any], path: str, document: Any) -> Any:
    import http.client

    context = ssl.create_default_context(cafile=ready["ca"])
    connection = http.client.HTTPSConnection("localhost", ready["port"], context=context)
    connection.request("POST", f"/sim/v1/{path}", json.dumps(document), {"X-Sim-Control": ready["control"]})
    answer = json.loads(connection.getresponse().read())
    connection.close()
    return answer


def test_the_end_of_the_pipe_and_sigterm_end_it_cleanly(run_process: Any) -> None:
    for end in ("pipe", "term"):
        process = run_process(*(["--pipe"] if end == "pipe" else []))
        assert json.loads(process.stdout.readline())["port"] > 0
        if end == "term":
            process.send_signal(signal.SIGTERM)
        output, errors = process.communicate(timeout=20)
        assert (process.returncode, output, errors) == (0, "", "")


def test_ctrl_c_does_not_end_an_exchange_on_a_pipe(run_process: Any) -> None:
    process = run_process("--pipe")
    ready = json.loads(process.stdout.readline())
    process.send_signal(signal.SIGINT)
    assert post(ready, "advance", {"to": 0})["ended"] is False
    assert process.communicate(timeout=20) == ("", "")
    assert process.returncode == 0


def test_a_folder_in_use_is_refused_with_its_holder(run_process: Any) -> None:
    first = run_process("--pipe")
    first.stdout.readline()
    second = run_process("--pipe")
    errors = second.communicate(timeout=30)[1]
    assert second.returncode == 75
    assert f"in use by process {first.pid};" in errors


def test_a_bad_tape_is_one_sentence_and_exit_78(run_process: Any, market: Any, tmp_path: Path) -> None:
    frame = market.candles(market.steps(*PRICES)).filter(pl.int_range(pl.len()) != 7)
    frame.write_parquet(tmp_path / "ADAUSDT.parquet")
    process = run_process("--tape", str(tmp_path / "ADAUSDT.parquet"))
    output, errors = process.communicate(timeout=30)
    assert (process.returncode, output) == (78, "")
    assert errors.count("\n") == 1
    assert "follows a gap of 1 candles" in errors
    assert not (tmp_path / "exchange").exists()


def test_keys_tokens_and_private_keys_are_for_the_owner_only(run_process: Any, tmp_path: Path) -> None:
    ready = json.loads(run_process("--pipe").stdout.readline())
    for path in ("exchange/control.token", "exchange/keys.json", "ca-key.pem", "server-key.pem"):
        assert stat.S_IMODE((tmp_path / path).stat().st_mode) == 0o600
    assert Path(ready["ca"]) == tmp_path / "ca.pem"
    context = ssl.create_default_context(cafile=ready["ca"])
    import socket

    for host in (*HOSTS, "127.0.0.1"):
        with (
            socket.create_connection(("127.0.0.1", ready["port"])) as plain,
            context.wrap_socket(plain, server_hostname=host) as secure,
        ):
            assert secure.version() in ("TLSv1.2", "TLSv1.3")
    with (
        socket.create_connection(("127.0.0.1", ready["port"])) as plain,
        pytest.raises(ssl.SSLCertVerificationError),
    ):
        context.wrap_socket(plain, server_hostname="example.com")


@pytest.mark.parametrize("bad", [{"clock": "fast"}, {"fee": D("0.9")}, {"equity": D(0)}, {"begin": 5}])
def test_settings_out_of_range_are_refused(tmp_path: Path, capsys: Any, bad: dict[str, Any]) -> None:
    assert serve(Options(folder=tmp_path / "x", **bad)) in (2, 78)
    assert capsys.readouterr().err.count("\n") == 1


def test_a_wall_clock_runs_at_its_rate_from_the_committed_instant_and_stops_at_the_end(
    open_market: Any, market: Any
) -> None:
    from trader.sim.clock import Clock

    wall = [100.0]
    clock = Clock(1_000_000, 1_500_000, 60.0, lambda: wall[0])
    wall[0] += 1
    assert clock.tick() == clock.read() == 1_060_000
    clock.jump(1_200_000)
    wall[0] += 0.5
    assert clock.read() == 1_230_000
    wall[0] += 100
    assert clock.tick() == 1_500_000


def test_a_disk_that_cannot_be_written_ends_the_exchange_unanswered(run_process: Any, tmp_path: Path) -> None:
    process = run_process("--clock", "stepped", "--pipe")
    ready = json.loads(process.stdout.readline())
    import http.client
    import resource

    resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (1, 1))

    def ask_until_it_ends() -> None:
        for step in range(1, 2000):
            post(ready, "advance", {"to": ready["venue_time"] + step})

    with pytest.raises((http.client.RemoteDisconnected, ConnectionResetError)):
        ask_until_it_ends()
    errors = process.stderr.read()
    assert process.wait() == 74
    assert errors.count("\n") == 1
    assert "cannot be written" in errors
    again = run_process("--clock", "stepped", "--pipe")
    assert json.loads(again.stdout.readline())["venue_time"] >= ready["venue_time"]


def test_starting_again_at_once_after_a_kill_waits_for_the_folder(run_process: Any) -> None:
    first = run_process("--pipe")
    first.stdout.readline()
    os.kill(first.pid, signal.SIGSTOP)
    second = run_process("--pipe")
    time.sleep(0)
    os.kill(first.pid, signal.SIGKILL)
    assert json.loads(second.stdout.readline())["resumed"]


async def test_a_real_clock_shows_the_time_outside(tmp_path: Path) -> None:
    from trader.sim.server import Server

    for resumed in (False, True):
        server = Server(Options(folder=tmp_path / "exchange", clock="real"))
        before = time.time_ns() // 1_000_000
        ready = await server.start()
        await server.stop()
        assert ready["resumed"] is resumed
        assert before <= ready["venue_time"] <= time.time_ns() // 1_000_000


def test_a_tape_that_does_not_reach_the_present_has_no_real_clock(open_market: Any, market: Any) -> None:
    with pytest.raises(StartError, match="is not on the tape"):
        open_market(market.steps(*PRICES), clock="real")


def test_a_ledger_of_an_earlier_version_is_carried_over(open_market: Any, market: Any, tmp_path: Path) -> None:
    client = open_market(market.steps(*PRICES))
    trade_a_little(client)
    before = client.ledger()
    client.opened.exchange.ledger.close()
    client.opened.lock.close()
    with contextlib.closing(sqlite3.connect(tmp_path / "exchange" / "ledger.db")) as db:
        for column in ("price", "orig_type", "stop_price", "close_position", "stp"):
            db.execute(f"ALTER TABLE orders DROP COLUMN {column}")
        db.execute("ALTER TABLE trades DROP COLUMN maker")
        db.execute("DROP TABLE algos")
        db.execute("DROP TABLE switches")
        db.commit()
    assert open_market(market.steps(*PRICES)).ledger() == before


def test_a_ledger_of_another_version_is_refused_with_a_remedy(open_market: Any, market: Any, tmp_path: Path) -> None:
    for change in ("ALTER TABLE orders ADD COLUMN colour TEXT", "ALTER TABLE trades DROP COLUMN qty"):
        folder = f"x{len(change)}"
        client = open_market(market.steps(*PRICES), folder=folder)
        client.opened.exchange.ledger.close()
        client.opened.lock.close()
        with contextlib.closing(sqlite3.connect(tmp_path / folder / "ledger.db")) as db:
            db.execute(change)
            db.commit()
        with pytest.raises(StartError, match=r"written by another version .* give another --dir"):
            open_market(market.steps(*PRICES), folder=folder)
