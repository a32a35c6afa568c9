"""How lists of results look: a table where it fits, a paragraph a row where it would break at the edge."""

import io
from typing import Any

import pytest
from rich.console import Console

from trader.cli.values import show

ROWS = [
    {"client_id": f"t1a2b3c.1704240000.ADAUSDT.o{number}", "close": "2024-01-03T00:00:00+00:00", "why": "open ADAUSDT"}
    for number in range(2)
]


@pytest.fixture(params=[60, 120])
def shown(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> tuple[int, str]:
    """Return a width, and what a terminal of it shows."""
    screen = io.StringIO()

    def terminal(**more: Any) -> Console:
        return Console(file=screen, force_terminal=True, color_system=None, **{"width": request.param, **more})

    monkeypatch.setattr("rich.console.Console", terminal)
    show(ROWS, as_json=False)
    return request.param, screen.getvalue()


def test_no_value_breaks_at_the_edge_of_a_terminal(shown: tuple[int, str]) -> None:
    width, text = shown
    lines = text.splitlines()
    assert all(any(str(value) in line for line in lines) for row in ROWS for value in row.values())
    assert max(map(len, lines)) <= width
    named = [line for line in lines if "client id" in line]
    assert len(named) == (1 if width == 120 else 2)


def test_where_there_is_no_terminal_a_row_is_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    show(ROWS, as_json=False)
    header, *lines = capsys.readouterr().out.splitlines()
    assert header.split()[:2] == ["client", "id"]
    assert len(lines) == len(ROWS)
    assert all(str(row["client_id"]) in line for row, line in zip(ROWS, lines, strict=True))
