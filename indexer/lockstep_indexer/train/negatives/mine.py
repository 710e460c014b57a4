"""Mining: for each pair, passages that look like answers to its query and are none."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from lockstep.errors import InvalidInput
from lockstep.models.manifest import Json
from lockstep_indexer.train.data.examples import Example, Kind, TrainingData
from lockstep_indexer.train.negatives.choosing import Chooser, Judge
from lockstep_indexer.train.negatives.indexed import Indexed
from lockstep_indexer.train.negatives.passages import Passages
from lockstep_indexer.train.negatives.picking import Counts, Similar
from lockstep_indexer.train.negatives.queries import Queries
from lockstep_indexer.train.negatives.scoring import Scoring
from lockstep_indexer.train.negatives.settings import Mining
from lockstep_indexer.train.negatives.similarity import TextEncoder

# Scores of a batch of queries with every passage: 64 MB for each source.
_SCORES_AT_ONCE = 1 << 24
_QUERIES_AT_ONCE = 256

Report = Callable[[int, int], None]  # done, in all


@dataclass(frozen=True)
class Listener:
    """Whom to tell how mining gets on."""

    stage: Callable[[str], None] = lambda _: None
    report: Report = lambda done, total: None


@dataclass(frozen=True)
class Mined:
    """Tuples of a query, its passage and its negatives; and what it took."""

    data: TrainingData
    queries: Queries
    counts: Counts
    similar: Similar


def mine(
    queries: Queries,
    passages: Passages,
    encoder: TextEncoder,
    mining: Mining,
    *,
    judge: Judge | None = None,
    indexed: Indexed | None = None,
    lineage: Json | None = None,
    listener: Listener | None = None,
) -> Mined:
    """Find negatives for every pair; the same arguments give the same ones.

    `indexed` is what an index by the same model holds of the passages; what it lacks is filled in.

    Raises InvalidInput where no pair has enough of them.
    """
    listener = listener or Listener()
    scoring = Scoring.of(queries, passages, encoder, mining, listener.stage, indexed)
    listener.stage("choosing negatives")
    chooser = Chooser(scoring.texts, passages.repeated, mining, judge)
    found = list(_examples(queries, scoring, chooser, listener.report))
    if not found:
        raise InvalidInput(
            f"None of {chooser.counts.short:,} pairs has {mining.negatives} negatives among the "
            f"ranks from {mining.skip + 1:,} to {mining.depth:,} that keep a margin of "
            f"{mining.margin:.0%}.",
            next_step="Raise --depth, lower --margin or --negatives, or take --fill.",
        )
    told = {**(lineage or {}), "mining": mining.to_json()}
    data = TrainingData(Kind.HARD_NEGATIVES, found, told)
    return Mined(data, queries, chooser.counts, chooser.similar)


def _examples(
    queries: Queries, scoring: Scoring, chooser: Chooser, report: Report
) -> Iterator[Example]:
    size = max(1, min(_QUERIES_AT_ONCE, _SCORES_AT_ONCE // len(scoring.texts)))
    for start in range(0, len(queries), size):
        batch = slice(start, min(start + size, len(queries)))
        similarity = scoring.similarity(batch)
        scores = scoring.by_source(batch, similarity)
        for row, query in enumerate(queries.all[batch]):
            of_row = {source: each[row] for source, each in scores.items()}
            answer = scoring.answer_score(start + row)
            yield from chooser.examples(query, of_row, similarity[row], answer)
        report(batch.stop, len(queries))
