"""Plan: what a reindex would cost and whether it would be refused, before anything is paid for.

Reads and measures; nothing is written to the catalog, the corpus or the vector store.
"""

import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from lockstep.bootstrap import Workspace
from lockstep.index.generation import splitter_for
from lockstep.index.spec import IndexSpec, SpecOptions, resolve
from lockstep.index.versions import IndexVersion, State, collection_name
from lockstep.settings import Settings
from lockstep_indexer.build.measuring import (
    NO_TIME,
    SAMPLE_DOCUMENTS,
    TIMED_S,
    Late,
    Sample,
    Seconds,
    Speed,
    measure_sample,
    measure_speed,
    measure_tokens,
)
from lockstep_indexer.build.reclaim import used_bytes
from lockstep_indexer.build.reindex import require_documents, unfinished_build
from lockstep_indexer.build.sizing import Engine, IndexSize, index_size, indexing_s
from lockstep_indexer.build.unregistered import Examined, examined
from lockstep_indexer.encode.cached_tokenizer import family_of
from lockstep_indexer.encode.token_cache import TokenCache, folder_of
from lockstep_indexer.engines.choosing import encoding_for
from lockstep_indexer.engines.encoding import ByLibrary, ByTokens, Encoding

# What was measured elsewhere may be off by this factor here.
_ROUGHLY = 2.0
# Passages of a batch of documents are encoded together; this many are nearly as fast.
_TIMED_TOGETHER = 128
_BUILT = (State.LIVE, State.CANDIDATE, State.RETIRED)

Json = dict[str, Any]


@dataclass(frozen=True)
class Obstacle:
    """Why a reindex would be refused or run into trouble, and what to do about it."""

    what: str
    next_step: str


@dataclass(frozen=True)
class Work:
    """What there is to encode; estimated from a sample unless `exact`."""

    documents: int
    passages: int
    tokens: int
    exact: bool


@dataclass(frozen=True)
class Space:
    """Disk and memory in bytes, while the new version stands beside the others."""

    index: IndexSize
    disk_used: int | None  # by the indexes there are; None on a server
    disk_free: int | None
    disk_needed: int  # more than is used now, at the peak
    memory_needed: int  # of this machine: models and, embedded, what searches of two versions read
    memory_available: int


@dataclass(frozen=True)
class Plan:
    """What `lockstep reindex` with the same options would do."""

    corpus: str
    model: str
    model_digest: str
    registered: bool
    spec: IndexSpec
    engine: str
    whole: Work  # of the corpus
    left: Work  # what an unfinished build has not encoded yet; else the same
    speed: Speed
    known: float | None  # share of the documents whose tokens are kept; None where none would be
    encoding: Seconds  # of both models
    late_encoding: Seconds  # of that which gives vectors of tokens
    indexing: Seconds | None  # None on a server: it takes its own time
    space: Space
    resumes: IndexVersion | None
    built: IndexVersion | None  # the same model and spec, there already
    live: IndexVersion | None
    refusals: tuple[Obstacle, ...]
    warnings: tuple[Obstacle, ...]

    @property
    def changed(self) -> dict[str, tuple[Any, Any]]:
        """What the spec changes against the live version: (there, here) by name."""
        if self.live is None:
            return {}
        there, here = self.live.spec.to_json(), self.spec.to_json()
        for spec in (there, here):
            bm25 = spec.pop("bm25")
            spec["language"], spec["nfkc"] = bm25["language"], bm25.get("nfkc", False)
            spec.setdefault("payload_indexes", {})
            spec.setdefault("fp8", False)
            spec["late_interaction"] = (spec.get("late_interaction") or {}).get("model")
        return {key: (there[key], here[key]) for key in here if there[key] != here[key]}


def plan(
    workspace: Workspace,
    corpus: str,
    ref: str,
    options: SpecOptions,
    *,
    timed_s: float = TIMED_S,
    stage: Callable[[str], None] = lambda _: None,
) -> Plan:
    """Measure what a reindex would take.

    Raises what the reindex would raise before its first passage: CorpusNotFound, InvalidInput for
    an empty corpus, ModelRejected, SearchUnsupported. What it would run into later is listed.
    """
    require_documents(workspace, corpus)
    stage("loading the model")
    with examined(workspace, ref) as model:
        spec = resolve(options, model.version.manifest, avg_length=1.0)
        stage("reading a sample")
        sample = measure_sample(workspace.corpora, corpus, model.encoder, spec)
        stage("encoding a sample")
        encoding = _encoding_for(workspace, corpus, model, spec)
        speed = _speed(workspace, model, encoding, sample, timed_s)
        known = _known(workspace, model, spec, encoding, sample)
        late = _late(workspace, spec, sample, timed_s)
        return _planned(workspace, corpus, model, options, spec, sample, speed, known, late)


def _planned(
    workspace: Workspace,
    corpus: str,
    model: Examined,
    options: SpecOptions,
    spec: IndexSpec,
    sample: Sample,
    speed: Speed,
    known: float | None,
    late: Late | None,
) -> Plan:
    whole = _whole(workspace, corpus, sample)
    resumes = unfinished_build(workspace, corpus, model.version, options)
    left = _left(workspace, whole, resumes)
    engine = engine_of(workspace.settings)
    schema = spec.schema(model.version.manifest.dim)
    share = whole.passages / max(1, sample.passages)
    size = index_size(
        schema,
        engine,
        points=whole.passages,
        terms=int(sample.terms * share),
        payload_bytes=int(sample.payload_bytes * share),
        token_vectors=int(late.vectors * whole.passages) if late else 0,
    )
    late_encoding = late.seconds.times(left.passages) if late else NO_TIME
    live = _live(workspace, corpus)
    space = _space(workspace, model, size, engine, resumes, live)
    seconds = indexing_s(schema, whole.passages)
    built = _built(workspace, corpus, model, options)
    return Plan(
        corpus=corpus,
        model=model.version.ref,
        model_digest=model.version.digest,
        registered=model.registered,
        spec=spec,
        engine=engine.name,
        whole=whole,
        left=left,
        speed=speed,
        known=known,
        encoding=_encoding(left, speed) + late_encoding,
        late_encoding=late_encoding,
        indexing=Seconds(seconds, seconds / _ROUGHLY, seconds * _ROUGHLY)
        if engine.is_embedded
        else None,
        space=space,
        resumes=resumes,
        built=built,
        live=live,
        refusals=tuple(_refusals(workspace, corpus, space, resumes)),
        warnings=tuple(_warnings(space, built)),
    )


def _encoding_for(workspace: Workspace, corpus: str, model: Examined, spec: IndexSpec) -> Encoding:
    """The way that a build would take."""
    late = spec.late_interaction is not None
    return encoding_for(
        workspace, corpus, model.encoder, lambda: model.folder, late=late, fp8=spec.fp8
    )


def _known(
    workspace: Workspace, model: Examined, spec: IndexSpec, encoding: Encoding, sample: Sample
) -> float | None:
    """Of the sample's documents, the share whose tokens the cache holds."""
    settings = workspace.settings
    if not isinstance(encoding, ByTokens) or not settings.token_cache_gb:
        return None
    hashes = {passage.document.content_hash for passage in sample.timed}
    if not hashes or not folder_of(settings).is_dir():
        return 0.0
    splitter = splitter_for(model.encoder, spec.window_tokens)
    family = family_of(splitter, encoding.tokenizer, model.version.digest)
    with TokenCache.to_read(folder_of(settings)) as cache:
        return len(cache.get(family, list(hashes))) / len(hashes)


def _speed(
    workspace: Workspace, model: Examined, encoding: Encoding, sample: Sample, timed_s: float
) -> Speed:
    library = isinstance(encoding, ByLibrary)
    group = 2 * workspace.settings.encode_batch if library else _TIMED_TOGETHER
    return measure_speed(model.encoder, encoding, sample, group=group, at_most_s=timed_s)


def _late(workspace: Workspace, spec: IndexSpec, sample: Sample, timed_s: float) -> Late | None:
    if spec.late_interaction is None:
        return None
    return measure_tokens(
        workspace.encoders.tokens(spec.late_interaction.model),
        sample,
        batch=workspace.settings.encode_batch,
        at_most_s=timed_s,
    )


def engine_of(settings: Settings) -> Engine:
    if not settings.store_url:
        return Engine()
    return Engine("qdrant", settings.store_shards, settings.store_replicas, settings.store_on_disk)


def _whole(workspace: Workspace, corpus: str, sample: Sample) -> Work:
    documents = workspace.corpora.info(corpus).documents
    share = documents / sample.documents
    return Work(
        documents=documents,
        passages=round(sample.passages * share),
        tokens=round(sample.tokens * share),
        exact=documents <= SAMPLE_DOCUMENTS,
    )


def _left(workspace: Workspace, whole: Work, resumes: IndexVersion | None) -> Work:
    if resumes is None or not resumes.applied_seq:
        return whole
    share = 1 - resumes.applied_seq / workspace.corpora.head_seq(resumes.corpus)
    return Work(
        documents=round(whole.documents * share),
        passages=round(whole.passages * share),
        tokens=round(whole.tokens * share),
        exact=False,
    )


def _encoding(left: Work, speed: Speed) -> Seconds:
    return Seconds(
        likely=left.tokens / speed.mean,
        least=left.tokens / speed.fastest,
        most=left.tokens / speed.slowest,
    )


def _live(workspace: Workspace, corpus: str) -> IndexVersion | None:
    """What the alias names; a look, without the reconciliation that other commands begin with."""
    collection = workspace.store.aliases().get(corpus)
    versions = workspace.catalog.versions(corpus)
    return next((v for v in versions if v.collection == collection), None)


def _built(
    workspace: Workspace, corpus: str, model: Examined, options: SpecOptions
) -> IndexVersion | None:
    """The newest finished version of the same model and spec."""
    same = [
        version
        for version in workspace.catalog.in_state(corpus, *_BUILT)
        if version.model_digest == model.version.digest
        and version.spec.matches(options, model.version.manifest)
    ]
    return same[-1] if same else None


def _space(
    workspace: Workspace,
    model: Examined,
    size: IndexSize,
    engine: Engine,
    resumes: IndexVersion | None,
    live: IndexVersion | None,
) -> Space:
    settings = workspace.settings
    there = (used_bytes(settings, resumes.collection) or 0) if resumes else 0
    needed = max(0, size.peak - there) if engine.is_embedded else 0
    if not model.registered:
        needed += model.version.manifest.size
    # This process as it is, with the model loaded and warm; the live one is loaded to compare.
    memory = psutil.Process().memory_info().rss
    if live is not None:
        memory += _model_bytes(workspace, live)
    if engine.is_embedded:
        memory += 2 * size.memory if live is not None else size.memory
    return Space(
        index=size,
        disk_used=used_bytes(settings),
        disk_free=shutil.disk_usage(_existing(settings.data)).free if needed else None,
        disk_needed=needed,
        memory_needed=memory,
        memory_available=psutil.virtual_memory().available + psutil.Process().memory_info().rss,
    )


def _model_bytes(workspace: Workspace, version: IndexVersion) -> int:
    late = version.spec.late_interaction
    digests = {version.model_digest, late.digest if late else ""}
    known = {model.digest: model for model in workspace.models.list()}
    return sum(known[digest].manifest.size for digest in digests & known.keys())


def _existing(folder: Path) -> Path:
    return folder if folder.exists() else folder.parent


def _refusals(
    workspace: Workspace, corpus: str, space: Space, resumes: IndexVersion | None
) -> Iterator[Obstacle]:
    if space.disk_free is not None and space.disk_needed > space.disk_free:
        yield Obstacle(
            f"The disk has {space.disk_free / 1e9:,.1f} GB free; the build needs up to "
            f"{space.disk_needed / 1e9:,.1f} GB.",
            f"Free some space: lockstep gc {corpus} --now, or move the workspace.",
        )
    versions = workspace.catalog.versions(corpus)
    collection = (
        resumes.collection
        if resumes
        else collection_name(corpus, 1 + max((v.number for v in versions), default=0))
    )
    there = workspace.store.collections().get(collection)
    if there is not None and (resumes is None or there != resumes.manifest()):
        yield Obstacle(
            f"The vector store holds a collection '{collection}' that another workspace built.",
            "Give this corpus another name, or this workspace a vector store of its own.",
        )
    for lease in workspace.leases.held():
        if lease.resource == collection and not lease.is_over:
            yield Obstacle(
                f"{collection} is being worked on by process {lease.holder.pid} on "
                f"{lease.holder.host}.",
                "Wait for it to finish, or stop that process.",
            )


def _warnings(space: Space, built: IndexVersion | None) -> Iterator[Obstacle]:
    if built is not None:
        advice = {
            State.CANDIDATE: f"Promote it instead: lockstep promote {built.corpus} {built.number}",
            State.RETIRED: f"Promote it again: lockstep promote {built.corpus} {built.number}",
        }
        yield Obstacle(
            f"{built.collection} ({built.state.value}) was built by the same model with the same "
            "spec; a reindex would build it once more.",
            advice.get(built.state, "It is live: there is nothing to gain."),
        )
    if space.memory_needed > space.memory_available:
        yield Obstacle(
            f"About {space.memory_needed / 1e9:,.1f} GB of memory are wanted while two versions "
            f"answer; {space.memory_available / 1e9:,.1f} GB are available.",
            "Searches would read from disk. Take --dtype float16, a shorter model, or a larger "
            "machine.",
        )
    if space.disk_free is not None and 0.8 * space.disk_free < space.disk_needed:
        yield Obstacle(
            "The build leaves less than a fifth of the free disk.",
            "Free some space before it starts: lockstep gc CORPUS",
        )
