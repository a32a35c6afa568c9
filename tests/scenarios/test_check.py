"""`trader check`: every item on the embedded exchange and on one that stands in for the testnet, with its remedy."""

import asyncio
import json
import re
import ssl
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.scenarios.exchange import Hand, serving
from tests.scenarios.processes import Home
from trader.app.checking import check
from trader.app.settings import load_settings

STRATEGY = Path(__file__).resolve().parents[2] / "deploy" / "strategies" / "ada-ar-16h.toml"
EVERYTHING = [
    *(
        "strategy",
        "stage",
        "alerts",
        "model",
        "disk",
        "journal",
        "dns",
        "tls",
        "clock",
        "key",
        "symbols",
        "account",
        "modes",
    ),
    *("holdings", "size", "brackets", "margin", "guards", "next close"),
]


def test_before_anything_ran_it_looks_at_a_fresh_exchange_and_leaves_nothing(tmp_path: Path) -> None:
    home = Home(tmp_path / "data")
    document = home.document("check")
    assert document["ok"] is True
    assert [one["check"] for one in document["checks"]] == EVERYTHING
    assert {one["verdict"] for one in document["checks"]} == {"passed", "warned", "skipped"}
    assert not (tmp_path / "data" / "sim").exists()
    for one in document["checks"]:
        assert one["found"], one
        assert one["remedy"] or one["verdict"] not in ("warned", "failed"), one
    assert "costs at most" in document["checks"][-1]["found"]


@pytest.mark.parametrize(
    ("asked", "found", "remedy"),
    [
        ({"TRADER_ALERTS__URLS": "json://localhost"}, "1 to be told", ""),
        ({"TRADER_ALERTS__URLS": "json://localhost sesame://opensesameopen"}, "Address 2 (sesame)", "alerts --test"),
        ({"TRADER_ALERTS__URLS": "opensesame:opensesame"}, "Address 1 (without a kind)", "alerts --test"),
        ({"TRADER_ALERTS__PING": "ftp://127.0.0.1/opensesame"}, "no web address", "https://"),
    ],
)
def test_an_address_that_is_none_is_found_without_telling_anybody_and_not_repeated(
    asked: dict[str, str], found: str, remedy: str, tmp_path: Path
) -> None:
    done = Home(tmp_path / "data").run("check", "--json", **asked)
    (alerts,) = [one for one in json.loads(done.stdout)["checks"] if one["check"] == "alerts"]
    assert found in alerts["found"]
    assert remedy in alerts["remedy"]
    assert (alerts["verdict"], done.returncode) == (("failed", 1) if remedy else ("passed", 0))
    assert "opensesame" not in done.stdout + done.stderr


@pytest.fixture(scope="module")
def hand(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Home, Hand]]:
    home = Home(tmp_path_factory.mktemp("testnet") / "data")
    with serving(home, "--speed", "max", "--from", "2024-01-03") as running:
        yield home, running


class Operated:
    """The embedded exchange in the place of the testnet, and a person who changes things on it."""

    def __init__(self, home: Home, hand: Hand, monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
        self.hand, self.folder, self.patch = hand, folder, monkeypatch
        self.set(
            DATA_DIR=str(home.data),
            VENUE="testnet",
            EXCHANGE__LOOPBACK=str(hand.ready["port"]),
            API_KEY=hand.ready["api_key"],
            API_SECRET=hand.ready["api_secret"],
        )

    def set(self, **settings: str) -> None:
        for name, value in settings.items():
            self.patch.setenv(f"TRADER_{name}", value)

    def strategy(self, **values: str) -> None:
        text = STRATEGY.read_text().replace(
            'model = "ada-ar-16h"', f'model = "{STRATEGY.parents[1]}/models/ada-ar-16h"'
        )
        for key, value in values.items():
            text, found = re.subn(rf"^{key} = \S+", f"{key} = {value}", text, flags=re.MULTILINE)
            assert found == 1
        path = self.folder / "strategy.toml"
        path.write_text(text)
        self.set(STRATEGY=str(path))

    def happens(self, **event: object) -> None:
        request = urllib.request.Request(
            f"https://localhost:{self.hand.ready['port']}/sim/v1/events",
            data=json.dumps(event).encode(),
            headers={"X-Sim-Control": self.hand.ready["control"], "Content-Type": "application/json"},
        )
        trust = ssl.create_default_context(cafile=self.hand.ready["ca"])
        with urllib.request.urlopen(request, context=trust, timeout=10) as answer:
            assert "code" not in json.load(answer)[0]

    def look(self) -> dict[str, dict[str, str]]:
        document: dict[str, Any] = asyncio.run(check(load_settings()))
        found = {one["check"]: one for one in document["checks"]}
        assert document["ok"] is not any(one["verdict"] == "failed" for one in document["checks"])
        return found

    def failed(self, name: str) -> str:
        """What is said of the one item that fails, with its remedy."""
        found = self.look()
        assert [one for one, told in found.items() if told["verdict"] == "failed"] == [name], found
        assert found[name]["remedy"]
        return f"{found[name]['found']}; {found[name]['remedy']}"


@pytest.fixture
def testnet(hand: tuple[Home, Hand], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Operated:
    return Operated(*hand, monkeypatch, tmp_path)


def test_an_account_of_the_testnet_passes(testnet: Operated) -> None:
    found = testnet.look()
    assert list(found) == EVERYTHING
    assert not [one for one in found.values() if one["verdict"] == "failed"]


@pytest.mark.fault(60)
def test_a_key_that_could_take_money_away_is_warned_of_where_money_is_not_real(testnet: Operated) -> None:
    testnet.happens(do="key", enableWithdrawals=True, permitsUniversalTransfer=True)
    key = testnet.look()["key"]
    testnet.happens(do="key", enableWithdrawals=False, permitsUniversalTransfer=False)
    assert key["verdict"] == "warned"
    assert "may withdraw and transfer" in key["found"]
    assert "live refuses it" in key["found"]


def test_a_key_of_another_venue_is_named(testnet: Operated) -> None:
    testnet.set(API_KEY="k" * 64, API_SECRET="s" * 64)
    failures = [one for one in testnet.look().values() if one["verdict"] == "failed"]
    assert failures
    assert "key and venue belong together" in failures[0]["remedy"]
    assert "k" * 64 not in json.dumps(failures)


def test_hedge_mode_and_a_key_without_futures_fail_with_the_way_out(testnet: Operated) -> None:
    testnet.happens(do="position_mode", dualSidePosition="true")
    said = testnet.failed("modes")
    testnet.happens(do="position_mode", dualSidePosition="false")
    assert "Preferences > Position Mode" in said
    testnet.happens(do="fee_burn", feeBurn="true")
    said = testnet.failed("modes")
    testnet.happens(do="fee_burn", feeBurn="false")
    assert "fee deduction in BNB" in said


def test_a_venue_that_does_not_tell_how_fees_are_paid_is_warned_of_and_traded_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = Home(tmp_path / "data")
    absent = {"do": "status", "status": 404, "code": -5000, "msg": "Path /fapi/v1/feeBurn, Method GET is invalid"}
    plan = home.plan({"during": {"from": 0, "to": 10**15, "path": "GET /fapi/v1/feeBurn"}, **absent})
    with serving(home, "--speed", "max", "--from", "2024-01-03", "--faults", plan) as hand:
        found = Operated(home, hand, monkeypatch, tmp_path).look()
        settings = {"TRADER_VENUE": "testnet", "TRADER_EXCHANGE__LOOPBACK": str(hand.ready["port"])}
        done = home.run("run", "--cycles", "1", "--speed", "max", **settings)
    assert list(found) == [*EVERYTHING[:12], "fees", *EVERYTHING[12:]]
    assert found["fees"]["verdict"] == "warned"
    assert "fee deduction in BNB is off" in found["fees"]["remedy"]
    assert not [one for one in found.values() if one["verdict"] == "failed"]
    assert done.returncode == 0, done.stderr
    assert "the exchange does not tell whether fees are paid in BNB" in done.stderr


def test_what_somebody_opened_by_hand_fails_until_it_is_adopted(testnet: Operated) -> None:
    testnet.happens(do="order", symbol="ADAUSDT", side="BUY", type="MARKET", quantity="100")
    found = testnet.look()
    testnet.happens(do="order", symbol="ADAUSDT", side="SELL", type="MARKET", quantity="100", reduceOnly="true")
    assert "holds ADAUSDT +100" in found["holdings"]["found"]
    assert "--adopt" in found["holdings"]["remedy"]
    assert "20x cross" in found["modes"]["found"]


def test_a_size_that_does_not_fit_is_a_warning_where_something_is_held(testnet: Operated) -> None:
    testnet.strategy(exposure="1.999")
    testnet.happens(do="order", symbol="ADAUSDT", side="BUY", type="MARKET", quantity="100")
    margin = testnet.look()["margin"]
    testnet.happens(do="order", symbol="ADAUSDT", side="SELL", type="MARKET", quantity="100", reduceOnly="true")
    assert margin["verdict"] == "warned"
    assert "the start is not refused and only reduces" in margin["found"]
    assert "raise the leverage" in margin["remedy"]


def test_an_exposure_that_leaves_no_margin_fails_here_and_at_the_start(testnet: Operated, hand: Any) -> None:
    testnet.strategy(exposure="1.999")
    assert "-2019" in testnet.failed("margin")
    home, _ = hand
    done = home.run("run", "--cycles", "1", TRADER_STRATEGY=str(testnet.folder / "strategy.toml"))
    assert done.returncode == 78
    assert "refused with -2019; raise the leverage" in done.stderr


def test_a_size_below_the_least_and_one_beyond_its_bracket_fail(testnet: Operated) -> None:
    testnet.strategy(exposure="0.0004")
    found = testnet.look()
    assert "needs at least" in found["size"]["found"]
    assert "raise the exposure" in found["size"]["remedy"]
    testnet.strategy(exposure="40", leverage="50")
    found = testnet.look()
    # so much may have no more than 10x, which the start would set, and then no margin is left for it
    assert "up to 10x" in found["brackets"]["found"]
    assert "at a leverage of 10 leaves no margin" in found["margin"]["found"]


def test_a_limit_that_refuses_every_opening_fails_and_a_canary_is_shown(testnet: Operated) -> None:
    testnet.set(RISK__MAX_NOTIONAL="50")
    assert "max_notional" in testnet.failed("guards")
    testnet.set(RISK__MAX_NOTIONAL="", STAGE="canary", RISK__CANARY_NOTIONAL="40")
    found = testnet.look()
    assert "sizes cut to 40 USDT" in found["stage"]["found"]
    assert "40.00 USDT of ADAUSDT" in found["size"]["found"]
    assert found["guards"]["verdict"] == "passed"


def test_a_shadow_is_checked_with_its_imagined_account(testnet: Operated) -> None:
    testnet.set(STAGE="shadow")
    found = testnet.look()
    assert found["account"]["found"].startswith("imagined, equity 10000.00")
    assert not [one for one in found.values() if one["verdict"] == "failed"]


def test_nobody_who_listens_and_a_strategy_that_is_not_there_fail_with_exit_code_1(tmp_path: Path) -> None:
    home = Home(tmp_path / "data")
    done = home.run("check", "--strategy", "nothing-like-it")
    assert done.returncode == 1
    assert "there is no shipped strategy" in done.stdout.lower()
    with serving(home, "--speed", "max") as hand:
        announced = home.data / "sim" / "ports" / f"{hand.ready['port']}.json"
        text = announced.read_text()
    # nobody listens there any more, but what was announced stays, as after a crash
    announced.write_text(text)
    settings = {"TRADER_VENUE": "testnet", "TRADER_EXCHANGE__LOOPBACK": str(hand.ready["port"])}
    done = home.run("check", "--json", **settings)
    assert done.returncode == 1
    told = {one["check"]: one for one in json.loads(done.stdout)["checks"]}
    assert "does not answer" in told["tls"]["found"]
    assert "account" not in told
