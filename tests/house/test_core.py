"""The core is arithmetic: what the layers of pyproject.toml cannot say about it is said here."""

import ast
import sys

import pytest

from tests.house.source import Module, imports, modules

CORE = ("domain", "market", "forecast", "portfolio", "execution", "decide", "strategies", "errors")
CLOCKS = {"now", "utcnow", "today"}


def room(name: str) -> list[Module]:
    return [module for module in modules("trader") if module.name.split(".")[1:2] == [name]]


@pytest.mark.fault(22)
@pytest.mark.parametrize("name", CORE)
def test_the_core_reads_no_clock_and_waits_for_nothing(name: str) -> None:
    impure = [
        f"{module.place}:{node.lineno}"
        for module in room(name)
        for node in ast.walk(module.tree)
        if isinstance(node, ast.AsyncFunctionDef | ast.Await)
        or (isinstance(node, ast.Attribute) and node.attr in CLOCKS)
        or (isinstance(node, ast.Call) and ast.unparse(node.func) in {"open", "print", "input"})
    ]
    assert room(name)
    assert impure == []


@pytest.mark.parametrize("name", ["domain", "errors"])
def test_nouns_need_the_standard_library_only(name: str) -> None:
    foreign = {
        f"{module.place} imports {imported}"
        for module in room(name)
        for imported in imports(module.tree)
        if imported.split(".")[0] not in sys.stdlib_module_names
        and not imported.startswith(("trader.domain.", "trader.errors."))
    }
    assert foreign == set()


def test_the_embedded_exchange_imports_nothing_of_ours() -> None:
    ours = {
        f"{module.place} imports {imported}"
        for module in room("sim")
        for imported in imports(module.tree)
        if imported.split(".")[0] == "trader" and not imported.startswith("trader.sim.")
    }
    assert room("sim")
    assert ours - {f"{module.place} imports trader.sim" for module in room("sim")} == set()


def test_ccxt_is_known_to_the_gateway_only() -> None:
    users = {module.name.split(".")[1] for module in modules("trader") if any_of(module, "ccxt")}
    assert users <= {"exchange"}


def test_the_decimal_context_is_nobodys_to_change() -> None:
    changed = [
        f"{module.place}:{node.lineno}"
        for module in modules("trader")
        for node in ast.walk(module.tree)
        if isinstance(node, ast.Call) and ast.unparse(node.func).split(".")[-1] in {"setcontext", "getcontext"}
    ]
    assert changed == []


def any_of(module: Module, package: str) -> bool:
    return any(imported.split(".")[0] == package for imported in imports(module.tree))
