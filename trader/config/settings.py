"""Settings of the process: read, checked, and refused in one sentence.

A setting comes from the command line, else the environment, else `.env` in the working directory, else the secrets
directory, else, for `[risk]`, the strategy file, else its default.
"""

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, SecretStr, ValidationError, model_validator
from pydantic_settings import (
    BaseSettings,
    DotEnvSettingsSource,
    NestedSecretsSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    SettingsError,
)

from trader.config.envfile import require_whole
from trader.config.refusals import PREFIX, first, refuse_unknown, variables
from trader.config.sections import (
    AlertsSettings,
    ExchangeSettings,
    LogSettings,
    ReconcileSettings,
    RiskSettings,
    SimSettings,
    StatusSettings,
    UserPath,
    WatchdogSettings,
)
from trader.errors import ConfigError, NotPermitted

CONSENT = "I-understand"
Stage = Literal["shadow", "canary", "full"]
"""How much a strategy is trusted with: no order at all (a dry run), a capped notional, or what its file says."""
SHORTEST_TOKEN = 16
_DOTENV = Path(".env")
_ENCODING = "utf-8-sig"
"""Some editors begin a file with a mark that would be part of the first name."""


def _data_dir() -> Path:
    base = Path(os.environ.get("XDG_DATA_HOME", ""))
    try:
        return (base if base.is_absolute() else Path.home() / ".local" / "share") / "trader"
    except RuntimeError as error:
        raise ConfigError("There is no home directory to keep a journal in; set TRADER_DATA_DIR.") from error


class Settings(BaseSettings):
    """Everything a process is told; made by `load`.

    Raises:
        ConfigError: settings that do not go together.
        NotPermitted: live money without consent.
    """

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        env_nested_delimiter="__",
        env_file_encoding=_ENCODING,
        env_ignore_empty=True,
        extra="ignore",
        frozen=True,
        hide_input_in_errors=True,
    )

    venue: Literal["sim", "testnet", "live"] = "sim"
    stage: Stage | None = None
    dry_run: bool = False
    strategy: str = "ada-ar-16h"
    api_key: SecretStr | None = None
    api_secret: SecretStr | None = None
    status_token: SecretStr | None = None
    secrets_dir: UserPath | None = None
    live: str = ""
    overrule: str = ""
    data_dir: UserPath = Field(default_factory=_data_dir)
    exchange: ExchangeSettings = ExchangeSettings()
    risk: RiskSettings = RiskSettings()
    reconcile: ReconcileSettings = ReconcileSettings()
    watchdog: WatchdogSettings = WatchdogSettings()
    sim: SimSettings = SimSettings()
    status: StatusSettings = StatusSettings()
    alerts: AlertsSettings = AlertsSettings()
    log: LogSettings = LogSettings()

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Let a file in a secrets directory set what is nested, too, such as `trader_alerts__urls`."""
        files = NestedSecretsSettingsSource(file_secret_settings, secrets_nested_delimiter="__")
        return init_settings, env_settings, dotenv_settings, files

    @classmethod
    def load(cls, **overrides: Any) -> "Settings":
        """Read the settings of this process.

        Args:
            overrides: what the command line says, by field name; None says nothing, sections are mappings.

        Raises:
            ConfigError: a setting is unknown, malformed, or does not go with another.
            NotPermitted: live money without consent.
        """
        said = _without_none(overrides)
        written = _written()
        # pydantic would ignore what it does not know, and a limit misspelt is no limit
        refuse_unknown(os.environ, names(), "the environment")
        refuse_unknown(written, names(), str(_DOTENV.absolute()))
        folders = _secret_folders(said, written)
        try:
            return cls(_env_file=_DOTENV, _secrets_dir=folders or None, **said)
        except ValidationError as error:
            raise ConfigError(f"{first(error, cls, _whereabouts(written))}.") from None
        except (OSError, UnicodeDecodeError, SettingsError) as error:
            places = " and ".join(map(str, folders)) or "the environment"
            raise ConfigError(f"The settings in {places} cannot be read: {error}; correct them.") from None

    def require_time_enough(self) -> None:
        """Refuse a bound that ends every question before its answer, or every try before its proof.

        An order whose answer is lost takes one request to be posted, the time to settle, and requests to be looked for.
        Nobody is kept from a halt or a flatten by it.

        Raises:
            ConfigError: one of the two.
        """
        timeout, settle = self.exchange.timeout, self.exchange.settle.total_seconds()
        if self.watchdog.step < timeout:
            raise ConfigError(
                f"TRADER_WATCHDOG__STEP ({self.watchdog.step:g} s) ends a question to the exchange before "
                f"TRADER_EXCHANGE__TIMEOUT ({timeout:g} s); set it to {timeout:g} at least, or lower the timeout."
            )
        if self.watchdog.cycle < settle + 2 * timeout:
            raise ConfigError(
                f"TRADER_WATCHDOG__CYCLE ({self.watchdog.cycle:g} s) ends a try before an order whose answer is lost "
                f"could be proven absent; set it to {settle + 2 * timeout:g} at least (three timeouts, the receive "
                "window and 2 s), or lower TRADER_EXCHANGE__TIMEOUT."
            )

    @property
    def staged(self) -> Stage:
        """Return the stage that holds: a dry run is the shadow, and nothing said is the whole size."""
        return "shadow" if self.dry_run else self.stage or "full"

    @model_validator(mode="before")
    @classmethod
    def _shadow_is_a_dry_run(cls, said: dict[str, Any]) -> dict[str, Any]:
        return said | {"dry_run": True} if said.get("stage") == "shadow" else said

    @model_validator(mode="after")
    def _stage_and_dry_run(self) -> Self:
        if self.dry_run and self.stage not in (None, "shadow"):
            raise ConfigError(
                f"TRADER_STAGE={self.stage} trades and TRADER_DRY_RUN=true does not; leave one of the two out."
            )
        return self

    @model_validator(mode="after")
    def _go_together(self) -> Self:
        if self.venue == "live" and self.exchange.loopback is not None:
            raise ConfigError(
                "TRADER_EXCHANGE__LOOPBACK points to an exchange on this machine and TRADER_VENUE is live; unset the "
                "one, or set the other to testnet."
            )
        if self.venue == "live" and self.live != CONSENT:
            raise NotPermitted(f"TRADER_VENUE=live trades real money; set TRADER_LIVE={CONSENT} to allow it.")
        if (self.api_key is None) != (self.api_secret is None):
            there, missing = ("SECRET", "KEY") if self.api_key is None else ("KEY", "SECRET")
            raise ConfigError(f"TRADER_API_{there} is set and TRADER_API_{missing} is not; set both or neither.")
        if self.exchange.recv_window >= self.exchange.timeout * 1000:
            raise ConfigError(
                f"TRADER_EXCHANGE__RECV_WINDOW ({self.exchange.recv_window} ms) is not shorter than "
                f"TRADER_EXCHANGE__TIMEOUT ({self.exchange.timeout:g} s); raise the timeout, because a request must be "
                "stale before it is given up."
            )
        return self

    @model_validator(mode="after")
    def _page_is_guarded(self) -> Self:
        token = "" if self.status_token is None else self.status_token.get_secret_value()
        if token and len(token) < SHORTEST_TOKEN:
            raise ConfigError(
                f"TRADER_STATUS_TOKEN is shorter than {SHORTEST_TOKEN} characters and could be guessed; make one with "
                "`openssl rand -hex 24`."
            )
        if self.status.enabled and not self.status.local and not token:
            raise ConfigError(
                f"TRADER_STATUS__HOST={self.status.host} can be reached from other machines and there is no "
                "TRADER_STATUS_TOKEN; set one, or leave the status page on 127.0.0.1."
            )
        return self


def names() -> list[str]:
    """Return every variable that is understood."""
    return variables(Settings)


def _written() -> Mapping[str, str | None]:
    """Return the variables in `.env`, of which nothing may be lost."""
    if not _DOTENV.is_file():
        return {}
    where = str(_DOTENV.absolute())
    try:
        lines = require_whole(_DOTENV.read_text(encoding=_ENCODING), names(), where)
        # what is empty is not among them: it is not set
        written = DotEnvSettingsSource(Settings, env_file=_DOTENV).env_vars
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is no UTF-8 text"
        raise ConfigError(f"The settings in {where} cannot be read: {reason}; correct or remove that file.") from None
    for name, line in lines.items():
        if name.lower() not in written:
            raise ConfigError(
                f"Line {line} of {where} ({name}) refers to a variable that is not set and comes to nothing; write the "
                "value itself, or nothing after the `=`."
            )
    return written


def _without_none(values: Mapping[str, Any]) -> dict[str, Any]:
    kept = {name: _without_none(value) if isinstance(value, Mapping) else value for name, value in values.items()}
    return {name: value for name, value in kept.items() if value is not None}


def _whereabouts(written: Mapping[str, str | None]) -> Callable[[str], str]:
    """Return how to say where the value of a variable came from."""

    def where(name: str) -> str:
        if any(name == found.upper() for found in os.environ):
            return f"{name} in the environment"
        if any(name == found.upper() for found in written):
            return f"{name} in {_DOTENV.absolute()}"
        return f"{name}, given on the command line or in the secrets directory,"

    return where


def _secret_folders(said: Mapping[str, Any], written: Mapping[str, str | None]) -> list[Path]:
    """Return where files of secrets lie, the more important last: what systemd hands over, then what is named."""
    folders = []
    handed = os.environ.get("CREDENTIALS_DIRECTORY")
    if handed and Path(handed).is_dir():
        folders.append(Path(handed))
    environment = {name.upper(): value for name, value in os.environ.items()}
    lower = f"{PREFIX}SECRETS_DIR".lower()
    named = said.get("secrets_dir") or environment.get(lower.upper()) or written.get(lower)
    if named:
        folder = Path(named).expanduser()
        if not folder.is_dir():
            raise ConfigError(
                f"TRADER_SECRETS_DIR names {folder}, which is no directory; create it or correct the name."
            )
        folders.append(folder)
    for folder in folders:
        try:
            files = [file.name for file in folder.iterdir()]
            folded = [name for name in files if name.upper().startswith(PREFIX) and (folder / name).is_dir()]
        except OSError as error:
            raise ConfigError(
                f"The settings in {folder} cannot be read: {error.strerror}; correct its rights."
            ) from None
        refuse_unknown(files, names(), str(folder))
        if folded:
            raise ConfigError(f"The settings in {folder} cannot be read: {folded[0]} is a directory; correct them.")
    return folders
