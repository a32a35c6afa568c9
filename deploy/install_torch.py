"""Install the pinned torch as a CPU build into the environment that runs this, and refuse any build that wants a GPU.

Usage: python install_torch.py CONSTRAINTS [INDEX]

A wheel is looked at before it is fetched: on Linux the torch of the Python Package Index asks for gigabytes of CUDA.
INDEX is where CPU builds come from (default: PyTorch's own); where it cannot be reached, wherever pip is configured to
look.
"""

import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from pip._vendor.packaging.requirements import Requirement

CPU_INDEX = "https://download.pytorch.org/whl/cpu"
_GPU = re.compile("nvidia|cuda|triton|pytorch-triton|intel")
_PIP = (sys.executable, "-m", "pip", "--disable-pip-version-check", "--no-input", "install", "--no-deps")


def gpu_need(requirements: Iterable[str]) -> str | None:
    """Name the first requirement that holds here and is for a GPU."""
    for requirement in map(Requirement, requirements):
        asked = not requirement.marker or requirement.marker.evaluate({"extra": ""})
        if asked and _GPU.match(requirement.name):
            return requirement.name
    return None


def installed(version: str) -> bool:
    """Whether that version is there already, as a CPU build."""
    try:
        torch = distribution("torch")
    except PackageNotFoundError:
        return False
    return torch.version.split("+")[0] == version and gpu_need(torch.requires or []) is None


def install(*what: str) -> str | None:
    """Install what pip would choose if it is a CPU build; return why not."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.json"
        look = subprocess.run(
            [*_PIP, "-q", "--dry-run", "--ignore-installed", "--report", str(report), *what],
            capture_output=True,
            text=True,
            check=False,
        )
        if look.returncode:
            return (look.stderr.strip().splitlines() or ["pip said nothing"])[-1]
        found = json.loads(report.read_text())["install"][0]["metadata"]
    need = gpu_need(found.get("requires_dist", []))
    if need:
        return f"torch {found['version']} is a GPU build: it needs {need}"
    done = subprocess.run([*_PIP, "--progress-bar", "off", *what], capture_output=True, text=True, check=False)
    return (done.stderr.strip().splitlines() or ["pip said nothing"])[-1] if done.returncode else None


def main(constraints: str, index: str = CPU_INDEX) -> int:
    """Install, trying the index first; 1 where nothing fits."""
    pins = re.findall(r"^torch==(\S+)$", Path(constraints).read_text(encoding="utf-8"), re.MULTILINE)
    version = pins[0]
    if installed(version):
        return 0
    sys.stdout.write(f"Installing torch {version} (CPU build, about 200 MB)\n")
    sys.stdout.flush()
    ways = (
        ("--retries", "1", "--timeout", "15", "--index-url", index, f"torch=={version}"),
        (f"torch=={version}+cpu",),
        (f"torch=={version}",),
    )
    refusals = []
    for way in ways:
        why = install(*way)
        if why is None:
            return 0
        refusals.append(f"  {' '.join(way)}: {why}")
    sys.stderr.write(
        f"No CPU build of torch {version} was found, neither at {index} nor where pip is configured to look; set "
        "TORCH_INDEX to an index that has one.\n" + "\n".join(refusals) + "\n"
    )
    return 1


if __name__ == "__main__":
    try:
        sys.exit(main(*sys.argv[1:]))
    except KeyboardInterrupt:
        sys.exit(130)
