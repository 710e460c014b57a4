"""Judgments from clicks: what people chose of the answers to real searches.

People click what stands high, whatever it is worth (position bias: Joachims et al., SIGIR 2005),
and they can only click what the version of that day found. So clicks favour the version under which
they were gathered; interleaving compares two versions without that bias.
"""

from collections import defaultdict

from sqlalchemy import func, select

from lockstep.corpus.database import Database
from lockstep.corpus.query_sets import QuerySet
from lockstep.corpus.schema import clicks, corpora, searches
from lockstep.errors import InvalidInput

POSITION_BIAS = (
    "Clicks favour what stood high and what the version of that day found: a version is not worse "
    "for finding other documents. `lockstep trial start --interleave` compares without that bias."
)


def clicked_queries(
    database: Database, corpus: str, *, min_clicks: int, name: str = "clicks"
) -> QuerySet:
    """The queries of which some document was chosen `min_clicks` times; it gets relevance 1.

    Queries that differ in upper case or space are one. Redacted searches have no words to ask
    again. Raises InvalidInput where no query has that many clicks.
    """
    clicked = func.count().label("clicked")
    statement = (
        select(
            searches.c.query_digest,
            func.min(searches.c.query).label("text"),
            clicks.c.document_id,
            clicked,
        )
        .join_from(clicks, searches)
        .join(corpora)
        .where(corpora.c.name == corpus, searches.c.query.is_not(None))
        .group_by(searches.c.query_digest, clicks.c.document_id)
        .having(clicked >= min_clicks)
        .order_by(searches.c.query_digest, clicks.c.document_id)
    )
    texts: dict[str, str] = {}
    judged: dict[str, dict[str, int]] = defaultdict(dict)
    with database.reading() as connection:
        for row in connection.execute(statement):
            query_id = row.query_digest[:16]
            texts.setdefault(query_id, row.text)
            judged[query_id][row.document_id] = 1
    if not texts:
        raise InvalidInput(
            f"No query of '{corpus}' has a document that was chosen {min_clicks} times or more.",
            next_step="Log searches (query_log.share in lockstep.toml) and send what is clicked: "
            "POST /v1/corpora/{corpus}/feedback; or ask for fewer: --min-clicks 1",
        )
    return QuerySet(name, texts, judged)
