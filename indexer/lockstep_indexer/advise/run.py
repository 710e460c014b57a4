"""Advice on a workspace's corpus: what is known is measured, the rest is left open."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from lockstep.bootstrap import Workspace
from lockstep.corpus.query_sets import QuerySet
from lockstep.errors import InvalidInput
from lockstep.models.manifest import Json
from lockstep_indexer.advise.gains import GAIN_RULES, Gain
from lockstep_indexer.advise.measuring import (
    Stage,
    live_model,
    measured_baseline,
    measured_gains,
    measured_reindex,
    sampled,
)
from lockstep_indexer.advise.rules import Advice, applied
from lockstep_indexer.advise.situation import Pairs, Situation
from lockstep_indexer.build.reindex import require_documents
from lockstep_indexer.evaluate.judging import FlagKind, pairs_to_read
from lockstep_indexer.evaluate.results import paired_json
from lockstep_indexer.train.data.contamination import Contamination, HeldOut, find_leaks
from lockstep_indexer.train.data.documents import corpus_documents
from lockstep_indexer.train.data.examples import Example, TrainingData


@dataclass(frozen=True)
class Given:
    """What somebody who asks for advice has; None where it is not there."""

    corpus: str
    judged: QuerySet | None
    training: TrainingData | None
    files: Sequence[Path] = ()  # of `training`
    queries: int = 500  # asked at most


def situation_of(
    workspace: Workspace, given: Given, model: str | None, target: float | None, stage: Stage
) -> Situation:
    """Measure search as it is, the pairs, and a re-index.

    Raises CorpusNotFound, ModelNotFound, or InvalidInput for an empty corpus, for examples that are
    no pairs, and for judgments of documents that are not there.
    """
    corpus = given.corpus
    require_documents(workspace, corpus)
    _require_pairs(given.training)
    ref = model or live_model(workspace, corpus)
    baseline = reindex = None
    if ref is not None:
        if given.judged is not None:
            asked = sampled(given.judged, given.queries)
            baseline = measured_baseline(workspace, corpus, ref, asked, stage)
        reindex = measured_reindex(workspace, corpus, ref, stage)
    return Situation(
        corpus=corpus,
        documents=workspace.corpora.count(corpus),
        model=ref,
        target=target,
        baseline=baseline,
        pairs=_pairs(workspace, given, stage),
        pair_files=tuple(map(str, given.files)),
        reindex=reindex,
    )


@dataclass(frozen=True)
class Judged:
    """A gain in one way of searching, and what the rules say of it."""

    gain: Gain
    advice: Sequence[Advice]

    def to_json(self) -> Json:
        return {
            "way": self.gain.way,
            **paired_json(self.gain.paired),
            "advice": [vars(one) for one in self.advice],
        }


@dataclass(frozen=True)
class GainReport:
    """Gains by way, and pairs to read where one is small: training pairs, where they were given."""

    gains: Sequence[Judged]
    to_read: Sequence[tuple[str, str]]
    read_from: str  # "training" or "judged"


def gain_report(
    workspace: Workspace, given: Given, base: str, tuned: str, stage: Stage
) -> GainReport:
    """Compare two models on the judged queries. Raises InvalidInput where there are none."""
    corpus = given.corpus
    require_documents(workspace, corpus)
    _require_pairs(given.training)
    if given.judged is None:
        raise InvalidInput(
            f"'{corpus}' has no judged queries; a gain is measured by them.",
            next_step=f"Import some, lockstep qrels import {corpus} PATH, or give --qrels DIR.",
        )
    leaks = _leaks(workspace, given, stage)
    gains, judged_pairs = measured_gains(
        workspace,
        corpus,
        (base, tuned),
        sampled(given.judged, given.queries),
        stage,
        leaked=leaks.leaked_queries if leaks else None,
    )
    judged = [Judged(gain, applied(GAIN_RULES, gain)) for gain in gains]
    is_small = any(gain.is_flagged(FlagKind.TOO_SMALL) for gain in gains)
    if not is_small:
        return GainReport(judged, [], "")
    if given.training is not None:
        pairs = [(one.query, one.passage) for one in given.training.examples]
        return GainReport(judged, pairs_to_read(pairs), "training")
    return GainReport(judged, judged_pairs, "judged")


def _require_pairs(training: TrainingData | None) -> None:
    if training is not None and not training.kind.is_retrieval:
        raise InvalidInput(
            f"The examples are of kind '{training.kind}'; advice is on pairs of a query and a "
            "passage that answers it.",
            next_step="Give a file of pairs, tuples, judgments or hard negatives.",
        )


def _pairs(workspace: Workspace, given: Given, stage: Stage) -> Pairs | None:
    if given.training is None:
        return None
    distinct = len({one.texts[:2] for one in _answering(given.training)})
    leaks = _leaks(workspace, given, stage)
    if leaks is None:
        return Pairs(distinct)
    return Pairs(distinct, leaks.leaked_queries, leaks_are_many=not leaks.is_clean)


def _answering(training: TrainingData) -> list[Example]:
    """Those whose passage answers: judgments of grade 0 do not."""
    return [one for one in training.examples if one.score is None or one.score > 0]


def _leaks(workspace: Workspace, given: Given, stage: Stage) -> Contamination | None:
    if given.training is None or given.judged is None:
        return None
    stage("looking for leaks")
    documents = corpus_documents(workspace.corpora, given.corpus)
    return find_leaks(given.training, HeldOut.of_query_set(given.judged, documents))
