"""Ship the strategies and models of deploy/ under <prefix>/share/trader; all else is declared in pyproject.toml.

Data files need one destination a directory, and pyproject.toml has no way to say "each model's own".
"""

from collections import defaultdict
from pathlib import Path

from setuptools import setup

SHIPPED = ("strategies/*.toml", "models/*/card.json", "models/*/weights.safetensors")

deploy = Path("deploy")
destinations: dict[str, list[str]] = defaultdict(list)
for pattern in SHIPPED:
    for file in sorted(deploy.glob(pattern)):
        destinations[f"share/trader/{file.parent.relative_to(deploy).as_posix()}"].append(file.as_posix())

setup(data_files=sorted(destinations.items()))
