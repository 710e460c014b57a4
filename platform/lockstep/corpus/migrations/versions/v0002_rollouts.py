"""Gate reports, soaking, replicas, judgments, sampled searches, and trials of candidates."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_Id = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def upgrade() -> None:
    op.add_column("index_versions", sa.Column("prefilter_candidates", sa.Integer))
    op.add_column("index_versions", sa.Column("retired_at", sa.Float))
    op.add_column("rollouts", sa.Column("reason", sa.Text))
    op.add_column("rollouts", sa.Column("report", sa.Text))
    # A version that was retired before this step soaks from its last change on.
    op.execute("UPDATE index_versions SET retired_at = updated_at WHERE state = 'retired'")
    _replicas()
    _judgments()
    _trials()
    _searches()


def _replicas() -> None:
    op.create_table(
        "replicas",
        sa.Column("id", sa.String(160), nullable=False),
        sa.Column("corpus_id", sa.Integer, nullable=False),
        sa.Column("collection", sa.String(128), nullable=False),
        sa.Column("url", sa.Text, nullable=False),
        sa.Column("seen_at", sa.Float, nullable=False),
        sa.PrimaryKeyConstraint("id", "corpus_id", name=op.f("pk_replicas")),
        _references("replicas", "corpus_id", "corpora"),
    )


def _judgments() -> None:
    op.create_table(
        "query_sets",
        sa.Column("id", sa.Integer, nullable=False),
        sa.Column("corpus_id", sa.Integer, nullable=False),
        sa.Column("name", sa.String(64), nullable=False),
        sa.Column("created_at", sa.Float, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_query_sets")),
        sa.UniqueConstraint("corpus_id", "name", name=op.f("uq_query_sets_corpus_id_name")),
        _references("query_sets", "corpus_id", "corpora"),
    )
    op.create_table(
        "judged_queries",
        sa.Column("set_id", sa.Integer, nullable=False),
        sa.Column("id", _Id, nullable=False),
        sa.Column("text", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("set_id", "id", name=op.f("pk_judged_queries")),
        _references("judged_queries", "set_id", "query_sets"),
    )
    op.create_table(
        "judgments",
        sa.Column("set_id", sa.Integer, nullable=False),
        sa.Column("query_id", _Id, nullable=False),
        sa.Column("document_id", _Id, nullable=False),
        sa.Column("relevance", sa.Integer, nullable=False),
        sa.PrimaryKeyConstraint("set_id", "query_id", "document_id", name=op.f("pk_judgments")),
        _references("judgments", "set_id", "query_sets"),
    )


def _trials() -> None:
    op.create_table(
        "trials",
        sa.Column("id", sa.Integer, nullable=False),
        sa.Column("corpus_id", sa.Integer, nullable=False),
        sa.Column("number", sa.Integer, nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("settings", sa.Text, nullable=False),
        sa.Column("reason", sa.Text),
        sa.Column("actor", sa.Text, nullable=False),
        sa.Column("started_at", sa.Float, nullable=False),
        sa.Column("ended_at", sa.Float),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_trials")),
        _references("trials", "corpus_id", "corpora"),
    )
    op.create_index(op.f("ix_trials_corpus_id"), "trials", ["corpus_id"])
    op.create_table(
        "trial_counts",
        sa.Column("trial_id", sa.Integer, nullable=False),
        sa.Column("replica", sa.String(160), nullable=False),
        sa.Column("counts", sa.Text, nullable=False),
        sa.Column("updated_at", sa.Float, nullable=False),
        sa.PrimaryKeyConstraint("trial_id", "replica", name=op.f("pk_trial_counts")),
        _references("trial_counts", "trial_id", "trials"),
    )


def _searches() -> None:
    op.create_table(
        "searches",
        sa.Column("id", sa.String(32), nullable=False),
        sa.Column("corpus_id", sa.Integer, nullable=False),
        sa.Column("at", sa.Float, nullable=False),
        sa.Column("query", sa.Text),
        sa.Column("query_digest", sa.String(64), nullable=False),
        sa.Column("mode", sa.String(16), nullable=False),
        sa.Column("number", sa.Integer, nullable=False),
        sa.Column("trial_id", sa.Integer),
        sa.Column("arm", sa.String(16), nullable=False),
        sa.Column("ranking", sa.Text, nullable=False),
        sa.Column("took_ms", sa.Float, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_searches")),
        _references("searches", "corpus_id", "corpora"),
        _references("searches", "trial_id", "trials"),
    )
    op.create_index(op.f("ix_searches_corpus_id_at"), "searches", ["corpus_id", "at"])
    op.create_table(
        "clicks",
        sa.Column("search_id", sa.String(32), nullable=False),
        sa.Column("document_id", _Id, nullable=False),
        sa.Column("at", sa.Float, nullable=False),
        sa.PrimaryKeyConstraint("search_id", "document_id", name=op.f("pk_clicks")),
        _references("clicks", "search_id", "searches", ondelete="CASCADE"),
    )


def _references(
    table: str, column: str, target: str, ondelete: str | None = None
) -> sa.ForeignKeyConstraint:
    name = op.f(f"fk_{table}_{column}_{target}")
    return sa.ForeignKeyConstraint([column], [f"{target}.id"], name=name, ondelete=ondelete)
