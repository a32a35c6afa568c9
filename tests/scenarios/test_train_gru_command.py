"""A recurrent model from the command line: trained, judged, and traded the same by backtest and daemon."""

import json
from pathlib import Path

from tests.scenarios.processes import Home
from trader.sim.generated import generated_tape


def test_a_network_is_trained_judged_and_traded_by_backtest_and_daemon_alike(tmp_path: Path) -> None:
    home = Home(tmp_path / "data")
    candles, model = tmp_path / "candles.parquet", str(tmp_path / "small")
    generated_tape()[0][: 24 * 200].write_parquet(candles)
    shape = ("--window", "8", "--layers", "1", "--width", "3", "--epochs", "2")
    told = home.document("train", "gru", "--candles", str(candles), "--interval", "16h", *shape, "--out", model)
    assert told["verdict"] == "NO-GO"
    assert len(told["epochs"]) == 2
    assert home.document("model", "verify", model)["verified"]
    done = home.run("evidence", model, "--candles", str(candles), "--json")
    assert done.returncode == 1
    judged = json.loads(done.stdout)
    assert (judged["gates"], judged["verdict"]) == (told["gates"], "NO-GO")
    assert judged["walk_forward"]["count"] == 6
    beside = judged["proportional"]
    assert beside["net_log_return"] != judged["performance"]["net_log_return"]
    assert beside["cost_stress"][0]["net_log_return"] == beside["net_log_return"]
    assert (set(beside["gates"]), beside["verdict"]) == (set(judged["gates"]), "NO-GO")

    file = tmp_path / "gru.toml"
    file.write_text(
        'name = "gru"\nkind = "gru"\nsymbol = "ADAUSDT"\ninterval = "16h"\nmodel = "small"\n'
        '[policy]\nkind = "proportional"\n[allocation]\nexposure = 1.0\nleverage = 2\nband = 0.0\n'
    )
    words = ("--strategy", str(file), "--tape", str(candles), "--from", "2024-01-12", "--cycles", "12")
    ran = home.document("run", *words, "--speed", "max")
    assert ran["closes"] == home.document("backtest", *words)["closes"]
    assert any(close["position"] != "0" for close in ran["closes"])
    assert home.document("replay", "--all", TRADER_STRATEGY=str(file))["differences"] == []
