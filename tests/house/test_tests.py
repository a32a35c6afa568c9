"""Tests assert something, fake instead of mocking, and wait for nothing."""

import ast

from tests.house.source import Function, Module, called_name, imports, modules

ASSERTING = {"raises", "warns", "fail", "run_state_machine_as_test"}


def called(function: Function) -> set[str]:
    return {called_name(node) for node in ast.walk(function) if isinstance(node, ast.Call)}


def asserts(function: Function, names: set[str]) -> bool:
    return any(isinstance(node, ast.Assert | ast.Raise) for node in ast.walk(function)) or bool(
        called(function) & names
    )


def asserting_names() -> set[str]:
    """Names under which the tests know a function that asserts, or calls one that does, however far away."""
    functions = [f for module in modules("tests") for f in module.functions() if not f.name.startswith("test_")]
    names = set(ASSERTING)
    while more := {f.name for f in functions if f.name not in names and asserts(f, names)}:
        names |= more
    return names


def test_every_test_can_fail() -> None:
    names = asserting_names()
    toothless = [
        f"{module.place}:{function.lineno} {function.name}"
        for module in modules("tests")
        for function in module.functions()
        if function.name.startswith("test_") and not asserts(function, names)
    ]
    assert toothless == []


def test_a_test_is_named_as_a_sentence() -> None:
    short = [
        f"{module.place}:{function.lineno} {function.name}"
        for module in modules("tests")
        for function in module.functions()
        if function.name.startswith("test_") and len(function.name.split("_")) < 4
    ]
    assert short == []


def test_no_two_tests_of_a_file_share_a_name() -> None:
    for module in modules("tests"):
        names = [node.name for node in module.tree.body if isinstance(node, Function)]
        assert len(names) == len(set(names)), module.place


def test_nothing_is_mocked() -> None:
    mocked = [module.place for module in modules("tests") if any("mock" in name for name in imports(module.tree))]
    assert mocked == []


def sleeps(module: Module) -> list[str]:
    """Where a test lets real time pass; `asyncio.sleep(0)` only lets others run."""
    return [
        f"{module.place}:{node.lineno}"
        for node in ast.walk(module.tree)
        if isinstance(node, ast.Call)
        and ast.unparse(node.func) in {"sleep", "time.sleep", "asyncio.sleep"}
        and [ast.unparse(argument) for argument in node.args] != ["0"]
    ]


def test_no_test_sleeps() -> None:
    assert [line for module in modules("tests") for line in sleeps(module)] == []
