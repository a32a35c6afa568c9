"""The dry run on the demo exchange: every order is checked there, none is sent, and the imagined book is kept."""

from pathlib import Path

from tests.scenarios.exchange import serving
from tests.scenarios.processes import Home

CLOSES = 20


def test_twenty_closes_of_a_testnet_dry_run_send_no_order_and_keep_an_imagined_book(tmp_path: Path) -> None:
    home = Home(tmp_path / "data")
    with serving(home, "--port", "0", "--speed", "max", "--from", "2024-01-03") as hand:
        settings = {
            "TRADER_VENUE": "testnet",
            "TRADER_DRY_RUN": "true",
            "TRADER_EXCHANGE__LOOPBACK": str(hand.ready["port"]),
        }
        document = home.document("run", "--cycles", str(CLOSES), "--speed", "max", **settings)
        ledger = hand.ledger()
        status = home.document("status", **settings)
        orders = home.document("orders", **settings)
        replayed = home.document("replay", "--all", **settings)
    assert len(document["closes"]) == CLOSES
    assert ledger["orders"] == []
    assert ledger["trades"] == []
    requests = ledger["counts"]
    assert requests.get("POST /fapi/v1/order", 0) == 0
    assert requests["POST /fapi/v1/order/test"] == len(document["trades"]) >= 3
    assert {order["status"] for order in orders} == {"FILLED"}
    assert status["dry_run"] is True
    assert status["position"] == {"ADAUSDT": document["closes"][-1]["position"]}
    assert replayed == {"replayed": CLOSES, "differences": []}
    backtest = home.document("backtest", "--from", "2024-01-03", "--cycles", str(CLOSES))
    assert [close["position"] for close in backtest["closes"]] == [close["position"] for close in document["closes"]]
    assert [close["equity"] for close in backtest["closes"]] == [close["equity"] for close in document["closes"]]


def test_a_dry_run_without_keys_on_the_embedded_exchange_sends_nothing_either(tmp_path: Path) -> None:
    home = Home(tmp_path / "data")
    document = home.document("run", "--cycles", "5", "--speed", "max", TRADER_DRY_RUN="true")
    assert len(document["closes"]) == 5
    assert home.ledger()["orders"] == []
    assert home.document("status")["dry_run"] is True
