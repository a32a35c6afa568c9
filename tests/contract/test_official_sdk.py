"""The official SDK reads the account and trades on `trader sim` without a validation warning."""

import json
import os
import subprocess
from pathlib import Path

import pytest

from tests.scenarios.exchange import serving
from tests.scenarios.processes import Home

ROOT = Path(__file__).resolve().parents[2]
PYTHON = ROOT / ".venv-sdk" / "bin" / "python"


@pytest.mark.skipif(not PYTHON.exists(), reason="the official SDK lives in .venv-sdk, which .ci/run makes")
def test_the_official_sdk_trades_on_the_embedded_exchange(tmp_path: Path) -> None:
    home = Home(tmp_path / "data")
    with serving(home) as hand:
        trust = {"REQUESTS_CA_BUNDLE": hand.ready["ca"], "SSL_CERT_FILE": hand.ready["ca"]}
        done = subprocess.run(
            [
                str(PYTHON),
                str(Path(__file__).with_name("official_sdk.py")),
                str(hand.ready["port"]),
                hand.ready["api_key"],
                hand.ready["api_secret"],
            ],
            env=dict(os.environ) | trust,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        ledger = hand.ledger()
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["warnings"] == []
    assert (told["status"], told["client_id"], float(told["executed"])) == ("FILLED", "sdk-1", 100.0)
    assert told["same_order"] is True
    assert float(told["position"]) == 100.0
    assert [order["client_id"] for order in ledger["orders"]] == ["sdk-1", "sdk-2"]
    assert (told["resting"], told["cancelled"], told["stop"]) == ("NEW", "CANCELED", "NEW")
