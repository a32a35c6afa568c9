"""Whatever may be a file of a secret reaches the daemon under systemd and under compose."""

import re
from pathlib import Path

import pytest
from pydantic import BaseModel, SecretStr

from trader.config import Settings

DEPLOY = Path(__file__).resolve().parents[3] / "deploy"


def secrets(model: type[BaseModel], prefix: str = "trader_") -> set[str]:
    """The names of the files that hold secrets, sections with two underscores."""
    found = set()
    for name, field in model.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            found |= secrets(field.annotation, f"{prefix}{name}__")
        elif SecretStr in getattr(field.annotation, "__args__", (field.annotation,)):
            found.add(prefix + name)
    return found


@pytest.mark.parametrize(
    ("file", "pattern"),
    [
        ("trader.service", r"^LoadCredential=(trader_\w+):/etc/trader/credentials/\1$"),
        ("compose.yaml", r"^  (trader_\w+):\n    file: secrets/\1$"),
        ("compose.yaml", r"(trader_\w+)[,\]]"),
        ("install.sh", r"(?<=[ ])(trader_\w+)(?=[ ;])"),
    ],
)
def test_every_secret_reaches_the_daemon(file: str, pattern: str) -> None:
    assert len(secrets(Settings)) >= 5
    assert set(re.findall(pattern, (DEPLOY / file).read_text(), re.MULTILINE)) == secrets(Settings)
