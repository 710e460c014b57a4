"""Where things are kept: the database, the vector store, the artefacts of the models."""

from collections.abc import Iterator
from importlib import metadata

import httpx
from packaging.version import Version

from lockstep.bootstrap import Workspace
from lockstep.corpus.database import Database
from lockstep.corpus.migrating import is_current
from lockstep.errors import LockstepError
from lockstep.settings import Settings
from lockstep.store.port import VectorStore
from lockstep_indexer.cli.checks.check import Check, bad, failed, good, warn
from lockstep_indexer.cli.render import megabytes, plural

# A client speaks to servers of one minor version more or less than its own.
_MINORS_APART = 1
_ANSWER_S = 5.0


def database(settings: Settings) -> Iterator[Check]:
    """Reachable, whole, and its tables current; older ones are updated, as by every command."""
    found = Database(settings.resolved_database_url())
    try:
        current = _is_current(found)
        found.migrate()
        if problem := _damage(found):
            yield bad(
                "database", problem, "Restore the file from a backup; stop every writer first."
            )
            return
    except LockstepError as error:
        yield failed("database", error)
        return
    finally:
        found.close()
    tables = "its tables are current" if current else "its tables were just brought up to date"
    yield good("database", f"{found.name}, {tables}")


def _is_current(found: Database) -> bool:
    try:
        with found.reading() as connection:
            return is_current(connection)
    except LockstepError:
        return False  # a folder that is not there yet, or a reason that migrating will name


def _damage(found: Database) -> str:
    """What SQLite's own quick check finds; PostgreSQL guards its pages itself."""
    if not found.is_sqlite:
        return ""
    with found.reading() as connection:
        said = str(connection.exec_driver_sql("PRAGMA quick_check(1)").scalar())
    return "" if said == "ok" else f"SQLite finds {found.name} damaged: {said}."


def vector_store(settings: Settings, store: VectorStore) -> Iterator[Check]:
    try:
        collections = store.collections()
        aliases = store.aliases()
    except LockstepError as error:
        yield failed("vector store", error)
        return
    lost = sorted(name for name, target in aliases.items() if target not in collections)
    where = settings.store_url or "embedded"
    yield good("vector store", f"{where}, {plural(len(collections), 'collection')}")
    for alias in lost:
        yield bad(
            "vector store",
            f"Alias '{alias}' names '{aliases[alias]}', which is not there.",
            f"lockstep reindex {alias} --model REF --promote",
        )
    if settings.store_url:
        yield from server_version(settings)


def server_version(settings: Settings) -> Iterator[Check]:
    """The server's version beside the client's: they should be at most one minor apart."""
    client = Version(metadata.version("qdrant-client"))
    key = settings.store_api_key
    headers = {"api-key": key.get_secret_value()} if key else {}
    try:
        answer = httpx.get(settings.store_url, headers=headers, timeout=_ANSWER_S)
        server = Version(str(answer.json()["version"]))
    except (httpx.HTTPError, ValueError, KeyError, TypeError) as error:
        yield warn("engine", f"The server does not tell its version: {error!r}.", _UPGRADE)
        return
    message = f"server {server}, client {client}"
    apart = abs(server.minor - client.minor)
    if server.major == client.major and apart <= _MINORS_APART:
        yield good("engine", message)
    else:
        yield warn("engine", f"{message}: more than one minor version apart.", _UPGRADE)


_UPGRADE = "Upgrade the Qdrant server, or install the qdrant-client of its version."


def models(workspace: Workspace) -> Iterator[Check]:
    """Every byte of every model version, compared with its digest."""
    for version in workspace.models.list():
        name = f"model {version.ref}"
        try:
            workspace.artefacts.fetch(version.digest)
        except LockstepError as error:
            source = version.manifest.lineage.get("source", "PATH")
            yield bad(name, error.message, f"lockstep model add {version.name} {source}")
        else:
            size = megabytes(version.manifest.size)
            yield good(name, f"{size} verified, digest {version.digest[:12]}")
