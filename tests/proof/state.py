"""What is done already, kept in a file so that a long proof may be stopped and continued."""

import hashlib
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tests.proof.tasks import Outcome

ROOT = Path(__file__).resolve().parents[2]


def fingerprint() -> str:
    """Return a digest of everything that is proven and everything that proves it."""
    digest = hashlib.sha256()
    for folder in ("trader", "tests/proof"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


class State:
    """Outcomes by task; those of other code count for nothing."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._code = fingerprint()
        self.done: dict[str, Outcome] = {}
        self.seconds = 0.0
        if path.is_file():
            self._read(json.loads(path.read_text()))

    def _read(self, document: dict[str, Any]) -> None:
        if document["code"] == self._code:
            self.done = {one["task"]: Outcome(**one) for one in document["done"]}
            self.seconds = document["seconds"]

    def keep(self, outcome: Outcome, seconds: float) -> None:
        """Add an outcome, on disk when it returns."""
        self.done[outcome.task], self.seconds = outcome, seconds
        document = {"code": self._code, "seconds": seconds, "done": [asdict(one) for one in self.done.values()]}
        fresh = self._path.with_suffix(".new")
        self._path.parent.mkdir(parents=True, exist_ok=True)
        fresh.write_text(json.dumps(document))
        fresh.replace(self._path)
