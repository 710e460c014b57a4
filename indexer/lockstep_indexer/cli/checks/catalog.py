"""The catalog: aliases, collections and index versions tell the same story."""

from collections.abc import Collection, Iterator, Mapping

from lockstep.bootstrap import Workspace
from lockstep.index.rebuilding import reindex_command
from lockstep.index.trials import TRIABLE
from lockstep.index.versions import FOLLOWING, IndexVersion, State
from lockstep.store.port import Json
from lockstep_indexer.cli.checks.check import Check, bad, good, warn
from lockstep_indexer.cli.render import age

IN_USE = FOLLOWING | {State.CANDIDATE}


def catalog(
    workspace: Workspace, collections: Mapping[str, Json], aliases: Mapping[str, str]
) -> Iterator[Check]:
    known = workspace.corpora.names()
    wrong = [
        check
        for corpus in sorted({*known, *aliases})
        for check in _disagreements(workspace, corpus, collections, aliases.get(corpus))
    ]
    wrong += _strangers(workspace, collections)
    yield from wrong or [good("catalog", f"agrees with the aliases of {len(aliases)} live corpora")]
    for corpus in known:
        yield from _soaked(workspace, corpus)
        yield from _failures(workspace, corpus)
        yield from _trial(workspace, corpus)


def in_use(workspace: Workspace) -> list[IndexVersion]:
    """Every version whose points must be right."""
    return [
        version
        for corpus in workspace.corpora.names()
        for version in workspace.catalog.in_state(corpus, *IN_USE)
    ]


def _disagreements(
    workspace: Workspace, corpus: str, collections: Collection[str], alias: str | None
) -> Iterator[Check]:
    versions = {v.collection: v for v in workspace.catalog.versions(corpus)}
    live = {name for name, v in versions.items() if v.state is State.LIVE}
    if alias is not None and alias not in versions:
        yield bad(
            "catalog",
            f"Alias '{corpus}' names '{alias}', which the catalog does not know.",
            "Check that database and vector store belong together (lockstep.toml).",
        )
    elif ({alias} if alias else set()) != live:
        said = ", ".join(sorted(live)) or "nothing"
        yield bad(
            "catalog",
            f"'{corpus}' is served from {alias or 'nothing'}; the catalog says {said}.",
            f"Make the catalog follow the alias: lockstep status {corpus}",
        )
    for version in versions.values():
        if version.state in IN_USE and version.collection not in collections:
            yield bad(
                "catalog",
                f"{version.collection} is {version.state.value}, but its points are gone.",
                reindex_command(version),
            )
        if version.state is State.DROPPED and version.collection in collections:
            yield warn(
                "catalog",
                f"{version.collection} was dropped, but its points are still there.",
                f"lockstep gc {corpus}",
            )


def _strangers(workspace: Workspace, collections: Mapping[str, Json]) -> list[Check]:
    """Collections that some Lockstep made, and that no corpus of this workspace knows."""
    known = {
        version.collection
        for corpus in workspace.corpora.names()
        for version in workspace.catalog.versions(corpus)
    }
    return [
        warn(
            "catalog",
            f"Collection '{name}' belongs to no corpus of this workspace.",
            "Another workspace may share the vector store; give each a store of its own.",
        )
        for name in collections
        if name not in known
    ]


def _soaked(workspace: Workspace, corpus: str) -> Iterator[Check]:
    for version in workspace.catalog.in_state(corpus, State.RETIRED):
        if not workspace.retirement.is_soaking(version):
            since = age(version.retired_at) if version.retired_at else "long ago"
            yield warn(
                f"soak {version.collection}",
                f"Retired {since}, and kept longer than soak_hours asks for.",
                f"lockstep gc {corpus}",
            )


def _failures(workspace: Workspace, corpus: str) -> Iterator[Check]:
    for version in workspace.catalog.in_state(corpus, State.FAILED):
        yield warn(
            f"index {version.collection}",
            f"Failed: {version.reason or 'no reason was kept.'}",
            f"lockstep doctor --repair {version.collection}, or drop it: lockstep gc {corpus}",
        )


def _trial(workspace: Workspace, corpus: str) -> Iterator[Check]:
    trial = workspace.trials.running().get(corpus)
    if trial is None:
        return
    states = {v.number: v.state for v in workspace.catalog.versions(corpus)}
    state = states.get(trial.number)
    name = f"trial {corpus}"
    if state in TRIABLE:
        yield good(name, f"v{trial.number} meets live traffic, since {age(trial.started_at)}")
    else:
        yield warn(
            name,
            f"A trial of v{trial.number} is running, which is {state.value if state else 'gone'}.",
            f"lockstep trial stop {corpus}",
        )
