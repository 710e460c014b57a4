"""The index that a model is evaluated on: one that the corpus has, or one built for it."""

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, replace

import numpy as np

from lockstep.bootstrap import Workspace
from lockstep.errors import CollectionInUse, LockstepError
from lockstep.index.applier import Progress
from lockstep.index.generation import Generation, splitter_for
from lockstep.index.spec import IndexSpec, SpecOptions, resolve
from lockstep.index.versions import IndexVersion, State
from lockstep.lexical.bm25 import Bm25Encoder
from lockstep.models.vectors import truncated
from lockstep.store.port import (
    DOCUMENT_ID,
    METADATA,
    Json,
    Points,
    SparseVector,
    VectorStore,
)
from lockstep_indexer.build.reindex import Listener, measured_spec
from lockstep_indexer.build.unregistered import Examined
from lockstep_indexer.engines.choosing import local_engine
from lockstep_indexer.evaluate.collection import Collection
from lockstep_indexer.evaluate.options import Options
from lockstep_indexer.evaluate.scratch import Scratch

_READ_AT_ONCE = 256
_NO_TERMS = SparseVector(np.empty(0, np.uint32), np.empty(0, np.float32))
_STATES = (State.LIVE, State.CANDIDATE, State.RETIRED)


@dataclass(frozen=True)
class Searchable:
    """A collection of a store, with what encodes for it."""

    generation: Generation
    store: VectorStore


@dataclass(frozen=True)
class Cost:
    """What it took to have an index to ask."""

    used: str | None  # the index version that was there; None: a temporary one was built
    documents: int
    passages: int
    seconds: float  # to encode, index and optimise, or to copy what is there
    encode_s: float
    bytes: int  # on disk, of what was built
    encoded_by: str
    why_built: str = ""  # where there is an index version that could not be used

    @property
    def documents_per_s(self) -> float:
        return self.documents / self.seconds if self.seconds and self.used is None else 0.0

    def to_json(self) -> Json:
        fields = dict(vars(self)) | {"documents_per_s": self.documents_per_s}
        return {k: round(v, 3) if isinstance(v, float) else v for k, v in fields.items()}


@dataclass(frozen=True)
class Index:
    """The vectors of one model, at all the lengths that are asked for."""

    full: Searchable
    short: Mapping[int, Searchable]  # by dimensions: a collection of the cut and renormalised ones
    rescored: Searchable | None  # with a prefilter; None where the vectors are too short for one
    cost: Cost


@dataclass(frozen=True)
class _Copy:
    """A temporary collection of the same points: whole, or with vectors cut to `dims`."""

    searchable: Searchable
    dims: int | None

    @property
    def collection(self) -> str:
        return self.searchable.generation.collection

    def points(self, points: Points) -> Points:
        if self.dims is None:
            return replace(points, prefilter=self._prefilter(points), late=None)
        return Points(
            ids=points.ids,
            dense=np.ascontiguousarray(truncated(points.dense, self.dims)),
            prefilter=None,
            bm25=[_NO_TERMS] * len(points),
            payloads=[_without_text(payload) for payload in points.payloads],
        )

    def _prefilter(
        self, points: Points
    ) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]] | None:
        return self.searchable.generation.prefilter_vectors(points.dense)


def _without_text(payload: Json) -> Json:
    return {DOCUMENT_ID: payload[DOCUMENT_ID], "title": "", "text": "", METADATA: {}}


@contextmanager
def indexed(
    workspace: Workspace,
    collection: Collection,
    model: Examined,
    dims: Sequence[int],
    options: Options,
    scratch: Scratch,
    listener: Listener,
) -> Iterator[Index]:
    """An index of the collection by the model; what was built for it is gone after the block.

    An index version of the workspace is used as it is where it is up to date and free; its vectors
    are read for the short ones. Else the fastest engine encodes the collection.
    """
    chosen = _chosen(workspace, collection, model, options)
    there, why_built = _there(workspace, collection, model, chosen)
    if there is not None:
        generation = Generation.load(there, workspace.encoders)
        index = _copied(Searchable(generation, workspace.store), dims, options, scratch, listener)
    else:
        index = _built(workspace, collection, model, dims, chosen, scratch, listener)
        index = replace(index, cost=replace(index.cost, why_built=why_built))
    try:
        yield index
    finally:
        if there is not None:
            workspace.store.release(there.collection)
        with suppress(LockstepError):  # the folder goes at the end, whatever is in it
            for name in scratch.store.collections():
                scratch.store.drop(name)


def _chosen(
    workspace: Workspace, collection: Collection, model: Examined, options: Options
) -> SpecOptions:
    """How the collection is indexed by every model: what was asked for, else as the live version.

    Otherwise a difference of models would in part be one of windows or stemmers.
    """
    usual = SpecOptions()
    found = workspace.catalog.in_state(collection.corpus, State.LIVE) if collection.stored else []
    live = found[-1] if found else None
    return SpecOptions(
        window_tokens=options.window_tokens or (_window(workspace, live) if live else None),
        prefilter_dim=options.prefilter_of(model.encoder.dim),
        language=options.language or (live.spec.bm25.language if live else usual.language),
        datatype=live.spec.datatype if live else usual.datatype,
        quantization=live.spec.quantization if live else usual.quantization,
        fp8=live.spec.fp8 if live else usual.fp8,
    )


def _window(workspace: Workspace, live: IndexVersion) -> int | None:
    """What somebody chose; None where passages are as long as the live version's model sees."""
    longest = workspace.models.resolve(live.model_ref).manifest.max_tokens
    return live.spec.window_tokens if live.spec.window_tokens < longest else None


def _there(
    workspace: Workspace, collection: Collection, model: Examined, chosen: SpecOptions
) -> tuple[IndexVersion | None, str]:
    """An index version of this model that can be asked here; else why one that is there cannot."""
    if not collection.stored:
        return None, ""
    head = collection.head
    why = ""
    found = [
        version
        for version in workspace.catalog.in_state(collection.corpus, *_STATES)
        if version.model_digest == model.version.digest
    ]
    for version in sorted(found, key=lambda each: (_STATES.index(each.state), -each.number)):
        if differs := _difference(version.spec, resolve(chosen, model.version.manifest, 1.0)):
            why = why or f"{version.collection} has other {differs} than are compared here"
        elif version.applied_seq != head:
            why = why or f"{version.collection} is {head - version.applied_seq:,} changes behind"
        else:
            try:
                workspace.store.count(version.collection)
                return version, ""
            except CollectionInUse:
                why = why or f"{version.collection} is open in another process"
    return None, why


def _difference(spec: IndexSpec, wanted: IndexSpec) -> str:
    """What would make figures of the two no figures of the models alone; empty: nothing."""
    compared = {
        "windows": (spec.window_tokens, wanted.window_tokens),
        "BM25 settings": (
            (spec.bm25.language, spec.bm25.nfkc),
            (wanted.bm25.language, wanted.bm25.nfkc),
        ),
        "number formats": (
            (spec.datatype, spec.quantization, spec.fp8),
            (wanted.datatype, wanted.quantization, wanted.fp8),
        ),
    }
    return ", ".join(name for name, (one, other) in compared.items() if one != other)


def _copied(
    full: Searchable,
    dims: Sequence[int],
    options: Options,
    scratch: Scratch,
    listener: Listener,
) -> Index:
    """The index version itself, and collections of its vectors cut short."""
    version = full.generation.version
    prefilter = options.prefilter_of(full.generation.encoder.dim)
    has_it = version.spec.prefilter_dim == prefilter
    copies = _short(full.generation, dims, scratch)
    if prefilter and not has_it:
        spec = replace(version.spec, prefilter_dim=prefilter, late_interaction=None)
        copies.append(_Copy(_temporary(full.generation, spec, "rescored", scratch), None))
    started = time.monotonic()
    passages = full.store.count(full.generation.collection)
    if copies:
        listener.stage("copying vectors")
        _fill(copies, _stored(full), scratch)
    rescored = full if has_it else next((c.searchable for c in copies if c.dims is None), None)
    cost = Cost(
        version.collection,
        documents=0,
        passages=passages,
        seconds=time.monotonic() - started,
        encode_s=0.0,
        bytes=sum(scratch.size(copy.collection) for copy in copies),
        encoded_by="",
    )
    short = {copy.dims: copy.searchable for copy in copies if copy.dims is not None}
    return Index(full, short, rescored if prefilter else None, cost)


def _built(
    workspace: Workspace,
    collection: Collection,
    model: Examined,
    dims: Sequence[int],
    chosen: SpecOptions,
    scratch: Scratch,
    listener: Listener,
) -> Index:
    """Encode the collection into temporary collections, as `reindex` would."""
    started = time.monotonic()
    listener.stage("measuring passages")
    spec = measured_spec(collection.corpora, collection.corpus, model.encoder, chosen)
    generation = _generation(collection, model, spec)
    copies = [_Copy(Searchable(generation, scratch.store), None)]
    copies += _short(generation, dims, scratch)
    listener.stage("choosing how to encode")
    # The engine reads the collection's documents, and keeps tokens where the workspace keeps them.
    seen = replace(workspace, corpora=collection.corpora)
    with closing(local_engine(seen, generation, find=lambda: model.folder)) as engine:
        listener.stage("encoding")
        progress = Progress(0, collection.head)
        batches = collection.batches(engine.batch_documents)

        def points() -> Iterator[Points]:
            nonlocal progress
            with closing(engine.build(generation, batches)) as ready:
                for built in ready:
                    yield from built.points
                    progress = progress.after(built, time.monotonic() - started)
                    listener.progress(progress)

        _fill(copies, points(), scratch, listener)
        encoded_by = engine.told
    cost = Cost(
        None,
        documents=progress.documents,
        passages=progress.passages,
        seconds=time.monotonic() - started,
        encode_s=progress.encode_s,
        bytes=sum(scratch.size(copy.collection) for copy in copies),
        encoded_by=encoded_by,
    )
    full, *rest = (copy.searchable for copy in copies)
    rescored = full if spec.prefilter_dim else None
    return Index(full, dict(zip(dims, rest, strict=True)), rescored, cost)


def _generation(collection: Collection, model: Examined, spec: IndexSpec) -> Generation:
    version = IndexVersion(
        corpus=collection.corpus,
        number=0,
        collection="evaluation",
        model_name=model.version.name,
        model_version=model.version.version,
        model_digest=model.version.digest,
        spec=spec,
        state=State.BUILDING,
        applied_seq=0,
        predecessor=None,
        reason=None,
        prefilter_candidates=None,
        retired_at=None,
        created_at=time.time(),
    )
    return Generation(
        version,
        model.encoder,
        Bm25Encoder(spec.bm25),
        splitter_for(model.encoder, spec.window_tokens),
    )


def _short(generation: Generation, dims: Sequence[int], scratch: Scratch) -> list[_Copy]:
    spec = replace(generation.version.spec, prefilter_dim=None, late_interaction=None)
    return [_Copy(_temporary(generation, spec, f"dims-{n}", scratch), n) for n in dims]


def _temporary(generation: Generation, spec: IndexSpec, name: str, scratch: Scratch) -> Searchable:
    version = replace(generation.version, collection=f"evaluation-{name}", spec=spec)
    return Searchable(replace(generation, version=version, tokens=None), scratch.store)


def _fill(
    copies: Sequence[_Copy],
    batches: Iterator[Points],
    scratch: Scratch,
    listener: Listener | None = None,
) -> None:
    for copy in copies:
        generation = copy.searchable.generation
        schema = replace(
            generation.version.spec.schema(copy.dims or generation.encoder.dim),
            payload_indexes={},
        )
        scratch.store.create(copy.collection, schema, {})
    for points in batches:
        for copy in copies:
            scratch.store.upsert(copy.collection, copy.points(points))
    if listener is not None:
        listener.stage("optimising")
    for copy in copies:
        scratch.store.optimize(copy.collection)


def _stored(index: Searchable) -> Iterator[Points]:
    """The points of a collection, some at a time."""
    collection, start = index.generation.collection, None
    while True:
        page = index.store.scroll(
            collection, start_id=start, limit=_READ_AT_ONCE, fields=[DOCUMENT_ID]
        )
        ids = [record.id for record in page.records]
        records = index.store.retrieve(collection, ids, with_vectors=True)
        if records:
            yield Points(
                ids=[record.id for record in records],
                dense=np.stack([np.asarray(r.dense, np.float32) for r in records]),
                prefilter=None,
                bm25=[record.bm25 or _NO_TERMS for record in records],
                payloads=[record.payload for record in records],
            )
        if (start := page.next_id) is None:
            return
