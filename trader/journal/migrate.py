"""Bring a journal to today's schema."""

from pathlib import Path

from sqlalchemy import text

from trader.errors import JournalError
from trader.journal.database import Database
from trader.journal.schema import HEAD

SCRIPTS = Path(__file__).parent / "migrations"


def revision(database: Database) -> str | None:
    """Return the schema revision of a file, None where it is empty.

    Raises:
        JournalError: the file holds something else.
    """
    tables = database.tables()
    if "alembic_version" in tables:
        rows = database.read(text("SELECT version_num FROM alembic_version"))
        if len(rows) == 1:
            return str(rows[0][0])
    elif not tables:
        return None
    raise JournalError(
        f"The file {database.path} is no journal: it holds other tables; point TRADER_DATA_DIR to another directory."
    )


def require_head(database: Database) -> None:
    """Refuse a file of another schema, without changing it."""
    found = revision(database)
    if found is None:
        raise JournalError(f"The journal {database.path} is empty; start the daemon once with `trader run`.")
    require_known(database, found)
    if found != HEAD:
        raise JournalError(
            f"The journal {database.path} has schema {found} and this version reads {HEAD}; use the version that the "
            "daemon runs, or start this version's daemon once to upgrade it."
        )


def require_known(database: Database, found: str) -> None:
    """Refuse a file that a newer version wrote: nobody here knows what is in it, and nothing goes back.

    Raises:
        JournalError: it is newer.
    """
    if found > HEAD:
        raise JournalError(
            f"The journal {database.path} was written by a newer version (schema {found}, this one knows {HEAD}); "
            "install that version again, or put back the copy it made before upgrading with `trader journal restore`."
        )


def upgrade(database: Database, *, scripts: Path = SCRIPTS) -> None:
    """Run the missing migrations in one transaction; a journal with content is copied beside itself first.

    Raises:
        JournalError: a newer version wrote the file, or it cannot be copied or written.
    """
    # only a new or an old journal pays for this import
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(scripts).replace("%", "%%"))
    found = revision(database)
    if found is not None:
        require_known(database, found)
        database.copy(database.path.with_name(f"{database.path.name}.schema-{found}"))
    with database.write() as connection:
        # the environment must find a transaction already open, or it would commit its own
        connection.execute(text("SELECT 1"))
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
