"""The project's own source as syntax trees, read once."""

import ast
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

Function = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True)
class Module:
    """One Python file: `place` is its path below the root, `name` its dotted name."""

    place: str
    text: str
    tree: ast.Module

    @property
    def name(self) -> str:
        return self.place.removesuffix(".py").replace("/", ".").removesuffix(".__init__")

    def functions(self) -> list[Function]:
        return [node for node in ast.walk(self.tree) if isinstance(node, Function)]


@cache
def modules(folder: str) -> tuple[Module, ...]:
    """Every Python file below a folder of the root, in order of its path; none where the folder is absent."""
    found = []
    for path in sorted((ROOT / folder).rglob("*.py")):
        text = path.read_text(encoding="utf-8")
        found.append(Module(path.relative_to(ROOT).as_posix(), text, ast.parse(text, filename=str(path))))
    return tuple(found)


def texts(*places: str) -> list[tuple[str, str]]:
    """The readable files at or below places of the root, as (path, text); weights and other binaries are left out."""
    found = []
    for place in places:
        path = ROOT / place
        for file in sorted(path.rglob("*")) if path.is_dir() else [path] if path.is_file() else []:
            if file.is_file() and "__pycache__" not in file.parts:
                try:
                    found.append((file.relative_to(ROOT).as_posix(), file.read_text(encoding="utf-8")))
                except UnicodeDecodeError:
                    continue
    return found


def called_name(call: ast.Call) -> str:
    """The last word of what is called: `b` for `a.b()`, `c` for `c()`, nothing for anything else."""
    match call.func:
        case ast.Attribute(attr=name) | ast.Name(id=name):
            return name
        case _:
            return ""


def imports(tree: ast.AST) -> set[str]:
    """Every dotted name that is imported anywhere below, `from a import b` as `a.b`."""
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names
