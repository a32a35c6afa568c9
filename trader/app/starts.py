"""Count starts that came to nothing, so that a crash loop ends in a daemon that trades no more and says so."""

import json
from contextlib import suppress
from datetime import datetime, timedelta
from pathlib import Path

FILE = "starts.json"
WINDOW = timedelta(minutes=10)


class Starts:
    """The starts since the last one that decided a close or ended in order; kept beside the journal.

    What cannot be read or written counts as nothing: it never keeps a daemon from starting.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / FILE
        self._counted = False

    def begin(self, now: datetime) -> int:
        """Count this start and return how many there were within ten minutes, this one included."""
        recent = [start for start in self._read() if now - WINDOW < start <= now] + [now]
        with suppress(OSError):
            self._path.write_text(json.dumps([start.isoformat() for start in recent]))
        self._counted = True
        return len(recent)

    def prosper(self) -> None:
        """Forget them: this start came to something."""
        if self._counted:
            with suppress(OSError):
                self._path.unlink(missing_ok=True)
            self._counted = False

    def _read(self) -> list[datetime]:
        try:
            return [datetime.fromisoformat(text) for text in json.loads(self._path.read_text())]
        except (OSError, ValueError, TypeError):
            return []
