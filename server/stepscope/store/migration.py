"""Brings a database's tables up to date, forward only, in one transaction that others wait for.

alembic is loaded only where there is something to do. Of several processes that start at once the first migrates, the
others find it done: SQLite's transaction takes the write lock at its beginning, PostgreSQL's takes an advisory lock.
"""

import logging

from sqlalchemy import func, inspect, select, text
from sqlalchemy.engine import Connection
from sqlalchemy.exc import DatabaseError

from stepscope.core.errors import SettingsInvalid, StoreUnavailable
from stepscope.store.database import UNAVAILABLE, Database

log = logging.getLogger("stepscope.store")

NEWEST = "0002"
"""The last of `migrations/versions`; a test compares."""
LOCK = 0x53746570
"""Any number, the same for all: PostgreSQL's advisory locks are numbers."""
LIMIT_S = 600.0


async def migrate(database: Database) -> None:
    """Make or change the tables. Raises `SettingsInvalid` with what is wrong."""
    try:
        database.prepare()
        async with database.writing(LIMIT_S) as connection:
            if not database.is_sqlite:
                await connection.execute(select(func.pg_advisory_xact_lock(LOCK)))
            await connection.run_sync(_upgrade, str(database))
    except (StoreUnavailable, DatabaseError, *UNAVAILABLE) as fault:
        cause = fault.__cause__ or fault
        reason = str(getattr(cause, "orig", None) or cause).partition("\n")[0]
        raise SettingsInvalid(f"The store {database} can't be used: {reason}") from fault


def _upgrade(connection: Connection, shown: str) -> None:
    found = _version(connection)
    if found == NEWEST:
        return
    from alembic import command
    from alembic.config import Config
    from alembic.script import ScriptDirectory

    config = Config()
    config.set_main_option("script_location", "stepscope.store:migrations")
    if found is not None and found not in {
        each.revision for each in ScriptDirectory.from_config(config).walk_revisions()
    }:
        raise SettingsInvalid(
            f"The store {shown} was written by a newer version of Stepscope: it is at {found}, and this version knows "
            f"{NEWEST}. Use the newer version, or another [store] url."
        )
    log.info("the store %s is brought from version %s to %s", shown, found or "0", NEWEST)
    config.attributes["connection"] = connection
    command.upgrade(config, "head")


def _version(connection: Connection) -> str | None:
    """Return the version that a database is at; None for an empty one."""
    if not inspect(connection).has_table("alembic_version"):
        return None
    return connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
