"""Numbers and letters that a command cannot use are no internal error."""

import io
import sys

import pytest

from trader.cli import main


def leave(*words: str) -> int | str | None:
    """Run a command and return its exit code."""
    with pytest.raises(SystemExit) as end:
        main(words)
    return end.value.code


@pytest.mark.parametrize("command", ["orders", "fills", "equity", "trades", "alerts"])
def test_more_rows_than_any_journal_has_are_wrong_usage(command: str) -> None:
    assert leave(command, "--last", "9" * 20) == 2


def test_more_closes_than_anybody_lists_are_wrong_usage() -> None:
    assert leave("next", "--count", "1000000000") == 2


def test_a_terminal_without_a_sign_is_told_the_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = io.BytesIO()
    with io.TextIOWrapper(screen, encoding="ascii") as narrow:
        monkeypatch.setattr(sys, "stdout", narrow)
        assert leave("--version") == 0
        narrow.write("\N{RIGHTWARDS ARROW} train one\n")
        narrow.flush()
        assert screen.getvalue().splitlines()[-1] == b"? train one"
