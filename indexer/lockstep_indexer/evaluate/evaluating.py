"""Evaluate: models side by side, on judged queries and the path that searches take."""

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from lockstep.bootstrap import Workspace
from lockstep.corpus.documents import Document
from lockstep.corpus.qrels import read_query_set
from lockstep.corpus.query_sets import QuerySet
from lockstep.errors import InvalidInput
from lockstep.gates.queries import MIN_QUERIES
from lockstep.models.manifest import ModelKind
from lockstep.search.rerank import RerankChoice
from lockstep_indexer.build.reindex import Listener
from lockstep_indexer.build.unregistered import Examined, examined
from lockstep_indexer.evaluate.asking import results
from lockstep_indexer.evaluate.collection import Asked, Collection, askable, opened
from lockstep_indexer.evaluate.comparing import compared
from lockstep_indexer.evaluate.guarding import guard_lines
from lockstep_indexer.evaluate.indexes import indexed
from lockstep_indexer.evaluate.judging import Flag, gain_flag, pairs_to_read
from lockstep_indexer.evaluate.kinds import Kind
from lockstep_indexer.evaluate.measures import NDCG
from lockstep_indexer.evaluate.options import Guarding, Options
from lockstep_indexer.evaluate.results import (
    Evaluation,
    GuardResult,
    ModelResult,
    Result,
    Slices,
)
from lockstep_indexer.evaluate.scratch import Scratch, scratch
from lockstep_indexer.evaluate.slicing import Partition, partitions, sliced
from lockstep_indexer.evaluate.ways import Asking, Reranking, Way

DENSE, HYBRID, BM25 = Way(Kind.DENSE), Way(Kind.HYBRID), Way(Kind.BM25)
_SHORT = 64  # where no model says at which lengths its vectors stand alone
_GUARDED = frozenset({Kind.DENSE, Kind.HYBRID})
_CHANGED = (
    "Documents were written meanwhile: the models may have been asked for different ones. Figures "
    "hold where nobody writes."
)


def evaluate(
    workspace: Workspace,
    corpus: str | Path,
    judged: QuerySet,
    models: Sequence[str],
    options: Options | None = None,
    *,
    listener: Listener | None = None,
) -> Evaluation:
    """Ask every model's index the judged queries; the first model is what others are compared with.

    What is built for it is temporary. What can be wrong with the input is said before anything is
    encoded: raises InvalidInput, CorpusNotFound, RerankerNotFound, or what adding a model raises.
    """
    options, listener = options or Options(), listener or Listener()
    started = time.monotonic()
    _require_models(models, options)
    with ExitStack() as stack:
        room = stack.enter_context(scratch(workspace.settings))
        listener.stage("reading")
        main = stack.enter_context(_subject(workspace, corpus, judged, room))
        head = main.collection.head
        parts = partitions(main.asked, main.documents, options.slices)
        guard = _guarded(stack, workspace, options.guard, room)
        reranking = _reranking(workspace, options)
        listener.stage("loading models")
        loaded = [stack.enter_context(examined(workspace, ref)) for ref in models]
        _require_usable(models, loaded, options)
        dims = _dims(loaded, options)
        run = _Run(workspace, room, options, listener, reranking)
        kinds, named = options.ways, dict(zip(_names(models, loaded), loaded, strict=True))
        found = [
            run.model(main, name, each, dims, kinds if n == 0 else kinds - {Kind.BM25})
            for n, (name, each) in enumerate(named.items())
        ]
        is_changed = main.collection.head != head
        guards = [run.guard(guard, *each) for each in named.items()] if guard else []
    bm25, found = found[0].results.get(BM25), [_without_bm25(each) for each in found]
    flags = _flags(found)
    return Evaluation(
        collection=main.collection.name,
        asked=main.asked,
        measures=options.measures,
        bm25=bm25,
        models=found,
        comparisons=compared(found, options.headline),
        slices=_slices(parts, found, options),
        guard=_guard_result(guard, guards, options) if guard and options.guard else None,
        flags=flags,
        pairs=_pairs(main.asked, main.documents) if flags else [],
        notes=[*_notes(main.asked, found), *[_CHANGED] * is_changed],
        seconds=time.monotonic() - started,
    )


@dataclass(frozen=True)
class _Subject:
    """A collection, the queries it is asked, and the documents that are relevant to them."""

    collection: Collection
    asked: Asked
    documents: Mapping[str, Document]
    is_guard: bool


@contextmanager
def _subject(
    workspace: Workspace,
    corpus: str | Path,
    judged: QuerySet,
    room: Scratch,
    *,
    is_guard: bool = False,
) -> Iterator[_Subject]:
    with opened(workspace, corpus, room) as collection:
        asked = askable(collection, judged)
        ids = sorted({one for ids in asked.relevant.values() for one in ids})
        yield _Subject(collection, asked, collection.documents(ids), is_guard)


def _guarded(
    stack: ExitStack, workspace: Workspace, guard: Guarding | None, room: Scratch
) -> _Subject | None:
    if guard is None:
        return None
    judged = read_query_set(guard.folder, split=guard.split)
    subject = _subject(workspace, guard.folder, judged, room, is_guard=True)
    return stack.enter_context(subject)


def _reranking(workspace: Workspace, options: Options) -> Reranking | None:
    """Loaded now: what cannot be loaded is said before anything is encoded."""
    if options.rerank is None:
        return None
    RerankChoice(options.rerank, options.rerank_candidates)  # raises for too many
    version = workspace.rerankers.find(options.rerank)
    workspace.rerankers.get(version)
    return Reranking(version.ref, options.rerank_candidates, workspace.rerankers)


def _require_models(refs: Sequence[str], options: Options) -> None:
    if not refs:
        raise InvalidInput("No model is given to evaluate; expected at least one.")
    if options.guard is not None and len(refs) == 1:
        raise InvalidInput(
            f"A guard compares models with the first one; only '{refs[0]}' is given.",
            next_step="Name the base first: --model BASE --model TRAINED",
        )


def _require_usable(refs: Sequence[str], loaded: Sequence[Examined], options: Options) -> None:
    seen: dict[str, str] = {}
    for ref, model in zip(refs, loaded, strict=True):
        model.version.require(ModelKind.ENCODER)
        options.require_prefilter(model.encoder.dim)
        digest = model.version.digest
        if (before := seen.setdefault(digest, ref)) != ref or list(refs).count(ref) > 1:
            raise InvalidInput(
                f"'{before}' and '{ref}' are the same model version, {model.version.ref} "
                f"({digest[:12]}); expected different ones.",
                next_step="Name each model once.",
            )


def _names(refs: Sequence[str], loaded: Sequence[Examined]) -> list[str]:
    """name@version; where folders of one name would have the same, as they were given."""
    names = [model.version.ref for model in loaded]
    return [name if names.count(name) == 1 else ref for ref, name in zip(refs, names, strict=True)]


def _dims(loaded: Sequence[Examined], options: Options) -> tuple[int, ...]:
    """The lengths to cut vectors to, longest first."""
    longest = max(model.encoder.dim for model in loaded)
    wanted = options.dims
    if wanted is None:
        declared = {d for model in loaded for d in model.version.manifest.matryoshka_dims}
        wanted = tuple(d for d in declared or {_SHORT} if d < longest)
    elif too_long := [d for d in wanted if not 0 < d < longest]:
        raise InvalidInput(
            f"Vectors of {too_long[0]} dimensions were asked for; the longest that the models give "
            f"have {longest}.",
            next_step=f"Choose from 1 to {longest - 1}.",
        )
    return tuple(sorted(set(wanted), reverse=True))


@dataclass(frozen=True)
class _Run:
    """What every model goes through."""

    workspace: Workspace
    room: Scratch
    options: Options
    listener: Listener
    reranking: Reranking | None

    def model(
        self,
        subject: _Subject,
        name: str,
        model: Examined,
        dims: Sequence[int],
        kinds: frozenset[Kind],
    ) -> ModelResult:
        dims = [d for d in dims if d < model.encoder.dim]
        ways = [Way(kind) for kind in Kind if kind in kinds]
        if Kind.DENSE in kinds:
            place = ways.index(DENSE) + 1
            ways[place:place] = [Way(Kind.DENSE, d) for d in dims]
        return self._result(subject, name, model, dims, ways, self.options)

    def guard(self, subject: _Subject, name: str, model: Examined) -> ModelResult:
        options = replace(self.options, prefilter_dim=0)
        ways = [Way(kind) for kind in Kind if kind in _GUARDED]
        return self._result(subject, name, model, [], ways, options)

    def _result(
        self,
        subject: _Subject,
        name: str,
        model: Examined,
        dims: Sequence[int],
        ways: Sequence[Way],
        options: Options,
    ) -> ModelResult:
        who = f"{name} on {subject.collection.name}" if subject.is_guard else name
        listener = Listener(
            lambda stage: self.listener.stage(f"{who}: {stage}"), self.listener.progress
        )
        with indexed(
            self.workspace, subject.collection, model, dims, options, self.room, listener
        ) as index:
            listener.stage("compiling for queries")
            queries_by = index.full.generation.encoder.query_report.encoder
            asking = Asking(index, options.candidates, self.reranking)
            found = results(asking, ways, subject.asked, options, listener)
        return ModelResult(
            ref=name,
            digest=model.version.digest,
            registered=model.registered,
            dim=model.encoder.dim,
            device=model.encoder.device,
            lineage=model.version.manifest.lineage,
            results=found,
            cost=index.cost,
            prefilter=asking.prefilter,
            queries_by=queries_by,
        )


def _without_bm25(model: ModelResult) -> ModelResult:
    """It is of no model: only the first one's index was asked."""
    return replace(model, results={w: r for w, r in model.results.items() if w != BM25})


def _slices(
    parts: Sequence[Partition], found: Sequence[ModelResult], options: Options
) -> list[Slices]:
    ways = [w for w in (DENSE, HYBRID) if all(w in model.results for model in found)]
    return [sliced(part, found, way, options.headline) for part in parts for way in ways[:1]]


def _flags(found: Sequence[ModelResult]) -> dict[str, Flag]:
    """By nDCG@10, whatever is shown: a gain of .02 is small of it, and large of Precision@10."""
    base, *others = found
    flags: dict[str, Flag] = {}
    for other in others:
        means = [_ndcg(each.results.get(DENSE)) for each in (base, other)]
        if None not in means and (flag := gain_flag(*(mean or 0.0 for mean in means))):
            flags[other.ref] = flag
    return flags


def _ndcg(result: Result | None) -> float | None:
    return result.mean(NDCG) if result else None


def _pairs(asked: Asked, documents: Mapping[str, Document]) -> list[tuple[str, str]]:
    pairs = [
        (asked.queries[query], f"{documents[one].title} {documents[one].text}".strip())
        for query, ids in asked.relevant.items()
        for one in ids
        if one in documents
    ]
    return pairs_to_read(pairs)


def _guard_result(guard: _Subject, found: Sequence[ModelResult], options: Options) -> GuardResult:
    margin = options.guard.margin if options.guard else 0.0
    lines = guard_lines(compared(found, options.headline), margin)
    return GuardResult(guard.collection.name, margin, found, lines, guard.asked)


def _notes(asked: Asked, found: Sequence[ModelResult]) -> list[str]:
    notes = []
    if asked.unknown:
        some = ", ".join(asked.unknown_ids)
        notes.append(
            f"{asked.unknown:,} judgments are of documents that are not there ({some} …); they "
            "count as missed, for every model alike."
        )
    if asked.unanswerable:
        notes.append(
            f"{asked.unanswerable:,} queries are left out: no document relevant to them is there."
        )
    if asked.unasked:
        notes.append(f"{asked.unasked:,} queries are left out: they are empty or too long.")
    if len(asked.queries) < MIN_QUERIES:
        notes.append(f"Fewer than {MIN_QUERIES} queries tell nothing for sure, whatever they say.")
    for model in found:
        if model.cost.why_built:
            notes.append(f"{model.ref}: built anew, since {model.cost.why_built}.")
    return notes
