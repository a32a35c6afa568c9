"""Run the command line in a process whose disk takes no more from the n-th commit of the journal on.

    FULL_FROM=7 python -m tests.scenarios.full_disk run ...

The operating system refuses every byte beyond the size the journal's log has at that moment (RLIMIT_FSIZE). FULL_FROM=0
refuses nothing and leaves the number of commits in the file that FULL_COUNT names.
"""

import os
import resource
import sqlite3
import sys
from pathlib import Path
from typing import Any

from tests.proof.disk import opened_on

FROM = int(os.environ["FULL_FROM"])
COUNT = Path(os.environ["FULL_COUNT"])


class Filling(sqlite3.Connection):
    """A connection that meets a full disk at a commit."""

    commits = 0

    def execute(self, sql: str, *parameters: Any) -> sqlite3.Cursor:
        if sql == "COMMIT":
            Filling.commits += 1
            if FROM == 0:
                COUNT.write_text(str(Filling.commits))
            if Filling.commits == FROM:
                (path,) = [row[2] for row in super().execute("PRAGMA database_list") if row[1] == "main"]
                log = Path(f"{path}-wal")
                resource.setrlimit(resource.RLIMIT_FSIZE, (log.stat().st_size, resource.RLIM_INFINITY))
        return super().execute(sql, *parameters)


if __name__ == "__main__":
    from trader.cli import main

    with opened_on(Filling):
        sys.exit(main())
