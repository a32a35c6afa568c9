"""What a process pays for only when it needs it."""

import json
import subprocess
import sys

import pytest

from tests.house.source import imports, modules

HEAVY = {"ccxt", "polars", "scipy", "sqlalchemy", "torch"}
LIVE_ROOMS = {"app", "live", "exchange", "journal", "config", "log", "strategies"}


def loaded_by(code: str) -> set[str]:
    """The top-level packages in a fresh interpreter after it ran some code."""
    report = "import json as _json, sys as _sys; print(_json.dumps(sorted({m.split('.')[0] for m in _sys.modules})))"
    done = subprocess.run([sys.executable, "-c", f"{code}\n{report}"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return set(json.loads(done.stdout.splitlines()[-1]))


def test_the_command_line_answers_before_anything_heavy_is_imported() -> None:
    assert loaded_by("import trader.cli") & HEAVY == set()


def test_help_is_printed_without_anything_heavy() -> None:
    code = """
import sys
from trader.cli import main
sys.argv = ["trader", "--help"]
try:
    main()
except SystemExit as end:
    assert not end.code, end.code
"""
    assert loaded_by(code) & HEAVY == set()


@pytest.mark.fault(11)
def test_a_daemon_with_a_linear_model_never_imports_torch() -> None:
    names = [module.name for module in modules("trader")]
    live = [name for name in names if len(parts := name.split(".")) > 1 and parts[1] in LIVE_ROOMS]
    live = [name for name in live if "migrations" not in name and not name.endswith(".gru")]
    assert {"trader.app", "trader.live.daemon", "trader.strategies.ar"} <= set(live)
    assert loaded_by("\n".join(f"import {name}" for name in live)) & {"torch", "scipy"} == set()


def test_torch_is_imported_inside_functions_or_by_training_only() -> None:
    at_the_top = {
        module.name
        for module in modules("trader")
        for node in module.tree.body
        if any(name.split(".")[0] == "torch" for name in imports(node)) and not is_type_checking(node)
    }
    assert {name for name in at_the_top if not name.startswith("trader.research.")} - {"trader.forecast.gru"} == set()


def is_type_checking(node: object) -> bool:
    return getattr(getattr(node, "test", None), "id", "") == "TYPE_CHECKING"


def test_what_checks_our_statistics_is_never_imported_by_the_product() -> None:
    oracles = {"arch", "scipy", "skfolio", "sklearn", "statsmodels"}
    used = {f"{module.place}: {name}" for module in modules("trader") for name in imports(module.tree)}
    assert {line for line in used if line.split(": ")[1].split(".")[0] in oracles} == set()
