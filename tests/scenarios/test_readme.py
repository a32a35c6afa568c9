"""A new user types what the README and the operator's page show, from top to bottom, in one directory."""

import re
import shlex
from pathlib import Path

import pytest

from tests.scenarios.exchange import serving
from tests.scenarios.processes import Home
from trader.sim.generated import generated_tape

ROOT = Path(__file__).resolve().parents[2]
PAGES = {"README.md": 12, "docs/operations.md": 10, "docs/strategies.md": 15}


def shown(page: str) -> list[tuple[dict[str, str], list[str]]]:
    """Every `trader` command of a page with the settings in front of it."""
    found = []
    for block in re.findall(r"```sh\n(.*?)```", (ROOT / page).read_text(), re.DOTALL):
        for line in block.splitlines():
            words = shlex.split(line)
            settings = {}
            while words and re.match(r"[A-Z_]+=", words[0]):
                name, _, value = words.pop(0).partition("=")
                settings[name] = value
            if words and words[0] == "trader":
                found.append((settings, words[1:]))
    return found


def files(page: str) -> dict[str, str]:
    """Every file a page shows whose first line says its name."""
    blocks = re.findall(r"```toml\n# (\S+\.toml)\n(.*?)```", (ROOT / page).read_text(), re.DOTALL)
    return dict(blocks)


@pytest.fixture
def home(tmp_path: Path) -> Home:
    candles, funding = generated_tape()
    candles[: 24 * 600].write_parquet(tmp_path / "ADAUSDT_1h.parquet")
    funding.write_parquet(tmp_path / "ADAUSDT_funding.parquet")
    return Home(tmp_path / "data")


@pytest.mark.parametrize("page", PAGES)
def test_every_command_of_a_page_does_what_it_says(page: str, home: Home) -> None:
    assert home.run("run", "--cycles", "3", "--speed", "max").returncode == 0
    for name, text in files(page).items():
        (home.data.parent / name).write_text(text)
    commands = shown(page)
    assert len(commands) >= PAGES[page]
    with serving(home, "--speed", "max", "--from", "2024-01-03") as hand:
        for settings, words in commands:
            if settings.get("TRADER_VENUE") == "testnet":
                keys = {"TRADER_API_KEY": hand.ready["api_key"], "TRADER_API_SECRET": hand.ready["api_secret"]}
                settings |= keys | {"TRADER_EXCHANGE__LOOPBACK": str(hand.ready["port"])}
            dates = [word.replace("2025-01-01", "2024-06-01") for word in words]
            bounded = dates if words[0] != "run" or "--cycles" in words else [*dates, "--cycles", "3", "--speed", "max"]
            if words[0] == "sim":
                # the one that serves here
                continue
            done = home.run(*bounded, **settings)
            # no daemon runs between the commands, and a health check has to say so
            assert done.returncode == (words[0] == "health"), (words, done.stderr)
