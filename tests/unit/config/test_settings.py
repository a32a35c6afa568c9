import re
from decimal import Decimal
from pathlib import Path

import pytest
from pydantic import SecretStr

from trader.config import Settings, names
from trader.errors import ConfigError, NotPermitted

SECRET = "zq7XcanaryW1secretNotToBeSeen42"


@pytest.fixture(autouse=True)
def nothing_handed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CREDENTIALS_DIRECTORY", raising=False)


def test_without_any_setting_it_is_the_demo(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("TRADER_DATA_DIR")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    settings = Settings.load()
    assert (settings.venue, settings.dry_run, settings.strategy) == ("sim", False, "ada-ar-16h")
    assert settings.data_dir == tmp_path / "trader"
    assert settings.sim.equity == Decimal(10000)
    assert settings.risk.max_drawdown is None


def test_data_lies_in_the_home_directory_where_nothing_else_is_said(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("TRADER_DATA_DIR")
    monkeypatch.setenv("XDG_DATA_HOME", "relative/is/ignored")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert Settings.load().data_dir == tmp_path / ".local" / "share" / "trader"
    assert Settings.load(data_dir="~/elsewhere").data_dir == tmp_path / "elsewhere"

    def nowhere() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "home", nowhere)
    with pytest.raises(ConfigError, match="set TRADER_DATA_DIR"):
        Settings.load()


def test_each_source_goes_before_the_next(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    secrets = tmp_path / "secrets"
    secrets.mkdir()
    for name in ("strategy", "api_key", "api_secret", "overrule"):
        (secrets / f"trader_{name}").write_text("from a file\n")
    monkeypatch.setenv("TRADER_SECRETS_DIR", str(secrets))
    Path(".env").write_text("TRADER_STRATEGY='from .env'\nTRADER_API_KEY='from .env'\nTRADER_LIVE='from .env'\n")
    monkeypatch.setenv("TRADER_STRATEGY", "from the environment")
    monkeypatch.setenv("TRADER_LIVE", "from the environment")
    settings = Settings.load(strategy="from the command line")
    assert settings.strategy == "from the command line"
    assert settings.live == "from the environment"
    assert settings.api_key == SecretStr("from .env")
    assert settings.api_secret == SecretStr("from a file")
    assert settings.overrule == "from a file"


def test_the_command_line_replaces_only_what_it_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRADER_SIM__FEE", "0.001")
    monkeypatch.setenv("TRADER_SIM__EQUITY", "5000")
    settings = Settings.load(strategy=None, sim={"equity": Decimal(300), "slippage": None})
    assert settings.strategy == "ada-ar-16h"
    assert (settings.sim.equity, settings.sim.fee) == (Decimal(300), Decimal("0.001"))
    assert settings.sim.slippage == Decimal("0.0001")


def test_secrets_come_from_what_systemd_hands_over_unless_a_directory_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    handed, named = tmp_path / "handed", tmp_path / "named"
    for folder in (handed, named):
        folder.mkdir()
    (handed / "trader_api_key").write_text("handed key\n")
    (handed / "trader_api_secret").write_text("handed secret\n")
    (handed / "somebody_elses").write_text("not ours")
    (named / "trader_api_key").write_text("named key\n")
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(handed))
    assert Settings.load().api_key == SecretStr("handed key")
    Path(".env").write_text(f"TRADER_SECRETS_DIR={named}\n")
    settings = Settings.load()
    assert settings.api_key == SecretStr("named key")
    assert settings.api_secret == SecretStr("handed secret")
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path / "gone"))
    (named / "trader_api_secret").write_text("named secret")
    assert Settings.load().api_secret == SecretStr("named secret")


def test_an_empty_value_is_not_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRADER_RISK__MAX_DRAWDOWN", "")
    monkeypatch.setenv("TRADER_API_KEY", "")
    settings = Settings.load()
    assert settings.risk.max_drawdown is None
    assert settings.api_key is None


def test_the_example_names_every_setting_with_its_default(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = (root / ".env.example").read_text(encoding="utf-8")
    assert re.findall(r"^(TRADER_\w+)=", text, re.MULTILINE) == names()
    monkeypatch.delenv("TRADER_DATA_DIR")
    untouched = Settings.load()
    Path(".env").write_text(text)
    assert Settings.load() == untouched
    written = dict(re.findall(r"^(TRADER_\w+)=(.*)$", text, re.MULTILINE))
    values = {name: value_of(untouched, name) for name in names() if name != "TRADER_DATA_DIR"}
    assert {name: value for name, value in values.items() if value not in (None, "")}.keys() == {
        name for name, value in written.items() if value
    }


def value_of(settings: Settings, name: str) -> object:
    value: object = settings
    for part in name.removeprefix("TRADER_").lower().split("__"):
        value = getattr(value, part)
    return value


@pytest.mark.fault(74)
@pytest.mark.parametrize(
    ("name", "remedy"),
    [
        ("TRADER_RISK__MAX_DRAWDOWM", "TRADER_RISK__MAX_DRAWDOWN may be meant"),
        ("TRADER_VENEU", "TRADER_VENUE may be meant"),
        ("TRADER_RISK", "TRADER_RISK__MAX_DRAWDOWN may be meant"),
        ("TRADER_API_KEY__X", "TRADER_API_KEY may be meant"),
        ("TRADER_QQQQQQQQQQQQQQQQ", "remove it"),
        ("trader_venu", "TRADER_VENUE may be meant"),
    ],
)
def test_an_unknown_variable_is_refused_with_the_nearest_known_one(
    monkeypatch: pytest.MonkeyPatch, name: str, remedy: str
) -> None:
    """Fault 74."""
    monkeypatch.setenv(name, SECRET)
    with pytest.raises(ConfigError, match=rf"^{name.upper()} in the environment is no setting; {remedy}\.$") as refused:
        Settings.load()
    assert refused.value.exit_code == 78
    assert SECRET not in str(refused.value)
    monkeypatch.delenv(name)
    Path(".env").write_text(f"{name}={SECRET}\n")
    with pytest.raises(ConfigError, match=rf"^{name.upper()} in .*/\.env is no setting; {remedy}\.$") as refused:
        Settings.load()
    assert SECRET not in str(refused.value)


def test_an_unknown_secret_file_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "trader_apikey").write_text(SECRET)
    monkeypatch.setenv("TRADER_SECRETS_DIR", str(tmp_path))
    with pytest.raises(ConfigError, match=r"TRADER_APIKEY in .* is no setting; TRADER_API_KEY may be meant"):
        Settings.load()


def test_other_peoples_variables_are_nobodys_business(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRADERS_OF_THE_WORLD", "unite")
    Path(".env").write_text("COMPOSE_PROJECT_NAME=trader\nVENUE=live\n")
    assert Settings.load().venue == "sim"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("TRADER_VENUE", "binance"),
        ("TRADER_DRY_RUN", "perhaps"),
        ("TRADER_EXCHANGE__LOOPBACK", "70000"),
        ("TRADER_EXCHANGE__TIMEOUT", "inf"),
        ("TRADER_EXCHANGE__TIMEOUT", "1e300"),
        ("TRADER_WATCHDOG__CYCLE", "1e300"),
        ("TRADER_ALERTS__PING_EVERY", "1e300"),
        ("TRADER_EXCHANGE__RECV_WINDOW", "60000"),
        ("TRADER_RISK__MAX_DRAWDOWN", "0"),
        ("TRADER_RISK__MAX_DRAWDOWN", "30"),
        ("TRADER_RISK__MAX_DRAWDOWN", "NaN"),
        ("TRADER_RISK__MAX_LEVERAGE", "-1"),
        ("TRADER_RISK__MAX_NOTIONAL", "Infinity"),
        ("TRADER_RISK__MAX_NOTIONAL", "1e400"),
        ("TRADER_RISK__MAX_COST_RATIO", "1e400"),
        ("TRADER_RISK__MAX_ORDERS", "9" * 30),
        ("TRADER_RISK__MAX_DELAY", "soon"),
        ("TRADER_SIM__EQUITY", "0"),
        ("TRADER_SIM__FEE", "1"),
        ("TRADER_LOG__LEVEL", "LOUD"),
        ("TRADER_LOG__FORMAT", "xml"),
    ],
)
def test_a_value_that_cannot_be_used_is_refused_with_its_name_and_place(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(ConfigError, match=rf"^{name} in the environment is refused: .*; correct or unset it\.$"):
        Settings.load()
    monkeypatch.delenv(name)
    Path(".env").write_text(f"{name}={value}\n")
    with pytest.raises(ConfigError, match=rf"^{name} in .*/\.env is refused: .*\.$"):
        Settings.load()


def test_a_value_of_the_command_line_is_refused_as_one() -> None:
    with pytest.raises(ConfigError, match=r"TRADER_SIM__EQUITY, given on the command line .* is refused"):
        Settings.load(sim={"equity": Decimal(0)})
    with pytest.raises(ConfigError, match=r"TRADER_SIM__EQITY.* is no setting; TRADER_SIM__EQUITY may be meant"):
        Settings.load(sim={"eqity": Decimal(1)})
    with pytest.raises(ConfigError, match=r"\(and 1 more\)"):
        Settings.load(sim={"equity": Decimal(0), "fee": Decimal(2)})


def test_live_money_needs_consent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRADER_VENUE", "live")
    for words in ("", "yes", "i-understand"):
        monkeypatch.setenv("TRADER_LIVE", words)
        with pytest.raises(NotPermitted, match="set TRADER_LIVE=I-understand to allow it") as refused:
            Settings.load()
        assert refused.value.exit_code == 77
    monkeypatch.setenv("TRADER_LIVE", "I-understand")
    assert Settings.load().venue == "live"


@pytest.mark.fault(61)
def test_live_is_never_on_a_loopback(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRADER_VENUE", "live")
    monkeypatch.setenv("TRADER_LIVE", "I-understand")
    monkeypatch.setenv("TRADER_EXCHANGE__LOOPBACK", "9443")
    with pytest.raises(ConfigError, match=r"TRADER_EXCHANGE__LOOPBACK .* TRADER_VENUE is live; unset the one"):
        Settings.load()
    monkeypatch.setenv("TRADER_VENUE", "testnet")
    assert Settings.load().exchange.loopback == 9443


def test_a_key_without_its_secret_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRADER_API_KEY", SECRET)
    with pytest.raises(ConfigError, match="TRADER_API_KEY is set and TRADER_API_SECRET is not") as refused:
        Settings.load()
    assert SECRET not in str(refused.value)
    monkeypatch.delenv("TRADER_API_KEY")
    monkeypatch.setenv("TRADER_API_SECRET", SECRET)
    with pytest.raises(ConfigError, match="TRADER_API_SECRET is set and TRADER_API_KEY is not"):
        Settings.load()


def test_a_request_is_stale_before_it_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRADER_EXCHANGE__TIMEOUT", "5")
    with pytest.raises(ConfigError, match="is not shorter than TRADER_EXCHANGE__TIMEOUT"):
        Settings.load()


def test_settings_never_show_a_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRADER_API_KEY", SECRET)
    monkeypatch.setenv("TRADER_API_SECRET", SECRET)
    settings = Settings.load()
    assert settings.api_key is not None
    assert settings.api_key.get_secret_value() == SECRET
    assert SECRET not in f"{settings!r} {settings} {settings.model_dump_json()}"


def test_a_secret_in_the_wrong_place_is_not_repeated(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in names():
        if name not in ("TRADER_DATA_DIR", "TRADER_STRATEGY"):
            monkeypatch.setenv(name, SECRET)
    monkeypatch.delenv("TRADER_SECRETS_DIR")
    with pytest.raises(ConfigError) as refused:
        Settings.load()
    assert SECRET not in str(refused.value)
    assert refused.value.__cause__ is None
    assert refused.value.__suppress_context__


def test_a_file_that_cannot_be_read_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    Path(".env").write_bytes(b"TRADER_VENUE=\xff\xfe\n")
    with pytest.raises(ConfigError, match=r"settings in .*/\.env cannot be read: it is no UTF-8 text"):
        Settings.load()
    Path(".env").unlink()
    monkeypatch.setenv("TRADER_SECRETS_DIR", str(tmp_path / "nowhere"))
    with pytest.raises(ConfigError, match=r"TRADER_SECRETS_DIR names .*nowhere, which is no directory"):
        Settings.load()
    secrets = tmp_path / "secrets"
    (secrets / "trader_api_key").mkdir(parents=True)
    monkeypatch.setenv("TRADER_SECRETS_DIR", str(secrets))
    with pytest.raises(ConfigError, match=r"The settings in .*/secrets cannot be read: .*; correct them"):
        Settings.load()
    (secrets / "trader_api_key").rmdir()
    (secrets / "trader_api_key").write_bytes(b"\xff")
    with pytest.raises(ConfigError, match=r"The settings in .*/secrets cannot be read: .*; correct them"):
        Settings.load()


def test_a_directory_that_cannot_be_listed_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def refuse(folder: Path) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setenv("TRADER_SECRETS_DIR", str(tmp_path))
    monkeypatch.setattr(Path, "iterdir", refuse)
    with pytest.raises(ConfigError, match=r"The settings in .* cannot be read: Permission denied; correct its rights"):
        Settings.load()


def test_the_level_of_the_log_may_be_written_small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRADER_LOG__LEVEL", "debug")
    assert Settings.load().log.level == "DEBUG"


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.7"])
def test_a_page_that_others_can_reach_needs_a_token(monkeypatch: pytest.MonkeyPatch, host: str) -> None:
    monkeypatch.setenv("TRADER_STATUS__HOST", host)
    with pytest.raises(ConfigError, match=r"can be reached from other machines and there is no TRADER_STATUS_TOKEN"):
        Settings.load()
    monkeypatch.setenv("TRADER_STATUS_TOKEN", "short")
    with pytest.raises(ConfigError, match="shorter than 16 characters"):
        Settings.load()
    monkeypatch.setenv("TRADER_STATUS_TOKEN", "a-token-of-enough-characters")
    assert Settings.load().status.host == host
    monkeypatch.delenv("TRADER_STATUS_TOKEN")
    monkeypatch.setenv("TRADER_STATUS__ENABLED", "false")
    assert not Settings.load().status.enabled


@pytest.mark.parametrize(("host", "local"), [("localhost", True), ("127.0.0.2", True), ("::1", True)])
def test_a_page_on_loopback_needs_no_token(monkeypatch: pytest.MonkeyPatch, host: str, local: bool) -> None:
    monkeypatch.setenv("TRADER_STATUS__HOST", host)
    assert Settings.load().status.local is local


def test_a_page_on_a_name_is_refused_because_a_name_can_mean_another_address(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRADER_STATUS__HOST", "trader.example")
    with pytest.raises(ConfigError, match="TRADER_STATUS__HOST in the environment is refused: it is no IP address"):
        Settings.load()


def test_an_empty_token_file_is_no_token(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "trader_status_token").write_text("\n")
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    assert Settings.load().status.local
    (tmp_path / "trader_status_token").write_text("too short\n")
    with pytest.raises(ConfigError, match="shorter than 16 characters"):
        Settings.load()


def test_a_file_of_secrets_sets_what_is_nested_and_stays_secret(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "trader_alerts__urls").write_text("json://user:hunter2@127.0.0.1/\njson://127.0.0.2/\n")
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    settings = Settings.load()
    assert settings.alerts.urls is not None
    assert settings.alerts.urls.get_secret_value().split()[1] == "json://127.0.0.2/"
    assert "hunter2" not in repr(settings)
