"""What `lockstep doctor` looks at. Every check reads; none changes anything.

The one exception: a database that has no tables yet, or older ones, is brought up to date when the
workspace is opened, as by every other command.
"""

import shutil
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from enum import StrEnum
from importlib import metadata

from lockstep.bootstrap import Workspace, assemble
from lockstep.corpus.database import Database
from lockstep.errors import CollectionInUse, LeaseHeld, LockstepError
from lockstep.index.generation import Generation
from lockstep.index.versions import FOLLOWING, IndexVersion, State
from lockstep.models.artefacts import ArtefactStore
from lockstep.settings import Settings
from lockstep_indexer.build.reclaim import used_bytes
from lockstep_indexer.cli.render import megabytes, plural

PACKAGES = ("lockstep", "qdrant-edge-py", "qdrant-client", "torch", "sentence-transformers")
IN_USE = FOLLOWING | {State.CANDIDATE}
SPARE_BYTES = 1_000_000_000


class Level(StrEnum):
    """How a check came out."""

    GOOD = "good"
    WARN = "warn"  # works, but somebody should know
    BAD = "bad"


@dataclass(frozen=True)
class Check:
    """One line of the checklist."""

    name: str
    level: Level
    message: str
    mend: str = ""  # the command or the sentence that helps


def check_all(settings: Settings, command: str) -> Iterator[Check]:
    """Look at a workspace, part by part; stops where nothing further can be reached."""
    yield Check("workspace", Level.GOOD, str(settings.root))
    yield _packages()
    yield _disk(settings)
    try:
        database = Database(settings.resolved_database_url())
        database.migrate()
    except LockstepError as error:
        yield _bad("database", error)
        return
    yield Check("database", Level.GOOD, f"{database.name}, its tables up to date")
    database.close()
    with ExitStack() as stack:
        try:
            workspace = stack.enter_context(assemble(settings, command=command))
            collections = workspace.store.collections()
            aliases = workspace.store.aliases()
        except LockstepError as error:
            yield _bad("vector store", error)
            return
        where = settings.store_url or "embedded"
        yield Check(
            "vector store", Level.GOOD, f"{where}, {plural(len(collections), 'collection')}"
        )
        yield from _models(workspace)
        yield from _catalog(workspace, set(collections), aliases)
        for version in _in_use(workspace):
            if version.collection in collections:
                yield from _index(workspace, version)


def _packages() -> Check:
    versions = ", ".join(f"{name} {metadata.version(name)}" for name in PACKAGES)
    return Check("packages", Level.GOOD, versions)


def _disk(settings: Settings) -> Check:
    """A re-index needs room for a second index beside the one there is."""
    free = shutil.disk_usage(settings.root).free
    used = used_bytes(settings) or 0
    message = f"{megabytes(free)} free; the indexes take {megabytes(used)}"
    if free > used + SPARE_BYTES:
        return Check("disk", Level.GOOD, message)
    return Check("disk", Level.WARN, message, "Free some space: lockstep gc CORPUS")


def _models(workspace: Workspace) -> Iterator[Check]:
    """Every byte of every model version, compared with its digest."""
    artefacts = ArtefactStore(workspace.settings.resolved_artefacts_url())
    for version in workspace.models.list():
        name = f"model {version.ref}"
        try:
            artefacts.fetch(version.digest)
        except LockstepError as error:
            source = version.manifest.lineage.get("source", "PATH")
            yield Check(
                name, Level.BAD, error.message, f"lockstep model add {version.name} {source}"
            )
        else:
            size = megabytes(version.manifest.size)
            yield Check(name, Level.GOOD, f"{size} verified, digest {version.digest[:12]}")


def _catalog(
    workspace: Workspace, collections: set[str], aliases: dict[str, str]
) -> Iterator[Check]:
    """Aliases, collections and the catalog tell the same story."""
    known = workspace.corpora.names()
    wrong = [
        check
        for corpus in sorted({*known, *aliases})
        for check in _disagreements(workspace, corpus, collections, aliases.get(corpus))
    ]
    yield from wrong or [
        Check("catalog", Level.GOOD, f"agrees with the aliases of {len(aliases)} live corpora")
    ]


def _disagreements(
    workspace: Workspace, corpus: str, collections: set[str], alias: str | None
) -> Iterator[Check]:
    versions = {v.collection: v for v in workspace.catalog.versions(corpus)}
    live = {name for name, v in versions.items() if v.state is State.LIVE}
    if alias is not None and alias not in versions:
        yield Check(
            "catalog",
            Level.BAD,
            f"Alias '{corpus}' names '{alias}', which the catalog does not know.",
            "Check that database and vector store belong together (lockstep.toml).",
        )
    elif ({alias} if alias else set()) != live:
        said = ", ".join(sorted(live)) or "nothing"
        yield Check(
            "catalog",
            Level.BAD,
            f"'{corpus}' is served from {alias or 'nothing'}; the catalog says {said}.",
            f"Make the catalog follow the alias: lockstep status {corpus}",
        )
    for version in versions.values():
        if version.state in IN_USE and version.collection not in collections:
            yield Check(
                "catalog",
                Level.BAD,
                f"{version.collection} is {version.state.value}, but its points are gone.",
                f"lockstep reindex {corpus} --model {version.model_ref}",
            )


def _in_use(workspace: Workspace) -> list[IndexVersion]:
    return [
        version
        for corpus in workspace.corpora.names()
        for version in workspace.catalog.in_state(corpus, *IN_USE)
    ]


def _index(workspace: Workspace, version: IndexVersion) -> Iterator[Check]:
    """The probe: every id and hash, and a sample encoded again."""
    name = f"index {version.collection}"
    rebuild = f"lockstep reindex {version.corpus} --model {version.model_ref}"
    try:
        with workspace.leases.hold(version.collection):
            applied = workspace.catalog.get(version.corpus, version.number).applied_seq
            generation = Generation.load(version, workspace.encoders)
            report = workspace.prober.check(generation, applied)
    except (CollectionInUse, LeaseHeld) as error:
        yield Check(name, Level.WARN, f"{error.message} Not probed.", error.next_step)
        return
    except LockstepError as error:
        yield Check(name, Level.BAD, error.message, error.next_step or rebuild)
        return
    for problem in report.problems:
        yield Check(name, Level.BAD, problem, rebuild)
    if not report.problems:
        yield Check(
            name,
            Level.GOOD,
            f"{version.state.value}, {plural(report.documents, 'document')} and "
            f"{plural(report.points, 'passage')} agree, cosine ≥ {report.samples.min_cosine:.4f}",
        )
    if lag := workspace.applier.lag(version.corpus, version.number):
        yield Check(
            name,
            Level.WARN,
            f"{plural(lag, 'change')} not applied yet.",
            "A running server applies them; so does the next ingest or promote.",
        )


def _bad(name: str, error: LockstepError) -> Check:
    return Check(name, Level.BAD, error.message, error.next_step)
