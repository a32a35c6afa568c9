"""Which model may trade where: every branch of venue, verdict, expiry and overrule."""

import json
import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from tests.unit.forecast_frames import frame_of
from trader.app.assembly import permit
from trader.app.compositions import carry
from trader.app.strategies import Loaded, compose, load_strategy
from trader.app.worth import Verdicts
from trader.config import PortfolioFile, Settings, StrategyFile
from trader.domain.interval import Interval
from trader.errors import ConfigError, ModelError, NotPermitted
from trader.forecast.artifact import dump
from trader.research.train import train_ar

STRATEGY = 'name = "mine"\nkind = "ar"\nsymbol = "ADAUSDT"\ninterval = "16h"\nmodel = "mine"\n'
REAL = {"api_key": "key", "api_secret": "secret"}
LIVE = REAL | {"venue": "live", "live": "I-understand"}


def loaded(verdict: str, *, expired: bool = False) -> Loaded:
    now = datetime.now(UTC).replace(microsecond=0)
    model = train_ar(
        frame_of([100.0 + (row * row) % 7 for row in range(60)]), Interval.parse("16h"), (1,), name="mine", created=now
    )
    expires = now + timedelta(days=-1 if expired else 1)
    # the 8h klines that the daemon builds 16h candles from
    construction = model.card.construction.model_copy(update={"source": Interval.parse("8h")})
    update = {"verdict": verdict, "reason": "Because.", "expires": expires, "construction": construction}
    card, weights = dump(replace(model, card=model.card.model_copy(update=update)))
    return compose(STRATEGY, StrategyFile.parse(STRATEGY, "mine.toml"), card, weights)


def settings(**said: Any) -> Settings:
    return Settings.load(**said)


@pytest.mark.parametrize("verdict", ["GO", "NO-GO", "UNJUDGED"])
@pytest.mark.parametrize("expired", [True, False])
def test_the_embedded_exchange_takes_any_model(verdict: str, expired: bool) -> None:
    permit(settings(venue="sim"), loaded(verdict, expired=expired))
    assert loaded(verdict, expired=expired).model.verdict == verdict


@pytest.mark.parametrize("verdict", ["GO", "NO-GO", "UNJUDGED"])
def test_the_testnet_refuses_only_what_has_expired(verdict: str) -> None:
    permit(settings(venue="testnet", **REAL), loaded(verdict))
    with pytest.raises(ModelError, match="mine has expired; train it on newer candles"):
        permit(settings(venue="testnet", **REAL), loaded(verdict, expired=True))


def test_live_money_takes_a_go_that_has_not_expired() -> None:
    permit(settings(**LIVE), loaded("GO"))
    with pytest.raises(ModelError, match="has expired"):
        permit(settings(**LIVE), loaded("GO", expired=True))


@pytest.mark.parametrize("verdict", ["NO-GO", "UNJUDGED"])
def test_live_money_refuses_any_other_verdict_unless_the_very_model_is_named(verdict: str) -> None:
    mine = loaded(verdict)
    with pytest.raises(
        NotPermitted, match=rf"{verdict} \(Because\.\); live money needs a GO, or TRADER_OVERRULE="
    ) as no:
        permit(settings(**LIVE), mine)
    assert mine.model.hash in str(no.value)
    assert no.value.exit_code == 77
    with pytest.raises(NotPermitted):
        permit(settings(**LIVE, overrule="0" * 64), mine)
    permit(settings(**LIVE, overrule=mine.model.hash), mine)
    old = loaded(verdict, expired=True)
    with pytest.raises(ModelError, match="has expired"):
        permit(settings(**LIVE, overrule=old.model.hash), old)


@pytest.mark.parametrize(
    ("judged_at", "fee", "verdict"),
    [(0.0007, "0.0005", "GO"), (0.0007, "0.0002", "GO"), (0.0007, "0.0006", "UNJUDGED"), (None, "0.0005", "UNJUDGED")],
)
def test_a_model_that_was_judged_at_lower_costs_than_are_expected_is_no_go(
    judged_at: float | None, fee: str, verdict: str, tmp_path: Path
) -> None:
    """Who asks what a model earned without fees does not let it trade where there are some."""
    made = loaded("GO").model
    assert made is not None
    evidence = {} if judged_at is None else {"costs": {"per_side": judged_at}}
    card, weights = dump(replace(made, card=made.card.model_copy(update={"evidence": evidence})))
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "card.json").write_bytes(card)
    (folder / "weights.safetensors").write_bytes(weights)
    (tmp_path / "mine.toml").write_text(STRATEGY)
    found = load_strategy(settings(strategy=str(tmp_path / "mine.toml"), data_dir=tmp_path, sim={"fee": Decimal(fee)}))
    assert found.worth.verdict == verdict
    if verdict == "GO":
        permit(settings(**LIVE), found)
    else:
        with pytest.raises(NotPermitted, match=r"a side, and 0.0[78]00% are expected; train it again"):
            permit(settings(**LIVE), found)


def test_a_dry_run_on_live_sends_nothing_and_needs_no_verdict() -> None:
    permit(settings(**LIVE, dry_run=True), loaded("NO-GO"))
    with pytest.raises(ModelError, match="has expired"):
        permit(settings(**LIVE, dry_run=True), loaded("NO-GO", expired=True))


# --- a portfolio, to which nothing was fitted


def judged(verdict: str, folder: Path, **changed: float) -> Loaded:
    """The shipped portfolio in a data directory in which its rule was judged, with some settings changed since."""
    text = (Path(__file__).resolve().parents[3] / "deploy" / "strategies" / "perp-carry-1d.toml").read_text()
    file = PortfolioFile.parse(text, "shipped")
    evidence = {"verdict": verdict, "reason": "Because.", "gates": {}, "horizon": {"closes": 300}}
    evidence |= {"costs": {"per_side": 0.0007}}
    Verdicts(folder / "store").keep(file, carry(file).forecaster, evidence, datetime.now(UTC))
    for name, value in changed.items():
        text, found = re.subn(rf"^{name} = [0-9.]+", f"{name} = {value}", text, flags=re.MULTILINE)
        assert found == 1
    path = folder / "mine.toml"
    path.write_text(text)
    return load_strategy(settings(strategy=str(path), data_dir=folder))


def test_live_money_takes_a_rule_that_was_judged_a_go(tmp_path: Path) -> None:
    found = judged("GO", tmp_path)
    assert found.worth.verdict == "GO"
    permit(settings(**LIVE), found)


@pytest.mark.parametrize("verdict", ["NO-GO", "UNJUDGED"])
def test_live_money_refuses_any_other_rule_unless_it_is_named(verdict: str, tmp_path: Path) -> None:
    found = judged(verdict, tmp_path)
    with pytest.raises(NotPermitted, match="The rule of perp-carry-1d has the verdict"):
        permit(settings(**LIVE), found)
    permit(settings(**LIVE, overrule=found.hash), found)
    permit(settings(venue="testnet", **REAL), found)
    permit(settings(venue="sim"), found)


def test_a_verdict_holds_for_the_settings_it_was_made_for_whatever_guards_them(tmp_path: Path) -> None:
    assert judged("GO", tmp_path, max_drawdown=0.1).worth.verdict == "GO"
    assert judged("GO", tmp_path, turnover=0.2).worth.verdict == "UNJUDGED"


def test_a_verdict_at_lower_costs_than_are_expected_is_none(tmp_path: Path) -> None:
    """Somebody who asks what a rule earned before costs does not let it trade."""
    judged("GO", tmp_path)
    for fee, verdict in (("0.0005", "GO"), ("0.0002", "GO"), ("0.0006", "UNJUDGED")):
        sim = {"fee": Decimal(fee)}
        found = load_strategy(settings(strategy=str(tmp_path / "mine.toml"), data_dir=tmp_path, sim=sim))
        assert found.worth.verdict == verdict


def test_a_verdict_on_other_code_is_none(tmp_path: Path) -> None:
    judged("GO", tmp_path)
    (kept,) = (tmp_path / "store" / "verdicts").iterdir()
    kept.write_text(json.dumps(json.loads(kept.read_text()) | {"code": "another"}))
    found = load_strategy(settings(strategy=str(tmp_path / "mine.toml"), data_dir=tmp_path))
    assert found.worth.verdict == "UNJUDGED"


def test_a_verdict_that_cannot_be_read_is_refused_with_its_remedy(tmp_path: Path) -> None:
    judged("GO", tmp_path)
    (kept,) = (tmp_path / "store" / "verdicts").iterdir()
    kept.write_text("{")
    with pytest.raises(ConfigError, match="run `trader evidence` again"):
        load_strategy(settings(strategy=str(tmp_path / "mine.toml"), data_dir=tmp_path))
