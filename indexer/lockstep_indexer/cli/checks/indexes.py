"""Each index version in use, against its corpus and its model."""

from collections.abc import Iterator

from lockstep.bootstrap import Workspace
from lockstep.errors import CollectionInUse, LeaseHeld, LockstepError
from lockstep.index.generation import Generation
from lockstep.index.rebuilding import reindex_command
from lockstep.index.versions import IndexVersion
from lockstep_indexer.cli.checks.check import Check, bad, failed, good, warn
from lockstep_indexer.cli.render import plural


def index(workspace: Workspace, version: IndexVersion) -> Iterator[Check]:
    """The engine's own word, then the probe: every id and hash, and a sample encoded again."""
    name = f"index {version.collection}"
    rebuild = reindex_command(version)
    repair = f"lockstep doctor --repair {version.collection}"
    try:
        yield from _readiness(workspace, version, repair)
        with workspace.leases.hold(version.collection):
            applied = workspace.catalog.get(version.corpus, version.number).applied_seq
            generation = Generation.load(version, workspace.encoders)
            report = workspace.prober.check(generation, applied)
    except (CollectionInUse, LeaseHeld) as error:
        yield warn(name, f"{error.message} Not probed.", error.next_step)
        return
    except LockstepError as error:
        yield failed(name, error, rebuild)
        return
    for problem in report.problems:
        yield bad(name, problem, repair)
    if not report.problems:
        yield good(
            name,
            f"{version.state.value}, {plural(report.documents, 'document')} and "
            f"{plural(report.points, 'passage')} agree, cosine ≥ {report.samples.told_cosine}",
        )
    if lag := workspace.applier.lag(version.corpus, version.number):
        yield warn(
            name,
            f"{plural(lag, 'change')} not applied yet.",
            "A running server applies them; so does the next ingest or promote.",
        )


def _readiness(workspace: Workspace, version: IndexVersion, repair: str) -> Iterator[Check]:
    """Whether every search index is built; an unready one answers, but slowly or not in full."""
    ready = workspace.store.readiness(version.collection)
    if not ready.ready:
        yield warn(
            f"index {version.collection}",
            f"Its search indexes are not built: {ready.detail}.",
            repair,
        )
