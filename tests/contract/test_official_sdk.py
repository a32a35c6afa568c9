"""The official SDK and python-binance read the account and trade on `trader sim` without a warning."""

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.scenarios.exchange import serving
from tests.scenarios.processes import Home

ROOT = Path(__file__).resolve().parents[2]
PYTHON = ROOT / ".venv-sdk" / "bin" / "python"


pytestmark = pytest.mark.skipif(not PYTHON.exists(), reason="the other clients live in .venv-sdk, which .ci/run makes")


def talk(home: Home, script: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Run a client against an exchange of its own: (what it says, the ledger)."""
    with serving(home) as hand:
        trust = {"REQUESTS_CA_BUNDLE": hand.ready["ca"], "SSL_CERT_FILE": hand.ready["ca"]}
        words = [str(hand.ready["port"]), hand.ready["api_key"], hand.ready["api_secret"]]
        done = subprocess.run(
            [str(PYTHON), str(Path(__file__).with_name(script)), *words],
            env=dict(os.environ) | trust,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        ledger = hand.ledger()
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout), ledger


def test_the_official_sdk_trades_on_the_embedded_exchange(tmp_path: Path) -> None:
    told, ledger = talk(Home(tmp_path / "data"), "official_sdk.py")
    assert told["warnings"] == []
    assert (told["status"], told["client_id"], float(told["executed"])) == ("FILLED", "sdk-1", 100.0)
    assert told["same_order"] is True
    assert float(told["position"]) == 100.0
    assert [order["client_id"] for order in ledger["orders"]] == ["sdk-1", "sdk-2"]
    assert (told["resting"], told["cancelled"], told["stop"]) == ("NEW", "CANCELED", "NEW")


@pytest.mark.skipif(
    not any(ROOT.glob(".venv-sdk/lib/python3*/site-packages/binance")), reason="python-binance is not in .venv-sdk"
)
def test_python_binance_trades_on_the_embedded_exchange(tmp_path: Path) -> None:
    told, ledger = talk(Home(tmp_path / "data"), "python_binance.py")
    assert told["status"] == ["FILLED", "NEW", "CANCELED", "NEW"]
    assert (told["candles"], told["guards"], told["trades"], told["position"]) == (5, True, True, "100")
    assert (told["fee"], told["balance"]) == ("USDT", "USDT")
    assert ledger["orders"][0]["client_id"] == "pb-1"
