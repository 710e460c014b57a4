"""The tables of the database: corpora, the catalog, judgments, and what live traffic taught.

`lockstep.corpus.migrations` holds the same tables as Alembic steps; a test compares the two.
"""

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Float,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
    false,
)

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
        "pk": "pk_%(table_name)s",
    }
)

# head_seq grows by UPDATE ... RETURNING inside the writing transaction, so the row lock orders
# the numbers as the commits are ordered: a reader that has seen n will never miss one below n.
corpora = Table(
    "corpora",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("name", String(64), nullable=False, unique=True),
    Column("head_seq", BigInteger, nullable=False, default=0),
    Column("live_documents", BigInteger, nullable=False, default=0),  # tombstones not counted
    Column("created_at", Float, nullable=False),  # seconds since 1970
)

# Ids compare as bytes on both databases, so that both walk a corpus in the order Python sorts in.
_Id = Text().with_variant(Text(collation="C"), "postgresql")

# The compacted change log: each document once, at the seq of its last change.
documents = Table(
    "documents",
    metadata,
    Column("corpus_id", ForeignKey("corpora.id"), primary_key=True),
    Column("id", _Id, primary_key=True),
    Column("seq", BigInteger, nullable=False),
    Column("content_hash", String(64)),  # NULL: a tombstone
    Column("title", Text),
    Column("text", Text),
    Column("metadata", Text),  # JSON
)
Index("ix_documents_corpus_id_seq", documents.c.corpus_id, documents.c.seq, unique=True)

model_versions = Table(
    "model_versions",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("name", String(64), nullable=False),
    Column("version", Integer, nullable=False),
    Column("digest", String(64), nullable=False),
    Column("manifest", Text, nullable=False),  # JSON
    Column("created_at", Float, nullable=False),
    UniqueConstraint("name", "version"),
)

index_versions = Table(
    "index_versions",
    metadata,
    Column("corpus_id", ForeignKey("corpora.id"), primary_key=True),
    Column("number", Integer, primary_key=True),
    Column("collection", String(128), nullable=False, unique=True),
    Column("model_name", String(64), nullable=False),
    Column("model_version", Integer, nullable=False),
    Column("model_digest", String(64), nullable=False),
    Column("spec", Text, nullable=False),  # JSON
    Column("state", String(16), nullable=False),
    Column("applied_seq", BigInteger, nullable=False, default=0),
    Column("predecessor", Integer),  # the version that was live when this one was promoted
    Column("reason", Text),  # why it failed
    Column("prefilter_candidates", Integer),  # as measured by the prefilter gate
    Column("retired_at", Float),  # since when it soaks
    # Whether a build of it took a route in eight bits, if only for a part of its passages.
    Column("encoded_in_fp8", Boolean, nullable=False, server_default=false()),
    Column("created_at", Float, nullable=False),
    Column("updated_at", Float, nullable=False),
)

rollouts = Table(
    "rollouts",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("corpus_id", ForeignKey("corpora.id"), nullable=False, index=True),
    Column("step", String(16), nullable=False),  # build, promote, rollback, drop, repair, trial
    Column("from_version", Integer),
    Column("to_version", Integer),
    Column("actor", Text, nullable=False),
    Column("outcome", String(16), nullable=False),  # started, done, failed
    Column("detail", Text),  # what went wrong
    Column("reason", Text),  # why somebody did it, in their words
    Column("report", Text),  # JSON: the gates' report
    Column("at", Float, nullable=False),
)

# Who may apply changes to an index version now. The token grows with each change of holder and
# guards every checkpoint, so a holder that lost its lease cannot move the version's applied_seq.
leases = Table(
    "leases",
    metadata,
    Column("resource", String(160), primary_key=True),
    Column("holder", Text, nullable=False),  # JSON: host, pid, started
    Column("token", BigInteger, nullable=False),
    Column("expires_at", Float, nullable=False),
)

# What each server answers from, refreshed every few seconds. Nothing that a server still serves is
# dropped, and commands beside an embedded server find it by its URL.
replicas = Table(
    "replicas",
    metadata,
    Column("id", String(160), primary_key=True),  # host, pid and start of the process
    Column("corpus_id", ForeignKey("corpora.id"), primary_key=True),
    Column("collection", String(128), nullable=False),
    Column("url", Text, nullable=False),  # empty where it takes no requests
    Column("seen_at", Float, nullable=False),
)

# Named sets of queries with judgments: qrels.
query_sets = Table(
    "query_sets",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("corpus_id", ForeignKey("corpora.id"), nullable=False),
    Column("name", String(64), nullable=False),
    Column("created_at", Float, nullable=False),
    UniqueConstraint("corpus_id", "name"),
)

judged_queries = Table(
    "judged_queries",
    metadata,
    Column("set_id", ForeignKey("query_sets.id"), primary_key=True),
    Column("id", _Id, primary_key=True),
    Column("text", Text, nullable=False),
)

judgments = Table(
    "judgments",
    metadata,
    Column("set_id", ForeignKey("query_sets.id"), primary_key=True),
    Column("query_id", _Id, primary_key=True),
    Column("document_id", _Id, primary_key=True),
    Column("relevance", Integer, nullable=False),  # 0: judged, and not relevant
)

# Sampled searches, and what was clicked of their answers.
searches = Table(
    "searches",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("corpus_id", ForeignKey("corpora.id"), nullable=False),
    Column("at", Float, nullable=False),
    Column("query", Text),  # NULL: redacted
    Column("query_digest", String(64), nullable=False),
    Column("mode", String(16), nullable=False),
    Column("number", Integer, nullable=False),  # of the index version that answered
    Column("trial_id", ForeignKey("trials.id")),
    Column("arm", String(16), nullable=False),  # live, candidate, interleaved
    Column("ranking", Text, nullable=False),  # JSON: document ids; with teams where interleaved
    Column("took_ms", Float, nullable=False),
)
Index("ix_searches_corpus_id_at", searches.c.corpus_id, searches.c.at)

clicks = Table(
    "clicks",
    metadata,
    Column("search_id", ForeignKey("searches.id", ondelete="CASCADE"), primary_key=True),
    Column("document_id", _Id, primary_key=True),
    Column("at", Float, nullable=False),
)

# Which share of live traffic meets a candidate, and what came of it.
trials = Table(
    "trials",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("corpus_id", ForeignKey("corpora.id"), nullable=False, index=True),
    Column("number", Integer, nullable=False),  # of the candidate
    Column("state", String(16), nullable=False),  # running, stopped, ended
    Column("settings", Text, nullable=False),  # JSON: shares and limits
    Column("reason", Text),  # why it was stopped
    Column("actor", Text, nullable=False),
    Column("started_at", Float, nullable=False),
    Column("ended_at", Float),
)

# Each server counts for itself; a trial's figures are the sum.
trial_counts = Table(
    "trial_counts",
    metadata,
    Column("trial_id", ForeignKey("trials.id"), primary_key=True),
    Column("replica", String(160), primary_key=True),
    Column("counts", Text, nullable=False),  # JSON
    Column("updated_at", Float, nullable=False),
)

# API keys: a hash of each, never the key. Rows are never deleted: names in the history stay true.
api_keys = Table(
    "api_keys",
    metadata,
    Column("id", String(16), primary_key=True),  # the part of a key that is no secret
    Column("name", String(64), nullable=False),
    Column("secret_hash", String(64), nullable=False),
    Column("scopes", Text, nullable=False),  # JSON
    Column("corpora", Text),  # JSON; NULL: all
    Column("filter", Text),  # JSON; NULL: every document
    Column("rate_per_s", Float),  # NULL: as in the settings
    Column("created_at", Float, nullable=False),
    Column("created_by", Text, nullable=False),
    Column("revoked_at", Float),
    Column("revoked_by", Text),
)
_in_use = api_keys.c.revoked_at.is_(None)
Index(
    "uq_api_keys_name_in_use",
    api_keys.c.name,
    unique=True,
    sqlite_where=_in_use,
    postgresql_where=_in_use,
)
