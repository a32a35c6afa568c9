"""Small files, small functions, one direction, plain names."""

import ast
from graphlib import CycleError, TopologicalSorter

import grimp

from tests.house.source import Module, modules, texts

CODE = ("trader", "tests", "benchmarks")
LONGEST_FILE = 400
LONGEST_FUNCTION = 60
FORBIDDEN_NAMES = {"common", "helper", "helpers", "manager", "managers", "misc", "util", "utils"}
WHERE_ANYTHING_MAY_BE_CAUGHT = ("trader/live/daemon.py", "trader/cli", "trader/notify")


def all_modules() -> list[Module]:
    return [module for folder in CODE for module in modules(folder)]


def test_the_product_is_there() -> None:
    assert len(modules("trader")) > 20


def test_no_file_is_longer_than_400_lines() -> None:
    lengths = {module.place: len(module.text.splitlines()) for module in all_modules()}
    assert {place: length for place, length in lengths.items() if length > LONGEST_FILE} == {}


def test_no_function_reaches_60_lines() -> None:
    long = [
        f"{module.place}:{function.lineno} {function.name}"
        for module in all_modules()
        for function in module.functions()
        if (function.end_lineno or 0) - function.lineno + 1 >= LONGEST_FUNCTION
    ]
    assert long == []


def test_no_module_hides_behind_a_name_that_says_nothing() -> None:
    assert [module.place for module in all_modules() if FORBIDDEN_NAMES & set(module.name.split("."))] == []


def test_imports_make_no_cycle() -> None:
    graph = grimp.build_graph("trader", cache_dir=None)
    order = TopologicalSorter({name: graph.find_modules_directly_imported_by(name) for name in graph.modules})
    try:
        order.prepare()
    except CycleError as error:
        raise AssertionError(f"modules import each other: {' > '.join(error.args[1])}") from None


def test_the_package_itself_imports_nothing_of_ours() -> None:
    package = next(module for module in modules("trader") if module.name == "trader")
    assert not [node for node in ast.walk(package.tree) if isinstance(node, ast.Import | ast.ImportFrom)]


def catches_anything(node: ast.AST) -> bool:
    if isinstance(node, ast.ExceptHandler):
        caught = [node.type] if not isinstance(node.type, ast.Tuple) else list(node.type.elts)
    elif isinstance(node, ast.Call) and ast.unparse(node.func) in {"suppress", "contextlib.suppress"}:
        caught = list(node.args)
    else:
        return False
    return any(kind is None or ast.unparse(kind) in {"Exception", "BaseException"} for kind in caught)


def test_everything_is_caught_in_three_places_only_and_once_in_each() -> None:
    found = [
        f"{module.place}:{getattr(node, 'lineno', 0)}"
        for module in modules("trader")
        for node in ast.walk(module.tree)
        if catches_anything(node)
    ]
    for place in WHERE_ANYTHING_MAY_BE_CAUGHT:
        here = [line for line in found if line.startswith(place)]
        assert len(here) <= 1, here
        found = [line for line in found if line not in here]
    assert found == []


def test_nothing_is_left_to_be_written() -> None:
    words = ["TO" + "DO", "FIX" + "ME", "XX" + "X", "NotImplemented" + "Error"]
    places = ("trader", "deploy", "docs", "benchmarks", "README.md", "Makefile", "pyproject.toml", ".ci/run")
    assert [(place, word) for place, text in texts(*places) for word in words if word in text] == []


def test_only_a_protocol_leaves_a_body_empty() -> None:
    def empty(body: list[ast.stmt]) -> bool:
        said = [node for node in body if not (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant))]
        return all(isinstance(node, ast.Pass) for node in said) and any(
            isinstance(node, ast.Pass) or node.value.value is ... for node in body
        )

    promised = {
        function
        for module in modules("trader")
        for kind in ast.walk(module.tree)
        if isinstance(kind, ast.ClassDef) and any(ast.unparse(base).startswith("Protocol") for base in kind.bases)
        for function in ast.walk(kind)
    }
    stubs = [
        f"{module.place}:{function.lineno} {function.name}"
        for module in modules("trader")
        for function in module.functions()
        if function not in promised and empty(function.body)
    ]
    assert stubs == []


def test_nothing_shipped_names_a_place_of_the_machine_it_was_made_on() -> None:
    words = ["../" + "shared", "/work" + "/", "/opt" + "/wheels", "/opt" + "/pypi", "/root" + "/"]
    places = ("trader", "deploy", "docs", "README.md", "CHANGELOG.md", "Makefile", "pyproject.toml", ".env.example")
    assert [(place, word) for place, text in texts(*places) for word in words if word in text] == []
