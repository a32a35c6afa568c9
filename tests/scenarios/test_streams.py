"""What is said goes somewhere, or the command says that it does not."""

import json
import subprocess
from pathlib import Path

import pytest

from tests.scenarios.processes import COMMAND, Home

MODEL = ("model", "show", "ada-ar-16h")


def through_a_shell(home: Home, redirection: str, *words: str) -> subprocess.CompletedProcess[str]:
    """Run a command whose streams the shell redirects."""
    command = ["/bin/sh", "-c", f'exec "$@" {redirection}', "sh", *COMMAND, *words]
    return subprocess.run(
        command, env=home.environment(), cwd=home.data.parent, capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize(
    "words", [("--version",), ("--help",), ("model", "show", "ada-ar-16h"), ("model", "show", "ada-ar-16h", "--json")]
)
def test_an_output_that_cannot_be_written_is_said_and_is_no_internal_error(
    words: tuple[str, ...], tmp_path: Path
) -> None:
    done = through_a_shell(Home(tmp_path / "data"), "> /dev/full", *words)
    assert done.returncode == 74
    assert done.stderr == (
        "trader: the output cannot be written (No space left on device); send it where there is room.\n"
    )


def test_a_reader_that_has_read_enough_ends_a_command_without_a_word(tmp_path: Path) -> None:
    done = through_a_shell(Home(tmp_path / "data"), "| true", *MODEL)
    assert done.stderr == ""


def test_an_error_stream_that_is_closed_is_no_place_for_another_file(tmp_path: Path) -> None:
    home = Home(tmp_path / "data")
    done = through_a_shell(home, "2>&-", "run", "--cycles", "2", "--speed", "max", "--json")
    assert done.returncode == 0
    assert len(json.loads(done.stdout)["closes"]) == 2
    assert home.document("replay", "--all")["differences"] == []


def test_an_output_that_is_closed_ends_nothing(tmp_path: Path) -> None:
    done = through_a_shell(Home(tmp_path / "data"), ">&- <&-", *MODEL)
    assert (done.returncode, done.stderr) == (0, "")
