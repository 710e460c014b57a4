"""The workspace that a server of its own is started on."""

from pathlib import Path

import pytest
from workspaces import Templates


@pytest.fixture
def root(templates: Templates, tmp_path: Path) -> Path:
    """v1 is live; v2, by another model with another space, is a candidate.

    A copy for one test, where it may break what it likes.
    """
    return templates.live(tmp_path / "workspace", candidate=True)
