"""Reindex: build a candidate beside the live version, prove it, and, if asked, promote it."""

from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice

from lockstep.bootstrap import Workspace
from lockstep.corpus.change_log import Corpora
from lockstep.errors import (
    CollectionDamaged,
    CollectionExists,
    Conflict,
    InvalidInput,
    ProbeFailed,
)
from lockstep.index.applier import Progress
from lockstep.index.generation import Generation, splitter_for
from lockstep.index.leases import Lease
from lockstep.index.probe import ProbeReport
from lockstep.index.rollouts import MAX_PASSES, Swap
from lockstep.index.spec import IndexSpec, SpecOptions, resolve
from lockstep.index.versions import IndexVersion, State
from lockstep.lexical.bm25 import measure_average_length
from lockstep.models.encoder import Encoder
from lockstep.models.manifest import ModelKind
from lockstep.models.registry import ModelVersion
from lockstep_indexer.engines.choosing import local_engine
from lockstep_indexer.engines.port import BuildEngine, MakeEngine

# Documents read to measure the average passage length for BM25; all of them in a smaller corpus.
LENGTH_SAMPLE = 20_000


@dataclass(frozen=True)
class Reindexed:
    """What a reindex built."""

    version: IndexVersion
    resumed: bool
    progress: Progress
    probe: ProbeReport
    swap: Swap | None
    encoded_by: str  # which way, and how near it comes to the library


@dataclass(frozen=True)
class Listener:
    """Whom to tell how a reindex gets on."""

    stage: Callable[[str], None] = lambda _: None
    progress: Callable[[Progress], None] = lambda _: None


def reindex(
    workspace: Workspace,
    corpus: str,
    model: ModelVersion,
    options: SpecOptions,
    *,
    promote: bool = False,
    listener: Listener | None = None,
    make_engine: MakeEngine = local_engine,
) -> Reindexed:
    """Build an index version of a corpus with a model version.

    An unfinished build with the same model and options is resumed. Raises InvalidInput for an empty
    corpus, WrongModelKind for a reranker, LeaseHeld where another process builds it, ProbeFailed
    where the result is not sound.
    """
    listener = listener or Listener()
    model.require(ModelKind.ENCODER)
    workspace.rollouts.reconcile(corpus)
    require_documents(workspace, corpus)
    unfinished = unfinished_build(workspace, corpus, model, options)
    version = unfinished or _begin(workspace, corpus, model, options, listener)
    generation = Generation.load(version, workspace.encoders)
    with workspace.leases.hold(version.collection) as lease:
        _require_unfinished(workspace, version)
        _create_collection(workspace, version, generation.encoder.dim, lease)
        with _failing(workspace, version):
            listener.stage("choosing how to encode")
            with closing(make_engine(workspace, generation)) as engine:
                generation = _as_encoded(workspace, generation, lease, engine)
                progress = _build(workspace, generation, lease, listener, engine)
                encoded_by = engine.told
            del engine  # and the model that it has loaded
            probe = _prove(workspace, generation, listener)
        workspace.catalog.set_state(version, State.CANDIDATE)
    workspace.catalog.record(corpus, "build", "done", to_version=version.number)
    swap = _promote(workspace, version, listener) if promote else None
    return Reindexed(
        version=workspace.catalog.get(corpus, version.number),
        resumed=unfinished is not None,
        progress=progress,
        probe=probe,
        swap=swap,
        encoded_by=encoded_by,
    )


def require_documents(workspace: Workspace, corpus: str) -> None:
    """Raises InvalidInput for an empty corpus."""
    if not workspace.corpora.info(corpus).documents:
        raise InvalidInput(
            f"Corpus '{corpus}' has no documents to index.",
            next_step=f"Add some: lockstep ingest {corpus} FILE",
        )


def unfinished_build(
    workspace: Workspace, corpus: str, model: ModelVersion, options: SpecOptions
) -> IndexVersion | None:
    """The newest build of the same thing that was begun and not finished."""
    begun = [
        version
        for version in workspace.catalog.in_state(corpus, State.BUILDING)
        if version.model_digest == model.digest and version.spec.matches(options, model.manifest)
    ]
    return begun[-1] if begun else None


def _begin(
    workspace: Workspace,
    corpus: str,
    model: ModelVersion,
    options: SpecOptions,
    listener: Listener,
) -> IndexVersion:
    resolve(options, model.manifest, avg_length=1.0)  # refuses bad options before any work
    listener.stage("measuring passages")
    encoder = workspace.encoders.get(model.ref)
    spec = measured_spec(workspace.corpora, corpus, encoder, options)
    return workspace.catalog.add(corpus, model, spec)


def measured_spec(
    corpora: Corpora, corpus: str, encoder: Encoder, options: SpecOptions
) -> IndexSpec:
    """The spec of an index by this model, with the length of the corpus's passages."""
    manifest = encoder.version.manifest
    spec = resolve(options, manifest, avg_length=1.0)
    texts = _passage_texts(corpora, corpus, encoder, spec)
    return resolve(options, manifest, measure_average_length(texts, language=options.language))


def _passage_texts(
    corpora: Corpora, corpus: str, encoder: Encoder, spec: IndexSpec
) -> Iterator[str]:
    """The texts of the passages that a spread of the corpus's documents gives."""
    splitter = splitter_for(encoder, spec.window_tokens)
    documents = corpora.spread(corpus, LENGTH_SAMPLE)
    while batch := list(islice(documents, 256)):
        for passages in splitter.split(batch):
            yield from (passage.encoded_text for passage in passages)


def _require_unfinished(workspace: Workspace, version: IndexVersion) -> None:
    """Under the lease: whoever held it before may have finished the build, or dropped it."""
    state = workspace.catalog.get(version.corpus, version.number).state
    if state is not State.BUILDING:
        raise Conflict(
            f"Index version {version.label} of '{version.corpus}' is {state.value} now: another "
            "process was faster.",
            next_step=f"See how it stands: lockstep status {version.corpus}",
        )


def _create_collection(workspace: Workspace, version: IndexVersion, dim: int, lease: Lease) -> None:
    """Create the collection, unless an interrupted build of this very version has done so."""
    if _has_collection(workspace, version):
        return
    workspace.catalog.checkpoint(version, 0, lease)  # whatever was applied is gone with it
    try:
        workspace.store.create(version.collection, version.spec.schema(dim), version.manifest())
    except CollectionExists:  # perhaps made just now by the process that lost the lease to us
        if not _has_collection(workspace, version):
            raise


def _has_collection(workspace: Workspace, version: IndexVersion) -> bool:
    """Whether the version's own collection exists; raises CollectionExists for another's."""
    there = workspace.store.collections().get(version.collection)
    if there not in (None, version.manifest()):
        raise CollectionExists(
            f"The vector store holds a collection '{version.collection}' that another workspace "
            f"built (with {there.get('model')}).",
            next_step="Give this corpus another name, or this workspace a vector store of its own.",
        )
    return there is not None


@contextmanager
def _failing(workspace: Workspace, version: IndexVersion) -> Iterator[None]:
    """Note what damage ended a build for good, so that the next run begins a new one."""
    try:
        yield
    except (ProbeFailed, CollectionDamaged) as error:
        workspace.catalog.set_state(version, State.FAILED, reason=error.message)
        raise


def _as_encoded(
    workspace: Workspace, generation: Generation, lease: Lease, engine: BuildEngine
) -> Generation:
    """With what the engine makes of the version noted in the catalog: before anything is written,
    so that whatever goes on after a crash, by whichever route, asks no more of what is there.
    """
    if engine.in_fp8:
        workspace.catalog.set_encoded_in_fp8(generation.version, lease)
    version = workspace.catalog.get(generation.version.corpus, generation.version.number)
    return replace(generation, version=version)


def _build(
    workspace: Workspace,
    generation: Generation,
    lease: Lease,
    listener: Listener,
    engine: BuildEngine,
) -> Progress:
    listener.stage("encoding")
    progress = _applied(workspace, generation, lease, listener, engine)
    listener.stage("optimising")
    workspace.store.optimize(generation.collection)
    workspace.store.flush(generation.collection)
    return progress


def _applied(
    workspace: Workspace,
    generation: Generation,
    lease: Lease,
    listener: Listener,
    engine: BuildEngine,
) -> Progress:
    """Up to the head of the log, and what was written meanwhile: catching up would encode it by the
    library, as live writes are.
    """
    version, batch = generation.version, engine.batch_documents
    applier = replace(workspace.applier, batch_documents=batch)
    progress = applier.apply(generation, lease, report=listener.progress, engine=engine)
    passes = 1
    while passes < MAX_PASSES and applier.lag(version.corpus, version.number) >= batch:
        report = partial(_report_after, progress, listener)
        more = applier.apply(generation, lease, report=report, engine=engine)
        progress, passes = progress.then(more), passes + 1
    return progress


def _report_after(before: Progress, listener: Listener, later: Progress) -> None:
    listener.progress(before.then(later))


def _prove(workspace: Workspace, generation: Generation, listener: Listener) -> ProbeReport:
    listener.stage("probing")
    version = workspace.catalog.get(generation.version.corpus, generation.version.number)
    return workspace.prober.prove(generation, version.applied_seq)


def _promote(workspace: Workspace, version: IndexVersion, listener: Listener) -> Swap:
    listener.stage("promoting")
    return workspace.rollouts.promote(version.corpus, version.number, report=listener.progress)
