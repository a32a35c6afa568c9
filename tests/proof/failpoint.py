"""Run the real command line in a process that is killed by SIGKILL at the n-th commit of its journal.

`python -m tests.proof.failpoint WORDS...` is `trader WORDS...`; PROOF_FAILPOINT says `before:N`, `after:N` or
`count:FILE`, which kills nobody and leaves the number of commits in the file.
"""

import os
import signal
import sqlite3
import sys
from pathlib import Path
from typing import Any

from tests.proof.disk import opened_on

WHEN, _, WHAT = os.environ.get("PROOF_FAILPOINT", "").partition(":")


class Killing(sqlite3.Connection):
    """A connection that ends the process at a commit."""

    commits = 0

    def execute(self, sql: str, *parameters: Any) -> sqlite3.Cursor:
        if sql != "COMMIT":
            return super().execute(sql, *parameters)
        Killing.commits += 1
        if WHEN == "before" and Killing.commits == int(WHAT):
            os.kill(os.getpid(), signal.SIGKILL)
        done = super().execute(sql, *parameters)
        if WHEN == "after" and Killing.commits == int(WHAT):
            os.kill(os.getpid(), signal.SIGKILL)
        if WHEN == "count":
            Path(WHAT).write_text(str(Killing.commits))
        return done


if __name__ == "__main__":
    from trader.cli import main

    with opened_on(Killing):
        sys.exit(main())
