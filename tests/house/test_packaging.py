"""The project says what it needs, pins it, and ships what it runs."""

import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

import trader
from tests.house.source import ROOT, imports, modules

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
RUNTIME: list[str] = PROJECT["project"]["dependencies"]
DEVELOPMENT: list[str] = PROJECT["project"]["optional-dependencies"]["dev"]


def plain(requirement: str) -> str:
    """The normalised name of a distribution, without versions."""
    return re.sub(r"[-_.]+", "-", re.split(r"[<>=!~\[; ]", requirement)[0]).lower()


def pins() -> dict[str, str]:
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    return {plain(line): line.split("==")[1] for line in lines if line and not line.startswith("#")}


@pytest.mark.fault(77)
def test_everything_needed_is_pinned() -> None:
    assert {plain(requirement) for requirement in RUNTIME + DEVELOPMENT} - set(pins()) == set()


def test_torch_is_asked_for_without_a_local_version_so_that_any_cpu_build_will_do() -> None:
    assert pins()["torch"] == "2.13.0"
    assert "torch==2.13.*" in RUNTIME


def test_every_runtime_dependency_says_why_it_is_there() -> None:
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    block = text[text.index("\ndependencies = [") : text.index("[project.optional-dependencies]")]
    lines = [line for line in block.splitlines() if line.strip().startswith('"')]
    assert len(lines) == len(RUNTIME)
    assert [line for line in lines if not re.search(r", # \w.{10,}", line)] == []


def test_everything_imported_is_declared() -> None:
    declared = {plain(requirement) for requirement in RUNTIME}
    owners = packages_distributions()
    imported = {name.split(".")[0] for module in modules("trader") for name in imports(module.tree)}
    foreign = imported - set(sys.stdlib_module_names) - {"trader"}
    assert {name for name in foreign if not declared & {plain(owner) for owner in owners.get(name, [])}} == set()


def test_the_changelog_knows_this_version() -> None:
    assert f"## {trader.__version__}" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("shipped", ["strategies", "models"])
def test_every_shipped_file_is_of_a_kind_the_wheel_takes_along(shipped: str) -> None:
    taken = {"strategies": r"[^/]+\.toml", "models": r"[^/]+/(card\.json|weights\.safetensors)"}[shipped]
    folder = ROOT / "deploy" / shipped
    files = [path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()]
    assert files, f"deploy/{shipped} is empty"
    assert [file for file in files if not re.fullmatch(taken, file)] == []


def test_the_wheel_holds_every_module_every_data_file_and_everything_shipped(tmp_path: Path) -> None:
    source = tmp_path / "source"
    leave = shutil.ignore_patterns("__pycache__")
    for folder in ("trader", "deploy"):
        if (ROOT / folder).is_dir():
            shutil.copytree(ROOT / folder, source / folder, ignore=leave)
    for file in ("pyproject.toml", "setup.py", "README.md", "LICENSE"):
        if (ROOT / file).is_file():
            shutil.copy(ROOT / file, source)
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(tmp_path), str(source)]
    done = subprocess.run(build, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    with zipfile.ZipFile(next(tmp_path.glob("*.whl"))) as wheel:
        held = {re.sub(r"^trader-[^/]+\.data/data/share/trader/", "deploy/", name) for name in wheel.namelist()}
    ours = {path.relative_to(ROOT).as_posix() for path in (ROOT / "trader").rglob("*") if path.is_file()}
    shipped = {
        path.relative_to(ROOT).as_posix()
        for folder in ("strategies", "models")
        for path in (ROOT / "deploy" / folder).rglob("*")
        if path.is_file()
    }
    assert {name for name in ours | shipped if "__pycache__" not in name} - held == set()
