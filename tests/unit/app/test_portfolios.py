"""A portfolio from the command line: backtest, evidence and report over one file, and what they refuse."""

import json
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from typer.testing import CliRunner

from tests.unit.perpetuals_at_hand import START, perpetuals
from trader.cli import app
from trader.config import PortfolioFile, kind_of
from trader.errors import ConfigError, DataError

ROOT = Path(__file__).resolve().parents[3]
SHIPPED = (ROOT / "deploy" / "strategies" / "perp-carry-1d.toml").read_text()
QUICK = SHIPPED.replace("window = 30", "window = 6").replace("least_history = 30", "least_history = 5")


@pytest.fixture
def tape(tmp_path: Path) -> Path:
    bars = perpetuals(7, 30, 50).drop("close_time")
    holed = bars.filter(~((pl.col("symbol") == "S04USDT") & (pl.col("open_time") == START + timedelta(days=20))))
    blind = holed.with_columns(
        funding_rate=pl.when(pl.col("symbol") == "S05USDT").then(None).otherwise(pl.col("funding_rate"))
    )
    path = tmp_path / "perpetuals_1d.parquet"
    blind.write_parquet(path)
    return path


@pytest.fixture
def strategy(tmp_path: Path) -> str:
    path = tmp_path / "quick.toml"
    path.write_text(QUICK)
    return str(path)


def said(*words: str, code: int = 0) -> str:
    done = CliRunner().invoke(app, list(words))
    assert done.exit_code == code, (done.output, done.exception)
    return done.stdout


def document(*words: str, code: int = 0) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(said(*words, "--json", code=code))
    return found


def test_a_backtest_tells_exposures_names_and_whose_profit_it_was(tape: Path, strategy: str) -> None:
    found = document("backtest", "--strategy", strategy, "--candles", str(tape))
    closes, besides = found["closes"], found["portfolio"]
    assert len(closes) == len(besides["closes"]) > 30
    assert list(besides["excluded"]) == ["S04USDT", "S05USDT"]
    assert "missing" in besides["excluded"]["S04USDT"]
    assert besides["excluded"]["S05USDT"] == "no funding is known"
    held = {symbol for close in closes for symbol in close["position"]}
    assert len(held) > 5
    assert not held & {"S04USDT", "S05USDT"}
    total = besides["attribution"]["total"]
    assert Decimal(total["net"]) == Decimal(closes[-1]["equity"]) - 10_000
    assert sum(float(part["net"]) for part in besides["attribution"]["symbols"].values()) == pytest.approx(
        float(total["net"])
    )
    assert found["metrics"]["n"] == len(closes) - 1
    assert besides["volatility"]["forecast"] > 0


def test_evidence_judges_a_portfolio_and_counts_the_settings_that_were_tried(
    tape: Path, strategy: str, tmp_path: Path
) -> None:
    found = document("evidence", strategy, "--candles", str(tape), code=1)
    assert found["verdict"] == "NO-GO"
    assert found["trials"] == 1
    assert found["no_bias"] is None
    assert found["gates"]["causality"]["passed"]
    assert document("evidence", strategy, "--candles", str(tape), code=1)["trials"] == 1
    page = " ".join(said("evidence", strategy, "--candles", str(tape), code=1).split())
    assert "Its history is shorter than a quarter, so that it was not walked forward." in page
    other = tmp_path / "other.toml"
    other.write_text(QUICK.replace("slope = 1.0", "slope = 3.0"))
    assert document("evidence", str(other), "--candles", str(tape), code=1)["trials"] == 2
    other.write_text(QUICK.replace('interval = "1d"', 'interval = "2d"'))
    assert document("evidence", str(other), "--candles", str(tape), code=1)["trials"] == 3


def test_the_report_of_a_portfolio_is_one_page_with_its_verdict(tape: Path, strategy: str, tmp_path: Path) -> None:
    out = tmp_path / "page.html"
    found = document("report", "backtest", "--strategy", strategy, "--candles", str(tape), "--out", str(out))
    page = out.read_text()
    assert found["verdict"] == "NO-GO"
    assert 'id="portfolio"' in page
    assert all(f'data-figure="{name}"' in page for name in ("exposures", "names", "turnover", "symbols"))
    assert "S04USDT (the candle" in page


def test_one_close_of_a_portfolio_is_decided_on_a_candle_file(tape: Path, strategy: str) -> None:
    found = document("decide", "--strategy", strategy, "--candles", str(tape), "--close", "2023-01-31")
    assert found["close"] == "2023-01-31T00:00:00Z"
    assert len(found["forecast"]) == len(found["target"]) > 3
    assert {order["symbol"] for order in found["orders"]} == set(found["target"])
    assert "S04USDT" not in found["price"]


def test_a_close_that_is_not_decided_is_not_counted_and_a_window_of_nothing_else_is_refused(
    strategy: str, tmp_path: Path
) -> None:
    """At a close at which no carry differs there is nothing to rank; the daemon counts what it decides as well."""
    bars, path = perpetuals(7, 12, 30).drop("close_time"), tmp_path / "perpetuals_1d.parquet"
    still = pl.col("open_time").is_between(START + timedelta(days=11), START + timedelta(days=12))
    alike = pl.when(still).then(0.0001).otherwise(pl.col("funding_rate")).alias("funding_rate")
    bars.with_columns(alike).write_parquet(path)
    asked = ("backtest", "--strategy", strategy, "--candles", str(path))
    closes = [close["close"][:10] for close in document(*asked, "--from", "2023-01-11", "--cycles", "4")["closes"]]
    assert closes == ["2023-01-11", "2023-01-12", "2023-01-15", "2023-01-16"]
    late = document(*asked, "--from", "2023-01-13", "--cycles", "1")["closes"]
    assert [close["close"][:10] for close in late] == ["2023-01-15"]
    done = CliRunner().invoke(app, [*asked, "--from", "2023-01-13", "--to", "2023-01-14"])
    assert isinstance(done.exception, DataError)
    bars.filter(pl.col("symbol") == "S00USDT").write_parquet(path)
    alone = CliRunner().invoke(app, list(asked))
    assert isinstance(alone.exception, DataError)
    assert "more symbols" in str(alone.exception)


def test_a_verdict_on_a_file_that_is_no_portfolio_is_refused_with_what_has_one(tape: Path, tmp_path: Path) -> None:
    for text, why in ((b"name = '\xff'", "cannot be read"), (b'kind = "ar"', "name the model of its file")):
        (tmp_path / "other.toml").write_bytes(text)
        done = CliRunner().invoke(app, ["evidence", str(tmp_path / "other.toml"), "--candles", str(tape)])
        assert isinstance(done.exception, ConfigError)
        assert why in str(done.exception)


def test_a_portfolio_needs_candles_of_many_symbols(strategy: str) -> None:
    done = CliRunner().invoke(app, ["backtest", "--strategy", strategy])
    assert isinstance(done.exception, ConfigError)
    assert "many symbols" in str(done.exception)


def test_the_shipped_file_says_every_default() -> None:
    assert kind_of(SHIPPED) == "carry"
    written = PortfolioFile.parse(SHIPPED, "shipped")
    plain = PortfolioFile.parse('name = "perp-carry-1d"\nkind = "carry"\ninterval = "1d"\n', "plain")
    assert written.model_copy(update={"risk": plain.risk}) == plain
    assert written.ranking.direction == "harvest"


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("leverage = 2", "greater than gross"),
        ('direction = "sideways"', "direction"),
        ("tenths = 11", "tenths"),
        ("least_history = 31", "least_history"),
        ("gros = 1.0", "gross"),
    ],
)
def test_a_file_that_cannot_be_traded_is_refused_with_its_reason(line: str, why: str) -> None:
    key = line.split(" ")[0]
    lines = [line if one.split(" ")[0] == key else one for one in SHIPPED.splitlines()]
    text = "\n".join(lines if line in lines else [*lines[:-2], *lines[-2:]])
    if line not in text:
        text = text.replace("[allocation]", f"[allocation]\n{line}")
    with pytest.raises(ConfigError, match=why):
        PortfolioFile.parse(text, "a file")
