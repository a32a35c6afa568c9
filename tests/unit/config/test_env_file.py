"""No line of `.env` is lost in silence: it sets what it says, or it is refused by file and number."""

import re
from decimal import Decimal
from pathlib import Path

import pytest

from trader.config import Settings
from trader.errors import ConfigError

SECRET = "zq7XcanaryW1secretNotToBeSeen42"
LIMIT = "TRADER_RISK__MAX_DRAWDOWN"


def refused(content: str | bytes, said: str) -> str:
    """Load a `.env` that must be refused, and return what was said."""
    Path(".env").write_bytes(content.encode() if isinstance(content, str) else content)
    with pytest.raises(ConfigError, match=said) as error:
        Settings.load()
    assert re.fullmatch(r"[^;]*/\.env[^;]*; [^;]*\.", str(error.value)), "one sentence with the file and a remedy"
    assert SECRET not in str(error.value)
    assert SECRET.upper() not in str(error.value)
    return str(error.value)


@pytest.mark.parametrize(
    "line",
    [
        f"{LIMIT}: 0.1",
        f"{LIMIT}:0.1=",
        f"{LIMIT} 0.1",
        f"set {LIMIT}=0.1",
        f"- {LIMIT}=0.1",
        f'"{LIMIT}"=0.1',
        f"-{LIMIT}=0.1",
        f"$env:{LIMIT}=0.1",
        f'{LIMIT}="0.1" of the peak',
        f'{LIMIT}="0.1',
    ],
)
def test_a_line_that_cannot_be_parsed_is_refused_by_its_number_and_variable(line: str) -> None:
    refused(
        f"TRADER_VENUE=testnet\n\n# a limit\n\n{line}\nTRADER_DRY_RUN=true\n",
        rf"^Line 5 of .*/\.env \({LIMIT}\) cannot",
    )


@pytest.mark.parametrize(
    "line",
    [
        f"export FOO=1 {LIMIT}=0.1",
        f"TRADER_DATA_DIR=/tmp/x {LIMIT} = 0.1",
        f"TRADER_DATA_DIR=/tmp/x;export {LIMIT}=0.1",
        f"FOO=bar\u2028{LIMIT}=0.1",
    ],
)
def test_a_line_that_sets_two_is_refused(line: str) -> None:
    refused(f"TRADER_DRY_RUN=true\n{line}\n", r"^Line 2 of .*/\.env.* sets more than one variable")
    quoted = f'EXTRA="-e {LIMIT}=0.1"\n'
    Path(".env").write_text(f"TRADER_DRY_RUN=true # {LIMIT}=0.1\n# {LIMIT}=0.1\n{quoted}")
    assert Settings.load().dry_run


@pytest.mark.parametrize("line", [LIMIT, f"export {LIMIT}", f"{LIMIT} # none", LIMIT.lower()])
def test_a_name_without_a_value_is_refused_and_an_empty_value_is_not_set(line: str) -> None:
    refused(f"{line}\nTRADER_DRY_RUN=true\n", rf"^Line 1 of .*/\.env \({LIMIT}\) has no `=`")
    Path(".env").write_text(f"{LIMIT}=\nTRADER_DRY_RUN=true\n")
    assert (Settings.load().risk.max_drawdown, Settings.load().dry_run) == (None, True)


@pytest.mark.parametrize(
    "line",
    [
        f"TRADER_API_SECRET:{SECRET}",
        f"TRADER_API_SECRET:{SECRET}==",
        f"TRADER_API_SECRET {SECRET}",
        f"TRADER{SECRET}: 1",
    ],
)
def test_what_a_refused_line_holds_is_not_repeated(line: str) -> None:
    refused(f"\n{line}\n", r"^Line 2 of .*/\.env.* cannot be read")


def test_a_quote_that_is_not_closed_swallows_no_setting() -> None:
    below = "TRADER_STAGE=canary\nTRADER_RISK__MAX_DAILY_LOSS=0.05\n"
    alerts = "TRADER_ALERTS__LEVEL"
    refused(f'{alerts}="warning\n{below}{LIMIT}="0.3"\n', rf"^Line 1 of .* \({alerts}\) cannot be read")
    refused(f'{alerts}="warning\n{below}{LIMIT}=0.3"\n', rf"^Line 1 of .* \({alerts}\) goes on over 4 lines")
    refused(f"{alerts}='warning\n{below}", rf"^Line 1 of .* \({alerts}\) cannot be read")
    refused(f'A=1\nOTHER="x\n{below}THIRD=y"\n', r"^Line 2 of .*/\.env cannot be read")
    refused(f"'OTHER=x\n{below}THIRD'=y\n", r"^Line 1 of .*/\.env cannot be read")


def test_a_line_of_somebody_elses_is_refused_only_where_it_cannot_be_parsed() -> None:
    refused("COMPOSE_PROJECT_NAME: trader\nTRADER_DRY_RUN=true\n", r"^Line 1 of .*/\.env cannot be read")
    key = 'PEM="-----BEGIN\nabc\n-----END"\n'
    Path(".env").write_text(
        f"{key}COMPOSE_PROJECT_NAME=a b c\nJUST_A_NAME\nA=1\nA=2\nMY_TRADER_X=1\nTRADER_DRY_RUN=true\n"
    )
    assert Settings.load().dry_run


@pytest.mark.parametrize("second", [f"{LIMIT}=0.2", f"{LIMIT}=", f"export {LIMIT.lower()}=0.1"])
def test_a_setting_that_is_there_twice_is_refused_with_both_lines(second: str) -> None:
    refused(f"{LIMIT}=0.1\n# more\n{second}\n", rf"^Line 3 of .* \({LIMIT}\) sets what line 1 has set already")


def test_a_reference_that_comes_to_nothing_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    Path(".env").write_text(f"{LIMIT}=${{LOSS}}\n")
    monkeypatch.setenv("LOSS", "0.1")
    assert Settings.load().risk.max_drawdown == Decimal("0.1")
    monkeypatch.delenv("LOSS")
    refused(f"{LIMIT}=${{LOSS}}\n", rf"^Line 1 of .* \({LIMIT}\) refers to a variable that is not set")


@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_what_editors_of_other_systems_write_is_read(mark: bytes, end: str) -> None:
    lines = (
        f"{LIMIT}=0.1",
        "export TRADER_DRY_RUN=true # for now",
        "TRADER_STRATEGY='ada-ar-12h'",
        "",
        "TRADER_STAGE=",
        "",
    )
    Path(".env").write_bytes(mark + end.join(lines).encode())
    settings = Settings.load()
    assert (settings.risk.max_drawdown, settings.dry_run, settings.strategy) == (Decimal("0.1"), True, "ada-ar-12h")
    refused(mark + end.join(("A=1", f"{LIMIT} 0.1", "")).encode(), rf"^Line 2 of .* \({LIMIT}\)")


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le"])
def test_a_file_in_another_encoding_is_refused(encoding: str) -> None:
    refused("TRADER_DRY_RUN=true\n".encode(encoding), "it is no UTF-8 text")
