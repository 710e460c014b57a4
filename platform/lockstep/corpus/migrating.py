"""Bringing the tables of a database up to date; the steps are in `lockstep.corpus.migrations`."""

import threading

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, func, select

from lockstep.errors import InvalidSetting

_ADVISORY_LOCK = 0x10C57E9  # no other program should use this number on the same database
_one_at_a_time = threading.Lock()  # Alembic keeps its context in module globals


def is_current(connection: Connection) -> bool:
    """Whether the tables are those of this Lockstep; raises InvalidSetting where they are newer."""
    steps = ScriptDirectory.from_config(_config())
    applied = set(MigrationContext.configure(connection).get_current_heads())
    known = {step.revision for step in steps.walk_revisions()}
    if unknown := applied - known:
        raise InvalidSetting(
            f"A newer Lockstep has migrated the database to '{', '.join(sorted(unknown))}'; "
            f"this one knows steps up to '{', '.join(steps.get_heads())}'.",
            next_step="Upgrade Lockstep.",
        )
    return applied == set(steps.get_heads())


def upgrade(connection: Connection) -> None:
    """Apply the missing steps inside the connection's transaction: all of them or none."""
    if connection.dialect.name == "postgresql":
        connection.execute(select(func.pg_advisory_xact_lock(_ADVISORY_LOCK)))
    if is_current(connection):  # another process was faster
        return
    config = _config()
    config.attributes["connection"] = connection
    with _one_at_a_time:
        command.upgrade(config, "head")


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", "lockstep.corpus:migrations")
    config.set_main_option("path_separator", "os")
    return config
