"""Answers that prove nothing, on the real wire: one order effect, and journal and ledger agree."""

from pathlib import Path
from typing import Any

import pytest

from tests.scenarios.processes import Home, agrees

FAST = ("run", "--speed", "max", "--from", "2024-01-03", "--to", "2024-01-14")
POST = "POST /fapi/v1/order"


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[tuple[Any, ...]]]:
    home = Home(tmp_path_factory.mktemp("undisturbed") / "data")
    done = home.run(*FAST)
    assert done.returncode == 0, done.stderr
    assert len(home.ledger()["orders"]) >= 3
    return home.ledger()


FAULTS: list[dict[str, Any]] = [
    {"do": "lose_answer"},
    {"do": "drop_request"},
    {"do": "timeout_1007_executed"},
    {"do": "timeout_1007_not_executed"},
    {"do": "unknown_503_executed"},
    {"do": "unknown_503_not_executed"},
    {"do": "service_unavailable_503"},
    {"do": "html_200", "effect": True},
    {"do": "html_200", "effect": False},
    {"do": "empty_200", "effect": True},
    {"do": "truncated"},
    {"do": "late", "ms": 3000},
    {"do": "late_visibility", "ms": 8000},
]


@pytest.mark.fault(26, 27, 31, 32, 33, 34, 35, 43)
@pytest.mark.parametrize("order", [1, 2])
@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: "-".join(str(part) for part in fault.values()))
def test_an_order_with_a_faulty_answer_has_one_effect(
    fault: dict[str, Any], order: int, tmp_path: Path, undisturbed: dict[str, list[tuple[Any, ...]]]
) -> None:
    home = Home(tmp_path / "data")
    done = home.run(*FAST, TRADER_SIM__FAULTS=home.plan({"on": {"path": POST, "nth": order}, **fault}))
    assert done.returncode == 0, done.stderr
    assert home.journal("select sum(sends) from orders")[0][0] <= len(undisturbed["orders"]) + 1
    agrees(home)
    assert home.ledger() == undisturbed


@pytest.mark.fault(31)
@pytest.mark.parametrize("path", ["GET /fapi/v3/account", "GET /fapi/v1/klines", "GET /fapi/v1/userTrades"])
@pytest.mark.parametrize("kind", ["lose_answer", "html_200", "empty_200", "truncated", "unknown_503_not_executed"])
def test_a_faulty_answer_to_a_read_changes_nothing(
    path: str, kind: str, tmp_path: Path, undisturbed: dict[str, list[tuple[Any, ...]]]
) -> None:
    home = Home(tmp_path / "data")
    plan = home.plan(*({"on": {"path": path, "nth": n}, "do": kind} for n in (2, 3)))
    done = home.run(*FAST, TRADER_SIM__FAULTS=plan)
    assert done.returncode == 0, done.stderr
    agrees(home)
    assert home.ledger() == undisturbed
