"""Whether an index version holds passages that were encoded in eight bits."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column(
        "index_versions",
        sa.Column("encoded_in_fp8", sa.Boolean, nullable=False, server_default=sa.false()),
    )
    # Of a version from before, only what its build was allowed is known.
    op.execute(
        sa.text(
            "UPDATE index_versions SET encoded_in_fp8 = :yes WHERE spec LIKE :allowed"
        ).bindparams(sa.bindparam("yes", True, sa.Boolean), allowed='%"fp8": true%')
    )
