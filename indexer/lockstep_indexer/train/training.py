"""A training from examples to a registered model version, measured against its base."""

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path

from lockstep.bootstrap import Workspace
from lockstep.corpus.documents import Document
from lockstep.errors import Contaminated, NotBetter
from lockstep.index.passages import encoded_text
from lockstep.models.manifest import Json, ModelKind
from lockstep.models.registry import ModelVersion
from lockstep_indexer.train.columns import loss_for
from lockstep_indexer.train.comparison import (
    Comparison,
    compared,
    measured_json,
    measured_of,
)
from lockstep_indexer.train.data.checks import check, distinct
from lockstep_indexer.train.data.contamination import (
    Contamination,
    HeldOut,
    find_leaks,
    without_leaks,
)
from lockstep_indexer.train.data.examples import TrainingData
from lockstep_indexer.train.data.splits import split
from lockstep_indexer.train.distillation import Teacher
from lockstep_indexer.train.fine_tune import Surroundings, fine_tune
from lockstep_indexer.train.holdout import Measured, RetrievalTest, retrieval_test
from lockstep_indexer.train.lessons import Material
from lockstep_indexer.train.loading import dimension, load_trainable, without_bars
from lockstep_indexer.train.order import Order, Trained
from lockstep_indexer.train.progress import Course, Listener
from lockstep_indexer.train.registering import lineage_of, register
from lockstep_indexer.train.runs import Run, open_run
from lockstep_indexer.train.settings import TrainingSettings, dims_for
from lockstep_indexer.train.sweep import sweep

MAX_CHOOSING = 150  # held-out queries by which the best step is chosen
MAX_CHOOSING_PASSAGES = 300
MAX_REPORTED = 500  # by which base and result are compared
_CHOOSING_SHARE = 1 / 3
_TELLING_CHARS = 40  # a shorter passage may be part of a document by chance


@dataclass(frozen=True)
class Prepared:
    """An order's data, checked and divided."""

    train: TrainingData
    general: TrainingData | None
    choosing: RetrievalTest
    reported: RetrievalTest
    contamination: Json
    warnings: tuple[str, ...]


@dataclass(frozen=True)
class Ended:
    """How a run ended."""

    settings: TrainingSettings  # as a sweep left them
    comparison: Comparison
    course: Course
    version: ModelVersion


def train(workspace: Workspace, order: Order, listener: Listener | None = None) -> Trained:
    """Check, divide, train, measure, and register; nothing is registered where one of it fails.

    The same order goes on where an interrupted one stopped. Raises InvalidInput, Contaminated,
    WrongModelKind, TrainingDiverged, NotBetter, and what adding a model raises.
    """
    started = time.monotonic()
    listener = listener or Listener()
    order.base.require(ModelKind.ENCODER)
    settings = _resolved(order)
    listener.stage("checking the data")
    prepared = _prepared(workspace, order, settings)
    for warning in prepared.warnings:
        listener.note(warning)
    order = replace(order, general=prepared.general)
    fields = _identity(order, settings, prepared)
    with open_run(workspace.settings.data, fields) as run:
        ended = _run(workspace, order, settings, prepared, run, listener)
    return Trained(
        version=ended.version,
        base=order.base,
        examples=len(prepared.train),
        held_out=len(prepared.choosing) + len(prepared.reported),
        settings=ended.settings,
        course=ended.course,
        comparison=ended.comparison,
        contamination=prepared.contamination,
        warnings=prepared.warnings,
        seconds=time.monotonic() - started,
    )


def _run(
    workspace: Workspace,
    order: Order,
    settings: TrainingSettings,
    prepared: Prepared,
    run: Run,
    listener: Listener,
) -> Ended:
    base = workspace.artefacts.fetch(order.base.digest)
    listener.stage("measuring the base")
    device = workspace.settings.device or None
    before = _measured_base(base, order, settings, prepared.reported, run, device)
    around = _around(workspace, order, prepared, run, listener)
    material = _material(workspace, order, prepared.train, device)
    if order.sweep:
        listener.stage("trying settings")
        settings, tried = sweep(base, material, run.folder, settings, around, order.sweep)
    course = _trained(settings, base, material, around, run)
    listener.stage("measuring the result")
    after = _measured(run.result, order, settings, prepared.reported, device)
    comparison = compared(before, after, len(prepared.reported.passages))
    if order.require_better and not comparison.is_better:
        raise NotBetter(
            f"The trained model is {comparison.verdict}; nothing was registered.",
            next_step="Train on more or cleaner pairs, or leave --require-better out.",
        )
    listener.stage("registering")
    lineage = lineage_of(
        order, prepared.train, settings, course, comparison, prepared.contamination
    ) | ({"sweep": tried} if order.sweep else {})
    version = register(workspace, order, run.result, settings, lineage, comparison)
    return Ended(settings, comparison, course, version)


def _trained(
    settings: TrainingSettings, base: Path, material: Material, around: Surroundings, run: Run
) -> Course:
    """Train, or take what an interrupted run had trained already."""
    known = run.remembered("course")
    if known is not None and run.result.is_dir():
        return Course.from_json(known)
    around.listener.stage("training")
    course = fine_tune(base, material, run.result, settings, around)
    run.remember("course", course.to_json())
    return course


def _around(
    workspace: Workspace, order: Order, prepared: Prepared, run: Run, listener: Listener
) -> Surroundings:
    return Surroundings(
        device=workspace.settings.device or None,
        checkpoints=run.checkpoints,
        choosing=prepared.choosing if len(prepared.choosing) else None,
        report_to=order.report_to,
        listener=listener,
    )


def _material(
    workspace: Workspace, order: Order, data: TrainingData, device: str | None
) -> Material:
    fetch = workspace.artefacts.fetch
    return Material(
        data=data,
        general=order.general,
        teacher=Teacher(order.teacher, fetch(order.teacher.digest), device)
        if order.teacher
        else None,
        guide=fetch(order.guide.digest) if order.guide else None,
    )


def _resolved(order: Order) -> TrainingSettings:
    """The settings with what was left to the data and the model filled in."""
    manifest, settings = order.base.manifest, order.settings
    own = (manifest.query_prompt, manifest.document_prompt)
    chosen = (settings.query_prompt, settings.document_prompt)
    query, document = (
        ours if ours is not None else its for ours, its in zip(chosen, own, strict=True)
    )
    loss = loss_for(order.data.kind, settings.loss)
    loss.require_models(order.teacher, order.guide)  # now, and not after the base was measured
    return replace(
        settings,
        loss=loss,
        matryoshka_dims=dims_for(manifest.dim, settings.matryoshka_dims),
        max_tokens=min(settings.max_tokens, manifest.max_tokens),
        query_prompt=query,
        document_prompt=document,
    )


def _prepared(workspace: Workspace, order: Order, settings: TrainingSettings) -> Prepared:
    report = check(order.data)
    data = distinct(order.data)
    if order.dev is None:
        parts = split(data, dev=order.dev_share, seed=settings.seed)
        train, dev = parts.train, parts.dev
    else:
        train, dev = data, order.dev
    train, contamination = _uncontaminated(order, train, order.against)
    general, found = _clean_general(order, dev)
    test = _test(workspace, order, settings, train, dev)
    first = min(MAX_CHOOSING, round(len(test) * _CHOOSING_SHARE))
    choosing, reported = test.halves(first)
    return Prepared(
        train=train,
        general=general,
        choosing=choosing.within(MAX_CHOOSING_PASSAGES),
        reported=reported.first(MAX_REPORTED),
        contamination=contamination | found,
        warnings=(*report.warnings, *_shared(order, contamination | found)),
    )


def _clean_general(order: Order, dev: TrainingData) -> tuple[TrainingData | None, Json]:
    """The examples against forgetting, held against the held-out share of the others as well."""
    if order.general is None:
        return None, {}
    against = dict(order.against)
    if order.dev is None:
        against["the held-out share"] = HeldOut.of(dev)
    general, found = _uncontaminated(order, order.general, against)
    return general, {f"{name}, by --mix-in": leaks for name, leaks in found.items()}


def _uncontaminated(
    order: Order, train: TrainingData, against: Mapping[str, HeldOut]
) -> tuple[TrainingData, Json]:
    """Raises Contaminated where what is to be evaluated by would be trained on."""
    found: Json = {}
    for name, held_out in against.items():
        leaks = find_leaks(train, held_out)
        if not order.allow_contamination:
            _require_clean(name, leaks)
            # What little is tolerated is not trained on either.
            train = without_leaks(train, leaks)
        found[name] = leaks.to_json()
    return train, found


def _shared(order: Order, contamination: Json) -> Iterator[str]:
    """What to tell of each evaluation that the examples repeat something of."""
    for name, leaks in contamination.items():
        queries, passages = leaks["leaked_queries"], leaks["leaked_passages"]
        if queries or passages:
            yield (
                f"Of '{name}' {queries:,} of {leaks['queries']:,} queries and {passages:,} of "
                f"{leaks['passages']:,} relevant passages are among the examples; "
            ) + (
                "they are trained on: do not trust figures measured there."
                if order.allow_contamination
                else "these examples are left out."
            )


def _require_clean(name: str, leaks: Contamination) -> None:
    try:
        leaks.require_clean()
    except Contaminated as error:
        raise Contaminated(
            f"What '{name}' evaluates by is trained on. {error.message}",
            next_step="Leave these examples out, or train all the same, and do not trust the "
            "figures: --allow-contamination",
        ) from error


def _test(
    workspace: Workspace,
    order: Order,
    settings: TrainingSettings,
    train: TrainingData,
    dev: TrainingData,
) -> RetrievalTest:
    """Held-out queries, to be found among passages of the corpus and of the training data."""
    count = order.passages
    documents = workspace.corpora.sample(order.corpus, count, settings.seed)
    corpus = (
        encoded_text(document.title, document.text)
        for document in documents
        if not _answers(document, dev)
    )
    return retrieval_test(
        dev,
        chain.from_iterable(_alternating(corpus, (e.passage for e in train.examples))),
        limit=count,
        seed=settings.seed,
        query_prompt=settings.query_prompt or "",
        document_prompt=settings.document_prompt or "",
    )


def _answers(document: Document, held_out: TrainingData) -> bool:
    """Whether a document is where a held-out passage comes from: it is no wrong answer then."""
    return any(
        document.id == example.group
        or (len(example.passage) >= _TELLING_CHARS and example.passage in document.text)
        or document.text in example.passage
        for example in held_out.examples
    )


def _alternating(one: Iterator[str], other: Iterator[str]) -> Iterator[Sequence[str]]:
    """One of each in turn, as long as there are any."""
    while pair := [text for text in (next(one, None), next(other, None)) if text is not None]:
        yield pair


def _identity(order: Order, settings: TrainingSettings, prepared: Prepared) -> Json:
    """What makes two trainings the same one."""
    others = (order.teacher, order.guide)
    return {
        "corpus": order.corpus,
        "name": order.name,
        "base": order.base.digest,
        "data": prepared.train.fingerprint,
        "choosing": prepared.choosing.fingerprint,
        "general": order.general.fingerprint if order.general else None,
        "others": [each.digest if each else None for each in others],
        "settings": settings.to_json(),
        "sweep": order.sweep,
    }


def _measured_base(
    folder: Path,
    order: Order,
    settings: TrainingSettings,
    test: RetrievalTest,
    run: Run,
    device: str | None,
) -> list[Measured]:
    key = test.fingerprint
    known = run.remembered("base")
    if known is not None and known["test"] == key:
        return measured_of(known["measured"])
    found = _measured(folder, order, settings, test, device)
    run.remember("base", {"test": key, "measured": measured_json(found)})
    return found


def _measured(
    folder: Path,
    order: Order,
    settings: TrainingSettings,
    test: RetrievalTest,
    device: str | None,
) -> list[Measured]:
    """At full length and at the shortest trained one."""
    if not len(test):
        return []
    with without_bars():
        model = load_trainable(folder, device=device).eval()
        model.max_seq_length = order.base.manifest.max_tokens
        dims = settings.matryoshka_dims or (dimension(model),)
        return test.measure(model, sorted({dims[0], dims[-1]}, reverse=True))
