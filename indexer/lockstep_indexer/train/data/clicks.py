"""Pairs from search logs: what people asked, and what they chose of the answers.

People click what stands high, whatever it is worth, and only what the version of that day found
(position bias: Joachims et al., SIGIR 2005). A minimum of clicks takes out what was chosen by
chance, not that bias.
"""

from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path

from lockstep.corpus.clicked_queries import clicked_queries
from lockstep.corpus.database import Database
from lockstep.corpus.query_sets import QuerySet
from lockstep.corpus.rows import Fields
from lockstep.errors import InvalidInput
from lockstep.models.manifest import Json
from lockstep_indexer.train.data.documents import Documents
from lockstep_indexer.train.data.examples import Kind, TrainingData
from lockstep_indexer.train.data.judged import examples_of
from lockstep_indexer.train.data.records import identity, read_records, wrong

MIN_CLICKS = 2
POSITION_BIAS = (
    "Clicks favour what stood high and what the version of that day found: a model trained on them "
    "learns that order too. Prove the gain on judgments that do not come from clicks."
)
_QUERY = ("query", "question", "q")
_DOCUMENT = ("document_id", "doc_id", "clicked", "document", "id")
_CLICKS = ("clicks", "count", "n")


def pairs_from_clicks(
    database: Database, corpus: str, documents: Documents, *, min_clicks: int = MIN_CLICKS
) -> TrainingData:
    """Queries of the workspace's own query log, and documents chosen `min_clicks` times for them.

    Raises InvalidInput where there are none.
    """
    found = clicked_queries(database, corpus, min_clicks=min_clicks)
    return _pairs(
        found, documents, {"query_log": corpus}, f"the query log of '{corpus}'", min_clicks
    )


def pairs_from_click_files(
    paths: Sequence[Path], documents: Documents, *, min_clicks: int = MIN_CLICKS
) -> TrainingData:
    """The same from files of query, document_id and, where lines are counted up, clicks."""
    counts: Counter[tuple[str, str]] = Counter()
    texts: dict[str, str] = {}
    for path in paths:
        for line, fields in read_records(path):
            query, document_id, clicks = _click(path, line, fields)
            key = " ".join(query.casefold().split())
            texts.setdefault(key, query)
            counts[key, document_id] += clicks
    judged: dict[str, dict[str, int]] = defaultdict(dict)
    for (key, document_id), count in counts.items():
        if count >= min_clicks:
            judged[key][document_id] = 1
    named = ", ".join(f"'{path}'" for path in paths)
    if not judged:
        raise InvalidInput(
            f"No query in {named} has a document that was clicked {min_clicks} times or more.",
            next_step="Ask for fewer: --min-clicks 1",
        )
    found = QuerySet("clicks", {key: texts[key] for key in judged}, judged)
    return _pairs(
        found, documents, {"files": [identity(path) for path in paths]}, named, min_clicks
    )


def _pairs(
    found: QuerySet, documents: Documents, source: Json, named: str, min_clicks: int
) -> TrainingData:
    examples, notes = examples_of(found, documents, named)
    lineage = {
        "source": "clicks",
        **source,
        "min_clicks": min_clicks,
        "documents": documents.lineage,
        "notes": [POSITION_BIAS, *notes],
    }
    return TrainingData(Kind.QRELS, examples, lineage)


def _click(path: Path, line: int, fields: Fields) -> tuple[str, str, int]:
    query = next((fields[name] for name in _QUERY if name in fields), None)
    document_id = next((fields[name] for name in _DOCUMENT if name in fields), None)
    clicks = next((fields[name] for name in _CLICKS if name in fields), 1)
    if not isinstance(query, str) or not query.strip():
        raise wrong(path, line, f"it has no 'query'; its columns are {', '.join(fields)}")
    if document_id is None or isinstance(document_id, (bool, float, list, dict)):
        raise wrong(path, line, "it has no 'document_id' of the document that was clicked")
    try:
        count = int(clicks)
    except (TypeError, ValueError, OverflowError):
        count = -1
    if count < 0:
        raise wrong(path, line, f"'clicks' is {clicks!r}; expected a whole number from 0")
    return query, str(document_id), count
