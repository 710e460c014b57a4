"""What is looked at after a restart, and held against the oracle."""

from collections.abc import Iterator

from crash.oracle import Oracle
from lockstep.bootstrap import Workspace
from lockstep.errors import LockstepError
from lockstep.index.catalog import RolloutStep
from lockstep.index.generation import Generation
from lockstep.index.versions import State
from lockstep_indexer.build.follow import bring_up_to_date

_ENDS = ("done", "failed")


def check(workspace: Workspace, corpus: str, oracle: Oracle) -> list[str]:
    """Everything that is wrong. What was uncertain before is certain in the oracle afterwards."""
    try:
        return [
            *oracle.problems,
            *_alias_leads(workspace, corpus, oracle),
            *_live(workspace, corpus, oracle),
            *_documents(workspace, corpus, oracle),
            *_history(workspace, corpus, oracle),
            *_collections(workspace, corpus, oracle),
            *_indexes(workspace, corpus),
            *_pairs(workspace, corpus, oracle),
        ]
    except LockstepError as error:
        return [*oracle.problems, f"The check ended with {type(error).__name__}: {error}"]


def _alias_leads(workspace: Workspace, corpus: str, oracle: Oracle) -> Iterator[str]:
    """The catalog may be behind the alias after a crash, and never ahead of it."""
    alias = workspace.store.aliases().get(corpus)
    versions = {version.collection: version for version in workspace.catalog.versions(corpus)}
    named = versions.get(alias or "")
    if named is None:
        yield f"The alias names {alias}, which the catalog does not know."
        return
    live = [version for version in versions.values() if version.state is State.LIVE]
    if len(live) != 1:
        yield f"{len(live)} versions are live in the catalog."
    elif live[0] != named and named.number == oracle.last_live and oracle.open_swaps <= 1:
        yield f"The catalog has {live[0].label} live, ahead of the alias at {named.label}."


def _live(workspace: Workspace, corpus: str, oracle: Oracle) -> Iterator[str]:
    live = workspace.rollouts.reconcile(corpus)
    versions = workspace.catalog.versions(corpus)
    states = [version.state for version in versions]
    if live is None or workspace.store.aliases().get(corpus) != live.collection:
        yield "The catalog does not agree with the alias after it was reconciled."
        return
    if states.count(State.LIVE) != 1:
        yield f"{states.count(State.LIVE)} versions are live."
    if live.number not in oracle.live:
        yield f"{live.label} is live; expected one of {sorted(oracle.live)}."
    oracle.know_live(live.number)


def _documents(workspace: Workspace, corpus: str, oracle: Oracle) -> Iterator[str]:
    found = {
        document_id: content_hash
        for document_id, content_hash, _ in workspace.corpora.fingerprints(corpus)
        if content_hash is not None
    }
    if found not in oracle.documents:
        nearest = min(oracle.documents, key=lambda state: len(state.items() ^ found.items()))
        yield f"The corpus is not what was acknowledged: {_difference(nearest, found)}."
    if workspace.corpora.count(corpus) != len(found):
        yield f"The corpus counts {workspace.corpora.count(corpus)} documents and has {len(found)}."
    oracle.documents = [found]


def _difference(expected: dict[str, str], found: dict[str, str]) -> str:
    kinds = {
        "lost": expected.keys() - found.keys(),
        "come back": found.keys() - expected.keys(),
        "of other content": {
            key for key in expected.keys() & found.keys() if expected[key] != found[key]
        },
    }
    return "; ".join(f"{kind}: {sorted(ids)}" for kind, ids in kinds.items() if ids)


def _history(workspace: Workspace, corpus: str, oracle: Oracle) -> Iterator[str]:
    """Each line is whole; each acknowledged swap has its line; each begun one its end or a kill."""
    steps = sorted(workspace.catalog.history(corpus, limit=100_000), key=lambda step: step.id)
    swaps = [step for step in steps if step.step in ("promote", "rollback")]
    begun: list[RolloutStep] = []
    done: list[tuple[str, int | None, int | None]] = []
    for step in swaps:
        if step.outcome == "started":
            begun.append(step)
        elif step.outcome not in _ENDS or not begun or _what(begun[-1]) != _what(step):
            yield f"History line {step.id} ({step.step} {step.outcome}) ends what never began."
        else:
            begun.pop()
            if step.outcome == "done":
                done.append(_what(step))
    if len(begun) > oracle.open_steps:
        yield f"{len(begun)} lines of the history lack an end; {oracle.open_steps} were killed."
    missing = [swap for swap in oracle.swaps if swap not in done]
    if missing:
        yield f"The history lacks what was acknowledged: {missing}."


def _what(step: RolloutStep) -> tuple[str, int | None, int | None]:
    return step.step, step.from_version, step.to_version


def _collections(workspace: Workspace, corpus: str, oracle: Oracle) -> Iterator[str]:
    versions = {version.collection: version for version in workspace.catalog.versions(corpus)}
    stored = {name for name in workspace.store.collections() if name.startswith(f"{corpus}--")}
    if strange := stored - versions.keys():
        yield f"Collections that no version has: {sorted(strange)}."
    kept = (State.LIVE, State.RETIRED, State.CANDIDATE)
    for name, version in versions.items():
        if version.state in kept and name not in stored:
            yield f"{name} is {version.state} and has no collection."
        if version.state is State.FAILED:
            yield f"{name} failed: {version.reason}"
        if version.number in oracle.built and version.state is State.BUILDING:
            yield f"{name} was acknowledged as built and is unfinished."


def _indexes(workspace: Workspace, corpus: str) -> Iterator[str]:
    """The live version, what a rollback would make live, and the newest candidate."""
    for followed in bring_up_to_date(workspace, corpus):
        if followed.lag or followed.left_to:
            yield f"{followed.version.label} was not brought up to date: {followed.left_to}"
    versions = {version.number: version for version in workspace.catalog.versions(corpus)}
    live = next(version for version in versions.values() if version.state is State.LIVE)
    before = versions.get(live.predecessor or 0)
    chosen = [live]
    if before is not None and before.state is State.RETIRED:
        chosen.append(before)
    chosen += [v for v in versions.values() if v.state is State.CANDIDATE][-1:]
    for version in chosen:
        generation = Generation.load(version, workspace.encoders)
        report = workspace.prober.check(generation, version.applied_seq, samples=16)
        workspace.store.release(version.collection)
        yield from (f"{version.label} ({version.state}): {found}" for found in report.problems)


def _pairs(workspace: Workspace, corpus: str, oracle: Oracle) -> Iterator[str]:
    versions = {
        version.collection: version.model_ref for version in workspace.catalog.versions(corpus)
    }
    answer = workspace.search(corpus, "red river stone")
    oracle.answers.add((answer.index_version, answer.model_version))
    for index_version, model_version in oracle.answers:
        if versions.get(index_version) != model_version:
            yield (
                f"An answer named {index_version} with {model_version}, which was built by "
                f"{versions.get(index_version)}."
            )
    live = next(name for name in versions if name == workspace.store.aliases()[corpus])
    if answer.index_version != live:
        yield f"A search was answered by {answer.index_version}; live is {live}."
