"""The torch that is installed is never one that asks for a GPU's packages."""

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest


@pytest.fixture(scope="module")
def installer() -> ModuleType:
    path = Path(__file__).resolve().parents[2] / "deploy" / "install_torch.py"
    found = importlib.util.spec_from_file_location("install_torch", path)
    assert found is not None
    assert found.loader is not None
    module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    "need", ["nvidia-cublas-cu12==12.8", "triton==3.4; platform_system == 'Linux'", "cuda-bindings"]
)
def test_a_build_that_needs_gpu_packages_is_known_by_them(installer: ModuleType, need: str) -> None:
    assert installer.gpu_need(["filelock", need]) == need.split("=")[0].split(";")[0]


def test_a_gpu_package_for_another_system_or_an_extra_is_no_need(installer: ModuleType) -> None:
    needs = ["sympy>=1.13", "triton; platform_system == 'Nowhere'", "nvidia-cublas; extra == 'gpu'"]
    assert installer.gpu_need(needs) is None


def test_what_is_installed_here_is_the_pinned_cpu_build(installer: ModuleType, root: Path) -> None:
    assert installer.installed("2.13.0")
    assert not installer.installed("2.12.0")
    assert installer.main(str(root / "constraints.txt")) == 0
