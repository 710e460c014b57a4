"""Measures what the rules ask for: search as it is, what a re-index takes, leaks."""

import random
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from lockstep.bootstrap import Workspace
from lockstep.corpus.query_sets import QuerySet
from lockstep.errors import NoLiveIndex
from lockstep.index.spec import SpecOptions
from lockstep_indexer.advise.gains import Gain
from lockstep_indexer.advise.situation import Baseline, Reindex
from lockstep_indexer.build.plan import plan
from lockstep_indexer.build.reindex import Listener
from lockstep_indexer.evaluate.evaluating import DENSE, HYBRID, evaluate
from lockstep_indexer.evaluate.kinds import Kind
from lockstep_indexer.evaluate.measures import Measure
from lockstep_indexer.evaluate.options import Options
from lockstep_indexer.evaluate.results import Evaluation

MEASURE = Measure("nDCG", 10)
_SEED = 20090719
_TIMED_S = 2.0
_NORMAL_95 = 1.96

Stage = Callable[[str], None]


def live_model(workspace: Workspace, corpus: str) -> str | None:
    """The ref of the model that answers now; None where nothing is live."""
    try:
        return workspace.rollouts.live(corpus).model_ref
    except NoLiveIndex:
        return None


def sampled(judged: QuerySet, queries: int) -> QuerySet:
    """At most so many of the queries, always the same ones."""
    if len(judged.queries) <= queries:
        return judged
    kept = random.Random(_SEED).sample(sorted(judged.queries), queries)
    return replace(
        judged,
        queries={one: judged.queries[one] for one in kept},
        judgments={one: judged.judgments[one] for one in kept if one in judged.judgments},
    )


def measured_baseline(
    workspace: Workspace, corpus: str, model: str, judged: QuerySet, stage: Stage
) -> Baseline:
    """nDCG@10 by vectors, by words and by both. Raises InvalidInput, ModelNotFound."""
    kinds = frozenset({Kind.BM25, Kind.DENSE, Kind.HYBRID})
    found = _evaluated(workspace, corpus, [model], judged, kinds, stage)
    results = found.models[0].results
    dense = results[DENSE].figures[MEASURE]
    deviation = float(np.std(dense, ddof=1)) if len(dense) > 1 else 0.0
    return Baseline(
        judged=judged.name,
        queries=len(dense),
        dense=float(dense.mean()),
        hybrid=float(results[HYBRID].figures[MEASURE].mean()),
        bm25=float(found.bm25.figures[MEASURE].mean()) if found.bm25 else 0.0,
        uncertain=_NORMAL_95 * deviation / len(dense) ** 0.5,
    )


def measured_gains(
    workspace: Workspace,
    corpus: str,
    models: tuple[str, str],
    judged: QuerySet,
    stage: Stage,
    *,
    leaked: int | None = None,
) -> tuple[list[Gain], Sequence[tuple[str, str]]]:
    """What the second model gains over the first, in each way of searching; and judged pairs.

    The pairs are of queries and documents, to be read where a gain is small.
    """
    kinds = frozenset({Kind.DENSE, Kind.HYBRID})
    found = _evaluated(workspace, corpus, models, judged, kinds, stage)
    gains = [
        Gain(corpus, one.base, one.model, str(one.way), one.paired, leaked)
        for one in found.comparisons
    ]
    return gains, found.pairs


def measured_reindex(workspace: Workspace, corpus: str, model: str, stage: Stage) -> Reindex:
    """What `lockstep plan` says of the corpus and a model like this one."""
    made = plan(workspace, corpus, model, SpecOptions(), timed_s=_TIMED_S, stage=stage)
    share = made.whole.tokens / max(1, made.left.tokens) if made.left.tokens else 1.0
    indexing = made.indexing.likely if made.indexing else 0.0
    return Reindex(
        seconds=made.encoding.likely * share + indexing,
        disk_bytes=made.space.index.peak,
        documents=made.whole.documents,
        passages=made.whole.passages,
        window_tokens=made.spec.window_tokens,
        refused=made.refusals[0].what if made.refusals else "",
    )


def _evaluated(
    workspace: Workspace,
    corpus: str,
    models: Sequence[str],
    judged: QuerySet,
    kinds: frozenset[Kind],
    stage: Stage,
) -> Evaluation:
    options = Options(measures=(MEASURE,), ways=kinds, dims=(), prefilter_dim=0)
    listener = Listener(stage=stage)
    return evaluate(workspace, corpus, judged, models, options, listener=listener)
