"""The matrix of faults in docs/reliability.md and the tests that prove it can not drift apart."""

import ast
import re
from functools import cache

from tests.house.source import ROOT, modules

PAGE = ROOT / "docs" / "reliability.md"
ROWS = 84
LINE = re.compile(r"^\| (\d+) \| ([^|]+) \| ([^|]*) \| ([^|]+) \|$", re.MULTILINE)
TEST = re.compile(r"`([\w/]+\.py)::(test_\w+)`")
NONE = "none: "


@cache
def matrix() -> dict[int, str]:
    """What stands in the last column, by the number of the row."""
    return {int(number): proof for number, _, _, proof in LINE.findall(PAGE.read_text(encoding="utf-8"))}


@cache
def marked() -> dict[tuple[str, str], frozenset[int]]:
    """The rows each test says it proves, by the test's file and name."""
    found = {}
    for module in modules("tests"):
        for function in module.functions():
            rows = [row for decorator in function.decorator_list for row in rows_of(decorator)]
            found[module.place.removeprefix("tests/"), function.name] = frozenset(rows)
    return found


def rows_of(decorator: ast.expr) -> list[int]:
    """The numbers inside a `pytest.mark.fault(...)`."""
    if not isinstance(decorator, ast.Call) or ast.unparse(decorator.func) != "pytest.mark.fault":
        return []
    return [argument.value for argument in decorator.args if isinstance(argument, ast.Constant)]


def test_every_row_of_the_catalogue_stands_in_the_matrix_once() -> None:
    numbers = [int(number) for number, *_ in LINE.findall(PAGE.read_text(encoding="utf-8"))]
    assert sorted(numbers) == list(range(1, ROWS + 1))


def test_every_row_names_a_test_or_says_why_there_is_none() -> None:
    silent = [row for row, proof in matrix().items() if not TEST.findall(proof) and not proof.startswith(NONE)]
    assert silent == []


def test_every_test_a_row_names_exists_and_says_that_it_proves_that_row() -> None:
    wrong = [
        f"{row}: {place}::{name}"
        for row, proof in matrix().items()
        for place, name in TEST.findall(proof)
        if row not in marked().get((place, name), frozenset())
    ]
    assert wrong == []


def test_a_test_marked_with_a_fault_is_about_a_row_that_names_tests() -> None:
    assert sum(map(bool, marked().values())) > ROWS
    stray = {row for rows in marked().values() for row in rows if not TEST.findall(matrix().get(row, ""))}
    assert stray == set()
